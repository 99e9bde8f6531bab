//! Tokens: each rule with its numbers, each attack that must fail, and random histories in which nothing is printed or lost.

use proptest::prelude::*;

use super::{Cause, TokenRefusal, lock, unlock};
use crate::chain::transaction::{
    Claim, MemberAdd, MemberRemove, Mint, PolicyUpdate, Retract, RoleSet, Seal, TaskId, Transfer, TreasuryPay, Unfreeze,
};
use crate::chain::{BlockId, ClaimBody, ClaimId, ObjectHash, Role, TextHash, Transaction, Verified};
use crate::kv::{Memory, Overlay};
use crate::ledger::account::{self, Totals};
use crate::ledger::fold::{Refused, Site};
use crate::ledger::invariants::Broken;
use crate::ledger::state::Scratch;
use crate::ledger::tests::{Recipe, compare, history_of, recipe, taken_in, undo_what_is_open};
use crate::ledger::{Refusal, invariants, query};
use crate::limits::AMOUNT_MAX;
use crate::node::engine::Failure;
use crate::testing::desk::{Desk, block, genesis, who};

const NO_CHANGE: PolicyUpdate = PolicyUpdate {
    listed: None,
    faucet_amount: None,
    max_total_supply: None,
    transfer_fee_bps: None,
    claim_reward_amount: None,
    max_account_balance: None,
};

fn faucet(amount: u64) -> PolicyUpdate {
    PolicyUpdate { faucet_amount: Some(amount), ..NO_CHANGE }
}

fn fee(bps: u64) -> PolicyUpdate {
    PolicyUpdate { transfer_fee_bps: Some(bps), ..NO_CHANGE }
}

fn reward(amount: u64) -> PolicyUpdate {
    PolicyUpdate { claim_reward_amount: Some(amount), ..NO_CHANGE }
}

fn supply_cap(cap: u64) -> PolicyUpdate {
    PolicyUpdate { max_total_supply: Some(cap), ..NO_CHANGE }
}

fn account_cap(cap: u64) -> PolicyUpdate {
    PolicyUpdate { max_account_balance: Some(cap), ..NO_CHANGE }
}

/// One act by the identity with a number; 0 founded the group.
#[derive(Debug, Clone, Copy)]
enum Act {
    Add(u8, u8, Role),
    Remove(u8, u8),
    Rule(u8, PolicyUpdate),
    Make(u8, u8, u64),
    Give(u8, u8, u64),
    Pay(u8, u8, u64),
    Say(u8, &'static str),
    /// Takes the first claim back.
    TakeBack(u8, u8),
}

use Act::{Add, Give, Make, Pay, Remove, Rule, Say, TakeBack};
use Role::{Admin, Member, Viewer};

fn say(text: &str, rewarded: Option<TextHash>) -> (Transaction, Vec<u8>) {
    let object = ClaimBody::new(None, text.to_owned(), &[]).unwrap().encode();
    let (hash, size) = (ObjectHash::of(&object), object.len() as u32);
    (Transaction::Claim(Claim { object: hash, size, parent: None, rewarded, supersedes: vec![] }), object)
}

/// Does acts at one desk. Gives what the identities 0, 1 and 2 have in the end, and the treasury; or the code of the refusal of the
/// last.
fn play(acts: &[Act]) -> Result<([u64; 3], u64), &'static str> {
    let mut desk = Desk::founded();
    let mut claims: Vec<ClaimId> = Vec::new();
    for (number, act) in acts.iter().enumerate() {
        let mut objects = vec![];
        let (author, transaction) = match *act {
            Add(author, other, role) => (author, Transaction::MemberAdd(MemberAdd { identity: who(other), role })),
            Remove(author, other) => (author, Transaction::MemberRemove(MemberRemove { identity: who(other) })),
            Rule(author, update) => (author, Transaction::PolicyUpdate(update)),
            Make(author, to, amount) => (author, Transaction::Mint(Mint { to: who(to), amount })),
            Give(author, to, amount) => (author, Transaction::Transfer(Transfer { to: who(to), amount })),
            Pay(author, to, amount) => (author, Transaction::TreasuryPay(TreasuryPay { to: who(to), amount })),
            Say(author, text) => {
                let (transaction, object) = say(text, Some(TextHash::of(text)));
                objects.push(object);
                (author, transaction)
            }
            TakeBack(author, claim) => (author, Transaction::Retract(Retract { claim: claims[usize::from(claim)] })),
        };
        let before = desk.rows().clone();
        match desk.write(author, vec![transaction], objects) {
            Ok(written) => claims.extend(written.claims),
            Err(Failure::Refused(refusal)) => {
                assert_eq!(number + 1, acts.len(), "refused too early: {act:?}: {refusal}");
                assert_eq!(*desk.rows(), before, "a refused act has left something");
                return Err(refusal.code());
            }
            Err(other) => panic!("{act:?}: {other}"),
        }
    }
    let balances = [0, 1, 2].map(|number| balance(&desk, number));
    Ok((balances, account::totals(desk.rows()).unwrap().treasury))
}

