//! The node itself: who it is, and whether it is well.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;

use super::Api;
use super::extract::As;
use super::group::{Out, out};
use super::problem::come_back;
use super::stranded;
use crate::api::VERSION;
use crate::api::types::{EmbedderState, EmbedderStatus, Health, HealthCheck, Problem, PurchaseState, Status};
use crate::chain::rows;
use crate::ledger::{query, state};
use crate::limits;
use crate::runtime::embedding::{Progress, Standing};
use crate::runtime::index::Condition;
use crate::store::View;

type Answer<T> = Result<Json<T>, Problem>;

pub(super) async fn status(As(api): As) -> Answer<Status> {
    let node = api.node();
    // What is not of its groups is not an agent's business.
    let is_agent = node.is_agent();
    let listen = if is_agent { Vec::new() } else { node.listening().await? };
    let peers = super::peer::seen(&api).await?;
    let count = |api: &Api, view: &View| Ok((view.groups()?.len(), unsure(view)?.len(), outs(api, view)?.len()));
    let (groups, unsure_groups, shut_out_groups) = api.read(count).await?;
    let (stranded_blocks, _) = api.read(stranded::count).await?;
    let open_purchases = api.read_own(super::purchase::open).await?;
    let indexes = api.read(|api, view| Ok(api.node().indexes.conditions(view)?)).await?;
    Ok(Json(Status {
        node_id: node.node_id.to_string(),
        member_id: node.identity.to_string(),
        agents: if is_agent { 1 } else { node.agents.all().len() },
        name: node.name.as_str().to_owned(),
        version: VERSION.to_owned(),
        uptime_s: node.uptime.ms() / 1_000,
        listen: listen.iter().map(ToString::to_string).collect(),
        peers: peers.iter().filter(|info| info.link.is_some()).count(),
        groups,
        unsure_groups,
        shut_out_groups,
        stranded_blocks,
        open_purchases,
        embedder: node.embedding.standing().filter(|_| !is_agent).map(embedder),
        indexing_groups: indexes.iter().filter(|index| index.indexed_percent.is_some()).count(),
        troubled_indexes: indexes.iter().filter(|index| index.trouble.is_some()).count(),
    }))
}

pub(super) async fn health(As(api): As) -> Answer<Health> {
    let node = api.node();
    let mut checks = vital(&api).await;
    checks.push(index(&api.read(|api, view| Ok(api.node().indexes.conditions(view)?)).await?));
    checks.push(own_lines(&api.read(|_, view| unsure(view)).await?));
    checks.push(membership(&api.read(outs).await?));
    checks.push(own_writes(api.read(stranded::count).await?));
    checks.push(purchases(&api.read_own(super::purchase::open).await?));
    checks.push(forks(&api.read(|_, view| forked(view)).await?));
    if node.is_agent() {
        // The rest is about the machine and its neighbours.
        return Ok(Json(Health { ok: checks.iter().all(|check| check.ok), checks }));
    }
    let listen = node.listening().await?;
    checks.push(match listen.first() {
        Some(first) => well("listening", format!("on {} addresses, first {first}", listen.len())),
        None => ill("listening", "on no address".to_owned(), "name a free one with `lbm-node --listen`"),
    });
    let peers = node.peers().await?;
    let connected = peers.iter().filter(|info| info.link.is_some()).count();
    // A node may be alone, as the first of a group is: nobody of those it knows can be reached is another thing.
    checks.push(if connected > 0 || peers.is_empty() {
        well("peers", format!("connected to {connected} of {} known", peers.len()))
    } else {
        let detail = format!("none of {} known peers is connected", peers.len());
        ill("peers", detail, "check that their daemons run, and their addresses with `lbm ctl peer list`")
    });
    checks.extend(node.embedding.standing().map(embedder_check));
    Ok(Json(Health { ok: checks.iter().all(|check| check.ok), checks }))
}

/// What the daemon cannot do without.
pub(super) async fn vital(api: &Arc<Api>) -> Vec<HealthCheck> {
    let store = match api.read(readable).await {
        Ok(groups) => well("store", format!("{groups} groups can be read")),
        Err(problem) => ill("store", problem.detail, "check the disk; restore the data folder from a backup"),
    };
    vec![store, disk(api.node().store.free_bytes()), writer(api.node().writer.queued())]
}

