//! Packages on their way here, from whoever has them.
//!
//! The seller is asked first, then any connected peer. **Every chunk comes with the proof that it is the one that was asked for**, so what
//! is here is right, whoever sent it: a fetch goes on with another peer where one is slow, wrong or gone, and loses nothing. One that
//! sends wrong bytes is at fault and is not asked again for this package. A package is in memory until it is whole, so few are fetched
//! at a time, and the others wait.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand::Rng;
use rand::seq::SliceRandom;

use super::io::{NotFetched, NotStored, Notice, Output, Wanted};
use crate::identity::Identity;
use crate::limits;
use crate::node::io::{NoAnswer, Severity, Ticket};
use crate::package::{ChunkProof, PackageHash};
use crate::wire::market::{GetPackage, Refused, Response};

/// A part that was asked for.
#[derive(Debug)]
struct Part {
    peer: Identity,
    from: u32,
    count: u32,
    asked_at_ms: u64,
    /// Whether it takes so long that others may be asked for it.
    is_late: bool,
}

/// What is known of one peer as a source of one package.
#[derive(Debug, Clone, Copy)]
struct Source {
    /// Until when it is asked only where nobody else is there.
    avoid_until_ms: u64,
    /// Until when it is not asked: it does not have the package, or is busy; for ever where it has sent wrong bytes.
    not_before_ms: u64,
    /// How many chunks it is asked for at once: fewer where it is slow.
    count: u32,
}

impl Default for Source {
    fn default() -> Self {
        Self { avoid_until_ms: 0, not_before_ms: 0, count: limits::PACKAGE_RANGE_CHUNKS }
    }
}

impl Source {
    /// Forgets what lies behind us, so that nothing is due for it.
    const fn pass(&mut self, now_ms: u64) {
        if self.avoid_until_ms <= now_ms {
            self.avoid_until_ms = 0;
        }
        if self.not_before_ms <= now_ms {
            self.not_before_ms = 0;
        }
    }
}

/// One package.
#[derive(Debug)]
struct Fetch {
    wanted: Wanted,
    chunks: BTreeMap<u32, Vec<u8>>,
    parts: BTreeMap<Ticket, Part>,
    sources: BTreeMap<Identity, Source>,
    /// When something last came.
    progress_at_ms: u64,
    /// When the seller is called next, if it is not connected.
    call_at_ms: u64,
    is_storing: bool,
}

/// A chunk is not the one that was asked for.
#[derive(Debug)]
struct WrongBytes;

/// A question to a peer.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) peer: Identity,
    pub(super) request: GetPackage,
}

/// All packages on their way here.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    under_way: BTreeMap<PackageHash, Fetch>,
    waiting: VecDeque<Wanted>,
}

impl Fetch {
    const fn new(now_ms: u64, wanted: Wanted) -> Self {
        Self {
            wanted,
            chunks: BTreeMap::new(),
            parts: BTreeMap::new(),
            sources: BTreeMap::new(),
            progress_at_ms: now_ms,
            call_at_ms: now_ms,
            is_storing: false,
        }
    }

    /// The first run of chunks that are neither here nor on their way.
    fn gap(&self, most: u32) -> Option<(u32, u32)> {
        let asked: BTreeSet<u32> = self
            .parts
            .values()
            .filter(|part| !part.is_late)
            .flat_map(|part| part.from..part.from.saturating_add(part.count))
            .collect();
        let is_open = |index: &u32| !self.chunks.contains_key(index) && !asked.contains(index);
        let from = (0..self.wanted.commitment.chunks()).find(is_open)?;
        let to = (from..self.wanted.commitment.chunks()).take(most as usize).take_while(is_open).last()?;
        Some((from, to + 1 - from))
    }

    /// Whom to ask next: the seller where it does well, else whoever has the least to do; those that have not done well come last.
    fn source(&self, now_ms: u64, order: &[Identity]) -> Option<(Identity, Source)> {
        let load = |peer: &Identity| self.parts.values().filter(|part| part.peer == *peer).count();
        let usable = order.iter().filter_map(|peer| {
            let source = self.sources.get(peer).copied().unwrap_or_default();
            let load = load(peer);
            let is_avoided = source.avoid_until_ms > now_ms;
            // One that is slow is asked again only when it has answered.
            let may_ask = source.not_before_ms <= now_ms && load < if is_avoided { 1 } else { limits::FETCH_PARALLEL };
            may_ask.then_some((is_avoided, *peer != self.wanted.seller, load, *peer, source))
        });
        // The first of the best, in the order given.
        let best = usable.min_by_key(|(is_avoided, is_other, load, ..)| (*is_avoided, *is_other, *load));
        best.map(|(.., peer, source)| (peer, source))
    }

