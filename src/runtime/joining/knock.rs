//! Being let in: presents what a joining has to connected peers, until a member has let it in and its membership is here and final.
//!
//! Nothing is given up but by a word of a person, or of a member that the ticket names. Who has refused is asked again later and later.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{broadcast::error::RecvError, watch};
use tokio::time::error::Elapsed;

use super::{Door, Pending, Response, is_the_one, pending, word_of};
use crate::api::types::EventKind;
use crate::chain::{GroupId, Role, rows};
use crate::identity::Identity;
use crate::join_request;
use crate::kv::KvError;
use crate::ledger::state;
use crate::limits;
use crate::node::engine::Groups;
use crate::node::joining::{Applied, Joining, asked_by};
use crate::node::shut_out;
use crate::node::trade::shelf::Shelved;
use crate::runtime::clock::{Uptime, unix_ms};
use crate::runtime::market::AskFailed;
use crate::runtime::{Node, Stopping};
use crate::store::{Registry, View};
use crate::wire::node::{Admit, Refused, Request};

/// When a peer is asked again, and how long the pause before was.
#[derive(Debug, Clone, Copy)]
struct Turn {
    at_ms: u64,
    pause_ms: u64,
}

/// How long one peer may hold up the others.
const PATIENCE: Duration = Duration::from_millis(limits::NODE_PATIENCE_MS);

type Turns = BTreeMap<(Identity, GroupId, Identity), Turn>;

/// How a joining stands here.
enum Here {
    /// Whoever wants in is a member, and that is final.
    Done,
    /// It is a member, and that may yet turn out otherwise.
    Open,
    /// Not yet.
    Outside,
    /// Not yet, and the request's time is over.
    Stale,
    /// What was sent is not what the ticket was made in.
    OtherBranch,
}

/// Goes on with the joinings of a node until it stops.
pub async fn run(node: Node, mut stop: watch::Receiver<bool>) {
    let (_, mut events) = node.events.follow(u64::MAX);
    let mut changed = node.door.0.changed.subscribe();
    let (uptime, mut turns, mut awaited) = (Uptime::start(), Turns::new(), BTreeMap::new());
    loop {
        let wait = match round(&node, &uptime, &mut turns, &mut awaited).await {
            Ok(wait) => wait,
            Err(Stopping) => return,
        };
        let pause = tokio::time::sleep(wait.unwrap_or(Duration::MAX));
        tokio::pin!(pause);
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                _ = changed.changed() => {
                    // A person may have begun it anew.
                    turns.clear();
                    break;
                }
                event = events.recv() => match event.map(|event| event.kind) {
                    Ok(EventKind::PeerConnected { peer_id }) => {
                        if let Ok(peer) = peer_id.parse::<Identity>() {
                            turns.retain(|(_, _, asked), _| *asked != peer);
                            hand_on(&node.door, peer);
                        }
                        break;
                    }
                    Ok(EventKind::MemberChanged { .. } | EventKind::MemberJoined { .. } | EventKind::BlockRejected { .. } | EventKind::Sealed { .. } | EventKind::MembershipServed { .. }) if wait.is_some() => break,
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => return,
                },
                () = &mut pause, if wait.is_some() => break,
            }
        }
    }
}

/// Hands a peer the join requests that it may decide about.
fn hand_on(door: &Door, peer: Identity) {
    let door = door.clone();
    tokio::spawn(async move {
        let reader = door.clone();
        let read = move || -> Result<Vec<join_request::Unverified>, KvError> {
            let view = reader.0.store.view()?;
            let (mut records, mut decides) = (Vec::new(), BTreeMap::new());
            for (key, value) in view.local_rows(&[Applied::LETTER])? {
                let (Some((group, applicant)), Some(applied)) = (asked_by(&key), Applied::from_row(&value)) else {
                    continue;
                };
                let is_over = applied.record.verify(unix_ms(), reader.0.drift_ms).is_err();
                if applied.denied_ms.is_some() || is_over || applied.via == peer {
                    continue;
                }
                let Some(kv) = view.group(&group)? else { continue };
                let decides = match decides.get(&group) {
                    Some(decides) => *decides,
                    None => {
                        let member = state::member(kv.as_ref(), &peer)?;
                        *decides.entry(group).or_insert(member.is_some_and(|member| member.role == Role::Admin))
                    }
                };
                if decides && state::member(kv.as_ref(), &applicant)?.is_none() {
                    records.push(applied.record);
                }
            }
            Ok(records)
        };
        let Ok(Ok(records)) = tokio::task::spawn_blocking(read).await else { return };
        for record in records {
            match door.ask_peer(peer, Request::Apply(record)).await {
                // The one that came too soon is handed on when the admin is met again.
                Ok(Ok(Response::Refused(Refused::Busy(after_ms)))) => {
                    tokio::time::sleep(Duration::from_millis(after_ms.min(limits::JOIN_RETRY_MOST_MS))).await;
                }
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(Stopping) => return,
            }
        }
    });
}

