//! What makes a block invalid, what contradicts what it builds on, and what waits.

use proptest::prelude::*;

use super::block::{Invalid, SIGNATURE_DOMAIN};
use super::link::{self, Link, LinkFailure};
use super::transaction::{Claim, Experience, Genesis, MemberAdd, RoleSet, Secret};
use super::{
    BlockId, Body, Context, Draft, FormError, Frontier, GroupId, Held, LineKey, LinkError, ObjectHash, OrderKey,
    Payload, Role, Tip, Transaction, Unverified, Verified, Waiting, rows,
};
use crate::cbor;
use crate::identity::Identity;
use crate::limits;
use crate::testing::desk::{Desk, NOW_MS, block, genesis, key, who, words};

fn claim(number: u8) -> Transaction {
    Transaction::Claim(Claim {
        object: ObjectHash::of(&[number]),
        size: 1,
        parent: None,
        rewarded: None,
        supersedes: vec![],
    })
}

fn context() -> Context {
    Context { group: GroupId::from(genesis().id()), now_ms: NOW_MS, max_drift_ms: 1_000 }
}

/// A body signed whatever is in it.
fn sign(body: &Body) -> Unverified {
    let body = cbor::encode(body);
    {
        let signature = key(0).sign(SIGNATURE_DOMAIN, &body);
        Unverified::new(body, signature)
    }
}

fn good() -> Body {
    block(0, Some((0, genesis().id())), vec![], 1, vec![claim(1)]).body().clone()
}

#[test]
fn each_rule_of_a_block_alone_has_its_own_refusal() {
    let with = |change: &dyn Fn(&mut Body)| {
        let mut body = good();
        change(&mut body);
        sign(&body).verify(&context()).map(|_| ())
    };
    let id = |number: u8| BlockId::from_bytes([number; 32]);
    let plain = |transactions| Payload::Plain(transactions);
    let founding = || genesis().body().transactions()[0].clone();
    assert_eq!(with(&|_| {}), Ok(()));
    let check = |change: &dyn Fn(&mut Body), expected: fn(&Invalid) -> bool| {
        let invalid = with(change).unwrap_err();
        assert!(expected(&invalid), "{invalid:?}");
    };
    check(&|body| body.group = Some(GroupId::from_bytes([1; 32])), |invalid| matches!(invalid, Invalid::Group));
    check(&|body| body.group = None, |invalid| matches!(invalid, Invalid::Group));
    check(&|body| body.author = who(1), |invalid| matches!(invalid, Invalid::Signature(_)));
    check(&|body| body.payload = plain(vec![]), |invalid| matches!(invalid, Invalid::Transactions(0)));
    check(&|body| body.payload = plain(vec![claim(1); 101]), |invalid| matches!(invalid, Invalid::Transactions(101)));
    assert_eq!(with(&|body| body.payload = plain((0..100).map(claim).collect())), Ok(()));
    check(&|body| body.parents = vec![id(2), id(1)], |invalid| matches!(invalid, Invalid::Parents));
    check(&|body| body.parents = vec![id(2), id(2)], |invalid| matches!(invalid, Invalid::Parents));
    check(&|body| body.parents = (0..65).map(id).collect(), |invalid| matches!(invalid, Invalid::Parents));
    assert_eq!(with(&|body| body.parents = (0..64).map(id).collect()), Ok(()));
    check(&|body| body.parents = vec![body.prev.unwrap()], |invalid| matches!(invalid, Invalid::Parents));
    check(&|body| body.payload = plain(vec![founding()]), |invalid| matches!(invalid, Invalid::Genesis));
    check(&|body| body.payload = plain(vec![claim(1), founding()]), |invalid| matches!(invalid, Invalid::Genesis));
    check(&|body| body.prev = None, |invalid| matches!(invalid, Invalid::Line));
    check(&|body| body.seq = 0, |invalid| matches!(invalid, Invalid::Line));
    check(&|body| body.height = 0, |invalid| matches!(invalid, Invalid::Line));
    check(&|body| body.time_ms = NOW_MS + 1_001, |invalid| matches!(invalid, Invalid::Future { ahead_ms: 1_001 }));
    assert_eq!(with(&|body| body.time_ms = NOW_MS + 1_000), Ok(()));
    check(&|body| body.payload = Payload::Sealed(1, vec![1]), |invalid| matches!(invalid, Invalid::Sealed));
    check(
        &|body| {
            let experience = Experience { object: ObjectHash::of(b""), size: limits::EXPERIENCE_BYTES as u32 + 1 };
            body.payload = plain(vec![Transaction::Experience(experience)]);
        },
        |invalid| matches!(invalid, Invalid::Form(FormError::Length { .. })),
    );
    check(
        &|body| {
            let identity = Identity::from_stored([0; 32]);
            body.payload = plain(vec![Transaction::MemberAdd(MemberAdd { identity, role: Role::Member })]);
        },
        |invalid| matches!(invalid, Invalid::Form(FormError::Key(_))),
    );
}

