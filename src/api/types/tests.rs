//! The forms that scripts rely on, and each bound at its limit and one past it.

use serde_json::json;

use super::*;
use crate::limits;

fn claim(text: &str) -> NewClaim {
    NewClaim { text: text.to_owned(), ..NewClaim::default() }
}

#[test]
fn answers_have_the_documented_keys() {
    let status = Status {
        node_id: "12D3".into(),
        member_id: "12D3KooWMember".into(),
        agents: 0,
        name: "alice".into(),
        version: "0.1.0".into(),
        uptime_s: 3,
        listen: vec!["/ip4/127.0.0.1/tcp/1/p2p/12D3".into()],
        peers: 1,
        groups: 2,
        unsure_groups: 0,
        shut_out_groups: 0,
        stranded_blocks: 0,
        open_purchases: [(PurchaseState::Granted, 2), (PurchaseState::Paid, 1)].into(),
        embedder: None,
        indexing_groups: 0,
        troubled_indexes: 0,
    };
    assert_eq!(
        serde_json::to_value(&status).unwrap(),
        json!({"node_id": "12D3", "member_id": "12D3KooWMember", "agents": 0, "name": "alice", "version": "0.1.0", "uptime_s": 3,
               "listen": ["/ip4/127.0.0.1/tcp/1/p2p/12D3"], "peers": 1, "groups": 2, "unsure_groups": 0, "shut_out_groups": 0, "stranded_blocks": 0, "indexing_groups": 0, "troubled_indexes": 0,
               "open_purchases": {"paid": 1, "granted": 2}, "embedder": null})
    );
    let claim = Claim {
        claim_hash: "ab".into(),
        text: "t".into(),
        title: None,
        tags: vec!["x".into()],
        author: "12D3".into(),
        created_ms: 5,
        parent_hash: None,
        evidence: vec![
            Evidence::Command { command: "make".into(), exit_code: Some(0) },
            Evidence::Link { link: "a:1".into() },
        ],
        supersedes: vec!["cd".into()],
        superseded_by: vec![],
        valid_until_ms: Some(9),
        retracted: false,
        is_final: true,
    };
    let row = json!({"claim_hash": "ab", "text": "t", "title": null, "tags": ["x"], "author": "12D3", "created_ms": 5,
                     "parent_hash": null, "evidence": [{"kind": "command", "command": "make", "exit_code": 0},
                     {"kind": "link", "link": "a:1"}], "supersedes": ["cd"], "superseded_by": [], "valid_until_ms": 9,
                     "retracted": false, "final": true});
    let list = ClaimList { claims: vec![claim.clone()], next_cursor: None };
    assert_eq!(serde_json::to_value(&list).unwrap(), json!({"claims": [row], "next_cursor": null}));
    let mut threaded = row;
    threaded["depth"] = json!(1);
    assert_eq!(serde_json::to_value(ThreadClaim { claim, depth: 1 }).unwrap(), threaded);
    assert_eq!(
        serde_json::to_value(PublishedClaim { claim_hash: "ab".into(), block_id: "cd".into() }).unwrap(),
        json!({"claim_hash": "ab", "block_id": "cd"})
    );
    assert_eq!(
        serde_json::to_value(GroupCreated { group_id: "01".into(), name: "n".into() }).unwrap(),
        json!({"group_id": "01", "name": "n"})
    );
}

#[test]
fn requests_refuse_unknown_keys_and_answers_do_not() {
    let typo = json!({"text": "t", "tag": ["a"]});
    let error = serde_json::from_value::<NewClaim>(typo).unwrap_err().to_string();
    assert!(error.contains("unknown field `tag`"), "{error}");
    let newer = json!({"claim_hash": "ab", "block_id": "cd", "sealed_by": "12D3"});
    assert!(serde_json::from_value::<PublishedClaim>(newer).is_ok());
}

#[test]
fn a_line_of_a_bulk_file_needs_a_text_only() {
    assert_eq!(serde_json::from_value::<NewClaim>(json!({"text": "t"})).unwrap(), claim("t"));
    assert_eq!(serde_json::to_value(claim("t")).unwrap(), json!({"text": "t"}));
}

#[test]
fn every_problem_code_is_its_word_and_an_error_status() {
    for code in ProblemCode::ALL {
        assert_eq!(serde_json::to_value(code).unwrap(), json!(code.as_str()));
        assert!((400..600).contains(&code.status()), "{code:?}");
        assert!(!code.title().is_empty() && !code.title().ends_with('.'));
    }
    assert_eq!(serde_json::from_value::<ProblemCode>(json!("of_tomorrow")).unwrap(), ProblemCode::Unrecognised);
}

#[test]
fn a_problem_is_rfc_9457_with_a_code_and_a_remedy() {
    let problem = Problem::new(ProblemCode::UnknownGroup, "no group `x`", "see `lbm ctl group list`");
    assert_eq!(
        serde_json::to_value(&problem).unwrap(),
        json!({"type": "urn:lbm:problem:unknown_group", "title": "No such group", "status": 404,
               "detail": "no group `x`", "code": "unknown_group", "remedy": "see `lbm ctl group list`"})
    );
    assert_eq!(problem.to_string(), "no group `x`: see `lbm ctl group list`");
}

