//! The market's share of the driver: gossip, catalogues and packages between the network and the protocol machine, and what the rest
//! of the daemon asks of them.
//!
//! **Nothing here waits**: packages are read and written on other threads, and what buyers ask of a member goes to a [`Desk`].

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::ask::Ask;
use super::clock::unix_ms;
use super::driver::{Asked, Done, Work};
use super::{Node, Stopping};
use crate::announcement::{Announcement, Says, Verified};
use crate::api::types::EventKind;
use crate::cbor;
use crate::chain::transaction::SignedOrder;
use crate::chain::{GroupId, OfferId};
use crate::delegation::Shown;
use crate::identity::Identity;
use crate::kv::KvError;
use crate::ledger::market::query;
use crate::limits;
use crate::metrics::Queue;
use crate::net::{self, Protocol, RequestError};
use crate::node::engine::Groups;
use crate::node::io::{InboundId, Input, NoAnswer, Severity};
use crate::node::market::Filter;
use crate::node::market::io::{
    Acceptance, GossipId, Input as MarketInput, NotFetched, NotStored, Notice, Output, OwnOffer, Wanted,
};
use crate::package::PackageHash;
use crate::store::{PackageStoreError, Packages};
use crate::wire::market::{Account, GetAccount, GetPackage, HandedDispute, Place, Refused, Request, Response};

/// Answers what buyers ask of a member. The connection has proven who asks.
#[async_trait]
pub trait Desk: Send + Sync + 'static {
    /// Takes an order to be written into the chain of its group: [`Response::Ordered`] once it is durable, or a refusal. Whoever holds an
    /// order may hand it over; what binds is the buyer's signature.
    async fn order(&self, from: Identity, order: SignedOrder) -> Response;

    /// Takes a dispute to be written: [`Response::Ordered`] once it is durable, or a refusal. The secret in it speaks for the buyer.
    async fn dispute(&self, from: Identity, handed: HandedDispute) -> Response;

    /// What `asker` may know: its own account in a group, and its own purchases. Of a group that is not here, and of one in which it has
    /// no account, `None`: nobody can tell which.
    async fn account(&self, asker: Identity, about: GetAccount) -> Result<Option<Account>, KvError>;
}

/// What is told of an account: of the peer's own, or of that of an agent that has signed that the peer may act for it.
async fn told_about(desk: &dyn Desk, peer: Identity, about: GetAccount) -> Result<Option<Account>, KvError> {
    let Some(agent) = &about.agent else { return desk.account(peer, about).await };
    let shown = Shown { group: about.group, by: peer, clock_ms: unix_ms(), drift_ms: limits::MAX_CLOCK_DRIFT_MS };
    match agent.verify(&shown) {
        Ok(verified) => desk.account(verified.agent, about).await,
        // Its clock or ours may be wrong: it hears what anybody hears who has no account.
        Err(error) => {
            tracing::info!(%peer, %error, "asked about an account of another");
            Ok(None)
        }
    }
}

/// A desk that is closed.
pub struct Closed;

#[async_trait]
impl Desk for Closed {
    async fn order(&self, _: Identity, _: SignedOrder) -> Response {
        Response::Refused(Refused::NotShared)
    }

    async fn dispute(&self, _: Identity, _: HandedDispute) -> Response {
        Response::Refused(Refused::NotShared)
    }

    async fn account(&self, _: Identity, _: GetAccount) -> Result<Option<Account>, KvError> {
        Ok(None)
    }
}

/// Why a peer did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskFailed {
    /// The connection.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// It is no answer: the peer has been blamed for it.
    #[error("the peer's answer is malformed")]
    Malformed,
}

/// Offers that a filter asks for, and whether there are more behind the last.
pub type Offers = (Vec<Verified>, bool);

