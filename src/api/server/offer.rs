//! Offers: made, listed, shown, ended; and the market's catalogue.

use axum::Json;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::extract::{As, Body, Params, Segments};
use super::listing::bad_cursor;
use super::{Api, resolve};
use crate::announcement::Announcement;
use crate::api::types::{
    ListOffers, MarketPulled, NewOffer, Offer, OfferCreated, OfferList, OfferRevoked, OfferRoyalty, OfferSource,
    OfferSplit, OfferStatus, Problem, ProblemCode, PullMarket,
};
use crate::chain::transaction::{OfferCreate, Royalty, Settlement, Split};
use crate::chain::{GroupId, OfferId};
use crate::identity::Identity;
use crate::ledger::market::query;
use crate::ledger::state;
use crate::limits;
use crate::node::engine::Groups;
use crate::node::market::Filter;
use crate::runtime::clock::unix_ms;
use crate::runtime::trade::{self, Found, NewPackage, Offered};
use crate::store::View;
use crate::wire::market::Place;

type Answer<T> = Result<Json<T>, Problem>;

pub(super) async fn create(
    As(api): As,
    Segments(group): Segments<String>,
    Body(new): Body<NewOffer>,
) -> Answer<OfferCreated> {
    let group = api.group_id(group).await?;
    let content = match (new.text, new.content_base64) {
        (Some(text), _) => text.into_bytes(),
        (None, Some(content)) => STANDARD.decode(content).map_err(|error| {
            let detail = format!("`content_base64` is not base64 ({error})");
            Problem::new(ProblemCode::BadField, detail, "encode it as RFC 4648 §4 says, with padding")
        })?,
        (None, None) => Vec::new(),
    };
    let mut royalties = Vec::with_capacity(new.royalties.len());
    for OfferRoyalty { offer_id, bps } in &new.royalties {
        let offer = trade::find(api.node(), offer_id).await?;
        let offer = offer.id().ok_or_else(|| trade::TradeError::NoSuchOffer(offer_id.clone()))?;
        royalties.push(Royalty { offer, bps: *bps });
    }
    royalties.sort_unstable_by_key(|royalty| royalty.offer);
    let mut splits: Vec<Split> = new.splits.iter().map(|split| Split { to: split.to, bps: split.bps }).collect();
    splits.sort_unstable_by_key(|split| split.to);
    let mut tags = new.tags;
    tags.sort_unstable();
    tags.dedup();
    let package = NewPackage {
        title: new.title,
        description: new.description,
        tags,
        price: new.price,
        splits,
        royalties,
        expires_ms: new.expires_ms,
        settle: new.settle.unwrap_or(Settlement::Sealed),
        grant_within_ms: new.grant_within_ms,
        dispute_within_ms: new.dispute_within_ms,
        content,
    };
    let sold = trade::create(api.node(), group, package, api.once).await?;
    Ok(Json(OfferCreated {
        offer_id: sold.offer.to_string(),
        package_hash: sold.package.to_string(),
        block_id: sold.written.last_block(),
    }))
}

pub(super) async fn revoke(As(api): As, Segments(offer): Segments<String>) -> Answer<OfferRevoked> {
    let (group, offer, written) = trade::revoke(api.node(), &offer).await?;
    let (group_id, offer_id) = (group.to_string(), offer.to_string());
    Ok(Json(OfferRevoked { group_id, offer_id, block_id: written.last_block() }))
}

pub(super) async fn show(As(api): As, Segments(offer): Segments<String>) -> Answer<Offer> {
    let me = api.node().identity;
    match trade::find(api.node(), &offer).await? {
        Found::Here(found) => Ok(Json(of_ledger(*found, me))),
        Found::Announced(records) => {
            let shown = records.iter().find_map(|record| of_announcement(record.announcement(), me));
            shown.map(Json).ok_or_else(|| trade::TradeError::NoSuchOffer(offer).into())
        }
    }
}

