//! Watching: what became of claims on this node, page by page or as a stream, in the arrival order ([`arrival`]).
//!
//! **A cursor is a position in one arrival order and says which**: of another copy of the data, or of before a group was left and
//! joined again, it is refused, never misread.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::HeaderMap;
use axum::response::sse::{Event as SseEvent, KeepAliveStream, Sse};
use futures::stream::{self, Stream};
use tokio::sync::watch::Receiver;

use super::Api;
use super::events::{sse, to_sse};
use super::extract::{As, Params, Segments};
use super::listing::{Signed, bad_cursor, with_words};
use super::resolve::{self, find};
use super::stop::Stop;
use crate::api::types::{Claim, Problem, ProblemCode, WatchClaims, WatchKind, WatchedClaim, WatchedList};
use crate::chain::transaction::Transaction;
use crate::chain::{ClaimBody, ClaimId, rows};
use crate::identity::Identity;
use crate::kv::Read;
use crate::ledger::{arrange, query, state};
use crate::limits;
use crate::node::arrival::{self, Arrival, What};
use crate::runtime::Stopping;
use crate::store::{ArrivalOrder, View};

/// A page of the arrival order; where there is nothing in it yet, once there is or the time to wait is over.
pub(super) async fn watch(
    As(api): As,
    Segments(group): Segments<String>,
    Params(request): Params<WatchClaims>,
) -> Result<Json<WatchedList>, Problem> {
    let deadline = tokio::time::sleep(Duration::from_millis(request.wait_ms.unwrap_or(0)));
    tokio::pin!(deadline);
    let mut watching = Watching::new(&api, group, request, Start::First).await?;
    loop {
        let page = watching.page().await?;
        let is_done = !watching.has_more && watching.request.wait_ms.is_none();
        if is_done || !page.claims.is_empty() {
            return Ok(Json(page));
        }
        tokio::select! {
            biased;
            woken = watching.more() => woken?,
            () = &mut deadline => return Ok(Json(page)),
        }
    }
}

/// The arrival order as it grows, for as long as both sides like.
pub(super) async fn follow(
    As(api): As,
    Segments(group): Segments<String>,
    headers: HeaderMap,
    Params(mut request): Params<WatchClaims>,
) -> Result<Sse<KeepAliveStream<impl Stream<Item = Result<SseEvent, Infallible>>>>, Problem> {
    // What a browser sends when it connects again.
    if let Some(last) = headers.get("last-event-id") {
        request.cursor = Some(last.to_str().map_err(|_| bad_cursor())?.to_owned());
    }
    let watching = Watching::new(&api, group, request, Start::Next).await?;
    let following = (watching, VecDeque::new());
    Ok(sse(stream::unfold(following, |(mut watching, mut ready)| async move {
        loop {
            if let Some(claim) = ready.pop_front() {
                let claim: WatchedClaim = claim;
                let event = to_sse(&claim).id(claim.cursor);
                return Some((Ok(event), (watching, ready)));
            }
            // A group that was left, and a daemon that stops, end the stream; whoever comes back with the cursor is told which.
            ready = watching.page().await.ok()?.claims.into();
            if ready.is_empty() {
                watching.more().await.ok()?;
            }
        }
    })))
}

/// Where to begin without a cursor and a time.
#[derive(Clone, Copy)]
enum Start {
    /// With the first that ever came.
    First,
    /// With the next.
    Next,
}

/// One reader on its way along the arrival order.
struct Watching {
    api: Arc<Api>,
    group: String,
    request: Arc<WatchClaims>,
    order: ArrivalOrder,
    /// The last number that was looked at.
    after: u64,
    /// Whether the last page ended before the arrival order did.
    has_more: bool,
    arrivals: Receiver<()>,
    stop: Stop,
}

impl Watching {
    async fn new(api: &Arc<Api>, group: String, request: WatchClaims, start: Start) -> Result<Self, Problem> {
        // Before the first look, so that nothing can slip in between.
        let (arrivals, stop) = (api.node().events.arrivals(), api.stop.clone());
        let request = Arc::new(request);
        let (asked, name) = (Arc::clone(&request), group.clone());
        let read = move |_: &Api, view: &View| {
            let (kv, order) = open(view, &name)?;
            Ok((order, begin(kv.as_ref(), order, &asked, start)?))
        };
        let (order, after) = api.read(read).await?;
        Ok(Self { api: Arc::clone(api), group, request, order, after, has_more: false, arrivals, stop })
    }

