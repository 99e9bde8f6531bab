//! Every history of a few blocks by three authors, in every sequence in which they can come.
//!
//! After a founding and a block that makes Bob an admin and Carol a member come up to [`BLOCKS`] more: each builds on any of its
//! author's blocks (so that lines fork), has seen any of the others', and claims something, is the next seal, or hands the notary's
//! office over. A history with one block more is reached from each that lacks one of its last: where all come to the same rows, so does
//! every sequence. The same again where Carol has bought what Bob sells, and there is a grant, a refund, a settlement or a dispute in place of
//! claims; and where Bob has made a ticket for one, by which members let two in, and which is revoked, or its maker made less. `LBM_EXHAUSTIVE=5` goes one further; `LBM_SALT=7` breaks ties otherwise.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;

use rayon::prelude::*;

use super::market::{self, Ending};
use super::{Outcome, Refusal, arrange, former, invariants, invite, query, state};
use crate::chain::gone::Gone;
use crate::chain::link::{self, Link};
use crate::chain::rows;
use crate::chain::transaction::{
    Claim, Dispute, Grant, Invite, InviteRevoke, MemberAdd, MemberJoin, Mint, NotarySet, OfferCreate, Offered, Order,
    Purchase, Refund, RoleSet, Seal, Settle, Settlement,
};
use crate::chain::{
    BlockId, Body, ClaimId, Draft, GroupId, Linked, OPEN_EPOCH, ObjectHash, OfferId, OrderKey, Payload, PurchaseId,
    Role, Transaction,
};
use crate::identity::{Identity, OneTimeSecret, SecretKey};
use crate::kv::{Memory, Overlay, Table};
use crate::limits;
use crate::package::{self, PackageKey};
use crate::testing::desk::{NOW_MS, genesis, key, who};

/// Blocks after the first two.
const BLOCKS: usize = 4;
/// The same, of a purchase.
const TRADES: usize = 3;
/// The same, of a ticket.
const JOININGS: usize = 3;
const AUTHORS: u8 = 3;

fn from_environment(name: &str) -> Option<usize> {
    std::env::var(name).ok().map(|value| value.parse().expect(name))
}

/// The key of what Bob sells.
fn goods() -> PackageKey {
    PackageKey::from_bytes([9; 32])
}

/// The one-time secret of Carol's order.
fn secret() -> OneTimeSecret {
    OneTimeSecret::from_bytes([8; 32])
}

/// The key of Bob's ticket.
fn ticket() -> SecretKey {
    SecretKey::from_seed(&[200; 32])
}

/// Who would come in by it.
const BEARERS: [u8; 2] = [3, 4];

/// A set of blocks that lacks no cause, in a sequence in which they can come.
#[derive(Clone, Default)]
struct History {
    blocks: Vec<Draft>,
    rows: Memory,
    /// What Carol has bought, where the history is about that.
    bought: Option<PurchaseId>,
    /// Whether it is about a ticket.
    invited: bool,
}

/// What is done by a block of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Say(u8),
    Seal,
    HandOver,
    /// In time.
    Grant,
    /// When it may be asked for.
    Refund,
    Settle,
    Dispute,
    /// One of the bearers of the ticket.
    LetIn(u8),
    Revoke,
    /// Makes Bob a member.
    Demote,
}

impl History {
    /// The founding, and the block that names the members.
    fn first(salt: u64) -> Self {
        let add = |number, role| Transaction::MemberAdd(MemberAdd { identity: who(number), role });
        let founding = Draft::new(genesis().body().clone()).unwrap();
        let members = Body {
            group: Some(GroupId::from(founding.id())),
            author: who(0),
            seq: 1,
            prev: Some(founding.id()),
            parents: vec![],
            height: 1,
            time_ms: NOW_MS + salt,
            payload: Payload::Plain(vec![add(1, Role::Admin), add(2, Role::Member)]),
        };
        let history = Self { blocks: vec![], rows: Memory::default(), bought: None, invited: false };
        history.with(&founding).with(&Draft::new(members).unwrap())
    }

