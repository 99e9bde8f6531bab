//! Each rule of tasks refuses what it should, rewards go to one place, and any arrival comes to the same rows.

use std::ops::ControlFlow;

use proptest::prelude::*;

use super::query::{self, Filter};
use super::rows::TaskStatus::{self, Assigned, Cancelled, Completed, Failed, InProgress, Pending};
use super::{TaskRow, check};
use crate::chain::link;
use crate::chain::rows::{self, parse_row};
use crate::chain::transaction::{
    Claim, MemberAdd, MemberRemove, Mint, PolicyUpdate, RoleSet, TaskAssign, TaskCancel, TaskComplete, TaskCreate,
    TaskFail, TaskId, TaskRelease, TaskStart, Transfer,
};
use crate::chain::{ClaimId, Context, ObjectHash, Role, Transaction, Unverified, Verified};
use crate::kv::{Direction, Memory, Overlay, Table};
use crate::ledger::fold::OrderRow;
use crate::ledger::{Refusal, account, state};
use crate::limits;
use crate::node::engine::{Failure, Written};
use crate::testing::desk::{Desk, NOW_MS, genesis, key, who};
use Role::{Admin, Member, Viewer};

const LEASE_MS: u64 = 60_000;

fn id(name: &str) -> TaskId {
    TaskId(name.to_owned())
}

/// A task without anything that may be left out.
fn plain(name: &str) -> TaskCreate {
    TaskCreate {
        task: id(name),
        title: format!("Title of {name}"),
        description: None,
        due_ms: None,
        priority: 0,
        depends_on: vec![],
        assignee: None,
        reward: 0,
    }
}

fn new(name: &str) -> Transaction {
    Transaction::TaskCreate(plain(name))
}

fn after(name: &str, depends_on: &[&str]) -> Transaction {
    let depends_on = depends_on.iter().map(|name| id(name)).collect();
    Transaction::TaskCreate(TaskCreate { depends_on, ..plain(name) })
}

fn paid(name: &str, reward: u64) -> Transaction {
    Transaction::TaskCreate(TaskCreate { reward, ..plain(name) })
}

fn given(name: &str, to: u8) -> Transaction {
    Transaction::TaskCreate(TaskCreate { assignee: Some(who(to)), ..plain(name) })
}

fn assign(name: &str, to: u8) -> Transaction {
    Transaction::TaskAssign(TaskAssign { task: id(name), assignee: who(to), lease_ms: LEASE_MS })
}

fn start(name: &str, attempt: u32) -> Transaction {
    Transaction::TaskStart(TaskStart { task: id(name), attempt, lease_ms: LEASE_MS })
}

fn complete(name: &str, attempt: u32) -> Transaction {
    Transaction::TaskComplete(TaskComplete { task: id(name), attempt, result: None, result_hash: None })
}

fn named(name: &str, result: ClaimId) -> Transaction {
    Transaction::TaskComplete(TaskComplete { task: id(name), attempt: 1, result: Some(result), result_hash: None })
}

fn fail(name: &str, attempt: u32) -> Transaction {
    Transaction::TaskFail(TaskFail { task: id(name), attempt, error_message: Some("no network".into()) })
}

fn release(name: &str, attempt: u32) -> Transaction {
    Transaction::TaskRelease(TaskRelease { task: id(name), attempt })
}

fn cancel(name: &str) -> Transaction {
    Transaction::TaskCancel(TaskCancel { task: id(name) })
}

fn set(number: u8, role: Role) -> Transaction {
    Transaction::RoleSet(RoleSet { identity: who(number), role })
}

fn out(number: u8) -> Transaction {
    Transaction::MemberRemove(MemberRemove { identity: who(number) })
}

fn mint(to: u8, amount: u64) -> Transaction {
    Transaction::Mint(Mint { to: who(to), amount })
}

/// What holds after every block.
#[track_caller]
fn sound(kv: &Memory) {
    let escrow = account::totals(kv).unwrap().escrow;
    assert_eq!(check(kv).unwrap(), Ok(escrow), "the escrow is what tasks have set aside");
}

/// A group of the admins 0 and 4, the members 1 and 2 with 100 tokens each, and the viewer 3.
fn team() -> Desk {
    let mut desk = Desk::founded();
    let add = |number, role| Transaction::MemberAdd(MemberAdd { identity: who(number), role });
    let first = vec![add(1, Member), add(2, Member), add(3, Viewer), add(4, Admin), mint(1, 100), mint(2, 100)];
    desk.write(0, first, vec![]).unwrap();
    desk
}

