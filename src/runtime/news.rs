//! What the writer made durable, as events for who watches.

use std::collections::BTreeSet;

use super::events::Events;
use crate::api::types::EventKind;
use crate::cbor;
use crate::chain::transaction::{Mint, TaskId, Transfer, TreasuryPay};
use crate::chain::{BlockId, Body, ClaimId, FOUNDING_EPOCH, Transaction, rows};
use crate::identity::Identity;
use crate::kv::KvError;
use crate::ledger::account::Cause;
use crate::ledger::{Change, Outcome, task};
use crate::limits;
use crate::node::engine::{Groups, News};
use crate::store::Store;

/// What of buying and selling may have moved. Most news are of neither, and each identity of the node has a task that would look.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// Purchases, or who may buy and sell.
    pub trade: bool,
    /// Offers have come or gone.
    pub offers: bool,
}

/// Tells the last of what is new: no more than is kept of it anyway. Tells the caller what of buying and selling may have moved.
pub fn tell(events: &Events, store: &Store, news: &News) -> Moved {
    let group_id = news.group.to_string();
    if news.members.is_some() {
        events.members_changed();
    }
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
    match &news.shut_out {
        Some(Some(said)) => {
            tracing::warn!(group = %news.group, by = %said.by, why = said.why.word(), "a member says that this node is none any more: nothing is written");
            let (why, by) = (said.why.word().to_owned(), said.by.to_string());
            events.tell(EventKind::MembershipRefused { group_id: group_id.clone(), why, by });
        }
        Some(None) => events.tell(EventKind::MembershipServed { group_id: group_id.clone() }),
        None => {}
    }
    let mut moved = tell_changes(events, store, news, &group_id);
    // A seal decides, and its time is what deadlines run from.
    moved.trade |= moved.offers || news.sealed.is_some() || news.in_doubt.is_some();
    if news.has_arrivals {
        events.arrived();
    }
    if let Some(epoch) = news.sealed.filter(|epoch| *epoch > FOUNDING_EPOCH) {
        events.tell(EventKind::Sealed { group_id, epoch });
    }
    moved
}

fn tell_changes(events: &Events, store: &Store, news: &News, group_id: &str) -> Moved {
    // What turned out otherwise concerns its author, and nothing that is merely new may push it out: it has its place first, and is told
    // last.
    let (turned, new): (Vec<&Change>, Vec<&Change>) =
        news.changes.iter().partition(|change| change.before.is_some() || !change.after.is_applied());
    let turned = last(&turned, limits::EVENT_BACKLOG);
    let new = last(&new, limits::EVENT_BACKLOG - turned.len());
    let bodies: std::collections::BTreeMap<BlockId, &[u8]> = news
        .blocks
        .iter()
        .rev()
        .take(limits::EVENT_BACKLOG)
        .map(|(_, fresh)| (fresh.tip.id, fresh.block.body.as_slice()))
        .collect();
    let mut tasks = BTreeSet::new();
    let any = !turned.is_empty() || new.len() < news.blocks.len() || news.members.is_some();
    let mut moved = Moved { trade: any, offers: any };
    for change in new {
        let body = bodies.get(&change.block);
        if let Some(body) = body.and_then(|bytes| cbor::decode_lenient::<Body>(bytes, bytes.len()).ok()) {
            tell_block(events, group_id, change.block, &body);
            let is_offer = |it: &Transaction| matches!(it, Transaction::OfferCreate(_) | Transaction::OfferRevoke(_));
            moved.offers |= body.transactions().iter().any(is_offer);
            moved.trade |= body.transactions().iter().any(Transaction::is_of_market);
            tasks.extend(body.transactions().iter().filter_map(Transaction::task).cloned());
        } else {
            // It came before, and counts only now.
            moved = Moved { trade: true, offers: true };
        }
    }
    if let Err(error) = tell_tasks(events, store, news, tasks, last(turned, limits::EVENT_TASK_BLOCKS)) {
        tracing::warn!(%error, "events of tasks are left out");
    }
    for change in turned {
        let (group_id, block_id, author) = (group_id.to_owned(), change.block.to_string(), change.author.to_string());
        events.tell(match &change.after {
            Outcome::Refused(_, refusal) => {
                EventKind::BlockRejected { group_id, block_id, author, reason: refusal.to_string() }
            }
            Outcome::Applied => EventKind::BlockReinstated { group_id, block_id, author },
        });
    }
    moved
}

/// The last of some, at most so many.
fn last<T>(all: &[T], most: usize) -> &[T] {
    all.get(all.len().saturating_sub(most)..).unwrap_or_default()
}

