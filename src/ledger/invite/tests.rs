//! Tickets: each rule, each way to stretch one that must fail, and random histories in which none lets in more than it says.

use proptest::prelude::*;

use super::{TicketRefusal, tickets};
use crate::chain::transaction::{
    Invite, InviteRevoke, MemberAdd, MemberJoin, MemberRemove, NotarySet, PolicyUpdate, RoleSet, Seal,
};
use crate::chain::{Body, Context, Draft, FormError, GroupId, Invalid, Payload, Role, Transaction, Verified};
use crate::identity::SecretKey;
use crate::ledger::tests::{compare, history_of, recipe, taken_in, undo_what_is_open};
use crate::ledger::{Outcome, account, query, state};
use crate::limits;
use crate::node::engine::Failure;
use crate::testing::desk::{Desk, NOW_MS, genesis, key, who};

/// The secret half of a ticket.
fn secret(number: u8) -> SecretKey {
    SecretKey::from_seed(&[100 + number; 32])
}

fn group() -> GroupId {
    GroupId::from(genesis().id())
}

fn invite(number: u8, uses: u32, role: Role) -> Transaction {
    let ticket = secret(number).identity();
    Transaction::Invite(Invite { ticket, role, uses, expires_ms: NOW_MS + 10_000 })
}

fn join(number: u8, whom: u8) -> Transaction {
    Transaction::MemberJoin(MemberJoin::prove(&secret(number), &group(), who(whom)))
}

fn revoke(number: u8) -> Transaction {
    Transaction::InviteRevoke(InviteRevoke { ticket: secret(number).identity() })
}

fn add(whom: u8, role: Role) -> Transaction {
    Transaction::MemberAdd(MemberAdd { identity: who(whom), role })
}

fn remove(whom: u8) -> Transaction {
    Transaction::MemberRemove(MemberRemove { identity: who(whom) })
}

fn set(whom: u8, role: Role) -> Transaction {
    Transaction::RoleSet(RoleSet { identity: who(whom), role })
}

/// Acts, each with its author.
type Acts = Vec<(u8, Transaction)>;

/// Writes one after the other; the code of the first refusal, which must be the last's.
fn play(acts: Acts) -> Result<Desk, &'static str> {
    let mut desk = Desk::founded();
    let last = acts.len();
    for (number, (author, act)) in (1..).zip(acts) {
        match desk.write(author, vec![act.clone()], vec![]) {
            Ok(_) => {}
            Err(Failure::Refused(refusal)) => {
                assert_eq!(number, last, "refused too early: {act:?}: {refusal}");
                return Err(refusal.code());
            }
            Err(other) => panic!("{act:?}: {other}"),
        }
    }
    Ok(desk)
}

use Role::{Admin, Member, Viewer};

