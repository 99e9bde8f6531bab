//! From what a person typed to the group or claim that is meant; and reading, off the threads that serve connections.
//!
//! **Nothing is guessed**: where two fit, the answer names them.

use std::sync::Arc;

use super::problem::crashed;
use super::{Api, Node};
use crate::api::types::{Problem, ProblemCode};
use crate::chain::{ClaimId, GroupId};
use crate::kv::Read;
use crate::ledger::{query, state};
use crate::node::engine::Groups;
use crate::store::View;

/// Digits of the shortest prefix of an id that names a group.
const PREFIX_DIGITS: usize = 4;
/// Groups or claims that a refusal lists.
const LISTED: usize = 8;

/// A group that is here, in one view.
pub(super) struct Found<'v> {
    pub id: GroupId,
    pub kv: Box<dyn Read + 'v>,
}

impl Found<'_> {
    /// Its row.
    pub fn group(&self) -> Result<state::Group, Problem> {
        state::group(self.kv.as_ref())?.ok_or_else(|| still_joining(self.id))
    }
}

impl Api {
    /// Reads one view of the store: in it are the groups that whoever calls may see, and no other.
    pub async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Self, &View) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let api = Arc::clone(self);
        let read = move || read(&api, &api.node.view()?);
        tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| Err(crashed(&error)))
    }

    /// Reads a view in which all groups are, those that whoever calls was removed from as well: **for the rows that are its own**, as what it
    /// has bought.
    pub async fn read_own<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Self, &View) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let api = Arc::clone(self);
        let read = move || read(&api, &api.node.store.view()?);
        tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| Err(crashed(&error)))
    }

    /// Reads the group that `name` means, where its first block is here.
    pub async fn read_group<T: Send + 'static>(
        self: &Arc<Self>,
        name: String,
        read: impl FnOnce(&Self, &Found<'_>, state::Group) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        self.read(move |api, view| {
            let found = find(view, &name)?;
            let group = found.group()?;
            read(api, &found, group)
        })
        .await
    }

    /// The id of the group that `name` means. The node's own full id is taken as it is: whether it is here, the writer says. Of an agent's
    /// the writer would say more than that it is not here.
    pub async fn group_id(self: &Arc<Self>, name: String) -> Result<GroupId, Problem> {
        match name.parse() {
            Ok(id) if !self.node.is_agent() => Ok(id),
            _ => self.read(move |_, view| Ok(find(view, &name)?.id)).await,
        }
    }

    /// The id of the claim that `text`, a hash or a prefix of one, means in a group. A full hash is taken as it is.
    pub async fn claim_id(self: &Arc<Self>, group: GroupId, text: String) -> Result<ClaimId, Problem> {
        match text.parse() {
            Ok(id) => Ok(id),
            Err(_) => self.read(move |_, view| claim(by_id(view, group)?.kv.as_ref(), &text)).await,
        }
    }

    pub const fn node(&self) -> &Node {
        &self.node
    }
}

/// The group of an id.
pub(super) fn by_id(view: &View, id: GroupId) -> Result<Found<'_>, Problem> {
    let kv = view.group(&id)?.ok_or_else(|| unknown_group(&id.to_string()))?;
    Ok(Found { id, kv })
}

/// The group that a full id, a unique prefix of one, or a unique name means.
pub(super) fn find<'v>(view: &'v View, name: &str) -> Result<Found<'v>, Problem> {
    if let Ok(id) = name.parse() {
        return by_id(view, id);
    }
    let is_prefix = name.len() >= PREFIX_DIGITS && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let prefix = name.to_ascii_lowercase();
    let mut fits = Vec::new();
    for kept in view.groups()? {
        let group = state::group(&view.rows(kept))?;
        let is_named = group.as_ref().is_some_and(|group| group.name == name);
        if is_named || (is_prefix && kept.id.to_string().starts_with(&prefix)) {
            fits.push((kept.id, group.map(|group| group.name)));
        }
    }
    match fits.as_slice() {
        [] => Err(unknown_group(name)),
        [(only, _)] => by_id(view, *only),
        several => Err(ambiguous_group(name, several)),
    }
}

/// The claim that a hash or a unique prefix of one means.
pub(super) fn claim(kv: &dyn Read, text: &str) -> Result<ClaimId, Problem> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    if text.is_empty() || text.len() > 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(crate::api::types::FieldError::Hash { field: "claim" }.into());
    }
    let (even, odd) = text.split_at(text.len() & !1);
    let prefix = hex::decode(even).unwrap_or_default();
    // Of an odd last digit the store knows nothing: both ends of its byte are looked at.
    let mut ids: Vec<ClaimId> = Vec::new();
    if odd.is_empty() {
        ids = query::claims_by_prefix(kv, &prefix)?;
    } else {
        for last in "0123456789abcdef".chars() {
            let mut longer = prefix.clone();
            longer.extend(hex::decode(format!("{odd}{last}")).unwrap_or_default());
            ids.extend(query::claims_by_prefix(kv, &longer)?);
            if ids.len() > 1 {
                break;
            }
        }
    }
    match ids.as_slice() {
        [] => Err(no_such_claim(text)),
        [only] => Ok(*only),
        several => {
            let listed: Vec<_> = several.iter().map(ToString::to_string).collect();
            let detail = format!("several claims start with {}: {}, …", shown(text), listed.join(", "));
            Err(Problem::new(ProblemCode::AmbiguousClaim, detail, "give more digits of the hash"))
        }
    }
}

/// The same, of a claim that must be here.
pub(super) fn claim_here(kv: &dyn Read, text: &str) -> Result<ClaimId, Problem> {
    let id = claim(kv, text)?;
    state::claim(kv, &id)?.map(|_| id).ok_or_else(|| no_such_claim(text))
}

/// What somebody typed, as a sentence may hold it: no control characters, and not endless.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().nth(80).is_some() {
        shown.push('…');
    }
    shown
}

pub(super) fn unknown_group(name: &str) -> Problem {
    let detail = format!("there is no group `{}` on this node", shown(name));
    let remedy = "`lbm ctl group list` shows which are here; join another by its id with `lbm ctl group join`";
    Problem::new(ProblemCode::UnknownGroup, detail, remedy)
}

fn ambiguous_group(name: &str, fits: &[(GroupId, Option<String>)]) -> Problem {
    let listed: Vec<_> = fits
        .iter()
        .take(LISTED)
        .map(|(id, name)| format!("{id} ({})", name.as_deref().unwrap_or("still being joined")))
        .collect();
    let more = if fits.len() > LISTED { ", …" } else { "" };
    let detail = format!("{} groups fit `{}`: {}{more}", fits.len(), shown(name), listed.join(", "));
    Problem::new(ProblemCode::AmbiguousName, detail, "name it by its id, or by more digits of it")
}

pub(super) fn no_such_claim(text: &str) -> Problem {
    let detail = format!("there is no claim {} in the group", shown(text));
    Problem::new(ProblemCode::NoSuchClaim, detail, "check the hash; `lbm ctl claim list` prints them")
}

pub(super) fn still_joining(id: GroupId) -> Problem {
    let detail = format!("nothing of the group {id} has arrived yet");
    let remedy = "follow it with `lbm ctl group join`; `lbm ctl peer list` shows who could send it";
    Problem::new(ProblemCode::StillJoining, detail, remedy)
}
