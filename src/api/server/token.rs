//! Tokens: balances and histories, mint, transfer, pay; and the rules of a group.

use std::sync::Arc;

use axum::Json;

use super::Api;
use super::extract::{As, Body, Params, Segments};
use super::listing::bad_cursor;
use super::resolve::{self, Found};
use crate::api::types::{
    AskBalance, Balance, Direction, GroupPolicy, ListMoves, MoveList, Paid, Payment, Policy, PolicyChanged,
    PolicyUpdate, Problem, ProblemCode, TokenMove,
};
use crate::chain::transaction::{Mint, Transfer, TreasuryPay};
use crate::chain::{BlockId, GroupId, Transaction};
use crate::identity::Identity;
use crate::kv::{KvError, Read};
use crate::ledger::account::{self, Move};
use crate::ledger::arrange::is_final;
use crate::limits;

type Answer<T> = Result<Json<T>, Problem>;

pub(super) async fn policy(As(api): As, Segments(name): Segments<String>) -> Answer<GroupPolicy> {
    let read = |_: &Api, found: &Found<'_>, _| {
        Ok(GroupPolicy { group_id: found.id.to_string(), policy: rules(found.kv.as_ref())? })
    };
    api.read_group(name, read).await.map(Json)
}

/// The rules as an answer has them.
pub(super) fn rules(kv: &dyn Read) -> Result<Policy, KvError> {
    let account::Policy {
        faucet_amount,
        claim_reward_amount,
        transfer_fee_bps,
        max_total_supply,
        max_account_balance,
        listed,
    } = account::policy(kv)?;
    Ok(Policy { faucet_amount, claim_reward_amount, transfer_fee_bps, max_total_supply, max_account_balance, listed })
}

pub(super) async fn update_policy(
    As(api): As,
    Segments(group): Segments<String>,
    Body(update): Body<PolicyUpdate>,
) -> Answer<PolicyChanged> {
    let group = api.group_id(group).await?;
    let block = write(&api, group, Transaction::PolicyUpdate(update)).await?;
    let read = move |_: &Api, view: &crate::store::View| {
        let found = resolve::by_id(view, group)?;
        let kv = found.kv.as_ref();
        Ok(PolicyChanged { group_id: group.to_string(), block_id: block.to_string(), policy: rules(kv)? })
    };
    api.read(read).await.map(Json)
}

pub(super) async fn mint(
    As(api): As,
    Segments(group): Segments<String>,
    Body(Payment { to, amount }): Body<Payment>,
) -> Answer<Paid> {
    pay_with(&api, group, Transaction::Mint(Mint { to, amount }), to, amount).await
}

pub(super) async fn transfer(
    As(api): As,
    Segments(group): Segments<String>,
    Body(Payment { to, amount }): Body<Payment>,
) -> Answer<Paid> {
    pay_with(&api, group, Transaction::Transfer(Transfer { to, amount }), to, amount).await
}

pub(super) async fn pay(
    As(api): As,
    Segments(group): Segments<String>,
    Body(Payment { to, amount }): Body<Payment>,
) -> Answer<Paid> {
    pay_with(&api, group, Transaction::TreasuryPay(TreasuryPay { to, amount }), to, amount).await
}

/// Writes a payment, and reads back what it cost.
async fn pay_with(api: &Arc<Api>, group: String, by: Transaction, to: Identity, amount: u64) -> Answer<Paid> {
    let group = api.group_id(group).await?;
    let has_fee = matches!(by, Transaction::Transfer(_));
    let block = write(api, group, by).await?;
    let read = move |api: &Api, view: &crate::store::View| {
        let found = resolve::by_id(view, group)?;
        let kv = found.kv.as_ref();
        Ok(Paid {
            group_id: group.to_string(),
            block_id: block.to_string(),
            to: to.to_string(),
            amount,
            fee: if has_fee { fee_of(kv, &api.node().identity, &block)? } else { 0 },
        })
    };
    api.read(read).await.map(Json)
}

