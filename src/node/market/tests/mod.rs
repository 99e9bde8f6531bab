//! Markets that talk to one another, without disk and network; and one that talks to liars.

mod packages;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::book::tests::{group, key, offer_id, offered, record, standing};
use super::io::OwnOffer;
use super::*;
use crate::announcement::{Announcement, Says, Verified};
use crate::node::io::{InboundId, NoAnswer};
use crate::wire::market::Catalogue;

const START_MS: u64 = 1_800_000_000_000;
const DRIFT_MS: u64 = 300_000;

/// One market, and what it has said since it was last looked at.
struct One {
    market: Market,
    me: u16,
    now_ms: u64,
    rng: StdRng,
    said: Vec<Output>,
}

impl One {
    fn new(me: u16) -> Self {
        Self { market: Market::default(), me, now_ms: 0, rng: StdRng::seed_from_u64(u64::from(me)), said: Vec::new() }
    }

    fn id(&self) -> Identity {
        key(self.me).identity()
    }

    /// Lets something happen, signs what is to be signed, and keeps the rest of what it says.
    fn step(&mut self, input: Input) {
        let mut todo = VecDeque::from([input]);
        while let Some(input) = todo.pop_front() {
            let around = Around {
                now_ms: self.now_ms,
                clock_ms: START_MS + self.now_ms,
                drift_ms: DRIFT_MS,
                is_member: &|_, _| false,
            };
            let mut out = Vec::new();
            self.market.step(&around, &mut self.rng, input, &mut out);
            self.market.act_on_time(self.now_ms, &mut self.rng, &mut out);
            self.keep(out, &mut todo);
        }
    }

    /// Lets time pass, up to when the market wants to be woken last before.
    fn pass(&mut self, ms: u64) {
        let end_ms = self.now_ms + ms;
        let mut wakes = 0;
        while let Some(at_ms) = self.market.next_wake_ms().filter(|at_ms| *at_ms <= end_ms) {
            self.now_ms = at_ms.max(self.now_ms);
            self.tick();
            wakes += 1;
            assert!(wakes < 10_000, "it wakes without end");
        }
        self.now_ms = end_ms;
        self.tick();
    }

    fn tick(&mut self) {
        let (mut out, mut todo) = (Vec::new(), VecDeque::new());
        self.market.act_on_time(self.now_ms, &mut self.rng, &mut out);
        self.keep(out, &mut todo);
        todo.into_iter().for_each(|input| self.step(input));
    }

    fn keep(&mut self, out: Vec<Output>, todo: &mut VecDeque<Input>) {
        for output in out {
            match output {
                Output::Sign(announcement) => {
                    let time_ms = announcement.time_ms.max(START_MS + self.now_ms);
                    let signed = Announcement { time_ms, ..announcement }.sign(&key(self.me)).unwrap();
                    todo.push_back(Input::Signed(signed));
                }
                output => self.said.push(output),
            }
        }
    }

    fn offer(&mut self, number: u16) {
        let offered = offered("For sale", 5, &["tag"]);
        let seller = self.id();
        self.step(Input::Offer(OwnOffer { group: group(), offer: offer_id(number), seller, offered }));
    }

    fn withdraw(&mut self, number: u16) {
        let seller = self.id();
        self.step(Input::Withdraw { group: group(), offer: offer_id(number), seller });
    }

    fn offers(&mut self) -> usize {
        let clock_ms = START_MS + self.now_ms;
        self.market.book(clock_ms).page(&Filter::default(), None, 1_000).0.len()
    }

    fn connect(&mut self, peer: u16) {
        self.market.connected(self.now_ms, key(peer).identity());
        self.tick();
    }

