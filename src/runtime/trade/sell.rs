//! Selling: packages are encrypted and on the disk before they are offered, and what a key is made of before that.

use serde_bytes::ByteArray;

use super::find::{Found, find};
use super::{Trade, TradeError, aside, random};
use crate::chain::transaction::{OfferCreate, OfferRevoke, Royalty, Settlement, Split};
use crate::chain::{GroupId, OfferId, Transaction};
use crate::ledger::market::MarketRefusal;
use crate::limits;
use crate::node::engine::OnceName;
use crate::node::engine::Written;
use crate::node::trade::shelf::{self, Salt};
use crate::package::{self, Commitment, PackageHash, PackageKey};
use crate::runtime::Node;
use crate::store::View;

/// Something new to sell.
#[derive(Debug, Clone)]
pub struct NewPackage {
    /// One line.
    pub title: String,
    /// What it is.
    pub description: Option<String>,
    /// Words to find it by, ascending and distinct.
    pub tags: Vec<String>,
    /// What it costs.
    pub price: u64,
    /// Who earns it, ascending.
    pub splits: Vec<Split>,
    /// What comes off before that, ascending.
    pub royalties: Vec<Royalty>,
    /// Until when it can be bought, milliseconds since 1970 UTC.
    pub expires_ms: Option<u64>,
    /// When purchases are granted.
    pub settle: Settlement,
    /// How long after a purchase is final it may be granted, milliseconds.
    pub grant_within_ms: Option<u64>,
    /// How long the buyer alone may settle, milliseconds.
    pub dispute_within_ms: Option<u64>,
    /// What is sold.
    pub content: Vec<u8>,
}

/// What an offer came to.
#[derive(Debug, Clone)]
pub struct Sold {
    /// The offer.
    pub offer: OfferId,
    /// Its package.
    pub package: PackageHash,
    /// What was written.
    pub written: Written,
}

/// Encrypts a package and offers it, under a name once; returns once that is durable.
///
/// # Errors
/// [`TradeError`]: nothing is offered.
pub async fn create(node: &Node, group: GroupId, new: NewPackage, once: Option<OnceName>) -> Result<Sold, TradeError> {
    let trade = &node.trade;
    // Under a name the same content gives the same package, so that the write is seen to be the same. Another content gives another key.
    let salt = match once {
        Some(name) => name.salt(&trade.key, &new.content),
        None => random()?,
    };
    let salt = Salt { salt: ByteArray::new(salt) };
    let key = shelf::package_key(&trade.key, &salt);
    let NewPackage { title, description, tags, price, splits, royalties, expires_ms, settle, content, .. } = new;
    let offer = OfferCreate {
        title,
        description,
        tags,
        price,
        splits,
        royalties,
        expires_ms,
        settle,
        grant_within_ms: new.grant_within_ms.unwrap_or(limits::OFFER_DEFAULT_GRANT_MS),
        dispute_within_ms: new.dispute_within_ms.unwrap_or(limits::OFFER_DEFAULT_DISPUTE_MS),
        package: pack(trade, key, content).await?,
    };
    let package = offer.package.package;
    trade.shelve(shelf::of_package(&package), Some(&salt)).await?;
    let written = match trade.write_once(group, Transaction::OfferCreate(offer), once).await {
        Ok(written) => written,
        Err(error) => {
            // Under a name it may be offered already.
            if once.is_none() {
                forget(trade, package).await;
            }
            return Err(error.into());
        }
    };
    let block =
        written.blocks.first().copied().ok_or_else(|| TradeError::Crashed("an offer without a block".into()))?;
    Ok(Sold { offer: OfferId::derive(block, 0), package, written })
}

async fn pack(trade: &Trade, key: PackageKey, content: Vec<u8>) -> Result<Commitment, TradeError> {
    let packages = trade.packages.clone();
    aside(move || {
        let (ciphertext, commitment) = package::encrypt(&key, &content)?;
        packages.put(&commitment, &ciphertext)?;
        Ok(commitment)
    })
    .await
}

/// Clears away what was never offered.
async fn forget(trade: &Trade, package: PackageHash) {
    let packages = trade.packages.clone();
    let removed = aside(move || Ok(packages.remove(&package)?)).await;
    let forgotten = trade.shelve::<Salt>(shelf::of_package(&package), None).await;
    if removed.is_err() || forgotten.is_err() {
        tracing::warn!(%package, "a package that was not offered is still on the disk");
    }
}

/// Ends an offer; returns once that is durable. Purchases that are under way go on.
///
/// # Errors
/// [`TradeError`]: the offer stands.
pub async fn revoke(node: &Node, text: &str) -> Result<(GroupId, OfferId, Written), TradeError> {
    match find(node, text).await? {
        Found::Here(found) => {
            let offer = found.offer.id;
            let written = node.trade.write(found.group, Transaction::OfferRevoke(OfferRevoke { offer })).await?;
            Ok((found.group, offer, written))
        }
        Found::Announced(records) => match records.first().map(|record| record.announcement()) {
            Some(announcement) => Err(MarketRefusal::NotYourOffer(announcement.offer, announcement.seller).into()),
            None => Err(TradeError::NoSuchOffer(text.to_owned())),
        },
    }
}

/// The key of a package of this node's own; none where its data folder does not know it, or it is another's.
pub(super) fn own_key(trade: &Trade, view: &View, commitment: &Commitment) -> Result<Option<PackageKey>, TradeError> {
    let salt = super::Shared::shelved::<Salt>(view, &shelf::of_package(&commitment.package))?;
    let key = salt.map(|salt| shelf::package_key(&trade.key, &salt));
    Ok(key.filter(|key| key.commitment() == commitment.key))
}