/// Writes one transaction; the code of its refusal.
#[track_caller]
fn act(desk: &mut Desk, author: u8, transaction: Transaction) -> Result<Written, Refusal> {
    let before = desk.rows().clone();
    match desk.write(author, vec![transaction], vec![]) {
        Ok(written) => {
            sound(desk.rows());
            Ok(written)
        }
        Err(Failure::Refused(refusal)) => {
            assert_eq!(*desk.rows(), before, "a refused act has left something");
            Err(refusal)
        }
        Err(other) => panic!("{other}"),
    }
}

#[track_caller]
fn row(desk: &Desk, name: &str) -> TaskRow {
    query::row(desk.rows(), &id(name)).unwrap().unwrap()
}

fn balance(desk: &Desk, number: u8) -> u64 {
    account::account(desk.rows(), &who(number)).unwrap().balance
}

fn ready(desk: &Desk) -> Vec<String> {
    let tasks = query::ready(desk.rows(), desk.now_ms, 100).unwrap();
    tasks.into_iter().map(|task| task.id.0).collect()
}

/// A line of a story: somebody does something, or time passes.
#[derive(Debug, Clone)]
enum Line {
    By(u8, Transaction),
    Later(u64),
}
use Line::{By, Later};

/// How the task `t` stands at the end, who has it, and its attempt; or the code of what the last line is refused with.
type Ends = Result<(TaskStatus, Option<u8>, u32), &'static str>;

#[track_caller]
fn tell(lines: &[Line]) -> Ends {
    let mut desk = team();
    for (number, line) in lines.iter().enumerate() {
        let (author, transaction) = match line {
            Later(ms) => {
                desk.now_ms += ms;
                continue;
            }
            By(author, transaction) => (*author, transaction.clone()),
        };
        if let Err(refusal) = act(&mut desk, author, transaction) {
            assert_eq!(number + 1, lines.len(), "refused too early: {line:?}: {refusal}");
            let sentence = refusal.to_string();
            assert!(sentence.contains(": ") || refusal.code() == "not_a_member", "says what to do: {sentence}");
            return Err(refusal.code());
        }
    }
    let row = row(&desk, "t");
    let assignee = row.assignee.map(|assignee| (0..8).find(|number| who(*number) == assignee).unwrap());
    Ok((row.status, assignee, row.attempt))
}

