//! Any arrival comes to the same state, and each rule refuses what it should.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::fold::OrderRow;
use super::{query, state};
use crate::cbor;
use crate::chain::rows::{self, parse_row};
use crate::chain::transaction::{
    Claim, Experience, MemberAdd, MemberRemove, NotarySet, Retract, RoleSet, Seal, Unfreeze,
};
use crate::chain::{BlockId, ClaimId, OPEN_EPOCH, ObjectHash, OrderKey, Role, Transaction, Verified};
use crate::kv::{Memory, Overlay, Table};
use crate::node::engine::Failure;
use crate::testing::desk::{Desk, block, genesis, who};

const ROLES: [Role; 3] = [Viewer, Member, Admin];

/// How one block of a random history is made; each number picks among what there is.
pub(crate) type Recipe = (u8, u8, [u8; 3], u8, u8);

pub(crate) fn recipe() -> impl Strategy<Value = Recipe> {
    (0..4u8, any::<u8>(), any::<[u8; 3]>(), 0..24u8, any::<u8>())
}

fn act(kind: u8, pick: u8, claims: &[ClaimId], epoch: u64) -> Transaction {
    let identity = who(pick % 4);
    let role = ROLES[usize::from(pick / 4) % 3];
    let some = |index: u8| (!claims.is_empty()).then(|| claims[usize::from(index) % claims.len()]);
    match kind {
        0 => Transaction::MemberAdd(MemberAdd { identity, role }),
        1 => Transaction::MemberRemove(MemberRemove { identity }),
        2 => Transaction::RoleSet(RoleSet { identity, role }),
        3..=5 => Transaction::Retract(Retract { claim: some(pick).unwrap_or(ClaimId::from_bytes([1; 32])) }),
        18 | 19 => Transaction::Seal(Seal { epoch: epoch + 1 }),
        // Mostly a number that cannot count.
        17 => Transaction::Seal(Seal { epoch: u64::from(pick % 4) + 1 }),
        16 => Transaction::NotarySet(NotarySet { identity }),
        15 => Transaction::Unfreeze(Unfreeze { identity }),
        6 => Transaction::Experience(Experience { object: ObjectHash::of(&[pick]), size: 1 }),
        _ => {
            let parent = some(pick / 2).filter(|_| pick.is_multiple_of(2));
            let old = some(pick / 4).filter(|_| kind > 19);
            let (object, supersedes) = (ObjectHash::of(&[pick]), old.into_iter().collect());
            Transaction::Claim(Claim { object, size: 1, parent, rewarded: None, supersedes })
        }
    }
}

/// A history with forks, with blocks that the ledger refuses, and with authors who do not see each other: after a genesis, and
/// a block that makes three others an admin, a member and a viewer.
pub(crate) fn history(recipes: &[Recipe]) -> Vec<Verified> {
    history_of(recipes, vec![], act)
}

/// The same with other acts, each by the numbers of its recipe, the claims so far and the number of the last seal; and an opening, before the three are added.
pub(super) fn history_of(
    recipes: &[Recipe],
    opening: Vec<Transaction>,
    act: impl Fn(u8, u8, &[ClaimId], u64) -> Transaction,
) -> Vec<Verified> {
    let add = |number: u8| MemberAdd { identity: who(number), role: ROLES[usize::from(3 - number)] };
    let adds = (1..4).map(|number| Transaction::MemberAdd(add(number)));
    let adds = opening.into_iter().chain(adds).collect();
    let mut blocks = vec![genesis()];
    blocks.push(block(0, Some((0, blocks[0].id())), vec![], 1, adds));
    let mut claims = Vec::new();
    // For each block the greatest number of a seal in its past.
    let mut epochs = vec![0, 0];
    for (author, branch, parents, kind, pick) in recipes {
        let own: Vec<usize> = (0..blocks.len()).filter(|at| blocks[*at].body().author == who(*author)).collect();
        // Mostly the last of the author's blocks, else any: a fork.
        let prev = if *branch < 220 { own.last() } else { own.get(usize::from(*branch) % own.len().max(1)) }.copied();
        let others: Vec<usize> = (0..blocks.len()).filter(|at| !own.contains(at)).collect();
        let near = |parent: &u8| others[others.len() - 1 - usize::from(*parent) % others.len().min(4)];
        let mut chosen: Vec<usize> =
            parents.iter().filter(|parent| **parent > 60 && !others.is_empty()).map(near).collect();
        if prev.is_none() {
            chosen.push(1);
            chosen.retain(|at| *at > 0);
        }
        chosen.sort_unstable();
        chosen.dedup();
        let above = chosen.iter().chain(&prev).map(|at| blocks[*at].body().height).max().unwrap();
        let line = prev.map(|at| (blocks[at].body().seq, blocks[at].id()));
        let ids = chosen.iter().map(|at| blocks[*at].id()).collect();
        let epoch = chosen.iter().chain(&prev).map(|at| epochs[*at]).max().unwrap();
        let act = act(*kind, *pick, &claims, epoch);
        let seal = if let Transaction::Seal(seal) = &act { seal.epoch } else { 0 };
        let new = block(*author, line, ids, above + 1, vec![act]);
        if blocks.iter().all(|old| old.id() != new.id()) {
            claims.push(ClaimId::derive(new.id(), 0));
            blocks.push(new);
            epochs.push(epoch.max(seal));
        }
    }
    blocks
}