    /// The same, and Carol has bought what Bob sells, finally.
    fn trade(salt: u64) -> Self {
        let mut history = Self::first(salt);
        let offer = OfferCreate {
            title: "Offer".into(),
            description: None,
            tags: vec![],
            price: 60,
            splits: vec![],
            royalties: vec![],
            expires_ms: None,
            settle: Settlement::Sealed,
            grant_within_ms: *limits::OFFER_GRANT_MS.start(),
            dispute_within_ms: *limits::OFFER_DISPUTE_MS.start(),
            package: package::encrypt(&goods(), b"knowledge").unwrap().1,
        };
        let mint = Transaction::Mint(Mint { to: who(2), amount: 100 });
        let offered = Offered { group_name: "desk".into(), currency: "KAT".into(), offer: offer.clone() };
        history = history.behind(0, vec![mint]).behind(1, vec![Transaction::OfferCreate(offer)]);
        let order = Order {
            version: 1,
            group: GroupId::from(history.blocks[0].id()),
            buyer: who(2),
            offer: OfferId::derive(history.blocks[3].id(), 0),
            seller: who(1),
            terms: offered.terms(),
            price: 60,
            nonce: 0,
            expires_ms: u64::MAX,
            key: secret().key(),
        };
        let order = order.sign(&key(2));
        history.bought = Some(order.id());
        let purchase = Transaction::Purchase(Purchase { order });
        history.behind(2, vec![purchase]).behind(0, vec![Transaction::Seal(Seal { epoch: 1 })])
    }

    /// The first two, and a ticket for one by Bob.
    fn invited(salt: u64) -> Self {
        let expires_ms = NOW_MS + 3_600_000;
        let invite = Invite { ticket: ticket().identity(), role: Role::Viewer, uses: 1, expires_ms };
        let history = Self::first(salt).behind(1, vec![Transaction::Invite(invite)]);
        Self { invited: true, ..history }
    }

    /// The history with one block more, behind all there is, which is a line.
    fn behind(&self, author: u8, transactions: Vec<Transaction>) -> Self {
        let last = self.blocks.last().unwrap();
        let own = self.blocks.iter().rfind(|block| block.body().author == who(author));
        let body = Body {
            group: Some(GroupId::from(self.blocks[0].id())),
            author: who(author),
            seq: own.map_or(0, |own| own.body().seq + 1),
            prev: own.map(Draft::id),
            parents: Some(last.id()).into_iter().filter(|id| own.is_none_or(|own| own.id() != *id)).collect(),
            height: last.body().height + 1,
            time_ms: last.body().time_ms,
            payload: Payload::Plain(transactions),
        };
        self.with(&Draft::new(body).unwrap())
    }

    /// The history with one block more.
    fn with(&self, block: &Draft) -> Self {
        let mut rows = self.rows.clone();
        take_in(&mut rows, std::slice::from_ref(block));
        let mut blocks = self.blocks.clone();
        blocks.push(block.clone());
        Self { blocks, rows, bought: self.bought, invited: self.invited }
    }

    fn ids(&self) -> Vec<BlockId> {
        let mut ids: Vec<BlockId> = self.blocks.iter().map(Draft::id).collect();
        ids.sort_unstable();
        ids
    }

    fn body(&self, id: &BlockId) -> &Body {
        self.blocks.iter().find(|block| block.id() == *id).unwrap().body()
    }

