//! Each rule of tasks refuses what it should, lists show what there is, and a reward goes to one place.

mod apart;

use super::TaskRow;
use super::query::{self, Filter};
use super::rows::TaskStatus::{self, Assigned, Cancelled, Completed, Failed, InProgress, Pending};
use crate::chain::transaction::{
    MemberAdd, MemberRemove, Mint, PolicyUpdate, RoleSet, TaskAssign, TaskCancel, TaskComplete, TaskCreate, TaskFail,
    TaskId, TaskRelease, TaskStart,
};
use crate::chain::{ClaimId, Role, Transaction};
use crate::kv::Memory;
use crate::ledger::{Refusal, account, invariants};
use crate::limits;
use crate::node::engine::{Failure, Written};
use crate::testing::desk::{Desk, NOW_MS, who};
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
    assert_eq!(invariants::check(kv).unwrap(), []);
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
#[allow(clippy::large_enum_variant, reason = "a few lines in a table")]
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
        (vec![By(0, new("t")), By(1, assign("t", 1)), By(0, assign("t", 0))], Err("task_taken")),
        (vec![By(0, new("t")), By(0, assign("t", 0)), By(0, assign("t", 0))], Err("task_taken_by_you")),
        (vec![By(0, new("u")), By(0, after("t", &["u"])), By(0, assign("t", 0))], Ok((Assigned, Some(0), 1))),
        // Starting, and keeping.
        (vec![By(0, given("t", 1)), By(1, start("t", 1))], Ok((InProgress, Some(1), 1))),
        (vec![By(0, given("t", 1)), By(2, start("t", 1))], Err("task_taken")),
        (vec![By(0, given("t", 1)), By(0, start("t", 1))], Err("task_taken")),
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
        (vec![By(0, given("t", 1)), By(1, start("t", 1)), By(2, complete("t", 1))], Err("task_taken")),
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
        (vec![By(0, given("t", 1)), By(2, fail("t", 1))], Err("task_taken")),
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
        (vec![By(0, given("t", 1)), By(0, release("t", 1))], Ok((Pending, None, 1))),
        (vec![By(2, given("t", 1)), By(4, release("t", 1))], Ok((Pending, None, 1))),
        (vec![By(0, given("t", 1)), By(0, assign("t", 2)), By(0, release("t", 1))], Err("task_taken_over")),
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
    assert_eq!(
        pages(Filter { assignee: Some(who(1)), status: Some(Assigned), creator: Some(who(1)), ..all }),
        ["a-", "aa"]
    );
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
    act(&mut desk, 4, paid("t", 50)).unwrap();
    assert_eq!(account::totals(desk.rows()).unwrap().supply, 200, "nothing is made yet");
    act(&mut desk, 1, assign("t", 1)).unwrap();
    act(&mut desk, 1, start("t", 1)).unwrap();
    act(&mut desk, 0, set(4, Member)).unwrap();
    assert_eq!(act(&mut desk, 1, complete("t", 1)).unwrap_err().code(), "no_sponsor");
    // The creator may still give it away, and does not answer for it thereby; another admin does.
    act(&mut desk, 4, assign("t", 2)).unwrap();
    act(&mut desk, 2, start("t", 2)).unwrap();
    assert_eq!(act(&mut desk, 2, complete("t", 2)).unwrap_err().code(), "no_sponsor");
    act(&mut desk, 0, assign("t", 2)).unwrap();
    work(&mut desk, 2, "t", 3);
    assert_eq!((balance(&desk, 2), account::totals(desk.rows()).unwrap().supply), (150, 250));
    // Failed or cancelled, nothing is made.
    act(&mut desk, 0, paid("f", 50)).unwrap();
    act(&mut desk, 0, cancel("f")).unwrap();
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

#[test]
fn a_resource_can_be_had_again_whatever_its_holders_did() {
    let name = "src/main.rs";
    let id = TaskId::of_resource(name);
    let create = TaskCreate { task: id.clone(), title: name.to_owned(), ..plain("unused") };
    // Nobody makes one that is blocked, given away, or of another resource than it says.
    for bad in [
        TaskCreate { title: "boo".to_owned(), ..create.clone() },
        TaskCreate { assignee: Some(who(2)), ..create.clone() },
        TaskCreate { reward: 1, ..create.clone() },
        TaskCreate { depends_on: vec![TaskId("a".to_owned())], ..create.clone() },
        TaskCreate { task: TaskId("resource:x".to_owned()), ..create.clone() },
        TaskCreate { depends_on: vec![id.clone()], ..plain("waits-for-ever") },
    ] {
        assert!(bad.check().is_err(), "{bad:?}");
    }
    let fails = Transaction::TaskFail(TaskFail { task: id.clone(), attempt: 1, error_message: None });
    for end in [complete(&id.0, 1), fails, cancel(&id.0)] {
        assert!(end.check().unwrap_err().to_string().contains("release it"));
    }
    let mut desk = team();
    act(&mut desk, 1, Transaction::TaskCreate(create)).unwrap();
    act(&mut desk, 1, assign(&id.0, 1)).unwrap();
    act(&mut desk, 1, release(&id.0, 1)).unwrap();
    act(&mut desk, 2, assign(&id.0, 2)).unwrap();
    // Who reserved it first has no right over it; an admin has.
    assert_eq!(act(&mut desk, 1, assign(&id.0, 1)).unwrap_err().code(), "task_taken");
    assert_eq!(act(&mut desk, 1, release(&id.0, 2)).unwrap_err().code(), "task_taken");
    act(&mut desk, 0, release(&id.0, 2)).unwrap();
    act(&mut desk, 1, assign(&id.0, 1)).unwrap();
    assert_eq!(row(&desk, &id.0).attempt, 3);
}

#[test]
fn only_who_had_a_task_is_told_that_it_was_taken_over() {
    let mut desk = team();
    act(&mut desk, 0, new("t")).unwrap();
    act(&mut desk, 1, assign("t", 1)).unwrap();
    act(&mut desk, 1, start("t", 1)).unwrap();
    desk.now_ms += LEASE_MS;
    act(&mut desk, 2, assign("t", 2)).unwrap();
    assert_eq!(act(&mut desk, 1, complete("t", 2)).unwrap_err().code(), "task_taken_over");
    assert_eq!(act(&mut desk, 4, complete("t", 2)).unwrap_err().code(), "task_taken");
    act(&mut desk, 2, release("t", 2)).unwrap();
    act(&mut desk, 4, assign("t", 4)).unwrap();
    assert_eq!(act(&mut desk, 2, complete("t", 3)).unwrap_err().code(), "task_taken", "it gave it back");
}
