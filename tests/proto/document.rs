//! `docs/PROTOCOL.md` says what the code does: its limits, its reasons and codes, its example.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use lbm::chain::transaction::TaskId;
use lbm::chain::{ClaimId, OfferId, PurchaseId, Role};
use lbm::ledger::market::PurchaseStatus;
use lbm::ledger::task::TaskStatus;
use lbm::ledger::{MarketRefusal, Refusal, TaskRefusal, TicketRefusal, TokenRefusal};
use lbm::limits;
use lbm::node::io::Severity;
use serde_json::Value;

use crate::story::key;

fn document() -> String {
    read("PROTOCOL.md")
}

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

/// The rows of the table under the header that starts so: their cells, without backticks.
fn table(header: &str) -> Vec<Vec<String>> {
    table_of(&document(), header)
}

fn table_of(document: &str, header: &str) -> Vec<Vec<String>> {
    let lines = document.lines().skip_while(|line| !line.starts_with(header)).skip(2);
    let rows = lines.take_while(|line| line.starts_with('|'));
    let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
    let rows: Vec<Vec<String>> = rows.map(cells).collect();
    assert!(!rows.is_empty(), "there is no table {header}");
    rows
}

fn first_cells(header: &str) -> BTreeSet<String> {
    table(header).into_iter().map(|row| row[0].clone()).collect()
}

macro_rules! values {
    ($($name:ident)+) => { [$((stringify!($name), format!("{:?}", limits::$name)),)+] };
}

#[test]
fn its_limits_are_the_limits() {
    let known = values![
        BLOCK_BYTES BLOCK_TRANSACTIONS BLOCK_PARENTS GROUP_NAME_BYTES CURRENCY_BYTES CLAIM_TEXT_BYTES TITLE_BYTES TAGS
        TAG_BYTES EVIDENCE EVIDENCE_BYTES SUPERSEDES SUPERSEDED_STEPS EXPERIENCE_BYTES OBJECT_BYTES GROUP_MEMBERS AMOUNT_MAX
        TRANSFER_FEE_BPS TASK_DEPENDENTS
        TASK_DEFAULT_LEASE_MS TASK_LEASE_MS PACKAGE_BYTES PACKAGE_CHUNK_BYTES OFFER_DESCRIPTION_BYTES OFFER_SPLITS OFFER_ROYALTIES
        OFFER_GRANT_MS OFFER_DISPUTE_MS REFUND_MARGIN_MS ORDER_BYTES TIPS_PER_AUTHOR SEAL_INTERVAL_MS SEALS_REVISED MAX_CLOCK_DRIFT_MS REQUEST_BYTES
        MESSAGE_BYTES MESSAGE_ITEMS BATCH_BLOCKS BATCH_BYTES BATCH_OBJECTS WANT_IDS WANTS_PER_PULL BATCHES_STORING
        PUSH_BYTES PRESENCE_METADATA_BYTES PRESENCE_BYTES PRESENCE_RECORDS PRESENCE_GROUP_BYTES PRESENCE_PAUSE_MS
        PRESENCE_LATER_MS PRESENCE_AGAIN_MS EXCHANGE_MS EXCHANGE_PEERS RENDEZVOUS_PROVIDE_MS RENDEZVOUS_ALONE_MS
        RENDEZVOUS_MET_MS RENDEZVOUS_LIFE_MS RENDEZVOUS_KEYS_PER_HOST DELEGATION_BYTES DELEGATIONS DELEGATION_LIFE_MS DELEGATION_RENEW_MS ANNOUNCEMENT_BYTES ANNOUNCED_ADDRESSES ANNOUNCED_ADDRESS_BYTES ADDRESS_SETTLES_MS ANNOUNCEMENT_LIFE_MS ANNOUNCE_INTERVAL_MS ANNOUNCE_LEAST_MS
        GOSSIP_MESSAGE_BYTES GOSSIP_PER_PEER GOSSIP_PER_PEER_PER_S BOOK_OFFERS BOOK_OFFERS_BYTES BOOK_OFFERS_PER_SELLER
        CATALOGUE_RECORDS CATALOGUE_BYTES CATALOGUE_PAGES CATALOGUES CATALOGUE_SETTLES_MS CATALOGUE_INTERVAL_MS MARKET_REQUEST_BYTES
        MARKET_RESPONSE_BYTES MARKET_SERVED_PER_PEER PACKAGE_RANGE_CHUNKS ACCOUNT_PURCHASES DECLINED_BYTES FETCH_SLOW_MS
        FETCH_CALL_MS FETCH_GIVE_UP_MS PROBE_AUTHORS SERVED_PER_PEER REFUSALS_PER_MIN RELAY_FANOUT RELAY_PAUSE_MS TELL_RETRY_MS PULL_RETRY_MS PULL_RETRY_MOST_MS
        REQUEST_TIMEOUT_MS SYNC_INTERVAL_S FRAME_HEADER_BYTES TICKET_USES TICKET_LIFE_MS TICKETS TICKET_BYTES TICKET_NAME_BYTES TICKET_MEMBERS
        TICKET_ADDRESSES TICKET_ADDRESS_BYTES JOIN_REQUEST_BYTES JOIN_NOTE_BYTES JOIN_REQUEST_LIFE_MS JOIN_REQUESTS
        NODE_REQUEST_BYTES NODE_RESPONSE_BYTES NODE_REQUESTS_PER_MIN SHOWN_GROUPS
    ];
    let told: Vec<(String, String)> =
        table("| name | value |").into_iter().map(|row| (row[0].clone(), row[1].replace(',', ""))).collect();
    let known: Vec<(String, String)> = known.map(|(name, value)| (name.to_owned(), value)).to_vec();
    assert_eq!(told, known);
    // Every limit that the text names is in the table.
    let names: BTreeSet<&str> = told.iter().map(|(name, _)| name.as_str()).collect();
    let document = document();
    let is_limit = |word: &&str| word.contains('_') && word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    for word in document.split('`').filter(is_limit) {
        assert!(names.contains(word), "{word} is named, and not in the table");
    }
}