/// What must not depend on the arrival.
pub(super) fn compare(expected: &Memory, got: &Memory) {
    for table in [Table::State, Table::Order, Table::Line, Table::Id, Table::Meta] {
        let rows = |memory: &Memory| {
            let mut rows = memory.rows(table).clone();
            rows.remove(rows::ARRIVALS);
            rows
        };
        assert_eq!(rows(expected), rows(got), "table {table:?} differs");
    }
}

pub(super) fn taken_in<'a>(batches: impl IntoIterator<Item = &'a [Verified]>) -> Desk {
    let mut desk = Desk::empty();
    for batch in batches {
        assert_eq!(desk.ingest(batch).fault, None);
    }
    desk
}

/// The part of the order that seals cover.
pub(super) fn sealed(rows: &Memory) -> Vec<(OrderKey, Vec<u8>)> {
    let keys = rows.rows(Table::Order).iter().map(|(key, row)| (OrderKey::from_bytes(key).unwrap(), row.clone()));
    keys.take_while(|(key, _)| key.epoch < OPEN_EPOCH).collect()
}

/// Takes back what no seal covers, last block first: what is left must be what the sealed blocks alone come to.
pub(super) fn undo_what_is_open(blocks: &[Verified], rows: &Memory) {
    let mut overlay = Overlay::new(rows);
    for (key, value) in rows.rows(Table::Order).iter().rev() {
        if OrderKey::from_bytes(key).unwrap().epoch < OPEN_EPOCH {
            break;
        }
        let row: OrderRow = parse_row(Table::Order, key, value).unwrap();
        state::revert(&mut overlay, parse_row(Table::Order, key, &row.undo.unwrap()).unwrap());
    }
    let mut undone = rows.clone();
    undone.commit(overlay.into_changes());
    let order = sealed(rows);
    let is_sealed = |block: &&Verified| order.iter().any(|(key, _)| key.id == block.id());
    let blocks: Vec<Verified> = blocks.iter().filter(is_sealed).cloned().collect();
    let alone = taken_in([blocks.as_slice()]);
    assert_eq!(undone.rows(Table::State), alone.rows().rows(Table::State));
    assert_eq!(order, sealed(alone.rows()));
    assert_eq!(rows::counters(rows).unwrap().sealed, order.len() as u64);
}

/// How many seals follow a block on its author's line, where the last before it had the number `epoch`: on the branch that has most.
fn seals_behind(blocks: &[Verified], block: &Verified, epoch: u64) -> u64 {
    let next = blocks.iter().filter(|next| next.body().prev == Some(block.id()));
    let behind = next.map(|next| {
        let is_next = u64::from(next.body().transactions() == [Transaction::Seal(Seal { epoch: epoch + 1 })]);
        is_next + seals_behind(blocks, next, epoch + is_next)
    });
    behind.max().unwrap_or(0)
}

