//! The write side of a node: commands of its own identities and blocks of its peers become changed rows.
//!
//! One call takes a whole batch and gives all of its changes, which the store commits at once. **Nothing is answered or
//! announced before that commit**: replies and news are part of what the call returns. A batch that is dropped instead
//! leaves nothing behind but a few blocks that sync brings again.

mod batch;
mod io;
mod once;

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;
use serde_bytes::ByteBuf;

pub(super) use self::batch::GroupBatch;
use self::batch::draft;
pub use self::batch::to_seal;
pub use self::io::{Done, Failure, Fresh, Groups, Ingested, News, Reply, Task, ToSeal, Written};
pub use self::once::Name as OnceName;
use super::arrival;
use super::doubt;
use super::intake::{Intake, named};
use super::shut_out::{self, ShutOut};
use super::trade::spending;
use crate::chain::link::{self, Block};
use crate::chain::rows::Wanted;
use crate::chain::transaction::{Genesis, MemberRemove, Seal, Secret};
use crate::chain::{
    Body, ClaimId, Draft, GroupId, Link, LinkFailure, Linked, ObjectHash, Payload, Tip, Transaction, Verified, Waiting,
    rows,
};
use crate::identity::{Identity, SecretKey};
use crate::kv::{KvError, Memory, Read};
use crate::ledger::state::Sealing;
use crate::ledger::{Refusal, arrange, former, knowledge, query, state};
use crate::limits;

