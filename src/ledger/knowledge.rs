//! What members publish: `claim`, `retract`, `experience`.
//!
//! **A claim is its author's**: nobody else but an admin takes it back or puts another in its place, and nobody chooses or reuses
//! its id. Two claims that supersede one, published apart, both stand.

use super::account;
use super::fold::{Refused, Site, refuse};
use super::membership::require;
use super::outcome::Refusal;
use super::state::{self, ClaimRow, ExperienceRow, Scratch, Stepped};
use super::token;
use crate::chain::transaction::{Claim, Experience, Retract};
use crate::chain::{ClaimId, Role, Transaction};
use crate::kv::{KvError, Read};

/// Publishes a claim; where it names a text that nobody was rewarded for, its author earns the group's reward.
pub(super) fn claim(scratch: &mut Scratch<'_, '_>, site: &Site, index: u32, claim: &Claim) -> Result<(), Refused> {
    let role = require(scratch, site, Role::Member)?;
    let id = ClaimId::derive(site.block, index);
    for old in &claim.supersedes {
        let Some(row) = scratch.get::<ClaimRow>(&state::claim_key(old))? else {
            return refuse(Refusal::NoSuchClaim(*old));
        };
        if row.author != site.author && role != Role::Admin {
            return refuse(Refusal::NotYoursToSupersede(*old));
        }
        // One that is retracted may be named: its author could not know, and what is said in its place is no worse for it.
        scratch.mark(state::superseding_key(old, &id));
    }
    if let Some(parent) = claim.parent {
        if scratch.get::<ClaimRow>(&state::claim_key(&parent))?.is_none() {
            return refuse(Refusal::NoSuchParent(parent));
        }
        scratch.mark(state::answer_key(&parent, &id));
    }
    let row = ClaimRow {
        author: site.author,
        created_ms: site.time_ms,
        object: claim.object,
        rewarded: claim.rewarded,
        size: claim.size,
        parent: claim.parent,
        block: site.block,
        seq: site.seq,
        index,
        retracted_by: None,
        supersedes: claim.supersedes.clone(),
    };
    scratch.put(state::claim_key(&id), &row);
    scratch.mark(state::recent_key(site.time_ms, &id));
    claim.rewarded.map_or(Ok(()), |text| token::reward(scratch, site, index, &text))
}

pub(super) fn retract(scratch: &mut Scratch<'_, '_>, site: &Site, retract: &Retract) -> Result<(), Refused> {
    let role = require(scratch, site, Role::Viewer)?;
    let key = state::claim_key(&retract.claim);
    let Some(mut row) = scratch.get::<ClaimRow>(&key)? else { return refuse(Refusal::NoSuchClaim(retract.claim)) };
    if row.retracted_by.is_some() {
        return refuse(Refusal::AlreadyRetracted(retract.claim));
    }
    if row.author != site.author && role != Role::Admin {
        return refuse(Refusal::NotYourClaim(retract.claim));
    }
    row.retracted_by = Some(site.author);
    scratch.put(key, &row);
    scratch.remove(state::recent_key(row.created_ms, &retract.claim));
    if !row.supersedes.is_empty() {
        let Stepped { back } = scratch.get(state::STEPPED)?.unwrap_or_default();
        scratch.put(state::STEPPED.to_vec(), &Stepped { back: back + 1 });
    }
    Ok(())
}

pub(super) fn experience(
    scratch: &mut Scratch<'_, '_>,
    site: &Site,
    index: u32,
    experience: &Experience,
) -> Result<(), Refused> {
    require(scratch, site, Role::Member)?;
    let row = ExperienceRow {
        author: site.author,
        created_ms: site.time_ms,
        object: experience.object,
        size: experience.size,
        block: site.block,
        seq: site.seq,
        index,
    };
    scratch.put(state::experience_key(&ClaimId::derive(site.block, index)), &row);
    Ok(())
}

/// Drops what claims ask to be rewarded for, where the group rewards none: 34 bytes of each that nobody needs.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn drop_vain_asks(kv: &dyn Read, transactions: &mut [Transaction]) -> Result<(), KvError> {
    let mut asks = transactions.iter_mut().filter_map(|transaction| match transaction {
        Transaction::Claim(claim) => Some(&mut claim.rewarded),
        _ => None,
    });
    let Some(first) = asks.next() else { return Ok(()) };
    if account::policy(kv)?.claim_reward_amount == 0 {
        *first = None;
        asks.for_each(|asked| *asked = None);
    }
    Ok(())
}