/// The order as its definition says, by walking through all of it: the numbers of the epochs, and which block closes each.
fn defined(blocks: &[Verified]) -> BTreeMap<BlockId, u64> {
    let past = |of: &Verified| {
        let (mut past, mut queue) = (BTreeSet::new(), vec![of.id()]);
        while let Some(id) = queue.pop() {
            if past.insert(id) {
                let body = blocks.iter().find(|block| block.id() == id).unwrap().body();
                queue.extend(body.prev.iter().chain(&body.parents));
            }
        }
        past
    };
    let mut epochs = BTreeMap::from([(blocks[0].id(), 0)]);
    let (mut last, mut sealer) = (blocks[0].id(), blocks[0].body().author);
    for epoch in 1.. {
        let says_so = |block: &&Verified| block.body().transactions() == [Transaction::Seal(Seal { epoch })];
        let candidates = blocks.iter().filter(says_so).filter(|block| block.body().author == sealer);
        let next = candidates
            .filter(|block| past(block).contains(&last))
            .max_by_key(|block| (seals_behind(blocks, block, epoch), Reverse((block.body().height, block.id()))));
        let Some(seal) = next else { break };
        let past = past(seal);
        for id in &past {
            epochs.entry(*id).or_insert(epoch);
        }
        last = seal.id();
        // Whom the sealed blocks alone make the next sealer.
        let sealed: Vec<Verified> = blocks.iter().filter(|block| epochs.contains_key(&block.id())).cloned().collect();
        let desk = taken_in([sealed.as_slice()]);
        sealer = state::group(desk.rows()).unwrap().unwrap().notary;
    }
    epochs
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn any_arrival_comes_to_the_same_rows(
        (blocks, shuffled) in prop::collection::vec(recipe(), 4..40).prop_map(|recipes| history(&recipes))
            .prop_flat_map(|blocks| (Just(blocks.clone()), Just(blocks).prop_shuffle())),
        size in 1usize..6,
    ) {
        let at_once = taken_in([blocks.as_slice()]);
        prop_assert_eq!(rows::counters(at_once.rows()).unwrap().blocks, blocks.len() as u64);
        compare(at_once.rows(), taken_in(blocks.chunks(1)).rows());
        compare(at_once.rows(), taken_in(shuffled.chunks(size)).rows());
        compare(at_once.rows(), taken_in([shuffled.as_slice()]).rows());
        let mut in_order = blocks;
        in_order.sort_by_key(|block| (block.body().height, block.id()));
        compare(at_once.rows(), taken_in([in_order.as_slice()]).rows());
        undo_what_is_open(&in_order, at_once.rows());
        let epochs: BTreeMap<BlockId, u64> =
            sealed(at_once.rows()).into_iter().map(|(key, _)| (key.id, key.epoch)).collect();
        prop_assert_eq!(epochs, defined(&in_order));
        let refused = query::refused(at_once.rows(), None, 1_000).unwrap().len() as u64;
        prop_assert_eq!(rows::counters(at_once.rows()).unwrap().refused, refused);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn what_is_sealed_stays_where_it_is(
        blocks in prop::collection::vec(recipe(), 4..40).prop_map(|recipes| history(&recipes)).prop_shuffle(),
        size in 1usize..4,
    ) {
        let mut desk = Desk::empty();
        let mut before = Vec::new();
        for batch in blocks.chunks(size) {
            desk.ingest(batch);
            let after = sealed(desk.rows());
            // But for a notary that has signed two blocks with one number.
            let forks = desk.news.iter().any(|news| !news.equivocators.is_empty());
            prop_assert!(forks || after.starts_with(&before));
            before = after;
        }
    }
}

/// Calls `visit` with each permutation.
fn permutations(blocks: &mut [Verified], from: usize, visit: &mut dyn FnMut(&[Verified])) {
    if from == blocks.len() {
        return visit(blocks);
    }
    for other in from..blocks.len() {
        blocks.swap(from, other);
        permutations(blocks, from + 1, visit);
        blocks.swap(from, other);
    }
}

#[test]
fn every_permutation_of_a_small_history_comes_to_the_same_rows() {
    let recipes: [&[Recipe]; 11] = [
        // The admin Bob is removed by one branch of Alice's line, and writes meanwhile.
        &[(1, 0, [0; 3], 8, 1), (0, 0, [0; 3], 1, 1), (0, 221, [0; 3], 8, 2), (1, 0, [0; 3], 2, 10)],
        // Two admins remove each other, and both go on.
        &[(1, 0, [0; 3], 1, 0), (0, 0, [0; 3], 1, 1), (1, 0, [0; 3], 8, 5), (0, 0, [254, 0, 0], 8, 7)],
        // A fork of three.
        &[(0, 0, [0; 3], 8, 1), (0, 221, [0; 3], 8, 3), (0, 223, [0; 3], 8, 5), (0, 0, [0; 3], 8, 9)],
        // A seal beside a claim that it has not seen.
        &[(1, 0, [0; 3], 8, 1), (0, 0, [0; 3], 18, 0), (1, 0, [0; 3], 8, 2), (0, 0, [254, 0, 0], 18, 0)],
        // A notary that signs two seals with one number, and goes on with either.
        &[(1, 0, [0; 3], 8, 1), (0, 0, [254, 0, 0], 18, 0), (0, 220, [0; 3], 18, 0), (0, 0, [0; 3], 18, 1)],
        &[(1, 0, [0; 3], 8, 1), (0, 0, [254, 0, 0], 18, 0), (0, 220, [0; 3], 18, 0), (0, 222, [0; 3], 18, 1)],
        // And one whose second seal has not seen the first.
        &[(1, 0, [0; 3], 8, 1), (0, 0, [254, 0, 0], 18, 0), (0, 220, [0; 3], 17, 1), (0, 0, [254, 0, 0], 17, 1)],
        // Bob is made the notary, which is sealed, and seals; the old one goes on.
        &[(0, 0, [0; 3], 16, 1), (0, 0, [0; 3], 18, 0), (1, 0, [254, 0, 0], 18, 0), (0, 0, [0; 3], 18, 1)],
        // A claim that its author supersedes, beside an admin who does the same, and takes the one or the other back.
        &[(1, 0, [0; 3], 8, 1), (0, 0, [254, 0, 0], 20, 0), (1, 0, [0; 3], 21, 3), (0, 0, [254, 255, 0], 3, 1)],
        &[(1, 0, [0; 3], 8, 1), (1, 0, [0; 3], 21, 3), (0, 0, [254, 0, 0], 3, 1), (1, 0, [0; 3], 21, 5)],
        // A claim, an answer, and two who take the claim back at once.
        &[(2, 0, [0; 3], 8, 1), (1, 0, [254; 3], 8, 0), (2, 0, [0; 3], 3, 0), (0, 0, [254, 255, 0], 3, 0)],
    ];
    for recipes in recipes {
        let mut blocks = history(recipes);
        assert_eq!(blocks.len(), 6);
        let expected = taken_in([blocks.as_slice()]);
        permutations(&mut blocks, 0, &mut |blocks| compare(expected.rows(), taken_in(blocks.chunks(1)).rows()));
    }
}

/// One act by the identity with a number.
#[derive(Debug, Clone, Copy)]
enum Act {
    Add(u8, u8, Role),
    Remove(u8, u8),
    Set(u8, u8, Role),
    /// A claim of its own.
    Say(u8),
    /// An answer to the claim with this number.
    Answer(u8, usize),
    Retract(u8, usize),
    Run(u8),
    HandOver(u8, u8),
    Lift(u8, u8),
    /// A seal, by whoever makes the next one.
    Close,
}

use Act::{Add, Answer, Close, HandOver, Lift, Remove, Retract as TakeBack, Run, Say, Set};
use Role::{Admin, Member, Viewer};

/// Does acts at one desk; gives the code of the first refusal.
fn play(acts: &[Act]) -> Result<(), &'static str> {
    let mut desk = Desk::founded();
    let mut claims: Vec<ClaimId> = Vec::new();
    let none = ClaimId::from_bytes([9; 32]);
    for (number, act) in acts.iter().enumerate() {
        let claim = |number: usize| claims.get(number).copied().unwrap_or(none);
        let (object, size) = (ObjectHash::of(&number.to_be_bytes()), 8);
        let say = |parent| Transaction::Claim(Claim { object, size, parent, rewarded: None, supersedes: vec![] });
        let (author, transaction) = match *act {
            Close => {
                assert_eq!(desk.seal().unwrap().blocks.len(), 1, "{acts:?}: nothing to seal");
                assert_eq!(rows::counters(desk.rows()).unwrap().open(), 0);
                continue;
            }
            HandOver(author, other) => (author, Transaction::NotarySet(NotarySet { identity: who(other) })),
            Lift(author, other) => (author, Transaction::Unfreeze(Unfreeze { identity: who(other) })),
            Add(author, other, role) => (author, Transaction::MemberAdd(MemberAdd { identity: who(other), role })),
            Remove(author, other) => (author, Transaction::MemberRemove(MemberRemove { identity: who(other) })),
            Set(author, other, role) => (author, Transaction::RoleSet(RoleSet { identity: who(other), role })),
            Say(author) => (author, say(None)),
            Answer(author, parent) => (author, say(Some(claim(parent)))),
            TakeBack(author, of) => (author, Transaction::Retract(Retract { claim: claim(of) })),
            Run(author) => (author, Transaction::Experience(Experience { object, size })),
        };
        let before = desk.rows().clone();
        match desk.write(author, vec![transaction], vec![number.to_be_bytes().to_vec()]) {
            Ok(written) => claims.extend(written.claims),
            Err(Failure::Refused(refusal)) => {
                assert_eq!(number + 1, acts.len(), "refused too early: {act:?}: {refusal}");
                assert_eq!(*desk.rows(), before, "a refused act has left something");
                return Err(refusal.code());
            }
            Err(other) => panic!("{act:?}: {other}"),
        }
    }
    Ok(())
}

