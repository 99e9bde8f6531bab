//! Each rule of the market refuses what it should, a price goes to one side, and lists show what there is.

mod apart;
mod lists;
mod price;
mod robbed;

use std::sync::LazyLock;

use super::query;
use super::rows::Ending::{self, Accepted, BadChunk, BadKey, NotGranted, Unfounded, Unopposed};
use super::rows::PurchaseRow;
use super::rows::PurchaseStatus::{self, Granted, Paid, Refunded, Settled};
use crate::chain::transaction::{
    Dispute, Grant, MemberAdd, MemberRemove, Mint, OfferCreate, OfferRevoke, Order, PolicyUpdate, Purchase, Refund,
    RoleSet, Royalty, Settle, Settlement, SignedOrder, Split,
};
use crate::chain::{OfferId, PurchaseId, Role, TermsHash, Transaction};
use crate::identity::OneTimeSecret;
use crate::kv::Memory;
use crate::ledger::{Refusal, account, invariants};
use crate::limits;
use crate::node::engine::{Failure, Written};
use crate::package::{self, ChunkProof, Commitment, PackageKey};
use crate::testing::desk::{Desk, NOW_MS, agreed, key, who};
use Role::{Admin, Member, Viewer};

const HOUR_MS: u64 = 3_600_000;
const PRICE: u64 = 100;

/// What is sold by an offer with a number: its key, its ciphertext, what the offer says of it.
fn goods(number: u8) -> (PackageKey, Vec<u8>, Commitment) {
    static GOODS: LazyLock<Vec<(PackageKey, Vec<u8>, Commitment)>> = LazyLock::new(|| (0..10).map(made).collect());
    GOODS[usize::from(number)].clone()
}

fn made(number: u8) -> (PackageKey, Vec<u8>, Commitment) {
    let key = PackageKey::from_bytes([number; 32]);
    let content = vec![number; limits::PACKAGE_CHUNK_BYTES + 9];
    let (ciphertext, commitment) = package::encrypt(&key, &content).unwrap();
    (key, ciphertext, commitment)
}

/// An offer without anything that may be left out.
fn plain(number: u8) -> OfferCreate {
    OfferCreate {
        title: format!("Offer {number}"),
        description: None,
        tags: vec![],
        price: PRICE,
        splits: vec![],
        royalties: vec![],
        expires_ms: None,
        settle: Settlement::Sealed,
        grant_within_ms: HOUR_MS,
        dispute_within_ms: HOUR_MS,
        package: goods(number).2,
    }
}

/// The one-time secret of a buyer's order with a number.
fn secret(buyer: u8, nonce: u64) -> OneTimeSecret {
    OneTimeSecret::from_bytes([0x40 + buyer * 16 + nonce as u8; 32])
}

/// An order as its buyer signs it.
fn order(desk: &Desk, buyer: u8, offer: OfferId, nonce: u64) -> Order {
    let (seller, terms) = agreed(desk.rows(), &offer);
    Order {
        version: 1,
        group: desk.group,
        buyer: who(buyer),
        offer,
        seller,
        terms,
        price: PRICE,
        nonce,
        expires_ms: desk.now_ms + HOUR_MS,
        key: secret(buyer, nonce).key(),
    }
}

fn buy(order: SignedOrder) -> Transaction {
    Transaction::Purchase(Purchase { order })
}

fn grant(purchase: PurchaseId, row: &PurchaseRow, key: &PackageKey) -> Transaction {
    Transaction::Grant(Grant::seal(purchase, &row.deal.key, key, &[3; 32]).unwrap())
}

fn settle(purchase: PurchaseId) -> Transaction {
    Transaction::Settle(Settle { purchase })
}

fn refund(purchase: PurchaseId) -> Transaction {
    Transaction::Refund(Refund { purchase })
}

fn dispute(purchase: PurchaseId, secret: OneTimeSecret, chunk: Option<ChunkProof>) -> Transaction {
    Transaction::Dispute(Dispute { purchase, secret, chunk })
}

fn revoke(offer: OfferId) -> Transaction {
    Transaction::OfferRevoke(OfferRevoke { offer })
}

fn set(number: u8, role: Role) -> Transaction {
    Transaction::RoleSet(RoleSet { identity: who(number), role })
}

