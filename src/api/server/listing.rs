//! Reading knowledge: pages of claims, the newest ones, one; and the refused blocks.
//!
//! **A page costs what it shows, not what there is.**

use std::ops::ControlFlow;

use axum::Json;

use super::Api;
use super::extract::{As, Params, Segments};
use super::resolve::{self, Found, find, no_such_claim};
use super::told::told;
use crate::api::types::{
    Claim, ClaimHolders, ClaimList, Evidence, ListClaims, ListRejected, Problem, ProblemCode, RecentClaims, Rejected,
    RejectedList,
};
use crate::chain::{self, ClaimBody, ClaimId, GroupId, OPEN_EPOCH, OrderKey, Tip};
use crate::identity::Identity;
use crate::kv::{Direction, KvError, Read, Table};
use crate::ledger::arrange;
use crate::ledger::query::{self, Place};
use crate::ledger::state::{self, ClaimRow};
use crate::limits;
use crate::node::engine::Groups;
use crate::store::View;

type Answer<T> = Result<Json<T>, Problem>;

pub(super) async fn list(
    As(api): As,
    Segments(group): Segments<String>,
    Params(request): Params<ListClaims>,
) -> Answer<ClaimList> {
    let read = move |_: &Api, found: &Found<'_>, _| page(found, &request);
    api.read_group(group, read).await.map(Json)
}

fn page(found: &Found<'_>, request: &ListClaims) -> Result<ClaimList, Problem> {
    let kv = found.kv.as_ref();
    let limit = request.limit.unwrap_or(limits::PAGE_DEFAULT_ROWS);
    let from = match &request.cursor {
        Some(cursor) => claim_cursor::read(found.id, cursor)?,
        None => Place { number: u64::MAX, index: u32::MAX },
    };
    let (mut rows, mut bytes, mut next) = (Vec::new(), 0, None);
    query::walk_claims(kv, from, Direction::Down, &mut |place, id, row| {
        if rows.len() == limit || bytes >= limits::PAGE_BYTES {
            next = Some(claim_cursor::write(found.id, place));
            return ControlFlow::Break(());
        }
        bytes += row.size as usize;
        rows.push((id, row));
        ControlFlow::Continue(())
    })?;
    let claims = rows.into_iter().map(|(id, row)| with_words(kv, id, &row)).collect::<Result<_, _>>()?;
    Ok(ClaimList { claims, next_cursor: next })
}

/// A claim for the caller. Its text is empty where its words have not come yet.
pub(super) fn with_words(kv: &dyn Read, id: ClaimId, row: &ClaimRow) -> Result<Claim, Problem> {
    let signed = Signed {
        author: row.author,
        created_ms: row.created_ms,
        parent: row.parent,
        supersedes: &row.supersedes,
        retracted: row.retracted_by.is_some(),
        is_final: arrange::is_final(kv, &row.block)?,
    };
    signed.claim(kv, id, query::words(kv, row)?)
}

/// What a claim's block says of it.
pub(super) struct Signed<'a> {
    pub author: Identity,
    pub created_ms: u64,
    pub parent: Option<ClaimId>,
    pub supersedes: &'a [ClaimId],
    pub retracted: bool,
    pub is_final: bool,
}

impl Signed<'_> {
    /// The same with its words.
    pub fn claim(self, kv: &dyn Read, id: ClaimId, words: Option<ClaimBody>) -> Result<Claim, Problem> {
        let words = words.unwrap_or(ClaimBody {
            title: None,
            text: String::new(),
            tags: vec![],
            evidence: vec![],
            valid_until_ms: None,
        });
        let hashes = |claims: &[ClaimId]| claims.iter().map(ToString::to_string).collect();
        Ok(Claim {
            claim_hash: id.to_string(),
            text: words.text,
            title: words.title,
            tags: words.tags,
            author: self.author.to_string(),
            created_ms: self.created_ms,
            parent_hash: self.parent.map(|parent| parent.to_string()),
            evidence: words.evidence.into_iter().map(evidence).collect(),
            supersedes: hashes(self.supersedes),
            superseded_by: hashes(&query::superseded_by(kv, &id, limits::SUPERSEDES)?),
            valid_until_ms: words.valid_until_ms,
            retracted: self.retracted,
            is_final: self.is_final,
        })
    }
}

