//! The bounds of what a node does for the agents that it hosts.

/// Agents of one node: each has a line, an account and a presence of its own in its groups.
pub const AGENTS: usize = 64;
/// Name of an agent, of `[a-z0-9_-]`, bytes: it is typed, stands in tables, and a key file is called by it.
pub const AGENT_NAME_BYTES: usize = 32;
/// A delegation, bytes: version, group, agent, node, and two times.
pub const DELEGATION_BYTES: usize = 128;
/// Delegations that one message shows, and that a node keeps of one peer in one group.
pub const DELEGATIONS: usize = AGENTS;
/// Delegations of one message that are sealed by the group's id, bytes: [`DELEGATIONS`] of them, each with its signature.
pub const KNOCK_BYTES: usize = 16 << 10;
/// How long a delegation may stand, milliseconds: what a node that lost its agents' keys could go on with.
pub const DELEGATION_LIFE_MS: u64 = 3_600_000;
/// Pause between two showings of delegations to one peer, milliseconds: each shows new ones.
pub const DELEGATION_RENEW_MS: u64 = 1_200_000;

const _: () = assert!(DELEGATIONS * (DELEGATION_BYTES + 64 + 8) + 64 < KNOCK_BYTES);
const _: () = assert!(2 * DELEGATION_RENEW_MS < DELEGATION_LIFE_MS);