#[test]
fn its_reasons_are_those_of_the_vectors() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/vectors/refused.json");
    let vectors: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let mut shown: BTreeSet<String> = vectors["blocks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|block| block["reason"].as_str().unwrap().to_owned())
        .collect();
    shown.insert("too_long".to_owned());
    assert_eq!(first_cells("| reason |"), shown);
}

#[test]
fn its_codes_are_those_of_the_ledger() {
    let (who, claim) = (key("alice").identity(), ClaimId::from_bytes([7; 32]));
    let task = || TaskId("t".into());
    let all = [
        Refusal::NotAMember(who),
        Refusal::Viewer(who),
        Refusal::NotAnAdmin(who),
        Refusal::AlreadyAMember(who),
        Refusal::NoSuchMember(who),
        Refusal::LastAdmin(who),
        Refusal::SameRole(who, Role::Admin),
        Refusal::GroupFull,
        Refusal::NoSuchParent(claim),
        Refusal::NoSuchClaim(claim),
        Refusal::AlreadyRetracted(claim),
        Refusal::NotYourClaim(claim),
        Refusal::NotYoursToSupersede(claim),
        Refusal::Frozen(who),
        Refusal::NotFrozen(who),
        Refusal::NotTheSeal(1),
        Refusal::NotTheNotary { author: who, notary: who },
        Refusal::NotaryNotAdmin(who),
        Refusal::SameNotary(who),
        Refusal::IsNotary(who),
        Refusal::Token(TokenRefusal::Balance { account: who, balance: 1, amount: 2, fee: 3 }),
        Refusal::Token(TokenRefusal::Treasury { treasury: 1, amount: 2 }),
        Refusal::Token(TokenRefusal::SupplyCap { supply: 1, amount: 2, cap: 2 }),
        Refusal::Token(TokenRefusal::AccountCap { account: who, balance: 1, amount: 2, cap: 2 }),
        Refusal::Token(TokenRefusal::ToOneself(who)),
        Refusal::Token(TokenRefusal::CapBelowSupply { supply: 1 }),
        Refusal::Task(TaskRefusal::Exists(task())),
        Refusal::Task(TaskRefusal::NoSuchTask(task())),
        Refusal::Task(TaskRefusal::DependencyEnded(task(), TaskStatus::Failed)),
        Refusal::Task(TaskRefusal::TooManyDependents(task())),
        Refusal::Task(TaskRefusal::NoWorker(who)),
        Refusal::Task(TaskRefusal::Blocked(task(), 1)),
        Refusal::Task(TaskRefusal::Taken(task(), who, 1)),
        Refusal::Task(TaskRefusal::TakenByYou(task(), 1)),
        Refusal::Task(TaskRefusal::TakenOver(task(), who, 1)),
        Refusal::Task(TaskRefusal::NotAssigned(task())),
        Refusal::Task(TaskRefusal::OtherAttempt(task(), 1, 2)),
        Refusal::Task(TaskRefusal::NotStarted(task())),
        Refusal::Task(TaskRefusal::Ended(task(), TaskStatus::Completed)),
        Refusal::Task(TaskRefusal::NotYourTask(task(), who)),
        Refusal::Task(TaskRefusal::NoSponsor(task(), who)),
        Refusal::Task(TaskRefusal::NoSuchResult(claim)),
        Refusal::AlreadyFounded,
        Refusal::Equivocation(who),
    ];
    let (offer, purchase) = (OfferId::from_bytes([7; 32]), PurchaseId::from_bytes([7; 32]));
    let market = [
        MarketRefusal::NoSuchOffer(offer),
        MarketRefusal::OfferRevoked(offer),
        MarketRefusal::OfferExpired(offer),
        MarketRefusal::NotYourOffer(offer, who),
        MarketRefusal::OwnOffer(offer),
        MarketRefusal::SellerGone(offer, who),
        MarketRefusal::Price { offer, price: 1, agreed: 2 },
        MarketRefusal::OtherSeller { offer, seller: who, ordered: who },
        MarketRefusal::OtherTerms(offer),
        MarketRefusal::Nonce { buyer: who, expected: 1, got: 2 },
        MarketRefusal::OrderExpired(1),
        MarketRefusal::AlreadyPlaced(purchase),
        MarketRefusal::AlreadyBought(offer, purchase),
        MarketRefusal::NoSuchPurchase(purchase),
        MarketRefusal::NotTheSeller(purchase, who),
        MarketRefusal::AlreadyGranted(purchase),
        MarketRefusal::NotGranted(purchase),
        MarketRefusal::NotFinal(purchase),
        MarketRefusal::GrantLate { purchase, until_ms: 1 },
        MarketRefusal::TooEarly { purchase, from_ms: 1 },
        MarketRefusal::AlreadyAsked(purchase),
        MarketRefusal::Ended(purchase, PurchaseStatus::Settled),
        MarketRefusal::WrongSecret(purchase),
    ];
    let tickets = [
        TicketRefusal::NoSuchTicket(who),
        TicketRefusal::Expired(who, 1),
        TicketRefusal::UsedUp(who, 1),
        TicketRefusal::Revoked(who),
        TicketRefusal::InviterGone(who),
        TicketRefusal::Removed(who),
        TicketRefusal::Exists(who),
        TicketRefusal::Life(1),
        TicketRefusal::TooMany,
    ];
    let all =
        all.into_iter().chain(tickets.map(Refusal::Ticket)).chain(market.map(Refusal::Market)).collect::<Vec<_>>();
    assert_eq!(first_cells("| code |"), all.iter().map(|refusal| refusal.code().to_owned()).collect());
}