/// The node's keys, and what waits for missing parents.
#[derive(Debug, Default)]
pub struct Engine {
    keys: BTreeMap<Identity, SecretKey>,
    waiting: BTreeMap<GroupId, Waiting>,
    /// The last object that a full report of wanted ones has named: the next goes on behind it, so that objects which nobody
    /// has do not hide those that somebody has.
    wanted_after: Option<Wanted>,
}
impl Engine {
    /// An engine that signs with these keys.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = SecretKey>) -> Self {
        Self { keys: keys.into_iter().map(|key| (key.identity(), key)).collect(), ..Self::default() }
    }

    /// Signs with one more key from now on.
    pub fn hold(&mut self, key: SecretKey) {
        self.keys.insert(key.identity(), key);
    }

    /// Signs for an identity no more.
    pub fn forget_key(&mut self, identity: &Identity) {
        self.keys.remove(identity);
    }

    /// Forgets what waits for a group that is left.
    pub fn forget(&mut self, group: &GroupId) {
        self.waiting.remove(group);
    }

    /// Works on a batch: what peers sent first, then the node's own writes, each in the given sequence.
    ///
    /// # Errors
    /// [`KvError`] where the store cannot be read; then nothing was done. Faults of single tasks are in their replies.
    pub fn run<T>(&mut self, view: &dyn Groups, now_ms: u64, tasks: Vec<(T, Task)>) -> Result<Done<T>, KvError> {
        let nothing = Memory::default();
        let mut bases: BTreeMap<GroupId, Box<dyn Read + '_>> = BTreeMap::new();
        for (_, task) in &tasks {
            if let Task::Write { group, .. }
            | Task::Once { group, .. }
            | Task::Settle { group, .. }
            | Task::ShutOut { group, .. }
            | Task::Ingest { group, .. }
            | Task::Seal { group } = task
                && !bases.contains_key(group)
                && let Some(base) = view.group(group)?
            {
                bases.insert(*group, base);
            }
        }
        let mut groups: BTreeMap<GroupId, GroupBatch<'_>> =
            bases.iter().map(|(id, base)| (*id, GroupBatch::new(*id, base.as_ref()))).collect();
        let (ingests, mut writes): (Vec<_>, Vec<_>) =
            tasks.into_iter().partition(|(_, task)| matches!(task, Task::Ingest { .. }));
        // So that a seal covers what was written beside it.
        writes.sort_by_key(|(_, task)| matches!(task, Task::Seal { .. }));
        let mut replies = Vec::new();
        self.ingest_all(&mut groups, ingests, &mut replies)?;
        for (token, task) in writes {
            let result = self.write_one(view, &mut groups, &nothing, now_ms, task);
            if let Err(Failure::Store(error)) = result {
                return Err(error);
            }
            replies.push((token, result));
        }
        let (mut changes, mut news) = (Vec::new(), Vec::new());
        for (id, mut batch) in groups {
            self.sign(&mut batch);
            if batch.news.members.is_some() {
                let members = query::members(&batch.overlay)?;
                batch.news.members = Some(members.into_iter().map(|(identity, _)| identity).collect());
                batch.news.former = former::all(&batch.overlay)?;
            }
            let urgent = batch.news.changes.iter().any(|change| change.urgent);
            batch.news.to_seal = to_seal(&batch.overlay, urgent, |identity| self.keys.contains_key(identity))?;
            let sealed = |kv| Ok::<_, KvError>(state::sealing(kv)?.map(|sealing| sealing.epoch));
            let (before, after) = (sealed(batch.overlay.base())?, sealed(&batch.overlay)?);
            batch.news.sealed = after.filter(|_| after != before);
            batch.news.has_arrivals = arrival::record(&mut batch.overlay, &batch.news.changes, &batch.filled, now_ms)?;
            let changed = batch.overlay.into_changes();
            if !changed.is_empty() {
                changes.push((id, changed));
                news.push(batch.news);
            }
        }
        Ok(Done { changes, replies, news })
    }

    /// Signs a batch's own blocks side by side, and writes their bytes.
    fn sign(&self, batch: &mut GroupBatch<'_>) {
        let drafts = std::mem::take(&mut batch.drafts);
        let signed: Vec<(Linked<Verified>, Vec<ByteBuf>)> = drafts
            .into_par_iter()
            .filter_map(|(draft, objects)| {
                let key = self.keys.get(&draft.block().body().author)?;
                Some((draft.sign(key), objects))
            })
            .collect();
        for (linked, objects) in signed {
            let block = linked.block();
            rows::set_block(&mut batch.overlay, &block.line_key(), block.signature(), block.bytes());
            batch.news.blocks.push((None, Arc::new(fresh(block, objects))));
        }
    }

    fn write_one<'a>(
        &self,
        own: &dyn Groups,
        groups: &mut BTreeMap<GroupId, GroupBatch<'a>>,
        nothing: &'a Memory,
        now_ms: u64,
        task: Task,
    ) -> Result<Reply, Failure> {
        match task {
            Task::Found { author, genesis } => {
                self.require_key(&author)?;
                let body = Body {
                    group: None,
                    author,
                    seq: 0,
                    prev: None,
                    parents: vec![],
                    height: 0,
                    time_ms: now_ms,
                    payload: Payload::Plain(vec![Transaction::Genesis(genesis)]),
                };
                let draft = Draft::new(body)?;
                let group = GroupId::from(draft.id());
                let mut batch = GroupBatch::new(group, nothing);
                let linked = match link::link(&batch.overlay, draft) {
                    Ok(Link::Linked(linked)) => linked,
                    Err(LinkFailure::Store(error)) => return Err(error.into()),
                    Ok(_) | Err(LinkFailure::Block(_)) => return Err(Refusal::AlreadyFounded.into()),
                };
                batch.keep(linked, vec![], None)?;
                groups.insert(group, batch);
                Ok(Reply::Founded(group))
            }
            Task::Seal { group } => {
                let batch = groups.get_mut(&group).ok_or(Failure::NoSuchGroup(group))?;
                self.seal(batch, now_ms).map(Reply::Written)
            }
            Task::Write { group, author, transactions, objects } => {
                self.require_key(&author)?;
                let batch = groups.get_mut(&group).ok_or(Failure::NoSuchGroup(group))?;
                require_known(&batch.overlay, group, is_leaving(author, &transactions))?;
                self.write_all(own, batch, author, now_ms, transactions, objects).map(Reply::Written)
            }
            Task::Once { name, group, author, transactions, objects } => {
                self.require_key(&author)?;
                let batch = groups.get_mut(&group).ok_or(Failure::NoSuchGroup(group))?;
                let request = once::request_hash(&transactions);
                if let Some(written) = once::done(&batch.overlay, name, request)? {
                    return Ok(Reply::Written(written));
                }
                require_known(&batch.overlay, group, false)?;
                let written = self.write_all(own, batch, author, now_ms, transactions, objects)?;
                once::keep(&mut batch.overlay, name, request, &written, now_ms)?;
                Ok(Reply::Written(written))
            }
            Task::Settle { group, as_of } => {
                let batch = groups.get_mut(&group).ok_or(Failure::NoSuchGroup(group))?;
                let mut is_so = true;
                for (author, tips) in as_of.iter().flatten() {
                    is_so &= rows::tips(&batch.overlay, author)? == *tips;
                }
                if is_so && rows::in_doubt(&batch.overlay)? {
                    batch.doubt(false);
                }
                Ok(Reply::Written(Written::default()))
            }
            Task::ShutOut { group, mark } => {
                let batch = groups.get_mut(&group).ok_or(Failure::NoSuchGroup(group))?;
                let mark = mark.map(|(why, by)| ShutOut { why, by, since_ms: now_ms });
                if shut_out::set(&mut batch.overlay, mark.as_ref())? {
                    batch.news.shut_out = Some(mark);
                }
                Ok(Reply::Written(Written::default()))
            }
            Task::Ingest { group, .. } => Err(Failure::NoSuchGroup(group)),
        }
    }

    /// Makes the group's next seal, unless it would cover nothing: what is open may be another branch of the sealer's own line.
    fn seal(&self, batch: &mut GroupBatch<'_>, now_ms: u64) -> Result<Written, Failure> {
        let group = batch.news.group;
        let Some(Sealing { epoch, sealer, .. }) = state::sealing(&batch.overlay)? else {
            return Err(Failure::NotHereYet(group));
        };
        self.require_key(&sealer)?;
        // In doubt: a seal as well would take a number again. It is asked for anew.
        if rows::counters(&batch.overlay)?.open() == 0 || rows::in_doubt(&batch.overlay)? {
            return Ok(Written::default());
        }
        let seal = Transaction::Seal(Seal { epoch: epoch + 1 });
        let linked = draft(&batch.overlay, group, sealer, now_ms, vec![seal])?;
        let mut covers = false;
        for below in linked.block().body().builds_on() {
            covers |= !arrange::is_final(&batch.overlay, &below)?;
        }
        if !covers {
            return Ok(Written::default());
        }
        let (id, time_ms) = (linked.block().id(), linked.block().body().time_ms);
        batch.keep(linked, vec![], None)?;
        Ok(Written { blocks: vec![id], claims: vec![], time_ms })
    }

    fn require_key(&self, author: &Identity) -> Result<(), Failure> {
        if self.keys.contains_key(author) { Ok(()) } else { Err(Failure::NoKey(*author)) }
    }

    /// Writes all transactions or none: they are tried on a batch of their own, which becomes part of the outer one at the end.
    fn write_all(
        &self,
        own: &dyn Groups,
        outer: &mut GroupBatch<'_>,
        author: Identity,
        now_ms: u64,
        mut transactions: Vec<Transaction>,
        objects: Vec<Vec<u8>>,
    ) -> Result<Written, Failure> {
        let group = outer.news.group;
        let per_day = spending::to_keep(own, &group, &author, &transactions)?;
        knowledge::drop_vain_asks(&outer.overlay, &mut transactions)?;
        let objects: BTreeMap<ObjectHash, Vec<u8>> =
            objects.into_iter().map(|object| (ObjectHash::of(&object), object)).collect();
        let mut written = Written::default();
        let mut inner = GroupBatch::new(group, &outer.overlay);
        let mut transactions = transactions.into_iter().peekable();
        while transactions.peek().is_some() {
            let chunk: Vec<_> = transactions.by_ref().take(limits::BLOCK_TRANSACTIONS).collect();
            let linked = draft(&inner.overlay, group, author, now_ms, chunk)?;
            let body = linked.block().body();
            let line = linked.block().line_key();
            let mut sent = BTreeMap::new();
            for (index, hash) in named(body) {
                if let Some(object) = objects.get(&hash) {
                    rows::set_object(&mut inner.overlay, &line, index, object.clone());
                    sent.entry(hash).or_insert_with(|| ByteBuf::from(object.clone()));
                }
            }
            let id = linked.block().id();
            written.blocks.push(id);
            written.time_ms = body.time_ms;
            written.claims.extend(
                (0..)
                    .zip(body.transactions())
                    .filter(|(_, transaction)| transaction.object().is_some())
                    .map(|(index, _)| ClaimId::derive(id, index)),
            );
            inner.write(linked, sent.into_values().collect())?;
        }
        if let Some(per_day) = per_day {
            spending::keep(per_day, &outer.overlay, &inner.overlay, &author, now_ms)?;
        }
        let GroupBatch { overlay, drafts, news, .. } = inner;
        let changes = overlay.into_changes();
        outer.overlay.absorb(changes);
        outer.drafts.extend(drafts);
        outer.news.blocks.extend(news.blocks);
        for change in news.changes {
            outer.took(change);
        }
        Ok(written)
    }

    fn ingest_all<T>(
        &mut self,
        groups: &mut BTreeMap<GroupId, GroupBatch<'_>>,
        tasks: Vec<(T, Task)>,
        replies: &mut Vec<(T, Result<Reply, Failure>)>,
    ) -> Result<(), KvError> {
        let mut linked: BTreeMap<GroupId, Vec<Linked<Verified>>> = BTreeMap::new();
        let mut reports = Vec::new();
        for (token, task) in tasks {
            let Task::Ingest { group, peer, blocks, objects } = task else { continue };
            let Some(batch) = groups.get_mut(&group) else {
                replies.push((token, Err(Failure::NoSuchGroup(group))));
                continue;
            };
            // A longer one would fit no answer of ours, and who asked for it would blame us.
            let objects = objects.into_iter().filter(|(_, object)| object.len() <= limits::OBJECT_BYTES).collect();
            let is_ours = |author: &Identity| self.keys.contains_key(author);
            if doubt::is_behind(&batch.overlay, is_ours, &blocks)? && !rows::in_doubt(&batch.overlay)? {
                batch.doubt(true);
            }
            let waiting = self.waiting.entry(group).or_default();
            let mut intake = Intake::new(batch, waiting, peer, objects);
            let stored = intake.take(blocks)?;
            reports.push((token, group, peer, intake.finish(&mut self.wanted_after)?));
            linked.entry(group).or_default().extend(stored);
        }
        for (group, blocks) in linked {
            if let Some(batch) = groups.get_mut(&group) {
                for change in arrange::insert(&mut batch.overlay, &blocks)? {
                    batch.took(change);
                }
            }
        }
        for (token, group, peer, mut report) in reports {
            if let Some(waiting) = self.waiting.get(&group) {
                report.missing = waiting.missing(&peer, limits::WANT_IDS);
            }
            replies.push((token, Ok(Reply::Ingested(report))));
        }
        self.waiting.retain(|_, waiting| !waiting.is_empty());
        Ok(())
    }
}

