//! What the code emits has the form that the CDDL describes, and what has another form is told from it.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use cddl::ast::CDDL;
use ciborium::Value;
use lbm::cbor;
use lbm::chain::Payload;
use lbm::chain::transaction::{CLAIM_BODY_BYTES, GRANT_BYTES};
use lbm::limits;
use lbm::package::{CHUNK_BYTES, PATH_HASHES};

use crate::rules::Rules;
use crate::story::{claim_bodies, story};

/// The rules of all files.
pub fn all_rules() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
        let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap();
        [
            "block.cddl",
            "claim.cddl",
            "presence.cddl",
            "delegation.cddl",
            "sync.cddl",
            "market.cddl",
            "announcement.cddl",
            "market-messages.cddl",
        ]
        .map(read)
        .join("\n")
    });
    &TEXT
}

fn check(rule: &str, bytes: &[u8]) -> Result<(), String> {
    static PARSED: LazyLock<CDDL<'static>> = LazyLock::new(|| cddl::cddl_from_str(all_rules(), true).unwrap());
    Rules::new(&PARSED).check(rule, bytes)
}

pub fn accepts(rule: &str, name: &str, bytes: &[u8]) {
    if let Err(error) = check(rule, bytes) {
        panic!("{name} is no {rule}: {error}\n{}", hex::encode(bytes));
    }
}

#[test]
fn every_signed_structure_has_the_form_of_its_rule() {
    let story = story();
    for told in &story.blocks {
        accepts("body", told.name, told.block.bytes());
        accepts("block", told.name, &cbor::encode(&told.block.to_unverified()));
    }
    for body in claim_bodies() {
        accepts("claim-body", &body.text, &body.encode());
    }
    for record in story.presences() {
        accepts("presence-body", "a presence", record.bytes());
        accepts("presence", "a presence", &cbor::encode(&record.to_unverified()));
    }
    for (_, signed) in story.delegations() {
        accepts("delegation-body", "a delegation", &signed.body);
        accepts("delegation", "a delegation", &cbor::encode(&signed));
    }
    accepts("reserved-payload", "a sealed payload", &cbor::encode(&Payload::Sealed(1, vec![1, 2, 3])));
}

#[test]
fn every_message_has_the_form_of_its_rule() {
    let story = story();
    for (name, request) in story.requests() {
        accepts("request", name, &request.encode());
    }
    for (name, response) in story.responses() {
        accepts("response", name, &response.encode());
    }
}

/// A place in a value: element of an array, or the value of a map's entry, from the outside in.
pub type Place<'a> = &'a [usize];

pub fn at<'a>(value: &'a mut Value, path: Place<'_>) -> &'a mut Value {
    let Some((first, rest)) = path.split_first() else { return value };
    let inner = match value {
        Value::Array(elements) => &mut elements[*first],
        Value::Map(entries) => &mut entries[*first].1,
        other => panic!("no place {first} in {other:?}"),
    };
    at(inner, rest)
}

pub fn bytes(length: usize) -> Value {
    Value::Bytes(vec![7; length])
}

pub fn chars(length: usize) -> Value {
    Value::Text("x".repeat(length))
}

pub fn word(word: &str) -> Value {
    Value::Text(word.to_owned())
}

pub fn number(number: i64) -> Value {
    Value::Integer(number.into())
}

pub fn list(element: &Value, count: usize) -> Value {
    Value::Array(vec![element.clone(); count])
}

pub fn map(entry: &str, value: Value) -> Value {
    Value::Map(vec![(word(entry), value)])
}

