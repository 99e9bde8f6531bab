//! Joining groups: letting others in, and being let in.
//!
//! `door` answers what anybody asks on `/lbm/node/1`; `knock` goes on with this node's own joinings until a member has let it in, over
//! restarts. **A secret of a ticket never leaves the node**: what goes over the wire is a proof for one identity. Who cannot prove a ticket
//! is told the same whether the group is here or not.

mod door;
mod knock;

use std::collections::BTreeMap;
use std::sync::Arc;

use libp2p::Multiaddr;
use tokio::sync::{mpsc, oneshot, watch};

use super::agents::Agents;
use super::ask::Ask;
use super::clock::unix_ms;
use super::driver::{Asked, Done, Work};
use super::events::Events;
use super::market::AskFailed;
use super::writer::{WriteError, Writer};
use super::{Node, Stopping};
use crate::chain::{GroupId, rows};
use crate::identity::{Identity, SecretKey};
use crate::join_request::{self, JoinRequest};
use crate::kv::{KvError, Read, Table};
use crate::ledger::state::{self, SealRow};
use crate::net::{Protocol, RequestError};
use crate::node::io::{InboundId, Input, Severity};
use crate::node::joining::{Applied, Joining, of_joining, of_request, requests_of, who_joins};
use crate::node::trade::shelf::Shelved;
use crate::store::{Registry, Store, View};
use crate::ticket::Ticket;
use crate::wire::node::{Over, Refused, Request, Response};

pub use knock::run;

/// What is asked of the driver.
pub enum JoinAsk {
    /// Ask a connected peer.
    Peer(Identity, Box<Request>, oneshot::Sender<Result<Response, AskFailed>>),
    /// Try to connect to peers that are said to be at these addresses.
    Meet(Vec<(Identity, Vec<String>)>),
    /// Look for members of these groups and no others that are being joined, by the secrets that their tickets have.
    Await(BTreeMap<GroupId, [u8; 32]>),
    /// Where this node can be called, the best first.
    Reached(oneshot::Sender<Vec<String>>),
    /// Sign a join request as one of this node's identities; none where it has no such key.
    Sign(JoinRequest, oneshot::Sender<Option<join_request::Unverified>>),
}

/// Letting in, and being let in. Cheap to clone.
#[derive(Clone)]
pub struct Door(Arc<Shared>);

struct Shared {
    me: Identity,
    store: Arc<Store>,
    writer: Writer,
    agents: Agents,
    events: Events,
    asks: mpsc::Sender<Ask>,
    drift_ms: u64,
    /// Held while requests are kept, so that their bound holds.
    keeping: tokio::sync::Mutex<()>,
    /// Changes with the joinings.
    changed: watch::Sender<u64>,
}

/// A joining of this node or an agent of it.
#[derive(Debug, Clone)]
pub struct Pending {
    /// Who wants to be let in.
    pub identity: Identity,
    /// Into which group.
    pub group: GroupId,
    /// By which ticket; none of one that is asked for. It has the group's discovery secret, by which members can be found.
    pub ticket: Option<Ticket>,
    /// The row.
    pub row: Joining,
}

/// All joinings that wait for a member, those among them that were given up and are still to be taken back.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn pending(view: &View) -> Result<Vec<Pending>, KvError> {
    let rows = view.local_rows(&[Joining::LETTER])?;
    let read = |(key, value): (Vec<u8>, Vec<u8>)| {
        let ((identity, group), row) = (who_joins(&key)?, Joining::from_row(&value)?);
        let ticket = row.ticket.as_ref().and_then(|text| Ticket::from_text(text).ok());
        Some(Pending { identity, group, ticket, row })
    };
    Ok(rows.into_iter().filter_map(read).collect())
}

/// The joining of one identity into one group; none of one that was given up.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn pending_of(view: &View, identity: &Identity, group: &GroupId) -> Result<Option<Joining>, KvError> {
    Ok(view
        .local(&of_joining(identity, group))?
        .and_then(|row| Joining::from_row(&row))
        .filter(|joining| !joining.withdrawn))
}

/// Whether the group that is here has the seal that a ticket names; none while nothing here reaches so far.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn is_the_one(kv: &dyn Read, ticket: &Ticket) -> Result<Option<bool>, KvError> {
    let Some(checkpoint) = ticket.checkpoint else { return Ok(Some(true)) };
    if state::sealing(kv)?.is_none_or(|sealing| sealing.epoch < checkpoint.epoch) {
        return Ok(None);
    }
    let seal: Option<SealRow> = rows::read_row(kv, Table::State, &state::seal_key(checkpoint.epoch))?;
    Ok(Some(seal.is_some_and(|seal| checkpoint.is(&seal.block))))
}

