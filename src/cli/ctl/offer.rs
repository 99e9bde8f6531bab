//! `lbm ctl offer create|list|show|revoke|buy|purchases|approve|limit` and `lbm ctl market pull`.

use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand, ValueEnum};

use super::GroupFlag;
use super::claim::tags;
use super::library::{deliver, open};
use super::node::{more, tail};
use crate::api::types::{
    Approved, Bought, BuyOffer, ListOffers, ListPurchases, MarketPulled, NewOffer, NextStep, Offer, OfferCreated,
    OfferList, OfferRevoked, OfferRoyalty, OfferSource, OfferSplit, PullMarket, Purchase, PurchaseList, PurchaseState,
    SetSpendingLimit, Settlement, Side, SpendingLimit,
};
use crate::cli::error::{CliError, Outcome};
use crate::cli::output::{At, Render};
use crate::cli::session::{STANDARD_INPUT, Session, shown};
use crate::cli::text::{Table, count, fields, harmless, one_line, short};
use crate::cli::when::{When, ago, full, parse_due, parse_span, span};
use crate::identity::Identity;
use crate::limits;

/// What to do with offers.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum OfferCommand {
    /// Encrypt a text or a file, and offer it for the group's tokens
    Create(CreateArgs),
    /// What is for sale: in this node's groups, and what other nodes announce
    List(ListArgs),
    /// One offer in full
    Show(OneOffer),
    /// End an offer: its seller and admins can. Purchases that are under way go on
    Revoke(OneOffer),
    /// Buy what an offer has; repeated, it never pays twice and opens what is bought
    Buy(BuyArgs),
    /// This node's purchases and sales, how they stand, and what happens next
    Purchases(PurchasesArgs),
    /// Let a purchase through that is above the spending limit
    Approve(OneOffer),
    /// Show, set or lift what this node may spend in any 24 hours without being asked
    Limit(LimitArgs),
}

/// What to do with the market.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum MarketCommand {
    /// Ask the connected peers for what is for sale, now
    Pull(PullArgs),
}

/// When purchases are granted, on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SettleArg {
    /// When the purchase is final: the seller is never robbed
    Sealed,
    /// At once: the seller bears the risk that the purchase is undone
    Instant,
}

/// Arguments of `lbm ctl offer create`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct CreateArgs {
    #[command(flatten)]
    group: GroupFlag,
    /// One line, for everybody to see
    #[arg(long, value_name = "TITLE", allow_hyphen_values = true)]
    title: String,
    /// What is sold, as text, at most 10 MiB; - reads it from standard input
    #[arg(
        long,
        value_name = "TEXT",
        allow_hyphen_values = true,
        required_unless_present = "file",
        conflicts_with = "file"
    )]
    text: Option<String>,
    /// What is sold, as a file, at most 10 MiB; - for standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// What it costs, in whole tokens; 0 gives it away
    #[arg(long, value_name = "N")]
    price: u64,
    /// Words to find it by, for everybody to see
    #[arg(long, value_name = "TAGS", value_delimiter = ',')]
    tags: Vec<String>,
    /// What it is, for everybody to see
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    description: Option<String>,
    /// Who earns it: a peer id and basis points; repeat it, 10000 in sum [default: the seller, all of it]
    #[arg(long = "split", value_name = "ID=BPS", value_parser = parse_split)]
    splits: Vec<OfferSplit>,
    /// What comes off before that for the seller of an offer that it builds on: basis points; repeat it for more
    #[arg(long = "royalty", value_name = "OFFER=BPS", value_parser = parse_royalty)]
    royalties: Vec<OfferRoyalty>,
    /// Until when it can be bought: in 7d, or 2026-12-01, RFC 3339 or milliseconds [default: until it is revoked]
    #[arg(long, value_name = "WHEN", value_parser = parse_due)]
    expires: Option<When>,
    /// When purchases are granted
    #[arg(long, value_enum, value_name = "WHEN", default_value = "sealed")]
    settle: SettleArg,
    /// How long after a purchase is final this node may take to grant it; then the buyer has its tokens back [default: 24h]
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    grant_within: Option<Duration>,
    /// How long the buyer may take to settle or dispute; then the seller is paid; at least 15m [default: 24h]
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    dispute_within: Option<Duration>,
}