    fn gossip(&mut self, peer: u16, bytes: Vec<u8>) -> (Acceptance, Vec<Severity>) {
        let before = self.said.len();
        self.step(Input::Gossip { peer: key(peer).identity(), id: GossipId(7), bytes });
        let said = self.said.split_off(before);
        let judged = said.iter().find_map(|output| match output {
            Output::Judge(GossipId(7), acceptance) => Some(*acceptance),
            _ => None,
        });
        let blamed = said.iter().filter_map(|output| match output {
            Output::Blame(who, severity, _) if *who == key(peer).identity() => Some(*severity),
            _ => None,
        });
        (judged.expect("each announcement is judged"), blamed.collect())
    }

    /// The questions that it has asked since, and of whom.
    fn asks(&mut self) -> Vec<(Ticket, Identity, Request)> {
        let mut asks = Vec::new();
        for output in std::mem::take(&mut self.said) {
            match output {
                Output::Ask { ticket, peer, request } => asks.push((ticket, peer, request)),
                output => self.said.push(output),
            }
        }
        asks
    }

    fn answer(&mut self, ticket: Ticket, result: Result<Response, NoAnswer>) {
        self.step(Input::Answered { ticket, result });
    }

    fn blames(&mut self) -> Vec<(Identity, Severity)> {
        let said = std::mem::take(&mut self.said);
        let blame = |output| match output {
            Output::Blame(peer, severity, _) => Some((peer, severity)),
            _ => None,
        };
        said.into_iter().filter_map(blame).collect()
    }
}

/// Markets with links between them. Packages and gossip travel at once.
struct Street {
    markets: Vec<One>,
    links: BTreeSet<(usize, usize)>,
    /// Pages and short answers that travelled.
    pages: usize,
    same: usize,
}

impl Street {
    fn new(count: u16) -> Self {
        Self { markets: (0..count).map(One::new).collect(), links: BTreeSet::new(), pages: 0, same: 0 }
    }

    fn link(&mut self, one: usize, other: usize) {
        self.links.extend([(one, other), (other, one)]);
        self.markets[one].connect(other as u16);
        self.markets[other].connect(one as u16);
        self.run();
    }

    fn at(&self, id: &Identity) -> usize {
        self.markets.iter().position(|market| market.id() == *id).unwrap()
    }

    fn neighbours(&self, of: usize) -> Vec<usize> {
        self.links.iter().filter(|(from, _)| *from == of).map(|(_, to)| *to).collect()
    }

    /// Delivers all that is said, and what is said to that.
    fn run(&mut self) {
        for _ in 0..10_000 {
            let Some(from) = (0..self.markets.len()).find(|at| !self.markets[*at].said.is_empty()) else { return };
            match self.markets[from].said.remove(0) {
                Output::Publish(bytes) => self.spread(from, from, &bytes),
                Output::Ask { ticket, peer, request } => {
                    let (to, peer) = (self.at(&peer), self.markets[from].id());
                    self.markets[to].step(Input::Asked { peer, id: InboundId(1), request });
                    let Some(Output::Answer { response, .. }) = self.markets[to].said.pop() else {
                        panic!("no answer")
                    };
                    match &response {
                        Response::Page(_) => self.pages += 1,
                        Response::Same => self.same += 1,
                        other => panic!("{other:?}"),
                    }
                    self.markets[from].answer(ticket, Ok(response));
                }
                Output::Blame(peer, _, what) => panic!("{} is blamed for {what}", self.at(&peer)),
                _ => {}
            }
        }
        panic!("they talk without end");
    }

