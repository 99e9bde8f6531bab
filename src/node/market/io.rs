//! All that goes into the market's part of the protocol machine and all that comes out of it.

use crate::announcement::{Announcement, Offered, Verified};
use crate::chain::{GroupId, OfferId};
use crate::identity::Identity;
use crate::node::io::{InboundId, NoAnswer, Severity, Ticket};
use crate::package::{Commitment, PackageHash};
use crate::wire::market::{Request, Response};

/// Names an announcement that came by gossip until it is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GossipId(pub u64);

/// What becomes of an announcement that came by gossip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// It is handed on.
    Accept,
    /// It goes no further, and nobody is to blame.
    Ignore,
    /// It goes no further: whoever sent it is at fault.
    Reject,
}

/// An offer that this node announces as long as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnOffer {
    /// The group in which it is sold.
    pub group: GroupId,
    /// Which.
    pub offer: OfferId,
    /// The identity of this node that sells it.
    pub seller: Identity,
    /// What is announced.
    pub offered: Box<Offered>,
}

/// A package that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// What its offer commits to.
    pub commitment: Commitment,
    /// Who sells it: the first to be asked.
    pub seller: Identity,
}

/// What happens.
#[derive(Debug)]
pub enum Input {
    /// An announcement came by gossip.
    Gossip {
        /// Who handed it to us.
        peer: Identity,
        /// To be named in the judgement.
        id: GossipId,
        /// It.
        bytes: Vec<u8>,
    },
    /// A peer asks.
    Asked {
        /// Who.
        peer: Identity,
        /// To be named in the answer.
        id: InboundId,
        /// What.
        request: Request,
    },
    /// A request that was handed on with [`Output::Serve`] is answered.
    Served(Identity),
    /// A peer has answered, or will not.
    Answered {
        /// What was asked.
        ticket: Ticket,
        /// What it says.
        result: Result<Response, NoAnswer>,
    },
    /// An offer of ours stands: it is announced from now on, and after each start anew.
    Offer(OwnOffer),
    /// An offer of ours can be bought no more.
    Withdraw {
        /// In which group.
        group: GroupId,
        /// Which.
        offer: OfferId,
        /// Whose, of this node's identities.
        seller: Identity,
    },
    /// This node can be called elsewhere than before.
    Moved,
    /// An announcement is signed, as [`Output::Sign`] has asked.
    Signed(Verified),
    /// Somebody wants to know now what others have for sale.
    PullNow(Option<Identity>),
    /// Somebody wants a package.
    Fetch(Wanted),
    /// Nobody wants it any more.
    StopFetch(PackageHash),
    /// A package that was handed on with [`Output::Store`] is on the disk, or could not be kept.
    Stored(PackageHash, Result<(), NotStored>),
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
        /// What.
        request: Request,
    },
    /// Answer a request.
    Answer {
        /// Which.
        id: InboundId,
        /// With what.
        response: Response,
    },
    /// Answer a request for a package, or about an account, or take an order; and report [`Input::Served`].
    Serve {
        /// Which.
        id: InboundId,
        /// Whose.
        peer: Identity,
        /// What it asks.
        request: Request,
    },
    /// Say what becomes of an announcement.
    Judge(GossipId, Acceptance),
    /// Sign an announcement with its seller's key, dated by the clock but not before the date in it, with the addresses at which this node
    /// listens where something is offered, and report [`Input::Signed`].
    Sign(Announcement),
    /// Spread an announcement.
    Publish(Vec<u8>),
    /// Try to connect to somebody.
    Call(Identity),
    /// Keep a whole package, whose chunks are those of its commitment, and report [`Input::Stored`].
    Store(Commitment, Vec<u8>),
    /// A peer is at fault.
    Blame(Identity, Severity, &'static str),
    /// Tell who watches.
    Notice(Notice),
}

/// What those who watch a node are told of the market.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// An offer is new here, or was withdrawn.
    Offer(Box<Verified>),
    /// A peer's catalogue has been taken in.
    Pulled {
        /// Whose.
        peer: Identity,
        /// Announcements in it that were new.
        new: usize,
    },
    /// A part of a package has come.
    Fetching {
        /// Of which.
        package: PackageHash,
        /// Chunks that are here.
        chunks: u32,
        /// Of so many.
        of: u32,
    },
    /// A package that was wanted is on the disk, or will not be.
    Fetched(PackageHash, Result<(), NotFetched>),
}

/// Why a package could not be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotStored {
    /// There is no room.
    #[error("there is no room for it: {0}")]
    Full(String),
    /// The disk failed.
    #[error("it could not be written: {0}")]
    Failed(String),
}

/// Why a package was not fetched. It can be tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFetched {
    /// Too many others are.
    #[error("too many packages are being fetched: try again when one is done")]
    TooMany,
    /// Nobody who is connected has it, and its seller cannot be reached.
    #[error("no connected node has the package, and its seller cannot be reached: try again when the seller is there")]
    Nobody,
    /// It came and could not be kept.
    #[error("the package was fetched, and {0}")]
    NotStored(#[from] NotStored),
}
