//! Own writes that a group is not known to have, as who wrote them is no member there any more: told, and given back.

use axum::Json;

use super::Api;
use super::extract::{As, Params};
use super::listing::{Signed, bad_cursor};
use super::resolve::find;
use super::told::told;
use crate::api::types::{Claim, ListStranded, Problem, Stranded, StrandedList};
use crate::chain::{BlockId, Body, ClaimBody, ClaimId, GroupId, LineKey, Transaction, rows, transaction};
use crate::identity::Identity;
use crate::kv::Read;
use crate::ledger::query::refused_of;
use crate::limits;
use crate::node::engine::Groups;
use crate::node::stranded::stranded;
use crate::store::View;

type Answer<T> = Result<Json<T>, Problem>;

/// Whose writes the caller may see: its own, and as the node those of its agents.
pub(super) fn own(api: &Api) -> Vec<Identity> {
    let node = api.node();
    let mut own = vec![node.identity];
    if !node.is_agent() {
        own.extend(node.agents.all().into_iter().map(|(_, agent)| agent));
    }
    own.sort();
    own
}

/// How many blocks of the caller's are stranded, at most `limits::PAGE_ROWS` of one group and author; and the first group of them.
pub(super) fn count(api: &Api, view: &View) -> Result<(usize, Option<String>), Problem> {
    let (mut count, mut first) = (0, None);
    for kept in view.groups()? {
        let kv = view.rows(kept);
        for author in own(api) {
            let lines = stranded(&kv, &author, None, limits::PAGE_ROWS)?.len();
            count += lines;
            if lines > 0 && first.is_none() {
                first = Some(kept.id.to_string());
            }
        }
    }
    Ok((count, first))
}

pub(super) async fn list(As(api): As, Params(request): Params<ListStranded>) -> Answer<StrandedList> {
    api.read(move |api, view| page(api, view, &request)).await.map(Json)
}

fn page(api: &Api, view: &View, request: &ListStranded) -> Result<StrandedList, Problem> {
    let limit = request.limit.unwrap_or(limits::PAGE_DEFAULT_ROWS);
    let groups: Vec<GroupId> = match &request.group {
        Some(name) => vec![find(view, name)?.id],
        None => view.groups()?.iter().map(|kept| kept.id).collect(),
    };
    let shown = request.cursor.as_deref().map(Place::read).transpose()?;
    let from = shown.as_ref().map(|place| (place.group, place.author()));
    let (mut list, mut bytes, mut last) = (StrandedList { stranded: Vec::new(), next_cursor: None }, 0, None);
    for (group, author) in groups.into_iter().flat_map(|group| own(api).into_iter().map(move |own| (group, own))) {
        let here = (group, *author.as_bytes());
        let shown = shown.as_ref().filter(|_| from == Some(here));
        let Some(kv) = view.group(&group)?.filter(|_| from.is_none_or(|from| from <= here)) else { continue };
        let before = shown.and_then(Place::behind);
        let look = if request.refused { refused_of } else { stranded };
        for line in look(kv.as_ref(), &author, before.as_ref(), limit + 2)? {
            let (block, body) = rows::body_and_id(kv.as_ref(), &line)?;
            for (index, act) in (0..).zip(body.transactions()) {
                if shown.is_some_and(|shown| shown.line == line && index <= shown.index) {
                    continue;
                }
                if list.stranded.len() >= limit || bytes >= limits::PAGE_BYTES {
                    list.next_cursor = last.as_ref().map(Place::write);
                    return Ok(list);
                }
                let place = Place { group, line, index };
                let row = row(kv.as_ref(), &place, block, &body, act)?;
                bytes += row.claim.as_ref().map_or(0, |claim| claim.text.len());
                list.stranded.push(row);
                last = Some(place);
            }
        }
    }
    Ok(list)
}

fn row(kv: &dyn Read, place: &Place, block: BlockId, body: &Body, act: &Transaction) -> Result<Stranded, Problem> {
    Ok(Stranded {
        group_id: place.group.to_string(),
        block_id: block.to_string(),
        author: body.author.to_string(),
        created_ms: body.time_ms,
        transaction: place.index as usize,
        what: told(&body.author, act),
        claim: match act {
            Transaction::Claim(signed) => Some(claim(kv, place, block, body, signed)?),
            _ => None,
        },
    })
}

/// A claim with its words, whatever the ledger makes of it here.
fn claim(
    kv: &dyn Read,
    place: &Place,
    block: BlockId,
    body: &Body,
    signed: &transaction::Claim,
) -> Result<Claim, Problem> {
    let words = rows::object(kv, &place.line, place.index)?;
    let words = words.and_then(|bytes| ClaimBody::of_claim(&bytes, signed.rewarded.as_ref()));
    let shown = Signed {
        author: body.author,
        created_ms: body.time_ms,
        parent: signed.parent,
        supersedes: &signed.supersedes,
        retracted: false,
        is_final: false,
    };
    shown.claim(kv, ClaimId::derive(block, place.index), words)
}

/// Where a write lies: the last of a page says where the next begins.
struct Place {
    group: GroupId,
    line: LineKey,
    index: u32,
}

impl Place {
    const BYTES: usize = 32 + LineKey::BYTES + 4;

    fn author(&self) -> [u8; 32] {
        let mut author = [0; 32];
        author.copy_from_slice(self.line.as_bytes().split_at(32).0);
        author
    }

    /// The least place in the line behind the block's.
    fn behind(&self) -> Option<LineKey> {
        let mut bytes = *self.line.as_bytes();
        for byte in bytes.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
        LineKey::from_bytes(&bytes)
    }

    fn write(&self) -> String {
        hex::encode([self.group.as_bytes().as_slice(), self.line.as_bytes(), &self.index.to_be_bytes()].concat())
    }

    fn read(text: &str) -> Result<Self, Problem> {
        let mut bytes = [0; Self::BYTES];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| bad_cursor())?;
        let parse = || {
            let (group, rest) = bytes.split_first_chunk()?;
            let (line, index) = rest.split_last_chunk()?;
            let (group, line) = (GroupId::from_bytes(*group), LineKey::from_bytes(line)?);
            Some(Self { group, line, index: u32::from_be_bytes(*index) })
        };
        parse().ok_or_else(bad_cursor)
    }
}