#[test]
fn each_rule_refuses_what_it_should_and_no_more() {
    let table: &[(&[Act], Result<(), &str>)] = &[
        // Membership.
        (&[Add(0, 1, Member), Add(0, 2, Viewer), Add(0, 3, Admin)], Ok(())),
        (&[Add(0, 1, Member), Add(0, 1, Admin)], Err("already_a_member")),
        (&[Add(0, 0, Admin)], Err("already_a_member")),
        (&[Add(1, 2, Member)], Err("not_a_member")),
        (&[Add(0, 1, Member), Add(1, 2, Member)], Err("not_an_admin")),
        (&[Add(0, 1, Viewer), Add(1, 2, Member)], Err("not_an_admin")),
        (&[Add(0, 1, Admin), Add(1, 2, Member)], Ok(())),
        (&[Add(0, 1, Member), Remove(0, 1), Add(0, 1, Member), Say(1)], Ok(())),
        (&[Remove(0, 1)], Err("no_such_member")),
        (&[Add(0, 1, Member), Remove(0, 1), Remove(0, 1)], Err("no_such_member")),
        (&[Add(0, 1, Member), Add(0, 2, Member), Remove(1, 2)], Err("not_an_admin")),
        (&[Add(0, 1, Member), Remove(1, 1)], Ok(())),
        (&[Add(0, 1, Viewer), Remove(1, 1)], Ok(())),
        (&[Remove(1, 1)], Err("not_a_member")),
        (&[Remove(0, 0)], Err("last_admin")),
        (&[Add(0, 1, Admin), Remove(1, 1), Say(1)], Err("not_a_member")),
        (&[Add(0, 1, Admin), Add(0, 2, Admin), Remove(1, 2), Say(2)], Err("not_a_member")),
        (&[Set(0, 0, Member)], Err("last_admin")),
        (&[Set(0, 0, Admin)], Err("same_role")),
        // The notary.
        (&[Add(0, 1, Admin), Remove(0, 0)], Err("is_notary")),
        (&[Add(0, 1, Admin), Remove(1, 0)], Err("is_notary")),
        (&[Add(0, 1, Admin), Set(1, 0, Viewer)], Err("is_notary")),
        (&[Add(0, 1, Member), HandOver(0, 1)], Err("notary_not_admin")),
        (&[HandOver(0, 1)], Err("no_such_member")),
        (&[HandOver(0, 0)], Err("same_notary")),
        (&[Add(0, 1, Admin), HandOver(1, 1)], Err("not_the_notary")),
        (&[Add(0, 1, Admin), HandOver(0, 1), HandOver(0, 1)], Err("not_the_notary")),
        (&[Add(0, 1, Admin), HandOver(0, 1), HandOver(1, 0), Close, Remove(1, 1)], Ok(())),
        // It hands over when a seal says so, and not before.
        (&[Add(0, 1, Admin), HandOver(0, 1), Remove(0, 0)], Err("is_notary")),
        (&[Add(0, 1, Admin), HandOver(0, 1), Remove(0, 1)], Err("is_notary")),
        (&[Add(0, 1, Admin), HandOver(0, 1), Close, Remove(0, 0), Close, Say(1)], Ok(())),
        (&[Add(0, 1, Admin), HandOver(0, 1), Close, Remove(0, 0), Remove(1, 1)], Err("last_admin")),
        (&[Add(0, 1, Admin), HandOver(0, 1), Close, Set(0, 0, Viewer), Set(1, 1, Member)], Err("last_admin")),
        (
            &[Add(0, 1, Admin), HandOver(0, 1), Close, Set(0, 0, Viewer), Set(1, 0, Admin), Set(0, 1, Member)],
            Err("is_notary"),
        ),
        // Nobody is frozen, and only an admin says so.
        (&[Lift(0, 1)], Err("not_frozen")),
        (&[Add(0, 1, Member), Lift(1, 0)], Err("not_an_admin")),
        (&[Set(0, 1, Member)], Err("no_such_member")),
        (&[Add(0, 1, Member), Set(1, 1, Admin)], Err("not_an_admin")),
        (&[Add(0, 1, Member), Set(0, 1, Member)], Err("same_role")),
        (&[Add(0, 1, Viewer), Set(0, 1, Member), Say(1)], Ok(())),
        // Claims and experiences.
        (&[Say(0), Answer(0, 0), Answer(0, 1)], Ok(())),
        (&[Say(1)], Err("not_a_member")),
        (&[Run(1)], Err("not_a_member")),
        (&[Add(0, 1, Viewer), Say(1)], Err("viewer_cannot_write")),
        (&[Add(0, 1, Viewer), Run(1)], Err("viewer_cannot_write")),
        (&[Add(0, 1, Member), Say(1), Run(1)], Ok(())),
        (&[Add(0, 1, Member), Say(1), Set(0, 1, Viewer), Say(1)], Err("viewer_cannot_write")),
        (&[Add(0, 1, Member), Say(1), Remove(0, 1), Answer(0, 0)], Ok(())),
        (&[Answer(0, 0)], Err("no_such_parent")),
        (&[Run(0), Answer(0, 0)], Err("no_such_parent")),
        (&[Say(0), TakeBack(0, 0), Answer(0, 0)], Ok(())),
        // Retractions.
        (&[Say(0), TakeBack(0, 0), TakeBack(0, 0)], Err("already_retracted")),
        (&[TakeBack(0, 0)], Err("no_such_claim")),
        (&[Run(0), TakeBack(0, 0)], Err("no_such_claim")),
        (&[Add(0, 1, Member), Say(0), TakeBack(1, 0)], Err("not_your_claim")),
        (&[Add(0, 1, Member), Say(1), TakeBack(0, 0)], Ok(())),
        (&[Add(0, 1, Member), Say(1), TakeBack(1, 0)], Ok(())),
        (&[Add(0, 1, Member), Say(1), Remove(0, 1), TakeBack(1, 0)], Err("not_a_member")),
        (&[Add(0, 1, Member), Say(1), Set(0, 1, Viewer), TakeBack(1, 0)], Ok(())),
        (&[Add(0, 1, Viewer), Say(0), TakeBack(1, 0)], Err("not_your_claim")),
    ];
    for (acts, expected) in table {
        assert_eq!(play(acts), *expected, "{acts:?}");
    }
}

