//! The bounds of finding each other beyond one network segment.

/// What others have stored at a node that serves, in all: about ten megabytes.
pub const RENDEZVOUS_KEYS: usize = 16_384;
/// The same, of one host: two keys for each group of two nodes that keep as many as they may.
pub const RENDEZVOUS_KEYS_PER_HOST: usize = 4_096;
/// Nodes that a server keeps under one key, and that one question brings: enough to meet a group, whatever its size.
pub const RENDEZVOUS_PROVIDERS: usize = 20;
/// A message of Kademlia, bytes: as many peers with their addresses.
pub const RENDEZVOUS_MESSAGE_BYTES: usize = 32 * 1024;
/// How long what was stored is kept, milliseconds.
pub const RENDEZVOUS_LIFE_MS: u64 = 2 * 3_600_000 + 600_000;
/// Pause between two storings, milliseconds.
pub const RENDEZVOUS_PROVIDE_MS: u64 = 3_600_000;
/// How long a question to all servers may take, milliseconds.
pub const RENDEZVOUS_QUERY_MS: u64 = 20_000;
/// Pause after a server, an address or a group has come, before anything is stored or asked, milliseconds: others come with it.
pub const RENDEZVOUS_SETTLES_MS: u64 = 500;
/// Pause between two questions for a group of which nobody is connected, milliseconds: at first, and at last.
pub const RENDEZVOUS_ALONE_MS: core::ops::RangeInclusive<u64> = 2_000..=300_000;
/// Pause between two questions for a group of which somebody is connected, milliseconds.
pub const RENDEZVOUS_MET_MS: u64 = 3_600_000;
/// Pause between two questions to a member for the other members' addresses, milliseconds.
pub const EXCHANGE_MS: u64 = 3_600_000;
/// Peers of which one answer tells the addresses.
pub const EXCHANGE_PEERS: usize = 64;

const _: () = assert!(2 * RENDEZVOUS_PROVIDE_MS < RENDEZVOUS_LIFE_MS);
const _: () = assert!(RENDEZVOUS_KEYS_PER_HOST < RENDEZVOUS_KEYS);
