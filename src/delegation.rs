//! Delegations: a member says that a node may replicate a group on its behalf, for a while.
//!
//! Owns the record's form, signature and times. Pure. **Only [`Signed::verify`](crate::identity::Signed) and [`Delegation::sign`] make a
//! [`Verified`] delegation.** It gives a node no word in the group: what an agent says is signed by the agent, and what the node signs
//! counts as the node's. It ends with its time, with the agent's membership, and when the node shows others without it.

pub mod knock;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::cbor::{self, DecodeError};
use crate::chain::GroupId;
use crate::identity::{BadSignature, Identity, SecretKey, Signed};
use crate::limits;

/// The version of the format, the first element of each record.
pub const VERSION: u8 = 1;

/// What a record's signature covers besides the record.
pub const SIGNATURE_DOMAIN: &[u8] = b"lbm delegation 1";

/// What an agent signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delegation {
    /// The group that may be replicated.
    pub group: GroupId,
    /// Who signs: a member of it.
    pub agent: Identity,
    /// The node that may: the one that the connection proves.
    pub node: Identity,
    /// From when on, the agent's clock, milliseconds since 1970 UTC.
    pub from_ms: u64,
    /// Until when, at most [`limits::DELEGATION_LIFE_MS`] later.
    pub expires_ms: u64,
}

impl Serialize for Delegation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { group, agent, node, from_ms, expires_ms } = self;
        (VERSION, group, agent, node, from_ms, expires_ms).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Delegation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        type Fields = (u8, GroupId, Identity, Identity, u64, u64);
        let (version, group, agent, node, from_ms, expires_ms): Fields = Deserialize::deserialize(deserializer)?;
        if version != VERSION {
            return Err(serde::de::Error::custom(format_args!(
                "delegation version {version}; this node knows {VERSION}"
            )));
        }
        Ok(Self { group, agent, node, from_ms, expires_ms })
    }
}

/// Why a delegation does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not a record in its one encoding.
    #[error("the delegation is {0}")]
    Decode(#[from] DecodeError),
    /// Of another version of the format: nobody's fault.
    #[error("the delegation is of format {0}, and this node knows {VERSION}: upgrade lbm on the older machine")]
    Version(u8),
    /// Of another group than the one it was shown for.
    #[error("the delegation belongs to another group")]
    Group,
    /// To another node than the one that shows it.
    #[error("the delegation was given to another node")]
    Node,
    /// Longer than any may stand, or not at all.
    #[error("the delegation stands for a time that none may have")]
    Life,
    /// Dated ahead of the reader's clock.
    #[error("the delegation begins {0} ms from now: check the machines' clocks")]
    Early(u64),
    /// Its time is over.
    #[error("the delegation ended {0} ms ago: check the machines' clocks")]
    Over(u64),
    /// The signature does not hold.
    #[error("the delegation's signature does not match")]
    Signature(#[from] BadSignature),
}

impl Delegation {
    /// Signs it. `key` is the agent's: with another, no node would accept it.
    #[must_use]
    pub fn sign(&self, key: &SecretKey) -> Unverified {
        debug_assert_eq!(key.identity(), self.agent, "a delegation is signed by who gives it");
        let body = cbor::encode(self);
        let signature = key.sign(SIGNATURE_DOMAIN, &body);
        Signed::new(body, signature)
    }
}

/// A delegation as it came: nothing about it is known. In CBOR `[body, signature]`, both byte strings.
pub type Unverified = Signed<Delegation>;

/// What a delegation is held against.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    /// The group that it is shown for.
    pub group: GroupId,
    /// The node that shows it: who the connection proves it to be.
    pub by: Identity,
    /// The reader's clock, milliseconds since 1970 UTC.
    pub clock_ms: u64,
    /// How far clocks may differ, milliseconds.
    pub drift_ms: u64,
}

