//! Which offer somebody means, and what is known of it.

use crate::announcement::Verified;
use crate::chain::transaction;
use crate::chain::{GroupId, OfferId};
use crate::identity::Identity;
use crate::kv::Read;
use crate::ledger::market::query;
use crate::ledger::state;
use crate::limits;
use crate::node::engine::Groups;
use crate::node::market::Filter;
use crate::store::View;
use crate::wire::market::Place;

use super::super::Node;
use super::{TradeError, aside};

/// Digits of the shortest prefix of an id that names an offer.
const PREFIX_DIGITS: usize = 4;
/// Offers that are looked at for a prefix.
const FITS: usize = 9;

/// An offer in the ledger of a group that is here.
#[derive(Debug, Clone)]
pub struct Offered {
    /// The group.
    pub group: GroupId,
    /// Its name.
    pub group_name: String,
    /// The code of its currency.
    pub currency: String,
    /// Whether this node is a member.
    pub is_member: bool,
    /// The offer.
    pub offer: query::Offer,
    /// Whether this node has bought it, or is about to.
    pub owned: bool,
}

impl Offered {
    /// It in the words in which it is announced.
    #[must_use]
    pub fn offered(&self) -> transaction::Offered {
        let (group_name, currency) = (self.group_name.clone(), self.currency.clone());
        transaction::Offered { group_name, currency, offer: self.offer.terms.clone() }
    }
}

/// What is known of an offer.
#[derive(Debug, Clone)]
pub enum Found {
    /// It stands in a ledger that is here.
    Here(Box<Offered>),
    /// It is announced. More than one where several say that they sell it.
    Announced(Vec<Verified>),
}

impl Found {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> Option<OfferId> {
        match self {
            Self::Here(offered) => Some(offered.offer.id),
            Self::Announced(records) => records.first().map(|record| record.announcement().offer),
        }
    }
}

/// The first bytes that an id with this prefix has, and the half byte behind them.
fn halves(text: &str) -> Option<(Vec<u8>, Option<u8>)> {
    let (even, odd) = text.split_at_checked(text.len() & !1)?;
    let half = if odd.is_empty() { None } else { Some(u8::from_str_radix(odd, 16).ok()?) };
    Some((hex::decode(even).ok()?, half))
}

/// The offer that an id, or a unique prefix of one, means.
///
/// # Errors
/// [`TradeError::NoSuchOffer`], [`TradeError::Ambiguous`]; the store's.
pub async fn find(node: &Node, text: &str) -> Result<Found, TradeError> {
    let unknown = || TradeError::NoSuchOffer(text.chars().take(80).flat_map(char::escape_debug).collect());
    let whole: Option<OfferId> = text.parse().ok();
    let is_prefix = text.len() >= PREFIX_DIGITS && text.len() <= 64;
    let Some((bytes, half)) = halves(text).filter(|_| is_prefix) else { return Err(unknown()) };
    let (trade, seen) = (node.trade.clone(), node.clone());
    let mut fits = aside(move || {
        let view = seen.view()?;
        let mut fits = Vec::new();
        for kept in view.groups()? {
            let kv = view.rows(kept);
            let ids = match whole {
                Some(id) => vec![id],
                None => query::offers_by_prefix(&kv, &bytes, half, FITS)?,
            };
            for id in ids {
                fits.extend(here(&view, kept.id, &id, &trade.me)?);
            }
        }
        Ok(fits)
    })
    .await?;
    if let Some(only) = fits.pop() {
        return match fits.len() {
            0 => Ok(Found::Here(Box::new(only))),
            more => Err(TradeError::Ambiguous { text: text.to_owned(), count: more + 1, first: only.offer.id }),
        };
    }
    let named = match whole {
        Some(id) => vec![id],
        None => announced_by_prefix(node, text).await?,
    };
    let mut announced = Vec::new();
    for id in named {
        let records = shown(node, node.offer(id).await?).await?;
        if !records.is_empty() {
            announced.push((id, records));
        }
    }
    let count = announced.len();
    match announced.pop() {
        None => Err(unknown()),
        Some((_, records)) if count == 1 => Ok(Found::Announced(records)),
        Some((first, _)) => Err(TradeError::Ambiguous { text: text.to_owned(), count, first }),
    }
}

/// Announcements without those of groups that are here and not for whoever asks to see.
async fn shown(node: &Node, mut records: Vec<Verified>) -> Result<Vec<Verified>, TradeError> {
    let node = node.clone();
    aside(move || {
        let view = node.view()?;
        let mut hidden = Vec::with_capacity(records.len());
        for record in &records {
            hidden.push(view.hides(&record.announcement().group)?);
        }
        let mut hidden = hidden.into_iter();
        records.retain(|_| !hidden.next().unwrap_or(true));
        Ok(records)
    })
    .await
}

/// An offer of a group that is here.
pub(super) fn here(
    view: &View,
    group: GroupId,
    id: &OfferId,
    me: &Identity,
) -> Result<Option<Offered>, crate::kv::KvError> {
    let Some(kv) = view.group(&group)? else { return Ok(None) };
    let Some(offer) = query::offer(kv.as_ref(), id)? else { return Ok(None) };
    described(kv.as_ref(), group, offer, me)
}

/// An offer with what its group says of it.
pub(super) fn described(
    kv: &dyn Read,
    group: GroupId,
    offer: query::Offer,
    me: &Identity,
) -> Result<Option<Offered>, crate::kv::KvError> {
    let Some(about) = state::group(kv)? else { return Ok(None) };
    let is_member = state::member(kv, me)?.is_some();
    let owned = query::owned(kv, me, &offer.id)?.is_some();
    Ok(Some(Offered { group, group_name: about.name, currency: about.currency, is_member, offer, owned }))
}

async fn announced_by_prefix(node: &Node, text: &str) -> Result<Vec<OfferId>, TradeError> {
    let (mut found, mut after): (Vec<OfferId>, Option<Place>) = (Vec::new(), None);
    let prefix = text.to_ascii_lowercase();
    loop {
        let (records, more) = node.offers(Filter::default(), after, limits::PAGE_ROWS).await?;
        for record in &records {
            let announcement = record.announcement();
            after = Some(Place { seller: announcement.seller, offer: announcement.offer });
            if announcement.offer.to_string().starts_with(&prefix) && !found.contains(&announcement.offer) {
                found.push(announcement.offer);
            }
        }
        if !more || records.is_empty() || found.len() >= FITS {
            return Ok(found);
        }
    }
}
