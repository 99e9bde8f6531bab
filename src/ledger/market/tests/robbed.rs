//! **The buyer never pays for what does not arrive, the seller is never robbed**: one honest node, one that does whatever it can, and a
//! notary, in random histories.
//!
//! What is assumed of the honest one: it and the notary hear of each other at least every [`HEARS_MS`], its clock is no further from the
//! notary's than a block may be dated ahead, it grants by the ledger's word alone, and it disputes what does not open. The other dates its
//! blocks as it likes, up to the drift ahead, holds them back, forks its line, and says whatever a transaction can say. The notary comes
//! and goes.

use proptest::prelude::*;

use super::apart::news;
use super::*;
use crate::chain::link;
use crate::chain::transaction::Transfer;
use crate::ledger::state;

const NOTARY: u8 = 0;
const SELLER: u8 = 1;
const BUYER: u8 = 2;
/// How long the honest one and the notary may not hear of each other.
const HEARS_MS: u64 = 240_000;
const DRIFT_MS: u64 = limits::MAX_CLOCK_DRIFT_MS;

/// A package whose second chunk is garbage, under the key of another: what its offer says, and its ciphertext.
fn garbage() -> (Commitment, Vec<u8>) {
    let (_, mut ciphertext, _) = goods(1);
    ciphertext[limits::PACKAGE_CHUNK_BYTES + 20] ^= 1;
    let package = root(&package::prove(&ciphertext, 1).unwrap());
    (Commitment { package, ..goods(1).2 }, ciphertext)
}

/// The ciphertext that a buyer has fetched and checked.
fn fetched(sold: &Commitment) -> Vec<u8> {
    let (bad, ciphertext) = garbage();
    let ciphertext =
        if *sold == bad { ciphertext } else { (0..4).map(goods).find(|(.., good)| good == sold).unwrap().1 };
    assert_eq!(package::check_ciphertext(sold, &ciphertext), Ok(()));
    ciphertext
}

struct Trade {
    /// The notary's clock.
    now_ms: u64,
    notary: Desk,
    honest: Desk,
    /// Who is honest, and how far its clock is off.
    who: u8,
    skew_ms: i64,
    heard_ms: u64,
    /// What the other writes on: its own data, and copies of it.
    branches: Vec<Desk>,
    /// Purchases that the honest seller has granted.
    granted: Vec<PurchaseId>,
    /// Purchases that the honest buyer has opened.
    opened: Vec<PurchaseId>,
}

impl Trade {
    fn new(honest: u8, skew_ms: i64) -> Self {
        let mut first = town();
        let mint = |number| Transaction::Mint(Mint { to: who(number), amount: 1_000 });
        first.write(NOTARY, vec![mint(SELLER), mint(BUYER)], vec![]).unwrap();
        for number in 1..4 {
            offer(&mut first, SELLER, Self::terms(number, goods(number).2));
        }
        if honest == BUYER {
            offer(&mut first, SELLER, Self::terms(0, garbage().0));
        }
        seal(&mut first);
        Self {
            now_ms: first.now_ms,
            honest: first.copy(),
            who: honest,
            skew_ms,
            heard_ms: first.now_ms,
            branches: vec![first.copy()],
            notary: first,
            granted: vec![],
            opened: vec![],
        }
    }

    fn terms(number: u8, package: Commitment) -> OfferCreate {
        let (grant_within_ms, dispute_within_ms) = (*limits::OFFER_GRANT_MS.start(), *limits::OFFER_DISPUTE_MS.start());
        OfferCreate { grant_within_ms, dispute_within_ms, package, ..plain(number) }
    }

    fn other(&self) -> u8 {
        SELLER + BUYER - self.who
    }

    /// Time passes, and the honest one does what its daemon would.
    fn pass(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        while self.heard_ms + HEARS_MS <= until_ms {
            self.now_ms = self.heard_ms + HEARS_MS;
            self.tick();
            self.hear();
            self.tick();
        }
        self.now_ms = until_ms;
        self.tick();
    }

    fn tick(&mut self) {
        self.notary.now_ms = self.now_ms;
        self.honest.now_ms = self.now_ms.saturating_add_signed(self.skew_ms);
        for branch in &mut self.branches {
            branch.now_ms = self.now_ms;
        }
        if self.who == SELLER {
            self.sell()
        } else {
            self.open()
        }
        // What is due is asked for. What the ledger refuses is not written.
        let due = query::due(self.honest.rows(), self.honest.now_ms, 9).unwrap();
        for (id, row) in due {
            let ask = if row.status == Paid { refund(id) } else { settle(id) };
            let _too_early = self.honest.write(self.who, vec![ask], vec![]);
        }
    }

    /// The honest seller grants what it may, and remembers that the key is out.
    fn sell(&mut self) {
        for (id, row) in query::open_of(self.honest.rows(), &who(SELLER), None, 99).unwrap().rows {
            let sold = query::offer(self.honest.rows(), &row.deal.offer).unwrap().unwrap().terms.package;
            let (key, ..) = (0..4).map(goods).find(|(.., good)| *good == sold).unwrap();
            if self.honest.write(SELLER, vec![grant(id, &row, &key)], vec![]).is_ok() {
                self.granted.push(id);
            }
        }
    }