    /// A block's causes, and itself.
    fn past<'i>(&self, ids: impl IntoIterator<Item = &'i BlockId>) -> BTreeSet<BlockId> {
        let (mut past, mut queue): (BTreeSet<BlockId>, Vec<BlockId>) =
            (BTreeSet::new(), ids.into_iter().copied().collect());
        while let Some(id) = queue.pop() {
            if past.insert(id) {
                let body = self.body(&id);
                queue.extend(body.prev.iter().chain(&body.parents));
            }
        }
        past
    }

    /// All blocks that could come next.
    fn next(&self) -> Vec<Draft> {
        (0..AUTHORS).flat_map(|author| self.next_of(author)).collect()
    }

    fn next_of(&self, author: u8) -> Vec<Draft> {
        let author_id = who(author);
        let of_author = |id: &BlockId| self.body(id).author == author_id;
        // The founding lies in the past of all.
        let ids: Vec<BlockId> = self.blocks.iter().skip(1).map(Draft::id).collect();
        let (mut own, others): (Vec<BlockId>, Vec<BlockId>) = ids.iter().partition(|id| of_author(id));
        let mut blocks = Vec::new();
        let begins = (author > 0 && self.bought.is_none()).then_some(None);
        // Of a purchase nobody forks what comes before it: that is what the other histories are for.
        let opening =
            if self.bought.is_some() { own.iter().rposition(|id| self.is_opening(id)).unwrap_or(0) } else { 0 };
        let own = own.split_off(opening);
        for prev in own.into_iter().map(Some).chain(begins) {
            let seen = self.past(&prev);
            let unseen: Vec<BlockId> = others.iter().filter(|id| !seen.contains(id)).copied().collect();
            for chosen in 0..1_u32 << unseen.len() {
                let chosen = unseen.iter().enumerate().filter(|(at, _)| chosen & (1 << at) > 0).map(|(_, id)| *id);
                let parents: BTreeSet<BlockId> = chosen.collect();
                // A parent that lies in the past of another says nothing.
                let is_needless =
                    |id: &BlockId| parents.iter().any(|other| other != id && self.past([other]).contains(id));
                if (prev.is_some() || !parents.is_empty()) && !parents.iter().any(is_needless) {
                    blocks.extend(
                        self.deeds(author).into_iter().filter_map(|deed| self.block(author, prev, &parents, deed)),
                    );
                }
            }
        }
        blocks
    }

    /// Whether a block is one of those with which a history of a purchase begins.
    fn is_opening(&self, id: &BlockId) -> bool {
        self.blocks.iter().take(6).any(|block| block.id() == *id)
    }

    fn deeds(&self, author: u8) -> Vec<Deed> {
        if self.bought.is_some() {
            return match author {
                0 => vec![Deed::Seal],
                1 => vec![Deed::Grant, Deed::Settle],
                _ => vec![Deed::Refund, Deed::Settle, Deed::Dispute],
            };
        }
        if self.invited {
            let mut deeds = BEARERS.map(Deed::LetIn).to_vec();
            if author == 0 {
                deeds.extend([Deed::Seal, Deed::Revoke, Deed::Demote]);
            }
            return deeds;
        }
        let is_handed =
            self.blocks.iter().any(|block| matches!(block.body().transactions(), [Transaction::NotarySet(_)]));
        let mut deeds = vec![Deed::Say(0), Deed::Say(1)];
        if author == 0 || author == 1 && is_handed {
            deeds.extend([Deed::Seal, Deed::HandOver]);
        }
        deeds
    }

    fn block(&self, author: u8, prev: Option<BlockId>, parents: &BTreeSet<BlockId>, deed: Deed) -> Option<Draft> {
        let past = self.past(parents.iter().chain(&prev));
        let sealed = past.iter().filter_map(|id| seal_number(self.body(id))).max().unwrap_or(0);
        // An author whose past has claims that it may supersede does that, to the one with the lowest block.
        let is_superseded = |id: &&BlockId| {
            let body = self.body(id);
            let is_claim = matches!(body.transactions(), [Transaction::Claim(_)]);
            is_claim && (author < 2 || body.author == who(author))
        };
        let supersedes: Vec<ClaimId> =
            past.iter().find(is_superseded).map(|id| ClaimId::derive(*id, 0)).into_iter().collect();
        let say = |words: u8| {
            let (object, supersedes) = (ObjectHash::of(&[words]), supersedes.clone());
            Transaction::Claim(Claim { object, size: 1, parent: None, rewarded: None, supersedes })
        };
        let transaction = match deed {
            Deed::Say(words) => say(words),
            Deed::Seal => Transaction::Seal(Seal { epoch: sealed + 1 }),
            Deed::HandOver => Transaction::NotarySet(NotarySet { identity: who(1 - author) }),
            Deed::Grant => Transaction::Grant(Grant::seal(self.bought?, &secret().key(), &goods(), &[3; 32]).unwrap()),
            Deed::Refund => Transaction::Refund(Refund { purchase: self.bought? }),
            Deed::Settle => Transaction::Settle(Settle { purchase: self.bought? }),
            Deed::LetIn(bearer) => {
                let group = GroupId::from(self.blocks[0].id());
                Transaction::MemberJoin(MemberJoin::prove(&ticket(), &group, who(bearer)))
            }
            Deed::Revoke => Transaction::InviteRevoke(InviteRevoke { ticket: ticket().identity() }),
            Deed::Demote => Transaction::RoleSet(RoleSet { identity: who(1), role: Role::Member }),
            Deed::Dispute => Transaction::Dispute(Dispute { purchase: self.bought?, secret: secret(), chunk: None }),
        };
        let builds_on = || parents.iter().chain(&prev).map(|id| self.body(id));
        let latest_ms = builds_on().map(|body| body.time_ms).max().unwrap();
        let time_ms = match deed {
            Deed::Refund => NOW_MS + 1_000_000,
            Deed::Settle => NOW_MS + 2_000_000,
            Deed::Dispute | Deed::Seal if self.bought.is_some() => latest_ms.max(NOW_MS + 900_000),
            _ => NOW_MS + 1_000,
        };
        let is_before = prev.is_some_and(|prev| self.body(&prev).time_ms > time_ms);
        if is_before || latest_ms > time_ms + limits::MAX_CLOCK_DRIFT_MS {
            return None;
        }
        let body = Body {
            group: self.body(&self.blocks[1].id()).group,
            author: who(author),
            seq: prev.map_or(0, |prev| self.body(&prev).seq + 1),
            prev,
            parents: parents.iter().copied().collect(),
            height: past.iter().map(|id| self.body(id).height).max().unwrap() + 1,
            time_ms,
            payload: Payload::Plain(vec![transaction]),
        };
        let draft = Draft::new(body.clone()).unwrap();
        let is_new = self.blocks.iter().all(|block| block.id() != draft.id());
        // Other words are for a second claim that would be the same block.
        let is_needed = deed != Deed::Say(1) || {
            let first = Body { payload: Payload::Plain(vec![say(0)]), ..body };
            let first = Draft::new(first).unwrap().id();
            self.blocks.iter().any(|block| block.id() == first)
        };
        (is_new && is_needed).then_some(draft)
    }

    fn order(&self) -> Vec<OrderKey> {
        self.rows.rows(Table::Order).keys().map(|key| OrderKey::from_bytes(key).unwrap()).collect()
    }

    fn sealed(&self) -> Vec<(&Vec<u8>, &Vec<u8>)> {
        let is_sealed = |key: &[u8]| OrderKey::from_bytes(key).unwrap().epoch < OPEN_EPOCH;
        self.rows.rows(Table::Order).iter().take_while(|(key, _)| is_sealed(key)).collect()
    }

    /// All that must not depend on the sequence.
    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for table in [Table::State, Table::Order, Table::Meta, Table::Line, Table::Id] {
            for row in self.rows.rows(table).iter().filter(|(key, _)| key.as_slice() != rows::ARRIVALS) {
                row.hash(&mut hasher);
            }
        }
        hasher.finish()
    }

    /// Whether somebody has made two seals with one number, of which neither has seen the other.
    fn has_two_seals(&self) -> bool {
        let seals: Vec<(BlockId, Identity, u64)> = self
            .blocks
            .iter()
            .filter_map(|block| Some((block.id(), block.body().author, seal_number(block.body())?)))
            .collect();
        seals.iter().any(|(a, by, number)| {
            let same = seals.iter().filter(|(b, other, same)| a != b && by == other && number == same);
            same.into_iter().any(|(b, ..)| !self.past([a]).contains(b) && !self.past([b]).contains(a))
        })
    }

    /// For each block the number of its epoch, as the definition says: by walking through all.
    fn defined(&self) -> BTreeMap<BlockId, u64> {
        let founding = &self.blocks[0];
        let mut epochs: BTreeMap<BlockId, u64> = self.blocks.iter().map(|block| (block.id(), OPEN_EPOCH)).collect();
        epochs.insert(founding.id(), 0);
        let (mut last, mut sealer) = (founding.id(), founding.body().author);
        for epoch in 1.. {
            let candidates = self.blocks.iter().filter(|block| {
                let body = block.body();
                seal_number(body) == Some(epoch) && body.author == sealer && self.past([&block.id()]).contains(&last)
            });
            let best = |block: &&Draft| (self.seals_behind(block, epoch), Reverse((block.body().height, block.id())));
            let Some(seal) = candidates.max_by_key(best) else { break };
            for id in self.past([&seal.id()]) {
                epochs.entry(id).and_modify(|at| *at = epoch.min(*at));
            }
            last = seal.id();
            sealer = self.notary_of(&epochs);
        }
        epochs
    }

    /// How many seals follow a block on its author's line, where the last before it had the number `epoch`: on the branch that has most.
    fn seals_behind(&self, block: &Draft, epoch: u64) -> u64 {
        let next = self.blocks.iter().filter(|next| next.body().prev == Some(block.id()));
        let behind = next.map(|next| {
            let is_next = u64::from(seal_number(next.body()) == Some(epoch + 1));
            is_next + self.seals_behind(next, epoch + is_next)
        });
        behind.max().unwrap_or(0)
    }

    /// Whether one notary has sealed behind another that has made two seals with one number: then what came first stays.
    fn depends_on_the_sequence(&self) -> bool {
        let sealers: BTreeSet<Identity> = self
            .blocks
            .iter()
            .filter(|block| seal_number(block.body()).is_some())
            .map(|block| block.body().author)
            .collect();
        sealers.len() > 1 && self.has_two_seals()
    }

    /// Whom the sealed blocks alone make the notary.
    fn notary_of(&self, epochs: &BTreeMap<BlockId, u64>) -> Identity {
        let is_sealed = |block: &&Draft| epochs[&block.id()] < OPEN_EPOCH;
        let blocks: Vec<Draft> = self.blocks.iter().filter(is_sealed).cloned().collect();
        let hands_over = |block: &Draft| matches!(block.body().transactions(), [Transaction::NotarySet(_)]);
        if !blocks.iter().any(hands_over) {
            return who(0);
        }
        let mut rows = Memory::default();
        take_in(&mut rows, &blocks);
        state::group(&rows).unwrap().unwrap().notary
    }

    /// What holds of every history.
    fn check(&self) {
        let order = self.order();
        let defined = self.defined();
        let mut expected: Vec<OrderKey> = Vec::new();
        for block in &self.blocks {
            expected.push(OrderKey { epoch: defined[&block.id()], height: block.body().height, id: block.id() });
        }
        expected.sort_unstable();
        let depends = self.depends_on_the_sequence();
        assert!(depends || order == expected, "{order:?}, and not {expected:?}: {self:?}");
        for (at, key) in order.iter().enumerate() {
            for cause in self.past([&key.id]).iter().filter(|cause| **cause != key.id) {
                assert!(order[..at].iter().any(|before| before.id == *cause), "a cause stands behind: {self:?}");
            }
        }
        let sealed = order.iter().filter(|key| key.epoch < OPEN_EPOCH).count() as u64;
        assert_eq!(rows::counters(&self.rows).unwrap().sealed, sealed, "{self:?}");
        let mut at_once = Self { blocks: self.blocks.clone(), ..Self::default() };
        take_in(&mut at_once.rows, &self.blocks);
        assert!(depends || at_once.digest() == self.digest(), "all at once: {self:?}");
        if let Some(bought) = &self.bought {
            self.check_purchase(bought);
        }
        if self.invited {
            self.check_ticket();
        }
    }

    /// Nothing is given back over a grant that counts, nor paid over a dispute; and no token is lost.
    fn check_purchase(&self, bought: &PurchaseId) {
        assert_eq!(invariants::check(&self.rows).unwrap(), [], "{self:?}");
        let Some(row) = market::query::purchase(&self.rows, bought).unwrap() else {
            assert!(self.has_two_seals(), "a final purchase is gone: {self:?}");
            return;
        };
        let Some((ending @ (Ending::NotGranted | Ending::Unopposed), _)) = row.end else { return };
        let counts = |block: &&Draft| {
            let is_against = match block.body().transactions() {
                [Transaction::Grant(_)] => ending == Ending::NotGranted,
                [Transaction::Dispute(_)] => ending == Ending::Unopposed,
                _ => false,
            };
            let (.., outcome) = query::place_of(&self.rows, &block.id()).unwrap().unwrap();
            let is_forked = matches!(outcome, Outcome::Refused(_, Refusal::Equivocation(_)));
            is_against && !is_forked && self.past([&row.changed_by]).contains(&block.id())
        };
        assert_eq!(self.blocks.iter().find(counts).map(Draft::id), None, "{ending:?} against it: {self:?}");
    }

    /// No more are in than the ticket says, and who is not is told why, where anybody has let it in.
    fn check_ticket(&self) {
        assert_eq!(invariants::check(&self.rows).unwrap(), [], "{self:?}");
        let former = former::all(&self.rows).unwrap();
        let mut inside = 0;
        for bearer in BEARERS.map(who) {
            let named = |block: &Draft| block.body().transactions()[0].names_member() == Some(bearer);
            let is_in = state::member(&self.rows, &bearer).unwrap().is_some();
            let was_let_in = self.blocks.iter().skip(2).any(named);
            assert_eq!(former.contains_key(&bearer), was_let_in && !is_in, "{self:?}");
            assert!(!matches!(former.get(&bearer), Some(Gone::Left | Gone::Removed | Gone::GroupFull)), "{self:?}");
            inside += u32::from(is_in);
        }
        let used = invite::ticket(&self.rows, &ticket().identity()).unwrap().map_or(0, |row| row.used);
        assert!(inside == used && used <= 1, "{inside} inside, {used} used: {self:?}");
    }

    /// What holds of every step from one history to another.
    fn check_step(&self, after: &Self) {
        let stays = after.sealed().starts_with(&self.sealed());
        assert!(stays || after.has_two_seals(), "what was sealed has moved: {after:?}");
    }
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for block in &self.blocks {
            let body = block.body();
            let name = ["Alice", "Bob", "Carol"][(0..AUTHORS).position(|author| who(author) == body.author).unwrap()];
            let on = body.prev.iter().chain(&body.parents).map(|id| hex::encode(&id.as_bytes()[..2]));
            let on: Vec<String> = on.collect();
            let id = hex::encode(&block.id().as_bytes()[..2]);
            writeln!(f, "\n  {id}: {name} {} on {on:?}: {:?}", body.seq, body.transactions().last())?;
        }
        Ok(())
    }
}

