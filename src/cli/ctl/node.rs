//! `lbm ctl status|health|events|rejected|sync`.

use std::io::{self, Write};

use clap::Args;
use serde::Serialize;

use crate::api::types::{
    EmbedderState, EmbedderStatus, Event, EventKind, Health, ListEvents, ListRejected, RejectedList, Reloaded,
    SettingList, Status, SyncNow, SyncReport,
};
use crate::cli::config::value;
use crate::cli::error::{CliError, Outcome};
use crate::cli::output::{At, Render};
use crate::cli::session::Session;
use crate::cli::text::{Table, count, fields, one_line, short};
use crate::cli::when::{ago, full, span};

/// Arguments of `lbm ctl events`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct EventsArgs {
    /// Go on with what happens from now on, one event a line, until interrupted
    #[arg(long, short)]
    follow: bool,
    /// Only events with a higher number than this
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
}

/// Arguments of `lbm ctl rejected`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct RejectedArgs {
    /// Only this group: its id, a unique prefix of it, or its name
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// At most so many rows
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Where the page before ended: its next_cursor
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

/// Arguments of `lbm ctl sync`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct SyncArgs {
    /// Only this group: its id, a unique prefix of it, or its name
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Only with this peer: its id or its alias
    #[arg(long, value_name = "PEER")]
    peer: Option<String>,
}

pub(super) async fn status(session: &mut Session<'_>) -> Result<Outcome, CliError> {
    let answer = session.client.status().await?;
    session.answer(answer)?;
    Ok(Outcome::Done)
}

pub(super) async fn health(session: &mut Session<'_>) -> Result<Outcome, CliError> {
    let answer = session.client.health().await?;
    let outcome = Outcome::of(answer.ok);
    session.answer(answer)?;
    Ok(outcome)
}

pub(super) async fn settings(session: &mut Session<'_>) -> Result<Outcome, CliError> {
    let answer = session.client.settings().await?;
    session.answer(answer)?;
    Ok(Outcome::Done)
}

pub(super) async fn reload(session: &mut Session<'_>) -> Result<Outcome, CliError> {
    let answer = session.client.reload().await?;
    session.answer(answer)?;
    Ok(Outcome::Done)
}

impl RejectedArgs {
    fn query(&self) -> ListRejected {
        let Self { group, limit, cursor } = self.clone();
        ListRejected { group, limit, cursor }
    }
}

pub(super) async fn rejected(args: &RejectedArgs, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    let query = args.query();
    query.check()?;
    let answer = session.client.rejected(&query).await?;
    session.answer(answer)?;
    Ok(Outcome::Done)
}

pub(super) async fn sync(args: &SyncArgs, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    let answer = session.client.sync(&SyncNow { group: args.group.clone(), peer: args.peer.clone() }).await?;
    let outcome = Outcome::of(answer.groups.iter().all(|group| group.peers_answered == group.peers_asked));
    session.answer(answer)?;
    Ok(outcome)
}

/// The events that the daemon still holds.
#[derive(Debug, Serialize)]
struct EventList {
    events: Vec<Event>,
}

pub(super) async fn events(args: &EventsArgs, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    // Without a number, a look back shows all there is, and a watch begins now.
    let after = args.after.or(if args.follow { None } else { Some(0) });
    let mut stream = session.client.events(&ListEvents { after, follow: args.follow }).await?;
    if args.follow {
        while let Some(event) = stream.next().await? {
            session.answer(event)?;
        }
        return Ok(Outcome::Done);
    }
    let mut events = Vec::new();
    while let Some(event) = stream.next().await? {
        events.push(event);
    }
    session.answer(EventList { events })?;
    Ok(Outcome::Done)
}

impl Render for At<SettingList> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new(&["SETTING", "VALUE", "FROM", "CHANGES"]);
        for row in &self.answer.settings {
            let changes = if row.needs_restart { "at a restart" } else { "at a reload" };
            table.row([&row.key, &value(&row.value), &row.origin, changes]);
        }
        table.write(out)
    }
}

impl Render for At<Reloaded> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        match self.answer.applied.as_slice() {
            [] => writeln!(out, "nothing to change")?,
            keys => writeln!(out, "in force now: {}", keys.join(", "))?,
        }
        if !self.answer.needs_restart.is_empty() {
            writeln!(out, "needs a restart of the daemon: {}", self.answer.needs_restart.join(", "))?;
        }
        Ok(())
    }
}

