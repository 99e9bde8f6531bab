//! The thread that a claim stands in, page by page: what is nearest to the claim first.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use axum::Json;

use super::Api;
use super::extract::{As, Params, Segments};
use super::listing::{bad_cursor, one, with_words};
use super::resolve::Found;
use crate::api::types::{Problem, ShowThread, Thread, ThreadClaim};
use crate::chain::{ClaimId, GroupId};
use crate::kv::{KvError, Read};
use crate::ledger::query;
use crate::ledger::state::{self, ClaimRow};
use crate::limits;

pub(super) async fn thread(
    As(api): As,
    Segments((group, claim)): Segments<(String, String)>,
    Params(request): Params<ShowThread>,
) -> Result<Json<Thread>, Problem> {
    let read = move |_: &Api, found: &Found<'_>, _| {
        let (id, row) = one(found.kv.as_ref(), &claim)?;
        page(found, id, row, &request)
    };
    api.read_group(group, read).await.map(Json)
}

fn page(found: &Found<'_>, claim: ClaimId, row: ClaimRow, request: &ShowThread) -> Result<Thread, Problem> {
    let kv = found.kv.as_ref();
    let tree = Tree::around(kv, claim, row)?;
    let nearest = tree.nearest_first();
    let start = match &request.cursor {
        Some(cursor) => {
            let last = cursor::read(found.id, cursor)?;
            nearest.iter().position(|id| *id == last).ok_or_else(bad_cursor)? + 1
        }
        None => 0,
    };
    let limit = request.limit.unwrap_or(limits::PAGE_ROWS);
    let (mut shown, mut bytes, mut last) = (BTreeSet::new(), 0, None);
    for id in nearest.iter().skip(start).take(limit) {
        if bytes >= limits::PAGE_BYTES {
            break;
        }
        bytes += tree.rows.get(id).map_or(0, |row| row.size as usize);
        shown.insert(*id);
        last = Some(*id);
    }
    let mut claims = Vec::with_capacity(shown.len());
    for (id, depth) in tree.in_sequence(tree.root).filter(|(id, _)| shown.contains(id)) {
        if let Some(row) = tree.rows.get(&id) {
            claims.push(ThreadClaim { claim: with_words(kv, id, row)?, depth });
        }
    }
    let left_out = nearest.len() - (start + shown.len()).min(nearest.len());
    let next_cursor = last.filter(|_| left_out > 0).map(|last| cursor::write(found.id, last));
    Ok(Thread { root_hash: tree.root.to_string(), claims, left_out, next_cursor })
}

/// A claim's thread, or the [`limits::THREAD_CLAIMS`] claims of it that are nearest to the claim.
struct Tree {
    /// The claims from the asked one up to the root.
    way_up: Vec<ClaimId>,
    root: ClaimId,
    rows: BTreeMap<ClaimId, ClaimRow>,
    /// The answers to each, older ones first.
    answers: BTreeMap<ClaimId, Vec<ClaimId>>,
}

impl Tree {
    fn around(kv: &dyn Read, claim: ClaimId, row: ClaimRow) -> Result<Self, KvError> {
        let mut tree =
            Self { way_up: vec![claim], root: claim, rows: BTreeMap::from([(claim, row)]), answers: BTreeMap::new() };
        while let Some(parent) = tree.rows.get(&tree.root).and_then(|row| row.parent) {
            let Some(row) = state::claim(kv, &parent)? else { break };
            // Half of the room is for what stands below.
            if tree.rows.len() >= limits::THREAD_CLAIMS / 2 {
                break;
            }
            tree.answers.insert(parent, vec![tree.root]);
            tree.rows.insert(parent, row);
            tree.way_up.push(parent);
            tree.root = parent;
        }
        tree.grow(kv, claim)?;
        tree.grow(kv, tree.root)?;
        for answers in tree.answers.values_mut() {
            answers.sort_by_key(|id| (tree.rows.get(id).map(|row| row.created_ms), *id));
        }
        Ok(tree)
    }

    /// Takes in what stands below a claim, the nearest first, as long as there is room.
    fn grow(&mut self, kv: &dyn Read, from: ClaimId) -> Result<(), KvError> {
        let mut parents = VecDeque::from([from]);
        while let Some(parent) = parents.pop_front() {
            for answer in query::answers(kv, &parent, limits::THREAD_CLAIMS)? {
                if self.rows.len() >= limits::THREAD_CLAIMS {
                    return Ok(());
                }
                if let Entry::Vacant(place) = self.rows.entry(answer) {
                    let Some(row) = state::claim(kv, &answer)? else { continue };
                    place.insert(row);
                    self.answers.entry(parent).or_default().push(answer);
                }
                parents.push_back(answer);
            }
        }
        Ok(())
    }

    /// A claim and what stands below it, each followed by its answers, with the steps from there.
    fn in_sequence(&self, from: ClaimId) -> impl Iterator<Item = (ClaimId, usize)> {
        let mut stack = vec![(from, 0)];
        std::iter::from_fn(move || {
            let (id, depth) = stack.pop()?;
            stack.extend(self.answers.get(&id).into_iter().flatten().rev().map(|answer| (*answer, depth + 1)));
            Some((id, depth))
        })
    }

    /// All claims, in the sequence in which pages show them.
    fn nearest_first(&self) -> Vec<ClaimId> {
        let claim = self.way_up.first().copied().unwrap_or(self.root);
        let answers = self.answers.get(&claim).into_iter().flatten().copied();
        let (mut way_up, mut answers) = (self.way_up.iter().skip(1).copied(), answers.fuse());
        let by_turns = std::iter::from_fn(|| Some([way_up.next(), answers.next()]))
            .take_while(|turn| turn.iter().any(Option::is_some))
            .flatten()
            .flatten();
        let below = self.in_sequence(claim).chain(self.in_sequence(self.root)).map(|(id, _)| id);
        let mut seen = BTreeSet::new();
        [claim, self.root].into_iter().chain(by_turns).chain(below).filter(|id| seen.insert(*id)).collect()
    }
}

/// The last claim of a page: the beginning of the group's id, and the claim's.
mod cursor {
    use super::{ClaimId, GroupId, Problem, bad_cursor};

    pub fn write(group: GroupId, claim: ClaimId) -> String {
        hex::encode([&group.as_bytes()[..8], claim.as_bytes()].concat())
    }

    pub fn read(group: GroupId, text: &str) -> Result<ClaimId, Problem> {
        let mut bytes = [0; 40];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| bad_cursor())?;
        let claim = bytes.strip_prefix(&group.as_bytes()[..8]).and_then(|claim| claim.try_into().ok());
        claim.map(ClaimId::from_bytes).ok_or_else(bad_cursor)
    }
}