fn evidence(evidence: chain::Evidence) -> Evidence {
    match evidence {
        chain::Evidence::Command(command, exit_code) => Evidence::Command { command, exit_code },
        chain::Evidence::Hash(hash) => Evidence::Hash { hash },
        chain::Evidence::Link(link) => Evidence::Link { link },
        chain::Evidence::Note(note) => Evidence::Note { note },
    }
}

pub(super) async fn recent(
    As(api): As,
    Segments(group): Segments<String>,
    Params(request): Params<RecentClaims>,
) -> Answer<ClaimList> {
    let read = move |_: &Api, found: &Found<'_>, _| newest(found, &request);
    api.read_group(group, read).await.map(Json)
}

fn newest(found: &Found<'_>, request: &RecentClaims) -> Result<ClaimList, Problem> {
    let kv = found.kv.as_ref();
    let limit = request.limit.unwrap_or(limits::PAGE_DEFAULT_ROWS);
    let before = request.cursor.as_deref().map(|cursor| recent_cursor::read(found.id, cursor)).transpose()?;
    let mut places = Vec::new();
    query::recent(kv, before, request.since_ms.unwrap_or(0), &mut |created_ms, id| {
        places.push((created_ms, id));
        if places.len() > limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let (mut list, mut bytes) = (ClaimList { claims: Vec::new(), next_cursor: None }, 0);
    let mut last = None;
    for (created_ms, id) in places {
        if list.claims.len() == limit || bytes >= limits::PAGE_BYTES {
            list.next_cursor = last.map(|place| recent_cursor::write(found.id, place));
            break;
        }
        let key = state::claim_key(&id);
        let row = state::claim(kv, &id)?.ok_or_else(|| KvError::damaged(Table::State, &key))?;
        bytes += row.size as usize;
        list.claims.push(with_words(kv, id, &row)?);
        last = Some((created_ms, id));
    }
    Ok(list)
}

pub(super) async fn show(As(api): As, Segments((group, claim)): Segments<(String, String)>) -> Answer<Claim> {
    let read = move |_: &Api, found: &Found<'_>, _| {
        let kv = found.kv.as_ref();
        let (id, row) = one(kv, &claim)?;
        with_words(kv, id, &row)
    };
    api.read_group(group, read).await.map(Json)
}

/// Peers are asked by nobody for this: it is what their own requests and answers have shown.
pub(super) async fn holders(As(api): As, Segments((group, claim)): Segments<(String, String)>) -> Answer<ClaimHolders> {
    let read = move |_: &Api, found: &Found<'_>, _| {
        let (id, row) = one(found.kv.as_ref(), &claim)?;
        Ok((found.id, id, row.author, Tip { seq: row.seq, id: row.block }))
    };
    let (group, claim, author, tip) = api.read_group(group, read).await?;
    let connected = api.node().seen_to_have(group, author, tip).await?;
    let seen = connected.iter().filter(|(_, is_seen)| *is_seen);
    let peers: Vec<String> = seen.map(|(peer, _)| peer.to_string()).collect();
    let unknown = connected.len() - peers.len();
    Ok(Json(ClaimHolders { claim_hash: claim.to_string(), peers, unknown }))
}

pub(super) fn one(kv: &dyn Read, text: &str) -> Result<(ClaimId, ClaimRow), Problem> {
    let id = resolve::claim(kv, text)?;
    let row = state::claim(kv, &id)?.ok_or_else(|| no_such_claim(text))?;
    Ok((id, row))
}

pub(super) async fn rejected(As(api): As, Params(request): Params<ListRejected>) -> Answer<RejectedList> {
    api.read(move |_, view| refused_blocks(view, &request)).await.map(Json)
}

