//! All that goes into the protocol machine and all that comes out of it: one door, two closed enums.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::engine::{Ingested, News, ToSeal};
use super::market::io as market;
use super::subscription::Subscription;
use crate::chain::gone::Gone;
use crate::chain::{Frontier, GroupId, Tip, Unverified};
use crate::identity::Identity;
use crate::presence;
use crate::wire::{Request, Response};

/// Names a request that the machine has asked for, or a batch that it has handed on, until the answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Names a peer's request until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InboundId(pub u64);

/// What happens to a node.
#[derive(Debug)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// A group is kept here: at start, when it is founded, and when it is joined.
    Opened(Opened),
    /// A group is kept no more.
    Closed(GroupId),
    /// A first connection to a peer stands.
    Connected(Identity),
    /// The last one is gone.
    Disconnected(Identity),
    /// A peer asks.
    Asked {
        /// Who.
        peer: Identity,
        /// To be named in the answer.
        id: InboundId,
        /// What.
        request: Request,
        /// The world's clock when it came, milliseconds since 1970 UTC.
        clock_ms: u64,
    },
    /// A peer sent what is no message, and how heavily that counts.
    Malformed(Identity, Severity),
    /// A peer has done something that the machine does not see, how heavily it counts, and what it was.
    Blamed(Identity, Severity, &'static str),
    /// A peer has answered, or will not.
    Answered {
        /// What was asked.
        ticket: Ticket,
        /// What it says.
        result: Result<Response, NoAnswer>,
    },
    /// A request that was handed on with [`Output::Serve`] is answered.
    Served(Identity),
    /// A batch that was handed on with [`Output::Ingest`] is durable, or was not taken.
    Ingested {
        /// Which.
        ticket: Ticket,
        /// What it came to.
        result: Result<Ingested, NotIngested>,
    },
    /// Blocks have become durable.
    News(News),
    /// One of this node's identities says what it is up to: it counts from now on, and the members are told.
    Presence(presence::Verified),
    /// These are the agents of this node from now on.
    Hosts(BTreeSet<Identity>),
    /// Somebody wants a group to be up to date now: with one peer, or with all.
    SyncNow(GroupId, Option<Identity>),
    /// How a group is synced from now on.
    Subscribe(GroupId, Subscription),
    /// Something happened on the market, when the world's clock showed so many milliseconds since 1970 UTC.
    Market(u64, market::Input),
}

/// What is known of a group when it is opened.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Which.
    pub group: GroupId,
    /// What is here of it; nothing right after joining.
    pub frontier: Frontier,
    /// Its members, as far as is known.
    pub members: Vec<Identity>,
    /// Who was named as a member and is none, and why.
    pub former: BTreeMap<Identity, Gone>,
    /// Why none of this node's identities is a member any more, as members say, and who of them does.
    pub shut_out: Option<(Gone, Identity)>,
    /// Whether our own line is in doubt.
    pub in_doubt: bool,
    /// What waits to be sealed by this node; none where another seals the group.
    pub to_seal: Option<ToSeal>,
}

impl Opened {
    /// What is known of a group of which nothing is here.
    #[must_use]
    pub fn blank(group: GroupId) -> Self {
        Self {
            group,
            frontier: Frontier::default(),
            members: vec![],
            former: BTreeMap::new(),
            shut_out: None,
            in_doubt: false,
            to_seal: None,
        }
    }
}

/// Why a request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswer {
    /// The connection is gone, or nothing came in time.
    Lost,
    /// What came is no message.
    Malformed,
}

/// Why a batch was not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotIngested {
    /// A block of it is invalid: the sender is at fault.
    Invalid,
    /// A block of it is dated ahead of our clock, or needs a newer version: one of the two machines is at fault. The others may have
    /// been taken; they come as news.
    NotYet,
    /// The store failed, or the group was left.
    Failed,
}

/// How heavily a fault counts against a peer. At a hundred in sum it is sent away; a point is forgiven each second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// An honest peer may do it now and then.
    Low,
    /// An honest peer does it after a fault of its own.
    Mid,
    /// No honest peer does it, but for a mistake of its maker's.
    High,
    /// It can only be meant: once is enough.
    Fatal,
}

