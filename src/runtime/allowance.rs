//! What peers may ask of this node, and how much of its memory their answers may take.
//!
//! **A member's questions about its groups are free**: what it lacks it may have, however much that is, and what bounds it is how much of
//! it is under way. Everything else counts against a rate: of a member its own, of strangers that of the host they call from, for
//! identities are free. Who meets a bound is told how long to wait; nobody is blamed for it.
//!
//! All books are bounded: where too many have an account, those without one share the last.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::identity::Identity;
use crate::limits;

/// Whose account a request is charged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Payer {
    /// A member of a group that is here.
    Member(Identity),
    /// All strangers of one host: an IPv4 address, or an IPv6 /64.
    Host(IpAddr),
    /// Who has no account, because there are too many.
    Others,
}

/// The accounts.
pub struct Allowance {
    clock: DefaultClock,
    requests: DefaultKeyedRateLimiter<Payer>,
    /// Requests about joining: each costs a signature to check.
    joining: DefaultKeyedRateLimiter<Payer>,
    /// Requests that came too soon.
    refusals: DefaultKeyedRateLimiter<Payer>,
    /// In KiB.
    packages: DefaultKeyedRateLimiter<Payer>,
    unsent: Arc<Mutex<Unsent>>,
}

/// Bytes of answers that are being made or sent.
#[derive(Debug, Default)]
struct Unsent {
    total: usize,
    payers: HashMap<Payer, usize>,
}

/// Room for one answer, given back when it is dropped: when the answer is sent, or nobody waits for it any more.
#[derive(Debug)]
pub struct Share {
    of: Arc<Mutex<Unsent>>,
    payer: Payer,
    bytes: usize,
}

const fn a_minute(most: u32) -> Quota {
    Quota::per_minute(match NonZeroU32::new(most) {
        Some(most) => most,
        None => NonZeroU32::MIN,
    })
}

impl Allowance {
    /// Accounts of so many requests a minute; all of them may come at once.
    #[must_use]
    pub fn new(requests_per_min: u32) -> Self {
        Self {
            clock: DefaultClock::default(),
            requests: RateLimiter::keyed(a_minute(requests_per_min)),
            joining: RateLimiter::keyed(a_minute(limits::NODE_REQUESTS_PER_MIN)),
            refusals: RateLimiter::keyed(a_minute(limits::REFUSALS_PER_MIN)),
            packages: RateLimiter::keyed(a_minute(limits::STRANGER_PACKAGES_KIB_PER_MIN)),
            unsent: Arc::default(),
        }
    }

    /// Counts a request, or says how long to wait, milliseconds.
    ///
    /// # Errors
    /// The wait.
    pub fn request(&self, payer: Payer) -> Result<(), u64> {
        self.count(&self.requests, payer, NonZeroU32::MIN)
    }

    /// Counts a request about joining, or says how long to wait, milliseconds.
    ///
    /// # Errors
    /// The wait.
    pub fn joining(&self, payer: Payer) -> Result<(), u64> {
        self.count(&self.joining, payer, NonZeroU32::MIN)
    }

    /// Whether a payer that was told to wait has asked on so often that it does not.
    #[must_use]
    pub fn is_deaf(&self, payer: Payer) -> bool {
        self.count(&self.refusals, payer, NonZeroU32::MIN).is_err()
    }

    /// Counts bytes of packages that a stranger asks for; a member has as many as it likes.
    ///
    /// # Errors
    /// How long to wait, milliseconds.
    pub fn package(&self, payer: Payer, bytes: usize) -> Result<(), u64> {
        let kib = u32::try_from(bytes.div_ceil(1024)).ok().and_then(NonZeroU32::new);
        match (payer, kib) {
            (Payer::Member(_), _) | (_, None) => Ok(()),
            (_, Some(kib)) => self.count(&self.packages, payer, kib),
        }
    }

