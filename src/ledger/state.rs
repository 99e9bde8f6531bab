//! The rows that the fold of the order has come to, and the scratch pad on which one block is tried.
//!
//! Table `State`; all values are CBOR arrays:
//!
//! | key | value |
//! |---|---|
//! | `g` | [`Group`] |
//! | `m` ‖ identity (32) | [`Member`] |
//! | `a` ‖ author (32) | [`Tip`]: the author's last block that counts; its next must build on it |
//! | `c` ‖ claim id (32) | [`ClaimRow`] |
//! | `k` ‖ parent claim id (32) ‖ claim id (32) | empty: the second answers the first |
//! | `v` ‖ old claim id (32) ‖ claim id (32) | empty: the second supersedes the first |
//! | `n` ‖ created_ms (8, big-endian) ‖ claim id (32) | empty: the claim, by its author's clock; none of one that is retracted |
//! | `S` | [`Stepped`]; none while nothing of the kind has happened |
//! | `T` ‖ ticket (32) | [`InviteRow`](super::invite::InviteRow) |
//! | `R` ‖ identity (32) | empty: an admin has removed it, and none has added it since |
//! | `x` ‖ experience id (32) | [`ExperienceRow`] |
//! | `j` `q` `l` `y` `w` ‖ … | tasks and their indexes: [`super::task::rows`] |
//! | `o` `i` `P` `V` `z` ‖ … | offers, purchases and their indexes: [`super::market::rows`] |
//! | `t` | [`Totals`](super::account::Totals) |
//! | `p` | [`Policy`](super::account::Policy) |
//! | `b` ‖ identity (32) | [`Account`](super::account::Account) |
//! | `h` ‖ identity (32) ‖ number (8, big-endian, from 0) | [`Move`](super::account::Move): a change of the account's balance |
//! | `u` ‖ identity (32) | empty: the faucet has paid it |
//! | `r` ‖ text hash (32) | empty: a claim with this text has been rewarded |
//! | `s` | [`Sealing`] |
//! | `e` ‖ number of a seal (8) | [`SealRow`] |
//! | `f` ‖ identity (32) | [`Frozen`]: it has signed two blocks with one number, and may not spend |
//! | `d` ‖ block id (32) | empty: the block lies on a branch that does not count |
//!
//! **A block's changes reach the rows as a whole or not at all**, and with them comes the record that takes them back.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;

use crate::cbor::{self, cbor_array};
use crate::chain::rows::{parse_row, read_row};
use crate::chain::transaction::Secret;
use crate::chain::{BlockId, ClaimId, ObjectHash, Role, TextHash, Tip};
use crate::identity::Identity;
use crate::kv::{KvError, Overlay, Read, Table};

cbor_array! {
    /// What there is one of in a group.
    pub struct Group {
        /// What people call it.
        pub name: String,
        /// The code of its currency.
        pub currency: String,
        /// Who founded it.
        pub creator: Identity,
        /// When, milliseconds since 1970 UTC.
        pub created_ms: u64,
        /// Who seals from the next seal on.
        pub notary: Identity,
        /// Known to members and tickets only.
        pub discovery_secret: Secret,
        /// Number of members.
        pub members: u32,
        /// Number of admins among them.
        pub admins: u32,
    }

    /// How far the order is final.
    #[derive(Copy)]
    pub struct Sealing {
        /// The number of the last seal that counts.
        pub epoch: u64,
        /// That seal.
        pub seal: BlockId,
        /// Who makes the next one: the notary as that seal found it.
        pub sealer: Identity,
        /// The latest time of a seal up to it, milliseconds since 1970 UTC: a clock that nobody can date back.
        pub time_ms: u64,
    }

    /// A seal that counts.
    #[derive(Copy)]
    pub struct SealRow {
        /// Its block.
        pub block: BlockId,
        /// The block's height.
        pub height: u64,
    }

    /// The proof that an identity has signed two blocks with one number.
    #[derive(Copy)]
    pub struct Frozen {
        /// The block that does not count.
        pub block: BlockId,
        /// Its number, which one that counts has as well.
        pub seq: u64,
    }

    /// A member.
    pub struct Member {
        /// What it may do.
        pub role: Role,
        /// When it was added, milliseconds since 1970 UTC.
        pub since_ms: u64,
        /// Who added it.
        pub added_by: Identity,
    }

    /// A claim.
    pub struct ClaimRow {
        /// Who published it.
        pub author: Identity,
        /// When, by the author's clock, milliseconds since 1970 UTC.
        pub created_ms: u64,
        /// Its words.
        pub object: ObjectHash,
        /// The text that it was to be rewarded for: what its words must say to be shown.
        pub rewarded: Option<TextHash>,
        /// Their length in bytes.
        pub size: u32,
        /// The claim that it answers.
        pub parent: Option<ClaimId>,
        /// The block that it came in.
        pub block: BlockId,
        /// The block's number in the author's line.
        pub seq: u64,
        /// The claim's place in the block.
        pub index: u32,
        /// Who took it back, if somebody did.
        pub retracted_by: Option<Identity>,
        /// The claims whose place it takes.
        pub supersedes: Vec<ClaimId>,
    }

    /// How often something that had taken another claim's place was taken back: then the other may stand again.
    #[derive(Default, Copy)]
    pub struct Stepped {
        /// Claims that supersede others and are retracted.
        pub back: u64,
    }

    /// The record of an agent's run.
    pub struct ExperienceRow {
        /// Who submitted it.
        pub author: Identity,
        /// When, by the author's clock, milliseconds since 1970 UTC.
        pub created_ms: u64,
        /// Its bytes.
        pub object: ObjectHash,
        /// Their length.
        pub size: u32,
        /// The block that it came in.
        pub block: BlockId,
        /// The block's number in the author's line.
        pub seq: u64,
        /// Its place in the block.
        pub index: u32,
    }
}

