//! A member that signs whatever it is told to.

use crate::peer::now_ms;

use lbm::cbor;
use lbm::chain::transaction::Retract;
use lbm::chain::{BlockId, Body, ClaimId, GroupId, Payload, Transaction, Unverified};
use lbm::identity::SecretKey;
use lbm::limits;

/// What a member knows of the group, and signs with.
pub struct Author {
    key: SecretKey,
    group: GroupId,
    heads: Vec<(BlockId, u64)>,
    /// Its own last block.
    last: Option<Body>,
    last_id: Option<BlockId>,
}

impl Author {
    pub fn new(key: &SecretKey, group: GroupId, blocks: &[Unverified]) -> Self {
        let bodies: Vec<(BlockId, Body)> = blocks
            .iter()
            .map(|block| (BlockId::of(&block.body), cbor::decode(&block.body, limits::BLOCK_BYTES).unwrap()))
            .collect();
        let is_head =
            |id: &BlockId| !bodies.iter().any(|(_, body)| body.prev == Some(*id) || body.parents.contains(id));
        let heads = bodies.iter().filter(|(id, _)| is_head(id)).map(|(id, body)| (*id, body.height)).collect();
        let own = bodies.iter().filter(|(_, body)| body.author == key.identity()).max_by_key(|(_, body)| body.seq);
        Self {
            key: key.clone(),
            group,
            heads,
            last: own.map(|(_, body)| body.clone()),
            last_id: own.map(|(id, _)| *id),
        }
    }

    /// The next block as an honest member would make it, with a retraction of a claim that never was: the ledger refuses it, which
    /// is no fault, so that the state stays as it is whatever becomes of the block.
    pub fn body(&self) -> Body {
        let nothing = Transaction::Retract(Retract { claim: ClaimId::from_bytes([7; 32]) });
        let mut parents: Vec<BlockId> =
            self.heads.iter().map(|(id, _)| *id).filter(|id| Some(*id) != self.last_id).collect();
        parents.sort_unstable();
        let highest = self.heads.iter().map(|(_, height)| *height).max().unwrap();
        Body {
            group: Some(self.group),
            author: self.key.identity(),
            seq: self.last.as_ref().map_or(0, |last| last.seq + 1),
            prev: self.last_id,
            parents,
            height: highest + 1,
            time_ms: now_ms(),
            payload: Payload::Plain(vec![nothing]),
        }
    }

    /// Signs whatever it is: also what no draft would take.
    pub fn sign(&self, body: &Body) -> Unverified {
        self.sign_bytes(cbor::encode(body))
    }

    pub fn sign_bytes(&self, body: Vec<u8>) -> Unverified {
        let signature = self.key.sign(lbm::chain::block::SIGNATURE_DOMAIN, &body);
        Unverified::new(body, signature)
    }

    /// Takes a block of its own for written.
    pub fn wrote(&mut self, block: &Unverified) {
        let body: Body = cbor::decode(&block.body, limits::BLOCK_BYTES).unwrap();
        let id = BlockId::of(&block.body);
        self.heads = vec![(id, body.height)];
        (self.last, self.last_id) = (Some(body), Some(id));
    }
}