#[test]
fn a_block_applies_as_a_whole_or_not_at_all() {
    let mut desk = Desk::founded();
    let add = |number| Transaction::MemberAdd(MemberAdd { identity: who(number), role: Member });
    let before = desk.rows().clone();
    let refused = desk.write(0, vec![add(1), add(2), add(1)], vec![]).unwrap_err();
    assert!(matches!(refused, Failure::Refused(refusal) if refusal.code() == "already_a_member"));
    assert_eq!(*desk.rows(), before);
    // A peer's block with the same is kept, refused, and changes nothing but its author's line.
    let bad = block(0, Some((0, genesis().id())), vec![], 1, vec![add(1), add(2), add(1)]);
    assert_eq!(desk.ingest(&[bad]).stored, 1);
    assert_eq!(query::members(desk.rows()).unwrap().len(), 1);
    let refused = query::refused(desk.rows(), None, 10).unwrap();
    assert_eq!((refused.len(), refused[0].1.index), (1, 2));
    desk.write(0, vec![add(1)], vec![]).unwrap();
    assert_eq!(query::members(desk.rows()).unwrap().len(), 2);
}

#[test]
fn a_write_of_several_blocks_is_done_as_a_whole() {
    let mut desk = Desk::founded();
    let before = desk.rows().clone();
    let one = |number: u32| Claim {
        object: ObjectHash::of(&number.to_be_bytes()),
        size: 4,
        parent: None,
        rewarded: None,
        supersedes: vec![],
    };
    let mut acts: Vec<_> = (0..250).map(|number| Transaction::Claim(one(number))).collect();
    acts.push(Transaction::Retract(Retract { claim: ClaimId::from_bytes([3; 32]) }));
    assert!(desk.write(0, acts.clone(), vec![]).is_err());
    assert_eq!(*desk.rows(), before);
    acts.pop();
    let written = desk.write(0, acts, vec![]).unwrap();
    assert_eq!((written.blocks.len(), written.claims.len()), (3, 250));
}

