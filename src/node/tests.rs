//! Answers to peers: bounded, resumable, and exactly what is missing.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::group::GroupSync;
use super::io::Opened;
use super::serve::serve;
use crate::chain::transaction::{Claim, Experience, MemberAdd};
use crate::chain::{
    BlockId, Frontier, GroupId, LineKey, ObjectAt, ObjectHash, Role, Tip, Transaction, Unverified, Verified, rows,
};
use crate::kv::Table;
use crate::ledger::query;
use crate::limits;
use crate::node::engine::Written;
use crate::testing::desk::{Desk, block, genesis, who, words};
use crate::wire::{Batch, Probe, Pull, Reached, Request, Response, WantBlocks, WantObjects};

fn ask(desk: &Desk, request: Request) -> Batch {
    let response = serve(desk.rows(), &[who(0)], request).unwrap();
    let bytes = response.encode();
    assert!(bytes.len() <= limits::MESSAGE_BYTES, "{} bytes", bytes.len());
    match Response::decode(&bytes).unwrap() {
        Response::Batch(batch) => batch,
        other => panic!("answered with {other:?}"),
    }
}

fn pull(desk: &Desk, frontier: &Frontier) -> Batch {
    ask(desk, Request::Pull(Pull { group: desk.group, frontier: frontier.into() }))
}

/// Goes on from where a batch ended, as a session of the machine does.
fn advance(frontier: &mut Frontier, batch: &Batch) {
    for author in batch.reached.iter().map(|reached| reached.author).collect::<BTreeSet<_>>() {
        let of = batch.reached.iter().filter(|reached| reached.author == author);
        frontier.set(author, of.map(|reached| reached.tip.clone()).collect());
    }
}

fn frontier(desk: &Desk) -> Frontier {
    Frontier::new(rows::all_tips(desk.rows()).unwrap())
}

/// All blocks of a pull in several batches.
fn pull_all(desk: &Desk, mut frontier: Frontier) -> (Vec<Unverified>, usize) {
    let (mut blocks, mut batches) = (Vec::new(), 0);
    loop {
        let batch = pull(desk, &frontier);
        assert!(batch.blocks.len() <= limits::BATCH_BLOCKS);
        advance(&mut frontier, &batch);
        blocks.extend(batch.blocks);
        batches += 1;
        assert!(batches < 100, "the pull leads nowhere");
        if !batch.more {
            return (blocks, batches);
        }
    }
}

/// Each block once, and after everything that it builds on.
fn assert_causal(known: &[Verified], blocks: &[Verified]) {
    let mut seen: BTreeSet<BlockId> = known.iter().map(Verified::id).collect();
    for block in blocks {
        let body = block.body();
        assert!(body.prev.iter().chain(&body.parents).all(|cause| seen.contains(cause)), "an effect before its cause");
        assert!(seen.insert(block.id()), "a block twice");
    }
}

/// Three members who see each other now and then write `rounds` claims each of `length` bytes.
fn busy(rounds: usize, length: usize) -> Desk {
    let mut desk = Desk::founded();
    let add = |number| Transaction::MemberAdd(MemberAdd { identity: who(number), role: Role::Member });
    desk.write(0, vec![add(1), add(2)], vec![]).unwrap();
    let filler = "x".repeat(length);
    for round in 0..rounds {
        for author in 0..3 {
            desk.publish(author, &format!("{author} {round} {filler}"));
        }
    }
    desk
}

#[test]
fn a_pull_in_batches_brings_every_block_once_causes_first() {
    for (rounds, length, at_least) in [(5, 10, 1), (100, 40_000, 4), (3_000, 10, 2)] {
        let desk = busy(rounds, length);
        let (blocks, batches) = pull_all(&desk, Frontier::default());
        assert!(batches >= at_least, "{batches} batches");
        assert_eq!(blocks.len(), 2 + 3 * rounds);
        assert_causal(&[], &desk.verify(blocks));
    }
}

#[test]
fn who_has_all_gets_nothing_and_who_has_some_gets_the_rest() {
    let mut desk = busy(20, 10);
    let before = frontier(&desk);
    let (old, _) = pull_all(&desk, Frontier::default());
    assert!(pull(&desk, &before).blocks.is_empty());
    for author in [0, 2, 2] {
        desk.publish(author, "new");
    }
    let (blocks, _) = pull_all(&desk, before);
    assert_eq!(blocks.len(), 3);
    assert_causal(&desk.verify(old), &desk.verify(blocks));
    // Who is ahead of us is not sent what it has.
    let mut ahead = frontier(&desk);
    ahead.reach(who(0), Tip { seq: 900, id: BlockId::from_bytes([1; 32]) });
    assert!(pull(&desk, &ahead).blocks.is_empty());
    let probe = |digest: [u8; 32]| {
        let digest = serde_bytes::ByteBuf::from(digest.to_vec());
        serve(desk.rows(), &[who(1)], Request::Probe(Probe { group: desk.group, digest })).unwrap()
    };
    assert_eq!(probe(frontier(&desk).digest()), Response::Same);
    assert_eq!(probe(ahead.digest()), Response::Differs);
}