#[test]
#[allow(clippy::too_many_lines, reason = "one table")]
fn each_rule_refuses_what_it_should_and_no_more() {
    let claim = || ClaimId::from_bytes([9; 32]);
    let over = || Later(LEASE_MS);
    let table: Vec<(Vec<Line>, Ends)> = vec![
        // Creating.
        (vec![By(1, new("t"))], Ok((Pending, None, 0))),
        (vec![By(3, new("t"))], Err("viewer_cannot_write")),
        (vec![By(5, new("t"))], Err("not_a_member")),
        (vec![By(1, new("t")), By(2, new("t"))], Err("task_exists")),
        (vec![By(1, new("t")), By(1, cancel("t")), By(1, new("t"))], Err("task_exists")),
        (vec![By(1, given("t", 2))], Ok((Assigned, Some(2), 1))),
        (vec![By(1, given("t", 3))], Err("no_worker")),
        (vec![By(1, given("t", 5))], Err("no_worker")),
        (vec![By(1, after("t", &["u"]))], Err("no_such_task")),
        (vec![By(1, after("t", &["t"]))], Err("no_such_task")),
        (vec![By(1, new("u")), By(2, after("t", &["u"]))], Ok((Pending, None, 0))),
        (vec![By(1, new("u")), By(1, cancel("u")), By(2, after("t", &["u"]))], Err("dependency_ended")),
        // Assigning.
        (vec![By(1, new("t")), By(2, assign("t", 2))], Ok((Assigned, Some(2), 1))),
        (vec![By(1, new("t")), By(1, assign("t", 2))], Ok((Assigned, Some(2), 1))),
        (vec![By(1, new("t")), By(0, assign("t", 2))], Ok((Assigned, Some(2), 1))),
        (vec![By(0, new("t")), By(1, assign("t", 2))], Err("not_your_task")),
        (vec![By(1, new("t")), By(3, assign("t", 3))], Err("viewer_cannot_write")),
        (vec![By(1, new("t")), By(1, assign("t", 3))], Err("no_worker")),
        (vec![By(1, new("t")), By(1, assign("t", 6))], Err("no_worker")),
        (vec![By(2, assign("t", 2))], Err("no_such_task")),
        (vec![By(0, new("t")), By(1, assign("t", 1)), By(2, assign("t", 2))], Err("task_taken")),
        (vec![By(0, new("t")), By(1, assign("t", 1)), By(1, assign("t", 1))], Err("task_taken_by_you")),
        (vec![By(0, new("t")), By(1, assign("t", 1)), By(4, assign("t", 2))], Ok((Assigned, Some(2), 2))),
        (vec![By(0, new("t")), By(1, assign("t", 1)), Later(LEASE_MS - 1), By(2, assign("t", 2))], Err("task_taken")),
        (vec![By(0, new("t")), By(1, assign("t", 1)), over(), By(2, assign("t", 2))], Ok((Assigned, Some(2), 2))),
        (vec![By(0, new("t")), By(1, assign("t", 1)), over(), By(1, assign("t", 1))], Ok((Assigned, Some(1), 2))),
        (vec![By(0, new("u")), By(0, after("t", &["u"])), By(1, assign("t", 1))], Err("task_blocked")),
        (vec![By(0, new("u")), By(0, after("t", &["u"])), By(0, assign("t", 1))], Ok((Assigned, Some(1), 1))),
        // Starting, and keeping.
        (vec![By(0, given("t", 1)), By(1, start("t", 1))], Ok((InProgress, Some(1), 1))),
        (vec![By(0, given("t", 1)), By(2, start("t", 1))], Err("task_taken_over")),
        (vec![By(0, given("t", 1)), By(0, start("t", 1))], Err("task_taken_over")),
        (vec![By(0, given("t", 1)), By(1, start("t", 2))], Err("other_attempt")),
        (vec![By(0, new("t")), By(1, start("t", 0))], Err("task_not_assigned")),
        (vec![By(0, given("t", 1)), By(0, set(1, Viewer)), By(1, start("t", 1))], Err("viewer_cannot_write")),
        (
            vec![By(0, new("u")), By(0, after("t", &["u"])), By(0, assign("t", 1)), By(1, start("t", 1))],
            Err("task_blocked"),
        ),
        (
            // Kept by starting it again: the lease that was over has begun anew.
            vec![By(0, given("t", 1)), By(1, start("t", 1)), over(), By(1, start("t", 1)), By(2, assign("t", 2))],
            Err("task_taken"),
        ),
        (
            vec![By(0, given("t", 1)), By(1, start("t", 1)), over(), By(2, assign("t", 2)), By(1, start("t", 1))],
            Err("task_taken_over"),
        ),
        // Completing.
        (vec![By(0, given("t", 1)), By(1, start("t", 1)), By(1, complete("t", 1))], Ok((Completed, Some(1), 1))),
        (vec![By(0, given("t", 1)), By(1, complete("t", 1))], Err("task_not_started")),
        (vec![By(0, given("t", 1)), By(1, start("t", 1)), By(2, complete("t", 1))], Err("task_taken_over")),
        (vec![By(0, given("t", 1)), By(1, start("t", 1)), By(1, complete("t", 2))], Err("other_attempt")),
        (vec![By(0, given("t", 1)), By(1, start("t", 1)), By(1, named("t", claim()))], Err("no_such_result")),
        (
            // Late, and nobody has taken it over.
            vec![By(0, given("t", 1)), By(1, start("t", 1)), Later(10 * LEASE_MS), By(1, complete("t", 1))],
            Ok((Completed, Some(1), 1)),
        ),
        (
            vec![By(0, given("t", 1)), By(1, start("t", 1)), over(), By(2, assign("t", 2)), By(1, complete("t", 1))],
            Err("task_taken_over"),
        ),
        (
            // The same member with two workers: the first is fenced as well.
            vec![By(0, given("t", 1)), By(1, start("t", 1)), over(), By(1, assign("t", 1)), By(1, complete("t", 1))],
            Err("other_attempt"),
        ),
        (
            vec![
                By(0, given("t", 1)),
                By(1, start("t", 1)),
                over(),
                By(2, assign("t", 2)),
                By(2, start("t", 2)),
                By(2, complete("t", 2)),
            ],
            Ok((Completed, Some(2), 2)),
        ),
        (
            vec![By(0, given("t", 1)), By(1, start("t", 1)), By(1, complete("t", 1)), By(1, complete("t", 1))],
            Err("task_ended"),
        ),
        (vec![By(0, given("t", 1)), By(1, start("t", 1)), By(0, out(1)), By(1, complete("t", 1))], Err("not_a_member")),
        (vec![By(0, given("t", 1)), By(1, start("t", 1)), By(0, out(1)), By(2, assign("t", 2))], Err("task_taken")),
        (
            vec![By(0, given("t", 1)), By(1, start("t", 1)), By(0, out(1)), over(), By(2, assign("t", 2))],
            Ok((Assigned, Some(2), 2)),
        ),
        // Failing.
        (vec![By(0, given("t", 1)), By(1, fail("t", 1))], Ok((Failed, Some(1), 1))),
        (vec![By(0, given("t", 1)), By(1, start("t", 1)), By(1, fail("t", 1))], Ok((Failed, Some(1), 1))),
        (vec![By(0, given("t", 1)), By(2, fail("t", 1))], Err("task_taken_over")),
        (vec![By(0, new("t")), By(1, fail("t", 0))], Err("task_not_assigned")),
        (vec![By(0, given("t", 1)), By(1, fail("t", 1)), By(0, assign("t", 2))], Err("task_ended")),
        // Releasing.
        (vec![By(0, given("t", 1)), By(1, release("t", 1))], Ok((Pending, None, 1))),
        (vec![By(0, given("t", 1)), By(1, start("t", 1)), By(1, release("t", 1))], Ok((Pending, None, 1))),
        (vec![By(0, given("t", 1)), By(2, release("t", 1))], Err("task_taken")),
        (vec![By(0, given("t", 1)), By(0, assign("t", 2)), By(1, release("t", 1))], Err("task_taken_over")),
        (
            vec![By(0, given("t", 1)), Later(limits::TASK_DEFAULT_LEASE_MS), By(2, release("t", 1))],
            Ok((Pending, None, 1)),
        ),
        (
            vec![By(0, given("t", 1)), Later(limits::TASK_DEFAULT_LEASE_MS), By(3, release("t", 1))],
            Err("viewer_cannot_write"),
        ),
        (vec![By(0, given("t", 1)), By(1, release("t", 2))], Err("other_attempt")),
        (vec![By(0, new("t")), By(1, release("t", 0))], Err("task_not_assigned")),
        (vec![By(0, given("t", 1)), By(1, release("t", 1)), By(2, assign("t", 2))], Ok((Assigned, Some(2), 2))),
        // Cancelling.
        (vec![By(1, new("t")), By(1, cancel("t"))], Ok((Cancelled, None, 0))),
        (vec![By(1, new("t")), By(0, cancel("t"))], Ok((Cancelled, None, 0))),
        (vec![By(1, new("t")), By(2, cancel("t"))], Err("not_your_task")),
        (vec![By(0, given("t", 1)), By(1, cancel("t"))], Err("not_your_task")),
        (vec![By(0, given("t", 1)), By(1, start("t", 1)), By(0, cancel("t"))], Ok((Cancelled, Some(1), 1))),
        (vec![By(1, new("t")), By(1, cancel("t")), By(1, cancel("t"))], Err("task_ended")),
        (vec![By(1, new("t")), By(0, out(1)), By(4, cancel("t"))], Ok((Cancelled, None, 0))),
    ];
    for (lines, expected) in table {
        assert_eq!(tell(&lines), expected, "{lines:?}");
    }
}