fn seal_number(body: &Body) -> Option<u64> {
    if let [Transaction::Seal(seal)] = body.transactions() { Some(seal.epoch) } else { None }
}

/// Takes blocks in as one batch.
fn take_in(rows: &mut Memory, blocks: &[Draft]) {
    let base = std::mem::take(rows);
    let mut overlay = Overlay::new(&base);
    let mut linked: Vec<Linked<Draft>> = Vec::new();
    for block in blocks {
        let Ok(Link::Linked(block)) = link::link(&overlay, block.clone()) else { panic!("{block:?} does not link") };
        link::store(&mut overlay, &block).unwrap();
        rows::set_block(&mut overlay, &link::Block::line_key(block.block()), &[0; 64], block.block().bytes());
        linked.push(block);
    }
    arrange::insert(&mut overlay, &linked).unwrap();
    let changes = overlay.into_changes();
    *rows = base;
    rows.commit(changes);
}

/// Histories that were reached, by their blocks, each with what it has come to.
type Seen = Mutex<BTreeMap<Vec<BlockId>, u64>>;

/// Goes on from a history in every way, with so many blocks more.
fn explore(history: &History, more: usize, seen: &Seen) {
    if more == 0 {
        return;
    }
    history.next().into_par_iter().for_each(|block| {
        let after = history.with(&block);
        history.check_step(&after);
        let digest = after.digest();
        let before = seen.lock().unwrap().insert(after.ids(), digest);
        match before {
            Some(before) => {
                let is_same = before == digest || after.depends_on_the_sequence();
                assert!(is_same, "another sequence comes to other rows: {after:?}");
            }
            None => {
                after.check();
                explore(&after, more - 1, seen);
            }
        }
    });
}

