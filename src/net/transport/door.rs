//! Where inbound connections can be told to give up before they have shown who they are.
//!
//! libp2p asks whether a connection may come in, and then waits for its handshake for as long as that takes. So each comes with a handle
//! that ends it, which the gate takes up when it is asked: **the last that came is the one that is asked about**, for libp2p asks before
//! it looks for the next.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures::future::{AbortHandle, Abortable, BoxFuture};
use libp2p::Multiaddr;
use libp2p::core::transport::{DialOpts, ListenerId, Transport, TransportError, TransportEvent};

/// The handle of the connection that came last.
#[derive(Debug, Default)]
pub(in crate::net) struct Door(Mutex<Option<AbortHandle>>);

impl Door {
    /// Takes the handle of the connection that came last.
    pub(in crate::net) fn take(&self) -> Option<AbortHandle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, handle: AbortHandle) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle);
    }
}

/// A transport whose inbound connections come through a [`Door`].
pub(super) struct Guarded<T> {
    transport: T,
    door: Arc<Door>,
}

impl<T> Guarded<T> {
    pub(super) const fn new(transport: T, door: Arc<Door>) -> Self {
        Self { transport, door }
    }
}

impl<T> Transport for Guarded<T>
where
    T: Transport<Error = io::Error> + Unpin,
    T::ListenerUpgrade: Send + 'static,
    T::Output: 'static,
{
    type Output = T::Output;
    type Error = io::Error;
    type ListenerUpgrade = BoxFuture<'static, io::Result<T::Output>>;
    type Dial = T::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.transport.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.transport.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, opts: DialOpts) -> Result<T::Dial, TransportError<io::Error>> {
        self.transport.dial(address, opts)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        let event = Pin::new(&mut self.transport).poll(cx);
        event.map(|event| event.map_upgrade(|upgrade| self.watch(upgrade)))
    }
}

impl<T> Guarded<T> {
    fn watch<O: 'static>(
        &self,
        upgrade: impl Future<Output = io::Result<O>> + Send + 'static,
    ) -> BoxFuture<'static, io::Result<O>> {
        let (handle, registration) = AbortHandle::new_pair();
        self.door.put(handle);
        let upgrade = Abortable::new(upgrade, registration);
        Box::pin(async move { upgrade.await.unwrap_or_else(|_| Err(io::ErrorKind::ConnectionAborted.into())) })
    }
}