#[test]
fn objects_that_do_not_fit_are_asked_for() {
    let mut desk = Desk::founded();
    let (acts, objects): (Vec<_>, Vec<_>) = (0..100).map(|n| words(&format!("{n} {}", "y".repeat(65_000)))).unzip();
    let written = desk.write(0, acts, objects.clone()).unwrap();
    let batch = pull(&desk, &Frontier::default());
    assert_eq!(batch.blocks.len(), 2);
    let mut other = Desk::empty();
    let came = batch.objects.into_iter().map(serde_bytes::ByteBuf::into_vec).collect();
    let mut wanted = other.ingest_from(0, &desk.verify(batch.blocks), came).wanted;
    while !wanted.is_empty() {
        let batch = want_objects(&desk, wanted);
        assert!(!batch.is_empty());
        wanted = other.ingest_from(0, &[], batch).wanted;
    }
    assert_eq!(objects_of(&other, &written), objects.into_iter().map(Some).collect::<Vec<_>>());
}

fn want_objects(desk: &Desk, objects: Vec<ObjectAt>) -> Vec<Vec<u8>> {
    let batch = ask(desk, Request::WantObjects(WantObjects { group: desk.group, objects }));
    batch.objects.into_iter().map(serde_bytes::ByteBuf::into_vec).collect()
}

/// The objects of the written blocks, as they lie here: one for each transaction.
fn objects_of(desk: &Desk, written: &Written) -> Vec<Option<Vec<u8>>> {
    let of_block = |id: &BlockId| {
        let placed = rows::placed(desk.rows(), id).unwrap().unwrap();
        let line = LineKey::new(&placed.author, placed.seq, id);
        let count = rows::body(desk.rows(), &line).unwrap().transactions().len();
        (0..count as u32).map(move |index| rows::object(desk.rows(), &line, index).unwrap())
    };
    written.blocks.iter().flat_map(of_block).collect()
}

#[test]
fn claims_with_the_same_words_have_them_everywhere() {
    let mut desk = Desk::founded();
    // In one block and in two, in one write and in two.
    let (act, object) = words("the same");
    let written = desk.write(0, vec![act.clone(); limits::BLOCK_TRANSACTIONS + 2], vec![object.clone()]).unwrap();
    let again = desk.write(0, vec![act], vec![object.clone()]).unwrap();
    assert_eq!(written.blocks.len(), 2);
    let batch = pull(&desk, &Frontier::default());
    assert_eq!(batch.objects, [serde_bytes::ByteBuf::from(object.clone())], "sent once");
    let mut other = Desk::empty();
    let report = other.ingest_from(0, &desk.verify(batch.blocks), vec![object.clone()]);
    assert_eq!(report.wanted, []);
    for desk in [&desk, &other] {
        assert_eq!(objects_of(desk, &written), vec![Some(object.clone()); limits::BLOCK_TRANSACTIONS + 2]);
        assert_eq!(objects_of(desk, &again), [Some(object.clone())]);
        for claim in written.claims.iter().chain(&again.claims) {
            let claim = query::claim(desk.rows(), claim).unwrap().unwrap();
            assert_eq!(claim.body.unwrap().text, "the same");
        }
    }
    // What a push carries is each object once a block.
    let fresh = desk.news.iter().flat_map(|news| &news.blocks).map(|(_, fresh)| fresh.objects.len());
    assert_eq!(fresh.collect::<Vec<_>>(), [0, 1, 1, 1]);
}

#[test]
fn an_object_that_is_wanted_at_two_places_and_comes_once_is_kept_at_both() {
    let mut desk = Desk::founded();
    let (act, object) = words("late");
    let (other_act, other_object) = words("another");
    let written = desk.write(0, vec![act.clone(), other_act, act.clone()], vec![object.clone(), other_object]).unwrap();
    let again = desk.write(0, vec![act], vec![object.clone()]).unwrap();
    let mut other = Desk::empty();
    let report = other.ingest_from(0, &desk.verify(pull(&desk, &Frontier::default()).blocks), vec![]);
    assert_eq!(report.wanted.len(), 4);
    let first = ObjectAt { block: written.blocks[0], index: 0 };
    assert!(report.wanted.contains(&first));
    let sent = want_objects(&desk, vec![first, ObjectAt { block: again.blocks[0], index: 0 }, first]);
    assert_eq!(sent, std::slice::from_ref(&object), "the same bytes are sent once");
    let report = other.ingest_from(0, &[], vec![b"nobody wants this".to_vec(), object.clone()]);
    assert_eq!((report.objects, report.wanted), (3, vec![ObjectAt { block: written.blocks[0], index: 1 }]));
    assert_eq!(objects_of(&other, &written), [Some(object.clone()), None, Some(object.clone())]);
    assert_eq!(objects_of(&other, &again), [Some(object)]);
    assert_eq!(other.rows().rows(Table::Object).len(), 3);
    // What nobody names is nowhere, and a place that no transaction has is none.
    assert!(
        want_objects(&desk, vec![ObjectAt { index: 3, ..first }, ObjectAt { index: u32::MAX, ..first }]).is_empty()
    );
}

