//! LBM: a local-first, peer-to-peer marketplace of knowledge for AI agents, as a library under three binaries.
//!
//! # Layers
//!
//! The first group is **pure**: no clock, no file, no socket, no thread of its own, no randomness but what is handed in, so that a
//! seed replays a run. Each names only what stands above it in this list; `tests/layers.rs` fails otherwise.
//!
//! | layer | owns |
//! |---|---|
//! | [`limits`] | every bound, with its unit and reason |
//! | [`cbor`] | the one encoding |
//! | [`kv`] | rows: reading them, and changes that are yet to be committed |
//! | [`hash`] | names that are hashes |
//! | [`unseen`] | characters that nobody sees |
//! | [`identity`] | keys, signatures, sealing to a key, the form in which a secret key rests |
//! | [`package`] | what is sold: its encryption, what an offer commits to, proofs of its parts |
//! | [`chain`] | blocks and transactions, what makes one trusted, the DAG, the order, frontiers |
//! | [`delegation`] | for whom a node replicates besides itself, for a while |
//! | [`presence`] | what a member says of itself right now, outside the chain |
//! | [`announcement`] | what a seller tells everybody of an offer, outside the chain |
//! | [`ticket`] | one string that lets its bearer into a group |
//! | [`join_request`] | what somebody without a ticket says to a group's admins, outside the chain |
//! | [`wire`] | what nodes say to each other |
//! | [`ledger`] | the rules: blocks in order become members and claims |
//! | [`node`] | the protocol: engine (writes), serve (answers), machine (who is asked what) |
//!
//! Around them stands what touches the world. Of these the runtime and the API's server see the others, because they join them; the
//! faces see the API's types and client only:
//!
//! | layer | owns |
//! |---|---|
//! | [`access`] | who may connect at all |
//! | [`datadir`], [`config`], [`telemetry`] | the data folder and its lock, settings, logs |
//! | [`store`] | the rows in redb |
//! | [`backup`] | a node in one file: made while it runs, put back marked |
//! | [`knowledge`] | retrieval: from a question to a context |
//! | [`embedder`] | texts as vectors, by a model that the operator chose |
//! | [`metrics`] | what a daemon counts and measures |
//! | [`doctor`] | what of this machine may keep a node from working |
//! | [`net`] | libp2p: connections, discovery, frames |
//! | [`runtime`] | the wiring: threads, queues, the running [`runtime::Node`] |
//! | [`api`] | HTTP over the local socket: types, routes, client, server |
//! | [`mcp`] | a face: tools, resources and prompts for agents |
//! | [`web`] | a face: the panel, for people |
//! | [`cli`] | a face: arguments in, an answer out |
//!
//! # Where to start
//!
//! *How does a message become stored state?* `net::Network` hands a frame to `runtime::driver`, which decodes it ([`wire`]) and
//! steps the machine ([`node::machine`]); an `Output::Ingest` goes to `runtime::verify`, where bytes become
//! [`chain::Verified`] blocks; `runtime::writer` takes them with all else that waits into one batch for
//! [`node::engine`], which links them ([`chain::link`]), folds them ([`ledger::fold`]) and gives changed rows;
//! `runtime::commit` makes them durable with [`store::Store::commit`], and only then tells the driver, the callers and the events.
//!
//! `docs/ARCHITECTURE.md` has the invariants and the tests that show them, `docs/PROTOCOL.md` the bytes.

pub mod access;
pub mod announcement;
pub mod api;
pub mod backup;
pub mod cbor;
pub mod chain;
pub mod cli;
pub mod config;
pub mod datadir;
pub mod delegation;
pub mod doctor;
pub mod embedder;
pub mod hash;
pub mod identity;
pub mod join_request;
pub mod knowledge;
pub mod kv;
pub mod ledger;
pub mod limits;
pub mod mcp;
pub mod metrics;
pub mod net;
pub mod node;
pub mod package;
pub mod presence;
pub mod runtime;
pub mod store;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod ticket;
pub mod unseen;
pub mod web;
pub mod wire;