    fn count(&self, book: &DefaultKeyedRateLimiter<Payer>, payer: Payer, cost: NonZeroU32) -> Result<(), u64> {
        if book.len() >= limits::RATED_PAYERS {
            // Whoever has its full allowance again needs no account.
            book.retain_recent();
        }
        let payer = if book.len() < limits::RATED_PAYERS { payer } else { Payer::Others };
        match book.check_key_n(&payer, cost) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(later)) => {
                let wait_ms = later.wait_time_from(self.clock.now()).as_millis();
                Err(u64::try_from(wait_ms).unwrap_or(u64::MAX).saturating_add(1))
            }
            // More than the whole allowance: never, and that is what the longest wait comes to.
            Err(_) => Err(limits::REQUEST_TIMEOUT_MS),
        }
    }

    /// Forgets accounts that are full again.
    pub fn forget_idle(&self) {
        self.requests.retain_recent();
        self.joining.retain_recent();
        self.refusals.retain_recent();
        self.packages.retain_recent();
    }

    /// Room for an answer of so many bytes; none where too much is under way, to the payer or in all. Whoever has nothing under way
    /// has room for one.
    #[must_use]
    pub fn answer(&self, payer: Payer, bytes: usize) -> Option<Share> {
        let mut unsent = self.unsent.lock().unwrap_or_else(PoisonError::into_inner);
        let own = unsent.payers.get(&payer).copied().unwrap_or(0);
        let has_room = own == 0 || own.saturating_add(bytes) <= limits::ANSWERS_PER_PEER_BYTES;
        if !has_room || unsent.total.saturating_add(bytes) > limits::ANSWERS_BYTES {
            return None;
        }
        unsent.total += bytes;
        unsent.payers.insert(payer, own + bytes);
        Some(Share { of: Arc::clone(&self.unsent), payer, bytes })
    }
}

impl Share {
    /// Says how long the answer has become.
    pub fn set(&mut self, bytes: usize) {
        let mut unsent = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        unsent.change(self.payer, self.bytes, bytes);
        self.bytes = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Unsent {
    fn change(&mut self, payer: Payer, from: usize, to: usize) {
        self.total = (self.total + to).saturating_sub(from);
        let own = self.payers.entry(payer).or_default();
        *own = (*own + to).saturating_sub(from);
        if *own == 0 {
            self.payers.remove(&payer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SecretKey;

    const HERE: Payer = Payer::Host(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    #[test]
    fn who_asks_too_often_is_told_when_it_may_ask_again() {
        let allowance = Allowance::new(10);
        let member = Payer::Member(SecretKey::from_seed(&[1; 32]).identity());
        for _ in 0..10 {
            assert_eq!(allowance.request(HERE), Ok(()));
        }
        let wait_ms = allowance.request(HERE).unwrap_err();
        assert!((1..=6_001).contains(&wait_ms), "one in six seconds, not {wait_ms} ms");
        assert_eq!(allowance.request(member), Ok(()), "the others have their own");
    }

    #[test]
    fn a_host_of_strangers_has_its_quota_of_packages_and_a_member_none() {
        let allowance = Allowance::new(10);
        let member = Payer::Member(SecretKey::from_seed(&[1; 32]).identity());
        let all = limits::STRANGER_PACKAGES_KIB_PER_MIN as usize * 1024;
        assert_eq!(allowance.package(HERE, all), Ok(()));
        assert!(allowance.package(HERE, 1024 * 1024).is_err());
        for _ in 0..3 {
            assert_eq!(allowance.package(member, all), Ok(()));
        }
        assert_eq!(allowance.package(Payer::Host(IpAddr::from([9; 4])), 2 * all), Err(limits::REQUEST_TIMEOUT_MS));
    }

    #[test]
    fn past_the_last_account_all_others_share_one() {
        let allowance = Allowance::new(10);
        for n in 0..u32::try_from(limits::RATED_PAYERS).unwrap() {
            assert_eq!(allowance.request(Payer::Host(IpAddr::from(n.to_be_bytes()))), Ok(()));
        }
        let strangers = |n: u8| Payer::Host(IpAddr::from([255, 255, 255, n]));
        let refused = (0..100).filter(|n| allowance.request(strangers(*n)).is_err()).count();
        assert!(refused >= 80, "a hundred new hosts have one allowance, and {refused} were refused");
        assert!(allowance.requests.len() <= limits::RATED_PAYERS + 1);
    }

    #[test]
    fn answers_have_their_room_and_give_it_back() {
        let allowance = Allowance::new(10);
        let of = |n: u8| Payer::Host(IpAddr::from([10, 0, 0, n]));
        let mut first = allowance.answer(of(1), limits::ANSWERS_PER_PEER_BYTES + 1).unwrap();
        assert!(allowance.answer(of(1), 1).is_none(), "it has all it may");
        first.set(1);
        let second = allowance.answer(of(1), 1).unwrap();
        let others: Vec<Share> = (2..).map_while(|n| allowance.answer(of(n), limits::ANSWERS_PER_PEER_BYTES)).collect();
        assert_eq!(others.len(), limits::ANSWERS_BYTES / limits::ANSWERS_PER_PEER_BYTES - 1);
        drop((first, second, others));
        let unsent = allowance.unsent.lock().unwrap();
        assert_eq!((unsent.total, unsent.payers.len()), (0, 0));
    }
}
