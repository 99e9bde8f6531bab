//! The CBOR messages of `/lbm/node/1`, as in `proto/node.cddl`: what anybody may ask a node about joining groups.

use serde::{Deserialize, Serialize};

use super::{bounded, read};
use crate::cbor::{self, DecodeError, cbor_array};
use crate::chain::transaction::MemberJoin;
use crate::chain::{GroupId, Role};
use crate::join_request;
use crate::limits;

cbor_array! {
    /// Asks to be let in by a ticket.
    pub struct Admit {
        /// Into which group.
        pub group: GroupId,
        /// Whom, with the proof: what the answerer writes into the chain.
        pub join: MemberJoin,
    }

    /// Asks which groups may be seen.
    #[derive(Copy)]
    pub struct GetGroups {
        /// Those behind this one; none asks from the start.
        pub after: Option<GroupId>,
    }

    /// A group that the asker may see: it is listed, or the asker is a member.
    pub struct ShownGroup {
        /// Which.
        pub group: GroupId,
        /// Its name.
        pub name: String,
        /// Its members.
        pub members: u32,
        /// The asker's role.
        pub role: Option<Role>,
    }

    /// A page of them.
    pub struct GroupsPage {
        /// Ascending by id.
        pub groups: Vec<ShownGroup>,
        /// Whether there are more behind the last.
        pub more: bool,
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// To be let in by a ticket.
    Admit(Box<Admit>),
    /// Hands over a join request, the sender's own or another's.
    Apply(join_request::Unverified),
    /// Which groups there are.
    Groups(GetGroups),
    /// Tells whoever is asked that an admin has denied its request to be let into this group.
    Denied(GroupId),
    /// What the time is.
    Clock,
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// To `admit`: it is durable in the group's chain.
    Admitted,
    /// To `apply` and `denied`: read. Whether the group is here, or is being joined, nobody learns.
    Taken,
    /// To `groups`.
    Groups(GroupsPage),
    /// To `clock`: milliseconds since 1970 UTC.
    Clock(u64),
    /// To any: no.
    Refused(Refused),
}

/// Why a request is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refused {
    /// The group is not here, or has no such ticket, or this node cannot write in it now: which of them is nobody's business.
    NotShared,
    /// Only to who has proved that it has the ticket: why that lets nobody in.
    Ticket(Over),
    /// Too much at once: ask again after so many milliseconds.
    Busy(u64),
    /// The request breaks a rule of the protocol.
    Malformed,
    /// The store failed; the asker is not at fault.
    Failed,
}

/// Why a ticket does not let somebody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// Its time is over.
    Expired,
    /// It has let in as many as it says.
    UsedUp,
    /// An admin has ended it.
    Revoked,
    /// Who made it is no admin any more.
    InviterGone,
    /// An admin has removed the identity before.
    Removed,
    /// The group has as many members as it may have.
    Full,
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
    /// [`DecodeError`] where the bytes are none.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        read(bytes, limits::NODE_REQUEST_BYTES)
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
        let response = read(bytes, limits::NODE_RESPONSE_BYTES)?;
        if let Self::Groups(page) = &response {
            bounded(page.groups.len(), limits::SHOWN_GROUPS)?;
        }
        Ok(response)
    }
}
