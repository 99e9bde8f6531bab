//! Announcements and the messages of `/lbm/market/1`: their vectors and their forms.

use ciborium::Value;
use lbm::announcement::{self, Announcement, Opened, SIGNATURE_DOMAIN, Verified};
use lbm::cbor;
use lbm::limits;
use lbm::wire::market::{Request, Response};
use serde_json::json;

use crate::offers::{announcements, requests, responses};
use crate::schema::{Place, accepts, all_rules, at, bytes, chars, list, map, number, refuses, word};
use crate::story::{key, story};
use crate::vectors::{bytes as unhex, kept, pin};

fn fields(record: &Verified) -> serde_json::Value {
    let Announcement { group, offer, seller, time_ms, addresses, says } = record.announcement();
    json!({"group": group, "offer": offer, "seller": seller, "time_ms": time_ms, "addresses": addresses, "says": says})
}

#[test]
fn announcements_are_those_of_the_vectors() {
    let story = story();
    let made = announcements(&story);
    let records: Vec<_> = made
        .iter()
        .map(|record| {
            let signature = hex::encode(record.to_unverified().signature);
            json!({"fields": fields(record), "body": hex::encode(record.bytes()), "signature": signature})
        })
        .collect();
    pin("announcement.json", &json!({"records": records, "refused": refused(&made)}));
    // What is written in the file is enough to check the records.
    let kept = kept("announcement.json");
    let sent = |record: &serde_json::Value| {
        announcement::Unverified::new(unhex(&record["body"]), unhex(&record["signature"]).try_into().unwrap())
    };
    for record in kept["records"].as_array().unwrap() {
        assert_eq!(fields(&sent(record).open().unwrap().verify().unwrap()), record["fields"]);
    }
    for record in kept["refused"].as_array().unwrap() {
        assert!(sent(record).open().and_then(Opened::verify).is_err(), "{}", record["why"]);
    }
}

/// A record changed in one place: signed again as it is then, or not.
fn refused(made: &[Verified]) -> Vec<serde_json::Value> {
    let good = made.iter().find(|record| record.announcement().offered().is_some()).unwrap();
    let mut people = ["alice", "bob", "carol"].map(key).into_iter();
    let seller = people.find(|key| key.identity() == good.announcement().seller).unwrap();
    let mut refused = Vec::new();
    let mut signed = |why: &str, body: Vec<u8>| {
        let signature = hex::encode(seller.sign(SIGNATURE_DOMAIN, &body));
        refused.push(json!({"why": why, "body": hex::encode(&body), "signature": signature}));
    };
    let changed = |path: Place<'_>, new: Value| {
        let mut body: Value = ciborium::from_reader(good.bytes()).unwrap();
        *at(&mut body, path) = new;
        cbor::encode(&body)
    };
    signed("another version", changed(&[0], number(2)));
    signed("a short offer id", changed(&[2], bytes(31)));
    signed(
        "signed by another than its seller",
        changed(&[3], Value::Bytes(key("carol").identity().as_bytes().to_vec())),
    );
    signed("a seller whose key is of small order", changed(&[3], bytes(32)));
    signed("five addresses", changed(&[5], list(&word("/ip4/192.0.2.7/tcp/1"), 5)));
    signed("an address of nothing", changed(&[5, 0], word("")));
    signed("an address with a space", changed(&[5, 0], word("/ip4/192.0.2.7 /tcp/1")));
    signed("an unknown word", changed(&[6], word("sold")));
    signed("a group without a name", changed(&[6, 0, 0], word("")));
    signed("a currency in small letters", changed(&[6, 0, 1], word("kat")));
    signed("an offer without a title", changed(&[6, 0, 2, 0], word("")));
    signed("a package of nothing", changed(&[6, 0, 2, 10, 1], number(0)));
    signed("a trailing byte", [good.bytes(), &[0]].concat());
    let as_presence = seller.sign(lbm::presence::SIGNATURE_DOMAIN, good.bytes());
    let body = hex::encode(good.bytes());
    refused.push(json!({"why": "signed for another purpose", "body": body, "signature": hex::encode(as_presence)}));
    refused
}

#[test]
fn messages_are_those_of_the_vectors() {
    let story = story();
    let (requests, responses) = (requests(&story), responses(&story));
    let of = |name: &str, bytes: Vec<u8>| json!({"name": name, "bytes": hex::encode(bytes)});
    let made = json!({
        "requests": requests.iter().map(|(name, request)| of(name, request.encode())).collect::<Vec<_>>(),
        "responses": responses.iter().map(|(name, response)| of(name, response.encode())).collect::<Vec<_>>(),
    });
    pin("market-messages.json", &made);
    let kept = kept("market-messages.json");
    for (kept, (_, made)) in kept["requests"].as_array().unwrap().iter().zip(requests) {
        assert_eq!(Request::decode(&unhex(&kept["bytes"])), Ok(made));
    }
    for (kept, (_, made)) in kept["responses"].as_array().unwrap().iter().zip(responses) {
        assert_eq!(Response::decode(&unhex(&kept["bytes"])), Ok(made));
    }
}