#[test]
fn a_task_can_be_taken_once_all_that_it_depends_on_is_completed() {
    let mut desk = team();
    for create in [new("a"), new("b"), after("c", &["a", "b"]), after("d", &["c"])] {
        act(&mut desk, 0, create).unwrap();
    }
    act(&mut desk, 0, assign("d", 2)).unwrap();
    assert_eq!(ready(&desk), ["a", "b"]);
    assert_eq!(row(&desk, "d").lease_until_ms, None, "a lease of what cannot be started has not begun");
    desk.now_ms += 100 * LEASE_MS;
    assert_eq!(act(&mut desk, 1, assign("d", 1)).unwrap_err().code(), "task_taken");
    for name in ["a", "b", "c"] {
        act(&mut desk, 1, assign(name, 1)).unwrap();
        act(&mut desk, 1, start(name, 1)).unwrap();
        act(&mut desk, 1, complete(name, 1)).unwrap();
        if name == "a" {
            let c = query::task(desk.rows(), &id("c")).unwrap().unwrap();
            assert_eq!(query::blocked_by(desk.rows(), &c).unwrap(), [(id("b"), Pending)]);
        }
        if name == "b" {
            assert_eq!(ready(&desk), ["c"]);
        }
    }
    assert_eq!(row(&desk, "d").lease_until_ms, Some(desk.now_ms + LEASE_MS), "and begins then");
    act(&mut desk, 2, start("d", 1)).unwrap();
    // What is created behind a completed task can be taken at once.
    act(&mut desk, 0, after("e", &["a", "c"])).unwrap();
    assert_eq!(ready(&desk), ["e"]);
}

