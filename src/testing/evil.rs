//! Peers that answer as no honest one does.

use serde_bytes::ByteBuf;

use super::node::{Node, View};
use crate::chain::gone::Gone;
use crate::chain::transaction::MemberRemove;
use crate::chain::{BlockId, Body, Draft, GroupId, Payload, Tip, Transaction, Unverified, rows};
use crate::kv::Memory;
use crate::limits;
use crate::node::Engine;
use crate::node::engine::Task;
use crate::wire::{Batch, Reached, Refused, Response};

/// How a peer cheats in its answers to pulls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Evil {
    /// Bytes that are no message.
    Garbage,
    /// A block whose signature does not hold.
    BadSignature,
    /// A block dated a day ahead.
    Future,
    /// A block whose height contradicts what it builds on.
    WrongHeight,
    /// More is promised, nothing is sent.
    Nowhere,
    /// More is promised, and the same is sent again.
    Again,
    /// A response of another kind.
    OtherKind,
    /// Whatever is asked of this group: a block that builds on one that nobody has, and the promise of more.
    Rootless(GroupId),
    /// Whoever asks is no member any more.
    Denies,
}

impl Evil {
    pub(super) const ALL: [Self; 7] = [
        Self::Garbage,
        Self::BadSignature,
        Self::Future,
        Self::WrongHeight,
        Self::Nowhere,
        Self::Again,
        Self::OtherKind,
    ];

    /// The bytes sent in place of `honest`.
    pub(super) fn answer(self, node: &Node, clock: u64, honest: &Response) -> Vec<u8> {
        let is_word = matches!(honest, Response::Batch(_) | Response::Same | Response::Differs);
        if self == Self::Denies && is_word {
            return Response::Refused(Refused::Gone(Gone::Removed)).encode();
        }
        if self == Self::Denies || !matches!((self, honest), (Self::Rootless(_), _) | (_, Response::Batch(_))) {
            return honest.encode();
        }
        let blocks = match self {
            Self::Garbage => return vec![0xff; 64],
            Self::OtherKind => return Response::Taken.encode(),
            Self::Nowhere | Self::Denies => vec![],
            Self::BadSignature => {
                let mut block = next_block(node, clock, 1);
                block.signature[3] ^= 1;
                vec![block]
            }
            Self::Future => vec![next_block(node, clock + 24 * 3_600_000, 1)],
            Self::WrongHeight => vec![next_block(node, clock, 7)],
            Self::Again => genesis(node),
            Self::Rootless(group) => vec![rootless(node, group, clock)],
        };
        let more = matches!(self, Self::Nowhere | Self::Again | Self::Rootless(_));
        let reached = vec![Reached { author: node.id, tip: Tip { seq: 0, id: BlockId::from_bytes([1; 32]) } }];
        Response::Batch(Batch { blocks, objects: vec![ByteBuf::from(vec![1; 10])], reached, more }).encode()
    }
}

fn genesis(node: &Node) -> Vec<Unverified> {
    let rows = node.rows.values().next().unwrap();
    let mut blocks = Vec::new();
    rows::log(rows, 0, crate::kv::Direction::Up, &mut |_, line| {
        blocks.push(rows::block(rows, &line).unwrap());
        std::ops::ControlFlow::Break(())
    })
    .unwrap();
    blocks
}

fn rootless(node: &Node, group: GroupId, time_ms: u64) -> Unverified {
    let body = Body {
        group: Some(group),
        author: node.id,
        seq: 7,
        prev: Some(BlockId::from_bytes([9; 32])),
        parents: vec![],
        height: 7,
        time_ms,
        payload: Payload::Plain(vec![Transaction::MemberRemove(MemberRemove { identity: node.id })]),
    };
    Draft::new(body).unwrap().sign(&node.key).to_unverified()
}

/// The blocks that a second machine with a node's key signs, on a copy of the rows and by a clock of its own.
pub(super) fn twin(node: &Node, group: GroupId, from: &Memory, clock: u64, tasks: Vec<Task>) -> Vec<Unverified> {
    let rows = std::collections::BTreeMap::from([(group, from.clone())]);
    let tasks = tasks.into_iter().map(|task| ((), task)).collect();
    let done = Engine::new([node.key.clone()]).run(&View(&rows), clock, tasks).unwrap();
    done.news.into_iter().flat_map(|news| news.blocks).map(|(_, fresh)| fresh.block.clone()).collect()
}

/// A block that builds on what the node has.
pub(super) fn next_block(node: &Node, time_ms: u64, above: u64) -> Unverified {
    let (group, rows) = node.rows.iter().next().unwrap();
    let prev = rows::tips(rows, &node.id).unwrap().pop();
    let mut heads = rows::heads(rows).unwrap();
    let highest = heads.iter().map(|head| head.height).max().unwrap();
    heads.retain(|head| prev.as_ref().is_none_or(|prev| prev.id != head.id));
    heads.truncate(limits::BLOCK_PARENTS);
    let body = Body {
        group: Some(*group),
        author: node.id,
        seq: prev.as_ref().map_or(0, |tip| tip.seq + 1),
        prev: prev.map(|tip| tip.id),
        parents: heads.iter().map(|head| head.id).collect(),
        height: highest + above,
        time_ms,
        payload: Payload::Plain(vec![Transaction::MemberRemove(MemberRemove { identity: node.id })]),
    };
    Draft::new(body).unwrap().sign(&node.key).to_unverified()
}
