//! What claims carry besides their words, and which of them are found.

use super::{claim, start, within};
use crate::api::client::Client;
use crate::api::types::{
    ContextQuery, Evidence, NewClaim, ProblemCode, PublishBulk, RecentClaims, ShowThread, Thread, WatchClaims,
    WatchKind,
};
use crate::limits;
use crate::runtime::clock::unix_ms;

async fn publish(client: &Client, claim: &NewClaim) -> String {
    client.publish_claim("g", claim).await.unwrap().claim_hash
}

fn ask(query: &str) -> ContextQuery {
    ContextQuery {
        query: query.into(),
        top_k: None,
        budget_tokens: None,
        since_ms: None,
        until_ms: None,
        tags: vec![],
        author: None,
        thread: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_shows_what_proves_it_and_what_took_its_place() {
    let node = start(1);
    let client = &node.client;
    node.create("g").await;
    let old = publish(client, &claim("the retry limit is three")).await;
    let evidence = vec![
        Evidence::Command { command: "grep RETRY src/limits.rs".into(), exit_code: Some(0) },
        Evidence::Hash { hash: "sha256:00ff".into() },
        Evidence::Link { link: "src/limits.rs:7".into() },
        Evidence::Note { note: "since the last release".into() },
    ];
    let until = unix_ms() + 3_600_000;
    let new = NewClaim {
        evidence: evidence.clone(),
        // Twice the same is once.
        supersedes: vec![old[..10].into(), old.clone()],
        valid_until_ms: Some(until),
        ..claim("the retry limit is five")
    };
    let new = publish(client, &new).await;
    let shown = client.claim("g", &new).await.unwrap();
    assert_eq!(
        (&shown.evidence, shown.valid_until_ms, &shown.supersedes),
        (&evidence, Some(until), &vec![old.clone()])
    );
    assert_eq!(client.claim("g", &old).await.unwrap().superseded_by, std::slice::from_ref(&new));

    let context = client.context("g", &ask("retry limit")).await.unwrap();
    assert_eq!(context.claim_hashes, std::slice::from_ref(&new));
    let item = &context.items[0];
    assert_eq!((&item.evidence, item.valid_until_ms, item.title.as_ref()), (&evidence, Some(until), None));
    assert!(context.context.contains("evidence: command `grep RETRY src/limits.rs` ended with exit code 0\n"));
    client.retract_claim("g", &new).await.unwrap();
    assert_eq!(client.claim("g", &old).await.unwrap().superseded_by, Vec::<String>::new());
    assert_eq!(client.context("g", &ask("retry limit")).await.unwrap().claim_hashes, std::slice::from_ref(&old));

    // A bulk has the same fields.
    let bulk = PublishBulk { claims: vec![NewClaim { supersedes: vec![old.clone()], evidence, ..claim("six") }] };
    let published = client.publish_bulk("g", &bulk).await.unwrap().claim_hashes;
    assert_eq!(client.claim("g", &old).await.unwrap().superseded_by, published);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_proven_or_superseded_so_is_refused() {
    let node = start(1);
    node.create("g").await;
    let note = |bytes: usize| Evidence::Note { note: "n".repeat(bytes) };
    let hash = "ab".repeat(32);
    for (bad, code) in [
        (NewClaim { evidence: vec![note(limits::EVIDENCE_BYTES + 1)], ..claim("x") }, ProblemCode::TooLarge),
        (NewClaim { evidence: vec![note(1); limits::EVIDENCE + 1], ..claim("x") }, ProblemCode::TooLarge),
        (NewClaim { evidence: vec![note(0)], ..claim("x") }, ProblemCode::BadField),
        (NewClaim { evidence: vec![Evidence::Link { link: "a b".into() }], ..claim("x") }, ProblemCode::BadField),
        (NewClaim { evidence: vec![Evidence::Hash { hash: "ä".into() }], ..claim("x") }, ProblemCode::BadField),
        (NewClaim { supersedes: vec![hash.clone(); limits::SUPERSEDES + 1], ..claim("x") }, ProblemCode::TooLarge),
        (NewClaim { supersedes: vec!["xyz".into()], ..claim("x") }, ProblemCode::BadField),
        (NewClaim { supersedes: vec![hash], ..claim("x") }, ProblemCode::NoSuchClaim),
        (NewClaim { supersedes: vec!["0123".into()], ..claim("x") }, ProblemCode::NoSuchClaim),
        (NewClaim { valid_until_ms: Some(unix_ms() - 1), ..claim("x") }, ProblemCode::BadField),
    ] {
        let refused = node.client.publish_claim("g", &bad).await.unwrap_err();
        assert_eq!(refused.problem().unwrap().code, code, "{bad:?}");
    }
    let most = NewClaim { evidence: vec![note(limits::EVIDENCE_BYTES); limits::EVIDENCE], ..claim("x") };
    publish(&node.client, &most).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_context_is_of_one_thread_and_of_what_still_holds() {
    let node = start(1);
    let client = &node.client;
    node.create("g").await;
    let root = publish(client, &claim("the cache is cold after a restart")).await;
    let answer = NewClaim { parent_hash: Some(root.clone()), ..claim("warm the cache with the last hundred queries") };
    let answer = publish(client, &answer).await;
    publish(client, &claim("a cache of compiled templates lies in the build folder")).await;
    let all = client.context("g", &ask("cache")).await.unwrap();
    assert_eq!(all.items.len(), 3);
    let of_thread = ContextQuery { thread: Some(answer[..12].into()), ..ask("cache") };
    let context = client.context("g", &of_thread).await.unwrap();
    assert_eq!(context.claim_hashes.len(), 2);
    assert!(context.claim_hashes.contains(&root) && context.claim_hashes.contains(&answer));
    let elsewhere = ContextQuery { thread: Some("0123".into()), ..ask("cache") };
    let refused = client.context("g", &elsewhere).await.unwrap_err();
    assert_eq!(refused.problem().unwrap().code, ProblemCode::NoSuchClaim);

    let until = unix_ms() + 300;
    let short = NewClaim { valid_until_ms: Some(until), ..claim("the deployment is frozen right now") };
    let short = publish(client, &short).await;
    let mut found = client.context("g", &ask("deployment frozen")).await.unwrap().claim_hashes;
    assert!(found == [short.clone()] || unix_ms() >= until);
    while !found.is_empty() {
        assert!(unix_ms() < until + 30_000, "it is shown after its end");
        found = client.context("g", &ask("deployment frozen")).await.unwrap().claim_hashes;
    }
    assert!(unix_ms() >= until);
    assert_eq!(client.claim("g", &short).await.unwrap().valid_until_ms, Some(until));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_and_what_came_are_read_page_by_page() {
    let node = start(1);
    let client = &node.client;
    node.create("g").await;
    let bulk = PublishBulk { claims: (0..250).map(|n| claim(&format!("claim {n}"))).collect() };
    let published = client.publish_bulk("g", &bulk).await.unwrap().claim_hashes;
    client.retract_claim("g", &published[100]).await.unwrap();
    let mut newest = Vec::new();
    let mut query = RecentClaims { limit: Some(60), ..RecentClaims::default() };
    loop {
        let page = client.recent_claims("g", &query).await.unwrap();
        newest.extend(page.claims.into_iter().map(|claim| (claim.created_ms, claim.claim_hash)));
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            break;
        }
    }
    assert!(newest.is_sorted_by(|a, b| a.0 > b.0 || a.0 == b.0 && a.1 > b.1));
    let mut expected: Vec<&String> = published.iter().filter(|hash| **hash != published[100]).collect();
    let mut found: Vec<&String> = newest.iter().map(|(_, hash)| hash).collect();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
    let other = RecentClaims { cursor: Some("00".repeat(48)), ..RecentClaims::default() };
    let refused = client.recent_claims("g", &other).await.unwrap_err();
    assert_eq!(refused.problem().unwrap().code, ProblemCode::BadCursor);

    let (mut came, mut query) = (Vec::new(), WatchClaims { limit: Some(90), ..WatchClaims::default() });
    loop {
        let page = client.watch_claims("g", &query).await.unwrap();
        if page.claims.is_empty() {
            break;
        }
        came.extend(page.claims.into_iter().map(|watched| (watched.kind, watched.claim.claim_hash)));
        query.cursor = Some(page.next_cursor);
    }
    let mut expected: Vec<_> = published.iter().map(|hash| (WatchKind::Claim, hash.clone())).collect();
    expected.push((WatchKind::Retracted, published[100].clone()));
    assert_eq!(came, expected);
    // One that waits is answered when the daemon stops.
    let waiting = WatchClaims { wait_ms: Some(limits::WATCH_WAIT_MS), ..query.clone() };
    let (asking, client) = (node.client.clone(), node.client.clone());
    let before = node.daemon.node.events.waiting();
    let waits = tokio::spawn(async move { asking.watch_claims("g", &waiting).await });
    within(async {
        while node.daemon.node.events.waiting() == before {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut stream = client.follow_claims("g", &WatchClaims::default()).await.unwrap();
    node.stop().await;
    let refused = within(waits).await.unwrap().unwrap_err();
    assert_eq!(refused.problem().map(|problem| problem.code), Some(ProblemCode::ShuttingDown), "{refused}");
    assert_eq!(within(stream.next()).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_thread_comes_in_pages_that_begin_around_the_claim() {
    let node = start(1);
    let client = &node.client;
    node.create("g").await;
    let root = publish(client, &claim("root")).await;
    let under = |parent: &str, text: String| NewClaim { parent_hash: Some(parent.into()), ..claim(&text) };
    let crowd = (0..300).map(|number| under(&root, format!("crowd {number}"))).collect();
    client.publish_bulk("g", &PublishBulk { claims: crowd }).await.unwrap();
    // Behind all of them, three below the root, with an answer of its own.
    let mut way = vec![root.clone()];
    for depth in 1..=4 {
        let next = publish(client, &under(&way[depth - 1], format!("depth {depth}"))).await;
        way.push(next);
    }
    let page = async |limit, cursor| {
        let query = ShowThread { limit: Some(limit), cursor };
        client.thread("g", &way[3], &query).await.unwrap()
    };
    let hashes =
        |thread: &Thread| -> Vec<String> { thread.claims.iter().map(|claim| claim.claim.claim_hash.clone()).collect() };
    let first = page(5, None).await;
    assert_eq!((hashes(&first), &first.root_hash, first.left_out), (way.clone(), &root, 300));
    let depths: Vec<usize> = first.claims.iter().map(|claim| claim.depth).collect();
    assert_eq!(depths, [0, 1, 2, 3, 4]);
    assert_eq!(hashes(&page(1, None).await), [way[3].clone()], "itself, whatever else");
    // Page by page nothing is missed and nothing is there twice.
    let (mut all, mut cursor) = (hashes(&first), first.next_cursor);
    while cursor.is_some() {
        let next = page(70, cursor).await;
        all.extend(hashes(&next));
        cursor = next.next_cursor;
    }
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!((count, all.len()), (305, 305));
    let whole = client.thread("g", &way[3], &ShowThread::default()).await.unwrap();
    assert_eq!((whole.claims.len(), whole.left_out, whole.next_cursor), (305, 0, None));
    for bad in ["00", "zz"] {
        let query = ShowThread { limit: None, cursor: Some(bad.into()) };
        let refused = client.thread("g", &root, &query).await.unwrap_err();
        assert_eq!(refused.problem().unwrap().code, ProblemCode::BadCursor);
    }
    let most = ShowThread { limit: Some(limits::PAGE_ROWS + 1), cursor: None };
    assert_eq!(client.thread("g", &root, &most).await.unwrap_err().problem().unwrap().code, ProblemCode::BadField);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_context_says_where_the_filters_let_nothing_pass_and_finds_emoji() {
    let node = start(1);
    let client = &node.client;
    node.create("g").await;
    let launched = publish(client, &claim("the release is out 🚀")).await;
    publish(client, &claim("the release is late")).await;
    let context = client.context("g", &ask("🚀")).await.unwrap();
    assert_eq!(context.claim_hashes, [launched]);
    let digits = serde_json::to_string(&context.items[0].score).unwrap();
    assert!(digits.len() <= 11, "as an f32 reads: {digits}");
    for ask in [
        ContextQuery { since_ms: Some(4_070_908_800_000), ..ask("release") },
        ContextQuery { tags: vec!["none".into()], ..ask("release") },
    ] {
        let context = client.context("g", &ask).await.unwrap();
        assert!(context.items.is_empty() && context.context.contains("that were asked for"), "{}", context.context);
    }
    let unrelated = client.context("g", &ContextQuery { since_ms: Some(0), ..ask("zebra") }).await.unwrap();
    assert!(unrelated.context.contains("related"), "{}", unrelated.context);
    node.stop().await;
}