#[test]
fn a_cancelled_task_waits_for_nothing_and_what_waits_for_it_waits_in_vain() {
    let mut desk = team();
    for create in [new("a"), after("b", &["a"]), after("c", &["b"])] {
        act(&mut desk, 0, create).unwrap();
    }
    act(&mut desk, 0, cancel("b")).unwrap();
    assert_eq!((row(&desk, "a").dependents, row(&desk, "b").dependents, row(&desk, "c").blocked), (0, 1, 1));
    let c = query::task(desk.rows(), &id("c")).unwrap().unwrap();
    assert_eq!(query::blocked_by(desk.rows(), &c).unwrap(), [(id("b"), Cancelled)]);
    act(&mut desk, 0, cancel("c")).unwrap();
    assert_eq!(row(&desk, "b").dependents, 0);
}

#[test]
fn as_many_wait_for_one_task_as_may_and_not_one_more() {
    let mut desk = team();
    act(&mut desk, 0, new("first")).unwrap();
    let creates = (0..limits::TASK_DEPENDENTS).map(|number| after(&format!("n{number}"), &["first"]));
    desk.write(0, creates.collect(), vec![]).unwrap();
    assert_eq!(act(&mut desk, 0, after("more", &["first"])).unwrap_err().code(), "too_many_dependents");
    act(&mut desk, 1, assign("first", 1)).unwrap();
    act(&mut desk, 1, start("first", 1)).unwrap();
    act(&mut desk, 1, complete("first", 1)).unwrap();
    assert_eq!(query::ready(desk.rows(), NOW_MS, 9_999).unwrap().len(), limits::TASK_DEPENDENTS as usize);
}

#[test]
fn the_best_is_listed_first_with_those_whose_lease_is_over() {
    let mut desk = team();
    let ranked = |name: &str, priority, due_ms| Transaction::TaskCreate(TaskCreate { priority, due_ms, ..plain(name) });
    let due = |ms| Some(NOW_MS + ms);
    let tasks = [
        ("old", 0, None),
        ("young", 0, None),
        ("late", 0, due(9_000)),
        ("soon", 0, due(5_000)),
        ("urgent", 9, None),
        ("taken", 5, None),
        ("lost", 7, None),
    ];
    for (name, priority, due_ms) in tasks {
        desk.now_ms += 1;
        act(&mut desk, 0, ranked(name, priority, due_ms)).unwrap();
    }
    act(&mut desk, 1, assign("lost", 1)).unwrap();
    desk.now_ms += LEASE_MS;
    act(&mut desk, 2, assign("taken", 2)).unwrap();
    assert_eq!(ready(&desk), ["urgent", "lost", "soon", "late", "old", "young"]);
    for limit in 1..7 {
        let best: Vec<_> = query::ready(desk.rows(), desk.now_ms, limit).unwrap();
        assert!(best.iter().map(|task| &task.id.0).eq(&ready(&desk)[..limit.min(6)]), "the best {limit}");
    }
    desk.now_ms -= 1;
    assert!(!ready(&desk).contains(&"lost".to_owned()), "a lease is over at its end, not before");
}

#[test]
fn pages_have_each_task_that_fits_once() {
    let mut desk = team();
    // One id is the beginning of another, and its plan lies between them.
    let names = ["a", "a-", "a-b", "a.b", "a0", "aa", "b", "b:c", "b_c"];
    for name in names {
        act(&mut desk, if name < "b" { 1 } else { 2 }, new(name)).unwrap();
    }
    for name in ["a-", "b", "aa"] {
        act(&mut desk, 1, assign(name, 1)).unwrap();
    }
    let pages = |filter: Filter| {
        let (mut after, mut found) = (None, Vec::new());
        loop {
            let page = query::page(desk.rows(), &filter, after.as_ref(), 2).unwrap();
            assert!(page.tasks.len() <= 2);
            found.extend(page.tasks.into_iter().map(|task| task.id.0));
            after = page.next;
            if after.is_none() {
                return found;
            }
        }
    };
    let mut sorted = names;
    sorted.sort_unstable();
    let all = Filter::default();
    assert_eq!(pages(all), sorted);
    assert_eq!(pages(Filter { creator: Some(who(2)), ..all }), ["b", "b:c", "b_c"]);
    assert_eq!(pages(Filter { assignee: Some(who(1)), ..all }), ["a-", "aa", "b"]);
    assert_eq!(pages(Filter { assignee: Some(who(1)), status: Some(Assigned), ..all }), ["a-", "aa", "b"]);
    assert_eq!(pages(Filter { assignee: Some(who(1)), status: Some(Assigned), creator: Some(who(1)) }), ["a-", "aa"]);
    assert_eq!(pages(Filter { assignee: Some(who(2)), status: Some(Assigned), ..all }), Vec::<String>::new());
    assert_eq!(pages(Filter { status: Some(Pending), ..all }).len(), 6);
}

// ---- rewards --------------------------------------------------------------------------------------------------