#[test]
fn each_rule_refuses_what_it_should_and_no_more() {
    let table: Vec<(Acts, Result<(), &str>)> = vec![
        // Any member lets the bearer in, as what the ticket says; a viewer does not, nor does a stranger.
        (vec![(0, invite(0, 1, Member)), (0, add(1, Member)), (1, join(0, 2)), (2, join(0, 3))], Err("ticket_used_up")),
        (vec![(0, invite(0, 2, Member)), (0, join(0, 2)), (2, join(0, 3))], Ok(())),
        (vec![(0, invite(0, 2, Viewer)), (0, join(0, 2)), (2, join(0, 3))], Err("viewer_cannot_write")),
        (vec![(0, invite(0, 2, Admin)), (0, join(0, 2)), (2, invite(1, 1, Member))], Ok(())),
        (vec![(0, invite(0, 1, Member)), (2, join(0, 2))], Err("not_a_member")),
        (vec![(0, join(0, 2))], Err("no_such_ticket")),
        // Only admins make and end them.
        (vec![(0, add(1, Member)), (1, invite(0, 1, Member))], Err("not_an_admin")),
        (vec![(0, invite(0, 1, Member)), (0, add(1, Member)), (1, revoke(0))], Err("not_an_admin")),
        (vec![(0, invite(0, 1, Member)), (0, add(1, Admin)), (1, revoke(0)), (0, join(0, 2))], Err("ticket_revoked")),
        (vec![(0, revoke(0))], Err("no_such_ticket")),
        (vec![(0, invite(0, 1, Member)), (0, revoke(0)), (0, revoke(0))], Err("ticket_revoked")),
        (vec![(0, invite(0, 1, Member)), (0, invite(0, 5, Member))], Err("ticket_exists")),
        (vec![(0, invite(0, 1, Member)), (0, revoke(0)), (0, invite(0, 5, Member))], Err("ticket_exists")),
        // Its maker must be an admin when it is used, not only when it was made.
        (
            vec![(0, add(1, Admin)), (1, invite(0, 1, Member)), (0, set(1, Member)), (0, join(0, 2))],
            Err("inviter_gone"),
        ),
        (vec![(0, add(1, Admin)), (1, invite(0, 1, Member)), (0, remove(1)), (0, join(0, 2))], Err("inviter_gone")),
        (
            vec![
                (0, add(1, Admin)),
                (1, invite(0, 1, Member)),
                (0, set(1, Member)),
                (0, set(1, Admin)),
                (0, join(0, 2)),
            ],
            Ok(()),
        ),
        // Who is in is told so, and takes no use; who left may come back; whom an admin removed may not, by whatever ticket, until an admin
        // names it.
        (vec![(0, invite(0, 1, Member)), (0, join(0, 2)), (0, join(0, 2))], Err("already_a_member")),
        (vec![(0, invite(0, 1, Member)), (0, join(0, 0))], Err("already_a_member")),
        (vec![(0, invite(0, 2, Member)), (0, join(0, 2)), (2, remove(2)), (0, join(0, 2))], Ok(())),
        (vec![(0, invite(0, 2, Member)), (0, join(0, 2)), (0, remove(2)), (0, join(0, 2))], Err("was_removed")),
        (vec![(0, add(2, Member)), (0, remove(2)), (0, invite(0, 2, Member)), (0, join(0, 2))], Err("was_removed")),
        (
            vec![
                (0, add(2, Member)),
                (0, remove(2)),
                (0, add(2, Member)),
                (2, remove(2)),
                (0, invite(0, 2, Member)),
                (0, join(0, 2)),
            ],
            Ok(()),
        ),
    ];
    for (acts, expected) in table {
        assert_eq!(play(acts.clone()).map(|_| ()), expected, "{acts:?}");
    }
}

#[test]
fn a_ticket_ends_by_the_blocks_clock_and_by_the_last_seals() {
    let mut desk = play(vec![(0, invite(0, 9, Member)), (0, add(1, Member))]).ok().unwrap();
    desk.now_ms = NOW_MS + 9_999;
    desk.write(1, vec![join(0, 2)], vec![]).unwrap();
    desk.now_ms = NOW_MS + 10_000;
    let late = desk.write(1, vec![join(0, 3)], vec![]).unwrap_err();
    assert!(matches!(late, Failure::Refused(ref why) if why.code() == "ticket_expired"), "{late}");
    // A seal has been made since: who dates a block back to before the end is refused all the same.
    desk.seal().unwrap();
    desk.now_ms = NOW_MS + 9_000;
    let dated_back = desk.write(2, vec![join(0, 3)], vec![]).unwrap_err();
    assert!(matches!(dated_back, Failure::Refused(ref why) if why.code() == "ticket_expired"), "{dated_back}");
    assert!(state::member(desk.rows(), &who(3)).unwrap().is_none());
}

#[test]
fn a_ticket_stands_for_a_month_at_most_and_not_from_yesterday() {
    for (expires_ms, holds) in [
        (NOW_MS, false),
        (NOW_MS + 1, true),
        (NOW_MS + limits::TICKET_LIFE_MS, true),
        (NOW_MS + limits::TICKET_LIFE_MS + 1, false),
    ] {
        let new = Invite { ticket: secret(0).identity(), role: Member, uses: 1, expires_ms };
        let refused = Desk::founded().write(0, vec![Transaction::Invite(new)], vec![]).is_err();
        assert_eq!(!refused, holds, "{expires_ms}");
    }
    for uses in [0, limits::TICKET_USES + 1] {
        let refused = Desk::founded().write(0, vec![invite(0, uses, Member)], vec![]).unwrap_err();
        assert!(matches!(refused, Failure::Invalid(Invalid::Form(FormError::Range { .. }))), "{refused}");
    }
    assert!(Desk::founded().write(0, vec![invite(0, limits::TICKET_USES, Member)], vec![]).is_ok());
}