impl Severity {
    /// Its weight.
    #[must_use]
    pub const fn points(self) -> u64 {
        match self {
            Self::Low => 2,
            Self::Mid => 10,
            Self::High => 50,
            Self::Fatal => 100,
        }
    }
}

/// What a node does.
#[derive(Debug)]
pub enum Output {
    /// Send a request; its answer comes back under the ticket.
    Ask {
        /// To be named by the answer.
        ticket: Ticket,
        /// Whom.
        peer: Identity,
        /// What. Shared, because one push goes to many.
        request: Arc<Request>,
    },
    /// Answer a request.
    Answer {
        /// Which.
        id: InboundId,
        /// With what.
        response: Response,
    },
    /// Answer a request from the store with [`super::serve::serve`], and report [`Input::Served`].
    Serve {
        /// Which.
        id: InboundId,
        /// Whose.
        peer: Identity,
        /// It, and those for whom it acts.
        asks_as: Vec<Identity>,
        /// What it asks.
        request: Request,
    },
    /// Answer a request: where these are, as far as whoever asks can have a use for it.
    TellPeers {
        /// Which.
        id: InboundId,
        /// Who asks.
        asker: Identity,
        /// Members that are connected.
        peers: Vec<Identity>,
    },
    /// A member says where another is: as multiaddrs without `/p2p/`.
    HeardOf(Identity, Vec<String>),
    /// Sign a new delegation of each agent to this node, and show them with [`crate::wire::shown`]: the answer comes back under the ticket.
    Show {
        /// To be named by the answer.
        ticket: Ticket,
        /// Whom.
        peer: Identity,
        /// For which group.
        group: GroupId,
        /// Agents of this node; none where what was shown before is over.
        agents: Vec<Identity>,
        /// Whether the peer is not known to have the group, so that it may learn of it only if it has.
        is_knock: bool,
    },
    /// Verify blocks, take them in, and report [`Input::Ingested`].
    Ingest {
        /// To be named by the report.
        ticket: Ticket,
        /// Who sent them.
        peer: Identity,
        /// Where they belong.
        group: GroupId,
        /// The blocks.
        blocks: Vec<Unverified>,
        /// The objects.
        objects: Vec<Vec<u8>>,
    },
    /// Write a seal, and report nothing: it comes as news.
    Seal(GroupId),
    /// Break with a peer for a while, for what it did last.
    Ban(Identity, &'static str),
    /// Take the doubt about our own lines off a group, with [`super::engine::Task::Settle`]: as long as these are their tips.
    Settle(GroupId, Vec<(Identity, Vec<Tip>)>),
    /// Note what members say of this node's membership, with [`super::engine::Task::ShutOut`]: why it is over and who says so, or nothing.
    ShutOut(GroupId, Option<(Gone, Identity)>),
    /// Tell who watches.
    Notice(Notice),
    /// Do something on the market. [`market::Output::Blame`] is not among it: the machine has seen to that.
    Market(market::Output),
}

/// What those who watch a node are told of its sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Blocks have come and more are on their way.
    Progress {
        /// Of which group.
        group: GroupId,
        /// From whom.
        peer: Identity,
        /// Blocks taken since the pull began.
        blocks: usize,
    },
    /// Nothing is missing any more of what a peer had.
    CaughtUp {
        /// Of which group.
        group: GroupId,
        /// With whom.
        peer: Identity,
        /// Blocks taken since the pull began.
        blocks: usize,
    },
    /// A peer does not share the group with us: it has it not, or this node is no member there.
    NotShared {
        /// Which group.
        group: GroupId,
        /// Who.
        peer: Identity,
    },
    /// A member, or this node itself, says of itself something else than before.
    Presence(presence::Verified),
    /// A peer sent a presence record that is dated ahead of our clock: its clock, ours or the member's is wrong. It was not taken.
    EarlyPresence {
        /// Of which group.
        group: GroupId,
        /// Whose.
        member: Identity,
        /// How far ahead, milliseconds.
        ahead_ms: u64,
    },
    /// A peer misbehaved.
    Fault {
        /// Who.
        peer: Identity,
        /// How badly.
        severity: Severity,
        /// In what.
        what: &'static str,
    },
}
