//! What a node keeps for itself of joining: its own joinings that wait for a member, and the requests of others for an admin.
//!
//! | key | value |
//! |---|---|
//! | `j` ‖ identity (32) ‖ group (32) | [`Joining`]: this node, or an agent of it, wants to be let in, or does no more |
//! | `q` ‖ group (32) ‖ applicant (32) | [`Applied`]: somebody asks to be let in where this node is a member |
//!
//! **A ticket rests here in clear until it is used**: the file is its owner's alone, as the key beside it.

use crate::cbor::cbor_array;
use crate::chain::GroupId;
use crate::identity::Identity;
use crate::join_request;
use crate::node::trade::shelf::Shelved;

cbor_array! {
    /// Somebody says that it is an admin and has denied a request.
    #[derive(Copy)]
    pub struct Denial {
        /// Who: the key that its connection proves.
        pub by: Identity,
        /// When that came here, milliseconds since 1970 UTC.
        pub at_ms: u64,
    }

    /// A joining that waits for a member.
    pub struct Joining {
        /// By this ticket; none where it is asked for without one.
        pub ticket: Option<String>,
        /// The request, where there is no ticket.
        pub request: Option<join_request::Unverified>,
        /// Since when, milliseconds since 1970 UTC.
        pub began_ms: u64,
        /// Why a peer says that the ticket lets nobody in: the code of a problem.
        pub refused: Option<String>,
        /// The first denial of the request; then `refused` says so.
        pub denied: Option<Denial>,
        /// Whether the group was not here before this joining brought it: only then does it go where it turns out to be another.
        pub has_brought: bool,
        /// Whether it was given up: the request takes back what was asked, and is handed on until its time is over.
        pub withdrawn: bool,
    }

    /// A join request that an admin may see: here, or where it is handed on to.
    pub struct Applied {
        /// It.
        pub record: join_request::Unverified,
        /// Who handed it in.
        pub via: Identity,
        /// When, milliseconds since 1970 UTC.
        pub came_ms: u64,
        /// When an admin here has said no, milliseconds since 1970 UTC: then no other of the applicant is shown while this stands.
        pub denied_ms: Option<u64>,
    }
}

impl Shelved for Joining {
    const LETTER: u8 = b'j';
}

impl Shelved for Applied {
    const LETTER: u8 = b'q';
}

/// Key of an identity's joining of a group.
#[must_use]
pub fn of_joining(identity: &Identity, group: &GroupId) -> Vec<u8> {
    crate::node::trade::shelf::key::<Joining>(&[identity.as_bytes(), group.as_bytes()])
}

/// Key of an applicant's request in a group.
#[must_use]
pub fn of_request(group: &GroupId, applicant: &Identity) -> Vec<u8> {
    crate::node::trade::shelf::key::<Applied>(&[group.as_bytes(), applicant.as_bytes()])
}

/// What the keys of all requests in a group begin with.
#[must_use]
pub fn requests_of(group: &GroupId) -> Vec<u8> {
    crate::node::trade::shelf::key::<Applied>(&[group.as_bytes()])
}

/// Which group a request is for, and whose it is, by the key of an [`Applied`].
#[must_use]
pub fn asked_by(key: &[u8]) -> Option<(GroupId, Identity)> {
    let (group, applicant) = key.get(1..)?.split_first_chunk::<32>()?;
    Some((GroupId::from_bytes(*group), Identity::from_stored(applicant.try_into().ok()?)))
}

/// Who joins what, by the key of a [`Joining`].
#[must_use]
pub fn who_joins(key: &[u8]) -> Option<(Identity, GroupId)> {
    let (identity, group) = key.get(1..)?.split_first_chunk::<32>()?;
    Some((Identity::from_stored(*identity), GroupId::from_bytes(group.try_into().ok()?)))
}