#[test]
fn the_ledger_remembers_so_many_tickets_and_those_that_are_over_make_room() {
    let mut desk = Desk::founded();
    let ticket = |number: usize| SecretKey::from_seed(&std::array::from_fn(|at| (number >> (8 * (at % 2))) as u8));
    let make = |number: usize| {
        let ticket = ticket(number + 1).identity();
        Transaction::Invite(Invite { ticket, role: Member, uses: 1, expires_ms: NOW_MS + 10_000 })
    };
    for chunk in (0..limits::TICKETS).collect::<Vec<_>>().chunks(64) {
        desk.write(0, chunk.iter().map(|number| make(*number)).collect(), vec![]).unwrap();
    }
    let full = desk.write(0, vec![make(limits::TICKETS)], vec![]).unwrap_err();
    assert!(matches!(full, Failure::Refused(ref why) if why.code() == "too_many_tickets"), "{full}");
    let revoked = InviteRevoke { ticket: ticket(1).identity() };
    desk.write(0, vec![Transaction::InviteRevoke(revoked)], vec![]).unwrap();
    desk.write(0, vec![make(limits::TICKETS)], vec![]).unwrap();
    assert_eq!(tickets(desk.rows()).unwrap().len(), limits::TICKETS);
    assert!(super::ticket(desk.rows(), &revoked.ticket).unwrap().is_none(), "it made room");
}

#[test]
fn a_proof_is_for_one_identity_one_group_and_one_ticket() {
    let good = MemberJoin::prove(&secret(0), &group(), who(2));
    assert_eq!(good.check(&group()), Ok(()));
    let other_identity = MemberJoin { identity: who(3), ..good };
    assert_eq!(other_identity.check(&group()), Err(FormError::TicketProof(who(3))));
    let other_ticket = MemberJoin { ticket: secret(1).identity(), ..good };
    assert_eq!(other_ticket.check(&group()), Err(FormError::TicketProof(who(2))));
    assert_eq!(good.check(&GroupId::from_bytes([9; 32])), Err(FormError::TicketProof(who(2))));
    for at in 0..64 {
        let mut proof = good.proof;
        proof[at] ^= 1;
        assert!(MemberJoin { proof, ..good }.check(&group()).is_err(), "byte {at}");
    }
    // A block with one that does not hold is invalid, whoever sends it.
    let body = Body {
        group: Some(group()),
        author: who(0),
        seq: 1,
        prev: Some(genesis().id()),
        parents: vec![],
        height: 1,
        time_ms: NOW_MS,
        payload: Payload::Plain(vec![Transaction::MemberJoin(other_identity)]),
    };
    assert!(matches!(Draft::new(body.clone()), Err(Invalid::Form(FormError::TicketProof(_)))));
    let bytes = crate::cbor::encode(&body);
    let signature = key(0).sign(crate::chain::block::SIGNATURE_DOMAIN, &bytes);
    let context = Context { group: group(), now_ms: NOW_MS, max_drift_ms: 0 };
    let verified = crate::chain::Unverified::new(bytes, signature).verify(&context);
    assert!(matches!(verified, Err(Invalid::Form(FormError::TicketProof(_)))), "{verified:?}");
}

#[test]
fn of_two_let_in_apart_for_the_last_place_one_is_refused_and_its_first_block_with_it() {
    let mut here = play(vec![(0, invite(0, 1, Member)), (0, add(1, Member)), (0, add(2, Member))]).ok().unwrap();
    here.seal().unwrap();
    let mut there = here.copy();
    here.write(1, vec![join(0, 3)], vec![]).unwrap();
    let (mut objects, say) = (vec![], |desk: &mut Desk, whom, text| {
        let (claim, object) = crate::testing::desk::words(text);
        desk.write(whom, vec![claim], vec![object.clone()]).unwrap();
        object
    });
    objects.push(say(&mut here, 3, "three was let in here"));
    there.write(2, vec![join(0, 4)], vec![]).unwrap();
    objects.push(say(&mut there, 4, "four was let in there"));
    let (ours, theirs) = (here.verify(here.own_blocks()), there.verify(there.own_blocks()));
    there.news.clear();
    here.ingest_from(7, &theirs, objects.clone());
    there.ingest_from(7, &ours, objects);
    compare(here.rows(), there.rows());
    let members = [3, 4].map(|whom| state::member(here.rows(), &who(whom)).unwrap().is_some());
    assert!(members == [true, false] || members == [false, true], "{members:?}");
    let refused: Vec<&str> =
        query::refused(here.rows(), None, 10).unwrap().iter().map(|(_, block)| block.refusal.code()).collect();
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(refused.contains(&"ticket_used_up") && refused.contains(&"not_a_member"), "{refused:?}");
    // Both sides are told, whichever has lost.
    let told = |desk: &Desk| {
        desk.news
            .iter()
            .flat_map(|news| &news.changes)
            .any(|change| matches!(&change.after, Outcome::Refused(_, why) if why.code() == "ticket_used_up"))
    };
    assert!(told(&here) && told(&there));
}

