//! Knocking: delegations shown to a peer of which nobody knows whether it has the group, so that who has it not learns nothing.
//!
//! Two nodes of which neither is a member, and neither knows the other's agents, could not find each other otherwise: each would wait to be
//! shown something. What is shown is sealed by the group's id, which is the hash of its founding block and known to those only who were told.

use chacha20poly1305::aead::Aead;
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit, Nonce};
use serde_bytes::{ByteArray, ByteBuf};

use super::Unverified;
use crate::cbor::{self, cbor_array};
use crate::chain::GroupId;
use crate::identity::Identity;
use crate::limits;

const NONCE_BYTES: usize = 12;

cbor_array! {
    /// Delegations that only who knows the group's id can read.
    pub struct Knock {
        /// Tells the one group: a hash of its id and of both ends.
        pub tag: ByteArray<32>,
        /// A nonce of 12 bytes, then the delegations, encrypted.
        pub sealed: ByteBuf,
    }
}

/// The group, and who knocks at whom. Both ends are in each hash, so that no two knocks can be told to be for one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Door {
    /// The group.
    pub group: GroupId,
    /// Who knocks: the one that the connection proves.
    pub from: Identity,
    /// Who is to hear it.
    pub to: Identity,
}

impl Door {
    fn derive(&self, context: &str) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(self.group.as_bytes()).update(self.from.as_bytes()).update(self.to.as_bytes());
        *hasher.finalize().as_bytes()
    }

    fn tag(&self) -> [u8; 32] {
        self.derive("lbm knock tag 1")
    }

    fn cipher(&self) -> ([u8; 32], ChaCha20Poly1305) {
        let key = self.derive("lbm knock key 1");
        (key, ChaCha20Poly1305::new(&Key::from(key)))
    }
}

impl Knock {
    /// Seals delegations; equal ones are sealed equally.
    #[must_use]
    pub fn new(door: &Door, delegations: &[Unverified]) -> Self {
        let plain = cbor::encode(&delegations);
        let (key, cipher) = door.cipher();
        // Of the content, so that no two contents have one.
        let hash = blake3::Hasher::new_derive_key("lbm knock nonce 1").update(&key).update(&plain).finalize();
        let mut sealed = hash.as_bytes().iter().copied().take(NONCE_BYTES).collect::<Vec<u8>>();
        let nonce = nonce(&sealed);
        // It fails for texts that no memory holds alone.
        sealed.extend(cipher.encrypt(&nonce, plain.as_slice()).unwrap_or_default());
        Self { tag: ByteArray::new(door.tag()), sealed: ByteBuf::from(sealed) }
    }

    /// The delegations, where it is for this group; none otherwise.
    #[must_use]
    pub fn open(&self, door: &Door) -> Option<Vec<Unverified>> {
        if *self.tag != door.tag() {
            return None;
        }
        let (head, text) = self.sealed.split_at_checked(NONCE_BYTES)?;
        let plain = door.cipher().1.decrypt(&nonce(head), text).ok()?;
        let delegations: Vec<Unverified> = cbor::decode(&plain, limits::KNOCK_BYTES).ok()?;
        (delegations.len() <= limits::DELEGATIONS).then_some(delegations)
    }
}

fn nonce(bytes: &[u8]) -> Nonce {
    let mut nonce = [0; NONCE_BYTES];
    nonce.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    Nonce::from(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delegation::Delegation;
    use crate::identity::SecretKey;

    #[test]
    fn it_opens_for_its_group_and_its_two_ends_alone() {
        let [agent, from, to, other] = [1, 2, 3, 4].map(|seed| SecretKey::from_seed(&[seed; 32]));
        let group = GroupId::from_bytes([1; 32]);
        let door = Door { group, from: from.identity(), to: to.identity() };
        let given = |expires_ms| {
            Delegation { group, agent: agent.identity(), node: door.from, from_ms: 1, expires_ms }.sign(&agent)
        };
        let full: Vec<Unverified> = (0..limits::DELEGATIONS).map(|n| given(u64::MAX - n as u64)).collect();
        for delegations in [vec![], vec![given(9)], full.clone()] {
            let knock = Knock::new(&door, &delegations);
            assert_eq!(knock.open(&door), Some(delegations));
            assert!(knock.sealed.len() <= limits::KNOCK_BYTES);
            for wrong in [
                Door { group: GroupId::from_bytes([2; 32]), ..door },
                Door { from: other.identity(), ..door },
                Door { to: other.identity(), ..door },
                Door { from: door.to, to: door.from, ..door },
            ] {
                assert_eq!(knock.open(&wrong), None);
                assert_eq!(Knock { tag: ByteArray::new(wrong.tag()), ..knock.clone() }.open(&wrong), None);
            }
            for at in [0, NONCE_BYTES, knock.sealed.len() - 1] {
                let mut changed = knock.clone();
                changed.sealed[at] ^= 1;
                assert_eq!(changed.open(&door), None, "byte {at}");
                changed.sealed.truncate(at);
                assert_eq!(changed.open(&door), None, "{at} bytes");
            }
        }
        let longer: Vec<Unverified> = full.into_iter().chain([given(1)]).collect();
        assert_eq!(Knock::new(&door, &longer).open(&door), None, "one too many");
        let (one, two) = (Knock::new(&door, &[given(9)]), Knock::new(&door, &[given(10)]));
        assert_ne!(one.sealed[..NONCE_BYTES], two.sealed[..NONCE_BYTES]);
    }
}