fn embedder(standing: Standing) -> EmbedderStatus {
    let Standing { model, progress: Progress { embedded, claims, unable }, has_answered, trouble } = standing;
    let state = match (&trouble, has_answered) {
        (Some(_), _) => EmbedderState::Down,
        (None, false) => EmbedderState::Starting,
        (None, true) if embedded + unable < claims => EmbedderState::Embedding,
        (None, true) => EmbedderState::Ready,
    };
    EmbedderStatus { model, state, embedded, claims, unable, detail: trouble.map(|(what, _)| what) }
}

fn embedder_check(standing: Standing) -> HealthCheck {
    let Standing { model, progress: Progress { embedded, claims, unable }, trouble, .. } = standing;
    match trouble {
        Some((what, remedy)) => ill("embedder", format!("{model}: {what}; the built-in views answer alone"), remedy),
        None if unable > 0 => well("embedder", format!("{model}: {embedded} of {claims} claims, {unable} refused")),
        None => well("embedder", format!("{model}: {embedded} of {claims} claims")),
    }
}

fn readable(_: &Api, view: &View) -> Result<usize, Problem> {
    let groups = view.groups()?;
    for kept in &groups {
        state::group(&view.rows(*kept))?;
    }
    Ok(groups.len())
}

/// Groups in which this node may not know its own last block.
fn unsure(view: &View) -> Result<Vec<String>, Problem> {
    let mut unsure = Vec::new();
    for kept in view.groups()? {
        let kv = view.rows(kept);
        if rows::in_doubt(&kv)? {
            unsure.push(state::group(&kv)?.map_or_else(|| kept.id.to_string(), |group| group.name));
        }
    }
    Ok(unsure)
}

fn own_lines(unsure: &[String]) -> HealthCheck {
    let Some(first) = unsure.first() else {
        return well("own blocks", "this node knows its last block of each group".to_owned());
    };
    let detail = format!("unsure in {} groups, first {first}: nothing is written there", unsure.len());
    let remedy = "the data folder is an older copy: connect to members that have been on since; where nobody else has the group, \
                  `lbm ctl group alone GROUP`";
    ill("own blocks", detail, remedy)
}

/// Groups of which the caller is a member no more, as their blocks or their members say.
fn outs(api: &Api, view: &View) -> Result<Vec<(String, Out)>, Problem> {
    let mut outs = Vec::new();
    for kept in view.groups()? {
        let kv = view.rows(kept);
        if let Some(out) = out(api, &kv)? {
            let name = state::group(&kv)?.map_or_else(|| kept.id.to_string(), |group| group.name);
            outs.push((name, out));
        }
    }
    Ok(outs)
}

fn membership(outs: &[(String, Out)]) -> HealthCheck {
    let Some((name, Out { why, said })) = outs.first() else {
        return well("membership", "this node is a member of all its groups, as far as it knows".to_owned());
    };
    let (meaning, count, remedy) = (why.meaning(), outs.len(), come_back(*why, name));
    let (who, remedy) = match said {
        Some(said) => (
            format!("{} says that this node is no member any more", said.by),
            format!("{remedy}; where that is not so, connect to other members"),
        ),
        None => (
            "this node is no member any more".to_owned(),
            format!("{remedy}, or end it here: `lbm ctl group leave {name}`"),
        ),
    };
    ill(
        "membership",
        format!("out of {count} groups, first {name}: {who}, since {meaning}; nothing is written there"),
        &remedy,
    )
}

/// Writes that were acknowledged and lie here alone, as far as is known.
fn own_writes((blocks, first): (usize, Option<String>)) -> HealthCheck {
    let Some(first) = first else {
        return well("own writes", "none is kept back by the end of a membership".to_owned());
    };
    let detail = format!(
        "{blocks} blocks of this node may be here alone, first in {first}: they were written before it was known that their author is no member"
    );
    let remedy = "`lbm ctl stranded` lists them, and with --claims writes their claims as `lbm ctl claim publish --file` reads them; they end \
                  with `lbm ctl group leave`. Let in again, their author hands them in, and the ledger refuses what it wrote as no member: \
                  `lbm ctl stranded --refused` lists that";
    ill("own writes", detail, remedy)
}

