//! Bytes from strangers: whatever they are, reading them ends, in a value within its bounds or in an error.
//!
//! Valid encodings are damaged at random, from a seed: `LBM_SEED=7 LBM_ROUNDS=1000000 cargo test --test decoders` goes on where
//! the ordinary run stops. A failure names the seed and the bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fmt::Debug;

use lbm::cbor::{self, DecodeError};
use lbm::chain::block::SIGNATURE_DOMAIN;
use lbm::chain::{Body, ClaimBody, ClaimId, Context, Draft, LineKey, OrderKey, Payload, Unverified, Verified};
use lbm::identity::Identity;
use lbm::ledger::query;
use lbm::limits;
use lbm::wire::node as joining;
use lbm::wire::{self, Request, Response, market};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

#[allow(dead_code, reason = "shared with the vectors, which use more of it")]
#[path = "proto/node.rs"]
mod node;
#[path = "proto/offers.rs"]
mod offers;
#[allow(dead_code, reason = "shared with the vectors, which use more of it")]
#[path = "proto/story.rs"]
mod story;

#[allow(dead_code, reason = "shared with the vectors, which use more of it")]
#[path = "proto/tickets.rs"]
mod tickets;

use node::Node;
use story::{START_MS, Story, claim_bodies, story};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Damages bytes in one to four places.
fn damaged(rng: &mut StdRng, good: &[u8], others: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..rng.random_range(1..=4) {
        let at = rng.random_range(0..=bytes.len());
        match rng.random_range(0..8) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, rng.random()),
            2 => {
                let other = &others[rng.random_range(0..others.len())];
                let (from, to) = (rng.random_range(0..=other.len()), rng.random_range(0..=other.len()));
                bytes.splice(at..at, other[from.min(to)..from.max(to)].iter().copied());
            }
            3 => {
                let to = rng.random_range(at..=bytes.len());
                bytes.drain(at..to);
            }
            // A head that announces a length: definite, indefinite, or of more than there is.
            4 => {
                let major = rng.random_range(0..8u8) << 5;
                let head = [24u8, 25, 26, 27, 31, 0, 1, 23][rng.random_range(0..8)];
                let length = rng.random_range(0..9);
                let tail: Vec<u8> = (0..length).map(|_| [0, 1, 0x7f, 0xff][rng.random_range(0..4)]).collect();
                bytes.splice(at..at, std::iter::once(major | head).chain(tail));
            }
            _ if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
            _ => bytes.push(rng.random()),
        }
    }
    bytes
}

/// Damages each of `good` many times and hands the result to `read`, which tells whether it was accepted. Some must be, and
/// some must not, or the test shows nothing.
fn storm(name: &str, good: &[Vec<u8>], rounds: u64, mut read: impl FnMut(&[u8]) -> bool) {
    let seed = setting("LBM_SEED", 1);
    let mut rng = StdRng::seed_from_u64(seed);
    let mut accepted = 0;
    let rounds = setting("LBM_ROUNDS", rounds);
    for round in 0..rounds {
        let whole = &good[usize::try_from(round).unwrap() % good.len()];
        let bytes = damaged(&mut rng, whole, good);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read(&bytes)));
        match outcome {
            Ok(is_accepted) => accepted += u64::from(is_accepted),
            Err(_) => panic!("{name}: LBM_SEED={seed}, round {round}: {}", hex::encode(bytes)),
        }
    }
    assert!(accepted > 0 && accepted < rounds, "{name}: {accepted} of {rounds} were accepted");
}

fn read_back<T: PartialEq + Debug>(value: &T, encode: impl Fn(&T) -> Vec<u8>, decode: impl Fn(&[u8]) -> Option<T>) {
    assert_eq!(decode(&encode(value)).as_ref(), Some(value), "what was read is not what is written of it");
}

/// Signs a body by the person that it names, if it is one of the history's, and verifies it.
fn sign_and_verify(story: &Story, body: &[u8]) -> Option<Verified> {
    let author = cbor::decode::<Body>(body, limits::BLOCK_BYTES).ok()?.author;
    let key = [&story.alice, &story.bob, &story.carol].into_iter().find(|key| key.identity() == author)?;
    let signature = key.sign(SIGNATURE_DOMAIN, body);
    let context = Context { group: story.group, now_ms: START_MS, max_drift_ms: limits::MAX_CLOCK_DRIFT_MS };
    Unverified::new(body.to_vec(), signature).verify(&context).ok()
}