fn out(number: u8) -> Transaction {
    Transaction::MemberRemove(MemberRemove { identity: who(number) })
}

fn policy(update: PolicyUpdate) -> Transaction {
    Transaction::PolicyUpdate(update)
}

/// What holds after every block.
#[track_caller]
fn sound(kv: &Memory) {
    assert_eq!(invariants::check(kv).unwrap(), []);
}

/// A group of the admins 0 and 4, the members 1 and 2, the viewer 3, and 6, who only has an account. 2, 3 and 6 have 250 tokens each.
fn town() -> Desk {
    let mut desk = Desk::founded();
    let add = |number, role| Transaction::MemberAdd(MemberAdd { identity: who(number), role });
    let mint = |number| Transaction::Mint(Mint { to: who(number), amount: 250 });
    let fee = PolicyUpdate { transfer_fee_bps: Some(250), ..PolicyUpdate::default() };
    let mut acts = vec![add(1, Member), add(2, Member), add(3, Viewer), add(4, Admin), policy(fee)];
    acts.extend([2, 3, 6].map(mint));
    desk.write(0, acts, vec![]).unwrap();
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
fn offer(desk: &mut Desk, seller: u8, terms: OfferCreate) -> OfferId {
    let written = act(desk, seller, Transaction::OfferCreate(terms)).unwrap();
    OfferId::derive(*written.blocks.last().unwrap(), 0)
}

/// Buys an offer with the buyer's next number.
#[track_caller]
fn bought(desk: &mut Desk, buyer: u8, offer: OfferId) -> PurchaseId {
    let nonce = account::account(desk.rows(), &who(buyer)).unwrap().nonce;
    let signed = order(desk, buyer, offer, nonce).sign(&key(buyer));
    let id = signed.id();
    act(desk, if buyer == 6 { 2 } else { buyer }, buy(signed)).unwrap();
    id
}

#[track_caller]
fn seal(desk: &mut Desk) {
    desk.seal().unwrap();
    sound(desk.rows());
}

#[track_caller]
fn row(desk: &Desk, id: &PurchaseId) -> PurchaseRow {
    query::purchase(desk.rows(), id).unwrap().unwrap()
}

fn balance(desk: &Desk, number: u8) -> u64 {
    account::account(desk.rows(), &who(number)).unwrap().balance
}

/// A line of a story about the offer 1 of the member 1, and the purchase of it that was made last.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "a few lines in a table")]
enum Line {
    Offer(u8),
    /// The same with other terms.
    Terms(fn(&mut OfferCreate)),
    /// The author hands in the order of the buyer, with its number.
    Buy(u8, u8, u64),
    /// The buyer's order is changed before it is signed.
    Odd(u8, fn(&mut Order)),
    /// The author grants with the key of an offer with a number.
    Grant(u8, u8),
    /// The author grants bytes that open to nothing.
    Junk(u8),
    Settle(u8),
    Refund(u8),
    /// The author disputes with the buyer's secret.
    Dispute(u8),
    /// The same with a chunk.
    Chunk(u8, u32),
    Revoke(u8),
    Do(u8, Transaction),
    Seal,
    Later(u64),
}
use Line::{Buy, Chunk, Do, Junk, Later, Odd, Revoke, Seal, Terms};

/// How the purchase stands at the end; or the code of what the last line is refused with.
type Ends = Result<(PurchaseStatus, Option<Ending>), &'static str>;

/// What a story has come to.
struct Story {
    desk: Desk,
    offer: OfferId,
    purchase: PurchaseId,
    /// The buyer of the last order, and its number.
    last: (u8, u64),
}

impl Story {
    fn line(&mut self, line: &Line) -> Result<(), Refusal> {
        let purchase = self.purchase;
        let known = query::purchase(self.desk.rows(), &purchase).unwrap();
        let secret = secret(self.last.0, self.last.1);
        let (author, transaction) = match line {
            Later(ms) => {
                self.desk.now_ms += ms;
                return Ok(());
            }
            Seal => {
                seal(&mut self.desk);
                return Ok(());
            }
            Line::Offer(seller) => return self.offer(*seller, plain(1)),
            Terms(change) => {
                let mut terms = plain(1);
                change(&mut terms);
                return self.offer(1, terms);
            }
            Buy(author, buyer, nonce) => {
                return self.buy(*author, order(&self.desk, *buyer, self.offer, *nonce), *buyer);
            }
            Odd(buyer, change) => {
                let mut order = order(&self.desk, *buyer, self.offer, 0);
                change(&mut order);
                return self.buy(*buyer, order, *buyer);
            }
            Line::Grant(author, number) => {
                let Some(row) = known else { return self.act(*author, junk(purchase)) };
                (*author, grant(purchase, &row, &goods(*number).0))
            }
            Junk(author) => (*author, junk(purchase)),
            Line::Settle(author) => (*author, settle(purchase)),
            Line::Refund(author) => (*author, refund(purchase)),
            Line::Dispute(author) => (*author, dispute(purchase, secret, None)),
            Chunk(author, index) => (*author, dispute(purchase, secret, package::prove(&goods(1).1, *index))),
            Revoke(author) => (*author, revoke(self.offer)),
            Do(author, transaction) => (*author, transaction.clone()),
        };
        self.act(author, transaction)
    }

    fn act(&mut self, author: u8, transaction: Transaction) -> Result<(), Refusal> {
        act(&mut self.desk, author, transaction).map(|_| ())
    }

    fn offer(&mut self, seller: u8, terms: OfferCreate) -> Result<(), Refusal> {
        let written = act(&mut self.desk, seller, Transaction::OfferCreate(terms))?;
        self.offer = OfferId::derive(*written.blocks.last().unwrap(), 0);
        Ok(())
    }

    fn buy(&mut self, author: u8, order: Order, buyer: u8) -> Result<(), Refusal> {
        let signed = order.sign(&key(buyer));
        let id = signed.id();
        self.act(author, buy(signed))?;
        (self.purchase, self.last) = (id, (buyer, order.nonce));
        Ok(())
    }
}

fn junk(purchase: PurchaseId) -> Transaction {
    Transaction::Grant(Grant { purchase, sealed_key: serde_bytes::ByteBuf::from(vec![7; 80]) })
}

#[track_caller]
fn tell(lines: &[Line]) -> Result<Story, &'static str> {
    let nothing = [0; 32];
    let (offer, purchase) = (OfferId::from_bytes(nothing), PurchaseId::from_bytes(nothing));
    let mut story = Story { desk: town(), offer, purchase, last: (2, 0) };
    for (number, line) in lines.iter().enumerate() {
        if let Err(refusal) = story.line(line) {
            assert_eq!(number + 1, lines.len(), "refused too early: {line:?}: {refusal}");
            let sentence = refusal.to_string();
            assert!(sentence.contains(": ") || refusal.code() == "not_a_member", "says what to do: {sentence}");
            return Err(refusal.code());
        }
    }
    Ok(story)
}