/// Tells how tasks stand now that a block has changed, or that a block concerned which counts no more or counts again.
fn tell_tasks(
    events: &Events,
    store: &Store,
    news: &News,
    mut tasks: BTreeSet<TaskId>,
    moved: &[&Change],
) -> Result<(), KvError> {
    if tasks.is_empty() && moved.is_empty() {
        return Ok(());
    }
    let view = store.view()?;
    let Some(kv) = view.group(&news.group)? else { return Ok(()) };
    for change in moved {
        let body = rows::body(kv.as_ref(), &change.line)?;
        tasks.extend(body.transactions().iter().filter_map(Transaction::task).cloned());
    }
    for id in tasks {
        let Some(row) = task::query::row(kv.as_ref(), &id)? else { continue };
        events.tell(EventKind::TaskChanged {
            group_id: news.group.to_string(),
            task_id: id.0,
            status: row.status,
            assignee: row.assignee.map(|assignee| assignee.to_string()),
            attempt: row.attempt,
        });
    }
    Ok(())
}

fn tell_block(events: &Events, group_id: &str, block: BlockId, body: &Body) {
    let group_id = || group_id.to_owned();
    let author = || body.author.to_string();
    for (index, transaction) in (0..).zip(body.transactions()) {
        let published = || ClaimId::derive(block, index).to_string();
        let changed = |member: &Identity, role: Option<crate::chain::Role>| EventKind::MemberChanged {
            group_id: group_id(),
            member_id: member.to_string(),
            role,
        };
        let moved = |cause: Cause, to: &Identity, amount: u64| EventKind::TokensMoved {
            group_id: group_id(),
            kind: cause.word().to_owned(),
            author: author(),
            to: to.to_string(),
            amount,
            block_id: block.to_string(),
        };
        events.tell(match transaction {
            Transaction::Genesis(genesis) => {
                EventKind::GroupJoined { group_id: group_id(), name: genesis.name.clone() }
            }
            Transaction::MemberAdd(add) => changed(&add.identity, Some(add.role)),
            // Its role is the ticket's: told by who reads the rows.
            Transaction::MemberJoin(join) => {
                EventKind::MemberJoined { group_id: group_id(), member_id: join.identity.to_string() }
            }
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
            Transaction::Mint(Mint { to, amount }) => moved(Cause::Mint, to, *amount),
            Transaction::Transfer(Transfer { to, amount }) => moved(Cause::Transfer, to, *amount),
            Transaction::TreasuryPay(TreasuryPay { to, amount }) => moved(Cause::TreasuryPay, to, *amount),
            Transaction::PolicyUpdate(update) => EventKind::PolicyChanged {
                group_id: group_id(),
                author: author(),
                changed: *update,
                block_id: block.to_string(),
            },
            _ => continue,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::GroupId;
    use crate::chain::rows::LineKey;
    use crate::identity::SecretKey;
    use crate::ledger::Refusal;
    use crate::node::engine::Fresh;

    #[test]
    fn who_is_refused_is_told_however_much_is_new_besides() {
        let author = SecretKey::from_seed(&[7; 32]).identity();
        let block = |number: u64| BlockId::of(&number.to_be_bytes());
        let change = |number: u64, before: Option<Outcome>, after: Outcome| Change {
            block: block(number),
            line: LineKey::new(&author, number, &block(number)),
            author,
            before,
            after,
            membership: false,
            urgent: false,
            claims: vec![],
        };
        let refused = change(0, Some(Outcome::Applied), Outcome::Refused(0, Refusal::NotAMember(author)));
        let many = 2 * limits::EVENT_BACKLOG as u64;
        let new = (1..=many).map(|number| change(number, None, Outcome::Applied));
        let news = News {
            group: GroupId::from_bytes([1; 32]),
            blocks: Vec::<(Option<Identity>, std::sync::Arc<Fresh>)>::new(),
            changes: std::iter::once(refused).chain(new).collect(),
            members: None,
            former: std::collections::BTreeMap::new(),
            shut_out: None,
            equivocators: vec![],
            in_doubt: None,
            to_seal: None,
            sealed: None,
            has_arrivals: false,
        };
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("lbm.redb"), &author).unwrap();
        let events = Events::default();
        tell(&events, &store, &news);
        let told: Vec<EventKind> = events.follow(0).0.into_iter().map(|event| event.kind).collect();
        assert!(
            matches!(&told[..], [EventKind::BlockRejected { block_id, .. }] if *block_id == block(0).to_string()),
            "{told:?}"
        );
    }
}
