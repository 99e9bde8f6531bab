//! Offers and purchases.

use super::{fitting, once};
use crate::api::client::Client;
use crate::api::types::{BuyOffer, ListOffers, NewOffer, NextStep, PullMarket};
use crate::limits;
use crate::mcp::answer::{Answer, Failure, lean};
use crate::mcp::arguments::Arguments;

pub(super) async fn create(client: &Client, group: &str, mut arguments: Arguments) -> Result<Answer, Failure> {
    let client = once(client, &mut arguments)?;
    let offer: NewOffer = arguments.rest()?;
    offer.check()?;
    Ok(Answer::new(&client.create_offer(group, &offer).await?))
}

pub(super) async fn list(client: &Client, group: String, mut arguments: Arguments) -> Result<Answer, Failure> {
    let asked = arguments.take("limit")?;
    let query = ListOffers { group: Some(group).filter(|group| !group.is_empty()), ..arguments.rest()? };
    ListOffers { limit: asked, ..query.clone() }.check()?;
    let ask = async |limit| client.offers(&ListOffers { limit: Some(limit), ..query.clone() }).await;
    let (_, structured) = fitting(asked, limits::mcp::ROWS, ask).await?;
    Ok(Answer::of_others("offers", &structured))
}

pub(super) async fn purchase(client: &Client, mut arguments: Arguments) -> Result<Answer, Failure> {
    let offer: String = arguments.need("offer_id")?;
    let offset: usize = arguments.take("offset")?.unwrap_or(0);
    let wait_ms = arguments.take("wait_ms")?.unwrap_or(limits::mcp::BUY_WAIT_MS);
    let how = BuyOffer { wait_ms: Some(wait_ms), ..arguments.rest()? };
    how.check()?;
    let bought = client.buy_offer(&offer, &how).await?;
    let mut structured = lean(&bought);
    let mut hint = None;
    if bought.opened {
        let content = client.library_content(&bought.purchase.offer_id).await?;
        let (text, kind) = match (&content.text, &content.content_base64) {
            (Some(text), _) => (text.as_str(), "text"),
            (None, Some(base64)) => (base64.as_str(), "base64"),
            (None, None) => ("", "text"),
        };
        if !text.is_char_boundary(offset) {
            return Err(Failure::Arguments(format!(
                "`offset` must be 0 or a `next_offset`; there are {} bytes",
                text.len()
            )));
        }
        let rest = text.get(offset..).unwrap_or_default();
        let end = rest.floor_char_boundary(limits::mcp::ANSWER_BYTES);
        if let Some(object) = structured.as_object_mut() {
            object.insert("text".to_owned(), rest.get(..end).unwrap_or_default().into());
            object.insert("encoding".to_owned(), kind.into());
            if end < rest.len() {
                object.insert("next_offset".to_owned(), (offset + end).into());
            }
        }
    } else if let Some(next) = bought.purchase.next {
        hint = Some(if next == NextStep::Approve {
            "over your spending limit: a person has to approve it with `lbm ctl offer approve`; until then calling again changes nothing"
                .to_owned()
        } else {
            format!("waits for `{}`; call again, nothing is paid twice", next.word())
        });
    }
    let answer = Answer::of_others("what you bought, its seller's words", &structured);
    Ok(match hint {
        Some(hint) => answer.with_hint(&hint),
        None => answer,
    })
}

pub(super) async fn pull(client: &Client, arguments: Arguments) -> Result<Answer, Failure> {
    let of: PullMarket = arguments.rest()?;
    Ok(Answer::new(&client.pull_market(&of).await?))
}