#[test]
fn who_is_frozen_lifts_it_only_where_no_other_admin_can() {
    let lift = |number| Transaction::Unfreeze(Unfreeze { identity: who(number) });
    for others in [0, 1] {
        let mut desk = Desk::founded();
        if others > 0 {
            desk.write(0, vec![Transaction::MemberAdd(MemberAdd { identity: who(1), role: Admin })], vec![]).unwrap();
        }
        let mut twin = desk.copy();
        desk.publish(0, "one");
        twin.publish(0, "other");
        let other = desk.verify(twin.own_blocks());
        desk.ingest(&other);
        let lifted = desk.write(0, vec![lift(0)], vec![]);
        match others {
            0 => drop(lifted.unwrap()),
            _ => {
                assert!(matches!(lifted.unwrap_err(), Failure::Refused(refusal) if refusal.code() == "frozen"));
                desk.write(1, vec![lift(0)], vec![]).unwrap();
            }
        }
        assert!(!desk.rows().rows(Table::State).contains_key(&state::frozen_key(&who(0))));
    }
}

#[test]
fn what_is_written_below_another_branch_of_the_line_finds_its_place() {
    for attempt in 0..20 {
        let mut desk = Desk::founded();
        let mut twin = desk.copy();
        let first = desk.publish(0, &format!("short {attempt}")).blocks[0];
        for block in 0..5 {
            twin.publish(0, &format!("long {block}"));
        }
        let long = desk.verify(twin.own_blocks());
        desk.ingest(&long);
        if state::line_head(desk.rows(), &who(0)).unwrap().unwrap().id != first {
            continue;
        }
        // Its line goes on at height 2, and the branch that does not count is five high.
        desk.publish(0, "goes on");
        let all = desk.verify(desk.own_blocks());
        let mut blocks = vec![genesis()];
        blocks.extend(long.into_iter().chain(all));
        let other = taken_in([blocks.as_slice()]);
        for table in [Table::State, Table::Order] {
            assert_eq!(desk.rows().rows(table), other.rows().rows(table));
        }
        return;
    }
    panic!("the longer branch came first twenty times");
}

