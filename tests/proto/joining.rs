//! Tickets, join requests and the messages of `/lbm/node/1`: their vectors and their forms.

use ciborium::Value;
use lbm::cbor;
use lbm::chain::transaction::{MemberJoin, TICKET_DOMAIN};
use lbm::identity::SecretKey;
use lbm::join_request::{self, JoinRequest};
use lbm::limits;
use lbm::ticket::{Ticket, TicketError};
use lbm::wire::node::{Request, Response};
use serde_json::json;

use crate::schema::{Place, accepts, all_rules, bytes, chars, list, map, number, refuses, word};
use crate::story::{START_MS, key, story, ticket_key};
use crate::tickets::{application, requests, responses, tickets};
use crate::vectors::{bytes as unhex, kept, pin};

#[test]
fn they_are_those_of_the_vectors() {
    let story = story();
    let tickets = tickets(&story);
    let carol = key("carol");
    let record = application(&story).sign(&carol).unwrap();
    let sent = |why: &str, body: &[u8], signature: [u8; 64]| json!({"why": why, "body": hex::encode(body), "signature": hex::encode(signature)});
    let sign = |body: &[u8], domain: &[u8], by: &SecretKey| by.sign(domain, body);
    let other = JoinRequest { applicant: key("bob").identity(), ..application(&story) };
    let other = cbor::encode(&other);
    let trailing = [&*record.body, &[0]].concat();
    let own = join_request::SIGNATURE_DOMAIN;
    let refused = vec![
        sent("signed by another than its applicant", &other, sign(&other, own, &carol)),
        sent("signed for another purpose", &record.body, sign(&record.body, TICKET_DOMAIN, &carol)),
        sent("a trailing byte", &trailing, sign(&trailing, own, &carol)),
    ];
    let proof = MemberJoin::prove(&ticket_key(), &story.group, carol.identity());
    let covered = [b"\x0clbm ticket 1".as_slice(), story.group.as_bytes(), carol.identity().as_bytes()].concat();
    let of = |name: &str, bytes: Vec<u8>| json!({"name": name, "bytes": hex::encode(bytes)});
    let made = json!({
        "tickets": tickets.iter().map(|(name, ticket)| json!({
            "name": name, "text": ticket.to_text().unwrap(), "content": hex::encode(cbor::encode(ticket)),
            "public_key": hex::encode(ticket.key().identity().as_bytes()),
        })).collect::<Vec<_>>(),
        "proof": {
            "group": story.group, "identity": proof.identity, "covered": hex::encode(covered),
            "signature": hex::encode(*proof.proof),
        },
        "applications": [sent("", &record.body, record.signature)],
        "refused_applications": refused,
        "requests": requests(&story).iter().map(|(name, request)| of(name, request.encode())).collect::<Vec<_>>(),
        "responses": responses(&story).iter().map(|(name, response)| of(name, response.encode())).collect::<Vec<_>>(),
    });
    pin("joining.json", &made);
    // What is written in the file is enough to read them.
    let kept = kept("joining.json");
    for (kept, (_, made)) in kept["tickets"].as_array().unwrap().iter().zip(&tickets) {
        assert_eq!(Ticket::from_text(kept["text"].as_str().unwrap()).as_ref(), Ok(made));
    }
    let signed = |record: &serde_json::Value| {
        join_request::Unverified::new(unhex(&record["body"]), unhex(&record["signature"]).try_into().unwrap())
    };
    for record in kept["applications"].as_array().unwrap() {
        assert_eq!(signed(record).verify(START_MS, 0).unwrap().request(), &application(&story));
    }
    for record in kept["refused_applications"].as_array().unwrap() {
        assert!(signed(record).verify(START_MS, 0).is_err(), "{}", record["why"]);
    }
    for (kept, (_, made)) in kept["requests"].as_array().unwrap().iter().zip(requests(&story)) {
        assert_eq!(Request::decode(&unhex(&kept["bytes"])), Ok(made));
    }
    for (kept, (_, made)) in kept["responses"].as_array().unwrap().iter().zip(responses(&story)) {
        assert_eq!(Response::decode(&unhex(&kept["bytes"])), Ok(made));
    }
}

