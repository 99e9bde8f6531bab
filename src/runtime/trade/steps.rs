//! The steps of a sale and a purchase by name, so that tests can stop a daemon at each of them.
//!
//! In a build with debug assertions, `LBM_HOLD_AT=STEP` makes the process wait at the first time it comes to that step, with a file `held`
//! in its data folder, until that file is removed. A release has none of it.

use std::path::Path;

/// A step. What is durable behind it stands with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The buyer has looked at the offer, and nothing is here.
    Found,
    /// The package is on the buyer's disk.
    Fetched,
    /// The order is signed, and in memory alone.
    Signed,
    /// The purchase is in the buyer's ledger.
    Paid,
    /// The seller has seen the purchase.
    Seen,
    /// The seller has sealed the key, and it is in memory alone.
    Sealed,
    /// The grant is in the seller's ledger.
    Granted,
    /// The buyer has seen the grant.
    Delivered,
    /// The buyer has opened the package.
    Opened,
    /// What opens it is on the buyer's disk, and the purchase is not settled.
    Kept,
    /// The settlement is in the buyer's ledger.
    Settled,
}

impl Step {
    /// All of them, in their sequence.
    pub const ALL: [Self; 11] = [
        Self::Found,
        Self::Fetched,
        Self::Signed,
        Self::Paid,
        Self::Seen,
        Self::Sealed,
        Self::Granted,
        Self::Delivered,
        Self::Opened,
        Self::Kept,
        Self::Settled,
    ];

    /// Its name.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Fetched => "fetched",
            Self::Signed => "signed",
            Self::Paid => "paid",
            Self::Seen => "seen",
            Self::Sealed => "sealed",
            Self::Granted => "granted",
            Self::Delivered => "delivered",
            Self::Opened => "opened",
            Self::Kept => "kept",
            Self::Settled => "settled",
        }
    }
}

/// Comes to a step. `packages` lies in the data folder.
#[cfg(not(debug_assertions))]
#[allow(clippy::unused_async, reason = "waits in builds for tests")]
pub(super) async fn reach(_: &Path, _: Step) {}

/// Comes to a step, and waits there where a test says so. `packages` lies in the data folder.
#[cfg(debug_assertions)]
pub(super) async fn reach(packages: &Path, step: Step) {
    use std::sync::atomic::{AtomicBool, Ordering};
    static HELD: AtomicBool = AtomicBool::new(false);
    let is_meant = std::env::var("LBM_HOLD_AT").is_ok_and(|word| word == step.word());
    let Some(data) = packages.parent().filter(|_| is_meant) else { return };
    if HELD.swap(true, Ordering::Relaxed) {
        return;
    }
    let held = data.join("held");
    if std::fs::write(&held, step.word()).is_err() {
        return;
    }
    while held.exists() {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_has_its_own_name() {
        let names: std::collections::BTreeSet<_> = Step::ALL.iter().map(|step| step.word()).collect();
        assert_eq!(names.len(), Step::ALL.len());
    }
}