/// One look at all joinings: asks whoever is due. Tells when to look again, where anything is left.
async fn round(
    node: &Node,
    uptime: &Uptime,
    turns: &mut Turns,
    awaited: &mut BTreeMap<GroupId, [u8; 32]>,
) -> Result<Option<Duration>, Stopping> {
    let reader = node.clone();
    let look = move || -> Result<Vec<(Pending, Here)>, KvError> {
        let view = reader.view()?;
        pending(&view)?
            .into_iter()
            .map(|pending| Ok((here(&view, &pending, unix_ms(), reader.door.drift_ms())?, pending)))
            .map(|read| read.map(|(here, pending)| (pending, here)))
            .collect()
    };
    let joinings = match tokio::task::spawn_blocking(look).await {
        Ok(Ok(joinings)) => joinings,
        Ok(Err(error)) => {
            tracing::error!(%error, "cannot read which groups are being joined");
            return Ok(Some(Duration::from_millis(limits::JOIN_RETRY_MOST_MS)));
        }
        Err(_) => return Err(Stopping),
    };
    let of = |(pending, here): &(Pending, Here)| match (here, &pending.ticket) {
        (Here::Outside, Some(ticket)) => Some((pending.group, ticket.discovery_secret.0)),
        _ => None,
    };
    let outside: BTreeMap<GroupId, [u8; 32]> = joinings.iter().filter_map(of).collect();
    if outside != *awaited {
        awaited.clone_from(&outside);
        node.look_for(outside).await?;
    }
    let is_left = |key: &(Identity, GroupId, Identity)| {
        joinings.iter().any(|(pending, _)| (pending.identity, pending.group) == (key.0, key.1))
    };
    turns.retain(|key, _| is_left(key));
    let mut next_ms = None;
    let agents: BTreeSet<Identity> = node.agents.all().into_iter().map(|(_, agent)| agent).collect();
    for (pending, here) in joinings {
        // Of an agent that is gone nothing goes on.
        let is_own = pending.identity == node.node_id || agents.contains(&pending.identity);
        match if is_own { here } else { Here::Done } {
            Here::Done => {
                if let Err(error) = node.door.end(&pending.identity, &pending.group).await {
                    tracing::warn!(%error, "a joining that is done is still noted");
                }
            }
            Here::OtherBranch => other_branch(node, &pending).await,
            Here::Stale => {
                renew(node, &pending).await?;
                next_ms = Some(next_ms.unwrap_or(u64::MAX).min(limits::JOIN_RETRY_MOST_MS));
            }
            Here::Open => next_ms = Some(next_ms.unwrap_or(u64::MAX).min(limits::JOIN_RETRY_MOST_MS)),
            Here::Outside => {
                let due_ms = knock(node, uptime, turns, &pending).await?;
                next_ms = Some(next_ms.unwrap_or(u64::MAX).min(due_ms));
            }
        }
    }
    Ok(next_ms.map(Duration::from_millis))
}

fn here(view: &View, pending: &Pending, now_ms: u64, drift_ms: u64) -> Result<Here, KvError> {
    let is_over = |record: &join_request::Unverified| {
        matches!(record.verify(now_ms, drift_ms), Err(join_request::Invalid::Over(_)))
    };
    if pending.row.request.as_ref().is_some_and(is_over) {
        // Taken back or denied, it ends with its time; else it is asked anew.
        let is_settled = pending.row.withdrawn || pending.row.denied.is_some();
        return Ok(if is_settled { Here::Done } else { Here::Stale });
    }
    let Some(kv) = view.group(&pending.group)? else { return Ok(Here::Outside) };
    let kv = kv.as_ref();
    let is_the_one = match &pending.ticket {
        Some(ticket) => is_the_one(kv, ticket)?,
        None => Some(true),
    };
    if is_the_one == Some(false) {
        return Ok(Here::OtherBranch);
    }
    // Where others say that it is none, it asks anew.
    let member = match shut_out::shut_out(kv)? {
        Some(_) => None,
        None => state::member(kv, &pending.identity)?,
    };
    Ok(match member {
        None => Here::Outside,
        Some(_) => {
            let Some(ticket) = &pending.ticket else { return Ok(Here::Done) };
            let is_final = rows::counters(kv)?.open() == 0 || ticket.expires_ms <= unix_ms();
            if is_the_one.is_some() && is_final { Here::Done } else { Here::Open }
        }
    })
}

