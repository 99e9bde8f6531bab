//! The CBOR messages of `/lbm/market/1`, as in `proto/market.cddl`: what strangers may ask one another.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{bounded, read};
use crate::announcement;
use crate::cbor::{self, DecodeError, cbor_array};
use crate::chain::transaction::{Dispute, SignedOrder};
use crate::chain::{GroupId, OfferId, PurchaseId};
use crate::delegation;
use crate::identity::Identity;
use crate::limits;
use crate::package::{ChunkProof, PATH_HASHES, PackageHash};

cbor_array! {
    /// A place in a catalogue, which is ascending by it.
    #[derive(Copy, PartialOrd, Ord)]
    pub struct Place {
        /// The seller.
        pub seller: Identity,
        /// Its offer.
        pub offer: OfferId,
    }

    /// Asks for announcements.
    pub struct Catalogue {
        /// Those behind this place; none asks from the start.
        pub after: Option<Place>,
        /// The digest of what the asker has, where equal catalogues need not be sent.
        pub digest: Option<ByteBuf>,
    }

    /// A part of a catalogue.
    pub struct Page {
        /// Announcements, ascending by seller and offer.
        pub records: Vec<announcement::Unverified>,
        /// Whether there is more behind the last.
        pub more: bool,
    }

    /// Asks for chunks of an encrypted package.
    pub struct GetPackage {
        /// Which.
        pub package: PackageHash,
        /// The first chunk.
        pub from: u32,
        /// How many.
        pub count: u32,
    }

    /// Asks a member about the asker's own account, or that of an agent that has signed that the asker may act for it.
    pub struct GetAccount {
        /// In which group.
        pub group: GroupId,
        /// And about these purchases of its own.
        pub purchases: Vec<PurchaseId>,
        /// And about its own purchases of these offers that were not given back.
        pub offers: Vec<OfferId>,
        /// Who asks, where that is not the connection's node but an agent that it acts for.
        pub agent: Option<delegation::Unverified>,
    }

    /// Hands over a dispute, whose one-time secret speaks for the buyer.
    pub struct HandedDispute {
        /// In which group.
        pub group: GroupId,
        /// The dispute.
        pub dispute: Dispute,
    }

    /// What a member knows of the asker's account.
    pub struct Account {
        /// Tokens that it can spend.
        pub balance: u64,
        /// The number of its next order.
        pub nonce: u64,
        /// Those that were asked about and are the asker's, each once.
        pub purchases: Vec<Bought>,
    }

    /// Where one purchase stands.
    pub struct Bought {
        /// Which.
        pub purchase: PurchaseId,
        /// Of what.
        pub offer: OfferId,
        /// The number of its order.
        pub nonce: u64,
        /// Its state, in the ledger's word.
        pub state: String,
        /// Whether that is sealed.
        pub is_final: bool,
        /// When the state's time is over: to grant, to dispute; milliseconds since 1970 UTC.
        pub until_ms: Option<u64>,
        /// The sealed key, once it is granted.
        pub sealed_key: Option<ByteBuf>,
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// For announcements.
    Catalogue(Catalogue),
    /// For a part of a package.
    Package(GetPackage),
    /// Hands over a signed order, to be written into the chain of its group.
    Order(Box<SignedOrder>),
    /// About the asker's own account.
    Account(GetAccount),
    /// Hands over a dispute, to be written into the chain of its group.
    Dispute(Box<HandedDispute>),
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// To `catalogue`: the asker has all of it.
    Same,
    /// To `catalogue`.
    Page(Page),
    /// To `package`: chunks from the first that was asked for, at least one.
    Chunks(Vec<ChunkProof>),
    /// To `order` and `dispute`: it is durable in the group's chain.
    Ordered(PurchaseId),
    /// To `account`.
    Account(Account),
    /// To any: no.
    Refused(Refused),
}

/// Why a request is not served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refused {
    /// The package is not here.
    Unknown,
    /// The group is not here, or the asker has no account in it: which of the two is nobody's business.
    NotShared,
    /// The ledger does not take the order; why, in words.
    Declined(String),
    /// Too much at once: ask again after so many milliseconds.
    Busy(u64),
    /// The request breaks a rule of the protocol.
    Malformed,
    /// The store failed; the asker is not at fault.
    Failed,
}

impl Request {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Reads a request.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are none, or a list in it is too long.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let request = read(bytes, limits::MARKET_REQUEST_BYTES)?;
        let (got, max) = match &request {
            Self::Catalogue(catalogue) => (catalogue.digest.as_ref().map_or(0, |digest| digest.len()), 32),
            Self::Package(package) => (package.count as usize, limits::PACKAGE_RANGE_CHUNKS as usize),
            Self::Order(_) => (0, 0),
            Self::Account(account) => (account.purchases.len() + account.offers.len(), limits::ACCOUNT_PURCHASES),
            Self::Dispute(handed) => {
                handed.dispute.chunk.as_ref().map_or((0, 0), |shown| (shown.path.len(), PATH_HASHES))
            }
        };
        bounded(got, max).map(|()| request)
    }
}

impl Response {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Reads a response.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are none, or a list in it is too long.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let response = read(bytes, limits::MARKET_RESPONSE_BYTES)?;
        match &response {
            Self::Page(page) => bounded(page.records.len(), limits::CATALOGUE_RECORDS)?,
            Self::Chunks(chunks) => {
                bounded(chunks.len(), limits::PACKAGE_RANGE_CHUNKS as usize)?;
                let longest = chunks.iter().map(|chunk| chunk.path.len()).max().unwrap_or(0);
                bounded(longest, PATH_HASHES)?;
            }
            Self::Account(account) => bounded(account.purchases.len(), limits::ACCOUNT_PURCHASES)?,
            Self::Refused(Refused::Declined(why)) => bounded(why.len(), limits::DECLINED_BYTES)?,
            Self::Same | Self::Ordered(_) | Self::Refused(_) => {}
        }
        Ok(response)
    }
}