    /// The honest buyer opens what is granted, and settles or disputes.
    fn open(&mut self) {
        for (id, row) in query::purchases_of(self.honest.rows(), &who(BUYER), None, 99).unwrap().rows {
            let Some(sealed_key) = row.sealed_key.clone().filter(|_| row.status == Granted) else { continue };
            let sold = query::offer(self.honest.rows(), &row.deal.offer).unwrap().unwrap().terms.package;
            let (secret, ciphertext) = (secret(BUYER, row.deal.nonce), fetched(&sold));
            let opened = Grant { purchase: id, sealed_key }.open(&secret);
            let opened = opened.ok().map(|key| package::open(&sold, &key, &ciphertext));
            let says = match opened {
                Some(Ok(_)) => {
                    self.opened.push(id);
                    settle(id)
                }
                Some(Err(package::PackageError::Chunk(at))) => dispute(id, secret, package::prove(&ciphertext, at)),
                _ => dispute(id, secret, None),
            };
            self.honest.write(BUYER, vec![says], vec![]).unwrap();
        }
    }

    /// The honest buyer orders what it does not have.
    fn order(&mut self, pick: u8) {
        let filter = query::Filter { at_ms: Some(self.honest.now_ms), ..query::Filter::default() };
        let offers = query::offers(self.honest.rows(), &filter, None, 99).unwrap().rows;
        let nonce = account::account(self.honest.rows(), &who(BUYER)).unwrap().nonce;
        let Some(offer) = offers.get(usize::from(pick) % offers.len().max(1)) else { return };
        let price = offer.terms.price;
        let signed = Order { price, ..order(&self.honest, BUYER, offer.id, nonce) }.sign(&key(BUYER));
        let _owned = self.honest.write(BUYER, vec![buy(signed)], vec![]);
    }

    /// The honest one and the notary tell each other all they have.
    fn hear(&mut self) {
        let (ours, theirs) = (news(&self.honest, &self.notary), news(&self.notary, &self.honest));
        assert_eq!(self.notary.ingest(&ours).fault, None);
        assert_eq!(self.honest.ingest(&theirs).fault, None);
        self.heard_ms = self.now_ms;
    }

    /// The other gets what the honest one and the notary have, on one of its branches.
    fn spy(&mut self, branch: usize) {
        for from in [&self.honest, &self.notary] {
            let told = news(from, &self.branches[branch]);
            self.branches[branch].ingest(&told);
        }
    }

    /// The other shows a branch to the notary or to the honest one.
    fn show(&mut self, branch: usize, to_notary: bool) {
        let to = if to_notary { &mut self.notary } else { &mut self.honest };
        let told = news(&self.branches[branch], to);
        assert_eq!(to.ingest(&told).fault, None);
    }

    /// The other signs an act that nobody has checked, dated as it likes.
    fn sign(&mut self, branch: usize, dated: u8, act: Transaction) {
        let author = self.other();
        let now_ms = match dated {
            0..100 => self.now_ms,
            100..180 => self.now_ms + DRIFT_MS,
            _ => self.now_ms - u64::from(dated) * 20_000,
        };
        let desk = &mut self.branches[branch];
        let prev = state::line_head(desk.rows(), &who(author)).unwrap();
        let Ok(draft) = link::draft(desk.rows(), desk.group, who(author), prev, now_ms, vec![act]) else { return };
        let block = draft.sign(&key(author)).block().clone();
        desk.ingest(&[block]);
    }

    /// What the other may want to say, by what its branch knows.
    fn lie(&self, branch: usize, kind: u8, pick: u8) -> Option<Transaction> {
        let desk = &self.branches[branch];
        let at = usize::from(pick);
        let purchases = query::sales_of(desk.rows(), &who(SELLER), None, 99).unwrap().rows;
        let (id, row) = purchases.get(at % purchases.len().max(1)).cloned()?;
        let secret = || secret(BUYER, row.deal.nonce);
        Some(match (self.who, kind) {
            (_, 0) => refund(id),
            (_, 1) => settle(id),
            (SELLER, 2..=4) => dispute(id, secret(), None),
            (SELLER, _) => dispute(id, secret(), package::prove(&goods(pick % 4).1, u32::from(pick % 3))),
            (_, 2 | 3) => grant(id, &row, &goods(1).0),
            (_, 4 | 5) => grant(id, &row, &goods(pick % 4).0),
            (_, 6) => junk(id),
            (_, 7) => revoke(row.deal.offer),
            _ => Transaction::MemberRemove(MemberRemove { identity: who(SELLER) }),
        })
    }