/// Does the task with this attempt.
#[track_caller]
fn work(desk: &mut Desk, worker: u8, name: &str, attempt: u32) {
    act(desk, worker, start(name, attempt)).unwrap();
    act(desk, worker, complete(name, attempt)).unwrap();
}

#[test]
fn a_members_reward_is_set_aside_and_paid_once() {
    let mut desk = team();
    act(&mut desk, 1, paid("t", 70)).unwrap();
    assert_eq!((balance(&desk, 1), account::totals(desk.rows()).unwrap().escrow), (30, 70));
    assert_eq!(act(&mut desk, 1, paid("u", 31)).unwrap_err().code(), "insufficient_balance");
    act(&mut desk, 2, assign("t", 2)).unwrap();
    work(&mut desk, 2, "t", 1);
    assert_eq!((balance(&desk, 1), balance(&desk, 2)), (30, 170));
    assert_eq!(act(&mut desk, 2, complete("t", 1)).unwrap_err().code(), "task_ended");
    assert_eq!(act(&mut desk, 1, cancel("t")).unwrap_err().code(), "task_ended", "no refund of what was paid");
    let totals = account::totals(desk.rows()).unwrap();
    assert_eq!((totals.supply, totals.escrow), (200, 0));
}

#[test]
fn a_members_reward_comes_back_when_the_task_fails_or_is_cancelled_or_its_creator_is_gone() {
    let mut desk = team();
    for (name, author, last) in [("f", 2, fail("f", 1)), ("c", 1, cancel("c")), ("o", 0, cancel("o"))] {
        act(&mut desk, 1, paid(name, 40)).unwrap();
        act(&mut desk, 2, assign(name, 2)).unwrap();
        if name == "o" {
            act(&mut desk, 0, out(1)).unwrap();
        }
        assert_eq!(balance(&desk, 1), 60);
        act(&mut desk, author, last).unwrap();
        assert_eq!(balance(&desk, 1), 100, "{name}");
    }
    assert_eq!(account::totals(desk.rows()).unwrap().escrow, 0);
}

#[test]
fn an_admins_reward_is_made_on_completion_and_an_admin_answers_for_it() {
    let mut desk = team();
    act(&mut desk, 0, paid("t", 50)).unwrap();
    assert_eq!(account::totals(desk.rows()).unwrap().supply, 200, "nothing is made yet");
    act(&mut desk, 1, assign("t", 1)).unwrap();
    act(&mut desk, 1, start("t", 1)).unwrap();
    act(&mut desk, 4, set(0, Member)).unwrap();
    assert_eq!(act(&mut desk, 1, complete("t", 1)).unwrap_err().code(), "no_sponsor");
    // The creator may still give it away, and does not answer for it thereby; another admin does.
    act(&mut desk, 0, assign("t", 2)).unwrap();
    act(&mut desk, 2, start("t", 2)).unwrap();
    assert_eq!(act(&mut desk, 2, complete("t", 2)).unwrap_err().code(), "no_sponsor");
    act(&mut desk, 4, assign("t", 2)).unwrap();
    work(&mut desk, 2, "t", 3);
    assert_eq!((balance(&desk, 2), account::totals(desk.rows()).unwrap().supply), (150, 250));
    // Failed or cancelled, nothing is made.
    act(&mut desk, 4, paid("f", 50)).unwrap();
    act(&mut desk, 4, cancel("f")).unwrap();
    assert_eq!(account::totals(desk.rows()).unwrap().supply, 250);
}

#[test]
fn the_role_at_creation_decides_where_a_reward_comes_from() {
    let mut desk = team();
    act(&mut desk, 1, paid("t", 40)).unwrap();
    act(&mut desk, 0, set(1, Admin)).unwrap();
    act(&mut desk, 1, assign("t", 2)).unwrap();
    work(&mut desk, 2, "t", 1);
    assert_eq!(account::totals(desk.rows()).unwrap().supply, 200, "paid by what was set aside");
}

#[test]
fn a_reward_that_does_not_fit_under_a_cap_is_not_paid_and_the_task_stays() {
    let mut desk = team();
    let cap = |max| Transaction::PolicyUpdate(PolicyUpdate { max_total_supply: Some(max), ..PolicyUpdate::default() });
    act(&mut desk, 0, cap(220)).unwrap();
    act(&mut desk, 0, paid("t", 50)).unwrap();
    act(&mut desk, 1, assign("t", 1)).unwrap();
    act(&mut desk, 1, start("t", 1)).unwrap();
    assert_eq!(act(&mut desk, 1, complete("t", 1)).unwrap_err().code(), "supply_cap");
    assert_eq!(row(&desk, "t").status, InProgress);
    act(&mut desk, 0, cap(250)).unwrap();
    act(&mut desk, 1, complete("t", 1)).unwrap();
    assert_eq!(balance(&desk, 1), 150);
}