/// Key of the group's row.
pub const GROUP: &[u8] = b"g";

/// Key of the row that says how far the order is final.
pub const SEALING: &[u8] = b"s";

/// Key of the row that counts the superseding claims that are retracted.
pub const STEPPED: &[u8] = b"S";

pub(super) fn keyed(prefix: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + rest.len());
    key.push(prefix);
    key.extend_from_slice(rest);
    key
}

/// Key of a member's row.
#[must_use]
pub fn member_key(identity: &Identity) -> Vec<u8> {
    keyed(b'm', identity.as_bytes())
}

/// Key of a ticket.
#[must_use]
pub fn ticket_key(ticket: &Identity) -> Vec<u8> {
    keyed(b'T', ticket.as_bytes())
}

/// Key of the fact that an admin has removed an identity.
#[must_use]
pub fn removed_key(identity: &Identity) -> Vec<u8> {
    keyed(b'R', identity.as_bytes())
}

/// Key of an author's line.
#[must_use]
pub fn line_key(author: &Identity) -> Vec<u8> {
    keyed(b'a', author.as_bytes())
}

/// Key of a claim.
#[must_use]
pub fn claim_key(claim: &ClaimId) -> Vec<u8> {
    keyed(b'c', claim.as_bytes())
}

/// Key of the fact that `child` answers `parent`.
#[must_use]
pub fn answer_key(parent: &ClaimId, child: &ClaimId) -> Vec<u8> {
    let mut key = keyed(b'k', parent.as_bytes());
    key.extend_from_slice(child.as_bytes());
    key
}

/// Key of the fact that `new` supersedes `old`.
#[must_use]
pub fn superseding_key(old: &ClaimId, new: &ClaimId) -> Vec<u8> {
    let mut key = keyed(b'v', old.as_bytes());
    key.extend_from_slice(new.as_bytes());
    key
}

/// Key of a claim among all by their authors' clocks.
#[must_use]
pub fn recent_key(created_ms: u64, claim: &ClaimId) -> Vec<u8> {
    let mut key = keyed(b'n', &created_ms.to_be_bytes());
    key.extend_from_slice(claim.as_bytes());
    key
}

/// Key of an experience.
#[must_use]
pub fn experience_key(experience: &ClaimId) -> Vec<u8> {
    keyed(b'x', experience.as_bytes())
}

/// Key of a seal.
#[must_use]
pub fn seal_key(epoch: u64) -> Vec<u8> {
    keyed(b'e', &epoch.to_be_bytes())
}

/// Key of the fact that an identity may not spend.
#[must_use]
pub fn frozen_key(identity: &Identity) -> Vec<u8> {
    keyed(b'f', identity.as_bytes())
}

/// Key of the fact that a block lies on a branch that does not count.
#[must_use]
pub fn dead_key(block: &BlockId) -> Vec<u8> {
    keyed(b'd', block.as_bytes())
}

/// How far the order is final; none while nothing of the group is here.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn sealing(kv: &dyn Read) -> Result<Option<Sealing>, KvError> {
    read_row(kv, Table::State, SEALING)
}

/// The group's row; none while nothing of the group is here.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn group(kv: &dyn Read) -> Result<Option<Group>, KvError> {
    read_row(kv, Table::State, GROUP)
}

/// A member's row.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn member(kv: &dyn Read, identity: &Identity) -> Result<Option<Member>, KvError> {
    read_row(kv, Table::State, &member_key(identity))
}

/// An author's last block that counts.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn line_head(kv: &dyn Read, author: &Identity) -> Result<Option<Tip>, KvError> {
    read_row(kv, Table::State, &line_key(author))
}

/// A claim's row.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn claim(kv: &dyn Read, claim: &ClaimId) -> Result<Option<ClaimRow>, KvError> {
    read_row(kv, Table::State, &claim_key(claim))
}

/// How many claims that supersede others are retracted.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn stepped_back(kv: &dyn Read) -> Result<u64, KvError> {
    Ok(read_row::<Stepped>(kv, Table::State, STEPPED)?.unwrap_or_default().back)
}