#[track_caller]
fn ends(lines: &[Line]) -> Ends {
    tell(lines).map(|story| {
        let row = row(&story.desk, &story.purchase);
        (row.status, row.end.map(|(ending, _)| ending))
    })
}

/// The offer, bought by 2, and final.
fn sold() -> Vec<Line> {
    vec![Line::Offer(1), Buy(2, 2, 0), Seal]
}

/// The same, and granted with the right key, which is final too.
fn granted() -> Vec<Line> {
    [sold(), vec![Line::Grant(1, 1), Seal]].concat()
}

fn then(mut first: Vec<Line>, more: &[Line]) -> Vec<Line> {
    first.extend_from_slice(more);
    first
}

#[test]
fn who_may_offer_and_buy() {
    let small = || PolicyUpdate { max_account_balance: Some(1), ..PolicyUpdate::default() };
    let table: Vec<(Vec<Line>, Ends)> = vec![
        (vec![Line::Offer(3)], Err("viewer_cannot_write")),
        (vec![Line::Offer(6)], Err("not_a_member")),
        (
            vec![Terms(|terms| terms.royalties = vec![Royalty { offer: OfferId::from_bytes([1; 32]), bps: 1 }])],
            Err("no_such_offer"),
        ),
        (vec![Line::Offer(1), Buy(2, 2, 0)], Ok((Paid, None))),
        // A viewer buys, and who only has an account does so by handing its order in, to a viewer as well.
        (vec![Line::Offer(1), Buy(3, 3, 0)], Ok((Paid, None))),
        (vec![Line::Offer(1), Buy(2, 6, 0)], Ok((Paid, None))),
        (vec![Line::Offer(1), Buy(3, 6, 0)], Ok((Paid, None))),
        (vec![Line::Offer(1), Buy(1, 2, 0)], Ok((Paid, None))),
        (vec![Line::Offer(1), Buy(6, 6, 0)], Err("not_a_member")),
        (vec![Buy(2, 2, 0)], Err("no_such_offer")),
        (vec![Line::Offer(1), Buy(1, 1, 0)], Err("own_offer")),
        // One order is one purchase, and one offer is bought once.
        (vec![Line::Offer(1), Buy(2, 2, 0), Buy(1, 2, 0)], Err("already_placed")),
        (vec![Line::Offer(1), Buy(2, 2, 0), Buy(2, 2, 1)], Err("already_bought")),
        (then(granted(), &[Line::Settle(2), Buy(2, 2, 1)]), Err("already_bought")),
        // The next number, and no other.
        (vec![Line::Offer(1), Buy(2, 2, 1)], Err("wrong_nonce")),
        (vec![Line::Offer(1), Buy(2, 2, 0), Line::Offer(1), Buy(2, 2, 0)], Err("wrong_nonce")),
        (vec![Line::Offer(1), Buy(2, 2, 0), Line::Offer(1), Buy(2, 2, 2)], Err("wrong_nonce")),
        (vec![Line::Offer(1), Buy(2, 2, 0), Line::Offer(1), Buy(2, 2, 1)], Ok((Paid, None))),
        // The price, and enough for it.
        (vec![Line::Offer(1), Odd(2, |order| order.price = PRICE - 1)], Err("price_differs")),
        (vec![Line::Offer(1), Odd(2, |order| order.price = PRICE + 1)], Err("price_differs")),
        (vec![Terms(|terms| terms.price = 250), Odd(2, |order| order.price = 250)], Ok((Paid, None))),
        (vec![Terms(|terms| terms.price = 251), Odd(2, |order| order.price = 251)], Err("insufficient_balance")),
        (vec![Terms(|terms| terms.price = 0), Odd(4, |order| order.price = 0)], Ok((Paid, None))),
        (vec![Line::Offer(1), Do(0, policy(small())), Buy(2, 2, 0)], Ok((Paid, None))),
        // Its seller and its terms, to the last word.
        (vec![Line::Offer(1), Odd(2, |order| order.seller = who(4))], Err("seller_differs")),
        (vec![Line::Offer(1), Odd(2, |order| order.terms = TermsHash::from_bytes([1; 32]))], Err("terms_differ")),
        // In time.
        (vec![Line::Offer(1), Odd(2, |order| order.expires_ms = NOW_MS)], Ok((Paid, None))),
        (vec![Line::Offer(1), Odd(2, |order| order.expires_ms = NOW_MS - 1)], Err("order_expired")),
        (vec![Terms(|terms| terms.expires_ms = Some(NOW_MS + 1)), Later(1), Buy(2, 2, 0)], Ok((Paid, None))),
        (vec![Terms(|terms| terms.expires_ms = Some(NOW_MS + 1)), Later(2), Buy(2, 2, 0)], Err("offer_expired")),
        // Revoked by its seller or an admin, once, for purchases to come.
        (vec![Line::Offer(1), Revoke(1), Buy(2, 2, 0)], Err("offer_revoked")),
        (vec![Line::Offer(1), Revoke(4), Buy(2, 2, 0)], Err("offer_revoked")),
        (vec![Line::Offer(1), Revoke(2)], Err("not_your_offer")),
        (vec![Line::Offer(1), Revoke(1), Revoke(1)], Err("offer_revoked")),
        (vec![Line::Offer(1), Do(0, set(1, Viewer)), Revoke(1), Buy(2, 2, 0)], Err("offer_revoked")),
        (vec![Revoke(1)], Err("no_such_offer")),
        (then(sold(), &[Revoke(1), Line::Grant(1, 1), Line::Settle(2)]), Ok((Settled, Some(Accepted)))),
        // Of who is there.
        (vec![Line::Offer(1), Do(0, out(1)), Buy(2, 2, 0)], Err("seller_gone")),
        (vec![Line::Offer(1), Do(0, out(2)), Buy(3, 2, 0)], Ok((Paid, None))),
    ];
    for (lines, expected) in table {
        assert_eq!(ends(&lines), expected, "{lines:?}");
    }
}