#[test]
fn each_bound_of_a_claim_holds_at_its_limit_and_not_past_it() {
    let tag = |bytes| vec!["t".repeat(bytes)];
    let long = |bytes: usize| "x".repeat(bytes);
    for fits in [
        claim(&long(limits::CLAIM_TEXT_BYTES)),
        claim("two\nlines\tand a tab"),
        NewClaim { title: Some(long(limits::TITLE_BYTES)), ..claim("t") },
        NewClaim { tags: vec!["a".into(); limits::TAGS], ..claim("t") },
        NewClaim { tags: tag(limits::TAG_BYTES), ..claim("t") },
        NewClaim { parent_hash: Some("0aF".into()), ..claim("t") },
    ] {
        assert_eq!(fits.check(), Ok(()));
    }
    for (refused, code, word) in [
        (claim(&long(limits::CLAIM_TEXT_BYTES + 1)), ProblemCode::TooLarge, "65537 bytes"),
        (claim(" \n "), ProblemCode::BadField, "empty"),
        (claim("a\0b"), ProblemCode::BadField, "NUL byte at byte 1"),
        (NewClaim { title: Some(long(limits::TITLE_BYTES + 1)), ..claim("t") }, ProblemCode::TooLarge, "title"),
        (NewClaim { title: Some("two\nlines".into()), ..claim("t") }, ProblemCode::BadField, "'\\n'"),
        (NewClaim { tags: vec!["a".into(); limits::TAGS + 1], ..claim("t") }, ProblemCode::TooLarge, "21 items"),
        (NewClaim { tags: tag(limits::TAG_BYTES + 1), ..claim("t") }, ProblemCode::TooLarge, "65 bytes"),
        (NewClaim { tags: vec![String::new()], ..claim("t") }, ProblemCode::BadField, "`tags` is empty"),
        (NewClaim { parent_hash: Some("xyz".into()), ..claim("t") }, ProblemCode::BadField, "`parent_hash` is not"),
        (NewClaim { parent_hash: Some(long(65)), ..claim("t") }, ProblemCode::BadField, "`parent_hash` is not"),
    ] {
        let problem = Problem::from(refused.check().unwrap_err());
        assert_eq!(problem.code, code, "{problem}");
        assert!(problem.detail.contains(word), "{problem}");
        assert!(!problem.remedy.is_empty(), "{problem}");
    }
}

#[test]
fn a_bulk_has_one_to_a_thousand_claims_and_names_the_bad_one() {
    let bulk = |count| PublishBulk { claims: vec![claim("t"); count] };
    assert_eq!(bulk(limits::BULK_CLAIMS).check(), Ok(()));
    assert!(matches!(bulk(limits::BULK_CLAIMS + 1).check(), Err((None, FieldError::TooMany { .. }))));
    assert!(matches!(bulk(0).check(), Err((None, FieldError::Empty { .. }))));
    let bad = PublishBulk { claims: vec![claim("t"), claim("")] };
    assert!(matches!(bad.check(), Err((Some(1), FieldError::Empty { field: "text" }))));
}

#[test]
fn names_pages_and_queries_have_bounds() {
    let group = |name: &str, currency: Option<&str>| {
        CreateGroup { name: name.into(), currency: currency.map(str::to_owned) }.check()
    };
    assert_eq!(group("domain:research_1-a", Some("KAT")), Ok(()));
    assert_eq!(group(&"n".repeat(limits::GROUP_NAME_BYTES), None), Ok(()));
    for (name, currency) in
        [("", None), ("a b", None), ("ä", None), ("../x", None), ("n", Some("kat")), ("n", Some("ABCDEFGHIJKLM"))]
    {
        assert!(group(name, currency).is_err(), "{name} {currency:?}");
    }
    assert!(group(&"n".repeat(limits::GROUP_NAME_BYTES + 1), None).is_err());
    let page = |limit| ListClaims { limit: Some(limit), cursor: None }.check().is_ok();
    assert_eq!([0, 1, limits::PAGE_ROWS, limits::PAGE_ROWS + 1].map(page), [false, true, true, false]);
    let query: ContextQuery = serde_json::from_value(json!({"query": "q", "since_ms": 5, "until_ms": 5})).unwrap();
    assert_eq!(query.check(), Err(FieldError::Span));
    assert_eq!(ContextQuery { until_ms: Some(6), ..query.clone() }.check(), Ok(()));
    let top_k = |top_k| ContextQuery { top_k: Some(top_k), since_ms: None, ..query.clone() }.check().is_ok();
    assert_eq!([0, 1, limits::CONTEXT_TOP_K, limits::CONTEXT_TOP_K + 1].map(top_k), [false, true, true, false]);
}

#[test]
fn events_say_their_type_and_a_newer_one_is_no_error() {
    let event = Event { seq: 4, at_ms: 9, kind: EventKind::PeerConnected { peer_id: "12D3".into() } };
    let text = json!({"seq": 4, "at_ms": 9, "type": "peer_connected", "peer_id": "12D3"});
    assert_eq!(serde_json::to_value(&event).unwrap(), text);
    assert_eq!(serde_json::from_value::<Event>(text).unwrap(), event);
    let newer = json!({"seq": 5, "at_ms": 9, "type": "of_tomorrow", "x": 1});
    assert_eq!(serde_json::from_value::<Event>(newer).unwrap().kind, EventKind::Unrecognised);
}