#[test]
fn every_way_in_which_a_purchase_can_go_on_has_one_end_in_every_sequence() {
    let first = History::trade(from_environment("LBM_SALT").unwrap_or(0) as u64);
    let seen = Seen::default();
    explore(&first, from_environment("LBM_EXHAUSTIVE").unwrap_or(TRADES), &seen);
    let histories = seen.lock().unwrap().len();
    assert!(histories > 500, "{histories}");
}

#[test]
fn every_way_in_which_a_ticket_can_be_used_lets_in_no_more_than_it_says_in_every_sequence() {
    let first = History::invited(from_environment("LBM_SALT").unwrap_or(0) as u64);
    let seen = Seen::default();
    explore(&first, from_environment("LBM_EXHAUSTIVE").unwrap_or(JOININGS), &seen);
    let histories = seen.lock().unwrap().len();
    assert!(histories > 5_000, "{histories}");
}

#[test]
fn every_history_of_a_few_blocks_comes_to_one_order_in_every_sequence() {
    let first = History::first(from_environment("LBM_SALT").unwrap_or(0) as u64);
    let seen = Seen::default();
    explore(&first, from_environment("LBM_EXHAUSTIVE").unwrap_or(BLOCKS), &seen);
    let histories = seen.lock().unwrap().len();
    assert!(histories > 10_000, "{histories}");
}