#[test]
#[allow(clippy::too_many_lines, reason = "one table")]
fn who_may_grant_settle_refund_and_dispute() {
    let margin = limits::REFUND_MARGIN_MS;
    let table: Vec<(Vec<Line>, Ends)> = vec![
        // Granting: by the seller, once, when it is final, in time.
        (then(sold(), &[Line::Grant(1, 1)]), Ok((Granted, None))),
        (then(sold(), &[Line::Grant(2, 1)]), Err("not_the_seller")),
        (then(sold(), &[Line::Grant(0, 1)]), Err("not_the_seller")),
        (then(sold(), &[Line::Grant(1, 1), Line::Grant(1, 1)]), Err("already_granted")),
        (vec![Line::Offer(1), Buy(2, 2, 0), Line::Grant(1, 1)], Err("not_final")),
        (vec![Terms(|terms| terms.settle = Settlement::AtOnce), Buy(2, 2, 0), Line::Grant(1, 1)], Ok((Granted, None))),
        (then(sold(), &[Later(HOUR_MS), Line::Grant(1, 1)]), Ok((Granted, None))),
        (then(sold(), &[Later(HOUR_MS + 1), Line::Grant(1, 1)]), Err("grant_too_late")),
        (vec![Line::Offer(1), Line::Grant(1, 1)], Err("no_such_purchase")),
        (then(sold(), &[Do(0, out(1)), Line::Grant(1, 1)]), Err("not_a_member")),
        (then(sold(), &[Do(0, set(1, Viewer)), Line::Grant(1, 1)]), Ok((Granted, None))),
        // Settling: by the buyer at once, by others when its time is over and the seal comes.
        (vec![Line::Offer(1), Buy(2, 2, 0), Line::Settle(2)], Err("not_granted")),
        (then(sold(), &[Line::Grant(1, 1), Line::Settle(2)]), Ok((Settled, Some(Accepted)))),
        (then(sold(), &[Line::Grant(1, 1), Line::Settle(1)]), Err("not_final")),
        (then(granted(), &[Line::Settle(1)]), Err("too_early")),
        (then(granted(), &[Later(HOUR_MS - 1), Line::Settle(1)]), Err("too_early")),
        (then(granted(), &[Later(HOUR_MS), Line::Settle(1)]), Ok((Granted, None))),
        (then(granted(), &[Later(HOUR_MS), Line::Settle(1), Line::Settle(4)]), Err("already_asked")),
        (then(granted(), &[Later(HOUR_MS), Line::Settle(1), Seal]), Ok((Settled, Some(Unopposed)))),
        (then(granted(), &[Later(HOUR_MS), Line::Settle(3), Seal]), Ok((Settled, Some(Unopposed)))),
        (then(granted(), &[Later(HOUR_MS), Line::Settle(1), Line::Settle(2)]), Ok((Settled, Some(Accepted)))),
        (then(granted(), &[Later(HOUR_MS), Line::Settle(6)]), Err("not_a_member")),
        (then(granted(), &[Line::Settle(2), Line::Settle(2)]), Err("purchase_ended")),
        (then(granted(), &[Do(0, out(1)), Later(HOUR_MS), Line::Settle(4), Seal]), Ok((Settled, Some(Unopposed)))),
        // Refunding: when the time to grant is over, and a margin, and the seal comes.
        (then(sold(), &[Line::Refund(2)]), Err("too_early")),
        (then(sold(), &[Later(HOUR_MS + margin - 1), Line::Refund(2)]), Err("too_early")),
        (then(sold(), &[Later(HOUR_MS + margin), Line::Refund(2)]), Ok((Paid, None))),
        (then(sold(), &[Later(HOUR_MS + margin), Line::Refund(2), Seal]), Ok((Refunded, Some(NotGranted)))),
        (then(sold(), &[Later(HOUR_MS + margin), Line::Refund(4), Seal]), Ok((Refunded, Some(NotGranted)))),
        (then(sold(), &[Later(HOUR_MS + margin), Line::Refund(2), Line::Refund(4)]), Err("already_asked")),
        (then(sold(), &[Later(HOUR_MS + margin), Line::Refund(2), Seal, Line::Refund(2)]), Err("purchase_ended")),
        (then(sold(), &[Later(HOUR_MS + margin), Line::Refund(2), Seal, Line::Grant(1, 1)]), Err("purchase_ended")),
        (then(granted(), &[Later(10 * HOUR_MS), Line::Refund(2)]), Err("already_granted")),
        (vec![Line::Offer(1), Buy(2, 2, 0), Later(10 * HOUR_MS), Line::Refund(2)], Err("not_final")),
        (vec![Line::Refund(2)], Err("no_such_purchase")),
        (
            // Given back, it can be bought again.
            then(sold(), &[Later(HOUR_MS + margin), Line::Refund(2), Seal, Buy(2, 2, 1)]),
            Ok((Paid, None)),
        ),
        // Disputing: with the secret, behind the grant, until it ends; whoever hands it in.
        (then(sold(), &[Line::Dispute(2)]), Err("not_granted")),
        (then(sold(), &[Line::Grant(1, 9), Line::Dispute(2)]), Ok((Refunded, Some(BadKey)))),
        (then(sold(), &[Junk(1), Line::Dispute(2)]), Ok((Refunded, Some(BadKey)))),
        (then(sold(), &[Junk(1), Do(0, out(2)), Line::Dispute(3)]), Ok((Refunded, Some(BadKey)))),
        (then(sold(), &[Junk(1), Seal, Later(10 * HOUR_MS), Line::Dispute(2)]), Ok((Refunded, Some(BadKey)))),
        (then(granted(), &[Line::Dispute(2)]), Ok((Settled, Some(Unfounded)))),
        (then(granted(), &[Chunk(2, 0)]), Ok((Settled, Some(Unfounded)))),
        (then(granted(), &[Line::Settle(2), Line::Dispute(2)]), Err("purchase_ended")),
        (then(granted(), &[Line::Dispute(2), Line::Settle(2)]), Err("purchase_ended")),
        (
            // A settlement that was asked for falls to a dispute in the same epoch, though it stands behind it.
            then(sold(), &[Junk(1), Seal, Later(HOUR_MS), Line::Settle(1), Line::Dispute(2), Seal]),
            Ok((Refunded, Some(BadKey))),
        ),
    ];
    for (lines, expected) in table {
        assert_eq!(ends(&lines), expected, "{lines:?}");
    }
    let desk = tell(&granted()).unwrap();
    let wrong = dispute(desk.purchase, secret(3, 0), None);
    assert_eq!(ends(&then(granted(), &[Do(2, wrong)])), Err("wrong_secret"));
}

