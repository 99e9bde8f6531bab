//! Gossip: messages that reach everybody who listens, each handed from node to node.
//!
//! One topic. **A message goes no further before the caller has judged it** ([`super::Network::judge`]), and one that is not judged
//! in time goes nowhere. Messages are anonymous to gossipsub: what is spread is signed itself, and a second signature would only say
//! who spoke first. So a message is named by the hash of its bytes, and the same bytes are the same message whoever sends them.
//! Peers are not scored here: each judgement that blames somebody is the caller's to count, and a ban ends the connection.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use libp2p::PeerId;
use libp2p::gossipsub::{
    self, ConfigBuilder, IdentTopic, IdentityTransform, MaxCountSubscriptionFilter, Message, MessageAcceptance,
    MessageAuthenticity, MessageId, PublishError, TopicHash, ValidationMode, WhitelistSubscriptionFilter,
};

use crate::limits::{GOSSIP_JUDGING, GOSSIP_MESSAGE_BYTES, GOSSIP_PEER_QUEUE, GOSSIP_QUEUE};

/// The topic.
pub const TOPIC: &str = "/lbm/market/1";

/// How long the hash of a message is remembered, so that it is handed on once. One that comes later is judged again.
const REMEMBERED: Duration = Duration::from_secs(120);

/// Subscriptions of one message. Peers may subscribe to our topic only.
const SUBSCRIPTIONS: usize = 4;

/// gossipsub, for our topic only: whatever else a peer subscribes to takes no memory.
pub(super) type Behaviour =
    gossipsub::Behaviour<IdentityTransform, MaxCountSubscriptionFilter<WhitelistSubscriptionFilter>>;

/// Names a message that came until it is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GossipId(pub u64);

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// It is handed on.
    Accept,
    /// It goes no further, and nobody is to blame.
    Ignore,
    /// It goes no further: whoever sent it is at fault.
    Reject,
}

pub(super) fn behaviour() -> Result<Behaviour, String> {
    let config = ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(|message: &Message| MessageId::from(blake3::hash(&message.data).as_bytes().as_slice()))
        .max_transmit_size(GOSSIP_MESSAGE_BYTES)
        .connection_handler_queue_len(GOSSIP_PEER_QUEUE)
        .duplicate_cache_time(REMEMBERED)
        .heartbeat_initial_delay(Duration::from_secs(1))
        .flood_publish(true)
        .build()
        .map_err(|error| error.to_string())?;
    let topic = IdentTopic::new(TOPIC);
    let filter = MaxCountSubscriptionFilter {
        filter: WhitelistSubscriptionFilter(HashSet::from([topic.hash()])),
        max_subscribed_topics: 1,
        max_subscriptions_per_request: SUBSCRIPTIONS,
    };
    let mut behaviour = Behaviour::new_with_subscription_filter(MessageAuthenticity::Anonymous, config, filter)?;
    behaviour.subscribe(&topic).map_err(|error| format!("{error:?}"))?;
    Ok(behaviour)
}

fn topic() -> TopicHash {
    IdentTopic::new(TOPIC).hash()
}

/// What waits: for somebody to listen, and for a judgement.
#[derive(Debug, Default)]
pub(super) struct Gossip {
    unheard: VecDeque<Vec<u8>>,
    judging: VecDeque<(GossipId, MessageId, PeerId)>,
    last: u64,
    full: GossipFull,
}

/// How often a queue of gossip was full since that was last asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct GossipFull {
    /// Own messages that were dropped before anybody listened.
    pub unheard: u64,
    /// Messages that went no further, since they were not judged in time.
    pub judging: u64,
    /// Messages that were not sent to a peer that takes them too slowly.
    pub peer: u64,
}

/// How full the queues of gossip are.
#[derive(Debug, Clone, Copy, Default)]
pub struct GossipMeasures {
    /// Own messages that wait for somebody to listen.
    pub unheard: usize,
    /// Messages that wait for a judgement.
    pub judging: usize,
    /// How often they were full since this was last asked.
    pub full: GossipFull,
}

impl Gossip {
    pub(super) fn publish(&mut self, behaviour: &mut Behaviour, bytes: Vec<u8>) {
        match behaviour.publish(topic(), bytes.clone()) {
            Ok(_) | Err(PublishError::Duplicate) => {}
            Err(PublishError::NoPeersSubscribedToTopic) => {
                if self.unheard.len() >= GOSSIP_QUEUE {
                    self.full.unheard += 1;
                    self.unheard.pop_front();
                }
                self.unheard.push_back(bytes);
            }
            Err(error) => tracing::warn!(%error, bytes = bytes.len(), "an announcement was not spread"),
        }
    }

    /// Somebody listens: what has waited for that goes out.
    pub(super) fn heard(&mut self, behaviour: &mut Behaviour) {
        for bytes in std::mem::take(&mut self.unheard) {
            self.publish(behaviour, bytes);
        }
    }

    /// A peer takes what it is sent too slowly: so many messages were dropped.
    pub(super) fn slow(&mut self, messages: usize) {
        self.full.peer += messages as u64;
    }

    pub(super) fn measure(&mut self) -> GossipMeasures {
        let full = std::mem::take(&mut self.full);
        GossipMeasures { unheard: self.unheard.len(), judging: self.judging.len(), full }
    }

    pub(super) fn came(&mut self, behaviour: &mut Behaviour, message: MessageId, from: PeerId) -> GossipId {
        self.last += 1;
        let id = GossipId(self.last);
        if self.judging.len() >= GOSSIP_JUDGING
            && let Some((_, message, from)) = self.judging.pop_front()
        {
            self.full.judging += 1;
            behaviour.report_message_validation_result(&message, &from, MessageAcceptance::Ignore);
        }
        self.judging.push_back((id, message, from));
        id
    }

    pub(super) fn judge(&mut self, behaviour: &mut Behaviour, id: GossipId, acceptance: Acceptance) {
        let Ok(at) = self.judging.binary_search_by_key(&id, |(id, ..)| *id) else { return };
        let Some((_, message, from)) = self.judging.remove(at) else { return };
        let acceptance = match acceptance {
            Acceptance::Accept => MessageAcceptance::Accept,
            Acceptance::Ignore => MessageAcceptance::Ignore,
            Acceptance::Reject => MessageAcceptance::Reject,
        };
        behaviour.report_message_validation_result(&message, &from, acceptance);
    }
}
