//! The golden vectors: what another implementation must come to, byte by byte.

use std::fs;
use std::path::Path;

use lbm::chain::transaction::{
    Claim, Dispute, Experience, Genesis, Grant, Invite, InviteRevoke, MemberAdd, MemberJoin, MemberRemove, Mint,
    NotarySet, OfferCreate, OfferRevoke, Purchase, Refund, Retract, RoleSet, Seal, Settle, SignedOrder, TaskAssign,
    TaskCancel, TaskComplete, TaskCreate, TaskFail, TaskRelease, TaskStart, Transfer, TreasuryPay, Unfreeze,
};
use lbm::chain::{Body, ClaimBody, Context, GroupId, ObjectHash, OrderKey, Payload, TextHash, Transaction, Unverified};
use lbm::delegation::{self, Delegation, Shown};
use lbm::identity::OneTimeSecret;
use lbm::kv::{Direction, Table};
use lbm::ledger::account::{self, Totals};
use lbm::ledger::{Outcome, query, task};
use lbm::limits;
use lbm::package::{self, Commitment};
use lbm::presence;
use lbm::wire::{Request, Response};
use serde_json::{Value, json};

use crate::node::Node;
use crate::story::{START_MS, claim_bodies, key, one_time_secret, packages, seed, story};

/// Compares a file of vectors with what the code makes of the history, or writes it anew.
pub fn pin(file: &str, made: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/vectors").join(file);
    let made = serde_json::to_string_pretty(made).unwrap() + "\n";
    if std::env::var_os("LBM_WRITE_VECTORS").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    for (number, (kept, made)) in (1..).zip(kept.lines().zip(made.lines())) {
        assert_eq!(kept, made, "{file}, line {number}: the format has changed");
    }
    assert_eq!(kept, made, "{file}: there is more, or less, than the code makes");
}

