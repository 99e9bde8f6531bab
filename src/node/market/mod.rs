//! The market between nodes: who offers what, whose catalogue is asked for when, and packages on their way here.
//!
//! Part of the protocol machine, and pure like it; [`io`] holds every input and output. What a peer sends is judged at once, and
//! **each judgement that blames somebody names who handed it to us**, not its author. An announcement is spread once it is judged; a
//! catalogue is asked of every peer on connect and now and then, for gossip is a hint that can be missed. Anybody may ask: what is for
//! sale is public. Orders and accounts are for [`io::Output::Serve`] to answer, to the identity that the connection proves.

mod book;
mod catalogue;
mod fetch;
pub mod io;
mod own;

use std::collections::BTreeMap;

use rand::Rng;
use serde_bytes::ByteBuf;

pub use book::{Book, Came, Filter};

use crate::announcement::{Invalid, Unverified};
use crate::chain::GroupId;
use crate::identity::Identity;
use crate::limits;
use crate::node::io::{Severity, Ticket};
use crate::wire::market::{Page, Place, Refused, Request, Response};
use catalogue::Pulls;
use fetch::Fetches;
use io::{Acceptance, GossipId, Input, Notice, Output};
use own::Own;

/// What the market asks of the machine around it.
pub(super) struct Around<'a> {
    /// A clock that never runs back, milliseconds.
    pub(super) now_ms: u64,
    /// The world's clock, milliseconds since 1970 UTC.
    pub(super) clock_ms: u64,
    /// How far ahead of it an announcement may be dated, milliseconds.
    pub(super) drift_ms: u64,
    /// Whether somebody is a member of a group that is here.
    pub(super) is_member: &'a dyn Fn(&GroupId, &Identity) -> bool,
}

/// What a ticket stands for.
#[derive(Debug, Clone, Copy)]
enum Errand {
    /// A page of a peer's catalogue.
    Catalogue,
    /// A part of a package.
    Package(crate::package::PackageHash),
}

/// A connected peer.
#[derive(Debug)]
struct Peer {
    /// Requests of its that are being served.
    serving: usize,
    /// Announcements that it may hand on now.
    allowance: u64,
    /// When that was counted.
    allowed_at_ms: u64,
}

impl Peer {
    const fn new(now_ms: u64) -> Self {
        Self { serving: 0, allowance: limits::GOSSIP_PER_PEER, allowed_at_ms: now_ms }
    }

    /// Takes one announcement off the allowance, if there is any.
    fn may_hand_on(&mut self, now_ms: u64) -> bool {
        let earned = now_ms.saturating_sub(self.allowed_at_ms) * limits::GOSSIP_PER_PEER_PER_S / 1_000;
        if earned > 0 {
            self.allowance = (self.allowance + earned).min(limits::GOSSIP_PER_PEER);
            self.allowed_at_ms = now_ms;
        }
        let left = self.allowance.checked_sub(1);
        self.allowance = left.unwrap_or(0);
        left.is_some()
    }
}

/// The market, as one node sees it.
#[derive(Debug, Default)]
pub struct Market {
    book: Book,
    own: Own,
    peers: BTreeMap<Identity, Peer>,
    pulls: Pulls,
    fetches: Fetches,
    pending: BTreeMap<Ticket, (Identity, Errand)>,
    next_ticket: u64,
}

impl Market {
    /// What is for sale, as far as it is known here: without what counts no longer.
    pub(super) fn book(&mut self, clock_ms: u64) -> &Book {
        self.book.sweep(clock_ms);
        &self.book
    }

    /// Packages being fetched or waiting for it.
    pub(super) fn fetching(&self) -> usize {
        let (under_way, waiting) = self.fetches.counts();
        under_way + waiting
    }

