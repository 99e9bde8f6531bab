//! Why something could not be bought or sold.

use crate::chain::{GroupId, OfferId};
use crate::identity::Identity;
use crate::kv::KvError;
use crate::ledger::Refusal;
use crate::ledger::market::MarketRefusal;
use crate::node::engine::Failure;
use crate::node::market::io::NotFetched;
use crate::package::PackageError;
use crate::runtime::Stopping;
use crate::runtime::writer::WriteError;
use crate::store::PackageStoreError;

/// Why something could not be bought or sold. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TradeError {
    /// Nothing of that name is known.
    #[error(
        "no offer `{0}` is known here: `lbm ctl offer list` shows which are, and `lbm ctl market pull` asks the connected peers"
    )]
    NoSuchOffer(String),
    /// Several offers begin so.
    #[error("{count} offers fit `{text}`, first {first}: give more digits of the id")]
    Ambiguous {
        /// What was typed.
        text: String,
        /// How many fit.
        count: usize,
        /// One of them.
        first: OfferId,
    },
    /// Several nodes say that the offer is theirs.
    #[error(
        "{count} nodes say that they sell the offer {offer}, and one of them lies: name the one that you mean with --seller"
    )]
    Sellers {
        /// The offer.
        offer: OfferId,
        /// How many.
        count: usize,
    },
    /// It costs more than was allowed.
    #[error(
        "the offer {offer} costs {price}, and at most {most} was allowed: nothing was paid; give a higher --max-price, or look for another"
    )]
    PriceAbove {
        /// The offer.
        offer: OfferId,
        /// What it costs.
        price: u64,
        /// What was allowed.
        most: u64,
    },
    /// The package cannot be had.
    #[error(
        "the package of the offer {offer} is not here, and nothing was paid ({why}): try again later, when its seller or another node that has it is connected"
    )]
    NotFetched {
        /// The offer.
        offer: OfferId,
        /// Why not.
        why: NotFetched,
    },
    /// The same, of something that was bought.
    #[error(
        "the package of the offer {offer} is not on this disk ({why}): try again when its seller or another node that has it is connected; it is yours"
    )]
    NotHere {
        /// The offer.
        offer: OfferId,
        /// Why not.
        why: NotFetched,
    },
    /// A seller's own package is gone.
    #[error(
        "the package of this node's own offer {0} is missing or damaged on this disk, and buyers cannot have it: put the file back from a copy, or revoke the offer and offer the content again"
    )]
    Lost(OfferId),
    /// There was no time left.
    #[error(
        "the package of the offer {0} has not come in time, and nothing was paid: repeat the command, it goes on where it was"
    )]
    FetchLate(OfferId),
    /// A person has to approve too many already.
    #[error("{max} purchases wait for approval already: approve some of them, or raise the limit (`lbm ctl offer limit`)", max = crate::limits::WISHES)]
    TooManyWishes,
    /// Too many purchases elsewhere are under way.
    #[error("{max} purchases in groups of others are under way: wait until some of them have ended", max = crate::limits::OUTSIDE_ORDERS)]
    TooManyOutside,
    /// Nothing waits to be approved.
    #[error("no purchase of the offer {0} waits for approval: `lbm ctl offer purchases` shows which do")]
    NothingToApprove(OfferId),
    /// Nobody can tell about the account.
    #[error(
        "no member of the group {0} could be asked about this node's account: nothing was paid; connect to the seller, or to another member (`lbm ctl peer list`)"
    )]
    NoMember(GroupId),
    /// A member says that there is no account.
    #[error(
        "this node has no account in the group {group} as far as {asked} tells: have somebody transfer tokens to it first"
    )]
    NoAccount {
        /// The group.
        group: GroupId,
        /// Who was asked.
        asked: Identity,
    },
    /// A member did not take the order.
    #[error(
        "nobody has taken the order, and nothing is paid: {0}; `lbm ctl offer purchases` shows whether somebody takes it yet, and after that buying again orders anew"
    )]
    Declined(String),
    /// The ledger does not allow it.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// It is not bought, or not granted yet.
    #[error(
        "the package of the offer {0} is not this node's to open: buy it with `lbm ctl offer buy`; `lbm ctl offer purchases` shows what is under way"
    )]
    NotOwned(OfferId),
    /// It does not open.
    #[error(
        "the package of the offer {offer} does not open ({source}): this node disputes the purchase by itself, and the price comes back"
    )]
    DoesNotOpen {
        /// The offer.
        offer: OfferId,
        /// What is wrong.
        source: PackageError,
    },
    /// The key of an own package cannot be made again.
    #[error(
        "this node does not know the key of the package of the offer {0}: its data folder is older than the offer; revoke it, and offer the package again"
    )]
    NoKey(OfferId),
    /// What is to be sold cannot be packed.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The packages' folder.
    #[error(transparent)]
    Packages(#[from] PackageStoreError),
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] KvError),
    /// The daemon stops.
    #[error(transparent)]
    Stopping(#[from] Stopping),
    /// The system gives no random bytes.
    #[error("the system's random source failed ({0}): nothing was written")]
    Random(String),
    /// A thread is gone.
    #[error("a thread of the daemon failed: {0}")]
    Crashed(String),
}

impl From<MarketRefusal> for TradeError {
    fn from(refusal: MarketRefusal) -> Self {
        Self::Refused(Box::new(Refusal::Market(refusal)))
    }
}

impl TradeError {
    /// The ledger's refusal of a market's transaction, if it is one.
    #[must_use]
    pub fn market(&self) -> Option<&MarketRefusal> {
        let refusal = match self {
            Self::Refused(refusal) => refusal,
            Self::Write(WriteError::Failure(failure)) => match &**failure {
                Failure::Refused(refusal) => refusal,
                _ => return None,
            },
            _ => return None,
        };
        match refusal {
            Refusal::Market(market) => Some(market),
            _ => None,
        }
    }

    /// Whether what was to be done was done already, by this node or by somebody else.
    #[must_use]
    pub fn is_done(&self) -> bool {
        use MarketRefusal::{AlreadyAsked, AlreadyGranted, AlreadyPlaced, Ended};
        matches!(self.market(), Some(AlreadyAsked(_) | AlreadyGranted(_) | AlreadyPlaced(_) | Ended(..)))
    }

    /// Whether it would come to more than the spending limit.
    #[must_use]
    pub fn is_above_limit(&self) -> bool {
        matches!(self, Self::Write(WriteError::Failure(failure)) if matches!(**failure, Failure::AboveLimit { .. }))
    }

    /// Whether trying again cannot help.
    #[must_use]
    pub fn is_for_good(&self) -> bool {
        use MarketRefusal::{NoSuchOffer, OfferExpired, OfferRevoked, OwnOffer, SellerGone};
        matches!(self.market(), Some(NoSuchOffer(_) | OfferExpired(_) | OfferRevoked(_) | OwnOffer(_) | SellerGone(..)))
    }
}