#[test]
fn damaged_blocks_are_refused_or_are_the_one_encoding_of_a_block() {
    let story = story();
    let good: Vec<Vec<u8>> = story.blocks.iter().map(|told| told.block.bytes().to_vec()).collect();
    storm("bodies", &good, 60_000, |bytes| {
        let Some(block) = sign_and_verify(&story, bytes) else { return false };
        assert_eq!(block.bytes(), bytes);
        let again = Draft::new(block.body().clone()).unwrap();
        assert_eq!(again.id(), block.id(), "two encodings of one body");
        let Payload::Plain(transactions) = &block.body().payload else { panic!("a sealed payload was accepted") };
        assert!((1..=limits::BLOCK_TRANSACTIONS).contains(&transactions.len()));
        assert!(block.body().parents.len() <= limits::BLOCK_PARENTS);
        true
    });
}

#[test]
fn damaged_signatures_are_refused() {
    let story = story();
    let context = Context { group: story.group, now_ms: START_MS, max_drift_ms: limits::MAX_CLOCK_DRIFT_MS };
    for told in &story.blocks {
        for bit in 0..512 {
            let mut block = told.block.to_unverified();
            block.signature[bit / 8] ^= 1 << (bit % 8);
            assert!(block.verify(&context).is_err(), "{}: bit {bit} of the signature does not count", told.name);
        }
    }
}

/// Blocks of members that follow every rule of form, and contradict everything else: the node takes them in, keeps them waiting
/// or refuses them, and a second node that hears them the other way round comes to the same state.
#[test]
fn blocks_of_damaged_sense_harm_no_node() {
    let story = story();
    let good: Vec<Vec<u8>> = story.blocks.iter().map(|told| told.block.bytes().to_vec()).collect();
    let mut node = Node::with(&story, story.blocks.iter());
    let mut stored = Vec::new();
    storm("blocks", &good, 20_000, |bytes| {
        let Some(block) = sign_and_verify(&story, bytes) else { return false };
        if node.take(block.clone(), &[]).stored > 0 {
            stored.push(block);
        }
        true
    });
    assert!(stored.len() > 20, "only {} blocks came so far", stored.len());
    let mut other = Node::with(&story, story.blocks.iter());
    for block in stored.into_iter().rev() {
        other.take(block, &[]);
    }
    assert_eq!(query::state_hash(node.rows()).unwrap(), query::state_hash(other.rows()).unwrap());
}

#[test]
fn damaged_presences_are_refused_or_the_one_encoding() {
    let story = story();
    let good: Vec<Vec<u8>> = story.presences().iter().map(|record| record.bytes().to_vec()).collect();
    storm("presences", &good, 60_000, |body| {
        let sent = lbm::presence::Unverified::new(body.to_vec(), [0; 64]);
        let Ok(opened) = sent.open(&story.group) else { return false };
        assert_eq!(cbor::encode(opened.claimed()), body, "one value, one encoding");
        let metadata = opened.claimed().metadata.as_deref();
        assert!(metadata.is_none_or(|text| text.len() <= limits::PRESENCE_METADATA_BYTES));
        true
    });
}

#[test]
fn damaged_requests_are_refused_or_within_their_bounds() {
    let good: Vec<Vec<u8>> = story().requests().iter().map(|(_, request)| request.encode()).collect();
    storm("requests", &good, 60_000, |bytes| {
        let Ok(request) = Request::decode(bytes) else { return false };
        read_back(&request, Request::encode, |bytes| Request::decode(bytes).ok());
        match request {
            Request::Probe(probe) => assert!(probe.digest.len() <= 32),
            Request::Pull(pull) => {
                assert!(pull.frontier.iter().all(|author| author.tips.len() <= limits::TIPS_PER_AUTHOR));
                let authors = pull.frontier.len();
                let frontier = wire::frontier(pull.frontier);
                assert!(frontier.len() <= authors && authors <= limits::GROUP_MEMBERS);
                let again = wire::frontier((&frontier).into());
                assert_eq!(again.digest(), frontier.digest());
            }
            Request::WantBlocks(want) => assert!(want.ids.len() <= limits::WANT_IDS),
            Request::WantObjects(want) => assert!(want.objects.len() <= limits::WANT_IDS),
            Request::Push(push) => {
                assert!(push.blocks.len() <= limits::BATCH_BLOCKS && push.objects.len() <= limits::BATCH_OBJECTS);
            }
            Request::Have(have) => assert!(have.tips.len() <= limits::GROUP_MEMBERS),
            Request::Presences(presences) => assert!(presences.records.len() <= limits::PRESENCE_RECORDS),
            Request::Acting(acting) => assert!(acting.delegations.len() <= limits::DELEGATIONS),
            Request::Peers(_) | Request::Parted(_) => {}
            Request::Knock(knock) => assert!(knock.sealed.len() <= limits::KNOCK_BYTES),
        }
        true
    });
}