/// What is asked of the driver.
pub enum MarketAsk {
    /// Offers behind a place, at most so many.
    Offers(Filter, Option<Place>, usize, oneshot::Sender<Offers>),
    /// The announcements of one offer.
    Offer(OfferId, oneshot::Sender<Vec<Verified>>),
    /// Announce an offer of ours as long as it stands.
    Announce(OwnOffer),
    /// Withdraw one: the group, whose, which.
    Withdraw(GroupId, Place),
    /// Pull catalogues now: of one peer, or of all. Tells of how many.
    Pull(Option<Identity>, oneshot::Sender<usize>),
    /// Fetch a package.
    Fetch(Wanted, oneshot::Sender<Result<(), NotFetched>>),
    /// Ask a peer.
    Peer(Identity, Box<Request>, oneshot::Sender<Result<Response, AskFailed>>),
    /// Try to connect to somebody; tells whether it is known where.
    Call(Identity, oneshot::Sender<bool>),
}

impl Node {
    async fn ask_market<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> MarketAsk) -> Result<T, Stopping> {
        self.ask(|answer| Ask::Market(ask(answer))).await
    }

    /// Offers that are known here, behind a place, at most `limit`, and whether there are more.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn offers(&self, filter: Filter, after: Option<Place>, limit: usize) -> Result<Offers, Stopping> {
        self.ask_market(|answer| MarketAsk::Offers(filter, after, limit, answer)).await
    }

    /// The announcements of one offer: more than one where somebody else claims to sell it.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn offer(&self, offer: OfferId) -> Result<Vec<Verified>, Stopping> {
        self.ask_market(|answer| MarketAsk::Offer(offer, answer)).await
    }

    /// Announces an offer of ours, now and as long as this process runs and it is not withdrawn. To be told anew at each start.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn announce(&self, offer: OwnOffer) -> Result<(), Stopping> {
        self.asks.send(Ask::Market(MarketAsk::Announce(offer))).await.map_err(|_| Stopping)
    }

    /// Withdraws an offer of ours that was revoked, or is over.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn withdraw(&self, group: GroupId, place: Place) -> Result<(), Stopping> {
        self.asks.send(Ask::Market(MarketAsk::Withdraw(group, place))).await.map_err(|_| Stopping)
    }

    /// Pulls the catalogue of one connected peer, or of all; tells of how many.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn pull_market(&self, peer: Option<Identity>) -> Result<usize, Stopping> {
        self.ask_market(|answer| MarketAsk::Pull(peer, answer)).await
    }

    /// Has a package on the disk, from whoever has it.
    ///
    /// # Errors
    /// [`Stopping`]; inside, why it could not be had. Called again, it goes on.
    pub async fn fetch_package(&self, wanted: Wanted) -> Result<Result<(), NotFetched>, Stopping> {
        self.ask_market(|answer| MarketAsk::Fetch(wanted, answer)).await
    }

    /// Asks a connected peer on `/lbm/market/1`.
    ///
    /// # Errors
    /// [`Stopping`]; inside, why there is no answer.
    pub async fn ask_peer(&self, peer: Identity, request: Request) -> Result<Result<Response, AskFailed>, Stopping> {
        self.ask_market(|answer| MarketAsk::Peer(peer, Box::new(request), answer)).await
    }

    /// Tries to connect to a peer that is not connected; tells whether it is known where it is.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn call_peer(&self, peer: Identity) -> Result<bool, Stopping> {
        self.ask_market(|answer| MarketAsk::Call(peer, answer)).await
    }
}

impl Work {
    pub(super) fn step_market(&mut self, input: MarketInput) {
        self.step(Input::Market(unix_ms(), input));
    }

    pub(super) fn market_ask(&mut self, ask: MarketAsk) {
        // Whoever asked may have given up by now.
        match ask {
            MarketAsk::Offers(filter, after, limit, answer) => {
                let (offers, more) = self.parts.machine.offers(unix_ms()).page(&filter, after, limit);
                let _gone = answer.send((offers.into_iter().cloned().collect(), more));
            }
            MarketAsk::Offer(offer, answer) => {
                let _gone = answer.send(self.parts.machine.offers(unix_ms()).of_offer(offer).cloned().collect());
            }
            MarketAsk::Announce(offer) => self.step_market(MarketInput::Offer(offer)),
            MarketAsk::Withdraw(group, Place { seller, offer }) => {
                self.step_market(MarketInput::Withdraw { group, offer, seller });
            }
            MarketAsk::Pull(peer, answer) => {
                let connected = self.parts.network.peers().into_iter().filter(|info| info.link.is_some());
                let asked = connected.filter(|info| peer.is_none_or(|peer| peer == info.peer)).count();
                let _gone = answer.send(asked);
                self.step_market(MarketInput::PullNow(peer));
            }
            MarketAsk::Fetch(wanted, answer) => {
                self.fetching.entry(wanted.commitment.package).or_default().push(answer);
                self.look_then_fetch(wanted);
            }
            MarketAsk::Peer(peer, request, answer) => {
                let id = self.parts.network.request(Protocol::Market, peer, request.encode());
                self.asked.insert(id, Asked::Caller(answer));
            }
            MarketAsk::Call(peer, answer) => {
                let _gone = answer.send(self.call(&peer));
            }
        }
    }