/// The requests that wait for an admin of a group, with those that were denied, and none that was taken back.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn requests(
    view: &View,
    group: &GroupId,
    now_ms: u64,
    drift_ms: u64,
) -> Result<Vec<(JoinRequest, Applied)>, KvError> {
    let rows = view.local_rows(&requests_of(group))?;
    let read = |(_, value): (Vec<u8>, Vec<u8>)| {
        let applied = Applied::from_row(&value)?;
        let request = applied.record.verify(now_ms, drift_ms).ok()?.request().clone();
        (!request.withdrawn).then_some((request, applied))
    };
    Ok(rows.into_iter().filter_map(read).collect())
}

impl Door {
    pub(super) fn new(
        me: Identity,
        store: Arc<Store>,
        writer: Writer,
        agents: Agents,
        events: Events,
        asks: mpsc::Sender<Ask>,
        drift_ms: u64,
    ) -> Self {
        let (keeping, changed) = (tokio::sync::Mutex::default(), watch::Sender::new(0));
        Self(Arc::new(Shared { me, store, writer, agents, events, asks, drift_ms, keeping, changed }))
    }

    /// How far clocks may differ, milliseconds.
    #[must_use]
    pub fn drift_ms(&self) -> u64 {
        self.0.drift_ms
    }

    /// Begins a joining, or begins it anew: durable when this returns.
    ///
    /// # Errors
    /// [`WriteError`]: nothing was begun.
    pub async fn begin(&self, identity: Identity, group: GroupId, joining: &Joining) -> Result<(), WriteError> {
        self.put(of_joining(&identity, &group), Some(joining.to_row())).await
    }

    /// Ends a joining, done or not.
    ///
    /// # Errors
    /// [`WriteError`]: it goes on.
    pub async fn end(&self, identity: &Identity, group: &GroupId) -> Result<(), WriteError> {
        self.put(of_joining(identity, group), None).await
    }

    /// Has all joinings looked at again: whose they are may have changed.
    pub fn look_again(&self) {
        self.0.changed.send_modify(|changed| *changed += 1);
    }

    /// Ends a request: it is answered.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn answered(&self, group: &GroupId, applicant: &Identity) -> Result<(), WriteError> {
        self.put(of_request(group, applicant), None).await
    }

    /// Notes that an admin here has said no, and tells the applicant where it is connected.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn deny(&self, group: &GroupId, applicant: &Identity, applied: Applied) -> Result<(), WriteError> {
        let row = Applied { denied_ms: Some(unix_ms()), ..applied }.to_row();
        self.put(of_request(group, applicant), Some(row)).await?;
        let (door, group, applicant) = (self.clone(), *group, *applicant);
        // One that is away is told when it asks again.
        tokio::spawn(async move { drop(door.ask_peer(applicant, Request::Denied(group)).await) });
        Ok(())
    }

    async fn put(&self, key: Vec<u8>, value: Option<Vec<u8>>) -> Result<(), WriteError> {
        let local = vec![(key, value)];
        self.0.writer.register(Registry { local, ..Registry::default() }).await?;
        self.0.changed.send_modify(|changed| *changed += 1);
        Ok(())
    }

    async fn ask_peer(&self, peer: Identity, request: Request) -> Result<Result<Response, AskFailed>, Stopping> {
        let (answer, answered) = oneshot::channel();
        let ask = Ask::Join(JoinAsk::Peer(peer, Box::new(request), answer));
        self.0.asks.send(ask).await.map_err(|_| Stopping)?;
        answered.await.map_err(|_| Stopping)
    }
}