/// Asks all that are due for one joining; tells how long until the next is.
async fn knock(node: &Node, uptime: &Uptime, turns: &mut Turns, pending: &Pending) -> Result<u64, Stopping> {
    let Pending { identity, group, ticket, row } = pending;
    let request = match (ticket, &row.request) {
        (Some(ticket), _) => Request::Admit(Box::new(Admit { group: *group, join: ticket.prove(*identity) })),
        (None, Some(record)) => Request::Apply(record.clone()),
        (None, None) => return Ok(limits::JOIN_RETRY_MOST_MS),
    };
    let connected: BTreeSet<Identity> =
        node.peers().await?.into_iter().filter(|info| info.link.is_some()).map(|info| info.peer).collect();
    if let Some(ticket) = ticket
        && !ticket.contacts.iter().any(|contact| connected.contains(&contact.member))
    {
        node.meet(ticket).await?;
    }
    let mut next_ms = limits::JOIN_RETRY_MOST_MS;
    let mut due = Vec::new();
    for peer in connected {
        match turns.get(&(*identity, *group, peer)).and_then(|turn| turn.at_ms.checked_sub(uptime.ms())) {
            Some(left_ms) if left_ms > 0 => next_ms = next_ms.min(left_ms),
            _ => due.push(peer),
        }
    }
    let named = |peer: &Identity| ticket.as_ref()?.contacts.iter().position(|contact| contact.member == *peer);
    due.sort_by_key(|peer| named(peer).unwrap_or(usize::MAX));
    let pause = if ticket.is_some() { Duration::from_millis(limits::JOIN_NEXT_MS) } else { Duration::ZERO };
    let (answers, others) = ask_in_turn(node, due, &request, pause).await;
    for peer in others {
        let pause_ms = limits::JOIN_RETRY_MOST_MS;
        turns.insert((*identity, *group, peer), Turn { at_ms: uptime.ms() + pause_ms, pause_ms });
    }
    for (peer, answered) in answers {
        let key = (*identity, *group, peer);
        let Ok(answered) = answered else {
            turns.insert(
                key,
                Turn { at_ms: uptime.ms() + limits::JOIN_RETRY_MOST_MS, pause_ms: limits::JOIN_RETRY_MOST_MS },
            );
            continue;
        };
        let answered = answered?;
        // Again later and later: what a peer does not know now it may hear of.
        let before = turns.get(&key).map_or(limits::JOIN_RETRY_MS / 2, |turn| turn.pause_ms);
        let mut pause_ms = (2 * before).min(limits::JOIN_RETRY_MOST_MS);
        match answered {
            Ok(Response::Admitted) => {
                admitted(node, pending).await?;
                pause_ms = limits::JOIN_RETRY_MOST_MS;
            }
            // Kept by whoever it was for; another is told when it is met.
            Ok(Response::Taken) => pause_ms = limits::JOIN_REQUEST_LIFE_MS / 14,
            Ok(Response::Refused(Refused::Busy(after_ms))) => pause_ms = after_ms.clamp(10, limits::JOIN_RETRY_MOST_MS),
            Ok(Response::Refused(Refused::Ticket(over))) => {
                let is_named = ticket.iter().flat_map(|ticket| &ticket.contacts).any(|contact| contact.member == peer);
                turned_away(node, pending, word_of(over), is_named).await;
                pause_ms = limits::JOIN_RETRY_MOST_MS;
            }
            Ok(Response::Refused(_) | Response::Groups(_) | Response::Clock(_)) | Err(_) => {}
        }
        turns.insert(key, Turn { at_ms: uptime.ms() + pause_ms, pause_ms });
        next_ms = next_ms.min(pause_ms);
    }
    Ok(next_ms.max(10))
}

type Answered = Result<Result<Result<Response, AskFailed>, Stopping>, Elapsed>;

/// Asks peers one after the other: the next when one has refused or a pause is over, so that one that is slow holds up nobody, and nobody
/// more when one has let the asker in: **each that does writes a block, and all but the first are refused**. The answers, and whose was not wanted any more.
async fn ask_in_turn(
    node: &Node,
    peers: Vec<Identity>,
    request: &Request,
    pause: Duration,
) -> (Vec<(Identity, Answered)>, Vec<Identity>) {
    let (mut answers, mut asking) = (Vec::new(), FuturesUnordered::new());
    let (mut left, mut asked) = (VecDeque::from(peers), BTreeSet::new());
    loop {
        if let Some(peer) = left.pop_front() {
            let answer = node.ask_node(peer, request.clone());
            asking.push(async move { (peer, tokio::time::timeout(PATIENCE, answer).await) });
            asked.insert(peer);
        }
        tokio::select! {
            biased;
            Some((peer, answered)) = asking.next() => {
                let is_in = matches!(answered, Ok(Ok(Ok(Response::Admitted))));
                answers.push((peer, answered));
                asked.remove(&peer);
                if is_in {
                    left.extend(asked);
                    return (answers, left.into());
                }
            }
            () = tokio::time::sleep(pause), if !left.is_empty() => {}
            else => return (answers, vec![]),
        }
    }
}