#[test]
fn the_limits_of_the_network_are_the_limits() {
    let known = values![
        CONNECTIONS_PER_ADDRESS TRIALS_PER_HOST TRIALS TRIAL_MS REFUSED_HOSTS CONNECTS_PER_HOST_PER_MIN CONNECTIONS_PER_PEER
        INBOUND_CONNECTIONS STRANGER_CONNECTIONS PENDING_INBOUND_CONNECTIONS TURN_MS KNOWN_HOSTS
        HANDSHAKE_MS IDLE_CONNECTION_MS PING_INTERVAL_MS PING_TIMEOUT_MS SILENCE_MS UNACKNOWLEDGED_MS QUIC_KEEP_ALIVE_MS CONNECT_MS
        CLOSE_MS STREAMS_PER_CONNECTION STRANGER_STREAMS_PER_S MEMBER_STREAMS_PER_S STREAMS_BURST_S MARKET_STREAMS REQUEST_TIMEOUT_MS
        REQUESTS_PER_PEER_PER_MIN REFUSALS_PER_MIN RATED_PAYERS STRANGER_PACKAGES_KIB_PER_MIN SERVED_PER_PEER
        MARKET_SERVED_PER_PEER SERVING ANSWERS_PER_PEER_BYTES ANSWERS_BYTES FIRST_READ_BYTES INBOUND_REQUESTS_BYTES
        MARKET_INBOUND_BYTES GOSSIP_PER_PEER GOSSIP_PER_PEER_PER_S GOSSIP_QUEUE GOSSIP_JUDGING GOSSIP_PEER_QUEUE BOOK_OFFERS
        PRESENCE_GROUP_BYTES PRESENCE_PAUSE_MS BOOK_PEERS BOOK_ADDRESSES_PER_PEER
        RENDEZVOUS_KEYS RENDEZVOUS_KEYS_PER_HOST EXCHANGE_PEERS NODE_REQUESTS_PER_MIN DIALS REDIAL_MAX_MS AWAY_MS REDIAL_ALONE RALLY_MS
        MDNS_RECORDS MDNS_ANEW_MS ADDRESS_GRACE_MS BANS
        BAN_MS BAN_MOST_MS ACCESS_RULES SUBSCRIPTION_PEERS PAUSED_RETRY_MS WAITING_BLOCKS VERIFY_QUEUE DRIVER_QUEUE
    ];
    let told: Vec<(String, String)> = table_of(&read("NETWORK.md"), "| name | value |")
        .into_iter()
        .map(|row| (row[0].clone(), row[1].clone()))
        .collect();
    assert_eq!(told, known.map(|(name, value)| (name.to_owned(), value)).to_vec());
}

