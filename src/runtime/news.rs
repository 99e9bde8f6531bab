//! What the writer made durable, as events for who watches.

use super::events::Events;
use crate::api::types::EventKind;
use crate::cbor;
use crate::chain::{BlockId, Body, ClaimId, FOUNDING_EPOCH, Transaction};
use crate::ledger::Outcome;
use crate::limits;
use crate::node::engine::News;

/// Tells the last of what is new: no more than is kept of it anyway.
pub fn tell(events: &Events, news: &News) {
    let group_id = news.group.to_string();
    for author in &news.equivocators {
        events.tell(EventKind::ForkDetected { group_id: group_id.clone(), author: author.to_string() });
    }
    match news.in_doubt {
        Some(true) => {
            tracing::warn!(group = %news.group, "a peer has blocks of this node that are not here: nothing is written until all is");
            events.tell(EventKind::OwnLineInDoubt { group_id: group_id.clone() });
        }
        Some(false) => events.tell(EventKind::OwnLineSettled { group_id: group_id.clone() }),
        None => {}
    }
    tell_changes(events, news, &group_id);
    if let Some(epoch) = news.sealed.filter(|epoch| *epoch > FOUNDING_EPOCH) {
        events.tell(EventKind::Sealed { group_id, epoch });
    }
}

fn tell_changes(events: &Events, news: &News, group_id: &str) {
    let from = news.changes.len().saturating_sub(limits::EVENT_BACKLOG);
    let changes = news.changes.get(from..).unwrap_or_default();
    let bodies: std::collections::BTreeMap<BlockId, &[u8]> = news
        .blocks
        .iter()
        .rev()
        .take(limits::EVENT_BACKLOG)
        .map(|(_, fresh)| (fresh.tip.id, fresh.block.body.as_slice()))
        .collect();
    for change in changes {
        match (&change.before, &change.after) {
            (_, Outcome::Refused(_, refusal)) => events.tell(EventKind::BlockRejected {
                group_id: group_id.to_owned(),
                block_id: change.block.to_string(),
                author: change.author.to_string(),
                reason: refusal.to_string(),
            }),
            (Some(_), Outcome::Applied) => events.tell(EventKind::BlockReinstated {
                group_id: group_id.to_owned(),
                block_id: change.block.to_string(),
                author: change.author.to_string(),
            }),
            (None, Outcome::Applied) => {
                let body = bodies.get(&change.block);
                if let Some(body) = body.and_then(|bytes| cbor::decode_lenient::<Body>(bytes, bytes.len()).ok()) {
                    tell_block(events, group_id, change.block, &body);
                }
            }
        }
    }
}

fn tell_block(events: &Events, group_id: &str, block: BlockId, body: &Body) {
    let group_id = || group_id.to_owned();
    let author = || body.author.to_string();
    for (index, transaction) in (0..).zip(body.transactions()) {
        let published = || ClaimId::derive(block, index).to_string();
        let changed = |member: &crate::identity::Identity, role: Option<crate::chain::Role>| EventKind::MemberChanged {
            group_id: group_id(),
            member_id: member.to_string(),
            role,
        };
        events.tell(match transaction {
            Transaction::Genesis(genesis) => {
                EventKind::GroupJoined { group_id: group_id(), name: genesis.name.clone() }
            }
            Transaction::MemberAdd(add) => changed(&add.identity, Some(add.role)),
            Transaction::MemberRemove(remove) => changed(&remove.identity, None),
            Transaction::RoleSet(set) => changed(&set.identity, Some(set.role)),
            Transaction::NotarySet(set) => {
                EventKind::NotaryChanged { group_id: group_id(), notary: set.identity.to_string() }
            }
            Transaction::Unfreeze(unfreeze) => {
                EventKind::Unfrozen { group_id: group_id(), member_id: unfreeze.identity.to_string() }
            }
            Transaction::Claim(_) => {
                EventKind::ClaimPublished { group_id: group_id(), claim_hash: published(), author: author() }
            }
            Transaction::Retract(retract) => EventKind::ClaimRetracted {
                group_id: group_id(),
                claim_hash: retract.claim.to_string(),
                author: author(),
            },
            Transaction::Experience(_) => {
                EventKind::ExperienceSubmitted { group_id: group_id(), experience_hash: published(), author: author() }
            }
            _ => continue,
        });
    }
}