#[test]
fn damaged_responses_are_refused_or_within_their_bounds() {
    let good: Vec<Vec<u8>> = story().responses().iter().map(|(_, response)| response.encode()).collect();
    storm("responses", &good, 60_000, |bytes| {
        let Ok(response) = Response::decode(bytes) else { return false };
        read_back(&response, Response::encode, |bytes| Response::decode(bytes).ok());
        match response {
            Response::Batch(batch) => {
                assert!(batch.blocks.len() <= limits::BATCH_BLOCKS && batch.reached.len() <= limits::BATCH_BLOCKS);
                assert!(batch.objects.len() <= limits::BATCH_OBJECTS);
            }
            Response::Peers(told) => {
                let fits =
                    |met: &wire::Met| met.addresses.iter().all(|text| text.len() <= limits::ANNOUNCED_ADDRESS_BYTES);
                assert!(told.len() <= limits::EXCHANGE_PEERS && told.iter().all(fits));
            }
            _ => {}
        }
        true
    });
}

#[test]
fn damaged_announcements_are_refused_or_the_one_encoding() {
    let story = story();
    let made = offers::announcements(&story);
    let bodies: Vec<Vec<u8>> = made.iter().map(|record| record.bytes().to_vec()).collect();
    storm("announcements", &bodies, 60_000, |body| {
        let sent = lbm::announcement::Unverified::new(body.to_vec(), [0; 64]);
        let Ok(opened) = sent.open() else { return false };
        assert_eq!(cbor::encode(opened.claimed()), body, "one value, one encoding");
        assert!(body.len() <= limits::ANNOUNCEMENT_BYTES);
        let title = opened.claimed().offered().map(|offered| &offered.offer.title);
        assert!(title.is_none_or(|title| title.len() <= limits::TITLE_BYTES));
        assert!(opened.verify().is_err(), "the signature is none");
        true
    });
    let gossip: Vec<Vec<u8>> = made.iter().map(|record| record.to_unverified().encode()).collect();
    storm("gossip", &gossip, 60_000, |bytes| {
        let Ok(sent) = lbm::announcement::Unverified::decode(bytes) else { return false };
        assert_eq!(sent.encode(), bytes, "one record, one message");
        true
    });
}

#[test]
fn damaged_messages_of_the_market_are_refused_or_within_their_bounds() {
    let story = story();
    let good: Vec<Vec<u8>> = offers::requests(&story).iter().map(|(_, request)| request.encode()).collect();
    storm("requests of the market", &good, 60_000, |bytes| {
        let Ok(request) = market::Request::decode(bytes) else { return false };
        read_back(&request, market::Request::encode, |bytes| market::Request::decode(bytes).ok());
        match request {
            market::Request::Catalogue(asked) => assert!(asked.digest.is_none_or(|digest| digest.len() <= 32)),
            market::Request::Package(asked) => assert!(asked.count <= limits::PACKAGE_RANGE_CHUNKS),
            // An order whose own bytes were damaged is read, and its signature does not hold.
            market::Request::Order(order) => {
                let is_whole = order.check().is_ok();
                assert!(!is_whole || good.contains(&market::Request::Order(order).encode()));
            }
            market::Request::Account(asked) => assert!(asked.purchases.len() <= limits::ACCOUNT_PURCHASES),
            market::Request::Dispute(_) => {}
        }
        true
    });
    let good: Vec<Vec<u8>> = offers::responses(&story).iter().map(|(_, response)| response.encode()).collect();
    let (_, commitment) = offers::package();
    storm("responses of the market", &good, 60_000, |bytes| {
        let Ok(response) = market::Response::decode(bytes) else { return false };
        read_back(&response, market::Response::encode, |bytes| market::Response::decode(bytes).ok());
        match response {
            market::Response::Page(page) => assert!(page.records.len() <= limits::CATALOGUE_RECORDS),
            market::Response::Chunks(chunks) => {
                assert!(chunks.len() <= limits::PACKAGE_RANGE_CHUNKS as usize);
                let proven = chunks.iter().filter(|chunk| commitment.has(chunk));
                proven.for_each(|chunk| assert_eq!(chunk.chunk.len(), commitment.chunk_bytes(chunk.index)));
            }
            market::Response::Account(account) => assert!(account.purchases.len() <= limits::ACCOUNT_PURCHASES),
            market::Response::Refused(market::Refused::Declined(why)) => assert!(why.len() <= limits::DECLINED_BYTES),
            _ => {}
        }
        true
    });
}