impl Node {
    async fn ask_joining<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> JoinAsk) -> Result<T, Stopping> {
        self.ask(|answer| Ask::Join(ask(answer))).await
    }

    /// Asks a connected peer on `/lbm/node/1`.
    ///
    /// # Errors
    /// [`Stopping`]; inside, why there is no answer.
    pub async fn ask_node(&self, peer: Identity, request: Request) -> Result<Result<Response, AskFailed>, Stopping> {
        self.ask_joining(|answer| JoinAsk::Peer(peer, Box::new(request), answer)).await
    }

    /// Tries to connect to those that a ticket names.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn meet(&self, ticket: &Ticket) -> Result<(), Stopping> {
        let read = |bytes: &serde_bytes::ByteBuf| Some(Multiaddr::try_from(bytes.to_vec()).ok()?.to_string());
        let contacts = ticket.contacts.iter();
        let contacts = contacts.map(|contact| (contact.member, contact.addresses.iter().filter_map(read).collect()));
        self.asks.send(Ask::Join(JoinAsk::Meet(contacts.collect()))).await.map_err(|_| Stopping)
    }

    /// Looks for members of groups that are being joined, by their discovery secrets.
    pub(super) async fn look_for(&self, groups: BTreeMap<GroupId, [u8; 32]>) -> Result<(), Stopping> {
        self.asks.send(Ask::Join(JoinAsk::Await(groups))).await.map_err(|_| Stopping)
    }

    /// Where this node can be called, the best first.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn reached_at(&self) -> Result<Vec<String>, Stopping> {
        self.ask_joining(JoinAsk::Reached).await
    }

    /// Signs a join request as the identity; none where its key is gone, or nobody would accept it.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn sign_request(&self, request: JoinRequest) -> Result<Option<join_request::Unverified>, Stopping> {
        self.ask_joining(|answer| JoinAsk::Sign(request, answer)).await
    }
}

impl Work {
    pub(super) fn join_ask(&mut self, ask: JoinAsk) {
        // Whoever asked may have given up by now.
        match ask {
            JoinAsk::Peer(peer, request, answer) => {
                let id = self.parts.network.request(Protocol::Node, peer, request.encode());
                self.asked.insert(id, Asked::Joiner(answer));
            }
            JoinAsk::Meet(contacts) => {
                for (peer, addresses) in contacts {
                    self.parts.network.heard_of(&peer, &addresses);
                    self.parts.network.call(&peer);
                }
            }
            JoinAsk::Await(awaited) => {
                self.awaited = awaited;
                self.rendezvous.begin(self.uptime.ms());
            }
            JoinAsk::Reached(answer) => drop(answer.send(self.parts.network.addresses_to_tell())),
            JoinAsk::Sign(request, answer) => {
                let key: Option<&SecretKey> = self.parts.keys.get(&request.applicant);
                drop(answer.send(key.and_then(|key| request.sign(key).ok())));
            }
        }
    }

    /// A peer asks on `/lbm/node/1`. It is answered on another task.
    pub(super) fn node_asked(&mut self, peer: Identity, id: InboundId, bytes: &[u8]) {
        let payer = self.payer(&peer);
        let counted = self.count(peer, payer).and_then(|()| self.parts.allowance.joining(payer));
        if let Err(wait_ms) = counted {
            return self.node_respond(id, &Response::Refused(Refused::Busy(wait_ms)));
        }
        match Request::decode(bytes) {
            Ok(request) => {
                let (door, done) = (self.parts.door.clone(), self.done.clone());
                tokio::spawn(async move {
                    let (response, fault) = door.answer(peer, request).await;
                    // The driver is gone only when everything stops.
                    let _stopping = done.send(Done::NodeServed { id, peer, bytes: response.encode(), fault }).await;
                });
            }
            Err(error) => {
                tracing::info!(%peer, %error, "a request about joining that is none");
                self.node_respond(id, &Response::Refused(Refused::Malformed));
                self.step(Input::Malformed(peer, Severity::High));
            }
        }
    }

    pub(super) fn node_respond(&mut self, id: InboundId, response: &Response) {
        self.send(id, response.encode());
    }

    /// A question about joining was answered, or was not.
    pub(super) fn joiner_answered(
        &mut self,
        peer: Identity,
        result: Result<Vec<u8>, RequestError>,
        answer: oneshot::Sender<Result<Response, AskFailed>>,
    ) {
        self.tell_caller(peer, result, Response::decode, answer);
    }
}

/// The word by which it is kept that an admin has denied a request: the code of the API's problem.
pub const DENIED: &str = "request_denied";

/// The word by which a refusal of a ticket is kept: the code of the API's problem.
#[must_use]
pub const fn word_of(over: Over) -> &'static str {
    match over {
        Over::Expired => "ticket_expired",
        Over::UsedUp => "ticket_used_up",
        Over::Revoked => "ticket_revoked",
        Over::InviterGone | Over::Removed => "ticket_refused",
        Over::Full => "full",
    }
}