    /// A peer asks on the market.
    pub(super) fn market_asked(&mut self, peer: Identity, id: InboundId, bytes: &[u8]) {
        let payer = self.payer(&peer);
        if let Err(wait_ms) = self.count(peer, payer) {
            return self.market_respond(id, &Response::Refused(Refused::Busy(wait_ms)));
        }
        let request = match Request::decode(bytes) {
            Ok(request) => request,
            Err(error) => {
                tracing::info!(%peer, %error, "a request on the market that is none");
                self.market_respond(id, &Response::Refused(Refused::Malformed));
                return self.step(Input::Malformed(peer, Severity::High));
            }
        };
        let admitted = match &request {
            Request::Catalogue(_) => self.make_room(id, payer, limits::CATALOGUE_BYTES),
            Request::Package(asked) => {
                let bytes = asked.count.min(limits::PACKAGE_RANGE_CHUNKS) as usize * limits::PACKAGE_CHUNK_BYTES;
                self.make_room(id, payer, bytes).and_then(|()| self.parts.allowance.package(payer, bytes))
            }
            Request::Order(_) | Request::Dispute(_) | Request::Account(_) => Ok(()),
        };
        match admitted {
            Ok(()) => self.step_market(MarketInput::Asked { peer, id, request }),
            Err(wait_ms) => self.market_respond(id, &Response::Refused(Refused::Busy(wait_ms))),
        }
    }

    pub(super) fn market_respond(&mut self, id: InboundId, response: &Response) {
        if let Response::Refused(refused) = response {
            self.parts.metrics.refused("market", verdict(refused));
        }
        self.send(id, response.encode());
    }

    /// A caller's question was answered, or was not.
    pub(super) fn caller_answered(
        &mut self,
        peer: Identity,
        result: Result<Vec<u8>, RequestError>,
        answer: oneshot::Sender<Result<Response, AskFailed>>,
    ) {
        self.tell_caller(peer, result, Response::decode, answer);
    }

    /// Hands an answer to who waits for it, in whatever protocol. One that is none is the peer's fault.
    pub(super) fn tell_caller<T>(
        &mut self,
        peer: Identity,
        result: Result<Vec<u8>, RequestError>,
        decode: impl FnOnce(&[u8]) -> Result<T, cbor::DecodeError>,
        answer: oneshot::Sender<Result<T, AskFailed>>,
    ) {
        let answered = match result {
            Ok(bytes) => decode(&bytes).map_err(|_| AskFailed::Malformed),
            Err(RequestError::Malformed(what)) if what != net::Malformed::Truncated => Err(AskFailed::Malformed),
            Err(error) => Err(AskFailed::Request(error)),
        };
        if matches!(answered, Err(AskFailed::Malformed)) {
            self.step(Input::Malformed(peer, Severity::High));
        }
        let _gone = answer.send(answered);
    }