#[test]
fn damaged_messages_about_joining_are_refused_or_within_their_bounds() {
    let story = story();
    let good: Vec<Vec<u8>> = tickets::requests(&story).iter().map(|(_, request)| request.encode()).collect();
    storm("requests about joining", &good, 60_000, |bytes| {
        let Ok(request) = joining::Request::decode(bytes) else { return false };
        assert!(bytes.len() <= limits::NODE_REQUEST_BYTES);
        read_back(&request, joining::Request::encode, |bytes| joining::Request::decode(bytes).ok());
        match request {
            // A proof whose own bytes were damaged is read, and does not hold.
            joining::Request::Admit(admit) => {
                let is_whole = admit.join.check(&admit.group).is_ok();
                assert!(!is_whole || good.contains(&joining::Request::Admit(admit).encode()));
            }
            joining::Request::Apply(record) => {
                let is_whole = record.verify(START_MS + 1, 0).is_ok();
                assert!(!is_whole || good.contains(&joining::Request::Apply(record).encode()));
            }
            joining::Request::Groups(_) | joining::Request::Denied(_) | joining::Request::Clock => {}
        }
        true
    });
    let good: Vec<Vec<u8>> = tickets::responses(&story).iter().map(|(_, response)| response.encode()).collect();
    storm("responses about joining", &good, 60_000, |bytes| {
        let Ok(response) = joining::Response::decode(bytes) else { return false };
        read_back(&response, joining::Response::encode, |bytes| joining::Response::decode(bytes).ok());
        if let joining::Response::Groups(page) = response {
            assert!(page.groups.len() <= limits::SHOWN_GROUPS);
        }
        true
    });
    let endless = vec![0xa1; limits::NODE_RESPONSE_BYTES + 1];
    assert!(joining::Response::decode(&endless).is_err() && joining::Request::decode(&endless).is_err());
}

#[test]
fn lists_of_the_market_hold_at_their_bound_and_not_one_past_it() {
    let id = [&[0x58, 32][..], &[7; 32]].concat();
    let record = [&[0x82, 0x41, 1, 0x58, 64][..], &[7; 64]].concat();
    let of = |word: &str, body: &[u8]| {
        [&[0xa1, 0x60 | u8::try_from(word.len()).unwrap()][..], word.as_bytes(), body].concat()
    };
    let account = |purchases, offers| {
        of("account", &[&[0x84][..], &id, &list(purchases, &id), &list(offers, &id), &[0xf6]].concat())
    };
    let page = |count| of("page", &[&[0x82][..], &list(count, &record), &[0xf4]].concat());
    let chunk = |path| [&[0x83, 0, 0x41, 1][..], &list(path, &id)].concat();
    let chunks = |count, path| of("chunks", &list(count, &chunk(path)));
    let reads = |bytes: &[u8]| market::Response::decode(bytes);
    for more in 0..=1 {
        let is_fine = more == 0;
        for (purchases, offers) in
            [(limits::ACCOUNT_PURCHASES, 0), (0, limits::ACCOUNT_PURCHASES), (1, limits::ACCOUNT_PURCHASES - 1)]
        {
            assert_eq!(market::Request::decode(&account(purchases + more, offers)).is_ok(), is_fine);
        }
        assert_eq!(reads(&page(limits::CATALOGUE_RECORDS + more)).is_ok(), is_fine);
        assert_eq!(reads(&chunks(limits::PACKAGE_RANGE_CHUNKS as usize + more, 1)).is_ok(), is_fine);
        assert_eq!(reads(&chunks(1, lbm::package::PATH_HASHES + more)).is_ok(), is_fine);
    }
    for endless in [vec![0x9f; limits::MARKET_RESPONSE_BYTES], vec![0x81; 10_000]] {
        assert!(reads(&endless).is_err() && market::Request::decode(&endless).is_err());
    }
    let huge = [0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    assert!(reads(&of("page", &[&[0x82][..], &huge].concat())).is_err());
    assert!(reads(&of("chunks", &huge)).is_err());
}

#[test]
fn damaged_claims_are_refused_or_are_the_one_encoding_of_a_claim() {
    let good = claim_bodies().map(|body| body.encode());
    storm("claims", &good, 60_000, |bytes| {
        let Ok(body) = ClaimBody::decode(bytes) else { return false };
        assert_eq!(body.encode(), bytes);
        let again = ClaimBody::new(body.title.clone(), body.text.clone(), &body.tags)
            .and_then(|again| again.proven(body.evidence.clone(), body.valid_until_ms));
        assert_eq!(again, Ok(body), "a claim was read that nobody can write");
        true
    });
}

#[test]
fn damaged_names_are_refused_or_are_the_one_form_of_a_name() {
    let story = story();
    let good = [story.alice.identity().to_string().into_bytes(), story.group.to_string().into_bytes()];
    storm("names", &good, 60_000, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let identity = text.parse::<Identity>();
        let id = text.parse::<ClaimId>();
        assert!(identity.is_ok_and(|identity| identity.to_string() == text) || identity.is_err());
        assert!(id.is_ok_and(|id| id.to_string() == text.to_lowercase()) || id.is_err());
        identity.is_ok() || id.is_ok()
    });
}