/// What a transfer of ours that has just been written has cost: it is one of the account's last moves.
fn fee_of(kv: &dyn Read, from: &Identity, block: &BlockId) -> Result<u64, KvError> {
    let moves = account::history(kv, from, None, limits::PAGE_ROWS)?;
    Ok(moves.into_iter().find(|(_, row)| row.block == *block).map_or(0, |(_, row)| row.fee))
}

async fn write(api: &Api, group: GroupId, transaction: Transaction) -> Result<BlockId, Problem> {
    let written = api.node().writer.write(api.to_write(group, vec![transaction], vec![])).await?;
    written.blocks.last().copied().ok_or_else(|| {
        Problem::new(ProblemCode::Internal, "the writer named nothing that it wrote", "see the daemon's log")
    })
}

pub(super) async fn balance(
    As(api): As,
    Segments(group): Segments<String>,
    Params(AskBalance { account }): Params<AskBalance>,
) -> Answer<Balance> {
    let read = move |api: &Api, found: &Found<'_>, _| {
        let account = account.unwrap_or(api.node().identity);
        let balance = account::account(found.kv.as_ref(), &account)?.balance;
        Ok(Balance { account: account.to_string(), balance })
    };
    api.read_group(group, read).await.map(Json)
}

pub(super) async fn history(
    As(api): As,
    Segments(group): Segments<String>,
    Params(request): Params<ListMoves>,
) -> Answer<MoveList> {
    let read = move |api: &Api, found: &Found<'_>, _| page(found, api.node().identity, &request);
    api.read_group(group, read).await.map(Json)
}

fn page(found: &Found<'_>, own: Identity, request: &ListMoves) -> Result<MoveList, Problem> {
    let kv = found.kv.as_ref();
    let account = request.account.unwrap_or(own);
    let limit = request.limit.unwrap_or(limits::PAGE_DEFAULT_ROWS);
    let before = request.cursor.as_deref().map(|cursor| cursor::read(found.id, &account, cursor)).transpose()?;
    let rows = account::history(kv, &account, before, limit)?;
    let next = rows.last().map(|(number, _)| *number).filter(|number| rows.len() == limit && *number > 0);
    let moves = rows.iter().map(|(_, row)| shown(kv, row)).collect::<Result<_, _>>()?;
    let next_cursor = next.map(|number| cursor::write(found.id, &account, number));
    Ok(MoveList { account: account.to_string(), moves, next_cursor })
}

fn shown(kv: &dyn Read, row: &Move) -> Result<TokenMove, KvError> {
    Ok(TokenMove {
        kind: row.cause.word().to_owned(),
        direction: if row.incoming { Direction::In } else { Direction::Out },
        amount: row.amount,
        fee: row.fee,
        balance: row.balance,
        counterpart: row.counterpart.map(|identity| identity.to_string()),
        task_id: row.cause.task().map(ToString::to_string),
        block_id: row.block.to_string(),
        transaction: row.index,
        created_ms: row.time_ms,
        is_final: is_final(kv, &row.block)?,
    })
}

/// The last move of a page: the beginnings of the group's id and of the account, so that it fits no other, and its number.
mod cursor {
    use super::{GroupId, Identity, Problem, bad_cursor};

    pub fn write(group: GroupId, account: &Identity, number: u64) -> String {
        hex::encode([&group.as_bytes()[..8], &account.as_bytes()[..8], &number.to_be_bytes()].concat())
    }

    pub fn read(group: GroupId, account: &Identity, text: &str) -> Result<u64, Problem> {
        let mut bytes = [0; 24];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| bad_cursor())?;
        let parse = || {
            let rest = bytes.strip_prefix(&group.as_bytes()[..8])?.strip_prefix(&account.as_bytes()[..8])?;
            Some(u64::from_be_bytes(rest.try_into().ok()?))
        };
        parse().ok_or_else(bad_cursor)
    }
}