    /// Takes in the chunks that a peer has sent for a part: how many were new, or that one was wrong.
    fn take(&mut self, part: &Part, chunks: Vec<ChunkProof>) -> Result<u32, WrongBytes> {
        let mut new = 0;
        for (index, proof) in (part.from..part.from.saturating_add(part.count)).zip(chunks) {
            if proof.index != index || !self.wanted.commitment.has(&proof) {
                return Err(WrongBytes);
            }
            let before = self.chunks.insert(index, proof.chunk.into_vec());
            new += u32::from(before.is_none());
        }
        Ok(new)
    }

    fn is_whole(&self) -> bool {
        self.chunks.len() == self.wanted.commitment.chunks() as usize
    }
}

impl Fetches {
    /// How many are under way, and how many wait.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.under_way.len(), self.waiting.len())
    }

    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty() && self.waiting.is_empty()
    }

    pub(super) fn want(&mut self, now_ms: u64, wanted: Wanted, out: &mut Vec<Output>) {
        let package = wanted.commitment.package;
        let is_there = self.waiting.iter().any(|other| other.commitment.package == package);
        if is_there || self.under_way.contains_key(&package) {
            return;
        }
        if self.under_way.len() < limits::FETCHES {
            self.under_way.insert(package, Fetch::new(now_ms, wanted));
        } else if self.waiting.len() < limits::FETCHES_WAITING {
            self.waiting.push_back(wanted);
        } else {
            out.push(Output::Notice(Notice::Fetched(package, Err(NotFetched::TooMany))));
        }
    }

    pub(super) fn stop(&mut self, package: &PackageHash) {
        self.waiting.retain(|wanted| wanted.commitment.package != *package);
        self.under_way.remove(package);
    }

    /// What was asked of a peer that is gone is open again.
    pub(super) fn drop_peer(&mut self, peer: &Identity) {
        for fetch in self.under_way.values_mut() {
            fetch.parts.retain(|_, part| part.peer != *peer);
            // What it did wrong stays known: it may come back at once.
            if let Some(source) = fetch.sources.get_mut(peer).filter(|source| source.not_before_ms != u64::MAX) {
                *source = Source::default();
            }
        }
    }

    /// A peer has answered.
    pub(super) fn came(
        &mut self,
        now_ms: u64,
        package: PackageHash,
        (ticket, peer): (Ticket, Identity),
        result: Result<Response, NoAnswer>,
        out: &mut Vec<Output>,
    ) {
        let Some(fetch) = self.under_way.get_mut(&package).filter(|fetch| !fetch.is_storing) else { return };
        let Some(part) = fetch.parts.remove(&ticket) else { return };
        let mut source = fetch.sources.get(&peer).copied().unwrap_or_default();
        let fault = match result {
            Ok(Response::Chunks(chunks)) if !chunks.is_empty() => match fetch.take(&part, chunks) {
                Ok(new) => {
                    if !part.is_late {
                        source = Source { count: (source.count * 2).min(limits::PACKAGE_RANGE_CHUNKS), ..source };
                    }
                    if new > 0 {
                        fetch.progress_at_ms = now_ms;
                        let (chunks, of) = (fetch.chunks.len() as u32, fetch.wanted.commitment.chunks());
                        out.push(Output::Notice(Notice::Fetching { package, chunks, of }));
                    }
                    None
                }
                Err(WrongBytes) => Some("a part of another package"),
            },
            Ok(Response::Refused(Refused::Busy(after_ms))) => {
                source.not_before_ms = now_ms + after_ms.clamp(10, limits::FETCH_AVOID_MS);
                None
            }
            Ok(Response::Refused(_)) => {
                source.not_before_ms = now_ms + limits::FETCH_AVOID_MS;
                None
            }
            Err(NoAnswer::Lost) => {
                source.avoid_until_ms = now_ms + limits::FETCH_AVOID_MS;
                source.not_before_ms = now_ms + limits::PULL_RETRY_MS;
                source.count = (source.count / 2).max(1);
                None
            }
            Ok(_) | Err(NoAnswer::Malformed) => Some("an answer that is none"),
        };
        if let Some(what) = fault {
            source.not_before_ms = u64::MAX;
            out.push(Output::Blame(peer, Severity::High, what));
        }
        fetch.sources.insert(peer, source);
        if fetch.is_whole() {
            fetch.is_storing = true;
            let ciphertext = std::mem::take(&mut fetch.chunks).into_values().collect::<Vec<_>>().concat();
            out.push(Output::Store(fetch.wanted.commitment, ciphertext));
        }
    }

    pub(super) fn stored(&mut self, package: PackageHash, result: Result<(), NotStored>, out: &mut Vec<Output>) {
        if self.under_way.remove(&package).is_some() {
            out.push(Output::Notice(Notice::Fetched(package, result.map_err(NotFetched::NotStored))));
        }
    }

    /// What is to be asked now. Each is to be reported with [`Fetches::asked`].
    pub(super) fn next(
        &mut self,
        now_ms: u64,
        rng: &mut impl Rng,
        connected: &[Identity],
        out: &mut Vec<Output>,
    ) -> Vec<Ask> {
        self.give_up(now_ms, out);
        while self.under_way.len() < limits::FETCHES
            && let Some(wanted) = self.waiting.pop_front()
        {
            self.under_way.insert(wanted.commitment.package, Fetch::new(now_ms, wanted));
        }
        let mut order = connected.to_vec();
        order.shuffle(rng);
        let mut asks = Vec::new();
        for (package, fetch) in self.under_way.iter_mut().filter(|(_, fetch)| !fetch.is_storing) {
            for part in fetch.parts.values_mut().filter(|part| !part.is_late) {
                if now_ms.saturating_sub(part.asked_at_ms) >= limits::FETCH_SLOW_MS {
                    part.is_late = true;
                    let source = fetch.sources.entry(part.peer).or_default();
                    source.avoid_until_ms = now_ms + limits::FETCH_AVOID_MS;
                    source.count = (source.count / 2).max(1);
                }
            }
            for source in fetch.sources.values_mut() {
                source.pass(now_ms);
            }
            if fetch.call_at_ms <= now_ms {
                fetch.call_at_ms = now_ms + limits::FETCH_CALL_MS;
                if !connected.contains(&fetch.wanted.seller) {
                    out.push(Output::Call(fetch.wanted.seller));
                }
            }
            // One at a time: what is asked for changes what is open.
            let on_the_way = fetch.parts.values().filter(|part| !part.is_late).count();
            if on_the_way < limits::FETCH_PARALLEL
                && let Some((peer, source)) = fetch.source(now_ms, &order)
                && let Some((from, count)) = fetch.gap(source.count)
            {
                asks.push(Ask { peer, request: GetPackage { package: *package, from, count } });
            }
        }
        asks
    }

    /// Notes what was asked.
    pub(super) fn asked(&mut self, now_ms: u64, ticket: Ticket, peer: Identity, request: &GetPackage) {
        let GetPackage { package, from, count } = *request;
        if let Some(fetch) = self.under_way.get_mut(&package) {
            let part = Part { peer, from, count, asked_at_ms: now_ms, is_late: false };
            fetch.parts.insert(ticket, part);
        }
    }

    fn give_up(&mut self, now_ms: u64, out: &mut Vec<Output>) {
        let is_over = |fetch: &Fetch| {
            !fetch.is_storing && now_ms.saturating_sub(fetch.progress_at_ms) >= limits::FETCH_GIVE_UP_MS
        };
        let over: Vec<PackageHash> =
            self.under_way.iter().filter(|(_, fetch)| is_over(fetch)).map(|(package, _)| *package).collect();
        for package in over {
            self.under_way.remove(&package);
            out.push(Output::Notice(Notice::Fetched(package, Err(NotFetched::Nobody))));
        }
    }

    pub(super) fn next_due_ms(&self) -> Option<u64> {
        let due = self.under_way.values().filter(|fetch| !fetch.is_storing).flat_map(|fetch| {
            let late = fetch.parts.values().filter(|part| !part.is_late);
            let late = late.map(|part| part.asked_at_ms + limits::FETCH_SLOW_MS);
            let again = fetch.sources.values().flat_map(|source| [source.not_before_ms, source.avoid_until_ms]);
            let give_up = fetch.progress_at_ms + limits::FETCH_GIVE_UP_MS;
            late.chain(again.filter(|at_ms| *at_ms > 0)).chain([give_up, fetch.call_at_ms])
        });
        due.min()
    }
}