#[test]
fn a_genesis_stands_alone_at_the_start() {
    let of = |change: &dyn Fn(&mut Body)| {
        let mut body = genesis().body().clone();
        change(&mut body);
        let block = sign(&body);
        let group = GroupId::from(BlockId::of(&block.body));
        block.verify(&Context { group, ..context() }).map(|_| ())
    };
    assert_eq!(of(&|_| {}), Ok(()));
    assert_eq!(of(&|body| body.height = 1), Err(Invalid::Genesis));
    assert_eq!(of(&|body| body.seq = 1), Err(Invalid::Genesis));
    assert_eq!(of(&|body| body.prev = Some(genesis().id())), Err(Invalid::Genesis));
    assert_eq!(of(&|body| body.parents = vec![genesis().id()]), Err(Invalid::Genesis));
    assert_eq!(of(&|body| body.payload = Payload::Plain(vec![claim(1)])), Err(Invalid::Genesis));
    let name = |name: &str, currency: &str| {
        let genesis = Genesis { name: name.into(), currency: currency.into(), discovery_secret: Secret([0; 32]) };
        of(&|body| body.payload = Payload::Plain(vec![Transaction::Genesis(genesis.clone())]))
    };
    assert_eq!(name(&"n".repeat(128), &"K".repeat(12)), Ok(()));
    for (bad, currency) in [("", "KAT"), ("a b", "KAT"), ("../x", "KAT"), ("a", "kat"), ("a", "")] {
        assert!(matches!(name(bad, currency), Err(Invalid::Form(_))), "{bad:?} {currency:?}");
    }
    assert!(name(&"n".repeat(129), "KAT").is_err() && name("n", &"K".repeat(13)).is_err());
}

#[test]
fn bytes_that_are_not_the_one_encoding_are_refused() {
    let honest = sign(&good());
    assert!(matches!(
        Unverified::new(vec![0; limits::BLOCK_BYTES + 1], [0; 64]).verify(&context()),
        Err(Invalid::TooLong(_))
    ));
    let mut trailing = honest.body.clone();
    trailing.push(0);
    let mut newer = honest.body.clone();
    newer[1] = 2;
    let signature = key(0).sign(SIGNATURE_DOMAIN, &newer);
    assert_eq!(Unverified::new(newer, signature).verify(&context()), Err(Invalid::Version(2)));
    for body in [vec![], trailing, honest.body[..honest.body.len() - 1].to_vec()] {
        let signature = key(0).sign(SIGNATURE_DOMAIN, &body);
        assert!(matches!(Unverified::new(body, signature).verify(&context()), Err(Invalid::Decode(_))));
    }
    for at in [0, 31, 32, 63] {
        let mut bad = honest.clone();
        bad.signature[at] ^= 1;
        assert!(matches!(bad.verify(&context()), Err(Invalid::Signature(_))));
    }
    let other_domain = Unverified::new(honest.body.clone(), key(0).sign(b"lbm other 1", &honest.body));
    assert!(matches!(other_domain.verify(&context()), Err(Invalid::Signature(_))));
}