impl Render for At<Status> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let status = &self.answer;
        let mut rows = vec![
            ("node", status.node_id.clone()),
            ("name", status.name.clone()),
            ("version", status.version.clone()),
            ("up for", span(status.uptime_s.saturating_mul(1_000))),
            ("peers", status.peers.to_string()),
            ("groups", status.groups.to_string()),
        ];
        if status.unsure_groups > 0 {
            rows.push(("unsure", format!("{} groups: see `lbm ctl health`", status.unsure_groups)));
        }
        if status.shut_out_groups > 0 {
            rows.push(("shut out", format!("{} groups: see `lbm ctl health`", status.shut_out_groups)));
        }
        if status.stranded_blocks > 0 {
            rows.push(("stranded", format!("{} of its blocks: see `lbm ctl stranded`", status.stranded_blocks)));
        }
        if status.indexing_groups > 0 {
            rows.push(("indexing", format!("{} groups: see `lbm ctl health`", status.indexing_groups)));
        }
        if !status.open_purchases.is_empty() {
            let open = status.open_purchases.iter().map(|(state, count)| format!("{count} {}", state.word()));
            rows.push(("purchases", format!("{}: `lbm ctl offer purchases`", open.collect::<Vec<_>>().join(", "))));
        }
        if status.troubled_indexes > 0 {
            rows.push(("index", format!("{} groups without files: see `lbm ctl health`", status.troubled_indexes)));
        }
        if let Some(embedder) = &status.embedder {
            rows.push(("embedder", embedding(embedder)));
        }
        rows.extend(status.listen.iter().map(|address| ("listen", address.clone())));
        fields(out, &rows)
    }
}

/// A number with a comma behind each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let comma = |(at, digit): (usize, char)| {
        let is_cut = at > 0 && (digits.len() - at).is_multiple_of(3);
        is_cut.then_some(',').into_iter().chain([digit])
    };
    digits.chars().enumerate().flat_map(comma).collect()
}

/// How far an embedder is, like `embedding 12,000 of 100,000 claims with nomic-embed-text`.
fn embedding(embedder: &EmbedderStatus) -> String {
    let EmbedderStatus { model, state, embedded, claims, unable, detail } = embedder;
    let (embedded, claims) = (grouped(*embedded), grouped(*claims));
    let mut line = match state {
        EmbedderState::Starting => format!("waiting for {model}"),
        EmbedderState::Embedding => format!("embedding {embedded} of {claims} claims with {model}"),
        EmbedderState::Ready => format!("{model}, {embedded} of {claims} claims"),
        EmbedderState::Down => format!("DOWN, {embedded} of {claims} claims with {model}"),
    };
    if *unable > 0 {
        line.push_str(&format!(", {unable} refused"));
    }
    if let Some(detail) = detail {
        line.push_str(&format!(": {detail}"));
    }
    one_line(&line, 400)
}

impl Render for At<Health> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new(&["CHECK", "STATE", "DETAIL"]);
        for check in &self.answer.checks {
            table.row([&check.name, if check.ok { "ok" } else { "BAD" }, &check.detail]);
        }
        table.write(out)?;
        let remedies =
            self.answer.checks.iter().filter_map(|check| check.remedy.as_ref().map(|remedy| (&check.name, remedy)));
        for (name, remedy) in remedies {
            writeln!(out, "{}: {}", one_line(name, 60), one_line(remedy, 1_000))?;
        }
        Ok(())
    }
}

impl Render for At<RejectedList> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.answer.rejected.is_empty() {
            return writeln!(out, "No block is rejected.");
        }
        for row in &self.answer.rejected {
            let (who, when) = (tail(&row.author), ago(row.created_ms, self.now_ms));
            let what = one_line(&row.what, 200);
            writeln!(out, "{} in {}, {when}: {who} {what}", short(&row.block_id), short(&row.group_id))?;
            writeln!(out, "    {}", one_line(&row.reason, 1_000))?;
        }
        more(out, self.answer.next_cursor.as_deref())
    }
}

