//! Tickets, join requests and messages about joining: what the vectors and the decoders' tests are made of.

use lbm::chain::Role;
use lbm::chain::transaction::{MemberJoin, Secret};
use lbm::join_request::JoinRequest;
use lbm::ticket::{Checkpoint, Contact, Ticket};
use lbm::wire::node::{Admit, GetGroups, GroupsPage, Over, Refused, Request, Response, ShownGroup};
use serde_bytes::{ByteArray, ByteBuf};

use crate::story::{START_MS, Story, key, ticket_key};

/// The ticket by which Carol comes back, with all that one can have; and one with the least.
pub fn tickets(story: &Story) -> Vec<(&'static str, Ticket)> {
    let seal = story.told("sealed").block.id();
    let block = ByteArray::new(seal.as_bytes()[..16].try_into().unwrap());
    let address = |bytes: &[u8]| ByteBuf::from(bytes.to_vec());
    let tcp = address(&[4, 192, 0, 2, 7, 6, 0x1c, 0xa9]);
    let quic = address(&[4, 192, 0, 2, 7, 0x91, 2, 0x1c, 0xa9, 0xcd, 3]);
    let full = Ticket {
        group: story.group,
        name: Some("domain:research".into()),
        role: Role::Member,
        expires_ms: START_MS + 86_400_000,
        seed: Secret(*ticket_key().seed()),
        discovery_secret: Secret([9; 32]),
        checkpoint: Some(Checkpoint { epoch: 1, block }),
        contacts: vec![Contact { member: key("alice").identity(), addresses: vec![tcp, quic] }],
    };
    let least = Ticket { name: None, role: Role::Viewer, checkpoint: None, contacts: vec![], ..full.clone() };
    vec![("all", full), ("the least", least)]
}

pub fn application(story: &Story) -> JoinRequest {
    JoinRequest {
        group: story.group,
        applicant: key("carol").identity(),
        name: "carol".into(),
        note: Some("Carol from the lab:\n\tmay I?".into()),
        time_ms: START_MS,
        withdrawn: false,
    }
}

pub fn requests(story: &Story) -> Vec<(&'static str, Request)> {
    let group = story.group;
    let join = MemberJoin::prove(&ticket_key(), &group, key("carol").identity());
    let withdrawal = JoinRequest { note: None, time_ms: START_MS + 1, withdrawn: true, ..application(story) };
    vec![
        ("admit", Request::Admit(Box::new(Admit { group, join }))),
        ("apply", Request::Apply(application(story).sign(&key("carol")).unwrap())),
        ("groups", Request::Groups(GetGroups { after: None })),
        ("groups, behind one", Request::Groups(GetGroups { after: Some(group) })),
        ("apply, taken back", Request::Apply(withdrawal.sign(&key("carol")).unwrap())),
        ("denied", Request::Denied(group)),
        ("clock", Request::Clock),
    ]
}

pub fn responses(story: &Story) -> Vec<(&'static str, Response)> {
    let shown = |role| ShownGroup { group: story.group, name: "domain:research".into(), members: 3, role };
    let over = |over| Response::Refused(Refused::Ticket(over));
    vec![
        ("admitted", Response::Admitted),
        ("taken", Response::Taken),
        ("groups", Response::Groups(GroupsPage { groups: vec![shown(Some(Role::Admin))], more: false })),
        ("groups, with more behind", Response::Groups(GroupsPage { groups: vec![shown(None)], more: true })),
        ("refused, not shared", Response::Refused(Refused::NotShared)),
        ("refused, expired", over(Over::Expired)),
        ("refused, used up", over(Over::UsedUp)),
        ("refused, revoked", over(Over::Revoked)),
        ("refused, inviter gone", over(Over::InviterGone)),
        ("refused, removed", over(Over::Removed)),
        ("refused, full", over(Over::Full)),
        ("refused, busy", Response::Refused(Refused::Busy(200))),
        ("refused, malformed", Response::Refused(Refused::Malformed)),
        ("refused, failed", Response::Refused(Refused::Failed)),
        ("clock", Response::Clock(START_MS)),
    ]
}