    pub(super) fn market_act(&mut self, output: Output) {
        match output {
            Output::Ask { ticket, peer, request } => {
                let id = self.parts.network.request(Protocol::Market, peer, request.encode());
                self.asked.insert(id, Asked::Market(ticket));
            }
            Output::Answer { id, response } => self.market_respond(id, &response),
            Output::Serve { id, peer, request } => self.market_serve(id, peer, request),
            Output::Judge(id, acceptance) => {
                let acceptance = match acceptance {
                    Acceptance::Accept => net::Acceptance::Accept,
                    Acceptance::Ignore => net::Acceptance::Ignore,
                    Acceptance::Reject => net::Acceptance::Reject,
                };
                self.parts.network.judge(net::GossipId(id.0), acceptance);
            }
            Output::Sign(announcement) => self.sign(announcement),
            Output::Publish(bytes) => self.parts.network.publish(bytes),
            Output::Call(peer) => {
                if !self.call(&peer) {
                    tracing::debug!(%peer, "a seller whose address is not known");
                }
            }
            Output::Store(commitment, ciphertext) => {
                let (packages, done) = (Arc::clone(&self.parts.packages), self.done.clone());
                tokio::task::spawn_blocking(move || {
                    let result = packages.put(&commitment, &ciphertext).map_err(not_stored);
                    // The driver is gone only when everything stops.
                    let _stopping = done.blocking_send(Done::Stored(commitment.package, result));
                });
            }
            // The machine has seen to it.
            Output::Blame(..) => {}
            Output::Notice(notice) => self.market_notice(notice),
        }
    }

    pub(super) fn gossip(&mut self, peer: Identity, id: net::GossipId, bytes: Vec<u8>) {
        self.step_market(MarketInput::Gossip { peer, id: GossipId(id.0), bytes });
    }

    /// Has somebody called who is not connected, also where its announcements say that it is; tells whether any address of it is known.
    fn call(&mut self, peer: &Identity) -> bool {
        let told = self.parts.machine.offers(unix_ms()).addresses(peer).to_vec();
        self.parts.network.heard_of(peer, &told);
        self.parts.network.call(peer)
    }

    /// Signs what is said of an offer of ours.
    fn sign(&mut self, announcement: Announcement) {
        let Some(key) = self.parts.keys.get(&announcement.seller) else {
            tracing::error!(seller = %announcement.seller, "an offer of an identity whose key is not here is not announced");
            return;
        };
        let addresses = match announcement.says {
            Says::Offered(_) => self.parts.network.addresses_to_tell(),
            Says::Withdrawn => vec![],
        };
        let time_ms = announcement.time_ms.max(unix_ms());
        let announcement = Announcement { time_ms, addresses, ..announcement };
        match announcement.sign(key) {
            Ok(record) => self.step_market(MarketInput::Signed(record)),
            Err(error) => tracing::error!(%error, "an offer cannot be announced"),
        }
    }

    /// Whether an offer was in the blocks that were here when the daemon started.
    fn stood_at_start(&self, group: &GroupId, offer: &OfferId) -> bool {
        let Some(at_start) = self.parts.at_start.get(group) else { return false };
        let row = || -> Result<_, KvError> {
            let view = self.parts.store.view()?;
            let Some(kv) = view.group(group)? else { return Ok(None) };
            Ok(query::offer(kv.as_ref(), offer)?.map(|offer| offer.row))
        };
        match row() {
            Ok(row) => row.is_some_and(|row| at_start.tips(&row.seller).iter().any(|tip| row.seq <= tip.seq)),
            Err(error) => {
                tracing::warn!(%error, %offer, "whether an offer is new cannot be read");
                false
            }
        }
    }

    fn market_notice(&mut self, notice: Notice) {
        match notice {
            Notice::Offer(record) => {
                let Announcement { group, offer, seller, says, .. } = record.announcement();
                // The catalogue is gathered anew after a start, and what stood before is no news.
                if matches!(says, Says::Offered(_)) && self.stood_at_start(group, offer) {
                    return;
                }
                let (group_id, offer_id, seller) = (group.to_string(), offer.to_string(), seller.to_string());
                self.parts.events.tell(match says {
                    Says::Offered(offered) => {
                        let (title, price) = (offered.offer.title.clone(), offered.offer.price);
                        EventKind::OfferListed { group_id, offer_id, seller, title, price }
                    }
                    Says::Withdrawn => EventKind::OfferWithdrawn { group_id, offer_id, seller },
                });
            }
            Notice::Pulled { peer, new } => tracing::debug!(%peer, new, "pulled a catalogue"),
            Notice::Fetching { package, chunks, of } => tracing::debug!(%package, chunks, of, "fetching"),
            Notice::Fetched(package, result) => {
                if result == Err(NotFetched::TooMany) {
                    self.parts.metrics.overflowed(Queue::Fetches, 1);
                }
                if let Err(error) = &result {
                    tracing::info!(%package, %error, "a package was not fetched");
                }
                for answer in self.fetching.remove(&package).unwrap_or_default() {
                    let _gone = answer.send(result.clone());
                }
            }
        }
    }