pub(super) async fn pull(As(api): As, Body(of): Body<PullMarket>) -> Answer<MarketPulled> {
    let peers = api.node().pull_market(of.peer).await?;
    match of.peer {
        Some(peer) if peers == 0 => {
            let detail = format!("{peer} is not connected");
            Err(Problem::new(ProblemCode::NoSuchPeer, detail, "`lbm ctl peer list` shows who is"))
        }
        _ => Ok(Json(MarketPulled { peers })),
    }
}

fn of_ledger(found: Offered, me: Identity) -> Offer {
    let now_ms = unix_ms();
    let status = match &found.offer {
        offer if offer.row.revoked_by.is_some() => OfferStatus::Revoked,
        offer if !offer.stands(now_ms) => OfferStatus::Expired,
        _ => OfferStatus::Standing,
    };
    let query::Offer { id, row, terms } = found.offer;
    let of = Of {
        group: found.group,
        group_name: found.group_name,
        currency: found.currency,
        offer: id,
        seller: row.seller,
    };
    let shown = one(of, terms, row.created_ms, me);
    Offer { status, sold: Some(row.sold), owned: found.owned, source: OfferSource::Ledger, ..shown }
}

fn of_announcement(announcement: &Announcement, me: Identity) -> Option<Offer> {
    let offered = announcement.offered()?.clone();
    let Announcement { group, offer, seller, time_ms, .. } = *announcement;
    let of = Of { group, group_name: offered.group_name, currency: offered.currency, offer, seller };
    Some(one(of, offered.offer, time_ms, me))
}

/// Where an offer stands, and whose it is.
struct Of {
    group: GroupId,
    group_name: String,
    currency: String,
    offer: OfferId,
    seller: Identity,
}

/// What an announcement has of an offer.
fn one(of: Of, terms: OfferCreate, created_ms: u64, me: Identity) -> Offer {
    let splits = terms.splits.iter().map(|split| OfferSplit { to: split.to, bps: split.bps });
    let royalties =
        terms.royalties.iter().map(|royalty| OfferRoyalty { offer_id: royalty.offer.to_string(), bps: royalty.bps });
    Offer {
        offer_id: of.offer.to_string(),
        group_id: of.group.to_string(),
        group: of.group_name,
        currency: of.currency,
        seller: of.seller.to_string(),
        title: terms.title,
        description: terms.description,
        tags: terms.tags,
        price: terms.price,
        splits: splits.collect(),
        royalties: royalties.collect(),
        expires_ms: terms.expires_ms,
        settle: terms.settle,
        grant_within_ms: terms.grant_within_ms,
        dispute_within_ms: terms.dispute_within_ms,
        package_hash: terms.package.package.to_string(),
        content_bytes: terms.package.content_bytes.into(),
        status: OfferStatus::Standing,
        created_ms,
        sold: None,
        mine: of.seller == me,
        owned: false,
        source: OfferSource::Announcement,
    }
}

/// Where a page of offers ends.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cursor {
    /// Among those of a group, behind a place; at its start where there is none.
    Group(GroupId, Option<query::Place>),
    /// Among what is announced, behind a place; at its start where there is none.
    Book(Option<Place>),
}

impl Cursor {
    fn write(&self) -> String {
        match self {
            Self::Group(group, place) => {
                let rest = place.as_ref().map_or(&[][..], |place| &place.0);
                hex::encode([b"g".as_slice(), group.as_bytes(), rest].concat())
            }
            Self::Book(None) => hex::encode(b"b"),
            Self::Book(Some(Place { seller, offer })) => {
                hex::encode([b"b".as_slice(), seller.as_bytes(), offer.as_bytes()].concat())
            }
        }
    }

    fn read(text: &str) -> Result<Self, Problem> {
        let bytes = if text.len() > 1_024 { Vec::new() } else { hex::decode(text).unwrap_or_default() };
        let parsed = match bytes.split_first() {
            Some((b'g', rest)) => rest.split_first_chunk::<32>().map(|(group, rest)| {
                let place = (!rest.is_empty()).then(|| query::Place(rest.to_vec()));
                Self::Group(GroupId::from_bytes(*group), place)
            }),
            Some((b'b', [])) => Some(Self::Book(None)),
            Some((b'b', rest)) => rest.split_first_chunk::<32>().and_then(|(seller, offer)| {
                let seller = Identity::from_bytes(*seller).ok()?;
                Some(Self::Book(Some(Place { seller, offer: OfferId::from_bytes(offer.try_into().ok()?) })))
            }),
            _ => None,
        };
        parsed.ok_or_else(bad_cursor)
    }
}

