//! What peers have done wrong, forgiven with time.
//!
//! Bounded: only the last peers to commit a fault are remembered.

use std::collections::BTreeMap;

use super::io::Severity;
use crate::identity::Identity;

/// Peers whose faults are remembered.
const PEERS: usize = 4_096;
/// Points at which a peer is sent away.
const BAN_POINTS: u64 = 100;
/// How long it takes to forgive a point, milliseconds.
const FORGIVEN_MS: u64 = 1_000;

/// The faults of all peers.
#[derive(Debug, Default)]
pub(super) struct Faults(BTreeMap<Identity, Points>);

#[derive(Debug, Default)]
struct Points {
    points: u64,
    at_ms: u64,
}

impl Faults {
    /// Counts a fault against a peer, and tells whether it is to be sent away for it.
    pub(super) fn add(&mut self, now_ms: u64, peer: Identity, severity: Severity) -> bool {
        if self.0.len() >= PEERS && !self.0.contains_key(&peer) {
            let oldest = self.0.iter().min_by_key(|(_, faults)| faults.at_ms).map(|(peer, _)| *peer);
            oldest.map(|peer| self.0.remove(&peer));
        }
        let faults = self.0.entry(peer).or_default();
        let forgiven = now_ms.saturating_sub(faults.at_ms) / FORGIVEN_MS;
        faults.points = faults.points.saturating_sub(forgiven) + severity.points();
        faults.at_ms = now_ms;
        let is_enough = faults.points >= BAN_POINTS;
        if is_enough {
            self.0.remove(&peer);
        }
        is_enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SecretKey;

    #[test]
    fn faults_add_up_and_are_forgiven() {
        let peer = SecretKey::from_seed(&[1; 32]).identity();
        let mut faults = Faults::default();
        assert!(!faults.add(0, peer, Severity::High));
        assert!(faults.add(0, peer, Severity::High), "twice at once is enough");
        assert!(!faults.add(0, peer, Severity::High), "and what led to it is spent");
        assert!(!faults.add(10_000, peer, Severity::High), "ten points are forgiven after ten seconds");
        assert!(faults.add(10_000, peer, Severity::Mid));
        assert!(faults.add(20_000, peer, Severity::Fatal), "once is enough");
        for second in 0..1_000 {
            assert!(!faults.add(second * 2_000, peer, Severity::Low), "one low fault in two seconds never is enough");
        }
    }
}