/// Asks anew with a request whose time is over.
async fn renew(node: &Node, Pending { identity, group, row, .. }: &Pending) -> Result<(), Stopping> {
    let asked = row.request.as_ref().and_then(|record| join_request::read(record).ok());
    let Some(asked) = asked else { return Ok(()) };
    let request = node.sign_request(join_request::JoinRequest { time_ms: unix_ms(), ..asked }).await?;
    if let Err(error) =
        node.door.begin(*identity, *group, &Joining { request, denied: None, refused: None, ..row.clone() }).await
    {
        tracing::warn!(%error, "a request to be let in was not made anew");
    }
    Ok(())
}

/// A member has written it into the chain: from now on the group is replicated here.
async fn admitted(node: &Node, Pending { identity, group, row, .. }: &Pending) -> Result<(), Stopping> {
    tracing::info!(%group, %identity, "let in by a ticket");
    let reader = node.door.clone();
    let of = *group;
    let is_here = move || -> Result<bool, KvError> {
        let view = reader.0.store.view()?;
        // Where it has no first block, there is nothing to lose.
        view.group(&of)?.map_or(Ok(false), |kv| Ok(state::group(kv.as_ref())?.is_some()))
    };
    let Ok(Ok(is_here)) = tokio::task::spawn_blocking(is_here).await else { return Ok(()) };
    let kept = Joining { refused: None, has_brought: row.has_brought || !is_here, ..row.clone() };
    let local = vec![(crate::node::joining::of_joining(identity, group), Some(kept.to_row()))];
    let registry = Registry { join: vec![*group], local, ..Registry::default() };
    if let Err(error) = node.writer.register(registry).await {
        tracing::warn!(%error, "let in, and could not note it: asked again");
        return Ok(());
    }
    node.events.tell(EventKind::Admitted { group_id: group.to_string(), member_id: identity.to_string() });
    node.sync_now(*group, None).await.map(drop)
}

/// What is here of the group is not what the ticket was made in: its notary has signed two histories, or the ticket is forged. Only what this
/// joining itself has brought, and nobody else here has a part in, is not kept: **a ticket takes away nothing that was here before it.**
async fn other_branch(node: &Node, Pending { identity, group, row, .. }: &Pending) {
    let own: Vec<Identity> = std::iter::once(node.node_id)
        .chain(node.agents.all().into_iter().map(|(_, agent)| agent))
        .filter(|own| own != identity)
        .collect();
    let (reader, of) = (node.door.clone(), *group);
    let is_others = move || -> Result<bool, KvError> {
        let view = reader.0.store.view()?;
        let Some(kv) = view.group(&of)? else { return Ok(false) };
        for other in own {
            if state::member(kv.as_ref(), &other)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    };
    let is_others = !matches!(tokio::task::spawn_blocking(is_others).await, Ok(Ok(false)));
    let goes = row.has_brought && !is_others;
    tracing::error!(%group, goes, "what is here of the group is not what a ticket was made in: the ticket is forged, or the notary has signed two histories");
    let local = vec![(crate::node::joining::of_joining(identity, group), None)];
    let registry = Registry { leave: goes.then_some(*group).into_iter().collect(), local, ..Registry::default() };
    if let Err(error) = node.writer.register(registry).await {
        tracing::warn!(%error, "a joining by a ticket of another history is still noted");
    } else if goes {
        node.indexes.forget(group);
        node.embedding.forget(group);
    }
    node.events.tell(EventKind::TurnedAway {
        group_id: group.to_string(),
        member_id: identity.to_string(),
        code: "other_branch".to_owned(),
        goes_on: false,
    });
}

/// Somebody says that the ticket lets nobody in. A stranger may say so of any: only who the ticket names ends the joining by it.
async fn turned_away(node: &Node, Pending { identity, group, row, .. }: &Pending, word: &str, is_named: bool) {
    tracing::info!(%group, word, is_named, "turned away");
    let key = crate::node::joining::of_joining(identity, group);
    let noted = Joining { refused: Some(word.to_owned()), ..row.clone() };
    let value = (!is_named).then(|| noted.to_row());
    let registry = Registry { local: vec![(key, value)], ..Registry::default() };
    if let Err(error) = node.writer.register(registry).await {
        tracing::warn!(%error, "turned away, and could not note it");
    }
    node.events.tell(EventKind::TurnedAway {
        group_id: group.to_string(),
        member_id: identity.to_string(),
        code: word.to_owned(),
        goes_on: !is_named,
    });
}
