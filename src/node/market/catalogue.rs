//! Pulling the catalogues of peers: on connect, and now and then.
//!
//! A peer that has nothing else than we says so in one short answer. What comes is judged like gossip, but for its sequence: a page
//! goes on where the one before ended, or whoever sent it is at fault.

use std::collections::BTreeMap;

use rand::{Rng, RngExt};
use serde_bytes::ByteBuf;

use super::io::{Notice, Output};
use super::{Acceptance, Around, Errand, Market};
use crate::identity::Identity;
use crate::limits;
use crate::node::io::{NoAnswer, Severity, Ticket};
use crate::wire::market::{Catalogue, Page, Place, Refused, Request, Response};

/// What a peer is blamed for.
type Fault = (Severity, &'static str);

/// A catalogue on its way here.
#[derive(Debug)]
struct Pull {
    /// The question that is unanswered.
    ticket: Ticket,
    /// Where the last page ended.
    after: Option<Place>,
    pages: usize,
    /// Announcements that were new.
    new: Vec<Place>,
}

/// Whose catalogue is due when, and which are on their way.
#[derive(Debug, Default)]
pub(super) struct Pulls {
    due: BTreeMap<Identity, u64>,
    /// When gossip has come to know of peers that have just connected.
    settles: BTreeMap<Identity, u64>,
    failures: BTreeMap<Identity, u32>,
    under_way: BTreeMap<Identity, Pull>,
}

impl Pulls {
    pub(super) fn pull_at(&mut self, peer: Identity, at_ms: u64) {
        let due_ms = self.due.entry(peer).or_insert(at_ms);
        *due_ms = at_ms.min(*due_ms);
    }

    pub(super) fn connected(&mut self, peer: Identity, now_ms: u64) {
        self.settles.insert(peer, now_ms + limits::CATALOGUE_SETTLES_MS);
        self.pull_at(peer, now_ms);
    }

    pub(super) fn drop_peer(&mut self, peer: &Identity) {
        self.due.remove(peer);
        self.settles.remove(peer);
        self.failures.remove(peer);
        self.under_way.remove(peer);
    }

    pub(super) fn next_due_ms(&self) -> Option<u64> {
        let is_free = |peer: &Identity| !self.under_way.contains_key(peer);
        let due = self.due.iter().filter(|(peer, _)| is_free(peer)).map(|(_, at_ms)| *at_ms).min();
        due.filter(|_| self.under_way.len() < limits::CATALOGUES)
    }

    fn take_due(&mut self, now_ms: u64) -> Option<Identity> {
        if self.under_way.len() >= limits::CATALOGUES {
            return None;
        }
        let due = self.due.iter().filter(|(peer, at_ms)| **at_ms <= now_ms && !self.under_way.contains_key(peer));
        let peer = due.min_by_key(|(_, at_ms)| **at_ms).map(|(peer, _)| *peer)?;
        self.due.remove(&peer);
        Some(peer)
    }

    fn failed(&mut self, peer: Identity, now_ms: u64, rng: &mut impl Rng, least_ms: u64) {
        self.under_way.remove(&peer);
        let failures = self.failures.entry(peer).or_default();
        *failures = failures.saturating_add(1);
        let pause_ms = (limits::PULL_RETRY_MS << (*failures).min(6)).min(limits::PULL_RETRY_MOST_MS);
        self.pull_at(peer, now_ms + rng.random_range(pause_ms / 2..=pause_ms).max(least_ms));
    }

    fn succeeded(&mut self, peer: Identity, now_ms: u64, rng: &mut impl Rng) {
        self.under_way.remove(&peer);
        self.failures.remove(&peer);
        let jitter_ms = rng.random_range(0..=limits::CATALOGUE_INTERVAL_MS / 10);
        let at_ms = match self.settles.get(&peer) {
            Some(settles_ms) if now_ms < *settles_ms => *settles_ms,
            _ => now_ms + limits::CATALOGUE_INTERVAL_MS - jitter_ms,
        };
        self.pull_at(peer, at_ms);
    }
}

impl Market {
    pub(super) fn pull_who_is_due(&mut self, now_ms: u64, out: &mut Vec<Output>) {
        while let Some(peer) = self.pulls.take_due(now_ms) {
            let digest = Some(ByteBuf::from(self.book.digest()));
            let ticket = self.ask_page(peer, Catalogue { after: None, digest }, out);
            self.pulls.under_way.insert(peer, Pull { ticket, after: None, pages: 0, new: vec![] });
        }
    }

    fn ask_page(&mut self, peer: Identity, catalogue: Catalogue, out: &mut Vec<Output>) -> Ticket {
        let ticket = self.ticket(peer, Errand::Catalogue);
        out.push(Output::Ask { ticket, peer, request: Request::Catalogue(catalogue) });
        ticket
    }

    /// A peer has answered what its catalogue is.
    pub(super) fn page_came(
        &mut self,
        around: &Around<'_>,
        rng: &mut impl Rng,
        peer: Identity,
        ticket: Ticket,
        result: Result<Response, NoAnswer>,
        out: &mut Vec<Output>,
    ) {
        let now_ms = around.now_ms;
        // The peer may have gone and come back: then this is an answer to nobody's question.
        let Some(pull) = self.pulls.under_way.get_mut(&peer).filter(|pull| pull.ticket == ticket) else { return };
        pull.pages += 1;
        let (pages, mut new, mut after) = (pull.pages, std::mem::take(&mut pull.new), pull.after);
        let (asked_from, mut doubtful) = (after, None);
        let fault = match result {
            Ok(Response::Same) if pages == 1 => {
                out.push(Output::Notice(Notice::Pulled { peer, new: 0 }));
                return self.pulls.succeeded(peer, now_ms, rng);
            }
            Ok(Response::Page(page)) => {
                let more = page.more;
                match self.take_page(around, page, (&mut after, &mut new, &mut doubtful), out) {
                    Err(fault) => fault,
                    Ok(()) if more && pages < limits::CATALOGUE_PAGES && after > asked_from => {
                        out.extend(doubtful.map(|(severity, what)| Output::Blame(peer, severity, what)));
                        let ticket = self.ask_page(peer, Catalogue { after, digest: None }, out);
                        self.pulls.under_way.insert(peer, Pull { ticket, after, pages, new });
                        return;
                    }
                    Ok(()) => {
                        out.extend(doubtful.map(|(severity, what)| Output::Blame(peer, severity, what)));
                        out.push(Output::Notice(Notice::Pulled { peer, new: new.len() }));
                        self.hand_on(&new, out);
                        return self.pulls.succeeded(peer, now_ms, rng);
                    }
                }
            }
            Ok(Response::Refused(Refused::Busy(after_ms))) => {
                return self.pulls.failed(peer, now_ms, rng, after_ms.min(limits::REQUEST_TIMEOUT_MS));
            }
            Ok(Response::Refused(_)) | Err(NoAnswer::Lost) => return self.pulls.failed(peer, now_ms, rng, 0),
            Ok(_) | Err(NoAnswer::Malformed) => (Severity::High, "an answer that is none"),
        };
        out.push(Output::Blame(peer, fault.0, fault.1));
        self.pulls.failed(peer, now_ms, rng, limits::PULL_RETRY_MOST_MS);
    }

    /// Tells those who are connected what was missed: where two parts of the network meet, only one node of each asks the other. What is
    /// more than a page they find in a catalogue, some time.
    fn hand_on(&self, new: &[Place], out: &mut Vec<Output>) {
        if self.peers.len() < 2 || new.len() > limits::CATALOGUE_RECORDS {
            return;
        }
        let records = new.iter().filter_map(|place| self.book.get(place));
        out.extend(records.map(|record| Output::Publish(record.to_unverified().encode())));
    }

    /// Takes in a page, up to what is wrong with it. What is only old or early is blamed once, however much of it there is, and the rest
    /// is read.
    fn take_page(
        &mut self,
        around: &Around<'_>,
        page: Page,
        (after, new, doubtful): (&mut Option<Place>, &mut Vec<Place>, &mut Option<Fault>),
        out: &mut Vec<Output>,
    ) -> Result<(), Fault> {
        if page.more && page.records.is_empty() {
            return Err((Severity::Mid, "a catalogue that leads nowhere"));
        }
        for sent in page.records {
            let (place, (acceptance, blame)) = self.take(around, sent, out);
            match (place, blame) {
                // One of another version has no place that could be read: its neighbours' still ascend.
                (None, None) => {}
                (None, Some(fault)) | (_, Some(fault @ (Severity::High | Severity::Mid, _))) => return Err(fault),
                (Some(place), blame) => {
                    if after.is_some_and(|after| after >= place) {
                        return Err((Severity::High, "a catalogue out of its sequence"));
                    }
                    *after = Some(place);
                    new.extend((acceptance == Acceptance::Accept).then_some(place));
                    *doubtful = doubtful.or(blame);
                }
            }
        }
        Ok(())
    }
}
