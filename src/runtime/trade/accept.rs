//! The buyer's and the seller's parts of a purchase: each is done whenever the ledger says that it is due, and twice does no harm.

use std::sync::Arc;

use super::steps::Step;
use super::{Trade, TradeError, aside, library, random, sell};
use crate::chain::transaction::{Dispute, Grant, Refund, Settle};
use crate::chain::{GroupId, Transaction};
use crate::kv::KvError;
use crate::ledger::market::query;
use crate::ledger::state;
use crate::node::engine::Groups;
use crate::node::market::io::{NotFetched, Wanted};
use crate::node::trade::deed::{Deed, Due};
use crate::node::trade::shelf;
use crate::package::{self, ChunkProof, Commitment, PackageError};
use crate::runtime::Node;

/// Does what is due.
pub(super) async fn carry_out(node: &Node, group: GroupId, due: &Due) -> Result<(), TradeError> {
    let purchase = due.purchase;
    match due.deed {
        Deed::Grant => grant(node, group, due).await,
        Deed::Accept => accept(node, group, due).await,
        Deed::Refund => write(node, group, Transaction::Refund(Refund { purchase })).await,
        Deed::Settle => write(node, group, Transaction::Settle(Settle { purchase })).await,
    }
}

/// Writes; where it was done already, that is as good.
async fn write(node: &Node, group: GroupId, transaction: Transaction) -> Result<(), TradeError> {
    match node.trade.write(group, transaction).await.map_err(TradeError::from) {
        Err(error) if !error.is_done() => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

async fn commitment(trade: &Trade, group: GroupId, due: &Due) -> Result<(Commitment, String), TradeError> {
    let (trade, offer) = (trade.clone(), due.row.deal.offer);
    aside(move || {
        let view = trade.view()?;
        let found = match view.group(&group)? {
            Some(kv) => query::offer(kv.as_ref(), &offer)?.zip(state::group(kv.as_ref())?),
            None => None,
        };
        let (offer, about) = found.ok_or_else(|| KvError::damaged(crate::kv::Table::State, offer.as_bytes()))?;
        Ok((offer.terms.package, about.name))
    })
    .await
}

async fn grant(node: &Node, group: GroupId, due: &Due) -> Result<(), TradeError> {
    let trade = &node.trade;
    trade.reach(Step::Seen).await;
    let (commitment, _) = commitment(trade, group, due).await?;
    let (own, offer) = (trade.clone(), due.row.deal.offer);
    let key = aside(move || sell::own_key(&own, &own.view()?, &commitment)).await?.ok_or(TradeError::NoKey(offer))?;
    // The one-time key was checked with the order.
    let sealed = Grant::seal(due.purchase, &due.row.deal.key, &key, &random()?);
    let grant = sealed.map_err(|_| TradeError::Crashed("a one-time key that is none".into()))?;
    trade.reach(Step::Sealed).await;
    write(node, group, Transaction::Grant(grant)).await?;
    trade.reach(Step::Granted).await;
    Ok(())
}

/// Opens what was granted, all of it, and settles; or shows everybody that it does not open.
async fn accept(node: &Node, group: GroupId, due: &Due) -> Result<(), TradeError> {
    let trade = &node.trade;
    trade.reach(Step::Delivered).await;
    let (commitment, group_name) = commitment(trade, group, due).await?;
    let deal = due.row.deal;
    let secret = shelf::one_time(&trade.key, &group, &deal.offer, deal.nonce);
    let dispute = |chunk: Option<ChunkProof>| {
        let secret = shelf::one_time(&trade.key, &group, &deal.offer, deal.nonce);
        Transaction::Dispute(Dispute { purchase: due.purchase, secret, chunk })
    };
    let Some(sealed_key) = due.row.sealed_key.clone() else { return Ok(()) };
    let opened = Grant { purchase: due.purchase, sealed_key }.open(&secret).ok();
    let Some(key) = opened.filter(|key| key.commitment() == commitment.key) else {
        tracing::warn!(purchase = %due.purchase, seller = %deal.seller, "a grant does not open: disputing it");
        return write(node, group, dispute(None)).await;
    };
    let wanted = Wanted { commitment, seller: deal.seller };
    node.fetch_package(wanted).await?.map_err(|why| TradeError::NotHere { offer: deal.offer, why })?;
    let (packages, offer) = (Arc::clone(&trade.packages), deal.offer);
    let verdict = aside(move || match library::open(&packages, &commitment, &key)? {
        Some(Err(PackageError::Chunk(index))) => {
            let ciphertext = packages.read(&commitment)?.unwrap_or_default();
            Ok(Some(package::prove(&ciphertext, index)))
        }
        // The key was looked at, and the length is the commitment's.
        Some(Ok(_) | Err(_)) => Ok(None),
        // Lost since it was fetched: nothing is decided of what cannot be read.
        None => Err(TradeError::NotHere { offer, why: NotFetched::Nobody }),
    })
    .await?;
    if let Some(chunk) = verdict {
        tracing::warn!(purchase = %due.purchase, seller = %deal.seller, "a package does not decrypt: disputing it");
        return write(node, group, dispute(chunk)).await;
    }
    trade.reach(Step::Opened).await;
    let kept = library_row(trade, group, due, group_name).await?;
    if let Some(owned) = kept {
        trade.keep(group, deal.offer, &owned).await?;
    }
    trade.reach(Step::Kept).await;
    write(node, group, Transaction::Settle(Settle { purchase: due.purchase })).await?;
    trade.reach(Step::Settled).await;
    Ok(())
}

async fn library_row(
    trade: &Trade,
    group: GroupId,
    due: &Due,
    group_name: String,
) -> Result<Option<shelf::Owned>, TradeError> {
    let (trade, due) = (trade.clone(), due.clone());
    aside(move || {
        let view = trade.view()?;
        let Some(kv) = view.group(&group)? else { return Ok(None) };
        library::owned(kv.as_ref(), &group_name, due.purchase, &due.row)
    })
    .await
}