impl Signed<Delegation> {
    /// Checks it, in the sequence of cost: form, whom it is for, its times, and then the signature.
    ///
    /// ```
    /// use lbm::delegation::{Delegation, Shown};
    /// use lbm::identity::SecretKey;
    /// let (agent, node) = (SecretKey::from_seed(&[7; 32]), SecretKey::from_seed(&[8; 32]).identity());
    /// let group = lbm::chain::GroupId::from_bytes([1; 32]);
    /// let signed = Delegation { group, agent: agent.identity(), node, from_ms: 5, expires_ms: 50 }.sign(&agent);
    /// let shown = Shown { group, by: node, clock_ms: 10, drift_ms: 0 };
    /// assert!(signed.verify(&shown).is_ok());
    /// assert!(signed.verify(&Shown { clock_ms: 51, ..shown }).is_err());
    /// ```
    ///
    /// # Errors
    /// [`Invalid`] names the rule that is broken.
    pub fn verify(&self, shown: &Shown) -> Result<Verified, Invalid> {
        if let Some(version) = self.other_version(VERSION) {
            return Err(Invalid::Version(version));
        }
        let delegation: Delegation = cbor::decode(&self.body, limits::DELEGATION_BYTES)?;
        let Delegation { group, agent, node, from_ms, expires_ms } = delegation;
        if group != shown.group {
            return Err(Invalid::Group);
        }
        if node != shown.by {
            return Err(Invalid::Node);
        }
        if expires_ms <= from_ms || expires_ms - from_ms > limits::DELEGATION_LIFE_MS {
            return Err(Invalid::Life);
        }
        let Shown { clock_ms, drift_ms, .. } = *shown;
        if from_ms > clock_ms.saturating_add(drift_ms) {
            return Err(Invalid::Early(from_ms - clock_ms));
        }
        let left_ms = expires_ms.saturating_add(drift_ms).checked_sub(clock_ms).filter(|left_ms| *left_ms > 0);
        let left_ms = left_ms.ok_or(Invalid::Over(clock_ms.saturating_sub(expires_ms)))?;
        agent.verify(SIGNATURE_DOMAIN, &self.body, &self.signature)?;
        Ok(Verified { agent, left_ms })
    }
}

/// A delegation that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Who gave it.
    pub agent: Identity,
    /// How long it stands from now on, milliseconds. A clock that jumps meanwhile changes nothing.
    pub left_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupId = GroupId::from_bytes([1; 32]);

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed(&[seed; 32])
    }

    fn given() -> Delegation {
        let (agent, node) = (key(1).identity(), key(2).identity());
        Delegation { group: GROUP, agent, node, from_ms: 10_000, expires_ms: 20_000 }
    }

    fn shown(clock_ms: u64) -> Shown {
        Shown { group: GROUP, by: key(2).identity(), clock_ms, drift_ms: 100 }
    }

    #[test]
    fn it_counts_for_its_node_its_group_and_its_time_alone() {
        let signed = given().sign(&key(1));
        assert_eq!(signed.verify(&shown(15_000)), Ok(Verified { agent: key(1).identity(), left_ms: 5_100 }));
        for (shown, why) in [
            (Shown { by: key(3).identity(), ..shown(15_000) }, Invalid::Node),
            (Shown { group: GroupId::from_bytes([2; 32]), ..shown(15_000) }, Invalid::Group),
            (shown(9_899), Invalid::Early(101)),
            (shown(20_100), Invalid::Over(100)),
        ] {
            assert_eq!(signed.verify(&shown), Err(why));
        }
        assert!(signed.verify(&shown(9_900)).is_ok() && signed.verify(&shown(20_099)).is_ok(), "clocks differ");
    }

    #[test]
    fn nobody_forges_one_and_none_stands_for_ever() {
        let signed = given().sign(&key(1));
        let forged = Unverified::new(cbor::encode(&given()), key(3).sign(SIGNATURE_DOMAIN, &signed.body));
        assert_eq!(forged.verify(&shown(15_000)), Err(Invalid::Signature(BadSignature)));
        let presence = Unverified::new(cbor::encode(&given()), key(1).sign(b"lbm presence 1", &signed.body));
        assert_eq!(presence.verify(&shown(15_000)), Err(Invalid::Signature(BadSignature)));
        for expires_ms in [9_999, 10_000, 10_001 + limits::DELEGATION_LIFE_MS, u64::MAX] {
            let long = Delegation { expires_ms, ..given() }.sign(&key(1));
            assert_eq!(long.verify(&shown(15_000)), Err(Invalid::Life), "{expires_ms}");
        }
        for at in 0..signed.body.len() {
            let mut changed = signed.clone();
            changed.body[at] ^= 1;
            assert!(changed.verify(&shown(15_000)).is_err(), "byte {at}");
            changed.body.truncate(at);
            assert!(changed.verify(&shown(15_000)).is_err(), "{at} bytes");
        }
        assert!(signed.body.len() <= limits::DELEGATION_BYTES);
    }
}
