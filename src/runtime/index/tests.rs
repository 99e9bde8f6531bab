use std::io;
use std::sync::atomic::{AtomicI64, Ordering};

/// Changes of files that may still happen before all fail; none fail below zero at the start.
#[derive(Debug)]
pub(super) struct Faults(AtomicI64);

impl Default for Faults {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MAX))
    }
}

impl Faults {
    pub(super) fn step(&self) -> io::Result<()> {
        if self.0.fetch_sub(1, Ordering::Relaxed) > 0 { Ok(()) } else { Err(io::Error::other("the power is gone")) }
    }
}
