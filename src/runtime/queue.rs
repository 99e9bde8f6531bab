//! How full a queue is, for whoever watches it.

use std::sync::Arc;

use tokio::sync::mpsc;

/// Tells how full a queue is, and does not keep its reader running. Cheap to clone.
#[derive(Clone)]
pub struct Gauge(Arc<dyn Fn() -> Option<(usize, usize)> + Send + Sync>);

impl Gauge {
    /// Of a queue.
    #[must_use]
    pub fn of<T: Send + 'static>(queue: &mpsc::Sender<T>) -> Self {
        let weak = queue.downgrade();
        Self(Arc::new(move || {
            let queue = weak.upgrade()?;
            Some((queue.max_capacity() - queue.capacity(), queue.max_capacity()))
        }))
    }

    /// How much waits in it, and how much it takes; nothing where nobody fills it any more.
    #[must_use]
    pub fn read(&self) -> Option<(usize, usize)> {
        (self.0)()
    }
}
