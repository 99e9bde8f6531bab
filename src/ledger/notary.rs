//! Who seals, and who may spend again after a fork of its line: `seal`, `notary_set`, `unfreeze`.
//!
//! **A group always has a notary that is an admin**, because nobody ends the membership of one before it has handed over, and the seal
//! that makes this final is there.

use super::fold::{Refused, Site, refuse};
use super::market;
use super::membership::require;
use super::outcome::Refusal;
use super::state::{self, Frozen, Group, Member, Scratch, SealRow, Sealing};
use crate::chain::Role;
use crate::chain::transaction::{NotarySet, Seal, Unfreeze};
use crate::identity::Identity;
use crate::kv::KvError;

pub(super) fn seal(scratch: &mut Scratch<'_, '_>, site: &Site, seal: &Seal) -> Result<(), Refused> {
    if site.seals != Some(seal.epoch) {
        return refuse(Refusal::NotTheSeal(seal.epoch));
    }
    let group: Group = scratch.expect(state::GROUP)?;
    mark_sealed(scratch, site, seal.epoch, group.notary)?;
    market::at_seal(scratch, site)
}

/// Notes that a block is the seal with this number, and who makes the next.
pub(super) fn mark_sealed(
    scratch: &mut Scratch<'_, '_>,
    site: &Site,
    epoch: u64,
    sealer: Identity,
) -> Result<(), KvError> {
    let before: Option<Sealing> = scratch.get(state::SEALING)?;
    let time_ms = before.map_or(site.time_ms, |before| before.time_ms.max(site.time_ms));
    scratch.put(state::SEALING.to_vec(), &Sealing { epoch, seal: site.block, sealer, time_ms });
    scratch.put(state::seal_key(epoch), &SealRow { block: site.block, height: site.height });
    Ok(())
}

pub(super) fn set(scratch: &mut Scratch<'_, '_>, site: &Site, set: &NotarySet) -> Result<(), Refused> {
    let mut group: Group = scratch.expect(state::GROUP)?;
    if group.notary != site.author {
        return refuse(Refusal::NotTheNotary { author: site.author, notary: group.notary });
    }
    if group.notary == set.identity {
        return refuse(Refusal::SameNotary(set.identity));
    }
    match scratch.get::<Member>(&state::member_key(&set.identity))? {
        None => return refuse(Refusal::NoSuchMember(set.identity)),
        Some(member) if member.role < Role::Admin => return refuse(Refusal::NotaryNotAdmin(set.identity)),
        Some(_) => {}
    }
    group.notary = set.identity;
    scratch.put(state::GROUP.to_vec(), &group);
    Ok(())
}

pub(super) fn unfreeze(scratch: &mut Scratch<'_, '_>, site: &Site, unfreeze: &Unfreeze) -> Result<(), Refused> {
    require(scratch, site, Role::Admin)?;
    let key = state::frozen_key(&unfreeze.identity);
    if scratch.get::<Frozen>(&key)?.is_none() {
        return refuse(Refusal::NotFrozen(unfreeze.identity));
    }
    let group: Group = scratch.expect(state::GROUP)?;
    if unfreeze.identity == site.author && group.admins > 1 {
        return refuse(Refusal::Frozen(site.author));
    }
    scratch.remove(key);
    Ok(())
}

/// Refuses where an identity has signed two blocks with one number, and no admin has let it spend again.
pub(super) fn require_not_frozen(scratch: &Scratch<'_, '_>, identity: &Identity) -> Result<(), Refused> {
    match scratch.get::<Frozen>(&state::frozen_key(identity))? {
        Some(_) => refuse(Refusal::Frozen(*identity)),
        None => Ok(()),
    }
}

/// Refuses where an identity seals, or is to seal from the next seal on.
pub(super) fn require_not_notary(scratch: &Scratch<'_, '_>, group: &Group, identity: &Identity) -> Result<(), Refused> {
    let sealing: Sealing = scratch.expect(state::SEALING)?;
    if *identity == group.notary || *identity == sealing.sealer {
        return refuse(Refusal::IsNotary(*identity));
    }
    Ok(())
}