#[test]
fn copies_of_one_large_object_take_bounded_memory_and_all_come_in_the_end() {
    let run = vec![5; limits::EXPERIENCE_BYTES];
    let act = Transaction::Experience(Experience { object: ObjectHash::of(&run), size: run.len() as u32 });
    let mut desk = Desk::founded();
    let written = desk.write(0, vec![act; 30], vec![run.clone()]).unwrap();
    let mut other = Desk::empty();
    let batch = pull(&desk, &Frontier::default());
    let mut report = other.ingest_from(0, &desk.verify(batch.blocks), vec![run.clone()]);
    let most = 1 + limits::COPIED_BYTES / limits::EXPERIENCE_BYTES;
    assert!(other.rows().rows(Table::Object).len() <= most);
    let mut rounds = 0;
    while !report.wanted.is_empty() {
        report = other.ingest_from(0, &[], want_objects(&desk, report.wanted));
        assert!((1..=most).contains(&report.objects));
        rounds += 1;
    }
    assert!(rounds <= 5, "{rounds} rounds");
    assert_eq!(objects_of(&other, &written), vec![Some(run); 30]);
}

#[test]
fn an_object_longer_than_its_claim_says_fits_every_answer() {
    let mut desk = Desk::founded();
    let huge = vec![1; 6 * 1024 * 1024];
    let long = vec![2; limits::OBJECT_BYTES];
    let lie = |object: &[u8]| {
        Transaction::Claim(Claim {
            object: ObjectHash::of(object),
            size: 1,
            parent: None,
            rewarded: None,
            supersedes: vec![],
        })
    };
    let bad = block(0, Some((0, genesis().id())), vec![], 1, vec![lie(&huge), lie(&long)]);
    let bad_id = bad.id();
    let report = desk.ingest_from(0, &[bad], vec![huge, long.clone()]);
    assert_eq!(
        report.wanted,
        [ObjectAt { block: bad_id, index: 0 }],
        "what is longer than an object may be is not taken"
    );
    for number in 0..20 {
        desk.publish(0, &format!("{number} {}", "z".repeat(60_000)));
    }
    let batch = pull(&desk, &Frontier::default());
    assert!(batch.objects.iter().any(|object| object.len() == long.len()));
}

#[test]
fn blocks_by_id_come_with_a_run_of_those_before_them() {
    let desk = busy(400, 10);
    let tip = rows::tips(desk.rows(), &who(0)).unwrap().remove(0);
    let want = |ids| ask(&desk, Request::WantBlocks(WantBlocks { group: desk.group, ids })).blocks;
    let run = desk.verify(want(vec![tip.id]));
    assert_eq!(run.len(), 256);
    assert!(run.iter().all(|block| block.body().author == who(0)));
    assert_eq!(run.last().unwrap().id(), tip.id);
    assert_eq!(want(vec![run[0].body().prev.unwrap()]).len(), 402 - 256);
    assert_eq!(want(vec![tip.id, tip.id]).len(), 256, "each once");
    assert!(want(vec![BlockId::from_bytes([5; 32])]).is_empty());
}

/// A line of `common` blocks that goes on in branches of these lengths.
fn forked(common: usize, branches: &[usize], length: usize) -> Vec<Desk> {
    let mut base = Desk::founded();
    for number in 0..common {
        base.publish(0, &format!("common {number}"));
    }
    let filler = "f".repeat(length);
    let branch = |(place, blocks): (usize, &usize)| {
        let mut desk = base.copy();
        (0..*blocks).for_each(|number| drop(desk.publish(0, &format!("{place} {number} {filler}"))));
        desk
    };
    branches.iter().enumerate().map(branch).collect()
}

/// Pulls as a session does, until nothing is missing; gives the blocks that came although they were here.
fn sync(to: &mut Desk, from: &Desk) -> usize {
    let mut known = 0;
    let mut session = frontier(to);
    let mut batches = 0;
    loop {
        batches += 1;
        assert!(batches < 200, "the pull leads nowhere");
        let batch = pull(from, &session);
        advance(&mut session, &batch);
        let objects = batch.objects.into_iter().map(serde_bytes::ByteBuf::into_vec).collect();
        let mut report = to.ingest_from(0, &from.verify(batch.blocks), objects);
        known += report.known;
        if batch.more {
            continue;
        }
        while !report.missing.is_empty() {
            batches += 1;
            assert!(batches < 200, "the run leads nowhere");
            let want = WantBlocks { group: from.group, ids: report.missing.clone() };
            let batch = ask(from, Request::WantBlocks(want));
            report = to.ingest_from(0, &from.verify(batch.blocks), vec![]);
            known += report.known;
        }
        return known;
    }
}