#[test]
fn everything_has_the_form_of_its_rule_and_another_form_is_told_apart() {
    let story = story();
    let all = cbor::encode(&tickets(&story)[0].1);
    accepts("ticket", "the least", &cbor::encode(&tickets(&story)[1].1));
    let contact = Value::Array(vec![bytes(32), Value::Array(vec![])]);
    let wrong: &[(&str, Place<'_>, Value)] = &[
        ("another version", &[0], number(2)),
        ("a short group id", &[1], bytes(31)),
        ("a long name", &[2], chars(41)),
        ("an unknown role", &[3], word("owner")),
        ("a short seed", &[5], bytes(31)),
        ("no discovery secret", &[6], Value::Null),
        ("a checkpoint of a whole id", &[7, 1], bytes(32)),
        ("five contacts", &[8], list(&contact, 5)),
        ("three addresses", &[8, 0, 1], list(&bytes(8), 3)),
        ("a long address", &[8, 0, 1, 0], bytes(25)),
    ];
    refuses("ticket", &all, wrong);
    // What the rules refuse the reader does as well.
    let read = |content: &[u8]| {
        let hrp = bech32::Hrp::parse("lbm").unwrap();
        Ticket::from_text(&bech32::encode_lower::<bech32::Bech32m>(hrp, content).unwrap())
    };
    assert!(read(&all).is_ok());
    for (why, path, new) in wrong.iter().skip(1) {
        let mut bad: Value = ciborium::from_reader(&*all).unwrap();
        *crate::schema::at(&mut bad, path) = new.clone();
        assert_eq!(read(&cbor::encode(&bad)), Err(TicketError::Content), "{why}");
    }
    let signed = application(&story).sign(&key("carol")).unwrap();
    let wrong: &[(&str, Place<'_>, Value)] = &[
        ("another version", &[0], number(2)),
        ("a short group id", &[1], bytes(31)),
        ("an applicant in words", &[2], chars(32)),
        ("a name with a space", &[3], word("carol c")),
        ("a long note", &[4], chars(513)),
        ("an empty note", &[4], chars(0)),
        ("time in words", &[5], chars(3)),
        ("neither taken back nor not", &[6], Value::Null),
    ];
    refuses("join-request-body", &signed.body, wrong);
    refuses("join-request", &cbor::encode(&signed), &[("a short signature", &[1], bytes(63))]);
    for (name, request) in requests(&story) {
        accepts("node-request", name, &request.encode());
    }
    for (name, response) in responses(&story) {
        accepts("node-response", name, &response.encode());
    }
    let requests = requests(&story);
    refuses(
        "node-request",
        &requests[0].1.encode(),
        &[("a short proof", &[0, 1, 2], bytes(63)), ("a short group id", &[0, 0], bytes(31))],
    );
    refuses("node-request", &requests[1].1.encode(), &[("a short signature", &[0, 1], bytes(63))]);
    refuses("node-request", &requests[3].1.encode(), &[("a short group id", &[0, 0], bytes(31))]);
    refuses("node-request", &requests[5].1.encode(), &[("a short group id", &[0], bytes(31))]);
    let shown = Value::Array(vec![bytes(32), word("x"), number(1), Value::Null]);
    let responses = responses(&story);
    refuses(
        "node-response",
        &responses[2].1.encode(),
        &[("65 groups", &[0, 0], list(&shown, 65)), ("neither more nor not", &[0, 1], Value::Null)],
    );
    refuses("node-response", &responses[5].1.encode(), &[("another reason", &[0, 0], word("late"))]);
    refuses("node-response", &responses[11].1.encode(), &[("another word", &[0], map("later", number(1)))]);
}

#[test]
fn the_bounds_in_the_rules_are_the_limits() {
    for bound in [
        format!("{{1,{}}}\" / null", limits::TICKET_NAME_BYTES),
        format!("contacts: [*{} contact]", limits::TICKET_MEMBERS),
        format!("addresses: [*{} address]", limits::TICKET_ADDRESSES),
        format!("address = bstr .size (0..{})", limits::TICKET_ADDRESS_BYTES),
        format!("content has at most {} bytes", limits::TICKET_BYTES),
        format!("{{1,{}}}\",\n  note", limits::NODE_NAME_BYTES),
        format!("note = tstr .size (1..{})", limits::JOIN_NOTE_BYTES),
        format!("groups: [*{} shown-group]", limits::SHOWN_GROUPS),
        format!("uses: 1..{},", limits::TICKET_USES),
    ] {
        assert!(all_rules().contains(&bound), "the rules do not say {bound}");
    }
    assert!(all_rules().contains("A body has at most 1,024 bytes") && limits::JOIN_REQUEST_BYTES == 1_024);
    assert!(all_rules().contains("at most 2,048 bytes, a response 32,768") && limits::NODE_REQUEST_BYTES == 2_048);
    assert_eq!(limits::NODE_RESPONSE_BYTES, 32_768);
}