/// None of them makes a node ill: each ends by itself, but for those that wait for a person.
fn purchases(open: &BTreeMap<PurchaseState, usize>) -> HealthCheck {
    if open.is_empty() {
        return well("purchases", "none is open".to_owned());
    }
    let counts: Vec<String> = open.iter().map(|(state, count)| format!("{count} {}", state.word())).collect();
    well("purchases", format!("{}: `lbm ctl offer purchases`", counts.join(", ")))
}

/// Who has signed two blocks with one number, each with its group's name.
fn forked(view: &View) -> Result<Vec<String>, Problem> {
    let mut found = Vec::new();
    for kept in view.groups()? {
        let rows = view.rows(kept);
        let Some(group) = state::group(&rows)? else { continue };
        let frozen = query::frozen(&rows)?;
        found.extend(frozen.into_iter().map(|identity| format!("{identity} in {}", group.name)));
    }
    Ok(found)
}

fn forks(frozen: &[String]) -> HealthCheck {
    let Some(first) = frozen.first() else {
        return well("forks", "nobody has signed two blocks with one number".to_owned());
    };
    let detail = format!("{} signed two blocks with one number, first {first}", frozen.len());
    let remedy = "find out whether its key is on two machines or in two hands; then an admin may lift it: `lbm ctl group unfreeze`";
    ill("forks", detail, remedy)
}

fn disk(free_bytes: Option<u64>) -> HealthCheck {
    match free_bytes {
        Some(free) if free < limits::DISK_FREE_BYTES => {
            let detail = format!("{} MiB left, and {} are needed to write", free >> 20, limits::DISK_FREE_BYTES >> 20);
            ill("disk", detail, "free some space: until then nothing is written")
        }
        Some(free) => well("disk", format!("{} MiB left", free >> 20)),
        None => ill("disk", "the system does not say how much room is left".to_owned(), "check the data folder's disk"),
    }
}

fn index(indexes: &[Condition]) -> HealthCheck {
    let claims: usize = indexes.iter().map(|index| index.claims).sum();
    if let Some((index, trouble)) = indexes.iter().find_map(|index| Some((index, index.trouble.as_ref()?))) {
        let detail = format!("of group {}: {trouble}", index.group);
        return ill(
            "index",
            detail,
            "free some space, and see who owns the folder `index` of the data folder and what removes it",
        );
    }
    let indexing: Vec<_> = indexes.iter().filter_map(|index| Some((index.group, index.indexed_percent?))).collect();
    match indexing.first() {
        // Answers come meanwhile, and nobody has to do anything.
        Some((group, percent)) => {
            let detail = "a context shows only what is indexed, and says so";
            well("index", format!("indexing {} groups, first {group}: {percent} % is done; {detail}", indexing.len()))
        }
        None => {
            let behind: u64 = indexes.iter().map(|index| index.behind).sum();
            let rest = if behind > 0 {
                format!("; behind by {behind} blocks, which the next search reads")
            } else {
                String::new()
            };
            well("index", format!("{claims} claims of {} groups can be searched{rest}", indexes.len()))
        }
    }
}

fn writer(queued: usize) -> HealthCheck {
    let detail = format!("{queued} of {} places in its queue are taken", limits::WRITER_QUEUE);
    if queued < limits::WRITER_QUEUE {
        well("writer", detail)
    } else {
        ill("writer", detail, "the disk is too slow for what is written: see the daemon's log")
    }
}

fn well(name: &str, detail: String) -> HealthCheck {
    HealthCheck { name: name.to_owned(), ok: true, detail, remedy: None }
}

fn ill(name: &str, detail: String, remedy: &str) -> HealthCheck {
    HealthCheck { name: name.to_owned(), ok: false, detail, remedy: Some(remedy.to_owned()) }
}
