//! Tokens over the API: rules, payments, histories, and what refuses them.

use super::*;
use crate::api::types::{AskBalance, Direction, EventKind, ListEvents, ListMoves, Payment, PolicyUpdate};

fn to(other: Identity, amount: u64) -> Payment {
    Payment { to: other, amount }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_made_earned_given_and_paid() {
    let node = start(1);
    let client = &node.client;
    let group = node.create("g").await;
    let other = SecretKey::from_seed(&[9; 32]).identity();

    let rules = client.policy("g").await.unwrap();
    assert_eq!((rules.group_id.as_str(), rules.policy.claim_reward_amount), (group.as_str(), 0));
    let update = PolicyUpdate { claim_reward_amount: Some(10), transfer_fee_bps: Some(500), ..PolicyUpdate::default() };
    let changed = client.update_policy("g", &update).await.unwrap();
    assert_eq!(
        (changed.policy.claim_reward_amount, changed.policy.transfer_fee_bps, changed.block_id.len()),
        (10, 500, 64)
    );
    assert_eq!(client.policy("g").await.unwrap().policy, changed.policy);

    node.publish(&group, "worth something").await;
    node.publish(&group, "Worth\nsomething").await;
    let own = client.balance("g", &AskBalance::default()).await.unwrap();
    assert_eq!((own.account, own.balance), (node.me.to_string(), 10));
    let minted = client.mint("g", &to(node.me, 90)).await.unwrap();
    assert_eq!((minted.amount, minted.fee, minted.block_id.len()), (90, 0, 64));
    let given = client.transfer("g", &to(other, 40)).await.unwrap();
    assert_eq!((given.amount, given.fee, given.to), (40, 2, other.to_string()));
    client.pay("g", &to(other, 1)).await.unwrap();
    let theirs = AskBalance { account: Some(other) };
    assert_eq!(client.balance("g", &theirs).await.unwrap().balance, 41);

    let stats = client.group_stats("g").await.unwrap();
    assert_eq!((stats.total_supply, stats.treasury_balance, stats.escrow_balance, stats.accounts), (100, 1, 0, 2));
    assert_eq!(stats.policy, changed.policy);
    assert!(client.verify_group("g").await.unwrap().ok);

    // Page by page, the last first.
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = client.token_history("g", &ListMoves { account: None, limit: Some(2), cursor }).await.unwrap();
        assert!(page.moves.len() <= 2 && page.account == node.me.to_string());
        seen.extend(page.moves.into_iter().map(|row| (row.kind, row.direction, row.amount, row.fee, row.balance)));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    let row = |kind: &str, direction, amount, fee, balance| (kind.to_owned(), direction, amount, fee, balance);
    let expected = [
        row("transfer", Direction::Out, 40, 2, 58),
        row("mint", Direction::In, 90, 0, 100),
        row("claim_reward", Direction::In, 10, 0, 10),
    ];
    assert_eq!(seen, expected);
    let theirs = ListMoves { account: Some(other), ..ListMoves::default() };
    let moves = client.token_history("g", &theirs).await.unwrap().moves;
    assert_eq!(moves.iter().map(|row| row.kind.as_str()).collect::<Vec<_>>(), ["treasury_pay", "transfer"]);
    assert_eq!(moves[1].counterpart.as_deref(), Some(&*node.me.to_string()));
    assert_eq!(moves[1].block_id, given.block_id);

    let mut held = client.events(&ListEvents { after: Some(0), follow: false }).await.unwrap();
    let mut told = Vec::new();
    while let Some(event) = within(held.next()).await.unwrap() {
        match event.kind {
            EventKind::TokensMoved { kind, amount, .. } => told.push((kind, amount)),
            EventKind::PolicyChanged { changed, .. } => {
                assert_eq!(changed, update);
                told.push(("policy".to_owned(), 0));
            }
            _ => {}
        }
    }
    let told: Vec<_> = told.iter().map(|(kind, amount)| (kind.as_str(), *amount)).collect();
    assert_eq!(told, [("policy", 0), ("mint", 90), ("transfer", 40), ("treasury_pay", 1)]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_tokens_cannot_do_has_a_code_and_a_remedy() {
    let node = start(1);
    let client = &node.client;
    node.create("g").await;
    let other = SecretKey::from_seed(&[9; 32]).identity();
    let caps = PolicyUpdate { max_total_supply: Some(100), max_account_balance: Some(60), ..PolicyUpdate::default() };
    client.update_policy("g", &caps).await.unwrap();
    client.mint("g", &to(node.me, 60)).await.unwrap();
    assert_eq!(code(client.mint("g", &to(node.me, 1)).await), ProblemCode::AccountCap);
    assert_eq!(code(client.mint("g", &to(other, 41)).await), ProblemCode::SupplyCap);
    assert_eq!(code(client.transfer("g", &to(other, 61)).await), ProblemCode::InsufficientBalance);
    assert_eq!(code(client.transfer("g", &to(node.me, 1)).await), ProblemCode::TransferToOneself);
    assert_eq!(code(client.pay("g", &to(other, 1)).await), ProblemCode::InsufficientTreasury);
    let cap = |cap| PolicyUpdate { max_total_supply: Some(cap), ..PolicyUpdate::default() };
    assert_eq!(code(client.update_policy("g", &cap(59)).await), ProblemCode::CapBelowSupply);
    client.update_policy("g", &cap(60)).await.unwrap();
    assert_eq!(code(client.update_policy("g", &PolicyUpdate::default()).await), ProblemCode::BadField);
    let fee = PolicyUpdate { transfer_fee_bps: Some(5_001), ..PolicyUpdate::default() };
    assert_eq!(code(client.update_policy("g", &fee).await), ProblemCode::BadField);
    assert_eq!(code(client.mint("g", &to(other, 0)).await), ProblemCode::BadField);
    let (status, _, body) = node.request("PATCH", "/api/v1/groups/g/policy", b"{\"faucet\":1}").await;
    assert!(status == 422 || status == 400, "{status}");
    assert!(body.contains("unknown field `faucet`") && body.contains("faucet_amount"), "{body}");

    // A cursor fits its own account and group only.
    let of = |account, cursor: Option<&str>| ListMoves { account, limit: Some(1), cursor: cursor.map(str::to_owned) };
    client.transfer("g", &to(other, 5)).await.unwrap();
    let next = client.token_history("g", &of(None, None)).await.unwrap().next_cursor.unwrap();
    assert_eq!(client.token_history("g", &of(None, Some(&next))).await.unwrap().moves[0].kind, "mint");
    for (account, cursor) in [(Some(other), next.as_str()), (None, "00"), (None, "x")] {
        assert_eq!(code(client.token_history("g", &of(account, Some(cursor))).await), ProblemCode::BadCursor);
    }
    node.stop().await;
}