/// What a block's transactions take back when it is undone: for each changed key its old value.
pub type Undo = Vec<(ByteBuf, Option<ByteBuf>)>;

/// The state as it is while one block is tried: its changes lie on top, and are kept or dropped as a whole.
pub struct Scratch<'a, 'b> {
    base: &'a Overlay<'b>,
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

/// A tried block's changes, ready to be kept.
pub struct Kept(BTreeMap<Vec<u8>, Option<Vec<u8>>>);

impl<'a, 'b> Scratch<'a, 'b> {
    /// Nothing changed yet.
    #[must_use]
    pub fn new(base: &'a Overlay<'b>) -> Self {
        Self { base, changes: BTreeMap::new() }
    }

    /// Reads a row.
    ///
    /// # Errors
    /// [`KvError`] where the store fails.
    pub fn get<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, KvError> {
        match self.changes.get(key) {
            Some(value) => value.as_ref().map(|value| parse_row(Table::State, key, value)).transpose(),
            None => read_row(self.base, Table::State, key),
        }
    }

    /// Whether there is a row.
    ///
    /// # Errors
    /// [`KvError`] where the store fails.
    pub fn is_marked(&self, key: &[u8]) -> Result<bool, KvError> {
        match self.changes.get(key) {
            Some(value) => Ok(value.is_some()),
            None => Ok(self.base.get(Table::State, key)?.is_some()),
        }
    }

    /// Reads a row that must be there.
    ///
    /// # Errors
    /// [`KvError`] where the store fails, or has lost the row.
    pub fn expect<T: DeserializeOwned>(&self, key: &[u8]) -> Result<T, KvError> {
        self.get(key)?.ok_or_else(|| KvError::damaged(Table::State, key))
    }

    /// The keys of all rows that start with `prefix`, ascending.
    ///
    /// # Errors
    /// [`KvError`] where the store fails.
    pub fn keys(&self, prefix: &[u8]) -> Result<Vec<Vec<u8>>, KvError> {
        let mut keys = BTreeSet::new();
        self.base.scan_prefix(Table::State, prefix, &mut |key, _| {
            keys.insert(key.to_vec());
            ControlFlow::Continue(())
        })?;
        let from = (Bound::Included(prefix), Bound::Unbounded);
        for (key, value) in self.changes.range::<[u8], _>(from).take_while(|(key, _)| key.starts_with(prefix)) {
            if value.is_some() {
                keys.insert(key.clone());
            } else {
                keys.remove(key);
            }
        }
        Ok(keys.into_iter().collect())
    }

    /// Sets a row.
    pub fn put<T: Serialize>(&mut self, key: Vec<u8>, value: &T) {
        self.changes.insert(key, Some(cbor::encode(value)));
    }

    /// Sets a row without a value.
    pub fn mark(&mut self, key: Vec<u8>) {
        self.changes.insert(key, Some(Vec::new()));
    }

    /// Removes a row.
    pub fn remove(&mut self, key: Vec<u8>) {
        self.changes.insert(key, None);
    }

    /// Ends the trial with its changes.
    #[must_use]
    pub fn keep(self) -> Kept {
        Kept(self.changes)
    }
}

impl Kept {
    /// Makes the changes part of the state, and gives what takes them back.
    ///
    /// # Errors
    /// [`KvError`] where the store fails.
    pub fn apply(self, kv: &mut Overlay<'_>) -> Result<Undo, KvError> {
        let mut undo = Undo::with_capacity(self.0.len());
        for (key, value) in self.0 {
            let old = kv.get(Table::State, &key)?;
            undo.push((ByteBuf::from(key.clone()), old.map(ByteBuf::from)));
            kv.set(Table::State, key, value);
        }
        Ok(undo)
    }

    /// Makes the changes part of the state for good.
    pub fn write(self, kv: &mut Overlay<'_>) {
        for (key, value) in self.0 {
            kv.set(Table::State, key, value);
        }
    }
}

/// Takes a block's changes back.
pub fn revert(kv: &mut Overlay<'_>, undo: Undo) {
    for (key, old) in undo {
        kv.set(Table::State, key.into_vec(), old.map(ByteBuf::into_vec));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn no_two_kinds_of_rows_have_one_letter() {
        let table = include_str!("state.rs").lines().skip_while(|line| !line.starts_with("//! |---")).skip(1);
        let keys = table.take_while(|line| line.starts_with("//! |")).map(|line| line.split('|').nth(1).unwrap());
        let letters = keys.flat_map(|key| key.split('`').skip(1).step_by(2).filter(|word| word.len() == 1));
        let letters: Vec<&str> = letters.collect();
        assert_eq!(letters.iter().collect::<BTreeSet<_>>().len(), letters.len(), "{letters:?}");
        assert!(letters.len() > 25, "{letters:?}");
    }
}
