//! What the program before this one let a hostile member or a stranger do, each by its name. **None signs what a draft would make and
//! asks nobody**: their blocks are well-formed, and the ledger of every node must say no.

use std::slice::from_ref;

use super::desk::{Desk, NOW_MS, block, genesis, key, who, words};
use crate::chain::transaction::{
    MemberAdd, MemberRemove, Mint, NotarySet, Retract, RoleSet, TaskAssign, TaskComplete, TaskCreate, TaskId,
    TaskStart, Transfer,
};
use crate::chain::{Body, ClaimId, Context, Draft, GroupId, Payload, Role, Transaction, Verified};
use crate::ledger::account::{self, Totals};
use crate::ledger::{Outcome, query, state, task};
use crate::node::engine;

/// A member who means harm; 0 founded the group.
const EVE: u8 = 1;
/// Another member.
const BOB: u8 = 2;
/// No member.
const STRANGER: u8 = 5;

const DAY_MS: u64 = 24 * 3_600_000;

/// A group with two members who have 100 tokens each, and its last block.
fn group() -> (Desk, Verified) {
    let add = |number| Transaction::MemberAdd(MemberAdd { identity: who(number), role: Role::Member });
    let mint = |number| Transaction::Mint(Mint { to: who(number), amount: 100 });
    let setup = block(0, Some((0, genesis().id())), vec![], 1, vec![add(EVE), add(BOB), mint(EVE), mint(BOB)]);
    let mut desk = Desk::founded();
    assert_eq!(desk.ingest(from_ref(&setup)).stored, 1);
    (desk, setup)
}

fn balances(desk: &Desk) -> [u64; 3] {
    [0, EVE, BOB].map(|number| account::account(desk.rows(), &who(number)).unwrap().balance)
}

/// Why a block does not count.
#[track_caller]
fn refused(desk: &Desk, block: &Verified) -> &'static str {
    match query::place_of(desk.rows(), &block.id()).unwrap().expect("it is kept").3 {
        Outcome::Refused(_, refusal) => refusal.code(),
        Outcome::Applied => panic!("it counts"),
    }
}

fn work(name: &str, reward: u64) -> Transaction {
    Transaction::TaskCreate(TaskCreate {
        task: TaskId(name.into()),
        title: "Work".into(),
        description: None,
        due_ms: None,
        priority: 0,
        depends_on: vec![],
        assignee: None,
        reward,
    })
}

#[test]
fn no_member_prints_tokens_by_a_task_of_its_own() {
    let (mut desk, setup) = group();
    let name = || TaskId("mine".into());
    let pays_itself = |reward| {
        vec![
            work("mine", reward),
            Transaction::TaskAssign(TaskAssign { task: name(), assignee: who(EVE), lease_ms: 60_000 }),
            Transaction::TaskStart(TaskStart { task: name(), attempt: 1, lease_ms: 60_000 }),
            Transaction::TaskComplete(TaskComplete { task: name(), attempt: 1, result: None, result_hash: None }),
        ]
    };
    let first = block(EVE, None, vec![setup.id()], 2, pays_itself(1_000_000_000_000));
    desk.ingest(from_ref(&first));
    assert_eq!(refused(&desk, &first), "insufficient_balance");
    // With what it has it only pays itself what was its own.
    let second = block(EVE, Some((0, first.id())), vec![], 3, pays_itself(100));
    desk.ingest(&[second]);
    assert_eq!(balances(&desk), [0, 100, 100]);
    assert_eq!(account::totals(desk.rows()).unwrap(), Totals { supply: 200, accounts: 2, ..Totals::default() });
}

#[test]
fn no_member_takes_over_the_open_task_of_another_by_its_name() {
    let (mut desk, setup) = group();
    let bobs = block(BOB, None, vec![setup.id()], 2, vec![work("deploy", 70)]);
    let eves = block(EVE, None, vec![bobs.id()], 3, vec![work("deploy", 1)]);
    desk.ingest(&[bobs, eves.clone()]);
    assert_eq!(refused(&desk, &eves), "task_exists");
    let row = task::query::row(desk.rows(), &TaskId("deploy".into())).unwrap().unwrap();
    assert_eq!((row.creator, row.reward), (who(BOB), 70));
    assert_eq!(balances(&desk), [0, 100, 30]);
}

#[test]
fn no_member_retracts_the_claim_of_another() {
    let (mut desk, setup) = group();
    let (transaction, object) = words("Bob's");
    let bobs = block(BOB, None, vec![setup.id()], 2, vec![transaction]);
    let claim = ClaimId::derive(bobs.id(), 0);
    let eves = block(EVE, None, vec![bobs.id()], 3, vec![Transaction::Retract(Retract { claim })]);
    desk.ingest_from(7, &[bobs, eves.clone()], vec![object]);
    assert_eq!(refused(&desk, &eves), "not_your_claim");
    assert_eq!(query::claim(desk.rows(), &claim).unwrap().unwrap().row.retracted_by, None);
}