// ---- two who could not see each other -------------------------------------------------------------------------

/// All blocks of a desk as it has stored them.
fn blocks(desk: &Desk) -> Vec<Verified> {
    let mut all: Vec<Unverified> = Vec::new();
    rows::log(desk.rows(), 0, Direction::Up, &mut |_, line| {
        all.push(rows::block(desk.rows(), &line).unwrap());
        ControlFlow::Continue(())
    })
    .unwrap();
    let context = Context { group: desk.group, now_ms: u64::MAX, max_drift_ms: 0 };
    all.into_iter().map(|block| block.verify(&context).unwrap()).collect()
}

/// Each gets what the others have.
fn meet(desks: &mut [Desk]) {
    let all: Vec<Vec<Verified>> = desks.iter().map(blocks).collect();
    for desk in &mut *desks {
        for blocks in &all {
            assert_eq!(desk.ingest(blocks).fault, None);
            sound(desk.rows());
        }
    }
    for desk in &desks[1..] {
        compare(desks[0].rows(), desk.rows());
    }
}

fn compare(expected: &Memory, got: &Memory) {
    for table in [Table::State, Table::Order, Table::Line, Table::Id, Table::Meta] {
        assert_eq!(expected.rows(table), got.rows(table), "table {table:?} differs");
    }
}

#[test]
fn of_two_who_claim_at_once_one_has_it_everywhere_and_the_other_is_told() {
    let mut desk = team();
    act(&mut desk, 0, new("t")).unwrap();
    let mut desks = [desk.copy(), desk.copy()];
    act(&mut desks[0], 1, assign("t", 1)).unwrap();
    act(&mut desks[1], 2, assign("t", 2)).unwrap();
    meet(&mut desks);
    let winner = row(&desks[0], "t").assignee.unwrap();
    assert_eq!(row(&desks[0], "t").attempt, 1, "the other's is no attempt");
    let refused = crate::ledger::query::refused(desks[1].rows(), None, 10).unwrap();
    assert_eq!(refused.len(), 1);
    assert_ne!(refused[0].1.author, winner);
    assert_eq!(refused[0].1.refusal.code(), "task_taken");
    assert!(refused[0].1.refusal.to_string().contains(&winner.to_string()));
    // Whoever lost hears that it cannot go on.
    let (loser, at) = if winner == who(1) { (2, 1) } else { (1, 0) };
    assert_eq!(act(&mut desks[at], loser, start("t", 1)).unwrap_err().code(), "task_taken_over");
}

#[test]
fn a_removal_at_the_same_time_as_a_completion_has_one_outcome() {
    let mut desk = team();
    act(&mut desk, 1, paid("t", 40)).unwrap();
    act(&mut desk, 2, assign("t", 2)).unwrap();
    act(&mut desk, 2, start("t", 1)).unwrap();
    let mut desks = [desk.copy(), desk.copy()];
    act(&mut desks[0], 0, out(2)).unwrap();
    act(&mut desks[1], 2, complete("t", 1)).unwrap();
    meet(&mut desks);
    let paid = row(&desks[0], "t").status == Completed;
    assert_eq!(balance(&desks[0], 2), if paid { 140 } else { 100 });
    assert_eq!(account::totals(desks[0].rows()).unwrap().supply, 200);
}

#[test]
fn a_cancellation_at_the_same_time_as_a_completion_pays_once() {
    let mut desk = team();
    act(&mut desk, 1, paid("t", 40)).unwrap();
    act(&mut desk, 2, assign("t", 2)).unwrap();
    act(&mut desk, 2, start("t", 1)).unwrap();
    let mut desks = [desk.copy(), desk.copy()];
    act(&mut desks[0], 1, cancel("t")).unwrap();
    act(&mut desks[1], 2, complete("t", 1)).unwrap();
    meet(&mut desks);
    let balances = (balance(&desks[0], 1), balance(&desks[0], 2));
    match row(&desks[0], "t").status {
        Completed => assert_eq!(balances, (60, 140)),
        Cancelled => assert_eq!(balances, (100, 100)),
        other => panic!("{other}"),
    }
    assert_eq!(account::totals(desks[0].rows()).unwrap().escrow, 0);
}

/// One step of a random story: where, by whom, what kind, of which task, with which attempt and other number; and how long after the
/// one before. Each number picks among what there is.
type Step = (u8, u8, u8, u8, u8, u8, u16);

fn step() -> impl Strategy<Value = Step> {
    (0..3u8, 0..6u8, 0..22u8, 0..6u8, 0..4u8, any::<u8>(), prop_oneof![Just(0), 0..30_000u16])
}