#[test]
fn a_package_with_a_false_chunk_is_given_back_and_no_other() {
    let (key, mut ciphertext, _) = goods(1);
    ciphertext[limits::PACKAGE_CHUNK_BYTES + 20] ^= 1;
    // A seller who sells garbage must name its root.
    let leaves = package::prove(&ciphertext, 1).unwrap();
    let garbage = Commitment { package: root(&leaves), ..goods(1).2 };
    assert!(package::check_ciphertext(&garbage, &ciphertext).is_ok());
    let mut desk = town();
    let offer = offer(&mut desk, 1, OfferCreate { package: garbage, ..plain(1) });
    let id = bought(&mut desk, 2, offer);
    seal(&mut desk);
    let given = grant(id, &row(&desk, &id), &key);
    act(&mut desk, 1, given).unwrap();
    let opened = package::open(&garbage, &key, &ciphertext);
    assert_eq!(opened, Err(package::PackageError::Chunk(1)));
    // The good chunk shows nothing, nor does the bad one of another package.
    let copy = || {
        let mut copy = desk.copy();
        copy.now_ms = desk.now_ms;
        copy
    };
    for (chunk, ending) in [
        (package::prove(&ciphertext, 1), BadChunk),
        (package::prove(&ciphertext, 0), Unfounded),
        (package::prove(&goods(1).1, 1), Unfounded),
        (None, Unfounded),
    ] {
        let mut desk = copy();
        act(&mut desk, 2, dispute(id, secret(2, 0), chunk)).unwrap();
        assert_eq!(row(&desk, &id).end.unwrap().0, ending);
        assert_eq!(balance(&desk, 2), if ending == BadChunk { 250 } else { 150 });
    }
}