fn balance(desk: &Desk, number: u8) -> u64 {
    account::account(desk.rows(), &who(number)).unwrap().balance
}

type Case<'a> = (&'a [Act], Result<([u64; 3], u64), &'a str>);

#[track_caller]
fn check(table: &[Case<'_>]) {
    for (acts, expected) in table {
        assert_eq!(play(acts), *expected, "{acts:?}");
    }
}

#[test]
fn tokens_are_made_by_admins_within_the_caps() {
    check(&[
        (&[Make(0, 0, 5), Make(0, 1, 7)], Ok(([5, 7, 0], 0))),
        (&[Make(0, 0, AMOUNT_MAX)], Ok(([AMOUNT_MAX, 0, 0], 0))),
        (&[Make(0, 0, AMOUNT_MAX), Make(0, 1, 1)], Err("supply_cap")),
        (&[Rule(0, supply_cap(10)), Make(0, 0, 10)], Ok(([10, 0, 0], 0))),
        (&[Rule(0, supply_cap(10)), Make(0, 0, 11)], Err("supply_cap")),
        (&[Rule(0, supply_cap(10)), Make(0, 0, 10), Make(0, 1, 1)], Err("supply_cap")),
        (&[Rule(0, account_cap(10)), Make(0, 1, 10), Make(0, 2, 10)], Ok(([0, 10, 10], 0))),
        (&[Rule(0, account_cap(10)), Make(0, 1, 10), Make(0, 1, 1)], Err("account_cap")),
        (&[Add(0, 1, Admin), Make(1, 1, 3)], Ok(([0, 3, 0], 0))),
    ]);
}

#[test]
fn a_transfer_costs_its_fee_on_top() {
    let rich = Make(0, 0, 1_000);
    check(&[
        (&[rich, Give(0, 1, 1_000)], Ok(([0, 1_000, 0], 0))),
        (&[rich, Give(0, 1, 1_001)], Err("insufficient_balance")),
        (&[rich, Give(0, 0, 1)], Err("transfer_to_oneself")),
        // 2.5 % of 100 are 2.5, rounded down.
        (&[rich, Rule(0, fee(250)), Give(0, 1, 100)], Ok(([898, 100, 0], 2))),
        (&[rich, Rule(0, fee(250)), Give(0, 1, 39)], Ok(([961, 39, 0], 0))),
        (&[rich, Rule(0, fee(5_000)), Give(0, 1, 666)], Ok(([1, 666, 0], 333))),
        (&[rich, Rule(0, fee(5_000)), Give(0, 1, 667)], Ok(([0, 667, 0], 333))),
        (&[rich, Rule(0, fee(5_000)), Give(0, 1, 668)], Err("insufficient_balance")),
        (&[rich, Rule(0, fee(5_000)), Give(0, 1, AMOUNT_MAX)], Err("insufficient_balance")),
        (&[rich, Rule(0, account_cap(50)), Give(0, 1, 50)], Ok(([950, 50, 0], 0))),
        (&[rich, Rule(0, account_cap(50)), Give(0, 1, 51)], Err("account_cap")),
        // The fee is no part of what arrives, so that the cap is not about it.
        (&[rich, Rule(0, account_cap(50)), Rule(0, fee(100)), Give(0, 1, 50)], Ok(([950, 50, 0], 0))),
    ]);
}

#[test]
fn who_may_hold_and_who_may_give() {
    check(&[
        // An account needs no membership, giving does; a viewer is a member in this.
        (&[Make(0, 1, 9), Give(1, 0, 1)], Err("not_a_member")),
        (&[Make(0, 1, 9), Add(0, 1, Viewer), Give(1, 2, 4)], Ok(([0, 5, 4], 0))),
        (&[Add(0, 1, Member), Make(0, 1, 9), Remove(0, 1), Give(1, 0, 1)], Err("not_a_member")),
        (&[Add(0, 1, Member), Make(0, 1, 9), Remove(0, 1), Add(0, 1, Viewer), Give(1, 2, 9)], Ok(([0, 0, 9], 0))),
    ]);
}

#[test]
fn the_policy_keeps_its_bounds() {
    check(&[
        (&[Add(0, 1, Member), Rule(1, faucet(1))], Err("not_an_admin")),
        (&[Make(0, 0, 10), Rule(0, supply_cap(9))], Err("cap_below_supply")),
        (&[Make(0, 0, 10), Rule(0, supply_cap(10)), Make(0, 0, 1)], Err("supply_cap")),
        (&[Make(0, 0, 10), Rule(0, supply_cap(10)), Rule(0, supply_cap(0)), Make(0, 0, 1)], Ok(([11, 0, 0], 0))),
        // A rule that is not named stays.
        (&[Rule(0, supply_cap(10)), Rule(0, fee(100)), Make(0, 0, 11)], Err("supply_cap")),
        // An account that has more than a new cap keeps it, and gets nothing more.
        (&[Make(0, 1, 10), Rule(0, account_cap(5)), Make(0, 1, 1)], Err("account_cap")),
    ]);
    let mut desk = Desk::founded();
    for update in [fee(5_001), faucet(AMOUNT_MAX + 1), supply_cap(u64::MAX), NO_CHANGE] {
        let failure = desk.write(0, vec![Transaction::PolicyUpdate(update)], vec![]).unwrap_err();
        assert!(matches!(failure, Failure::Invalid(_)), "{update:?}: {failure}");
    }
    for amount in [0, AMOUNT_MAX + 1] {
        for transaction in [
            Transaction::Mint(Mint { to: who(1), amount }),
            Transaction::Transfer(Transfer { to: who(1), amount }),
            Transaction::TreasuryPay(TreasuryPay { to: who(1), amount }),
        ] {
            let failure = desk.write(0, vec![transaction], vec![]).unwrap_err();
            assert!(matches!(failure, Failure::Invalid(_)), "{amount}: {failure}");
        }
    }
}

// ---- what the program before this one did wrong -----------------------------------------------------------------

#[test]
fn no_member_prints_tokens() {
    check(&[
        (&[Add(0, 1, Member), Make(1, 1, 1)], Err("not_an_admin")),
        (&[Add(0, 1, Viewer), Make(1, 1, 1)], Err("not_an_admin")),
        (&[Make(1, 1, 1)], Err("not_a_member")),
    ]);
    // Neither does one who signs the block without asking anybody.
    let add = Transaction::MemberAdd(MemberAdd { identity: who(1), role: Member });
    let members = block(0, Some((0, genesis().id())), vec![], 1, vec![add]);
    let forged = block(1, None, vec![members.id()], 2, vec![Transaction::Mint(Mint { to: who(1), amount: 1 << 40 })]);
    let desk = taken_in([[genesis(), members, forged].as_slice()]);
    assert_eq!((balance(&desk, 1), account::totals(desk.rows()).unwrap()), (0, Totals::default()));
    assert_eq!(query::refused(desk.rows(), None, 9).unwrap()[0].1.refusal.code(), "not_an_admin");
}

#[test]
fn a_member_who_is_added_again_gets_nothing_from_the_faucet() {
    let on = Rule(0, faucet(100));
    check(&[
        (&[on, Add(0, 1, Member)], Ok(([0, 100, 0], 0))),
        (&[on, Add(0, 1, Member), Remove(0, 1), Add(0, 1, Member)], Ok(([0, 100, 0], 0))),
        (&[on, Add(0, 1, Member), Remove(1, 1), Add(0, 1, Admin)], Ok(([0, 100, 0], 0))),
        // Nor when it was raised, or for another who was there before it.
        (&[on, Add(0, 1, Member), Remove(0, 1), Rule(0, faucet(900)), Add(0, 1, Viewer)], Ok(([0, 100, 0], 0))),
        (&[Add(0, 1, Member), on], Ok(([0, 0, 0], 0))),
        // Who became a member while it could not pay has it to come.
        (&[Add(0, 1, Member), on, Remove(0, 1), Add(0, 1, Member)], Ok(([0, 100, 0], 0))),
        // As a whole or not at all, and membership does not hang on it.
        (&[on, Rule(0, supply_cap(150)), Add(0, 1, Member), Add(0, 2, Member)], Ok(([0, 100, 0], 0))),
        (&[on, Rule(0, account_cap(99)), Add(0, 1, Member), Add(0, 2, Member)], Ok(([0, 0, 0], 0))),
    ]);
}

#[test]
fn the_same_claim_is_rewarded_once() {
    let on = Rule(0, reward(10));
    check(&[
        (&[on, Say(0, "a"), Say(0, "b")], Ok(([20, 0, 0], 0))),
        (&[on, Say(0, "a"), Say(0, "a")], Ok(([10, 0, 0], 0))),
        (&[on, Say(0, "an  Answer"), Say(0, "An\nanswer ")], Ok(([10, 0, 0], 0))),
        (&[on, Add(0, 1, Member), Say(0, "a"), Say(1, "a")], Ok(([10, 0, 0], 0))),
        // Taking it back takes nothing back, and earns nothing more.
        (&[on, Say(0, "a"), TakeBack(0, 0), Say(0, "a")], Ok(([10, 0, 0], 0))),
        (&[Say(0, "a"), on, Say(0, "a")], Ok(([10, 0, 0], 0))),
        (&[on, Rule(0, supply_cap(15)), Say(0, "a"), Say(0, "b")], Ok(([10, 0, 0], 0))),
        (&[on, Rule(0, account_cap(15)), Say(0, "a"), Say(0, "b")], Ok(([10, 0, 0], 0))),
        // What did not fit then may fit later.
        (&[on, Rule(0, supply_cap(5)), Say(0, "a"), Rule(0, supply_cap(0)), Say(0, "a")], Ok(([10, 0, 0], 0))),
    ]);
}

#[test]
fn a_claim_that_lies_about_its_text_has_no_words() {
    let mut desk = Desk::founded();
    desk.write(0, vec![Transaction::PolicyUpdate(reward(10))], vec![]).unwrap();
    let (lie, object) = say("a", Some(TextHash::of("b")));
    let lie = desk.write(0, vec![lie], vec![object]).unwrap().claims[0];
    let (truth, object) = say("a", Some(TextHash::of("a")));
    let truth = desk.write(0, vec![truth], vec![object]).unwrap().claims[0];
    let words = |claim| query::claim(desk.rows(), &claim).unwrap().unwrap().body.map(|body| body.text);
    assert_eq!((words(lie), words(truth)), (None, Some("a".to_owned())));
}

#[test]
fn a_group_that_rewards_nothing_keeps_no_hashes_of_texts() {
    let mut desk = Desk::founded();
    let claim = desk.publish(0, "a").claims[0];
    assert_eq!(query::claim(desk.rows(), &claim).unwrap().unwrap().row.rewarded, None);
}

#[test]
fn the_treasury_is_spent_by_admins_and_no_further() {
    let full = [Make(0, 0, 1_000), Rule(0, fee(5_000)), Give(0, 1, 100), Add(0, 1, Member)];
    let with = |act: Act| -> Vec<Act> { full.into_iter().chain([act]).collect() };
    check(&[
        (&full, Ok(([850, 100, 0], 50))),
        (&with(Pay(0, 2, 50)), Ok(([850, 100, 50], 0))),
        (&with(Pay(0, 0, 20)), Ok(([870, 100, 0], 30))),
        (&with(Pay(0, 2, 51)), Err("insufficient_treasury")),
        (&with(Pay(1, 1, 1)), Err("not_an_admin")),
        (&[Pay(0, 0, 1)], Err("insufficient_treasury")),
        (&[&with(Rule(0, account_cap(10)))[..], &[Pay(0, 2, 11)]].concat(), Err("account_cap")),
    ]);
}

#[test]
fn the_same_tokens_are_not_given_twice() {
    check(&[(&[Make(0, 0, 100), Give(0, 1, 100), Give(0, 2, 100)], Err("insufficient_balance"))]);
    // Nor by one key on two machines that cannot see each other: of two blocks with one number one counts.
    let mut desk = Desk::founded();
    desk.write(0, vec![Transaction::Mint(Mint { to: who(0), amount: 100 })], vec![]).unwrap();
    let mint = desk.news.last().unwrap().blocks[0].1.tip.id;
    let give =
        |to| block(0, Some((1, mint)), vec![], 2, vec![Transaction::Transfer(Transfer { to: who(to), amount: 100 })]);
    let mut other = desk.copy();
    desk.ingest(&[give(1), give(2)]);
    other.ingest(&[give(2)]);
    other.ingest(&[give(1)]);
    assert_eq!((balance(&desk, 0), balance(&desk, 1) + balance(&desk, 2)), (0, 100));
    assert_eq!(balance(&desk, 1), balance(&other, 1));
}

/// Who has signed two blocks with one number spends nothing, makes nothing and pays nothing out, until another admin lifts it. It may
/// still be given something.
#[test]
fn who_has_forked_moves_no_tokens_until_that_is_lifted() {
    let mut desk = Desk::founded();
    let setup = vec![
        Transaction::MemberAdd(MemberAdd { identity: who(1), role: Admin }),
        Transaction::PolicyUpdate(fee(5_000)),
        Transaction::Mint(Mint { to: who(0), amount: 150 }),
        Transaction::Mint(Mint { to: who(1), amount: 100 }),
        Transaction::Transfer(Transfer { to: who(2), amount: 100 }),
    ];
    let setup = block(0, Some((0, genesis().id())), vec![], 1, setup);
    let claim = |text| block(1, None, vec![setup.id()], 2, vec![say(text, None).0]);
    desk.ingest(&[setup.clone(), claim("one"), claim("other")]);
    let mut tried = |act| match desk.write(1, vec![act], vec![]) {
        Ok(_) => "done",
        Err(Failure::Refused(refusal)) => refusal.code(),
        Err(other) => panic!("{other}"),
    };
    let transfer = || Transaction::Transfer(Transfer { to: who(2), amount: 1 });
    assert_eq!(tried(transfer()), "frozen");
    assert_eq!(tried(Transaction::Mint(Mint { to: who(2), amount: 1 })), "frozen");
    assert_eq!(tried(Transaction::TreasuryPay(TreasuryPay { to: who(2), amount: 1 })), "frozen");
    assert_eq!(tried(Transaction::PolicyUpdate(fee(0))), "done");
    desk.write(0, vec![Transaction::Mint(Mint { to: who(1), amount: 5 })], vec![]).unwrap();
    let overlay = Overlay::new(desk.rows());
    let locked = lock(&mut Scratch::new(&overlay), &site(), 0, &who(1), 1, Cause::TaskLock(TaskId("t".into())), None);
    assert!(matches!(locked, Err(Refused::Refused(Refusal::Frozen(_)))));
    desk.write(0, vec![Transaction::Unfreeze(Unfreeze { identity: who(1) })], vec![]).unwrap();
    desk.write(1, vec![transfer()], vec![]).unwrap();
    assert_eq!((balance(&desk, 1), balance(&desk, 2)), (104, 101));
}

/// Two admins who could not see each other make tokens up to the cap: the later in the order is refused, on every node.
#[test]
fn two_mints_apart_do_not_pass_the_cap_together() {
    let setup = vec![
        Transaction::MemberAdd(MemberAdd { identity: who(1), role: Admin }),
        Transaction::PolicyUpdate(supply_cap(100)),
    ];
    let setup = block(0, Some((0, genesis().id())), vec![], 1, setup);
    let mint = |amount| vec![Transaction::Mint(Mint { to: who(2), amount })];
    let first = block(0, Some((1, setup.id())), vec![], 2, mint(60));
    let second = block(1, None, vec![setup.id()], 2, mint(70));
    let one = taken_in([[genesis(), setup.clone(), first.clone()].as_slice(), std::slice::from_ref(&second)]);
    let other = taken_in([[genesis(), setup, second].as_slice(), &[first]]);
    compare(one.rows(), other.rows());
    let refused = query::refused(one.rows(), None, 9).unwrap();
    assert_eq!((refused.len(), refused[0].1.refusal.code()), (1, "supply_cap"));
    assert!([60, 70].contains(&balance(&one, 2)));
}

// ---- the escrow -------------------------------------------------------------------------------------------------

fn site() -> Site {
    Site { author: who(1), block: BlockId::from_bytes([5; 32]), seq: 3, time_ms: 7, height: 4, seals: None }
}

#[test]
fn what_is_set_aside_comes_back_whatever_the_caps() {
    let mut desk = Desk::founded();
    for transaction in
        [Transaction::Mint(Mint { to: who(1), amount: 100 }), Transaction::PolicyUpdate(account_cap(100))]
    {
        desk.write(0, vec![transaction], vec![]).unwrap();
    }
    let task = || TaskId("t".into());
    let mut overlay = Overlay::new(desk.rows());
    let mut scratch = Scratch::new(&overlay);
    let no = lock(&mut scratch, &site(), 0, &who(1), 101, Cause::TaskLock(task()), None);
    let Err(Refused::Refused(Refusal::Token(TokenRefusal::Balance { balance: 100, amount: 101, fee: 0, .. }))) = no
    else {
        panic!("more was set aside than there is")
    };
    assert!(lock(&mut scratch, &site(), 0, &who(1), 80, Cause::TaskLock(task()), None).is_ok());
    let undo = scratch.keep().apply(&mut overlay).unwrap();
    assert_eq!(account::totals(&overlay).unwrap(), Totals { supply: 100, treasury: 0, escrow: 80, accounts: 1 });
    // No task has set it aside.
    assert_eq!(invariants::check(&overlay).unwrap(), [Broken::Escrow { escrow: 80, locked: 0 }]);
    let mut scratch = Scratch::new(&overlay);
    assert!(unlock(&mut scratch, &site(), 1, &who(2), 30, Cause::TaskReward(task()), None).is_ok());
    assert!(unlock(&mut scratch, &site(), 2, &who(1), 50, Cause::TaskRefund(task()), None).is_ok());
    let more = unlock(&mut scratch, &site(), 3, &who(1), 1, Cause::TaskRefund(task()), None);
    assert!(matches!(more, Err(Refused::Failed(_))), "more came out of the escrow than was in it");
    scratch.keep().apply(&mut overlay).unwrap();
    assert_eq!(account::totals(&overlay).unwrap(), Totals { supply: 100, treasury: 0, escrow: 0, accounts: 2 });
    assert_eq!(invariants::check(&overlay).unwrap(), []);
    assert_eq!(account::account(&overlay, &who(1)).unwrap().balance, 70);
    drop(undo);
    // A refund past the account's cap.
    let mut scratch = Scratch::new(&overlay);
    assert!(lock(&mut scratch, &site(), 4, &who(1), 70, Cause::TaskLock(task()), None).is_ok());
    scratch.keep().apply(&mut overlay).unwrap();
    let mut memory = desk.rows().clone();
    memory.commit(overlay.into_changes());
    let mut overlay = Overlay::new(&memory);
    let mut scratch = Scratch::new(&overlay);
    let rules = account::Policy { max_account_balance: 10, ..account::policy(&memory).unwrap() };
    scratch.put(account::POLICY.to_vec(), &rules);
    assert!(unlock(&mut scratch, &site(), 5, &who(1), 70, Cause::TaskRefund(task()), None).is_ok());
    scratch.keep().apply(&mut overlay).unwrap();
    assert_eq!(account::account(&overlay, &who(1)).unwrap().balance, 70);
    assert_eq!(invariants::check(&overlay).unwrap(), []);
}

// ---- histories --------------------------------------------------------------------------------------------------

#[test]
fn a_history_shows_each_move_newest_first() {
    let mut desk = Desk::founded();
    let acts = [
        (0, Transaction::PolicyUpdate(PolicyUpdate { transfer_fee_bps: Some(1_000), ..faucet(50) })),
        (0, Transaction::MemberAdd(MemberAdd { identity: who(1), role: Member })),
        (0, Transaction::Mint(Mint { to: who(1), amount: 50 })),
        (1, Transaction::Transfer(Transfer { to: who(2), amount: 30 })),
        (0, Transaction::TreasuryPay(TreasuryPay { to: who(1), amount: 3 })),
    ];
    for (author, act) in acts {
        desk.write(author, vec![act], vec![]).unwrap();
    }
    let shown = |number: u8, before: Option<u64>, at_most: usize| -> Vec<_> {
        let moves = account::history(desk.rows(), &who(number), before, at_most).unwrap();
        moves
            .into_iter()
            .map(|(number, row)| {
                (number, row.cause.word(), row.incoming, row.amount, row.fee, row.balance, row.counterpart)
            })
            .collect()
    };
    let all = [
        (3, "treasury_pay", true, 3, 0, 70, Some(who(0))),
        (2, "transfer", false, 30, 3, 67, Some(who(2))),
        (1, "mint", true, 50, 0, 100, Some(who(0))),
        (0, "faucet", true, 50, 0, 50, Some(who(0))),
    ];
    assert_eq!(shown(1, None, 10), all);
    assert_eq!(shown(1, None, 2), all[..2]);
    assert_eq!(shown(1, Some(2), 10), all[2..]);
    assert_eq!(shown(1, Some(0), 10), []);
    assert_eq!(shown(1, None, 0), []);
    assert_eq!(shown(2, None, 10), [(0, "transfer", true, 30, 0, 30, Some(who(1)))]);
    assert_eq!(shown(3, None, 10), []);
}

/// A random act of the economy, allowed or not.
fn act(kind: u8, pick: u8, claims: &[ClaimId], epoch: u64) -> Transaction {
    let to = who(pick % 5);
    let amount = [1, 7, 100, 10_000, AMOUNT_MAX][usize::from(pick / 5) % 5];
    let small = [0, 1, 40, 3_000, AMOUNT_MAX][usize::from(pick / 5) % 5];
    match kind {
        0 => Transaction::MemberAdd(MemberAdd { identity: to, role: [Viewer, Member, Admin][usize::from(pick) % 3] }),
        1 => Transaction::MemberRemove(MemberRemove { identity: to }),
        2 => Transaction::RoleSet(RoleSet { identity: to, role: [Member, Admin][usize::from(pick) % 2] }),
        3 => Transaction::PolicyUpdate(match pick % 5 {
            0 => faucet(small),
            1 => reward(small),
            2 => fee([0, 1, 250, 5_000][usize::from(pick / 5) % 4]),
            3 => supply_cap(small),
            _ => account_cap(small),
        }),
        4..=6 => Transaction::Mint(Mint { to, amount }),
        7..=12 => Transaction::Transfer(Transfer { to, amount }),
        13 | 14 => Transaction::TreasuryPay(TreasuryPay { to, amount }),
        20 | 21 => Transaction::Seal(Seal { epoch: epoch + 1 }),
        22 => Transaction::Unfreeze(Unfreeze { identity: to }),
        15 if !claims.is_empty() => Transaction::Retract(Retract { claim: claims[usize::from(pick) % claims.len()] }),
        _ => say("text", Some(TextHash::of(&"text ".repeat(usize::from(pick % 4))))).0,
    }
}

fn economy(recipes: &[Recipe]) -> Vec<Verified> {
    let rules = PolicyUpdate { claim_reward_amount: Some(5), transfer_fee_bps: Some(250), ..faucet(20) };
    let mint = |number| Transaction::Mint(Mint { to: who(number), amount: 1_000 });
    history_of(recipes, vec![Transaction::PolicyUpdate(rules), mint(0), mint(1)], act)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// The desk checks the invariants after each batch; with batches of one, after each block.
    #[test]
    fn in_any_arrival_nothing_is_printed_or_lost(
        (blocks, shuffled) in prop::collection::vec(recipe(), 10..60).prop_map(|recipes| economy(&recipes))
            .prop_flat_map(|blocks| (Just(blocks.clone()), Just(blocks).prop_shuffle())),
        size in 1usize..6,
    ) {
        let one_by_one = taken_in(blocks.chunks(1));
        compare(one_by_one.rows(), taken_in(shuffled.chunks(size)).rows());
        compare(one_by_one.rows(), taken_in([shuffled.as_slice()]).rows());
        undo_what_is_open(&blocks, one_by_one.rows());
    }
}

/// The random histories are about something: most of what can happen does.
#[test]
fn random_histories_move_tokens() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let (mut words, mut codes) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    for _ in 0..60 {
        let recipes = prop::collection::vec(recipe(), 40..60).new_tree(&mut runner).unwrap().current();
        let desk = taken_in([economy(&recipes).as_slice()]);
        for number in 0..5 {
            let moves = account::history(desk.rows(), &who(number), None, 100).unwrap();
            words.extend(moves.into_iter().map(|(_, row)| row.cause.word()));
        }
        codes.extend(query::refused(desk.rows(), None, 100).unwrap().into_iter().map(|row| row.1.refusal.code()));
    }
    for word in ["mint", "faucet", "claim_reward", "transfer", "treasury_pay"] {
        assert!(words.contains(word), "nothing was moved by {word}");
    }
    for code in [
        "insufficient_balance",
        "insufficient_treasury",
        "supply_cap",
        "account_cap",
        "transfer_to_oneself",
        "cap_below_supply",
    ] {
        assert!(codes.contains(code), "nothing was refused for {code}");
    }
}

