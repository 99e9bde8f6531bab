//! Bounds of joining: tickets, requests, and what is asked about groups.

/// Uses of one ticket. More people than that are a policy, not an invitation.
pub const TICKET_USES: u32 = 1_000;
/// How long a ticket may stand, milliseconds: a month, since whoever finds one may come in.
pub const TICKET_LIFE_MS: u64 = 30 * 24 * 3_600_000;
/// How long a ticket stands whose maker names no time, milliseconds: a day.
pub const TICKET_DEFAULT_LIFE_MS: u64 = 24 * 3_600_000;
/// Tickets of a group that the ledger remembers: each new one looks at all. Those that are over make room.
pub const TICKETS: usize = 256;
/// A ticket's content, bytes. Written out it has 8 letters for each 5 of these and 10 more: 426, which a QR code of 61 modules a side holds.
pub const TICKET_BYTES: usize = 260;
/// Letters of a ticket that are looked at: one that is longer is none of any version.
pub const TICKET_CHARS: usize = 1_023;
/// A group's name in a ticket, bytes: a longer one is left out.
pub const TICKET_NAME_BYTES: usize = 40;
/// Members that a ticket names, the inviter among them.
pub const TICKET_MEMBERS: usize = 4;
/// Addresses of one of them.
pub const TICKET_ADDRESSES: usize = 2;
/// One of these, bytes: IPv6 with QUIC takes 23.
pub const TICKET_ADDRESS_BYTES: usize = 24;
/// A join request's body, bytes.
pub const JOIN_REQUEST_BYTES: usize = 1_024;
/// What an applicant says with a join request, bytes.
pub const JOIN_NOTE_BYTES: usize = 512;
/// How long a join request stands, milliseconds: a week.
pub const JOIN_REQUEST_LIFE_MS: u64 = 7 * 24 * 3_600_000;
/// Join requests that a member's node keeps of a group, for the admin that it is or meets. Past it the oldest goes, of the peer that has handed in most.
pub const JOIN_REQUESTS: usize = 256;
/// Joinings that wait for a member.
pub const JOININGS: usize = 256;
/// The same of one agent; all agents together have half of them.
pub const AGENT_JOININGS: usize = 16;
/// A request on `/lbm/node/1`, bytes.
pub const NODE_REQUEST_BYTES: usize = 2_048;
/// A response on it, bytes.
pub const NODE_RESPONSE_BYTES: usize = 32 * 1024;
/// Such requests under way on one connection.
pub const NODE_STREAMS: usize = 4;
/// Memory for such requests that all peers are sending, bytes.
pub const NODE_INBOUND_BYTES: usize = 1024 * 1024;
/// Such requests of one peer in a minute; all may come at once. Each costs a signature to check.
pub const NODE_REQUESTS_PER_MIN: u32 = 60;
/// Groups of a page of those that a peer shows.
pub const SHOWN_GROUPS: usize = 64;
/// Pages of these that are asked of one peer.
pub const SHOWN_GROUPS_PAGES: usize = 16;
/// How long a peer may take to answer, milliseconds, before the others' answers go on without its.
pub const NODE_PATIENCE_MS: u64 = 5_000;
/// The first pause until a peer that had nothing for a joining is asked again, milliseconds; it doubles.
pub const JOIN_RETRY_MS: u64 = 250;
/// The longest, milliseconds.
pub const JOIN_RETRY_MOST_MS: u64 = 30_000;
/// Pause before the next peer is shown a ticket where one has not answered, milliseconds. Longer holds up a joining whose first member is slow;
/// shorter has several members write the same joining, of which all but one are refused.
pub const JOIN_NEXT_MS: u64 = 300;