    /// What there is behind what was looked at.
    async fn page(&mut self) -> Result<WatchedList, Problem> {
        let (request, name, order, after) = (Arc::clone(&self.request), self.group.clone(), self.order, self.after);
        let read = move |_: &Api, view: &View| {
            let (kv, now) = open(view, &name)?;
            if now != order {
                return Err(cursor_gone("the group was left and joined again"));
            }
            page(kv.as_ref(), order, after, &request)
        };
        let (page, after, has_more) = self.api.read(read).await?;
        (self.after, self.has_more) = (after, has_more);
        Ok(page)
    }

    /// Waits until there may be more.
    async fn more(&mut self) -> Result<(), Problem> {
        if self.has_more {
            return Ok(());
        }
        tokio::select! {
            biased;
            ended = self.stop.reached() => Err(ended),
            changed = self.arrivals.changed() => changed.map_err(|_| Stopping.into()),
        }
    }
}

fn open<'v>(view: &'v View, name: &str) -> Result<(Box<dyn Read + 'v>, ArrivalOrder), Problem> {
    let found = find(view, name)?;
    found.group()?;
    let order = view.arrival_order(&found.id)?.ok_or_else(|| resolve::still_joining(found.id))?;
    Ok((found.kv, order))
}

fn begin(kv: &dyn Read, order: ArrivalOrder, request: &WatchClaims, start: Start) -> Result<u64, Problem> {
    let last = || Ok::<_, Problem>(arrival::last(kv)?.map_or(0, |last| last.number));
    match (&request.cursor, request.since_ms, start) {
        (Some(text), ..) => {
            let number = cursor::read(order, text)?;
            if number > last()? {
                return Err(cursor_gone("this node's data is from before it was given"));
            }
            Ok(number)
        }
        (None, Some(since_ms), _) => Ok(arrival::before(kv, since_ms)?),
        (None, None, Start::First) => Ok(0),
        (None, None, Start::Next) => last(),
    }
}

/// A page, the last number that was looked at for it, and whether there is more.
fn page(
    kv: &dyn Read,
    order: ArrivalOrder,
    after: u64,
    request: &WatchClaims,
) -> Result<(WatchedList, u64, bool), Problem> {
    let limit = request.limit.unwrap_or(limits::PAGE_DEFAULT_ROWS);
    let mut filter = Filter::new(kv, request)?;
    let (mut list, mut last, mut has_more) = (WatchedList { claims: vec![], next_cursor: String::new() }, after, false);
    let (mut failed, mut bytes, mut looked) = (Ok(()), 0, 0);
    arrival::after(kv, after, &mut |arrival| {
        if list.claims.len() == limit || bytes >= limits::PAGE_BYTES || looked == limits::WATCH_SCAN {
            has_more = true;
            return ControlFlow::Break(());
        }
        looked += 1;
        match watched(kv, &arrival, &mut filter) {
            Ok(claim) => {
                last = arrival.number;
                bytes += claim.as_ref().map_or(0, |claim| claim.text.len());
                let cursor = cursor::write(order, arrival.number);
                list.claims.extend(claim.map(|claim| WatchedClaim { kind: kind(arrival.what), cursor, claim }));
                ControlFlow::Continue(())
            }
            Err(error) => {
                failed = Err(error);
                ControlFlow::Break(())
            }
        }
    })?;
    failed?;
    list.next_cursor = cursor::write(order, last);
    Ok((list, last, has_more))
}

const fn kind(what: What) -> WatchKind {
    match what {
        What::Came => WatchKind::Claim,
        What::Retracted => WatchKind::Retracted,
        What::Restored => WatchKind::Restored,
    }
}