/// Arguments of a command on one offer.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct OneOffer {
    /// Offer: its id, or a unique prefix of it
    #[arg(value_name = "OFFER")]
    offer: String,
}

/// Arguments of `lbm ctl offer list`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ListArgs {
    /// Only of this group: its id, a unique prefix of it, or its name
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Only with this tag
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// Only those that cost no more
    #[arg(long, value_name = "N")]
    max_price: Option<u64>,
    /// Only this seller's
    #[arg(long, value_name = "ID", conflicts_with = "mine")]
    seller: Option<Identity>,
    /// Only this node's own, those that are over included
    #[arg(long)]
    mine: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = limits::PAGE_DEFAULT_ROWS)]
    limit: usize,
    /// Where the list before ended: its next_cursor
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

/// Arguments of `lbm ctl offer buy`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct BuyArgs {
    #[command(flatten)]
    one: OneOffer,
    /// Where to put what was bought: a new file that only you can read
    #[arg(long, value_name = "FILE", conflicts_with = "print")]
    out: Option<PathBuf>,
    /// Print what was bought, and nothing else
    #[arg(long)]
    print: bool,
    /// The most that it may cost
    #[arg(long, value_name = "N")]
    max_price: Option<u64>,
    /// How long to wait for it; it goes on after that
    #[arg(long, value_name = "SPAN", value_parser = parse_span, default_value = "60s")]
    wait: Duration,
    /// Whose, where more than one node says that the offer is its own
    #[arg(long, value_name = "ID")]
    seller: Option<Identity>,
}

/// Arguments of `lbm ctl offer purchases`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct PurchasesArgs {
    /// Only in this group: its id, a unique prefix of it, or its name
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// At most so many of each group and side
    #[arg(long, value_name = "N", default_value_t = limits::PAGE_DEFAULT_ROWS)]
    limit: usize,
}

/// Arguments of `lbm ctl offer limit`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct LimitArgs {
    #[command(flatten)]
    group: GroupFlag,
    /// Tokens in any 24 hours; what would be above waits until it is approved
    #[arg(long, value_name = "N", conflicts_with = "off")]
    per_day: Option<u64>,
    /// No limit any more
    #[arg(long)]
    off: bool,
}

/// Arguments of `lbm ctl market pull`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct PullArgs {
    /// Only of this peer: its peer id
    #[arg(long, value_name = "ID")]
    peer: Option<Identity>,
}

/// Why a part of what an offer earns cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum PartError {
    #[error("expected {0}=BPS, as in {0}=7000 for seven tenths")]
    Form(&'static str),
    #[error("{0}")]
    Id(#[from] crate::identity::IdentityError),
}

fn part<'a>(text: &'a str, what: &'static str) -> Result<(&'a str, u64), PartError> {
    let (name, bps) = text.split_once('=').ok_or(PartError::Form(what))?;
    Ok((name.trim(), bps.trim().parse().map_err(|_| PartError::Form(what))?))
}

fn parse_split(text: &str) -> Result<OfferSplit, PartError> {
    let (to, bps) = part(text, "ID")?;
    Ok(OfferSplit { to: to.parse()?, bps })
}

fn parse_royalty(text: &str) -> Result<OfferRoyalty, PartError> {
    let (offer, bps) = part(text, "OFFER")?;
    Ok(OfferRoyalty { offer_id: offer.to_owned(), bps })
}