#[test]
fn everything_has_the_form_of_its_rule() {
    let story = story();
    for record in announcements(&story) {
        accepts("announcement-body", "an announcement", record.bytes());
        accepts("announcement", "an announcement", &record.to_unverified().encode());
    }
    for (name, request) in requests(&story) {
        accepts("market-request", name, &request.encode());
    }
    for (name, response) in responses(&story) {
        accepts("market-response", name, &response.encode());
    }
}

#[test]
fn another_form_is_told_apart() {
    let story = story();
    for record in announcements(&story) {
        let wrong: &[(&str, Place<'_>, Value)] = &[
            ("another version", &[0], number(2)),
            ("a short group id", &[1], bytes(31)),
            ("a short offer id", &[2], bytes(31)),
            ("a seller in words", &[3], chars(32)),
            ("time in words", &[4], chars(3)),
            ("an unknown word", &[6], word("sold")),
        ];
        refuses("announcement-body", record.bytes(), wrong);
        if record.announcement().offered().is_some() {
            let wrong: &[(&str, Place<'_>, Value)] = &[
                ("a name of 129 characters", &[6, 0, 0], chars(129)),
                ("a currency of 13 letters", &[6, 0, 1], word("KATKATKATKATK")),
                ("a long title", &[6, 0, 2, 0], chars(257)),
                ("no package", &[6, 0, 2, 10], Value::Null),
            ];
            refuses("announcement-body", record.bytes(), wrong);
        }
        let sent = record.to_unverified().encode();
        refuses("announcement", &sent, &[("a short signature", &[1], bytes(63)), ("a body in words", &[0], chars(9))]);
    }
    let requests = requests(&story);
    let request = |name: &str| requests.iter().find(|(other, _)| *other == name).unwrap().1.encode();
    let same = request("catalogue, unless it is the same");
    refuses(
        "market-request",
        &same,
        &[("a short digest", &[0, 1], bytes(31)), ("a place of one", &[0, 0], list(&bytes(32), 1))],
    );
    refuses(
        "market-request",
        &request("package"),
        &[
            ("17 chunks", &[0, 2], number(17)),
            ("a negative chunk", &[0, 1], number(-1)),
            ("a short hash", &[0, 0], bytes(31)),
        ],
    );
    refuses("market-request", &request("order"), &[("a short signature", &[0, 1], bytes(63))]);
    refuses("market-request", &request("account"), &[("65 purchases", &[0, 1], list(&bytes(32), 65))]);
    refuses("market-request", &request("dispute"), &[("a short secret", &[0, 1, 1], bytes(31))]);
    let responses = responses(&story);
    let response = |name: &str| responses.iter().find(|(other, _)| *other == name).unwrap().1.encode();
    let record = Value::Array(vec![bytes(9), bytes(64)]);
    refuses("market-response", &response("same"), &[("another word", &[], word("equal"))]);
    refuses(
        "market-response",
        &response("page, the last"),
        &[("257 records", &[0, 0], list(&record, 257)), ("neither more nor not", &[0, 1], Value::Null)],
    );
    refuses("market-response", &response("chunks"), &[("nine hashes", &[0, 0, 2], list(&bytes(32), 9))]);
    refuses(
        "market-response",
        &response("account"),
        &[("a short sealed key", &[0, 2, 1, 5], bytes(79)), ("a negative number", &[0, 1], number(-1))],
    );
    refuses("market-response", &response("refused, declined"), &[("a long reason", &[0, 0], chars(1_025))]);
    refuses("market-response", &response("refused, busy"), &[("another word", &[0], map("later", number(1)))]);
}

#[test]
fn the_bounds_in_the_rules_are_the_limits() {
    for bound in [
        format!("records: [*{} sent-announcement]", limits::CATALOGUE_RECORDS),
        format!("count: 0..{}]", limits::PACKAGE_RANGE_CHUNKS),
        format!("chunks: [*{} chunk-proof]", limits::PACKAGE_RANGE_CHUNKS),
        format!("purchases: [*{} purchase-id]", limits::ACCOUNT_PURCHASES),
        format!("purchases: [*{} bought]", limits::ACCOUNT_PURCHASES),
        format!("reason = tstr .size (0..{})", limits::DECLINED_BYTES),
    ] {
        assert!(all_rules().contains(&bound), "the rules do not say {bound}");
    }
    assert!(all_rules().contains("at most 81,920 bytes, a") && limits::MARKET_REQUEST_BYTES == 81_920);
    assert!(all_rules().contains("response 1,064,960") && limits::MARKET_RESPONSE_BYTES == 1_064_960);
    assert!(all_rules().contains("at most 8,192 bytes") && limits::ANNOUNCEMENT_BYTES == 8_192);
}
