//! The second half of what it takes to trust a block: `Verified -> Linked`.
//!
//! **Only [`link`] makes a [`Linked`] block**: one whose previous block and parents are stored, with numbers, heights and times
//! that agree. [`store`] writes its rows. Everything that reaches the ledger has come this way.

use super::block::{Draft, Invalid, Payload, Verified};
use super::ids::{BlockId, GroupId};
use super::order::{FOUNDING_EPOCH, OPEN_EPOCH, OrderKey};
use super::rows::{self, Head, LineKey, Placed, Tip};
use super::{Body, Transaction};
use crate::identity::Identity;
use crate::kv::{KvError, Overlay, Read};
use crate::limits;

/// A block with everything that it builds on in place.
#[derive(Debug, Clone)]
pub struct Linked<B>(B);

impl<B> Linked<B> {
    /// The block.
    pub const fn block(&self) -> &B {
        &self.0
    }
}

/// What linking reads of a block: one that was received, or one of our own that is yet to be signed.
pub trait Block {
    /// The hash of its body.
    fn id(&self) -> BlockId;
    /// What is, or will be, signed.
    fn body(&self) -> &Body;
    /// Length of its bytes.
    fn size(&self) -> usize;

    /// Where it lies in its author's line.
    fn line_key(&self) -> LineKey {
        LineKey::new(&self.body().author, self.body().seq, &self.id())
    }

    /// Its place in the order while no seal covers it: a group's founding is sealed by itself.
    fn order_key(&self) -> OrderKey {
        let epoch = if self.body().group.is_none() { FOUNDING_EPOCH } else { OPEN_EPOCH };
        OrderKey { epoch, height: self.body().height, id: self.id() }
    }
}

impl Block for Verified {
    fn id(&self) -> BlockId {
        Self::id(self)
    }

    fn body(&self) -> &Body {
        Self::body(self)
    }

    fn size(&self) -> usize {
        self.bytes().len()
    }
}

impl Block for Draft {
    fn id(&self) -> BlockId {
        Self::id(self)
    }

    fn body(&self) -> &Body {
        Self::body(self)
    }

    fn size(&self) -> usize {
        self.bytes().len()
    }
}

/// What a verified block turned out to be.
#[derive(Debug)]
pub enum Link<B> {
    /// It is stored already.
    Known,
    /// It builds on blocks that are not here.
    Waits(B, Vec<BlockId>),
    /// Its author has been named as a member by no block that is here.
    Stranger(Identity),
    /// Everything is in place.
    Linked(Linked<B>),
}

/// A verified block contradicts what it builds on: its author made it so, and who relays it has not checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The previous block is another author's, or not the one before.
    #[error("the block's number does not follow its previous block's")]
    Seq,
    /// The height is not 1 + the highest of what it builds on.
    #[error("the block's height is not one above what it builds on")]
    Height,
    /// It is dated before its author's previous block, or by more than the allowed drift before another that its author saw.
    #[error("the block is dated before what it builds on")]
    Time,
    /// A parent is another block of the same author.
    #[error("a parent of the block is its author's own")]
    OwnParent,
    /// A second genesis.
    #[error("the group has its genesis already")]
    Genesis,
}

