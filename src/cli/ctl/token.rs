//! `lbm ctl token balance|mint|transfer|pay|history` and `lbm ctl group policy`.

use std::io::{self, Write};

use clap::{Args, Subcommand};

use super::GroupFlag;
use super::node::{more, tail};
use crate::api::types::{
    AskBalance, Balance, Direction, GroupPolicy, ListMoves, MoveList, Paid, Payment, Policy, PolicyChanged,
    PolicyUpdate, TokenMove,
};
use crate::cli::error::{CliError, Outcome};
use crate::cli::output::{At, Render};
use crate::cli::session::Session;
use crate::cli::text::{Table, count, fields, one_line, short};
use crate::cli::when::ago;
use crate::identity::Identity;
use crate::limits;

/// What to do with tokens.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum TokenCommand {
    /// What an account has
    Balance(AccountArgs),
    /// Make tokens; an admin can
    Mint(PaymentArgs),
    /// Give tokens of this node's to another account; the group's fee comes on top
    Transfer(PaymentArgs),
    /// Pay out of the treasury, which has the fees of all transfers; an admin can
    Pay(PaymentArgs),
    /// What moved an account's tokens, the last first
    History(HistoryArgs),
}

/// An account on the command line.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct AccountArgs {
    #[command(flatten)]
    group: GroupFlag,
    /// Whose: a peer id [default: this node's]
    #[arg(long, value_name = "ID")]
    account: Option<Identity>,
}

/// Arguments of `lbm ctl token mint|transfer|pay`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct PaymentArgs {
    #[command(flatten)]
    group: GroupFlag,
    /// Who gets the tokens: a peer id; it needs not be a member
    #[arg(long, value_name = "ID")]
    to: Identity,
    /// How many it gets, in whole tokens
    #[arg(long, value_name = "N")]
    amount: u64,
}

/// Arguments of `lbm ctl token history`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct HistoryArgs {
    #[command(flatten)]
    of: AccountArgs,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = limits::PAGE_DEFAULT_ROWS)]
    limit: usize,
    /// Where the page before ended: its next_cursor
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

/// Arguments of `lbm ctl group policy`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct PolicyArgs {
    #[command(flatten)]
    group: GroupFlag,
    /// Change a rule: faucet_amount, claim_reward_amount, transfer_fee_bps (0 to 5000), max_total_supply, max_account_balance
    /// (whole tokens; 0 for none) or listed (true or false). Without it the rules are shown
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_rule)]
    rules: Vec<Rule>,
}

/// One rule to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    key: &'static str,
    value: u64,
}

/// The names of the rules.
const KEYS: [&str; 6] =
    ["faucet_amount", "claim_reward_amount", "transfer_fee_bps", "max_total_supply", "max_account_balance", LISTED];
const LISTED: &str = "listed";

/// Why a rule cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum RuleError {
    #[error("expected KEY=VALUE, as in claim_reward_amount=10; the keys are {keys}", keys = KEYS.join(", "))]
    Form,
    #[error("there is no rule `{0}`; the rules are {keys}", keys = KEYS.join(", "))]
    Unknown(String),
    #[error("`{0}` takes a whole number")]
    Number(&'static str),
    #[error("`listed` is true or false")]
    Listed,
}

fn parse_rule(text: &str) -> Result<Rule, RuleError> {
    let (key, value) = text.split_once('=').ok_or(RuleError::Form)?;
    let (typed, value) = (key.trim(), value.trim());
    if typed.is_empty() || value.is_empty() {
        return Err(RuleError::Form);
    }
    let key = KEYS.into_iter().find(|key| *key == typed).ok_or_else(|| RuleError::Unknown(one_line(typed, 40)))?;
    let value = match (key, value) {
        (LISTED, "true") => 1,
        (LISTED, "false") => 0,
        (LISTED, _) => return Err(RuleError::Listed),
        (key, number) => number.parse().map_err(|_| RuleError::Number(key))?,
    };
    Ok(Rule { key, value })
}

/// The change that rules come to; of two with one key the last.
fn update(rules: &[Rule]) -> PolicyUpdate {
    let mut update = PolicyUpdate::default();
    for Rule { key, value } in rules {
        let value = Some(*value);
        match *key {
            "faucet_amount" => update.faucet_amount = value,
            "claim_reward_amount" => update.claim_reward_amount = value,
            "transfer_fee_bps" => update.transfer_fee_bps = value,
            "max_total_supply" => update.max_total_supply = value,
            "max_account_balance" => update.max_account_balance = value,
            _ => update.listed = value.map(|value| value > 0),
        }
    }
    update
}

impl PolicyArgs {
    /// Whether a rule is changed.
    pub(super) const fn changes(&self) -> bool {
        !self.rules.is_empty()
    }
}

impl TokenCommand {
    /// Whether it writes something that can be waited for.
    pub(super) const fn writes(&self) -> bool {
        matches!(self, Self::Mint(_) | Self::Transfer(_) | Self::Pay(_))
    }
}

pub(super) async fn policy(args: &PolicyArgs, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    let group = &args.group.group;
    if args.rules.is_empty() {
        let answer = session.client.policy(group).await?;
        session.answer(answer)?;
    } else {
        let answer = session.client.update_policy(group, &update(&args.rules)).await?;
        session.wrote(group, answer).await?;
    }
    Ok(Outcome::Done)
}