/// The claim of an entry as it is now, where it was asked for. One whose block is refused by now is shown only as gone.
fn watched(kv: &dyn Read, arrival: &Arrival, filter: &mut Filter<'_>) -> Result<Option<Claim>, Problem> {
    let id = arrival.claim;
    if let Some(row) = state::claim(kv, &id)? {
        if !filter.takes_author(&row.author) || !filter.takes_thread(kv, id)? {
            return Ok(None);
        }
        let claim = with_words(kv, id, &row)?;
        // Without words it is its author's mistake, and says nothing.
        return Ok((!claim.text.is_empty() && filter.takes_tags(&claim.tags)).then_some(claim));
    }
    let Some((line, index)) = arrival::absent(kv, &id)?.filter(|_| arrival.what == What::Retracted) else {
        return Ok(None);
    };
    let (block, body) = rows::body_and_id(kv, &line)?;
    let Some(Transaction::Claim(signed)) = body.transactions().get(index as usize) else { return Ok(None) };
    let words = rows::object(kv, &line, index)?;
    let words = words.and_then(|bytes| ClaimBody::of_claim(&bytes, signed.rewarded.as_ref()));
    let is_in_thread = match signed.parent {
        Some(parent) => filter.takes_thread(kv, parent)?,
        None => filter.takes_thread(kv, id)?,
    };
    let is_asked = filter.takes_author(&body.author)
        && is_in_thread
        && words.as_ref().is_some_and(|words| filter.takes_tags(&words.tags));
    if !is_asked {
        return Ok(None);
    }
    let signed = Signed {
        author: body.author,
        created_ms: body.time_ms,
        parent: signed.parent,
        supersedes: &signed.supersedes,
        retracted: true,
        is_final: arrange::is_final(kv, &block)?,
    };
    signed.claim(kv, id, words).map(Some)
}

/// Which claims were asked for.
struct Filter<'r> {
    author: Option<&'r Identity>,
    tags: Vec<String>,
    thread: Option<ClaimId>,
    /// Roots of claims that were looked at.
    roots: BTreeMap<ClaimId, ClaimId>,
}

impl<'r> Filter<'r> {
    fn new(kv: &dyn Read, request: &'r WatchClaims) -> Result<Self, Problem> {
        let claim = request.thread.as_deref().map(|text| resolve::claim_here(kv, text)).transpose()?;
        let thread = claim.map(|claim| query::thread_root(kv, &claim)).transpose()?;
        Ok(Self { author: request.author.as_ref(), tags: request.tag_list(), thread, roots: BTreeMap::new() })
    }

    fn takes_author(&self, author: &Identity) -> bool {
        self.author.is_none_or(|wanted| wanted == author)
    }

    fn takes_tags(&self, tags: &[String]) -> bool {
        self.tags.iter().all(|wanted| tags.contains(wanted))
    }

    fn takes_thread(&mut self, kv: &dyn Read, claim: ClaimId) -> Result<bool, Problem> {
        let Some(thread) = self.thread else { return Ok(true) };
        let parent = state::claim(kv, &claim)?.and_then(|row| row.parent);
        // An answer to one that was looked at is mostly all there is to know.
        let root = match parent.and_then(|parent| self.roots.get(&parent)) {
            Some(root) => *root,
            None => query::thread_root(kv, &claim)?,
        };
        self.roots.insert(claim, root);
        Ok(root == thread)
    }
}

fn cursor_gone(why: &str) -> Problem {
    let detail = format!("the cursor says nothing here any more: {why}");
    let remedy = "leave the cursor out to begin anew, with `since_ms` (`--since`) for not everything; what was seen before comes again";
    Problem::new(ProblemCode::CursorGone, detail, remedy)
}

/// A position in an arrival order: the copy of the data, the group's number in it, the number of the last entry.
mod cursor {
    use super::{ArrivalOrder, Problem, bad_cursor, cursor_gone};

    pub fn write(order: ArrivalOrder, number: u64) -> String {
        let mut bytes = order.copy.to_be_bytes().to_vec();
        bytes.extend_from_slice(&order.group.to_be_bytes());
        bytes.extend_from_slice(&number.to_be_bytes());
        hex::encode(bytes)
    }

    pub fn read(order: ArrivalOrder, text: &str) -> Result<u64, Problem> {
        let mut bytes = [0; 20];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| bad_cursor())?;
        let parse = || {
            let (copy, rest) = bytes.split_first_chunk()?;
            let (group, number) = rest.split_first_chunk()?;
            Some((u64::from_be_bytes(*copy), u32::from_be_bytes(*group), u64::from_be_bytes(number.try_into().ok()?)))
        };
        match parse() {
            Some((copy, ..)) if copy != order.copy => Err(cursor_gone(
                "it was given by another node, or before this node's data was copied or restored from a backup",
            )),
            Some((_, group, _)) if group != order.group => {
                Err(cursor_gone("it was given for another group, or before the group was left and joined again"))
            }
            Some((.., number)) => Ok(number),
            None => Err(bad_cursor()),
        }
    }
}