    /// Tickets that are not reported yet.
    #[cfg(test)]
    pub(crate) fn unreported(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn connected(&mut self, now_ms: u64, peer: Identity) {
        self.peers.entry(peer).or_insert_with(|| Peer::new(now_ms));
        self.pulls.connected(peer, now_ms);
    }

    pub(super) fn disconnected(&mut self, peer: &Identity) {
        self.peers.remove(peer);
        self.pulls.drop_peer(peer);
        self.fetches.drop_peer(peer);
    }

    pub(super) fn step(&mut self, around: &Around<'_>, rng: &mut impl Rng, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Gossip { peer, id, bytes } => self.gossip(around, peer, id, &bytes, out),
            Input::Asked { peer, id, request } => match self.asked(around, peer, request) {
                Ok(request) => out.push(Output::Serve { id, peer, request }),
                Err(response) => out.push(Output::Answer { id, response }),
            },
            Input::Served(peer) => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.serving = peer.serving.saturating_sub(1);
                }
            }
            Input::Answered { ticket, result } => {
                let Some((peer, errand)) = self.pending.remove(&ticket) else { return };
                match errand {
                    Errand::Catalogue => self.page_came(around, rng, peer, ticket, result, out),
                    Errand::Package(package) => {
                        self.fetches.came(around.now_ms, package, (ticket, peer), result, out);
                    }
                }
            }
            Input::Offer(offer) => self.own.offer(around.now_ms, offer),
            Input::Withdraw { group, offer, seller } => {
                let place = Place { seller, offer };
                self.own.withdraw(group, place, &self.book, out);
            }
            Input::Moved => self.own.moved(around.now_ms),
            Input::Signed(record) => {
                out.push(Output::Publish(record.to_unverified().encode()));
                let is_change = self.book.get(&own::place(&record)).is_none_or(|held| {
                    held.announcement().offered().is_some() != record.announcement().offered().is_some()
                });
                if is_change {
                    out.push(Output::Notice(Notice::Offer(Box::new(record.clone()))));
                }
                self.book.announce(record);
            }
            Input::PullNow(peer) => {
                let peers = self.peers.keys().filter(|other| peer.is_none_or(|peer| peer == **other));
                peers.for_each(|peer| self.pulls.pull_at(*peer, around.now_ms));
            }
            Input::Fetch(wanted) => self.fetches.want(around.now_ms, wanted, out),
            Input::StopFetch(package) => self.fetches.stop(&package),
            Input::Stored(package, result) => self.fetches.stored(package, result, out),
        }
    }

    /// Starts what is due.
    pub(super) fn act_on_time(&mut self, now_ms: u64, rng: &mut impl Rng, out: &mut Vec<Output>) {
        self.own.announce_due(now_ms, rng, &self.book, out);
        self.pull_who_is_due(now_ms, out);
        if self.fetches.is_idle() {
            return;
        }
        let connected: Vec<Identity> = self.peers.keys().copied().collect();
        loop {
            let asks = self.fetches.next(now_ms, rng, &connected, out);
            if asks.is_empty() {
                break;
            }
            for fetch::Ask { peer, request } in asks {
                let ticket = self.ticket(peer, Errand::Package(request.package));
                self.fetches.asked(now_ms, ticket, peer, &request);
                out.push(Output::Ask { ticket, peer, request: Request::Package(request) });
            }
        }
    }

    /// When the market wants to be stepped next, if nothing else happens before.
    pub(super) fn next_wake_ms(&self) -> Option<u64> {
        [self.own.next_due_ms(), self.pulls.next_due_ms(), self.fetches.next_due_ms()].into_iter().flatten().min()
    }

    fn ticket(&mut self, peer: Identity, errand: Errand) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.pending.insert(ticket, (peer, errand));
        ticket
    }

    fn gossip(&mut self, around: &Around<'_>, peer: Identity, id: GossipId, bytes: &[u8], out: &mut Vec<Output>) {
        let sender = self.peers.entry(peer).or_insert_with(|| Peer::new(around.now_ms));
        if !sender.may_hand_on(around.now_ms) {
            // It may be handing on what others flood it with. What is lost so is in somebody's catalogue.
            out.push(Output::Judge(id, Acceptance::Ignore));
            return;
        }
        let (acceptance, blame) = match Unverified::decode(bytes) {
            Err(_) => (Acceptance::Reject, Some((Severity::High, "an announcement that is none"))),
            Ok(sent) => self.take(around, sent, out).1,
        };
        out.push(Output::Judge(id, acceptance));
        out.extend(blame.map(|(severity, what)| Output::Blame(peer, severity, what)));
    }

    /// Takes in an announcement that a peer has sent: its place, where it could be read; and what is to be thought of it.
    fn take(&mut self, around: &Around<'_>, sent: Unverified, out: &mut Vec<Output>) -> (Option<Place>, Verdict) {
        let received = self.book.receive(sent, around.clock_ms, around.drift_ms, around.is_member);
        let (place, came) = match received {
            Ok((place, came)) => (place, came),
            // Where versions differ, nobody is at fault.
            Err(Invalid::Version(_)) => return (None, (Acceptance::Ignore, None)),
            Err(_) => return (None, (Acceptance::Reject, Some((Severity::High, "an announcement that is none")))),
        };
        if came == Came::New
            && let Some(record) = self.book.get(&place)
        {
            out.push(Output::Notice(Notice::Offer(Box::new(record.clone()))));
        }
        self.own.seen(around.now_ms, &place, came);
        (Some(place), verdict(came))
    }

    /// A peer asks: the answer, or the request where it is to be served elsewhere.
    fn asked(&mut self, around: &Around<'_>, peer: Identity, request: Request) -> Result<Request, Response> {
        let serving = &mut self.peers.entry(peer).or_insert_with(|| Peer::new(around.now_ms)).serving;
        if *serving >= limits::MARKET_SERVED_PER_PEER {
            return Err(Response::Refused(Refused::Busy(limits::BUSY_RETRY_MS)));
        }
        let Request::Catalogue(asked) = request else {
            *serving += 1;
            return Ok(request);
        };
        self.book.sweep(around.clock_ms);
        if asked.digest.is_some_and(|digest| digest == ByteBuf::from(self.book.digest())) {
            return Err(Response::Same);
        }
        let (mut records, mut bytes) = (Vec::new(), 0);
        let mut behind = self.book.after(asked.after).peekable();
        while bytes < limits::CATALOGUE_BYTES
            && records.len() < limits::CATALOGUE_RECORDS
            && let Some(record) = behind.next()
        {
            bytes += record.bytes().len() + 80;
            records.push(record.to_unverified());
        }
        Err(Response::Page(Page { records, more: behind.peek().is_some() }))
    }
}

/// What is to be thought of who sent an announcement: whether others get it, and whether it is blamed.
type Verdict = (Acceptance, Option<(Severity, &'static str)>);

/// The verdict on each announcement whose form and signature hold, or do not matter any more.
const fn verdict(came: Came) -> Verdict {
    match came {
        Came::New | Came::Again => (Acceptance::Accept, None),
        Came::Soon | Came::Known | Came::Older | Came::NoRoom | Came::Ended => (Acceptance::Ignore, None),
        // Three clocks may be wrong, ours among them: it takes many of these for a ban.
        Came::LongEnded => (Acceptance::Reject, Some((Severity::Low, "an announcement whose time is over"))),
        Came::Early => (Acceptance::Reject, Some((Severity::Low, "an announcement from the future"))),
    }
}

#[cfg(test)]
mod tests;