impl Render for At<SyncReport> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new(&["GROUP", "NAME", "ASKED#", "ANSWERED#", "NEW BLOCKS#"]);
        for group in &self.answer.groups {
            let numbers = [group.peers_asked as u64, group.peers_answered as u64, group.blocks_received];
            let [asked, answered, blocks] = numbers.map(|number| number.to_string());
            table.row([short(&group.group_id), group.name.as_deref().unwrap_or("-"), &asked, &answered, &blocks]);
        }
        if table.is_empty() {
            return writeln!(out, "There is no group to sync.");
        }
        table.write(out)?;
        for group in &self.answer.groups {
            for peer in &group.peers {
                let blocks = count(peer.blocks_received, "new block");
                let end = if peer.answered { "" } else { ", and has not answered to the end" };
                writeln!(out, "{}: {blocks} from {}{end}", short(&group.group_id), tail(&peer.peer_id))?;
            }
        }
        Ok(())
    }
}

impl Render for At<EventList> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.answer.events.is_empty() {
            return writeln!(out, "There are no events to show: the daemon keeps those since its start.");
        }
        self.answer.events.iter().try_for_each(|event| line(event, out))
    }
}

impl Render for At<Event> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        line(&self.answer, out)
    }
}

fn line(event: &Event, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{:>6}  {}  {}", event.seq, full(event.at_ms), one_line(&told(&event.kind), 1_000))
}

/// What came of tickets and requests; nothing of any other kind.
fn told_of_joining(kind: &EventKind) -> String {
    match kind {
        EventKind::MemberJoined { group_id, member_id } => {
            format!("{} was let into {} by a ticket", tail(member_id), short(group_id))
        }
        EventKind::JoinRequest { group_id, member_id, name, .. } => {
            format!("{name} ({}) asks to be let into {}", tail(member_id), short(group_id))
        }
        EventKind::Admitted { group_id, member_id } => {
            format!("{} was let into {} by its ticket", tail(member_id), short(group_id))
        }
        EventKind::TurnedAway { group_id, member_id, code, .. } => {
            format!("{} was not let into {}: {code}", tail(member_id), short(group_id))
        }
        _ => String::new(),
    }
}

