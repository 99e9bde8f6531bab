//! What a transaction does, in a few words for people.

use crate::chain::Transaction;
use crate::chain::transaction::PolicyUpdate;
use crate::identity::Identity;

/// What its author does with a transaction: `claimed the task build-7`.
pub(super) fn told(author: &Identity, transaction: &Transaction) -> String {
    match transaction {
        Transaction::Genesis(genesis) => format!("founded the group {}", genesis.name),
        Transaction::MemberAdd(it) => format!("added {} as {}", it.identity, it.role.word()),
        Transaction::MemberRemove(it) if it.identity == *author => "left the group".to_owned(),
        Transaction::MemberRemove(it) => format!("removed {}", it.identity),
        Transaction::RoleSet(it) => format!("made {} {}", it.identity, it.role.word()),
        Transaction::Invite(it) => format!("made a ticket for {} as {}", it.uses, it.role.word()),
        Transaction::InviteRevoke(it) => format!("revoked the ticket {}", it.ticket),
        Transaction::MemberJoin(it) => format!("let {} in by a ticket", it.identity),
        Transaction::Seal(it) => format!("sealed with number {}", it.epoch),
        Transaction::NotarySet(it) => format!("made {} the notary", it.identity),
        Transaction::Unfreeze(it) => format!("let {} spend again", it.identity),
        Transaction::Claim(it) => match it.parent {
            Some(parent) => format!("answered the claim {parent}"),
            None => "published a claim".to_owned(),
        },
        Transaction::Retract(it) => format!("retracted the claim {}", it.claim),
        Transaction::Experience(_) => "submitted an experience".to_owned(),
        Transaction::PolicyUpdate(it) => format!("changed the policy: {}", rules(it).join(", ")),
        Transaction::Mint(it) => format!("minted {} for {}", it.amount, it.to),
        Transaction::Transfer(it) => format!("transferred {} to {}", it.amount, it.to),
        Transaction::TreasuryPay(it) => format!("paid {} out of the treasury to {}", it.amount, it.to),
        Transaction::TaskCreate(it) => format!("created the task {}", it.task),
        Transaction::TaskAssign(it) if it.assignee == *author => format!("claimed the task {}", it.task),
        Transaction::TaskAssign(it) => format!("gave the task {} to {}", it.task, it.assignee),
        Transaction::TaskStart(it) => format!("started the task {} (attempt {})", it.task, it.attempt),
        Transaction::TaskComplete(it) => format!("completed the task {} (attempt {})", it.task, it.attempt),
        Transaction::TaskFail(it) => format!("gave the task {} up as failed (attempt {})", it.task, it.attempt),
        Transaction::TaskRelease(it) => format!("released the task {} (attempt {})", it.task, it.attempt),
        Transaction::TaskCancel(it) => format!("cancelled the task {}", it.task),
        Transaction::OfferCreate(it) => format!("offered {:?} for {}", it.title, it.price),
        Transaction::OfferRevoke(it) => format!("revoked the offer {}", it.offer),
        Transaction::Purchase(it) => {
            let order = it.order.order();
            let whose = if order.buyer == *author { String::new() } else { format!(", ordered by {}", order.buyer) };
            format!("bought the offer {} for {}{whose}", order.offer, order.price)
        }
        Transaction::Grant(it) => format!("granted the purchase {}", it.purchase),
        Transaction::Settle(it) => format!("settled the purchase {}", it.purchase),
        Transaction::Refund(it) => format!("asked for a refund of the purchase {}", it.purchase),
        Transaction::Dispute(it) => format!("disputed the purchase {}", it.purchase),
    }
}

fn rules(update: &PolicyUpdate) -> Vec<String> {
    let PolicyUpdate {
        listed,
        faucet_amount,
        max_total_supply,
        transfer_fee_bps,
        claim_reward_amount,
        max_account_balance,
    } = update;
    let amounts = [
        ("faucet_amount", faucet_amount),
        ("claim_reward_amount", claim_reward_amount),
        ("transfer_fee_bps", transfer_fee_bps),
        ("max_total_supply", max_total_supply),
        ("max_account_balance", max_account_balance),
    ];
    let amounts = amounts.into_iter().filter_map(|(rule, amount)| Some(format!("{rule} {}", (*amount)?)));
    amounts.chain(listed.map(|listed| format!("listed {listed}"))).collect()
}