pub(super) async fn run(command: &TokenCommand, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    match command {
        TokenCommand::Balance(AccountArgs { group, account }) => {
            let answer = session.client.balance(&group.group, &AskBalance { account: *account }).await?;
            session.answer(answer)?;
        }
        TokenCommand::Mint(args) => {
            let payment = args.payment()?;
            let answer = session.client.mint(&args.group.group, &payment).await?;
            session.wrote(&args.group.group, answer).await?;
        }
        TokenCommand::Transfer(args) => {
            let payment = args.payment()?;
            let answer = session.client.transfer(&args.group.group, &payment).await?;
            session.wrote(&args.group.group, answer).await?;
        }
        TokenCommand::Pay(args) => {
            let payment = args.payment()?;
            let answer = session.client.pay(&args.group.group, &payment).await?;
            session.wrote(&args.group.group, answer).await?;
        }
        TokenCommand::History(HistoryArgs { of, limit, cursor }) => {
            let query = ListMoves { account: of.account, limit: Some(*limit), cursor: cursor.clone() };
            query.check()?;
            let answer = session.client.token_history(&of.group.group, &query).await?;
            session.answer(answer)?;
        }
    }
    Ok(Outcome::Done)
}

impl PaymentArgs {
    fn payment(&self) -> Result<Payment, CliError> {
        let payment = Payment { to: self.to, amount: self.amount };
        payment.check()?;
        Ok(payment)
    }
}

const fn standing(is_final: bool) -> &'static str {
    if is_final { "final" } else { "pending" }
}

impl Render for At<Balance> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{} has {}.", one_line(&self.answer.account, 100), count(self.answer.balance, "token"))
    }
}

impl Render for At<Paid> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let Paid { block_id, to, amount, fee, .. } = &self.answer;
        let fee = if *fee > 0 { format!(" for a fee of {fee}") } else { String::new() };
        let (tokens, to) = (count(*amount, "token"), one_line(to, 100));
        writeln!(out, "{tokens} to {to}{fee}: block {}.", short(block_id))
    }
}

impl Render for At<MoveList> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new(&["WHEN", "WHAT", "TOKENS#", "FEE#", "BALANCE#", "WITH", "STATE"]);
        for row in &self.answer.moves {
            let TokenMove { direction, amount, fee, balance, .. } = row;
            let sign = if *direction == Direction::In { '+' } else { '-' };
            let what = row.task_id.as_ref().map_or(row.kind.clone(), |task| format!("{} {task}", row.kind));
            let with = row.counterpart.as_deref().map_or_else(|| "-".to_owned(), tail);
            let (amount, fee) = (format!("{sign}{amount}"), fee.to_string());
            let when = ago(row.created_ms, self.now_ms);
            table.row([&when, &what, &amount, &fee, &balance.to_string(), &with, standing(row.is_final)]);
        }
        if table.is_empty() {
            return writeln!(out, "{} never had a token.", one_line(&self.answer.account, 100));
        }
        table.write(out)?;
        more(out, self.answer.next_cursor.as_deref())
    }
}

/// The rules, each with its name and what it comes to.
pub(super) fn rules(policy: &Policy) -> [(&'static str, String); 6] {
    let bound = |amount: u64| if amount == 0 { "none".to_owned() } else { amount.to_string() };
    let bps = policy.transfer_fee_bps;
    [
        ("faucet_amount", policy.faucet_amount.to_string()),
        ("claim_reward_amount", policy.claim_reward_amount.to_string()),
        ("transfer_fee_bps", format!("{bps} ({}.{:02} %)", bps / 100, bps % 100)),
        ("max_total_supply", bound(policy.max_total_supply)),
        ("max_account_balance", bound(policy.max_account_balance)),
        (LISTED, policy.listed.to_string()),
    ]
}

impl Render for At<GroupPolicy> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        fields(out, &rules(&self.answer.policy))
    }
}

impl Render for At<PolicyChanged> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        fields(out, &rules(&self.answer.policy))?;
        writeln!(out, "Changed by block {}.", short(&self.answer.block_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_others_refused_with_the_list() {
        let rules: Vec<_> =
            ["claim_reward_amount=10", " listed = true", "max_total_supply=0", "claim_reward_amount=11"]
                .map(|text| parse_rule(text).unwrap())
                .into();
        let expected = PolicyUpdate {
            claim_reward_amount: Some(11),
            listed: Some(true),
            max_total_supply: Some(0),
            ..PolicyUpdate::default()
        };
        assert_eq!(update(&rules), expected);
        for (text, word) in [
            ("", "expected KEY=VALUE"),
            ("faucet_amount", "expected KEY=VALUE"),
            ("=5", "the keys are faucet_amount, claim"),
            ("faucet_amount=", "expected KEY=VALUE"),
            ("faucet=5", "there is no rule `faucet`; the rules are faucet_amount,"),
            ("faucet_amount=-1", "takes a whole number"),
            ("faucet_amount=1.5", "takes a whole number"),
            ("listed=1", "true or false"),
        ] {
            let said = parse_rule(text).unwrap_err().to_string();
            assert!(said.contains(word), "{text}: {said}");
        }
        // Each key sets a rule of its own.
        for key in KEYS {
            let value = if key == LISTED { "true" } else { "7" };
            let update = update(&[parse_rule(&format!("{key}={value}")).unwrap()]);
            let set = serde_json::to_value(update).unwrap();
            assert_eq!(set.as_object().unwrap().keys().collect::<Vec<_>>(), [key]);
        }
    }
}