pub(super) async fn run(command: &OfferCommand, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    match command {
        OfferCommand::Create(args) => create(args, session).await?,
        OfferCommand::List(args) => {
            let answer = list(args, session).await?;
            session.answer(answer)?;
        }
        OfferCommand::Show(OneOffer { offer }) => {
            let answer = session.client.offer(offer).await?;
            session.answer(answer)?;
        }
        OfferCommand::Revoke(OneOffer { offer }) => {
            let answer = session.client.revoke_offer(offer).await?;
            let group = answer.group_id.clone();
            session.wrote(&group, answer).await?;
        }
        OfferCommand::Buy(args) => buy(args, session).await?,
        OfferCommand::Purchases(PurchasesArgs { group, limit }) => {
            let query = ListPurchases { group: group.clone(), limit: Some(*limit) };
            query.check()?;
            let answer = session.client.purchases(&query).await?;
            session.answer(answer)?;
        }
        OfferCommand::Approve(OneOffer { offer }) => {
            let answer = session.client.approve_purchase(offer).await?;
            session.answer(answer)?;
        }
        OfferCommand::Limit(LimitArgs { group, per_day, off }) => {
            let answer = if *off || per_day.is_some() {
                session.client.set_spending_limit(&group.group, &SetSpendingLimit { per_day: *per_day }).await?
            } else {
                session.client.spending_limit(&group.group).await?
            };
            session.answer(answer)?;
        }
    }
    Ok(Outcome::Done)
}

pub(super) async fn run_market(command: &MarketCommand, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    let MarketCommand::Pull(PullArgs { peer }) = command;
    let answer = session.client.pull_market(&PullMarket { peer: *peer }).await?;
    session.answer(answer)?;
    Ok(Outcome::Done)
}

async fn create(args: &CreateArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let ms = |span: Option<Duration>| span.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
    let content = content(args, session)?;
    let offer = NewOffer {
        title: args.title.clone(),
        description: args.description.clone(),
        tags: tags(&args.tags),
        price: args.price,
        splits: args.splits.clone(),
        royalties: args.royalties.clone(),
        expires_ms: args.expires.map(|when| when.resolve(session.now_ms)),
        settle: Some(match args.settle {
            SettleArg::Sealed => Settlement::Sealed,
            SettleArg::Instant => Settlement::AtOnce,
        }),
        grant_within_ms: ms(args.grant_within),
        dispute_within_ms: ms(args.dispute_within),
        text: None,
        content_base64: Some(STANDARD.encode(content)),
    };
    offer.check()?;
    let answer = session.client.create_offer(&args.group.group, &offer).await?;
    session.wrote(&args.group.group, answer).await
}

/// What is sold.
fn content(args: &CreateArgs, session: &mut Session<'_>) -> Result<Vec<u8>, CliError> {
    let path = match (&args.text, &args.file) {
        (Some(text), _) if text == STANDARD_INPUT => Path::new(STANDARD_INPUT),
        (Some(text), _) => return Ok(text.clone().into_bytes()),
        (None, Some(path)) => path,
        (None, None) => return Ok(Vec::new()),
    };
    let (name, most) = (shown(path), limits::PACKAGE_BYTES as u64);
    let mut bytes = Vec::new();
    let read = session.open(path)?.take(most + 1).read_to_end(&mut bytes);
    read.map_err(|source| CliError::Read { name: name.clone(), source })?;
    if bytes.len() as u64 > most { Err(CliError::TooLarge { name, limit_bytes: most }) } else { Ok(bytes) }
}

/// One page, or as many as it takes for the number that was asked for.
async fn list(args: &ListArgs, session: &Session<'_>) -> Result<OfferList, CliError> {
    let mut list = OfferList { offers: Vec::new(), next_cursor: args.cursor.clone() };
    loop {
        let limit = (args.limit - list.offers.len().min(args.limit)).min(limits::PAGE_ROWS);
        let query = ListOffers {
            group: args.group.clone(),
            tag: args.tag.clone(),
            max_price: args.max_price,
            seller: args.seller,
            mine: args.mine,
            limit: Some(limit),
            cursor: list.next_cursor.take(),
        };
        query.check()?;
        let page = session.client.offers(&query).await?;
        list.offers.extend(page.offers);
        list.next_cursor = page.next_cursor;
        if list.offers.len() >= args.limit || list.next_cursor.is_none() {
            return Ok(list);
        }
    }
}