    fn spread(&mut self, from: usize, not_to: usize, bytes: &[u8]) {
        for to in self.neighbours(from).into_iter().filter(|to| *to != not_to) {
            let (acceptance, blamed) = self.markets[to].gossip(from as u16, bytes.to_vec());
            assert!(blamed.is_empty());
            if acceptance == Acceptance::Accept {
                self.spread(to, from, bytes);
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        for at in 0..self.markets.len() {
            self.markets[at].pass(ms);
        }
        self.run();
    }

    fn offers(&mut self) -> Vec<usize> {
        self.markets.iter_mut().map(One::offers).collect()
    }
}

#[test]
fn an_offer_reaches_everybody_and_goes_when_it_is_withdrawn() {
    let mut street = Street::new(4);
    street.link(0, 1);
    street.link(1, 2);
    street.markets[0].offer(1);
    street.run();
    assert_eq!(street.offers(), [1, 1, 1, 0]);
    street.link(2, 3);
    assert_eq!(street.offers(), [1, 1, 1, 1], "who comes late asks");
    street.markets[0].withdraw(1);
    street.run();
    assert_eq!(street.offers(), [0, 0, 0, 0]);
}

#[test]
fn an_offer_stands_as_long_as_its_seller_does_and_a_day_longer() {
    let mut street = Street::new(3);
    street.link(0, 1);
    street.link(1, 2);
    street.markets[0].offer(1);
    street.run();
    for _ in 0..40 {
        street.pass(3_600_000);
    }
    assert_eq!(street.offers(), [1, 1, 1], "announced again and again");
    street.links.retain(|(from, to)| *from != 0 && *to != 0);
    for hour in 0..26 {
        let known = if hour < 24 { 1 } else { 0 };
        assert_eq!(street.offers(), [1, known, known], "{hour} hours after its seller went");
        street.markets[1].pass(3_600_000);
        street.markets[2].pass(3_600_000);
        street.markets.iter_mut().for_each(|market| market.said.clear());
    }
}

#[test]
fn catalogues_are_pulled_in_pages_and_equal_ones_are_not_sent() {
    let mut street = Street::new(3);
    let count = u16::try_from(2 * limits::CATALOGUE_RECORDS + 10).unwrap();
    for number in 0..count {
        street.markets[0].offer(number);
        street.markets[0].pass(250);
    }
    street.run();
    street.link(0, 1);
    assert_eq!(
        (street.markets[1].offers(), street.pages),
        (usize::from(count), 4),
        "three pages one way, an empty one the other"
    );
    (street.pages, street.same) = (0, 0);
    street.link(0, 2);
    street.link(1, 2);
    assert_eq!(street.markets[2].offers(), usize::from(count));
    assert_eq!((street.pages, street.same), (4, 2), "of the second neighbour it needs nothing");
    (street.pages, street.same) = (0, 0);
    street.pass(limits::CATALOGUE_INTERVAL_MS);
    assert!(street.pages == 0 && street.same >= 6, "and all ask again after a while: {}", street.same);
}

#[test]
fn what_is_announced_before_gossip_counts_a_new_peer_reaches_it_all_the_same() {
    let mut street = Street::new(2);
    street.link(0, 1);
    // Gossip has no way to the second yet; somebody asks at once, and once is not enough.
    street.links.clear();
    street.markets[0].offer(1);
    street.run();
    street.links.extend([(0, 1), (1, 0)]);
    street.markets[1].step(Input::PullNow(None));
    street.markets[1].tick();
    street.run();
    street.links.clear();
    street.markets[0].offer(2);
    street.run();
    street.links.extend([(0, 1), (1, 0)]);
    assert_eq!(street.offers(), [2, 1]);
    street.pass(limits::CATALOGUE_SETTLES_MS);
    assert_eq!(street.offers(), [2, 2]);
}

#[test]
fn what_two_parts_of_the_network_have_for_sale_reaches_all_when_they_meet() {
    let mut street = Street::new(4);
    street.link(0, 1);
    street.link(2, 3);
    street.markets[0].offer(1);
    street.markets[3].offer(2);
    street.markets[3].offer(3);
    street.run();
    street.pass(limits::CATALOGUE_SETTLES_MS);
    assert_eq!(street.offers(), [1, 1, 2, 2]);
    street.link(1, 2);
    assert_eq!(street.offers(), [3, 3, 3, 3]);
}

#[test]
fn an_own_offer_that_peers_know_of_a_later_date_is_announced_after_it() {
    let mut one = One::new(1);
    one.connect(2);
    let later_ms = START_MS + 200_000;
    // What it signed before its clock ran back; it has forgotten the offer since.
    let gone = record(1, 1, later_ms, Says::Withdrawn);
    assert_eq!(one.gossip(2, gone.to_unverified().encode()).0, Acceptance::Accept);
    one.offer(1);
    let place = Place { seller: one.id(), offer: offer_id(1) };
    let held = |one: &One| one.market.book.get(&place).unwrap().announcement().clone();
    assert!(held(&one).offered().is_some() && held(&one).time_ms == later_ms + 1);
    // And where it stands already when they say so: once in a while, not at once and for ever.
    one.said.clear();
    let gone = record(1, 1, later_ms + 5, Says::Withdrawn);
    assert_eq!(one.gossip(2, gone.to_unverified().encode()).0, Acceptance::Accept);
    assert!(held(&one).offered().is_none());
    one.pass(limits::ANNOUNCE_LEAST_MS);
    assert!(held(&one).offered().is_some() && held(&one).time_ms == later_ms + 6);
}

#[test]
fn each_announcement_has_a_verdict() {
    let mut one = One::new(1);
    one.connect(2);
    let good = standing(3, 1, START_MS);
    let bytes = |record: &Verified| record.to_unverified().encode();
    // Of an older one the signature is not looked at: it goes no further in any case.
    let mut forged = standing(3, 7, START_MS).to_unverified();
    forged.signature[9] ^= 1;
    let mut other_version = good.to_unverified();
    other_version.body[1] = 9;
    let other_version_bytes = other_version.encode();
    let long = vec![0x82; limits::GOSSIP_MESSAGE_BYTES];
    let life_ms = limits::ANNOUNCEMENT_LIFE_MS;
    let (high, low) = (vec![Severity::High], vec![Severity::Low]);
    for (why, bytes, expected) in [
        ("new", bytes(&good), (Acceptance::Accept, vec![])),
        ("known", bytes(&good), (Acceptance::Ignore, vec![])),
        ("older", bytes(&standing(3, 1, START_MS - 1)), (Acceptance::Ignore, vec![])),
        ("again at once", bytes(&standing(3, 1, START_MS + 1)), (Acceptance::Ignore, vec![])),
        ("again later", bytes(&standing(3, 1, START_MS + 200_000)), (Acceptance::Accept, vec![])),
        ("another version", other_version_bytes, (Acceptance::Ignore, vec![])),
        ("over by our clock", bytes(&standing(3, 2, START_MS - life_ms)), (Acceptance::Ignore, vec![])),
        ("long over", bytes(&standing(3, 2, START_MS - life_ms - DRIFT_MS)), (Acceptance::Reject, low.clone())),
        ("from the future", bytes(&standing(3, 2, START_MS + DRIFT_MS + 1)), (Acceptance::Reject, low)),
        ("forged", forged.encode(), (Acceptance::Reject, high.clone())),
        ("garbage", b"garbage".to_vec(), (Acceptance::Reject, high.clone())),
        ("nothing", vec![], (Acceptance::Reject, high.clone())),
        ("too long", long, (Acceptance::Reject, high)),
    ] {
        assert_eq!(one.gossip(2, bytes), expected, "{why}");
    }
    assert_eq!(one.offers(), 1);
}

#[test]
fn who_hands_on_too_much_is_not_listened_to_and_not_blamed() {
    let mut one = One::new(1);
    one.connect(2);
    one.connect(3);
    let known = standing(9, 1, START_MS).to_unverified().encode();
    for _ in 0..limits::GOSSIP_PER_PEER {
        one.gossip(2, known.clone());
    }
    let fresh = |number| standing(9, number, START_MS).to_unverified().encode();
    assert_eq!(one.gossip(2, fresh(2)), (Acceptance::Ignore, vec![]));
    assert_eq!(one.gossip(3, fresh(2)).0, Acceptance::Accept, "others are");
    one.pass(1_000);
    for number in 0..limits::GOSSIP_PER_PEER_PER_S {
        assert_eq!(one.gossip(2, fresh(10 + number as u16)).0, Acceptance::Accept);
    }
    assert_eq!(one.gossip(2, fresh(99)).0, Acceptance::Ignore);
}

/// Connects to a peer, and has it answer each question about its catalogue so. Gives who was blamed and how.
fn pull_from(answers: impl Fn(usize, &Catalogue) -> Result<Response, NoAnswer>) -> (One, Vec<Severity>, usize) {
    let mut one = One::new(1);
    one.connect(2);
    let mut asked = 0;
    while let Some((ticket, _, Request::Catalogue(catalogue))) = one.asks().pop() {
        one.answer(ticket, answers(asked, &catalogue));
        asked += 1;
        assert!(asked <= limits::CATALOGUE_PAGES, "it asks without end");
    }
    let blamed = one.blames();
    assert!(blamed.iter().all(|(who, _)| *who == key(2).identity()));
    (one, blamed.into_iter().map(|(_, severity)| severity).collect(), asked)
}

#[test]
fn a_hostile_catalogue_has_a_verdict_and_ends() {
    let mut good: Vec<Verified> = (0..3).map(|number| standing(5, number, START_MS)).collect();
    good.sort_by_key(|record| record.announcement().offer);
    let sent = |records: &[&Verified]| records.iter().map(|record| record.to_unverified()).collect::<Vec<_>>();
    let page = |records, more| Ok(Response::Page(Page { records, more }));
    let [a, b, c] = &good[..] else { panic!() };
    let mut forged = sent(&[a, b]);
    forged[1].signature[0] ^= 1;
    let (old, early) =
        (standing(5, 9, START_MS - 9 * limits::ANNOUNCEMENT_LIFE_MS), standing(5, 8, START_MS + 9_000_000));
    let mut doubtful = vec![&old, a, &early, b, c];
    doubtful.sort_by_key(|record| record.announcement().offer);
    let (high, mid, low) = (vec![Severity::High], vec![Severity::Mid], vec![Severity::Low]);
    for (why, answer, blamed, held) in [
        ("honest", page(sent(&[a, b, c]), false), vec![], 3),
        ("empty", page(vec![], false), vec![], 0),
        ("leads nowhere", page(vec![], true), mid, 0),
        ("out of its sequence", page(sent(&[b, a]), false), high.clone(), 2),
        ("one twice", page(sent(&[a, a]), false), high.clone(), 1),
        ("the same page for ever", page(sent(&[a, b]), true), high.clone(), 2),
        ("forged", page(forged, true), high.clone(), 1),
        ("old and early ones", page(sent(&doubtful), false), low, 3),
        ("an answer to another question", Ok(Response::Chunks(vec![])), high.clone(), 0),
        ("no message", Err(NoAnswer::Malformed), high, 0),
        ("a lost answer", Err(NoAnswer::Lost), vec![], 0),
        ("busy", Ok(Response::Refused(Refused::Busy(u64::MAX))), vec![], 0),
    ] {
        let (mut one, severities, _) = pull_from(|_, _| answer.clone());
        assert_eq!((severities, one.offers()), (blamed, held), "{why}");
        // Whatever it was, the peer is asked again some time, and not at once.
        let next_ms = one.market.next_wake_ms().expect("another pull");
        assert!((1..=limits::CATALOGUE_INTERVAL_MS).contains(&next_ms), "{why}: {next_ms}");
    }
    let endless = |number: usize, _: &Catalogue| {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let announcement = Announcement {
            group: group(),
            offer: crate::chain::OfferId::from_bytes(id),
            seller: key(5).identity(),
            time_ms: START_MS,
            addresses: vec![],
            says: Says::Withdrawn,
        };
        page(vec![announcement.sign(&key(5)).unwrap().to_unverified()], true)
    };
    let (_, severities, asked) = pull_from(endless);
    assert_eq!((severities, asked), (vec![], limits::CATALOGUE_PAGES), "a long one ends where a full book would");
}