pub(super) async fn list(As(api): As, Params(request): Params<ListOffers>) -> Answer<OfferList> {
    let me = api.node().identity;
    let limit = request.limit.unwrap_or(limits::PAGE_DEFAULT_ROWS);
    let seller = if request.mine { Some(me) } else { request.seller };
    let group = match request.group.clone() {
        Some(name) => Some(api.group_id(name).await?),
        None => None,
    };
    let cursor = request.cursor.as_deref().map(Cursor::read).transpose()?;
    let filter = query::Filter {
        seller,
        tag: request.tag.clone(),
        max_price: request.max_price,
        at_ms: (!request.mine).then(unix_ms),
    };
    let mut offers = Vec::new();
    let mut next = cursor.clone();
    if !matches!(cursor, Some(Cursor::Book(_))) {
        let read = move |_: &Api, view: &View| of_groups(view, &filter, group, cursor, limit, me);
        let (found, behind) = api.read(read).await?;
        offers = found;
        next = Some(behind.unwrap_or(Cursor::Book(None)));
    }
    if let Some(Cursor::Book(after)) = next.clone()
        && offers.len() < limit
    {
        let ListOffers { tag, max_price, .. } = request;
        let filter = Filter { tag, max_price, seller, group, text: None };
        let (records, more) = api.node().offers(filter, after, limit - offers.len()).await?;
        let last = records.last().map(|record| record.announcement());
        next = last.filter(|_| more).map(|last| Cursor::Book(Some(Place { seller: last.seller, offer: last.offer })));
        let read = move |_: &Api, view: &View| {
            let mut announced = Vec::new();
            for record in records {
                // Of a group that is here, the ledger says what there is.
                let group = record.announcement().group;
                if view.group(&group)?.is_none() && !view.hides(&group)? {
                    announced.extend(of_announcement(record.announcement(), me));
                }
            }
            Ok(announced)
        };
        offers.extend(api.read(read).await?);
    }
    Ok(Json(OfferList { offers, next_cursor: next.map(|next| next.write()) }))
}

/// A page of the offers of the groups that are here; where the next begins, if that is among them.
fn of_groups(
    view: &View,
    filter: &query::Filter,
    only: Option<GroupId>,
    cursor: Option<Cursor>,
    limit: usize,
    me: Identity,
) -> Result<(Vec<Offer>, Option<Cursor>), Problem> {
    let (first, mut after) = match cursor {
        Some(Cursor::Group(group, place)) => (Some(group), place),
        Some(Cursor::Book(_)) | None => (None, None),
    };
    let groups = view.groups()?.into_iter().map(|kept| kept.id);
    let groups = groups.filter(|id| only.is_none_or(|only| only == *id) && first.is_none_or(|first| first <= *id));
    let mut offers = Vec::new();
    for group in groups {
        if offers.len() >= limit {
            return Ok((offers, Some(Cursor::Group(group, None))));
        }
        let found = resolve::by_id(view, group)?;
        let kv = found.kv.as_ref();
        let Some(about) = state::group(kv)? else { continue };
        // Where a page began, and only there.
        let place = after.take().filter(|_| first == Some(group));
        let page = query::offers(kv, filter, place.as_ref(), limit - offers.len())?;
        for offer in page.rows {
            let owned = query::owned(kv, &me, &offer.id)?.is_some();
            let (group_name, currency) = (about.name.clone(), about.currency.clone());
            let found = Offered { group, group_name, currency, is_member: true, offer, owned };
            offers.push(of_ledger(found, me));
        }
        if let Some(place) = page.next {
            return Ok((offers, Some(Cursor::Group(group, Some(place)))));
        }
    }
    Ok((offers, None))
}