fn refused_blocks(view: &View, request: &ListRejected) -> Result<RejectedList, Problem> {
    let limit = request.limit.unwrap_or(limits::PAGE_DEFAULT_ROWS);
    let groups: Vec<GroupId> = match &request.group {
        Some(name) => vec![find(view, name)?.id],
        None => view.groups()?.iter().map(|kept| kept.id).collect(),
    };
    let after = request.cursor.as_deref().map(refused_cursor::read).transpose()?;
    let (mut rejected, mut last) = (Vec::new(), None);
    for id in groups {
        let before = match after {
            Some((group, _)) if id < group => continue,
            Some((group, place)) if id == group => Some(place),
            _ => None,
        };
        let Some(kv) = view.group(&id)? else { continue };
        for (place, refused) in query::refused(kv.as_ref(), before, limit + 1 - rejected.len())? {
            if rejected.len() == limit {
                return Ok(RejectedList { rejected, next_cursor: last });
            }
            last = Some(refused_cursor::write(id, place));
            rejected.push(Rejected {
                group_id: id.to_string(),
                block_id: refused.block.to_string(),
                is_final: place.epoch != OPEN_EPOCH,
                author: refused.author.to_string(),
                created_ms: refused.time_ms,
                transaction: refused.index as usize,
                what: refused.transaction.map_or_else(String::new, |act| told(&refused.author, &act)),
                code: refused.refusal.code().to_owned(),
                reason: refused.refusal.to_string(),
            });
        }
    }
    Ok(RejectedList { rejected, next_cursor: None })
}

pub(super) fn bad_cursor() -> Problem {
    let detail = "the cursor is not one that this listing gave";
    Problem::new(ProblemCode::BadCursor, detail, "leave it out to start over, or give `next_cursor` as it came")
}

/// Where the next page of claims starts: the beginning of the group's id, so that it fits no other group, and the place.
mod claim_cursor {
    use super::{GroupId, Place, Problem, bad_cursor};

    pub fn write(group: GroupId, place: Place) -> String {
        let mut bytes = group.as_bytes()[..8].to_vec();
        bytes.extend_from_slice(&place.number.to_be_bytes());
        bytes.extend_from_slice(&place.index.to_be_bytes());
        hex::encode(bytes)
    }

    pub fn read(group: GroupId, text: &str) -> Result<Place, Problem> {
        let mut bytes = [0; 20];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| bad_cursor())?;
        let parse = || {
            let rest = bytes.strip_prefix(&group.as_bytes()[..8])?;
            let (number, index) = rest.split_first_chunk()?;
            Some(Place { number: u64::from_be_bytes(*number), index: u32::from_be_bytes(index.try_into().ok()?) })
        };
        parse().ok_or_else(bad_cursor)
    }
}

/// The last claim of a page of the newest: the beginning of the group's id, the claim's time and its id.
mod recent_cursor {
    use super::{ClaimId, GroupId, Problem, bad_cursor};

    pub fn write(group: GroupId, (created_ms, claim): (u64, ClaimId)) -> String {
        let mut bytes = group.as_bytes()[..8].to_vec();
        bytes.extend_from_slice(&created_ms.to_be_bytes());
        bytes.extend_from_slice(claim.as_bytes());
        hex::encode(bytes)
    }

    pub fn read(group: GroupId, text: &str) -> Result<(u64, ClaimId), Problem> {
        let mut bytes = [0; 48];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| bad_cursor())?;
        let parse = || {
            let rest = bytes.strip_prefix(&group.as_bytes()[..8])?;
            let (created_ms, claim) = rest.split_first_chunk()?;
            Some((u64::from_be_bytes(*created_ms), ClaimId::from_bytes(claim.try_into().ok()?)))
        };
        parse().ok_or_else(bad_cursor)
    }
}

/// The last refused block of a page: its group and its place in the order.
mod refused_cursor {
    use super::{GroupId, OrderKey, Problem, bad_cursor};

    pub fn write(group: GroupId, place: OrderKey) -> String {
        hex::encode([group.as_bytes().as_slice(), &place.to_bytes()].concat())
    }

    pub fn read(text: &str) -> Result<(GroupId, OrderKey), Problem> {
        let mut bytes = [0; 32 + OrderKey::BYTES];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| bad_cursor())?;
        let parse = || {
            let (group, place) = bytes.split_first_chunk()?;
            Some((GroupId::from_bytes(*group), OrderKey::from_bytes(place)?))
        };
        parse().ok_or_else(bad_cursor)
    }
}