/// A file of vectors.
pub fn kept(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/vectors").join(file);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

pub fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn transaction_json(transaction: &Transaction) -> Value {
    match transaction {
        Transaction::Genesis(Genesis { name, currency, discovery_secret }) => {
            let secret = hex::encode(discovery_secret.0);
            json!({"genesis": {"name": name, "currency": currency, "discovery_secret": secret}})
        }
        Transaction::MemberAdd(MemberAdd { identity, role }) => {
            json!({"member_add": {"identity": identity, "role": role}})
        }
        Transaction::Invite(Invite { ticket, role, uses, expires_ms }) => {
            json!({"invite": {"ticket": ticket, "role": role, "uses": uses, "expires_ms": expires_ms}})
        }
        Transaction::InviteRevoke(InviteRevoke { ticket }) => json!({"invite_revoke": {"ticket": ticket}}),
        Transaction::MemberJoin(MemberJoin { ticket, identity, proof }) => {
            json!({"member_join": {"ticket": ticket, "identity": identity, "proof": hex::encode(**proof)}})
        }
        Transaction::MemberRemove(MemberRemove { identity }) => json!({"member_remove": {"identity": identity}}),
        Transaction::RoleSet(RoleSet { identity, role }) => json!({"role_set": {"identity": identity, "role": role}}),
        Transaction::Claim(Claim { object, size, parent, rewarded, supersedes }) => {
            json!({"claim": {
                "object": object, "size": size, "parent": parent, "rewarded": rewarded, "supersedes": supersedes,
            }})
        }
        Transaction::Retract(Retract { claim }) => json!({"retract": {"claim": claim}}),
        Transaction::Experience(Experience { object, size }) => {
            json!({"experience": {"object": object, "size": size}})
        }
        Transaction::Seal(Seal { epoch }) => json!({"seal": {"epoch": epoch}}),
        Transaction::NotarySet(NotarySet { identity }) => json!({"notary_set": {"identity": identity}}),
        Transaction::Unfreeze(Unfreeze { identity }) => json!({"unfreeze": {"identity": identity}}),
        Transaction::PolicyUpdate(update) => json!({"policy_update": update}),
        Transaction::Mint(Mint { to, amount }) => json!({"mint": {"to": to, "amount": amount}}),
        Transaction::Transfer(Transfer { to, amount }) => json!({"transfer": {"to": to, "amount": amount}}),
        Transaction::TreasuryPay(TreasuryPay { to, amount }) => json!({"treasury_pay": {"to": to, "amount": amount}}),
        Transaction::TaskCreate(TaskCreate {
            task,
            title,
            description,
            due_ms,
            priority,
            depends_on,
            assignee,
            reward,
        }) => json!({"task_create": {
            "task": task, "title": title, "description": description, "due_ms": due_ms, "priority": priority,
            "depends_on": depends_on, "assignee": assignee, "reward": reward,
        }}),
        Transaction::TaskAssign(TaskAssign { task, assignee, lease_ms }) => {
            json!({"task_assign": {"task": task, "assignee": assignee, "lease_ms": lease_ms}})
        }
        Transaction::TaskStart(TaskStart { task, attempt, lease_ms }) => {
            json!({"task_start": {"task": task, "attempt": attempt, "lease_ms": lease_ms}})
        }
        Transaction::TaskComplete(TaskComplete { task, attempt, result, result_hash }) => json!({"task_complete": {
            "task": task, "attempt": attempt, "result": result, "result_hash": result_hash,
        }}),
        Transaction::TaskFail(TaskFail { task, attempt, error_message }) => {
            json!({"task_fail": {"task": task, "attempt": attempt, "error_message": error_message}})
        }
        Transaction::TaskRelease(TaskRelease { task, attempt }) => {
            json!({"task_release": {"task": task, "attempt": attempt}})
        }
        Transaction::TaskCancel(TaskCancel { task }) => json!({"task_cancel": {"task": task}}),
        Transaction::OfferCreate(offer) => offer_json(offer),
        Transaction::OfferRevoke(OfferRevoke { offer }) => json!({"offer_revoke": {"offer": offer}}),
        Transaction::Purchase(Purchase { order: signed }) => {
            let order = signed.order();
            json!({"purchase": {
                "id": signed.id(), "order": {
                    "group": order.group, "buyer": order.buyer, "offer": order.offer, "seller": order.seller,
                    "terms": order.terms, "price": order.price, "nonce": order.nonce, "expires_ms": order.expires_ms, "key": hex::encode(order.key.as_bytes()),
                },
            }})
        }
        Transaction::Grant(Grant { purchase, sealed_key }) => {
            json!({"grant": {"purchase": purchase, "sealed_key": hex::encode(sealed_key)}})
        }
        Transaction::Settle(Settle { purchase }) => json!({"settle": {"purchase": purchase}}),
        Transaction::Refund(Refund { purchase }) => json!({"refund": {"purchase": purchase}}),
        Transaction::Dispute(Dispute { purchase, secret, chunk }) => json!({"dispute": {
            "purchase": purchase, "secret": hex::encode(secret.as_bytes()), "chunk": chunk.as_ref().map(|proof| json!({
                "index": proof.index, "chunk_blake3": blake3::hash(&proof.chunk).to_string(), "path": proof.path,
            })),
        }}),
    }
}

fn offer_json(offer: &OfferCreate) -> Value {
    let OfferCreate { title, description, tags, price, splits, royalties, expires_ms, .. } = offer;
    let OfferCreate { settle, grant_within_ms, dispute_within_ms, package, .. } = offer;
    let splits: Vec<Value> = splits.iter().map(|split| json!({"to": split.to, "bps": split.bps})).collect();
    let royalties: Vec<Value> =
        royalties.iter().map(|royalty| json!({"offer": royalty.offer, "bps": royalty.bps})).collect();
    json!({"offer_create": {
        "title": title, "description": description, "tags": tags, "price": price, "splits": splits, "royalties": royalties,
        "expires_ms": expires_ms, "settle": settle, "grant_within_ms": grant_within_ms,
        "dispute_within_ms": dispute_within_ms, "package": commitment_json(package),
    }})
}

fn commitment_json(commitment: &Commitment) -> Value {
    let Commitment { package, content_bytes, key } = commitment;
    json!({"package": package, "content_bytes": content_bytes, "key": key})
}

/// Packages, what is sealed, and what leads from one to the other. Long bytes are told by their BLAKE3 hash.
#[test]
fn packages_and_seals() {
    let packages = packages().map(|(key, content)| {
        let (ciphertext, commitment) = package::encrypt(&key, &content).unwrap();
        let chunks: Vec<Value> = (0..commitment.chunks())
            .map(|index| {
                let proof = package::prove(&ciphertext, index).unwrap();
                json!({"chunk_blake3": blake3::hash(&proof.chunk).to_string(), "path": proof.path})
            })
            .collect();
        let short = ciphertext.len() < 100;
        json!({
            "key": hex::encode(key.as_bytes()), "content_blake3": blake3::hash(&content).to_string(),
            "content": short.then(|| hex::encode(&content)), "ciphertext": short.then(|| hex::encode(&ciphertext)),
            "ciphertext_bytes": ciphertext.len(), "commitment": commitment_json(&commitment), "chunks": chunks,
        })
    });
    let story = story();
    let Transaction::Purchase(Purchase { order }) = &story.told("bought").block.body().transactions()[0] else {
        panic!("the history has changed")
    };
    let Transaction::Grant(grant) = &story.told("granted").block.body().transactions()[0] else {
        panic!("the history has changed")
    };
    let secret = one_time_secret("bob");
    let orders = json!({
        "order": hex::encode(order.encode()), "purchase": order.id(),
        "secret": hex::encode(secret.as_bytes()), "sealed_key": hex::encode(&grant.sealed_key),
        "opens_to": hex::encode(grant.open(&secret).unwrap().as_bytes()),
    });
    pin("market.json", &json!({"packages": packages, "grants": [orders]}));
    // What is written in the file is enough to open what was bought.
    let kept = kept("market.json");
    let (sold, granted) = (&kept["packages"][0], &kept["grants"][0]);
    let order = SignedOrder::decode(&bytes(&granted["order"])).unwrap();
    assert!(order.check().is_ok() && order.id() == granted["purchase"].as_str().unwrap().parse().unwrap());
    let sealed_key = serde_bytes::ByteBuf::from(bytes(&granted["sealed_key"]));
    let secret = OneTimeSecret::from_bytes(bytes(&granted["secret"]).try_into().unwrap());
    let key = Grant { purchase: order.id(), sealed_key }.open(&secret).unwrap();
    assert_eq!(key.as_bytes().as_slice(), bytes(&sold["key"]));
    let named = &sold["commitment"];
    let commitment = Commitment {
        package: named["package"].as_str().unwrap().parse().unwrap(),
        content_bytes: named["content_bytes"].as_u64().unwrap().try_into().unwrap(),
        key: named["key"].as_str().unwrap().parse().unwrap(),
    };
    let ciphertext = bytes(&sold["ciphertext"]);
    assert!(package::check_ciphertext(&commitment, &ciphertext).is_ok());
    assert_eq!(package::open(&commitment, &key, &ciphertext).unwrap(), bytes(&sold["content"]));
}

fn body_json(body: &Body) -> Value {
    let Body { group, author, seq, prev, parents, height, time_ms, payload } = body;
    let Payload::Plain(transactions) = payload else { panic!("the history has no sealed payload") };
    let transactions: Vec<_> = transactions.iter().map(transaction_json).collect();
    json!({
        "group": group, "author": author, "seq": seq, "prev": prev, "parents": parents, "height": height,
        "time_ms": time_ms, "transactions": transactions,
    })
}

#[test]
fn identities_and_signatures() {
    let people = ["alice", "bob", "carol"].map(|name| {
        let key = key(name);
        json!({
            "name": name,
            "seed": hex::encode(seed(name)),
            "public_key": hex::encode(key.identity().as_bytes()),
            "identity": key.identity(),
        })
    });
    let signature = key("alice").sign(b"lbm block 1", b"abc");
    let signed = json!({
        "by": "alice", "domain": "lbm block 1", "message": hex::encode("abc"),
        "covered": hex::encode(b"\x0blbm block 1abc"), "signature": hex::encode(signature),
    });
    pin("identities.json", &json!({"identities": people, "signatures": [signed]}));
}

#[test]
fn blocks() {
    let story = story();
    let blocks: Vec<_> = story
        .blocks
        .iter()
        .map(|told| {
            json!({
                "name": told.name,
                "fields": body_json(told.block.body()),
                "body": hex::encode(told.block.bytes()),
                "id": told.block.id(),
                "signature": hex::encode(told.block.signature()),
                "claims": told.claims(),
                "objects": told.objects.iter().map(hex::encode).collect::<Vec<_>>(),
            })
        })
        .collect();
    pin("blocks.json", &json!({"group": story.group, "blocks": blocks}));
}

/// What is written in the files is enough to check the blocks: nothing of the history is needed.
#[test]
fn the_kept_blocks_verify() {
    let kept = kept("blocks.json");
    let group: GroupId = kept["group"].as_str().unwrap().parse().unwrap();
    let context = Context { group, now_ms: START_MS, max_drift_ms: 60_000 };
    for block in kept["blocks"].as_array().unwrap() {
        let signature = bytes(&block["signature"]).try_into().unwrap();
        let verified = Unverified::new(bytes(&block["body"]), signature).verify(&context).unwrap();
        assert_eq!(verified.id().to_string(), block["id"].as_str().unwrap());
        assert_eq!(body_json(verified.body()), block["fields"]);
        for (object, (hash, size)) in block["objects"]
            .as_array()
            .unwrap()
            .iter()
            .zip(verified.body().transactions().iter().filter_map(Transaction::object))
        {
            assert_eq!((ObjectHash::of(&bytes(object)), bytes(object).len()), (hash, size as usize));
        }
    }
}

#[test]
fn claims() {
    let claims = claim_bodies().map(|body| {
        json!({
            "title": body.title, "text": body.text, "tags": body.tags, "evidence": body.evidence,
            "valid_until_ms": body.valid_until_ms,
            "body": hex::encode(body.encode()), "object": ObjectHash::of(&body.encode()),
            "text_hash": TextHash::of(&body.text),
        })
    });
    pin("claims.json", &json!({"claims": claims}));
    for claim in kept("claims.json")["claims"].as_array().unwrap() {
        assert_eq!(ClaimBody::decode(&bytes(&claim["body"])).unwrap().text, claim["text"].as_str().unwrap());
    }
}

#[test]
fn presences() {
    let story = story();
    let fields = |record: &presence::Verified| {
        let presence::Presence { group, member, status, metadata, time_ms } = record.presence();
        json!({"group": group, "member": member, "status": status, "metadata": metadata, "time_ms": time_ms})
    };
    let made = story.presences();
    let records: Vec<_> = made
        .iter()
        .map(|record| {
            let signature = hex::encode(record.to_unverified().signature);
            json!({"fields": fields(record), "body": hex::encode(record.bytes()), "signature": signature})
        })
        .collect();
    pin("presence.json", &json!({"group": story.group, "records": records, "refused": refused_presences(&made[0])}));
    // What is written in the file is enough to check the records.
    let kept = kept("presence.json");
    let group: GroupId = kept["group"].as_str().unwrap().parse().unwrap();
    let sent = |record: &Value| {
        presence::Unverified::new(bytes(&record["body"]), bytes(&record["signature"]).try_into().unwrap())
    };
    for record in kept["records"].as_array().unwrap() {
        assert_eq!(fields(&sent(record).open(&group).unwrap().verify().unwrap()), record["fields"]);
    }
    for record in kept["refused"].as_array().unwrap() {
        let opened = sent(record).open(&group).and_then(presence::Opened::verify);
        assert!(opened.is_err(), "{}", record["why"]);
    }
}

#[test]
fn delegations() {
    let story = story();
    let records: Vec<_> = story
        .delegations()
        .into_iter()
        .map(|(given, signed)| {
            let Delegation { group, agent, node, from_ms, expires_ms } = given;
            let fields =
                json!({"group": group, "agent": agent, "node": node, "from_ms": from_ms, "expires_ms": expires_ms});
            json!({"fields": fields, "body": hex::encode(&signed.body), "signature": hex::encode(signed.signature)})
        })
        .collect();
    let (given, _) = story.delegations()[0];
    let bob = key("bob");
    let mut refused = Vec::new();
    let mut signed = |why: &str, signed: delegation::Unverified| {
        refused
            .push(json!({"why": why, "body": hex::encode(&signed.body), "signature": hex::encode(signed.signature)}));
    };
    let life = limits::DELEGATION_LIFE_MS;
    signed("to another node", Delegation { node: key("carol").identity(), ..given }.sign(&bob));
    signed("of another group", Delegation { group: GroupId::from_bytes([7; 32]), ..given }.sign(&bob));
    signed("longer than any may stand", Delegation { expires_ms: given.from_ms + life + 1, ..given }.sign(&bob));
    signed("over before it begins", Delegation { expires_ms: given.from_ms, ..given }.sign(&bob));
    let drift = limits::MAX_CLOCK_DRIFT_MS;
    let later = given.from_ms + 2 * drift;
    signed("dated ahead", Delegation { from_ms: later, expires_ms: later + 1, ..given }.sign(&bob));
    let early = given.from_ms - 2 * drift;
    signed("over", Delegation { from_ms: early, expires_ms: early + 1, ..given }.sign(&bob));
    let body = lbm::cbor::encode(&given);
    let mut with = |why: &str, body: Vec<u8>, domain: &[u8], by: &str| {
        let signature = key(by).sign(domain, &body);
        signed(why, delegation::Unverified::new(body, signature));
    };
    with("signed by another than its agent", body.clone(), delegation::SIGNATURE_DOMAIN, "carol");
    with("signed for another purpose", body.clone(), presence::SIGNATURE_DOMAIN, "bob");
    with("a trailing byte", [&*body, &[0]].concat(), delegation::SIGNATURE_DOMAIN, "bob");
    let mut other = body;
    other[1] = 2;
    with("another version", other, delegation::SIGNATURE_DOMAIN, "bob");
    let shown = json!({"group": story.group, "by": given.node, "clock_ms": given.from_ms, "drift_ms": drift});
    pin("delegation.json", &json!({"shown": shown, "records": records, "refused": refused}));
    // What is written in the file is enough to check the records.
    let kept = kept("delegation.json");
    let about = &kept["shown"];
    let shown = Shown {
        group: about["group"].as_str().unwrap().parse().unwrap(),
        by: about["by"].as_str().unwrap().parse().unwrap(),
        clock_ms: about["clock_ms"].as_u64().unwrap(),
        drift_ms: about["drift_ms"].as_u64().unwrap(),
    };
    let sent = |record: &Value| {
        delegation::Unverified::new(bytes(&record["body"]), bytes(&record["signature"]).try_into().unwrap())
    };
    for record in kept["records"].as_array().unwrap() {
        let agent = sent(record).verify(&shown).unwrap().agent;
        assert_eq!(agent.to_string(), record["fields"]["agent"].as_str().unwrap());
    }
    for record in kept["refused"].as_array().unwrap() {
        assert!(sent(record).verify(&shown).is_err(), "{}", record["why"]);
    }
}

/// A record changed in one place: signed again as it is then, or not.
fn refused_presences(good: &presence::Verified) -> Vec<Value> {
    let mut people = ["alice", "bob", "carol"].map(key).into_iter();
    let key = people.find(|key| key.identity() == good.presence().member).unwrap();
    let mut refused = Vec::new();
    let mut signed = |why: &str, body: Vec<u8>| {
        let signature = hex::encode(key.sign(presence::SIGNATURE_DOMAIN, &body));
        refused.push(json!({"why": why, "body": hex::encode(&body), "signature": signature}));
    };
    let changed = |at: usize, new: ciborium::Value| {
        let mut body: Vec<ciborium::Value> = ciborium::from_reader(good.bytes()).unwrap();
        body[at] = new;
        lbm::cbor::encode(&body)
    };
    let text = |text: &str| ciborium::Value::Text(text.to_owned());
    signed("another version", changed(0, 2.into()));
    signed("another group", changed(1, ciborium::Value::Bytes(vec![7; 32])));
    signed("signed by another than its member", changed(2, ciborium::Value::Bytes(vec![7; 32])));
    signed("an unknown status", changed(3, text("away")));
    signed("metadata that is an array", changed(4, text("[]")));
    signed("metadata that is no JSON", changed(4, text("{")));
    signed("a trailing byte", [good.bytes(), &[0]].concat());
    signed("an element too many", {
        let mut body = [good.bytes(), &[0]].concat();
        body[0] += 1;
        body
    });
    let as_block = key.sign(lbm::chain::block::SIGNATURE_DOMAIN, good.bytes());
    let body = hex::encode(good.bytes());
    refused.push(json!({"why": "signed for another purpose", "body": body, "signature": hex::encode(as_block)}));
    refused
}

#[test]
fn messages() {
    let story = story();
    let requests: Vec<_> = story
        .requests()
        .iter()
        .map(|(name, request)| json!({"name": name, "bytes": hex::encode(request.encode())}))
        .collect();
    let responses: Vec<_> = story
        .responses()
        .iter()
        .map(|(name, response)| json!({"name": name, "bytes": hex::encode(response.encode())}))
        .collect();
    let frontier = story.frontier();
    let authors: Vec<_> = frontier
        .authors()
        .map(|(author, tips)| {
            let tips: Vec<_> = tips.iter().map(|tip| json!({"seq": tip.seq, "id": tip.id})).collect();
            json!({"author": author, "tips": tips})
        })
        .collect();
    pin(
        "sync.json",
        &json!({
            "frontier": authors, "digest": hex::encode(frontier.digest()),
            "requests": requests, "responses": responses,
        }),
    );
    let kept = kept("sync.json");
    for (kept, (_, made)) in kept["requests"].as_array().unwrap().iter().zip(story.requests()) {
        assert_eq!(Request::decode(&bytes(&kept["bytes"])), Ok(made));
    }
    for (kept, (_, made)) in kept["responses"].as_array().unwrap().iter().zip(story.responses()) {
        assert_eq!(Response::decode(&bytes(&kept["bytes"])), Ok(made));
    }
}

#[test]
fn order_outcomes_and_state() {
    let story = story();
    let node = Node::with(&story, story.blocks.iter());
    let rows = node.rows();
    let mut order = Vec::new();
    query::each_in_order(rows, Direction::Up, &mut |OrderKey { height, id, .. }, row| {
        let name = story.blocks.iter().find(|told| told.block.id() == id).unwrap().name;
        let outcome = match row.outcome {
            Outcome::Applied => json!("applied"),
            Outcome::Refused(index, refusal) => json!({"refused": refusal.code(), "transaction": index}),
        };
        order.push(json!({"block": name, "height": height, "id": id, "outcome": outcome}));
        Ok(std::ops::ControlFlow::Continue(()))
    })
    .unwrap();
    let members: Vec<_> = query::members(rows)
        .unwrap()
        .iter()
        .map(|(identity, member)| json!({"identity": identity, "role": member.role}))
        .collect();
    let state_hash = query::state_hash(rows).unwrap();
    let balances: Vec<_> = [&story.alice, &story.bob, &story.carol]
        .map(|key| json!({"account": key.identity(), "balance": account::account(rows, &key.identity()).unwrap().balance}))
        .into();
    let tasks = task::query::page(rows, &task::query::Filter::default(), None, 100).unwrap().tasks;
    let tasks: Vec<_> = tasks
        .iter()
        .map(|task| {
            let (row, id) = (&task.row, &task.id);
            json!({"task": id, "status": row.status, "assignee": row.assignee, "attempt": row.attempt})
        })
        .collect();
    let Totals { supply, treasury, escrow, .. } = account::totals(rows).unwrap();
    let totals = json!({"supply": supply, "treasury": treasury, "escrow": escrow});
    pin(
        "order.json",
        &json!({
            "order": order, "members": members, "balances": balances, "totals": totals,
            "tasks": tasks,
            "state_hash": hex::encode(state_hash),
        }),
    );
}

/// All sequences of the numbers below `count`.
fn permutations(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![vec![]];
    }
    let shorter = permutations(count - 1);
    let insert = |shorter: &Vec<usize>, at| [&shorter[..at], &[count - 1], &shorter[at..]].concat();
    shorter.iter().flat_map(|shorter| (0..count).map(move |at| insert(shorter, at))).collect()
}

#[test]
fn every_sequence_of_arrival_comes_to_the_same_state_and_order() {
    /// Blocks that come in every sequence, while those before and behind them come in the history's.
    const SHUFFLED: usize = 6;
    let story = story();
    let told = Node::with(&story, story.blocks.iter());
    let sequences = permutations(SHUFFLED);
    assert_eq!(sequences.len(), 720);
    let runs = (0..story.blocks.len() - SHUFFLED).step_by(SHUFFLED).chain([story.blocks.len() - SHUFFLED]);
    for (first, sequence) in runs.flat_map(|first| sequences.iter().map(move |sequence| (first, sequence))) {
        let mut sequence: Vec<usize> = (0..first).chain(sequence.iter().map(|index| first + index)).collect();
        sequence.extend(first + SHUFFLED..story.blocks.len());
        let node = Node::with(&story, sequence.iter().map(|index| &story.blocks[*index]));
        for table in [Table::State, Table::Order, Table::Line, Table::Id] {
            assert_eq!(node.rows().rows(table), told.rows().rows(table), "{table:?} differs after {sequence:?}");
        }
    }
}