#[test]
fn the_faucet_pays_who_comes_by_ticket_once() {
    let mut desk = Desk::founded();
    let rule = PolicyUpdate {
        listed: None,
        faucet_amount: Some(5),
        max_total_supply: None,
        transfer_fee_bps: None,
        claim_reward_amount: None,
        max_account_balance: None,
    };
    desk.write(0, vec![Transaction::PolicyUpdate(rule), invite(0, 5, Member)], vec![]).unwrap();
    for _ in 0..2 {
        desk.write(0, vec![join(0, 2)], vec![]).unwrap();
        desk.write(2, vec![remove(2)], vec![]).unwrap();
    }
    assert_eq!(account::account(desk.rows(), &who(2)).unwrap().balance, 5);
}

/// Acts of a random history: mostly about two tickets.
fn act(kind: u8, pick: u8, _: &[crate::chain::ClaimId], epoch: u64) -> Transaction {
    let (number, whom, role) = (pick % 2, pick / 2 % 6, [Viewer, Member, Admin][usize::from(pick / 12) % 3]);
    match kind {
        0..=2 => invite(number, 1 + u32::from(pick % 3), role),
        3 => revoke(number),
        4..=12 => join(number, whom),
        13 | 14 => remove(whom),
        15 => set(whom, role),
        16 => add(whom, role),
        17 => Transaction::NotarySet(NotarySet { identity: who(pick % 4) }),
        _ => Transaction::Seal(Seal { epoch: epoch + 1 }),
    }
}

fn histories() -> impl Strategy<Value = Vec<Verified>> {
    let opening = || vec![invite(0, 2, Member), invite(1, 1, Admin)];
    prop::collection::vec(recipe(), 4..40).prop_map(move |recipes| history_of(&recipes, opening(), act))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn any_arrival_comes_to_the_same_tickets(
        (blocks, shuffled) in histories().prop_flat_map(|blocks| (Just(blocks.clone()), Just(blocks).prop_shuffle())),
        size in 1usize..6,
    ) {
        let at_once = taken_in([blocks.as_slice()]);
        compare(at_once.rows(), taken_in(blocks.chunks(1)).rows());
        compare(at_once.rows(), taken_in(shuffled.chunks(size)).rows());
        undo_what_is_open(&blocks, at_once.rows());
        // The uses that are counted are the joins that applied.
        let refused: Vec<_> = query::refused(at_once.rows(), None, 1_000).unwrap().iter().map(|(key, _)| key.id).collect();
        for (ticket, row) in tickets(at_once.rows()).unwrap() {
            let by_it = |block: &&Verified| matches!(
                block.body().transactions(), [Transaction::MemberJoin(join)] if join.ticket == ticket
            );
            let applied = blocks.iter().filter(by_it).filter(|block| !refused.contains(&block.id())).count();
            prop_assert_eq!(applied, row.used as usize);
            prop_assert!(row.used <= row.uses);
        }
    }
}

#[test]
fn codes_are_told_apart() {
    let who = who(0);
    let all = [
        TicketRefusal::NoSuchTicket(who),
        TicketRefusal::Expired(who, 1),
        TicketRefusal::UsedUp(who, 1),
        TicketRefusal::Revoked(who),
        TicketRefusal::InviterGone(who),
        TicketRefusal::Removed(who),
        TicketRefusal::Exists(who),
        TicketRefusal::Life(1),
        TicketRefusal::TooMany,
    ];
    let codes: std::collections::BTreeSet<&str> = all.iter().map(TicketRefusal::code).collect();
    assert_eq!(codes.len(), all.len());
    assert!(all.iter().all(|why| why.to_string().contains(": ")), "each says what to do");
}
