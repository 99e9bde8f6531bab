//! The two clocks: the world's, which dates blocks, and one that never runs back, which times the machine.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The system's clock, milliseconds since 1970 UTC.
#[must_use]
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX).saturating_add(ahead_ms())
}

/// A release shows the system's clock.
#[cfg(not(debug_assertions))]
const fn ahead_ms() -> u64 {
    0
}

/// How far ahead of the system's clock a test wants this process to be (`LBM_CLOCK_AHEAD_MS`), so that what takes days is tested.
#[cfg(debug_assertions)]
fn ahead_ms() -> u64 {
    static AHEAD: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    let asked = || std::env::var("LBM_CLOCK_AHEAD_MS").ok().and_then(|ms| ms.parse().ok()).unwrap_or(0);
    *AHEAD.get_or_init(asked)
}

/// Milliseconds since a start.
#[derive(Debug, Clone, Copy)]
pub struct Uptime(Instant);

impl Uptime {
    /// Starts at zero.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Milliseconds since then.
    #[must_use]
    pub fn ms(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
