//! A purchase that is cut off at each of its steps, in each way: what is left of it, and what comes of it afterwards.
//!
//! A daemon stops at a named step (`LBM_HOLD_AT`, in builds for tests) until this test lets it go. Meanwhile the buyer or the seller is
//! killed, the connection is cut, or a disk is full. Then everything is put right, and the purchase goes on: **the buyer has the package and
//! has paid once, the seller is paid, and there are as many tokens as before.**
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;

use common::{Daemon, PATIENCE, wait_until};
use lbm::runtime::trade::steps::Step;

const TEXT: &str = "Retry with jitter, or every client comes back at the same moment";
const PRICE: u64 = 40;

/// What happens at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    KillBuyer,
    KillSeller,
    Cut,
    BuyerFull,
    SellerFull,
}

/// Whose daemon comes to a step.
const fn is_sellers(step: Step) -> bool {
    matches!(step, Step::Seen | Step::Sealed | Step::Granted)
}

#[track_caller]
fn balance(daemon: &Daemon, group: &str, account: &str) -> u64 {
    daemon.ctl(&["token", "balance", "--group", group, "--account", account]).done()["balance"].as_u64().unwrap()
}

/// Restarts a daemon so that it stops at a step; where it does not, it stops nowhere.
fn restart_at(daemon: &mut Daemon, step: Option<Step>) {
    daemon.kill();
    match step {
        Some(step) => daemon.wrapper(&["env", &format!("LBM_HOLD_AT={}", step.word())]),
        None => daemon.wrapper(&[]),
    }
    daemon.restart();
}

fn part_ways(a: &Daemon, b: &Daemon) {
    a.ctl(&["peer", "remove", &b.id]);
    b.ctl(&["peer", "remove", &a.id]);
    wait_until(PATIENCE, "they are apart", || [a, b].iter().all(|one| one.ctl(&["status"]).done()["peers"] == 0));
}

/// One purchase in a group of its own, with one fault at one step.
fn purchase(seller: &mut Daemon, buyer: &mut Daemon, step: Step, fault: Fault) {
    let what = format!("{fault:?} at {}", step.word());
    let group = seller.found(&format!("cut-{}-{fault:?}", step.word()));
    seller.add(&group, &buyer.id, "member");
    buyer.ctl(&["group", "join", &group]).ok();
    seller.ctl(&["token", "mint", "--group", &group, "--to", &buyer.id, "--amount", "100"]).ok();
    let create = ["offer", "create", "--group", &group, "--title", "Retries", "--price", "40", "--text", TEXT];
    let offer = seller.ctl(&create).text("offer_id");
    wait_until(PATIENCE, &format!("{what}: the buyer knows the offer and has tokens"), || {
        buyer.ctl(&["offer", "show", &offer]).code == Some(0) && balance(buyer, &group, &buyer.id) == 100
    });

    // One of the two stops at the step.
    let held = if is_sellers(step) { &mut *seller } else { &mut *buyer };
    restart_at(held, Some(step));
    let held_file = held.data.join("held");
    buyer.meet(seller);
    let begun = buyer.begin(&["offer", "buy", &offer, "--wait", "20s"]);
    wait_until(PATIENCE, &format!("{what}: the step is come to"), || held_file.exists());
    match fault {
        Fault::KillBuyer => restart_at(buyer, None),
        Fault::KillSeller => restart_at(seller, None),
        Fault::Cut => part_ways(seller, buyer),
        Fault::BuyerFull => std::fs::write(buyer.data.join("pretend-full"), "").unwrap(),
        Fault::SellerFull => std::fs::write(seller.data.join("pretend-full"), "").unwrap(),
    }
    let _gone = std::fs::remove_file(&held_file);
    if matches!(fault, Fault::Cut | Fault::BuyerFull | Fault::SellerFull) {
        // Long enough to run into it.
        std::thread::sleep(std::time::Duration::from_millis(300));
    }

    // Everything is put right, and somebody repeats the command.
    for daemon in [&*buyer, &*seller] {
        let _was_not = std::fs::remove_file(daemon.data.join("pretend-full"));
    }
    buyer.meet(seller);
    drop(begun);
    let again = buyer.ctl(&["offer", "buy", &offer, "--print", "--wait", "30s"]);
    assert_eq!(again.code, Some(0), "{what}: {again:#?}\n{}\n{}", buyer.said(), seller.said());
    assert_eq!(again.text("text"), TEXT, "{what}");
    wait_until(PATIENCE, &format!("{what}: the seller is paid"), || balance(seller, &group, &seller.id) == PRICE);
    common::agree(&[&*seller, &*buyer], &group);
    for daemon in [&*buyer, &*seller] {
        assert_eq!(balance(daemon, &group, &buyer.id), 100 - PRICE, "{what}: paid once");
        let stats = daemon.ctl(&["group", "stats", &group]).done();
        assert_eq!((&stats["total_supply"], &stats["escrow_balance"]), (&100.into(), &0.into()), "{what}");
    }
    let library = buyer.ctl(&["library", "show", &offer]);
    assert_eq!(library.text("text"), TEXT, "{what}");
    let purchases = buyer.ctl(&["offer", "purchases", "--group", &group]).done();
    assert_eq!(purchases["purchases"].as_array().unwrap().len(), 1, "{what}: {purchases}");
}

/// A fault at every step, on two daemons.
fn at_every_step(fault: Fault) {
    let (mut seller, mut buyer) = (Daemon::start("alice"), Daemon::start("bob"));
    buyer.meet(&seller);
    for step in Step::ALL {
        purchase(&mut seller, &mut buyer, step, fault);
        // So that no daemon stops any more.
        for daemon in [&mut seller, &mut buyer] {
            restart_at(daemon, None);
        }
        buyer.meet(&seller);
    }
}

#[test]
fn a_buyer_that_is_killed_at_any_step_has_the_package_and_paid_once() {
    at_every_step(Fault::KillBuyer);
}

#[test]
fn a_seller_that_is_killed_at_any_step_is_paid_once() {
    at_every_step(Fault::KillSeller);
}

#[test]
fn a_connection_that_is_cut_at_any_step_costs_nobody_anything() {
    at_every_step(Fault::Cut);
}

#[test]
fn a_buyers_disk_that_is_full_at_any_step_costs_nobody_anything() {
    at_every_step(Fault::BuyerFull);
}

#[test]
fn a_sellers_disk_that_is_full_at_any_step_costs_nobody_anything() {
    at_every_step(Fault::SellerFull);
}