async fn buy(args: &BuyArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let wait_ms = u64::try_from(args.wait.as_millis()).unwrap_or(u64::MAX);
    let how = BuyOffer { max_price: args.max_price, wait_ms: Some(wait_ms), seller: args.seller };
    how.check()?;
    // Looked at before anything is paid: whether what is bought can be put there.
    let out = args.out.as_deref().map(open).transpose()?;
    let bought = session.client.buy_offer(&args.one.offer, &how).await?;
    let purchase = bought.purchase.clone();
    if bought.opened && (args.print || out.is_some()) {
        return deliver(&purchase.offer_id, out, session, bought).await;
    }
    let opened = bought.opened;
    session.answer(bought)?;
    let refused = matches!(purchase.status, PurchaseState::Refunded);
    match purchase.next {
        _ if opened => Ok(()),
        _ if refused => Err(CliError::PriceBack { offer: purchase.offer_id, ending: purchase.ending }),
        Some(NextStep::Approve) => Err(CliError::NeedsApproval { offer: purchase.offer_id, price: purchase.price }),
        _ => Err(CliError::PurchasePending {
            offer: purchase.offer_id.clone(),
            what: what_next(&purchase, session.now_ms),
        }),
    }
}

/// What happens next, in words.
fn what_next(purchase: &Purchase, now_ms: u64) -> String {
    let at = |else_: &str| purchase.next_ms.map_or_else(|| else_.to_owned(), |at| ago(at, now_ms));
    let is_seller = purchase.side == Side::Seller;
    match purchase.next {
        None => purchase.ending.clone().map_or_else(|| "-".to_owned(), |ending| ending.replace('_', " ")),
        Some(NextStep::Approve) => "a person approves it (lbm ctl offer approve)".to_owned(),
        Some(NextStep::Order) => "a member writes the order".to_owned(),
        Some(NextStep::Seal) => "the notary seals".to_owned(),
        Some(NextStep::Grant) if is_seller => format!("this node grants, at the latest {}", at("when it is final")),
        Some(NextStep::Grant) => format!("the seller grants, or the price comes back ({})", at("when it is final")),
        Some(NextStep::Settle) if is_seller => {
            format!("the buyer settles, or it is settled {}", at("after the next seal"))
        }
        Some(NextStep::Settle) => "this node opens it and settles".to_owned(),
        Some(NextStep::Refund) => format!("the price goes back {}", at("with the next seal")),
    }
}

impl Render for At<OfferCreated> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "Offered {}", one_line(&self.answer.offer_id, 100))
    }
}

impl Render for At<OfferRevoked> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "Revoked {}", one_line(&self.answer.offer_id, 100))
    }
}

impl Render for At<OfferList> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new(&["OFFER", "PRICE#", "GROUP", "SELLER", "BYTES#", "STATE", "KNOWN FROM", "TITLE"]);
        for offer in &self.answer.offers {
            let state = match (offer.mine, offer.owned) {
                (true, _) => "mine",
                (_, true) => "owned",
                _ => offer.status.word(),
            };
            let source = match offer.source {
                OfferSource::Ledger => "ledger",
                OfferSource::Announcement => "announcement",
            };
            let (price, bytes) = (format!("{} {}", offer.price, offer.currency), offer.content_bytes.to_string());
            let (id, seller) = (short(&offer.offer_id), tail(&offer.seller));
            table.row([id, &price, &offer.group, &seller, &bytes, state, source, &offer.title]);
        }
        if table.is_empty() {
            return writeln!(out, "No offers.");
        }
        table.write(out)?;
        more(out, self.answer.next_cursor.as_deref())
    }
}

