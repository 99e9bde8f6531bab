//! Our own offers: announced when they are made, again as long as they stand, and withdrawn at once.

use std::collections::BTreeMap;

use rand::{Rng, RngExt};

use super::book::{Book, Came};
use super::io::{Output, OwnOffer};
use crate::announcement::{Announcement, Says, Verified};
use crate::chain::GroupId;
use crate::limits;
use crate::wire::market::Place;

/// Announcements that go out at once. The others follow, so that no peer's queue runs over.
const BURST: usize = 64;
/// Pause between two such, milliseconds.
const BURST_PAUSE_MS: u64 = 200;

#[derive(Debug)]
struct Standing {
    offer: OwnOffer,
    announce_at_ms: u64,
    announced_at_ms: Option<u64>,
}

/// Our own standing offers.
#[derive(Debug, Default)]
pub(super) struct Own {
    standing: BTreeMap<Place, Standing>,
    rested_at_ms: u64,
}

/// Where a record stands in a catalogue.
pub(super) fn place(record: &Verified) -> Place {
    Place { seller: record.announcement().seller, offer: record.announcement().offer }
}

/// The least date of the next record of an offer: behind whatever is known of it. Peers may have given back what this node has signed
/// before a restart, over which its clock ran back.
fn next_ms(book: &Book, place: &Place) -> u64 {
    book.get(place).map_or(0, |held| held.announcement().time_ms.saturating_add(1))
}

impl Own {
    pub(super) fn offer(&mut self, now_ms: u64, offer: OwnOffer) {
        let place = Place { seller: offer.seller, offer: offer.offer };
        self.standing.insert(place, Standing { offer, announce_at_ms: now_ms, announced_at_ms: None });
    }

    pub(super) fn withdraw(&mut self, group: GroupId, place: Place, book: &Book, out: &mut Vec<Output>) {
        self.standing.remove(&place);
        out.push(Output::Sign(Announcement {
            group,
            offer: place.offer,
            seller: place.seller,
            time_ms: next_ms(book, &place),
            addresses: vec![],
            says: Says::Withdrawn,
        }));
    }

    /// Takes in what a peer has sent of one of our offers: where it counts before ours, ours is announced anew. Not more often than
    /// that would be for any other: a second node with our key may be saying the contrary.
    pub(super) fn seen(&mut self, now_ms: u64, place: &Place, came: Came) {
        if matches!(came, Came::New | Came::Again | Came::Soon)
            && let Some(standing) = self.standing.get_mut(place)
        {
            let at_ms = standing.announced_at_ms.map_or(now_ms, |last_ms| last_ms + limits::ANNOUNCE_LEAST_MS);
            standing.announce_at_ms = standing.announce_at_ms.min(at_ms.max(now_ms));
        }
    }

    pub(super) fn announce_due(&mut self, now_ms: u64, rng: &mut impl Rng, book: &Book, out: &mut Vec<Output>) {
        if self.rested_at_ms > now_ms {
            return;
        }
        let due = self.standing.iter_mut().filter(|(_, standing)| standing.announce_at_ms <= now_ms);
        let mut count = 0;
        for (place, standing) in due.take(BURST) {
            let jitter_ms = rng.random_range(0..=limits::ANNOUNCE_INTERVAL_MS / 10);
            standing.announce_at_ms = now_ms + limits::ANNOUNCE_INTERVAL_MS - jitter_ms;
            standing.announced_at_ms = Some(now_ms);
            let OwnOffer { group, offer, seller, offered } = &standing.offer;
            out.push(Output::Sign(Announcement {
                group: *group,
                offer: *offer,
                seller: *seller,
                time_ms: next_ms(book, place),
                // Whoever signs knows where it listens.
                addresses: vec![],
                says: Says::Offered(offered.clone()),
            }));
            count += 1;
        }
        if count >= BURST {
            self.rested_at_ms = now_ms + BURST_PAUSE_MS;
        }
    }

    /// Announces all of them soon: this node can be called elsewhere than they say.
    pub(super) fn moved(&mut self, now_ms: u64) {
        for standing in self.standing.values_mut() {
            standing.announce_at_ms = standing.announce_at_ms.min(now_ms + limits::ADDRESS_SETTLES_MS);
        }
    }

    pub(super) fn next_due_ms(&self) -> Option<u64> {
        let due = self.standing.values().map(|standing| standing.announce_at_ms).min();
        due.map(|at_ms| at_ms.max(self.rested_at_ms))
    }
}