    /// What the other does with its tokens.
    fn spend(&self, branch: usize, pick: u8) -> Option<Transaction> {
        let desk = &self.branches[branch];
        if self.who == BUYER || pick < 60 {
            return Some(Transaction::Transfer(Transfer { to: who(3), amount: 900 }));
        }
        let offers = query::offers(desk.rows(), &query::Filter::default(), None, 99).unwrap().rows;
        let offer = &offers[usize::from(pick) % offers.len()];
        let nonce = account::account(desk.rows(), &who(BUYER)).unwrap().nonce;
        Some(buy(order(desk, BUYER, offer.id, nonce).sign(&key(BUYER))))
    }

    fn step(&mut self, (kind, pick, dated, later_ms): Step) {
        self.pass(later_ms);
        let branch = usize::from(pick) % self.branches.len();
        match kind {
            0..=3 => self.spy(branch),
            4..=7 => self.show(branch, true),
            8 | 9 => self.show(branch, false),
            10 if self.branches.len() < 3 => self.branches.push(self.branches[branch].copy()),
            11..=13 => {
                let _nothing_new = self.notary.seal();
            }
            14 | 15 => self.hear(),
            16..=19 if self.who == BUYER => self.order(pick),
            16..=19 => {
                if let Some(act) = self.spend(branch, pick) {
                    self.sign(branch, dated, act);
                }
            }
            20 if dated < 40 => {
                if let Some(act) = self.spend(branch, pick) {
                    self.sign(branch, dated, act);
                }
            }
            _ => {
                if let Some(act) = self.lie(branch, pick / 16 % 9, dated) {
                    self.sign(branch, pick, act);
                }
            }
        }
        self.tick();
    }

    /// All comes to an end: everybody hears everything, and time passes.
    fn finish(&mut self) {
        for _ in 0..8 {
            self.pass(HEARS_MS);
            (0..self.branches.len()).for_each(|branch| self.show(branch, true));
            let _nothing_new = self.notary.seal();
            self.hear();
            self.pass(limits::REFUND_MARGIN_MS + limits::OFFER_DISPUTE_MS.start());
            self.hear();
        }
        sound(self.notary.rows());
    }

    fn check(&self) {
        let rows = self.notary.rows();
        for id in &self.granted {
            let row = query::purchase(rows, id).unwrap();
            assert_eq!(row.as_ref().map(|row| row.status), Some(Settled), "the seller was robbed: {row:?}");
        }
        let mut paid = 0;
        for (id, row) in query::purchases_of(rows, &who(BUYER), None, 99).unwrap().rows {
            assert!(row.status.is_ended(), "{} hangs", row.status);
            if row.status == Settled {
                paid += row.deal.price;
                assert!(self.who == SELLER || self.opened.contains(&id), "the buyer has paid for nothing");
            }
        }
        assert!(self.who == SELLER || balance(&self.notary, BUYER) == 1_250 - paid);
    }
}

/// What is done, by which branch or about what, dated how, and how long after the last.
type Step = (u8, u8, u8, u64);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let later = prop_oneof![2 => Just(0), 3 => 0..HEARS_MS];
    prop::collection::vec((0..26u8, any::<u8>(), any::<u8>(), later), 20..90)
}

fn skew() -> impl Strategy<Value = i64> {
    let drift = DRIFT_MS as i64;
    prop_oneof![Just(-drift), Just(drift), -drift..drift]
}

fn run(honest: u8, skew_ms: i64, steps: Vec<Step>) -> Trade {
    let mut trade = Trade::new(honest, skew_ms);
    steps.into_iter().for_each(|step| trade.step(step));
    trade.finish();
    trade.check();
    trade
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn an_honest_seller_is_paid_for_every_key_that_it_has_given_out(skew_ms in skew(), steps in steps()) {
        run(SELLER, skew_ms, steps);
    }

    #[test]
    fn an_honest_buyer_pays_for_what_it_has_opened_and_for_nothing_else(skew_ms in skew(), steps in steps()) {
        run(BUYER, skew_ms, steps);
    }
}

/// Were nothing granted, disputed or given back, the properties would say nothing.
#[test]
fn the_histories_are_worth_something() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let (mut granted, mut ends) = (0, std::collections::BTreeSet::new());
    for seller in [true, false] {
        for _ in 0..40 {
            let (skew_ms, steps) = (skew(), steps()).new_tree(&mut runner).unwrap().current();
            let trade = run(if seller { SELLER } else { BUYER }, skew_ms, steps);
            granted += trade.granted.len();
            let rows = query::purchases_of(trade.notary.rows(), &who(BUYER), None, 99).unwrap().rows;
            ends.extend(rows.iter().filter_map(|(_, row)| Some((seller, row.end?.0.word()))));
        }
    }
    assert!(granted > 20, "{granted}");
    for end in [(true, "unopposed"), (true, "unfounded"), (false, "accepted"), (false, "not_granted")] {
        assert!(ends.contains(&end), "{end:?} is missing: {ends:?}");
    }
    assert!(ends.contains(&(false, "bad_key")) && ends.contains(&(false, "bad_chunk")), "{ends:?}");
}