/// Why linking did not come to a result.
#[derive(Debug, thiserror::Error)]
pub enum LinkFailure {
    /// The block is at fault.
    #[error(transparent)]
    Block(#[from] LinkError),
    /// The store is.
    #[error(transparent)]
    Store(#[from] KvError),
}

/// Checks a block against what it builds on.
///
/// # Errors
/// [`LinkFailure`] names the contradiction, or the store's fault.
pub fn link<B: Block>(kv: &dyn Read, block: B) -> Result<Link<B>, LinkFailure> {
    if rows::placed(kv, &block.id())?.is_some() {
        return Ok(Link::Known);
    }
    let body = block.body();
    if body.group.is_none() {
        let is_first = rows::counters(kv)?.blocks == 0;
        return if is_first { Ok(Link::Linked(Linked(block))) } else { Err(LinkError::Genesis.into()) };
    }
    let mut missing = Vec::new();
    let (mut height, mut seen_ms) = (0, 0);
    let mut look = |id: &BlockId| -> Result<Option<Placed>, KvError> {
        let placed = rows::placed(kv, id)?;
        match &placed {
            Some(placed) => {
                height = height.max(placed.height);
                seen_ms = seen_ms.max(placed.time_ms);
            }
            None => missing.push(*id),
        }
        Ok(placed)
    };
    let prev = body.prev.as_ref().map(&mut look).transpose()?.flatten();
    let mut own_parent = false;
    for parent in &body.parents {
        own_parent |= look(parent)?.is_some_and(|placed| placed.author == body.author);
    }
    if !missing.is_empty() {
        return Ok(Link::Waits(block, missing));
    }
    if own_parent {
        return Err(LinkError::OwnParent.into());
    }
    match prev {
        Some(prev) if prev.author != body.author || prev.seq + 1 != body.seq => return Err(LinkError::Seq.into()),
        Some(prev) if prev.time_ms > body.time_ms => return Err(LinkError::Time.into()),
        Some(_) => {}
        None if body.parents.is_empty() => return Err(LinkError::Height.into()),
        None => {}
    }
    if body.time_ms.saturating_add(limits::MAX_CLOCK_DRIFT_MS) < seen_ms {
        return Err(LinkError::Time.into());
    }
    if body.height != height + 1 {
        return Err(LinkError::Height.into());
    }
    if prev.is_none() && !rows::is_named(kv, &body.author)? {
        return Ok(Link::Stranger(body.author));
    }
    Ok(Link::Linked(Linked(block)))
}

/// Writes a linked block's places: everything but its bytes, which `rows::set_block` writes once they are signed.
///
/// Tells whether the block is a second one with its author's number: proof of equivocation.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn store<B: Block>(kv: &mut Overlay<'_>, linked: &Linked<B>) -> Result<bool, KvError> {
    let (id, body) = (linked.0.id(), linked.0.body());
    let mut tips = rows::tips(kv, &body.author)?;
    let extends_the_line = match tips.as_slice() {
        [] => body.prev.is_none(),
        [only] => Some(only.id) == body.prev,
        _ => false,
    };
    let forks = !extends_the_line && rows::branches(kv, &body.author, body.seq)? > 0;
    rows::set_placed(kv, &id, body);
    let mut counters = rows::counters(kv)?;
    rows::set_log(kv, counters.blocks, &linked.0.line_key());
    counters.blocks += 1;
    counters.height = counters.height.max(body.height);
    counters.bytes += linked.0.size() as u64;
    rows::set_counters(kv, &counters);
    let mut heads = rows::heads(kv)?;
    heads.retain(|head| Some(head.id) != body.prev && body.parents.binary_search(&head.id).is_err());
    heads.push(Head { id, height: body.height });
    heads.sort_by_key(|head| head.id);
    rows::set_heads(kv, &heads);
    tips.retain(|tip| Some(tip.id) != body.prev);
    tips.push(Tip { seq: body.seq, id });
    tips.sort_by_key(|tip| (tip.seq, tip.id));
    rows::set_tips(kv, &body.author, &tips);
    if body.group.is_none() {
        rows::set_named(kv, &body.author, body.height, &id)?;
    }
    for member in body.transactions().iter().filter_map(Transaction::names_member) {
        rows::set_named(kv, &member, body.height, &id)?;
    }
    Ok(forks)
}

/// Drafts and links the next block of `author`: on `prev`, its own last block that counts, and on all heads of others.
///
/// The result stands at the end of the order, because its height is above every other; only an author whose line has
/// branches may find another of them above it.
///
/// # Errors
/// [`DraftError`] where no such block can be, or the store fails.
pub fn draft(
    kv: &dyn Read,
    group: GroupId,
    author: Identity,
    prev: Option<Tip>,
    now_ms: u64,
    transactions: Vec<Transaction>,
) -> Result<Linked<Draft>, DraftError> {
    let tips = rows::tips(kv, &author)?;
    let mut heads = rows::heads(kv)?;
    heads.retain(|head| !tips.iter().any(|tip| tip.id == head.id));
    if heads.len() > limits::BLOCK_PARENTS {
        // The highest first, so that the block stands at the end of the order; the next block weaves in the others.
        heads.sort_by_key(|head| (std::cmp::Reverse(head.height), head.id));
        heads.truncate(limits::BLOCK_PARENTS);
        heads.sort_by_key(|head| head.id);
    }
    let mut highest = heads.iter().map(|head| head.height).max();
    let mut time_ms = now_ms;
    if let Some(prev) = &prev
        && let Some(placed) = rows::placed(kv, &prev.id)?
    {
        highest = highest.max(Some(placed.height));
        time_ms = time_ms.max(placed.time_ms);
    }
    for head in &heads {
        // A clock that is far behind the others' would date the block before what it builds on.
        let seen_ms = rows::placed(kv, &head.id)?.map_or(0, |placed| placed.time_ms);
        time_ms = time_ms.max(seen_ms.saturating_sub(limits::MAX_CLOCK_DRIFT_MS));
    }
    let ahead_ms = time_ms.saturating_sub(now_ms);
    if ahead_ms > limits::MAX_CLOCK_DRIFT_MS {
        // Written while the clock was wrong: until the time of that block has come, no other node would take this one.
        return Err(Invalid::Future { ahead_ms }.into());
    }
    let height = highest.ok_or(DraftError::NoGroup)? + 1;
    let body = Body {
        group: Some(group),
        author,
        seq: prev.as_ref().map_or(0, |tip| tip.seq + 1),
        prev: prev.map(|tip| tip.id),
        parents: heads.into_iter().map(|head| head.id).collect(),
        height,
        time_ms,
        payload: Payload::Plain(transactions),
    };
    Ok(Linked(Draft::new(body)?))
}

/// Why a block of our own cannot be drafted.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// The group's genesis is not here.
    #[error("nothing of the group is here yet")]
    NoGroup,
    /// Nobody would accept it.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] KvError),
}

impl Linked<Draft> {
    /// Signs it.
    #[must_use]
    pub fn sign(self, key: &crate::identity::SecretKey) -> Linked<Verified> {
        Linked(self.0.sign(key))
    }
}