fn told(kind: &EventKind) -> String {
    match kind {
        EventKind::ClaimPublished { group_id, claim_hash, author } => {
            format!("claim {} in {} by {}", short(claim_hash), short(group_id), tail(author))
        }
        EventKind::ClaimRetracted { group_id, claim_hash, author } => {
            format!("claim {} in {} retracted by {}", short(claim_hash), short(group_id), tail(author))
        }
        EventKind::ExperienceSubmitted { group_id, experience_hash, author } => {
            format!("experience {} in {} by {}", short(experience_hash), short(group_id), tail(author))
        }
        EventKind::GroupJoined { group_id, name } => format!("group {name} ({}) is here", short(group_id)),
        EventKind::GroupLeft { group_id } => format!("group {} is left", short(group_id)),
        EventKind::MemberChanged { group_id, member_id, role } => match role {
            Some(role) => format!("{} is {role} of {}", tail(member_id), short(group_id)),
            None => format!("{} is no member of {} any more", tail(member_id), short(group_id)),
        },
        EventKind::MemberJoined { .. }
        | EventKind::JoinRequest { .. }
        | EventKind::Admitted { .. }
        | EventKind::TurnedAway { .. } => told_of_joining(kind),
        EventKind::TaskChanged { group_id, task_id, status, assignee, attempt } => {
            let whose = assignee.as_deref().map(|it| format!(", {} (attempt {attempt})", tail(it))).unwrap_or_default();
            format!("task {task_id} in {} is {status}{whose}", short(group_id))
        }
        EventKind::TokensMoved { .. }
        | EventKind::PolicyChanged { .. }
        | EventKind::OfferListed { .. }
        | EventKind::OfferWithdrawn { .. }
        | EventKind::PurchaseChanged { .. } => told_of_market(kind),
        EventKind::Presence { group_id, member_id, status, .. } => {
            format!("{} is {status} in {}", tail(member_id), short(group_id))
        }
        EventKind::BlockRejected { group_id, block_id, author, reason } => {
            format!("block {} in {} by {} rejected: {reason}", short(block_id), short(group_id), tail(author))
        }
        EventKind::BlockReinstated { group_id, block_id, author } => {
            format!("block {} in {} by {} counts after all", short(block_id), short(group_id), tail(author))
        }
        EventKind::ForkDetected { group_id, author } => {
            format!("FORK: {author} signed two blocks with one number in {}", short(group_id))
        }
        EventKind::Sealed { group_id, epoch } => format!("seal {epoch} of {}", short(group_id)),
        EventKind::NotaryChanged { group_id, notary } => {
            format!("{} seals {} from the next seal on", tail(notary), short(group_id))
        }
        EventKind::Unfrozen { group_id, member_id } => {
            format!("{} may spend in {} again", tail(member_id), short(group_id))
        }
        EventKind::OwnLineInDoubt { group_id } => {
            format!(
                "OLDER COPY: a peer has blocks of this node in {} that are not here; nothing is written",
                short(group_id)
            )
        }
        EventKind::MembershipRefused { group_id, why, by } => {
            format!(
                "NO MEMBER: {} says that this node is no member of {} any more ({why}); nothing is written; `lbm ctl stranded` has \
                 what was",
                tail(by),
                short(group_id)
            )
        }
        EventKind::MembershipServed { group_id } => {
            format!("members of {} serve this node again; it writes", short(group_id))
        }
        EventKind::OwnLineSettled { group_id } => format!("this node writes in {} again", short(group_id)),
        EventKind::NotShared { group_id, peer_id } => {
            format!("{} does not share {} with this node", tail(peer_id), short(group_id))
        }
        EventKind::PeerConnected { peer_id } => format!("connected to {peer_id}"),
        EventKind::PeerDisconnected { peer_id } => format!("disconnected from {peer_id}"),
        EventKind::SyncFinished { group_id, peer_id, blocks } => {
            format!("synced {} with {}: {}", short(group_id), tail(peer_id), count(*blocks, "new block"))
        }
        EventKind::OwnKeySeen { address } => {
            format!("another machine uses this node's key, at {address}: stop one of the two")
        }
        EventKind::ClockAhead { member_id, ahead_ms, .. } => {
            format!("the clock of {} is {} ahead: set both by a time server", tail(member_id), span(*ahead_ms))
        }
        EventKind::Reset { reason } => format!("what happened before is not known: {reason}"),
        EventKind::Missed { count } => format!("{count} events were dropped: this reader was too slow"),
        EventKind::Unrecognised => "an event of a newer daemon".to_owned(),
    }
}

fn told_of_market(kind: &EventKind) -> String {
    match kind {
        EventKind::TokensMoved { group_id, kind, author, to, amount, .. } => {
            let (tokens, author, to) = (count(*amount, "token"), tail(author), tail(to));
            format!("{kind} in {}: {tokens} to {to} by {author}", short(group_id))
        }
        EventKind::PolicyChanged { group_id, author, changed, .. } => {
            let changed = serde_json::to_string(changed).unwrap_or_default();
            format!("policy of {} changed by {}: {changed}", short(group_id), tail(author))
        }
        EventKind::OfferListed { group_id, offer_id, seller, title, price } => {
            let (title, seller) = (one_line(title, 60), tail(seller));
            format!(
                "offer {} in {}: {title} for {} by {seller}",
                short(offer_id),
                short(group_id),
                count(*price, "token")
            )
        }
        EventKind::OfferWithdrawn { group_id, offer_id, seller } => {
            format!("offer {} in {} withdrawn by {}", short(offer_id), short(group_id), tail(seller))
        }
        EventKind::PurchaseChanged { group_id, purchase_id, offer_id, status, .. } => {
            let (purchase, offer) = (short(purchase_id), short(offer_id));
            format!("purchase {purchase} of {offer} in {} is {}", short(group_id), status.word())
        }
        _ => String::new(),
    }
}

/// The end of a peer id: its beginning is alike for all.
pub(super) fn tail(peer_id: &str) -> String {
    peer_id.char_indices().rev().nth(7).map_or(peer_id, |(at, _)| &peer_id[at..]).to_owned()
}

/// How to see the next page.
pub(super) fn more(out: &mut dyn Write, next_cursor: Option<&str>) -> io::Result<()> {
    next_cursor.map_or(Ok(()), |cursor| writeln!(out, "More: --cursor {}", one_line(cursor, 1_000)))
}