#[test]
fn each_contradiction_to_what_a_block_builds_on_is_told() {
    let mut desk = Desk::founded();
    let add = |number| Transaction::MemberAdd(MemberAdd { identity: who(number), role: Role::Member });
    let first = block(0, Some((0, genesis().id())), vec![], 1, vec![add(1)]);
    let bobs = block(1, None, vec![first.id()], 2, vec![claim(1)]);
    assert_eq!(desk.ingest(&[first.clone(), bobs.clone()]).stored, 2);
    let link = |block: &Verified| link::link(desk.rows(), block.clone());
    let fault = |block: Verified| match link(&block) {
        Err(LinkFailure::Block(fault)) => fault,
        other => panic!("linking came to {other:?}"),
    };
    assert!(matches!(link(&first), Ok(Link::Known)));
    assert!(matches!(link(&block(0, Some((1, first.id())), vec![bobs.id()], 3, vec![claim(2)])), Ok(Link::Linked(_))));
    assert_eq!(fault(block(0, Some((4, first.id())), vec![], 2, vec![claim(2)])), LinkError::Seq);
    assert_eq!(fault(block(0, Some((0, bobs.id())), vec![], 3, vec![claim(2)])), LinkError::Seq);
    for height in [1, 2, 4, u64::MAX] {
        let bad = block(0, Some((1, first.id())), vec![bobs.id()], height, vec![claim(2)]);
        assert_eq!(fault(bad), LinkError::Height);
    }
    let own = block(0, Some((0, genesis().id())), vec![first.id()], 2, vec![claim(2)]);
    assert_eq!(fault(own), LinkError::OwnParent);
    let mut early = block(0, Some((1, first.id())), vec![], 2, vec![claim(2)]).body().clone();
    early.time_ms -= 1;
    assert_eq!(fault(Draft::new(early).unwrap().sign(&key(0))), LinkError::Time);
    let stranger = block(5, None, vec![first.id()], 2, vec![claim(2)]);
    assert!(matches!(link(&stranger), Ok(Link::Stranger(who_it_is)) if who_it_is == who(5)));
    let lost = BlockId::from_bytes([8; 32]);
    let Ok(Link::Waits(_, missing)) = link(&block(0, Some((1, first.id())), vec![lost], 9, vec![claim(2)])) else {
        panic!("a block without its parent does not wait");
    };
    assert_eq!(missing, [lost]);
    assert_eq!(fault(block(1, None, vec![], 1, vec![claim(2)])), LinkError::Height);
}

#[test]
fn a_draft_weaves_in_at_most_64_heads_the_highest_first() {
    let mut desk = Desk::founded();
    // Alice's own line forks 80 times: that is one member's doing, and Bob's next blocks weave all of it in.
    let add = Transaction::MemberAdd(MemberAdd { identity: who(1), role: Role::Member });
    let first = block(0, Some((0, genesis().id())), vec![], 1, vec![add]);
    let forks: Vec<_> = (0..80).map(|n| block(0, Some((1, first.id())), vec![], 2, vec![claim(n)])).collect();
    let tall = block(0, Some((2, forks[0].id())), vec![], 3, vec![claim(99)]);
    desk.ingest(&[first]);
    desk.ingest(&forks);
    desk.ingest(std::slice::from_ref(&tall));
    assert_eq!(rows::heads(desk.rows()).unwrap().len(), 80);
    let prev = crate::ledger::state::line_head(desk.rows(), &who(1)).unwrap();
    let draft = link::draft(desk.rows(), desk.group, who(1), prev, NOW_MS, vec![claim(1)]).unwrap();
    let body = draft.block().body();
    assert_eq!((body.parents.len(), body.height), (64, 4));
    assert!(body.parents.contains(&tall.id()));
    desk.publish(1, "weaves");
    assert_eq!(rows::heads(desk.rows()).unwrap().len(), 17);
    desk.publish(1, "weaves the rest");
    assert_eq!(rows::heads(desk.rows()).unwrap().len(), 1);
    // The author whose line has branches does not weave in its own.
    let own = desk.publish(0, "by the forker");
    assert_eq!(rows::heads(desk.rows()).unwrap().len(), 1);
    assert_eq!(own.blocks.len(), 1);
}

#[test]
fn what_waits_is_bounded_and_the_oldest_goes() {
    let missing = BlockId::from_bytes([1; 32]);
    let waiter = |number: u64| {
        let act = Transaction::RoleSet(RoleSet { identity: who(1), role: Role::Member });
        let line = Some((number, BlockId::from_bytes([2; 32])));
        block(0, line, vec![], number + 1, vec![act])
    };
    let held = |block: &Verified| Held { block: block.clone(), objects: vec![], from: who(3) };
    let mut waiting = Waiting::default();
    let blocks: Vec<_> = (0..limits::WAITING_BLOCKS as u64 + 3).map(waiter).collect();
    for block in &blocks {
        waiting.insert(held(block), vec![missing]);
    }
    assert_eq!((waiting.len(), waiting.dropped()), (limits::WAITING_BLOCKS, 3));
    assert!(!waiting.contains(&blocks[2].id()) && waiting.contains(&blocks[3].id()));
    assert_eq!(waiting.missing(&who(3), 9), [missing]);
    assert!(waiting.missing(&who(4), 9).is_empty(), "another peer is not asked");
    waiting.insert(held(&blocks[3]), vec![missing, blocks[4].id()]);
    assert_eq!(waiting.len(), limits::WAITING_BLOCKS, "a block waits once");
    assert_eq!(waiting.missing(&who(3), 9), [missing], "what waits itself is not missing");
    assert_eq!(waiting.release(&missing).len(), limits::WAITING_BLOCKS);
    assert!(waiting.is_empty() && waiting.missing(&who(3), 9).is_empty());
    // Bytes count as well, and those of objects with them.
    let (_, object) = words("x");
    for block in &blocks[..20] {
        let objects = vec![(ObjectHash::of(&object), vec![0; limits::OBJECT_BYTES])];
        waiting.insert(Held { objects, ..held(block) }, vec![missing]);
    }
    assert_eq!(waiting.len(), limits::WAITING_BYTES / limits::OBJECT_BYTES);
}