/// Whether somebody wants to be no member any more, and nothing else.
fn is_leaving(author: Identity, transactions: &[Transaction]) -> bool {
    matches!(transactions, [Transaction::MemberRemove(MemberRemove { identity })] if *identity == author)
}

/// Refuses to write where it could be lost: this node may lack blocks of its own, or others take it for no member. To those who do, nothing
/// is lost by one that leaves.
fn require_known(kv: &dyn Read, group: GroupId, is_leaving: bool) -> Result<(), Failure> {
    if rows::in_doubt(kv)? {
        return Err(Failure::InDoubt(group));
    }
    match shut_out::shut_out(kv)?.filter(|_| !is_leaving) {
        Some(said) => Err(Failure::ShutOut { group, said }),
        None => Ok(()),
    }
}

pub(super) fn fresh(block: &Verified, objects: Vec<ByteBuf>) -> Fresh {
    let body = block.body();
    Fresh {
        author: body.author,
        prev: body.prev,
        tip: Tip { seq: body.seq, id: block.id() },
        block: block.to_unverified(),
        objects,
    }
}

/// A genesis with a secret of its own.
#[must_use]
pub fn genesis(name: String, currency: String, secret: [u8; 32]) -> Genesis {
    Genesis { name, currency, discovery_secret: Secret(secret) }
}