impl Render for At<Offer> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let offer = &self.answer;
        let when = |at_ms| format!("{} ({})", full(at_ms), ago(at_ms, self.now_ms));
        let mut rows = vec![
            ("offer", offer.offer_id.clone()),
            ("title", offer.title.clone()),
            ("price", format!("{} {}", offer.price, offer.currency)),
            ("group", format!("{} ({})", offer.group, offer.group_id)),
            ("seller", offer.seller.clone()),
            ("state", offer.status.word().to_owned()),
        ];
        if !offer.tags.is_empty() {
            rows.push(("tags", offer.tags.join(", ")));
        }
        rows.extend(offer.expires_ms.map(|at| ("expires", when(at))));
        rows.extend(offer.splits.iter().map(|split| ("split", format!("{} {}", split.to, parts(split.bps)))));
        let royalties = offer.royalties.iter().map(|it| ("royalty", format!("{} {}", it.offer_id, parts(it.bps))));
        rows.extend(royalties);
        rows.push(("package", format!("{} ({})", offer.package_hash, count(offer.content_bytes, "byte"))));
        rows.push((
            "granted",
            match offer.settle {
                Settlement::Sealed => format!("when the purchase is final, within {}", span(offer.grant_within_ms)),
                Settlement::AtOnce => "at once".to_owned(),
            },
        ));
        rows.push(("disputed", format!("within {}", span(offer.dispute_within_ms))));
        rows.extend(offer.sold.map(|sold| ("sold", count(sold, "time"))));
        rows.push((
            "known from",
            match offer.source {
                OfferSource::Ledger => "the group's ledger".to_owned(),
                OfferSource::Announcement => "its seller's announcement".to_owned(),
            },
        ));
        fields(out, &rows)?;
        match &offer.description {
            Some(description) => writeln!(out, "\n{}", harmless(description)),
            None => Ok(()),
        }
    }
}

/// Basis points as a percentage.
fn parts(bps: u64) -> String {
    format!("{}.{:02} %", bps / 100, bps % 100)
}

impl Render for At<Bought> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let Bought { purchase, opened, already_owned } = &self.answer;
        let (title, offer) = (one_line(&purchase.title, 60), short(&purchase.offer_id));
        if *opened {
            let paid = if *already_owned {
                "It was this node's already".to_owned()
            } else {
                format!("Bought for {}", count(purchase.price, "token"))
            };
            return writeln!(out, "{paid}: {title}. Open it with `lbm ctl library show {offer}`");
        }
        writeln!(out, "{title} is {}: {}", purchase.status.word().replace('_', " "), what_next(purchase, self.now_ms))
    }
}

impl Render for At<PurchaseList> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new(&["OFFER", "SIDE", "PRICE#", "STATE", "PAID", "WITH", "NEXT", "TITLE"]);
        for purchase in &self.answer.purchases {
            let (side, with) = match purchase.side {
                Side::Buyer => ("bought", tail(&purchase.seller)),
                Side::Seller => ("sold", tail(&purchase.buyer)),
            };
            let (price, paid) = (purchase.price.to_string(), ago(purchase.paid_ms, self.now_ms));
            let (id, next) = (short(&purchase.offer_id), what_next(purchase, self.now_ms));
            table.row([id, side, &price, purchase.status.word(), &paid, &with, &next, &purchase.title]);
        }
        if table.is_empty() { writeln!(out, "No purchases.") } else { table.write(out) }
    }
}

impl Render for At<Approved> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let Approved { title, price, agent, still_waiting, .. } = &self.answer;
        let buyer = agent.as_ref().map_or_else(|| "This node".to_owned(), |agent| format!("The agent {agent}"));
        writeln!(out, "Approved: {} for {}. {buyer} buys it now", one_line(title, 60), count(*price, "token"))?;
        if *still_waiting > 0 {
            writeln!(
                out,
                "Others of this node that wait for a word on it: {still_waiting}. Approve again for the next"
            )?;
        }
        Ok(())
    }
}

impl Render for At<SpendingLimit> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let SpendingLimit { per_day, spent, .. } = &self.answer;
        match per_day {
            Some(limit) => writeln!(out, "{} in any 24 hours, {spent} of them spent", count(*limit, "token")),
            None => writeln!(out, "No limit; {} spent in the last 24 hours", count(*spent, "token")),
        }
    }
}

impl Render for At<MarketPulled> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "Asking {} for what is for sale", count(self.answer.peers as u64, "peer"))
    }
}
