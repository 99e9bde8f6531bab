//! The bounds of links: how soon one that is dead is noticed, when it is tried anew, and what one that is idle costs.

use super::HANDSHAKE_MS;

/// Pause between two pings of a connection, milliseconds. Only who has called pings so often; a ping costs 1.3 kB with all that TCP and
/// Yamux add to it, which is 9 MB a day with five peers.
pub const PING_INTERVAL_MS: u64 = 60_000;
/// By how much seldomer who was called pings: it is only to know the round trip.
pub const PING_CALLED_FACTOR: u32 = 20;
/// How long a ping may take, milliseconds. One that fails closes the connection.
pub const PING_TIMEOUT_MS: u64 = 10_000;
/// How long a TCP connection may bring nothing at all, milliseconds: a ping and its time are over. Then it is closed.
pub const SILENCE_MS: u64 = PING_INTERVAL_MS + 15_000;
/// How long what was sent may go unacknowledged, milliseconds, by the other end's system over TCP, by its node over QUIC. Then the connection
/// is dead, and the peer is called: to wait for a retransmission takes as long again as the line was cut.
pub const UNACKNOWLEDGED_MS: u64 = 10_000;
/// Pause after which QUIC says that it is still there, milliseconds: lost, it is sent again two or three times before [`UNACKNOWLEDGED_MS`], on a
/// local network five. With five peers it is 14 MB a day.
pub const QUIC_KEEP_ALIVE_MS: u64 = 8_500;
/// How long a TCP connection may take to be accepted by the other end's system, milliseconds: two tries. A next call comes sooner than a third.
pub const CONNECT_MS: u64 = 3_000;
/// How long a connection may take to close politely, milliseconds. Then it is dropped.
pub const CLOSE_MS: u64 = 500;
/// Pause between two tries to reach a peer that was here of late, from the start of one to that of the next, milliseconds.
pub const REDIAL_MS: core::ops::Range<u64> = 1_000..2_000;
/// How long it counts as such, milliseconds.
pub const AWAY_MS: u64 = 600_000;
/// Peers that a node to which nobody is connected goes on to try so often, those first that were seen last: it may be the one that is cut off.
pub const REDIAL_ALONE: usize = 8;
/// Longest pause between two tries to reach any other peer, milliseconds.
pub const REDIAL_MAX_MS: u64 = 60_000;
/// Shortest pause between two times that one peer's coming has all others tried at once, milliseconds.
pub const RALLY_MS: u64 = 10_000;
/// Pause between two mDNS queries, milliseconds. What we announce lives three times as long. Everybody answers each query to all, so that
/// the traffic grows with the square of the nodes; who is new asks by itself, and is found at once.
pub const MDNS_QUERY_MS: u64 = 120_000;
/// Addresses that multicast DNS is let remember. Past it is begun anew: a neighbour makes up peers without end.
pub const MDNS_RECORDS: usize = 4_096;
/// Shortest pause between two such beginnings, milliseconds. What comes meanwhile, all of it is forgotten with the next.
pub const MDNS_ANEW_MS: u64 = 10_000;

const _: () = assert!(PING_INTERVAL_MS + PING_TIMEOUT_MS < SILENCE_MS);
const _: () = assert!(QUIC_KEEP_ALIVE_MS < UNACKNOWLEDGED_MS);
const _: () = assert!(CONNECT_MS < HANDSHAKE_MS);