#[test]
fn both_sides_of_a_fork_come_to_hold_both_branches() {
    for (common, lengths, words) in [
        (0, [1, 1], 1),
        (5, [1, 30], 1),
        (5, [300, 20], 1),
        (3, [600, 600], 1),
        (700, [2, 2], 1),
        (2, [150, 120], 60_000),
        (2, [300, 3], 60_000),
    ] {
        let mut desks = forked(common, &lengths, words);
        let (mut right, mut left) = (desks.pop().unwrap(), desks.pop().unwrap());
        for _ in 0..2 {
            sync(&mut left, &right);
            sync(&mut right, &left);
        }
        for table in [Table::Id, Table::Order, Table::State] {
            assert!(left.rows().rows(table) == right.rows().rows(table), "{common} {lengths:?}: {table:?} differs");
        }
        assert_eq!(rows::counters(left.rows()).unwrap().blocks as usize, 1 + common + lengths[0] + lengths[1]);
        // From now on both know where they are, and nothing is sent twice.
        left.publish(0, "after");
        assert_eq!(sync(&mut right, &left), 0);
    }
}

#[test]
fn hundreds_of_branches_at_one_place_arrive() {
    let mut left = Desk::founded();
    let act = |number: u32| {
        let object = ObjectHash::of(&number.to_be_bytes());
        vec![Transaction::Claim(Claim { object, size: 4, parent: None, rewarded: None, supersedes: vec![] })]
    };
    let branches: Vec<_> = (0..600).map(|number| block(0, Some((0, genesis().id())), vec![], 1, act(number))).collect();
    let mut right = left.copy();
    left.ingest(&branches[..300]);
    right.ingest(&branches[300..]);
    sync(&mut left, &right);
    sync(&mut right, &left);
    assert_eq!(rows::counters(left.rows()).unwrap().blocks, 601);
    assert!(left.rows().rows(Table::Order) == right.rows().rows(Table::Order));
}

#[test]
fn an_old_dead_branch_costs_a_late_joiner_nothing() {
    let mut desks = forked(20, &[2, 3_000], 1_200);
    let (mut long, short) = (desks.pop().unwrap(), desks.pop().unwrap());
    sync(&mut long, &short);
    let mut late = Desk::empty();
    assert_eq!(sync(&mut late, &long), 0);
    assert_eq!(late.rows().rows(Table::Id), long.rows().rows(Table::Id));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn whatever_two_hold_of_a_history_they_come_to_hold_the_same(
        lengths in prop::collection::vec((0usize..12, 0usize..12), 1..6),
        split in any::<u32>(),
    ) {
        // Branches that leave one another at several depths.
        let mut desks = vec![Desk::founded()];
        for (number, (from, length)) in lengths.iter().enumerate() {
            let mut desk = desks[from % desks.len()].copy();
            (0..*length).for_each(|place| drop(desk.publish(0, &format!("{number} {place}"))));
            desks.push(desk);
        }
        let (mut left, mut right) = (Desk::founded(), Desk::founded());
        for (number, desk) in desks.iter().enumerate() {
            sync(if split & (1 << number) == 0 { &mut left } else { &mut right }, desk);
        }
        for _ in 0..2 {
            sync(&mut left, &right);
            sync(&mut right, &left);
        }
        for table in [Table::Id, Table::Order, Table::State] {
            prop_assert_eq!(left.rows().rows(table), right.rows().rows(table));
        }
    }
}

#[test]
fn what_a_peer_says_of_authors_that_are_not_here_is_not_kept() {
    let (member, peer) = (who(1), who(2));
    let opened = Opened {
        group: GroupId::from_bytes([1; 32]),
        frontier: Frontier::default(),
        members: vec![member],
        former: std::collections::BTreeMap::new(),
        shut_out: None,
        in_doubt: false,
        to_seal: None,
    };
    let mut group = GroupSync::new(opened, true, 0);
    group.reset_peer(&peer);
    let tip = Tip { seq: 0, id: BlockId::from_bytes([1; 32]) };
    let lacks = |group: &GroupSync, author| group.lacks(&peer, &[Reached { author, tip: tip.clone() }]);
    for stranger in 3..=250 {
        group.peer_has(0, &peer, who(stranger), &tip);
        assert!(lacks(&group, who(stranger)));
    }
    group.peer_has(0, &peer, member, &tip);
    assert!(!lacks(&group, member));
}