/// A good encoding with one place changed must be refused by its rule; and the good one must be accepted, so that it is the
/// change that is refused.
pub fn refuses(rule: &str, good: &[u8], wrong: &[(&str, Place<'_>, Value)]) {
    accepts(rule, "the unchanged one", good);
    let good: Value = ciborium::from_reader(good).unwrap();
    for (why, path, new) in wrong {
        let mut bad = good.clone();
        let place = at(&mut bad, path);
        assert_ne!(place, new, "{rule}, {why}: nothing is changed");
        *place = new.clone();
        assert!(check(rule, &cbor::encode(&bad)).is_err(), "{rule}: {why} was accepted");
    }
    if let Value::Array(elements) = good {
        let longer = Value::Array(elements.iter().cloned().chain([Value::Null]).collect());
        assert!(check(rule, &cbor::encode(&longer)).is_err(), "{rule}: an element too many was accepted");
        let shorter = Value::Array(elements[1..].to_vec());
        assert!(check(rule, &cbor::encode(&shorter)).is_err(), "{rule}: an element too few was accepted");
    }
}

#[allow(clippy::too_many_lines, reason = "a list, in its sequence")]
#[test]
fn bodies_of_another_form_are_told_apart() {
    let story = story();
    let woven = story.told("woven").block.bytes();
    let act = map("retract", Value::Array(vec![bytes(32)]));
    let genesis = map("genesis", Value::Array(vec![word("a"), word("KAT"), bytes(32)]));
    let wrong: &[(&str, Place<'_>, Value)] = &[
        ("another version", &[0], number(2)),
        ("no group", &[1], Value::Null),
        ("a short group id", &[1], bytes(31)),
        ("an author in words", &[2], chars(32)),
        ("a negative number", &[3], number(-1)),
        ("number 0 with a block before it", &[3], number(0)),
        ("no block before number 2", &[4], Value::Null),
        ("a long id", &[4], bytes(33)),
        ("65 parents", &[5], list(&bytes(32), 65)),
        ("parents that are no list", &[5], bytes(32)),
        ("height 0", &[6], number(0)),
        ("time in words", &[7], chars(3)),
        ("an unknown payload", &[8], map("other", list(&act, 1))),
        ("no transaction", &[8, 0], list(&act, 0)),
        ("101 transactions", &[8, 0], list(&act, 101)),
        ("an unknown act", &[8, 0, 0], map("other", Value::Array(vec![bytes(32)]))),
        ("a second genesis", &[8, 0, 0], genesis),
        ("a short object hash", &[8, 0, 0, 0, 0], bytes(31)),
        ("an empty object", &[8, 0, 0, 0, 1], number(0)),
        ("an object too long", &[8, 0, 0, 0, 1], number(75_529)),
        ("a parent in words", &[8, 0, 0, 0, 2], chars(32)),
        ("an unknown role", &[8, 0, 2, 0, 1], word("owner")),
    ];
    refuses("body", woven, wrong);
    refuses("body", story.told("refused").block.bytes(), &[("number 1 without one before it", &[3], number(1))]);
    refuses(
        "body",
        story.told("knowledge").block.bytes(),
        &[("an experience too long", &[8, 0, 2, 0, 1], number(1_048_577))],
    );
    let wrong: &[(&str, Place<'_>, Value)] = &[
        ("a rule for the fee past its bound", &[8, 0, 0, 0, 3], number(5_001)),
        ("a negative rule", &[8, 0, 0, 0, 1], number(-1)),
        ("a rule in words", &[8, 0, 0, 0, 2], chars(1)),
        ("a number for listed", &[8, 0, 0, 0, 0], number(1)),
        ("an unknown rule", &[8, 0, 0, 0], map("price", number(1))),
        ("a payment of nothing", &[8, 0, 1, 0, 1], number(0)),
        ("a payment past the bound", &[8, 0, 1, 0, 1], Value::Integer((1_u64 << 63).into())),
        ("a payment to nobody", &[8, 0, 1, 0, 0], Value::Null),
        ("a short text hash", &[8, 0, 3, 0, 3], bytes(31)),
    ];
    refuses("body", story.told("economy").block.bytes(), wrong);
    let wrong: &[(&str, Place<'_>, Value)] = &[
        ("a task without a name", &[8, 0, 0, 0, 0], chars(0)),
        ("a name of 65 characters", &[8, 0, 0, 0, 0], chars(65)),
        ("a name with a space", &[8, 0, 0, 0, 0], word("a b")),
        ("a title of 257 bytes", &[8, 0, 0, 0, 1], chars(257)),
        ("no title", &[8, 0, 0, 0, 1], chars(0)),
        ("a description of 4,097 bytes", &[8, 0, 0, 0, 2], chars(4_097)),
        ("due in words", &[8, 0, 0, 0, 3], chars(3)),
        ("priority 10", &[8, 0, 0, 0, 4], number(10)),
        ("33 dependencies", &[8, 0, 0, 0, 5], list(&chars(1), 33)),
        ("a short assignee", &[8, 0, 1, 0, 6], bytes(31)),
        ("a negative reward", &[8, 0, 0, 0, 7], number(-1)),
    ];
    refuses("body", story.told("tasks").block.bytes(), wrong);
    let wrong: &[(&str, Place<'_>, Value)] = &[
        ("given to nobody", &[8, 0, 0, 0, 1], Value::Null),
        ("a lease below a second", &[8, 0, 0, 0, 2], number(999)),
        ("a lease above 30 days", &[8, 0, 1, 0, 2], number(2_592_000_001)),
        ("an attempt of five bytes", &[8, 0, 1, 0, 1], number(1 << 32)),
        ("a short result", &[8, 0, 2, 0, 2], bytes(31)),
        ("a result hash in words", &[8, 0, 2, 0, 3], chars(32)),
        ("an error of 1,025 bytes", &[8, 0, 4, 0, 2], chars(1_025)),
    ];
    refuses("body", story.told("work").block.bytes(), wrong);
    let wrong: &[(&str, Place<'_>, Value)] = &[
        ("a group", &[1], bytes(32)),
        ("number 1", &[3], number(1)),
        ("a block before it", &[4], bytes(32)),
        ("a parent", &[5], list(&bytes(32), 1)),
        ("height 1", &[6], number(1)),
        ("another act first", &[8, 0, 0], act),
        ("a name of 129 characters", &[8, 0, 0, 0, 0], chars(129)),
        ("no name", &[8, 0, 0, 0, 0], chars(0)),
        ("a name with a space", &[8, 0, 0, 0, 0], word("a b")),
        ("a currency in small letters", &[8, 0, 0, 0, 1], word("kat")),
        ("a currency of 13 letters", &[8, 0, 0, 0, 1], word("KATKATKATKATK")),
        ("a short secret", &[8, 0, 0, 0, 2], bytes(31)),
    ];
    refuses("body", story.told("founding").block.bytes(), wrong);
    let block = cbor::encode(&story.told("woven").block.to_unverified());
    refuses("block", &block, &[("a short signature", &[1], bytes(63)), ("a body in words", &[0], chars(9))]);
}

#[test]
fn acts_of_the_market_of_another_form_are_told_apart() {
    let story = story();
    let wrong: &[(&str, Place<'_>, Value)] = &[
        ("an offer without a title", &[8, 0, 0, 0, 0], chars(0)),
        ("a description of 4,097 bytes", &[8, 0, 0, 0, 1], chars(4_097)),
        ("21 tags", &[8, 0, 0, 0, 2], list(&chars(1), 21)),
        ("a price of 2^63", &[8, 0, 0, 0, 3], Value::Integer((1_u64 << 63).into())),
        ("a split of nothing", &[8, 0, 0, 0, 4, 0, 1], number(0)),
        ("17 splits", &[8, 0, 0, 0, 4], list(&Value::Array(vec![bytes(32), number(1)]), 17)),
        ("a royalty of more than all", &[8, 0, 0, 0, 5, 0, 1], number(10_001)),
        ("expiry in words", &[8, 0, 0, 0, 6], chars(1)),
        ("another time to settle", &[8, 0, 0, 0, 7], word("soon")),
        ("less than a minute to grant", &[8, 0, 0, 0, 8], number(59_999)),
        ("less than fifteen minutes to dispute", &[8, 0, 0, 0, 9], number(899_999)),
        ("an empty package", &[8, 0, 0, 0, 10, 1], number(0)),
        ("a package too long", &[8, 0, 0, 0, 10, 1], number(10_485_761)),
        ("a short package hash", &[8, 0, 0, 0, 10, 0], bytes(31)),
        ("a short key commitment", &[8, 0, 0, 0, 10, 2], bytes(31)),
    ];
    refuses("body", story.told("offer on another").block.bytes(), wrong);
    let wrong: &[(&str, Place<'_>, Value)] = &[
        ("an order that is none", &[8, 0, 0, 0, 0, 0], bytes(160)),
        ("an order in words", &[8, 0, 0, 0, 0, 0], chars(9)),
        ("an order with a short signature", &[8, 0, 0, 0, 0, 1], bytes(63)),
    ];
    refuses("body", story.told("bought").block.bytes(), wrong);
    refuses("body", story.told("granted").block.bytes(), &[("a short sealed key", &[8, 0, 0, 0, 1], bytes(79))]);
    let wrong: &[(&str, Place<'_>, Value)] = &[
        ("a short secret", &[8, 0, 0, 0, 1], bytes(31)),
        ("a chunk of nothing", &[8, 0, 0, 0, 2, 1], bytes(0)),
        ("a chunk too long", &[8, 0, 0, 0, 2, 1], bytes(65_553)),
        ("a way of nine hashes", &[8, 0, 0, 0, 2, 2], list(&bytes(32), 9)),
        ("a short purchase id", &[8, 0, 0, 0, 0], bytes(31)),
    ];
    refuses("body", story.told("disputed").block.bytes(), wrong);
}

#[test]
fn claims_of_another_form_are_told_apart() {
    let wrong: &[(&str, Place<'_>, Value)] = &[
        ("17 superseded claims", &[8, 0, 0, 0, 4], list(&bytes(32), 17)),
        ("a short superseded claim", &[8, 0, 0, 0, 4, 0], bytes(31)),
        ("no list of superseded claims", &[8, 0, 0, 0, 4], Value::Null),
    ];
    refuses("body", story().told("revised").block.bytes(), wrong);
    let [good, ..] = claim_bodies();
    let wrong: &[(&str, Place<'_>, Value)] = &[
        ("a title too long", &[0], chars(257)),
        ("an empty title", &[0], chars(0)),
        ("no text", &[1], chars(0)),
        ("a text too long", &[1], chars(65_537)),
        ("a text in bytes", &[1], bytes(5)),
        ("21 tags", &[2], list(&chars(1), 21)),
        ("a tag too long", &[2, 0], chars(65)),
        ("no list of evidence", &[3], Value::Null),
        ("valid until words", &[4], chars(3)),
    ];
    refuses("claim-body", &good.encode(), wrong);
    let [.., good] = claim_bodies();
    let note = map("note", word("n"));
    let wrong: &[(&str, Place<'_>, Value)] = &[
        ("nine pieces of evidence", &[3], list(&note, 9)),
        ("evidence of an unknown kind", &[3, 0], map("oath", word("n"))),
        ("evidence in words alone", &[3, 0], word("n")),
        ("a command of nothing", &[3, 0, 0, 0], chars(0)),
        ("a command of 1,025 bytes", &[3, 0, 0, 0], chars(1_025)),
        ("a negative exit code", &[3, 0, 0, 1], number(-1)),
        ("an exit code of five bytes", &[3, 0, 0, 1], number(1 << 32)),
        ("a hash of two words", &[3, 2, 0], word("a b")),
        ("a link of 1,025 bytes", &[3, 3, 0], chars(1_025)),
        ("an empty note", &[3, 4, 0], chars(0)),
        ("a negative time", &[4], number(-1)),
    ];
    refuses("claim-body", &good.encode(), wrong);
}

#[test]
fn presences_of_another_form_are_told_apart() {
    let wrong: &[(&str, Place<'_>, Value)] = &[
        ("another version", &[0], number(2)),
        ("a short group id", &[1], bytes(31)),
        ("a member in words", &[2], chars(32)),
        ("an unknown status", &[3], word("away")),
        ("metadata in bytes", &[4], bytes(5)),
        ("metadata too long", &[4], chars(4_097)),
        ("time in words", &[5], chars(3)),
    ];
    for record in story().presences() {
        refuses("presence-body", record.bytes(), wrong);
        let sent = cbor::encode(&record.to_unverified());
        refuses("presence", &sent, &[("a short signature", &[1], bytes(63)), ("a body in words", &[0], chars(9))]);
    }
}

#[test]
fn delegations_of_another_form_are_told_apart() {
    let wrong: &[(&str, Place<'_>, Value)] = &[
        ("another version", &[0], number(2)),
        ("a short group id", &[1], bytes(31)),
        ("an agent in words", &[2], chars(32)),
        ("no node", &[3], Value::Null),
        ("a beginning in words", &[4], chars(3)),
        ("no end", &[5], Value::Null),
    ];
    for (_, signed) in story().delegations() {
        refuses("delegation-body", &signed.body, wrong);
        refuses("delegation", &cbor::encode(&signed), &[("a short signature", &[1], bytes(63))]);
    }
}

#[test]
fn messages_of_another_form_are_told_apart() {
    let story = story();
    let tip = Value::Array(vec![number(1), bytes(32)]);
    let requests = story.requests();
    let request = |name: &str| requests.iter().find(|(other, _)| *other == name).unwrap().1.encode();
    refuses(
        "request",
        &request("probe"),
        &[
            ("a short digest", &[0, 1], bytes(31)),
            ("a short group id", &[0, 0], bytes(31)),
            ("another word", &[], map("prod", Value::Array(vec![bytes(32), bytes(32)]))),
        ],
    );
    refuses(
        "request",
        &request("pull, of two authors"),
        &[
            ("17 tips", &[0, 1, 0, 1], list(&tip, 17)),
            ("a tip without an id", &[0, 1, 0, 1, 0], Value::Array(vec![number(1)])),
            ("an author without tips", &[0, 1, 0], Value::Array(vec![bytes(32)])),
        ],
    );
    refuses("request", &request("want_blocks"), &[("257 ids", &[0, 1], list(&bytes(32), 257))]);
    let place = Value::Array(vec![bytes(32), number(0)]);
    refuses(
        "request",
        &request("want_objects"),
        &[
            ("257 places", &[0, 1], list(&place, 257)),
            ("a short block id", &[0, 1, 0, 0], bytes(31)),
            ("an index of five bytes", &[0, 1, 0, 1], number(1 << 32)),
            ("a hash", &[0, 1, 0], bytes(32)),
        ],
    );
    refuses(
        "request",
        &request("push"),
        &[("a short signature", &[0, 1, 0, 1], bytes(63)), ("an object in words", &[0, 2, 0], chars(3))],
    );
    refuses("request", &request("have"), &[("a negative number", &[0, 1, 0, 1, 0], number(-1))]);
    let record = Value::Array(vec![bytes(9), bytes(64)]);
    refuses(
        "request",
        &request("presences"),
        &[("257 records", &[0, 1], list(&record, 257)), ("a short signature", &[0, 1, 0, 1], bytes(63))],
    );
    refuses(
        "request",
        &request("acting"),
        &[("65 delegations", &[0, 1], list(&record, 65)), ("a short signature", &[0, 1, 0, 1], bytes(63))],
    );
    let responses = story.responses();
    let response = |name: &str| responses.iter().find(|(other, _)| *other == name).unwrap().1.encode();
    refuses(
        "response",
        &response("batch, the last"),
        &[
            ("neither more nor not", &[0, 3], Value::Null),
            ("an end without an id", &[0, 2, 0, 1], Value::Array(vec![number(1)])),
        ],
    );
    refuses(
        "response",
        &response("peers"),
        &[
            ("65 peers", &[0], list(&Value::Array(vec![bytes(32), Value::Array(vec![])]), 65)),
            ("five addresses", &[0, 0, 1], list(&chars(3), 5)),
            ("a long address", &[0, 0, 1, 0], chars(97)),
        ],
    );
    refuses("response", &response("same"), &[("another word", &[], word("equal"))]);
    refuses("response", &response("refused, busy"), &[("a pause in words", &[0, 0], chars(1))]);
    refuses("response", &response("refused, failed"), &[("another word", &[0], word("other"))]);
}

#[test]
fn no_rule_is_left_over() {
    let parsed = cddl::cddl_from_str(all_rules(), true).unwrap();
    let roots = [
        "block",
        "claim-body",
        "presence",
        "delegation",
        "request",
        "response",
        "reserved-payload",
        "announcement",
        "market-request",
        "market-response",
    ];
    for name in Rules::new(&parsed).names() {
        let uses = all_rules().lines().map(|line| line.split(';').next().unwrap_or_default());
        let is_word = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
        let uses = uses.flat_map(|line| line.split(|c| !is_word(c))).filter(|word| *word == name).count();
        assert!(uses > 1 || roots.contains(&name), "the rule {name} is used by none");
    }
}

#[test]
fn the_bounds_in_the_rules_are_the_limits() {
    let tags = limits::TAGS;
    for bound in [
        format!("parents: [*{} block-id]", limits::BLOCK_PARENTS),
        format!("plain: [1*{} act]", limits::BLOCK_TRANSACTIONS),
        format!("*{} act] }}", limits::BLOCK_TRANSACTIONS - 1),
        format!("name: tstr .regexp \"[A-Za-z0-9:_-]{{1,{}}}\"", limits::GROUP_NAME_BYTES),
        format!("currency: tstr .regexp \"[A-Z0-9]{{1,{}}}\"", limits::CURRENCY_BYTES),
        format!("size: 1..{CLAIM_BODY_BYTES},"),
        format!("size: 1..{}]", limits::EXPERIENCE_BYTES),
        format!("transfer_fee_bps: 0..{},", limits::TRANSFER_FEE_BPS),
        format!("amount = 1..{}", limits::AMOUNT_MAX),
        format!("amount-or-none = 0..{}", limits::AMOUNT_MAX),
        format!("priority: 0..{},", limits::TASK_PRIORITY),
        format!("depends_on: [*{} task-id]", limits::TASK_DEPENDENCIES),
        format!("task-id = tstr .regexp \"[A-Za-z0-9._:-]{{1,{}}}\"", limits::TASK_ID_BYTES),
        format!("task-description = tstr .size (1..{})", limits::TASK_DESCRIPTION_BYTES),
        format!("error-message = tstr .size (1..{})", limits::ERROR_MESSAGE_BYTES),
        format!("lease = {}..{} ", limits::TASK_LEASE_MS.start(), limits::TASK_LEASE_MS.end()),
        format!("splits: [*{} split]", limits::OFFER_SPLITS),
        format!("royalties: [*{} royalty]", limits::OFFER_ROYALTIES),
        format!("grant_within_ms: {}..{},", limits::OFFER_GRANT_MS.start(), limits::OFFER_GRANT_MS.end()),
        format!("dispute_within_ms: {}..{},", limits::OFFER_DISPUTE_MS.start(), limits::OFFER_DISPUTE_MS.end()),
        format!("part = 1..{} ", limits::WHOLE_BPS),
        format!("content_bytes: 1..{},", limits::PACKAGE_BYTES),
        format!("chunk: bstr .size (1..{CHUNK_BYTES}),"),
        format!("path: [*{PATH_HASHES} tree-hash]"),
        format!("sealed_key: bstr .size {GRANT_BYTES}]"),
        format!(
            "at most {} bytes\n  signature: bstr .size 64,              ; Ed25519 (RFC 8032) by the buyer",
            limits::ORDER_BYTES
        ),
        format!("offer-description = tstr .size (1..{})", limits::OFFER_DESCRIPTION_BYTES),
        format!("title = tstr .size (1..{})", limits::TITLE_BYTES),
        format!("words = tstr .size (1..{})", limits::CLAIM_TEXT_BYTES),
        format!("tags: [*{tags} tag]"),
        format!("tag = tstr .size (1..{})", limits::TAG_BYTES),
        format!("frontier: [*{} author-tips]", limits::GROUP_MEMBERS),
        format!("ids: [*{} block-id]", limits::WANT_IDS),
        format!("objects: [*{} object-at]", limits::WANT_IDS),
        format!("blocks: [*{} sent-block]", limits::BATCH_BLOCKS),
        format!("objects: [*{} object]", limits::BATCH_OBJECTS),
        format!("tips: [*{} line-end]", limits::GROUP_MEMBERS),
        format!("reached: [*{} line-end]", limits::BATCH_BLOCKS),
        format!("records: [*{} sent-presence]", limits::PRESENCE_RECORDS),
        format!("delegations: [*{} sent-delegation]", limits::DELEGATIONS),
        format!("json-object = tstr .size (2..{})", limits::PRESENCE_METADATA_BYTES),
        format!("tips: [*{} tip]", limits::TIPS_PER_AUTHOR),
    ] {
        assert!(all_rules().contains(&bound), "the rules do not say {bound}");
    }
}