    /// Fetches a package, unless it is on the disk.
    fn look_then_fetch(&self, wanted: Wanted) {
        let (packages, done) = (Arc::clone(&self.parts.packages), self.done.clone());
        tokio::task::spawn_blocking(move || {
            let found = packages.has(&wanted.commitment.package);
            let _stopping = done.blocking_send(Done::Looked(wanted, found));
        });
    }

    pub(super) fn looked(&mut self, wanted: Wanted, found: bool) {
        if found {
            self.market_notice(Notice::Fetched(wanted.commitment.package, Ok(())));
        } else {
            self.step_market(MarketInput::Fetch(wanted));
        }
    }

    pub(super) fn market_answered(&mut self, ticket: crate::node::io::Ticket, result: Result<Vec<u8>, RequestError>) {
        let result = match result {
            Ok(bytes) => Response::decode(&bytes).map_err(|_| NoAnswer::Malformed),
            // A peer that loses power in the middle of an answer looks like this.
            Err(RequestError::Malformed(net::Malformed::Truncated)) => Err(NoAnswer::Lost),
            Err(RequestError::Malformed(_)) => Err(NoAnswer::Malformed),
            Err(_) => Err(NoAnswer::Lost),
        };
        self.step_market(MarketInput::Answered { ticket, result });
    }

    /// Answers a peer on other threads.
    fn market_serve(&self, id: InboundId, peer: Identity, request: Request) {
        let (serving, done) = (Arc::clone(&self.serving), self.done.clone());
        let (packages, desk) = (Arc::clone(&self.parts.packages), Arc::clone(&self.parts.desk));
        tokio::spawn(async move {
            let response = match request {
                Request::Package(asked) => {
                    let permit = serving.acquire_owned().await;
                    let read = move || {
                        let _held = permit;
                        chunks(&packages, &asked)
                    };
                    tokio::task::spawn_blocking(read).await.unwrap_or(Response::Refused(Refused::Failed))
                }
                Request::Order(order) => desk.order(peer, *order).await,
                Request::Dispute(handed) => desk.dispute(peer, *handed).await,
                Request::Account(about) => match told_about(&*desk, peer, about).await {
                    Ok(Some(account)) => Response::Account(account),
                    Ok(None) => Response::Refused(Refused::NotShared),
                    Err(error) => {
                        tracing::error!(%error, "could not read an account for a peer");
                        Response::Refused(Refused::Failed)
                    }
                },
                // The machine answers it.
                Request::Catalogue(_) => Response::Refused(Refused::Malformed),
            };
            // The driver is gone only when everything stops.
            let _stopping = done.send(Done::MarketServed { id, peer, bytes: response.encode() }).await;
        });
    }
}

/// A part of a package for a peer.
fn chunks(packages: &Packages, asked: &GetPackage) -> Response {
    match packages.chunks(&asked.package, asked.from, asked.count) {
        Ok(Some(chunks)) if !chunks.is_empty() => Response::Chunks(chunks),
        Ok(Some(_)) => Response::Refused(Refused::Malformed),
        Ok(None) => Response::Refused(Refused::Unknown),
        Err(error) => {
            tracing::error!(%error, "a package cannot be handed on");
            Response::Refused(Refused::Failed)
        }
    }
}

fn not_stored(error: PackageStoreError) -> NotStored {
    match error {
        PackageStoreError::Full { .. } | PackageStoreError::DiskFull { .. } => NotStored::Full(error.to_string()),
        error => NotStored::Failed(error.to_string()),
    }
}

/// Callers that wait for packages.
pub(super) type Fetching = std::collections::BTreeMap<PackageHash, Vec<oneshot::Sender<Result<(), NotFetched>>>>;

const fn verdict(refused: &Refused) -> &'static str {
    match refused {
        Refused::Unknown => "unknown",
        Refused::NotShared => "not_shared",
        Refused::Declined(_) => "declined",
        Refused::Busy(_) => "busy",
        Refused::Malformed => "malformed",
        Refused::Failed => "failed",
    }
}

#[cfg(test)]
mod tests;