#[test]
fn damaged_keys_of_rows_are_told_by_their_length() {
    let story = story();
    let block = &story.blocks[0].block;
    let order = OrderKey::open(0, block.id()).to_bytes();
    let line = LineKey::new(&block.body().author, 0, &block.id()).as_bytes().to_vec();
    storm("keys", &[order, line], 20_000, |bytes| {
        let key = OrderKey::from_bytes(bytes);
        assert!(key.is_none_or(|key| key.to_bytes() == bytes));
        assert_eq!(key.is_some(), bytes.len() == OrderKey::BYTES);
        assert_eq!(LineKey::from_bytes(bytes).is_some(), bytes.len() == LineKey::BYTES);
        key.is_some()
    });
}

/// `count` times the same item in a list, as CBOR.
fn list(count: usize, item: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x9a];
    bytes.extend(u32::try_from(count).unwrap().to_be_bytes());
    bytes.extend(item.repeat(count));
    bytes
}

fn request(word: &str, list: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xa1, 0x60 | u8::try_from(word.len()).unwrap()];
    bytes.extend(word.as_bytes());
    bytes.extend([0x82, 0x58, 32]);
    bytes.extend([7; 32]);
    bytes.extend(list);
    bytes
}

#[test]
fn lists_hold_at_their_bound_and_not_one_past_it() {
    let id = [&[0x58, 32][..], &[7; 32]].concat();
    let tip = [&[0x82, 1][..], &id].concat();
    let end = [&[0x82][..], &id, &tip].concat();
    let author = |tips: usize| [&[0x82][..], &id, &list(tips, &tip)].concat();
    for (word, item, most) in [
        ("want_blocks", id.clone(), limits::WANT_IDS),
        ("want_objects", [&[0x82][..], &id, &[0]].concat(), limits::WANT_IDS),
        ("have", end, limits::GROUP_MEMBERS),
        ("pull", author(1), limits::GROUP_MEMBERS),
    ] {
        assert!(Request::decode(&request(word, &list(most, &item))).is_ok(), "{word}: {most} items were refused");
        let more = Request::decode(&request(word, &list(most + 1, &item)));
        assert!(matches!(more, Err(DecodeError::TooLong { .. })), "{word}: {} items: {more:?}", most + 1);
    }
    let tips = |count| Request::decode(&request("pull", &list(1, &author(count)))).is_ok();
    assert!(tips(limits::TIPS_PER_AUTHOR) && !tips(limits::TIPS_PER_AUTHOR + 1));
}

#[test]
fn hostile_lengths_end_in_an_error() {
    let huge = [[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], [0x9b, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff]];
    for word in ["pull", "want_blocks", "want_objects", "push", "have"] {
        for length in huge {
            assert!(Request::decode(&request(word, &length)).is_err());
        }
        assert!(Request::decode(&request(word, &[0x9f; 1_000])).is_err());
        assert!(Request::decode(&request(word, &[0x81; 1_000_000])).is_err());
    }
    let endless = vec![0x9f; limits::MESSAGE_BYTES];
    assert!(Response::decode(&endless).is_err());
    assert!(cbor::decode::<Body>(&[&[0x89, 1][..], &[0x5b], &[0xff; 8]].concat(), limits::BLOCK_BYTES).is_err());
}