#[test]
fn broken_states_are_found() {
    let mut desk = Desk::founded();
    desk.write(0, vec![Transaction::Mint(Mint { to: who(1), amount: 9 })], vec![]).unwrap();
    let found = |change: &dyn Fn(&mut Scratch<'_, '_>)| -> Vec<String> {
        let memory: Memory = desk.rows().clone();
        let mut overlay = Overlay::new(&memory);
        let mut scratch = Scratch::new(&overlay);
        change(&mut scratch);
        scratch.keep().apply(&mut overlay).unwrap();
        invariants::check(&overlay).unwrap().iter().map(ToString::to_string).collect()
    };
    assert_eq!(found(&|_| ()), Vec::<String>::new());
    let totals = |supply, treasury, accounts| Totals { supply, treasury, escrow: 0, accounts };
    let put = |totals: Totals| found(&move |scratch| scratch.put(account::TOTALS.to_vec(), &totals));
    assert!(put(totals(10, 0, 1))[0].contains("the supply is 10"));
    assert!(put(totals(9, 1, 1))[0].contains("the treasury 1"));
    assert!(put(totals(9, 0, 2))[0].contains("2 accounts are counted"));
    let account = account::Account { balance: 8, nonce: 0, moves: 1 };
    let printed = found(&|scratch| scratch.put(account::account_key(&who(1)), &account));
    assert!(printed.iter().any(|said| said.contains("does not come to its balance")), "{printed:?}");
    let rules = account::Policy { max_total_supply: 5, ..account::Policy::default() };
    assert!(found(&|scratch| scratch.put(account::POLICY.to_vec(), &rules))[0].contains("at most 5"));
    let gone = found(&|scratch| scratch.remove(crate::ledger::state::member_key(&who(0))));
    assert_eq!(gone[0], "the group has no admin");
}