#[test]
fn the_last_admin_can_neither_go_nor_make_itself_less() {
    for goes in [
        Transaction::MemberRemove(MemberRemove { identity: who(0) }),
        Transaction::RoleSet(RoleSet { identity: who(0), role: Role::Viewer }),
    ] {
        let (mut desk, setup) = group();
        let block = block(0, Some((1, setup.id())), vec![], 2, vec![goes]);
        desk.ingest(from_ref(&block));
        assert_eq!(refused(&desk, &block), "last_admin");
        desk.write(0, vec![Transaction::Mint(Mint { to: who(0), amount: 1 })], vec![]).unwrap();
    }
}

#[test]
fn a_payment_that_is_sent_again_a_day_later_pays_once() {
    let (mut desk, setup) = group();
    let give = |to, amount| vec![Transaction::Transfer(Transfer { to: who(to), amount })];
    let paid = block(EVE, None, vec![setup.id()], 2, give(BOB, 60));
    desk.ingest(from_ref(&paid));
    desk.seal().unwrap();
    desk.now_ms += 25 * DAY_MS / 24;
    assert_eq!(desk.ingest(&[paid.clone(), paid.clone()]).stored, 0);
    assert_eq!(balances(&desk), [0, 40, 160]);
    // Nor are the same tokens spent again by a block that is dated back to before the payment: what is sealed comes first.
    let again = block(EVE, None, vec![setup.id()], 2, give(0, 100));
    assert!(again.id() != paid.id() && again.body().time_ms == NOW_MS);
    desk.ingest(&[again]);
    let after = block(EVE, Some((0, paid.id())), vec![], 3, give(0, 41));
    desk.ingest(from_ref(&after));
    assert_eq!(balances(&desk), [0, 40, 160]);
    // And who tried cannot spend what is left either, until an admin has looked at it.
    assert_eq!(refused(&desk, &after), "frozen");
}

#[test]
fn a_strangers_longer_chain_under_the_groups_id_does_not_take_it_over() {
    let (mut desk, setup) = group();
    let before = desk.rows().clone();
    let mut coup = vec![
        Transaction::MemberAdd(MemberAdd { identity: who(STRANGER), role: Role::Admin }),
        Transaction::NotarySet(NotarySet { identity: who(STRANGER) }),
        Transaction::Mint(Mint { to: who(STRANGER), amount: 1_000 }),
        Transaction::MemberRemove(MemberRemove { identity: who(BOB) }),
    ];
    // A hundred blocks where the group has two, on its genesis or on all of it.
    for root in [genesis(), setup] {
        let mut chain: Vec<Verified> = vec![];
        let height = root.body().height;
        for number in 0..100 {
            let line = chain.last().map(|last| (number - 1, last.id()));
            let parents = if line.is_none() { vec![root.id()] } else { vec![] };
            chain.push(block(STRANGER, line, parents, height + number + 1, coup.clone()));
        }
        desk.ingest(&chain);
        assert_eq!(balances(&desk), [0, 100, 100]);
        assert_eq!(account::account(desk.rows(), &who(STRANGER)).unwrap().balance, 0);
        let members = |rows| query::members(rows).unwrap();
        assert_eq!(members(desk.rows()), members(&before));
        assert_eq!(state::sealing(desk.rows()).unwrap().unwrap().sealer, who(0));
        coup.reverse();
    }
    // The group goes on as if nothing had been.
    desk.publish(BOB, "still here");
    desk.seal().unwrap();
}

#[test]
fn a_strangers_genesis_under_the_groups_id_is_no_block_of_it() {
    let group = Desk::founded().group;
    let founds = |of: Option<_>| Body {
        group: of,
        author: who(STRANGER),
        seq: 0,
        prev: None,
        parents: vec![],
        height: 0,
        time_ms: NOW_MS,
        payload: Payload::Plain(vec![Transaction::Genesis(engine::genesis("desk".into(), "KAT".into(), [7; 32]))]),
    };
    let context = Context { group, now_ms: NOW_MS, max_drift_ms: 0 };
    // Another founder's genesis is another group's; one that names the group is none, whoever signs it.
    let own = Draft::new(founds(None)).unwrap().sign(&key(STRANGER));
    assert_ne!(GroupId::from(own.id()), group);
    assert!(own.to_unverified().verify(&context).is_err());
    assert!(Draft::new(founds(Some(group))).is_err());
}