/// The root that a chunk of a package of two leads to.
fn root(proof: &ChunkProof) -> package::PackageHash {
    let join = |left: &[u8], right: &[u8]| {
        let mut hasher = blake3::Hasher::new_derive_key("lbm package node 1");
        hasher.update(left);
        hasher.update(right);
        package::PackageHash::from_bytes(*hasher.finalize().as_bytes())
    };
    let leaf = blake3::derive_key("lbm package leaf 1", &proof.chunk);
    join(proof.path[0].as_bytes(), &leaf)
}

#[test]
fn forms_are_bounded() {
    let bad = |change: fn(&mut OfferCreate)| {
        let mut terms = plain(1);
        change(&mut terms);
        Transaction::OfferCreate(terms).check().is_err()
    };
    let part = |number: u8, bps| Split { to: who(number), bps };
    let ascending = |mut splits: Vec<Split>| {
        splits.sort_by_key(|split| split.to);
        splits
    };
    assert!(Transaction::OfferCreate(plain(1)).check().is_ok());
    assert!(bad(|terms| terms.title = "two\nlines".into()));
    assert!(bad(|terms| terms.price = limits::AMOUNT_MAX + 1));
    assert!(bad(|terms| terms.package.content_bytes = 0));
    assert!(bad(|terms| terms.package.content_bytes = limits::PACKAGE_BYTES as u32 + 1));
    assert!(bad(|terms| terms.grant_within_ms = 59_999));
    assert!(bad(|terms| terms.dispute_within_ms = 899_999));
    assert!(bad(|terms| terms.tags = vec!["b".into(), "a".into()]));
    let with = |splits: Vec<Split>| Transaction::OfferCreate(OfferCreate { splits, ..plain(1) }).check().is_ok();
    assert!(with(ascending(vec![part(1, 4_000), part(2, 6_000)])));
    assert!(!with(ascending(vec![part(1, 4_000), part(2, 5_999)])));
    assert!(!with(ascending(vec![part(1, 4_000), part(2, 6_001)])));
    assert!(!with(vec![part(1, 5_000), part(1, 5_000)]), "one twice");
    assert!(!with(ascending(vec![part(1, 10_000), part(2, 0)])));
    let royalties = |parts: &[(u8, u64)]| {
        let royalties = parts.iter().map(|(id, bps)| Royalty { offer: OfferId::from_bytes([*id; 32]), bps: *bps });
        Transaction::OfferCreate(OfferCreate { royalties: royalties.collect(), ..plain(1) }).check().is_ok()
    };
    assert!(royalties(&[(1, 4_000), (2, 6_000)]));
    assert!(!royalties(&[(1, 4_000), (2, 6_001)]));
    assert!(!royalties(&[(2, 1), (1, 1)]));
    let many: Vec<(u8, u64)> = (0..limits::OFFER_ROYALTIES as u8).map(|id| (id, 1)).collect();
    assert!(royalties(&many));
    assert!(!royalties(&[many.as_slice(), &[(99, 1)]].concat()));
}

#[test]
fn an_order_is_its_buyers_for_its_group() {
    let desk = town();
    let offer = OfferId::from_bytes([1; 32]);
    let good = order(&desk, 2, offer, 0).sign(&key(2));
    assert!(good.check().is_ok());
    assert!(good.encode().len() <= limits::ORDER_BYTES + 128);
    assert_eq!(SignedOrder::decode(&good.encode()).as_ref(), Ok(&good));
    // Another's signature: the bytes are changed under it.
    let mut bytes = good.encode();
    let at = bytes.len() - 1;
    bytes[at] ^= 1;
    assert!(SignedOrder::decode(&bytes).unwrap().check().is_err());
    let weak = Order { key: crate::identity::OneTimeKey::from_bytes([0; 32]), ..*good.order() };
    assert!(weak.sign(&key(2)).check().is_err());
    let newer = Order { version: 2, ..*good.order() };
    assert!(newer.sign(&key(2)).check().is_err());
    let costly = Order { price: limits::AMOUNT_MAX + 1, ..*good.order() };
    assert!(costly.sign(&key(2)).check().is_err());
}