#[test]
fn its_points_are_those_of_the_machine() {
    let told: Vec<(String, String)> =
        table("| severity |").into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let known = [("low", Severity::Low), ("mid", Severity::Mid), ("high", Severity::High), ("fatal", Severity::Fatal)];
    assert_eq!(told, known.map(|(word, severity)| (word.to_owned(), severity.points().to_string())));
}

#[test]
fn its_example_is_in_the_vectors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/vectors");
    let vectors: String =
        fs::read_dir(folder).unwrap().map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let document = document();
    let examples: Vec<&str> =
        document.split("```hex\n").skip(1).map(|text| text.split("```").next().unwrap()).collect();
    assert_eq!(examples.len(), 5);
    for example in &examples {
        let hex: String = example.lines().flat_map(|line| line.split(';').next()).collect();
        let hex: String = hex.split_whitespace().collect();
        assert!(vectors.contains(&format!("\"{hex}\"")), "not in the vectors: {hex}");
    }
    let length = |example: &str| -> usize {
        let hex: String = example.lines().flat_map(|line| line.split(';').next()).collect();
        hex.split_whitespace().map(str::len).sum::<usize>() / 2
    };
    assert!(document.contains(&format!("BLAKE3 of these {} bytes", length(examples[1]))));
    let probe = length(examples[4]);
    assert!(document.contains(&format!("These are {probe} bytes, so the frame opens with `{:08x} 00`", probe + 1)));
}
