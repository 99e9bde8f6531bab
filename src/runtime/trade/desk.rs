//! What this node does for buyers in its groups that are no members: it writes their orders, and tells each about its own account.

use async_trait::async_trait;

use super::{Trade, TradeError, aside};
use crate::chain::Transaction;
use crate::chain::transaction::{self, SignedOrder};
use crate::identity::Identity;
use crate::kv::KvError;
use crate::ledger::arrange::is_final;
use crate::ledger::market::query;
use crate::ledger::{account, state};
use crate::limits;
use crate::node::engine::Groups;
use crate::runtime::market::Desk;
use crate::wire::market::{Account, Bought, GetAccount, HandedDispute, Refused, Response};

#[async_trait]
impl Desk for Trade {
    async fn order(&self, from: Identity, order: SignedOrder) -> Response {
        let (id, group) = (order.id(), order.order().group);
        if let Err(error) = order.check() {
            return declined(&error.to_string());
        }
        let (trade, asked) = (self.clone(), order.clone());
        let known = aside(move || {
            let view = trade.view()?;
            let Some(kv) = view.group(&group)? else { return Ok(None) };
            let buyer = asked.order().buyer;
            let is_served = state::member(kv.as_ref(), &trade.me)?.is_some() && has_account(kv.as_ref(), &buyer)?;
            let is_there = query::purchase(kv.as_ref(), &asked.id())?.is_some();
            Ok(is_served.then_some(is_there))
        });
        match known.await {
            Ok(None) => Response::Refused(Refused::NotShared),
            // Whoever asks again because the answer was lost hears the same.
            Ok(Some(true)) => Response::Ordered(id),
            Ok(Some(false)) => {
                let purchase = Transaction::Purchase(transaction::Purchase { order });
                match self.write(group, purchase).await.map_err(TradeError::from) {
                    Ok(_) => {
                        tracing::debug!(%from, purchase = %id, "wrote an order");
                        Response::Ordered(id)
                    }
                    Err(error) if error.is_done() => Response::Ordered(id),
                    Err(error @ TradeError::Write(crate::runtime::writer::WriteError::Failure(_))) => {
                        declined(&error.to_string())
                    }
                    Err(error) => {
                        tracing::warn!(%error, "could not write an order");
                        Response::Refused(Refused::Failed)
                    }
                }
            }
            Err(error) => {
                tracing::error!(%error, "could not look at an order");
                Response::Refused(Refused::Failed)
            }
        }
    }

    async fn dispute(&self, from: Identity, handed: HandedDispute) -> Response {
        let HandedDispute { group, dispute } = handed;
        let (trade, id, key) = (self.clone(), dispute.purchase, dispute.secret.key());
        // Whoever has no secret of a purchase here learns nothing, and nothing is worked out for it.
        let known = aside(move || {
            let view = trade.view()?;
            let Some(kv) = view.group(&group)? else { return Ok(false) };
            let row = query::purchase(kv.as_ref(), &id)?;
            Ok(state::member(kv.as_ref(), &trade.me)?.is_some() && row.is_some_and(|row| row.deal.key == key))
        });
        match known.await {
            Ok(true) => {}
            Ok(false) => return Response::Refused(Refused::NotShared),
            Err(error) => {
                tracing::error!(%error, "could not look at a dispute");
                return Response::Refused(Refused::Failed);
            }
        }
        match self.write(group, Transaction::Dispute(dispute)).await.map_err(TradeError::from) {
            Ok(_) => {
                tracing::debug!(%from, purchase = %id, "wrote a dispute");
                Response::Ordered(id)
            }
            Err(error) if error.is_done() => Response::Ordered(id),
            Err(error @ TradeError::Write(crate::runtime::writer::WriteError::Failure(_))) => {
                declined(&error.to_string())
            }
            Err(error) => {
                tracing::warn!(%error, "could not write a dispute");
                Response::Refused(Refused::Failed)
            }
        }
    }

    async fn account(&self, asker: Identity, about: GetAccount) -> Result<Option<Account>, KvError> {
        let trade = self.clone();
        let read = move || -> Result<Option<Account>, KvError> {
            let view = trade.view()?;
            let Some(kv) = view.group(&about.group)? else { return Ok(None) };
            let kv = kv.as_ref();
            if state::member(kv, &trade.me)?.is_none() || !has_account(kv, &asker)? {
                return Ok(None);
            }
            let account = account::account(kv, &asker)?;
            let mut purchases = Vec::new();
            let mut asked = about.purchases;
            for offer in about.offers {
                asked.extend(query::owned(kv, &asker, &offer)?);
            }
            asked.sort_unstable();
            asked.dedup();
            for purchase in asked {
                let Some(row) = query::purchase(kv, &purchase)?.filter(|row| row.deal.buyer == asker) else { continue };
                purchases.push(Bought {
                    purchase,
                    offer: row.deal.offer,
                    nonce: row.deal.nonce,
                    state: row.status.word().to_owned(),
                    is_final: is_final(kv, &row.changed_by)?,
                    until_ms: row.due_ms(),
                    sealed_key: row.sealed_key,
                });
            }
            Ok(Some(Account { balance: account.balance, nonce: account.nonce, purchases }))
        };
        tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| {
            tracing::error!(%error, "a thread failed");
            Ok(None)
        })
    }
}

/// Whether somebody is known in a group: who never had a token there, nor is a member, learns nothing of it.
fn has_account(kv: &dyn crate::kv::Read, who: &Identity) -> Result<bool, KvError> {
    let account = account::account(kv, who)?;
    Ok(account != account::Account::default() || state::member(kv, who)?.is_some())
}

fn declined(why: &str) -> Response {
    let end = why.floor_char_boundary(limits::DECLINED_BYTES);
    Response::Refused(Refused::Declined(why.get(..end).unwrap_or_default().to_owned()))
}