#[test]
fn a_frontier_advances_branches_and_has_one_digest() {
    let (alice, bob) = (who(0), who(1));
    let tip = |seq, id: u8| Tip { seq, id: BlockId::from_bytes([id; 32]) };
    let mut frontier = Frontier::default();
    assert!(frontier.is_empty() && !frontier.covers(&alice, &tip(0, 1)));
    frontier.advance(alice, None, tip(0, 1));
    frontier.advance(alice, Some(tip(0, 1).id), tip(1, 2));
    assert_eq!(frontier.tips(&alice), [tip(1, 2)]);
    assert!(frontier.covers(&alice, &tip(0, 1)) && !frontier.covers(&alice, &tip(1, 3)));
    let before = frontier.digest();
    frontier.advance(alice, Some(tip(0, 1).id), tip(1, 3));
    assert_eq!(frontier.tips(&alice), [tip(1, 2), tip(1, 3)]);
    assert_ne!(frontier.digest(), before);
    let same = Frontier::new([(alice, vec![tip(1, 2), tip(1, 3)])]);
    assert_eq!(frontier.digest(), same.digest());
    assert_ne!(frontier.digest(), Frontier::new([(bob, vec![tip(1, 2), tip(1, 3)])]).digest());
    frontier.reach(bob, tip(4, 4));
    frontier.reach(bob, tip(9, 9));
    assert_eq!((frontier.tips(&bob), frontier.len()), (&[tip(9, 9)][..], 2));
    let mut branches = Frontier::default();
    for id in 0..40 {
        branches.advance(alice, None, tip(0, id));
    }
    let named: Vec<crate::wire::AuthorTips> = (&branches).into();
    assert_eq!((branches.tips(&alice).len(), named[0].tips.len()), (40, limits::TIPS_PER_AUTHOR));
}

proptest! {
    #[test]
    fn bytes_of_order_keys_sort_as_the_keys(a in any::<(u64, u64, [u8; 32])>(), b in any::<(u64, u64, [u8; 32])>(), same in 0..3) {
        let of = |(epoch, height, id)| OrderKey { epoch, height, id: BlockId::from_bytes(id) };
        let (a, mut b) = (of(a), of(b));
        if same > 0 {
            b.epoch = a.epoch;
        }
        if same > 1 {
            b.height = a.height;
        }
        prop_assert_eq!(a.cmp(&b), a.to_bytes().cmp(&b.to_bytes()));
        prop_assert_eq!(OrderKey::from_bytes(&a.to_bytes()), Some(a));
        prop_assert_eq!(OrderKey::from_bytes(&a.to_bytes()[1..]), None);
        let sealed = OrderKey { epoch: 5, ..a };
        prop_assert!(sealed < OrderKey::open(0, a.id));
    }
}

#[test]
fn a_fork_is_a_row_more_and_nothing_is_overwritten() {
    let mut desk = Desk::founded();
    let (one, other) = (
        block(0, Some((0, genesis().id())), vec![], 1, vec![claim(1)]),
        block(0, Some((0, genesis().id())), vec![], 1, vec![claim(2)]),
    );
    desk.ingest(&[one.clone(), other.clone()]);
    assert_eq!(desk.news.last().unwrap().equivocators, [who(0)]);
    for block in [&one, &other] {
        let key = LineKey::new(&who(0), 1, &block.id());
        assert_eq!(rows::block(desk.rows(), &key).unwrap(), block.to_unverified());
    }
    assert_eq!(rows::branches(desk.rows(), &who(0), 1).unwrap(), 2);
    assert_eq!(
        rows::counters(desk.rows()).unwrap().bytes as usize,
        [&genesis(), &one, &other].map(|b| b.bytes().len()).iter().sum::<usize>()
    );
}