#[test]
fn what_is_written_below_another_branch_of_the_line_is_judged_at_its_place() {
    let mut desk = Desk::founded();
    desk.write(0, vec![Transaction::MemberAdd(MemberAdd { identity: who(1), role: Member })], vec![]).unwrap();
    let mut twin = desk.copy();
    desk.publish(0, "low, so it counts");
    for block in 0..5 {
        twin.publish(1, &format!("{block}"));
    }
    twin.publish(0, "high");
    let high = desk.verify(twin.own_blocks());
    desk.ingest(&high);
    let key = state::frozen_key(&who(0));
    assert!(desk.rows().rows(Table::State).contains_key(&key));
    // Her next block stands before the one that freezes her, where there is nothing to lift yet.
    let before = desk.rows().clone();
    let lift = vec![Transaction::Unfreeze(Unfreeze { identity: who(0) })];
    let refused = desk.write(0, lift.clone(), vec![]).unwrap_err();
    assert!(matches!(refused, Failure::Refused(refusal) if refusal.code() == "not_frozen"));
    assert_eq!(*desk.rows(), before);
    // Once somebody has built on both, so does she.
    desk.publish(1, "having seen all");
    desk.write(0, lift, vec![]).unwrap();
    assert!(!desk.rows().rows(Table::State).contains_key(&key));
}