fn random(kind: u8, task: u8, attempt: u8, other: u8, author: u8) -> Transaction {
    let name = ["a", "b", "c", "d", "e", "f"][usize::from(task)];
    let attempt = u32::from(attempt);
    let to = other % 6;
    match kind {
        0..=3 => Transaction::TaskCreate(TaskCreate {
            priority: other % 10,
            due_ms: (other % 3 == 0).then_some(NOW_MS + u64::from(other)),
            depends_on: (0..task)
                .filter(|low| other >> low & 1 == 1)
                .map(|low| id(["a", "b", "c", "d", "e"][usize::from(low)]))
                .collect(),
            assignee: (other % 5 == 0).then(|| who(to)),
            reward: u64::from(other % 4) * 20,
            ..plain(name)
        }),
        4..=6 => assign(name, author),
        7 => assign(name, to),
        8..=11 => start(name, attempt),
        12..=15 => complete(name, attempt),
        16 => fail(name, attempt),
        17 => release(name, attempt),
        18 => cancel(name),
        19 => set(to, [Viewer, Member, Admin][usize::from(other / 6) % 3]),
        20 if other.is_multiple_of(2) => out(to),
        20 => Transaction::MemberAdd(MemberAdd { identity: who(to), role: Member }),
        _ if other.is_multiple_of(3) => {
            Transaction::Claim(Claim { object: ObjectHash::of(&[other]), size: 1, parent: None, rewarded: None })
        }
        _ => Transaction::Transfer(Transfer { to: who(to), amount: u64::from(other) }),
    }
}

/// Three nodes that write apart, now and then hear of one another, and also sign what their ledger refuses.
fn apart(steps: &[Step]) -> Vec<Verified> {
    let mut desks: Vec<Desk> = Vec::from([team().copy(), team().copy(), team().copy()]);
    for (at, author, kind, task, attempt, other, later_ms) in steps {
        let at = usize::from(*at);
        let now_ms = desks[at].now_ms + u64::from(*later_ms);
        desks.iter_mut().for_each(|desk| desk.now_ms = now_ms);
        if other % 7 == 0 {
            let heard = blocks(&desks[(at + 1) % 3]);
            assert_eq!(desks[at].ingest(&heard).fault, None);
        }
        // A key is used at one desk, so that nobody equivocates.
        let author = *author / 3 * 3 + at as u8;
        let act = random(*kind, *task, *attempt, *other, author);
        if desks[at].write(author, vec![act.clone()], vec![]).is_err() {
            let prev = state::line_head(desks[at].rows(), &who(author)).unwrap();
            let draft = link::draft(desks[at].rows(), desks[at].group, who(author), prev, now_ms, vec![act]);
            let Ok(draft) = draft else { continue };
            let forged = draft.sign(&key(author)).block().clone();
            desks[at].ingest(&[forged]);
        }
        sound(desks[at].rows());
    }
    let mut all = blocks(&desks[0]);
    for desk in &desks[1..] {
        all.extend(
            blocks(desk).into_iter().filter(|block| all.iter().all(|old| old.id() != block.id())).collect::<Vec<_>>(),
        );
    }
    all
}

/// Takes back the whole order, last block first: nothing must be left.
fn undo_all(rows: &Memory) {
    let mut overlay = Overlay::new(rows);
    for (key, value) in rows.rows(Table::Order).iter().rev() {
        let row: OrderRow = parse_row(Table::Order, key, value).unwrap();
        state::revert(&mut overlay, row.undo.unwrap());
    }
    let mut undone = rows.clone();
    undone.commit(overlay.into_changes());
    assert!(undone.rows(Table::State).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn any_arrival_comes_to_the_same_rows(
        (blocks, shuffled) in prop::collection::vec(step(), 10..60).prop_map(|steps| apart(&steps))
            .prop_flat_map(|blocks| (Just(blocks.clone()), Just(blocks).prop_shuffle())),
        size in 1usize..6,
    ) {
        let taken = |batches: Vec<&[Verified]>| {
            let mut desk = Desk::empty();
            for batch in batches {
                assert_eq!(desk.ingest(batch).fault, None);
                if desk.rows().rows(Table::State).len() > 1 {
                    sound(desk.rows());
                }
            }
            desk
        };
        prop_assert_eq!(blocks[0].id(), genesis().id());
        let at_once = taken(vec![&blocks]);
        prop_assert_eq!(rows::counters(at_once.rows()).unwrap().blocks, blocks.len() as u64);
        compare(at_once.rows(), taken(blocks.chunks(1).collect()).rows());
        compare(at_once.rows(), taken(shuffled.chunks(size).collect()).rows());
        undo_all(at_once.rows());
    }
}
