//! Blocks that must be refused, each with the reason; and that it is the stated fault which is refused.

use ciborium::Value as Cbor;
use lbm::cbor::DecodeError;
use lbm::chain::block::SIGNATURE_DOMAIN;
use lbm::chain::transaction::{MemberJoin, ORDER_DOMAIN, SignedOrder};
use lbm::chain::{Context, GroupId, Invalid, OfferId, Unverified};
use lbm::identity::SecretKey;
use lbm::limits;
use serde_json::json;

use crate::story::{START_MS, Story, bobs_offer, key, order, story, ticket_key};
use crate::vectors::pin;

/// The word of a refusal in the vectors and in `docs/PROTOCOL.md`.
fn word(invalid: &Invalid) -> &'static str {
    match invalid {
        Invalid::TooLong(_) | Invalid::Decode(DecodeError::TooLong { .. }) => "too_long",
        Invalid::Decode(DecodeError::Form(_) | DecodeError::NotDeterministic) => "encoding",
        Invalid::Group => "group",
        Invalid::Signature(_) => "signature",
        Invalid::Transactions(_) => "transactions",
        Invalid::Parents => "parents",
        Invalid::Genesis => "genesis",
        Invalid::SealInCompany => "seal",
        Invalid::Line => "line",
        Invalid::Form(_) => "field",
        Invalid::Future { .. } => "future",
        Invalid::Version(_) => "version",
        Invalid::Sealed => "sealed",
    }
}

struct Bad {
    why: &'static str,
    reason: &'static str,
    block: Unverified,
}

fn context(group: GroupId) -> Context {
    Context { group, now_ms: START_MS, max_drift_ms: limits::MAX_CLOCK_DRIFT_MS }
}

fn signed(by: &SecretKey, body: Vec<u8>) -> Unverified {
    let signature = by.sign(SIGNATURE_DOMAIN, &body);
    Unverified::new(body, signature)
}

fn bytes(cbor: &Cbor) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(cbor, &mut bytes).unwrap();
    bytes
}

fn id(byte: u8) -> Cbor {
    Cbor::Bytes(vec![byte; 32])
}

fn number(number: u64) -> Cbor {
    Cbor::Integer(number.into())
}

fn text(text: &str) -> Cbor {
    Cbor::Text(text.to_owned())
}

fn map(word: &str, value: Cbor) -> Cbor {
    Cbor::Map(vec![(text(word), value)])
}

fn act(word: &str, fields: &[Cbor]) -> Cbor {
    map(word, Cbor::Array(fields.to_vec()))
}

fn plain(acts: Vec<Cbor>) -> Cbor {
    map("plain", Cbor::Array(acts))
}

fn retract() -> Cbor {
    act("retract", &[id(7)])
}

/// A body of the history with one element replaced, signed by its author.
struct Forge<'a> {
    story: &'a Story,
    name: &'static str,
    made: Vec<Bad>,
}

impl Forge<'_> {
    fn elements(&self) -> Vec<Cbor> {
        match ciborium::from_reader(self.story.told(self.name).block.bytes()).unwrap() {
            Cbor::Array(elements) => elements,
            other => panic!("{other:?} is no body"),
        }
    }

    fn author(&self) -> &SecretKey {
        let author = self.story.told(self.name).block.body().author;
        let all = [&self.story.alice, &self.story.bob, &self.story.carol];
        all.into_iter().find(|key| key.identity() == author).unwrap()
    }

    fn raw(&mut self, why: &'static str, reason: &'static str, body: Vec<u8>) {
        let block = signed(self.author(), body);
        self.made.push(Bad { why, reason, block });
    }

    fn with(&mut self, why: &'static str, reason: &'static str, replaced: &[(usize, Cbor)]) {
        let mut elements = self.elements();
        for (index, new) in replaced {
            assert_ne!(&elements[*index], new, "{why}: nothing is changed");
            elements[*index] = new.clone();
        }
        self.raw(why, reason, bytes(&Cbor::Array(elements)));
    }

    fn acts(&mut self, why: &'static str, reason: &'static str, acts: Vec<Cbor>) {
        self.with(why, reason, &[(8, plain(acts))]);
    }
}

fn encodings(forge: &mut Forge<'_>) {
    let good = forge.story.told(forge.name).block.bytes().to_vec();
    let edit = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bad = good.clone();
        edit(&mut bad);
        assert_ne!(bad, good);
        bad
    };
    // An array of 9 (89), version (01), group (58 20 …), author (58 20 …), then seq 2 at 70.
    assert_eq!((good[0], good[1], good[70]), (0x89, 1, 2));
    forge.raw("a trailing byte", "encoding", edit(&|body| body.push(0)));
    forge.raw("cut off", "encoding", edit(&|body| body.truncate(body.len() - 1)));
    forge.raw("nothing at all", "encoding", vec![]);
    let long = |width: &'static [u8]| edit(&move |body: &mut Vec<u8>| drop(body.splice(70..71, width.iter().copied())));
    forge.raw("number 2 in two bytes", "encoding", long(&[0x18, 2]));
    forge.raw("number 2 in nine bytes", "encoding", long(&[0x1b, 0, 0, 0, 0, 0, 0, 0, 2]));
    forge.raw("number 2 as a float", "encoding", long(&[0xf9, 0x40, 0]));
    forge.raw("number 2 as a big number", "encoding", long(&[0xc2, 0x41, 2]));
    forge.raw("number 2 under a tag", "encoding", long(&[0xd8, 0x2a, 2]));
    forge.raw(
        "the array's length in two bytes",
        "encoding",
        edit(&|body| {
            body.splice(0..1, [0x98, 9]);
        }),
    );
    forge.raw(
        "an array of indefinite length",
        "encoding",
        edit(&|body| {
            body[0] = 0x9f;
            body.push(0xff);
        }),
    );
    forge.raw(
        "a byte string of indefinite length",
        "encoding",
        edit(&|body| {
            body.splice(2..36, [&[0x5f, 0x58, 0x20][..], &good[4..36], &[0xff]].concat());
        }),
    );
    forge.raw("another version", "version", edit(&|body| body[1] = 2));
    forge.raw(
        "an element too many",
        "encoding",
        edit(&|body| {
            body[0] = 0x8a;
            body.push(0);
        }),
    );
    forge.raw(
        "an element too few",
        "encoding",
        edit(&|body| {
            body[0] = 0x88;
            body.truncate(71);
            body.extend([0x81; 5]);
        }),
    );
    forge.with("an identity of 31 bytes", "encoding", &[(2, Cbor::Bytes(vec![7; 31]))]);
    forge.with("a group id in words", "encoding", &[(1, text(&"7".repeat(64)))]);
    forge.with("a time in words", "encoding", &[(7, text("now"))]);
    forge.with("an unknown payload", "encoding", &[(8, map("other", Cbor::Array(vec![retract()])))]);
    let twice = Cbor::Map(vec![(text("plain"), Cbor::Array(vec![retract()])); 2]);
    forge.with("a payload twice", "encoding", &[(8, twice)]);
    forge.acts("an unknown act", "encoding", vec![act("print", &[id(7)])]);
    forge.acts("an act with a field too many", "encoding", vec![act("retract", &[id(7), id(7)])]);
    forge.acts("an unknown role", "encoding", vec![act("role_set", &[id(7), text("owner")])]);
    let claim = [id(7), number(1 << 32), Cbor::Null, Cbor::Null, Cbor::Array(vec![])];
    forge.acts("a length of 2^32", "encoding", vec![act("claim", &claim)]);
}

fn rules(forge: &mut Forge<'_>) {
    let parents = |ids: &[u8]| (5, Cbor::Array(ids.iter().map(|byte| id(*byte)).collect()));
    forge.with("parents in descending order", "parents", &[parents(&[2, 1])]);
    forge.with("the same parent twice", "parents", &[parents(&[1, 1])]);
    forge.with("65 parents", "parents", &[parents(&(1..=65).collect::<Vec<u8>>())]);
    let prev = forge.elements()[4].clone();
    forge.with("the previous block as a parent", "parents", &[(5, Cbor::Array(vec![prev]))]);
    forge.with("number 0 with a previous block", "line", &[(3, number(0))]);
    forge.with("number 2 without a previous block", "line", &[(4, Cbor::Null)]);
    forge.with("height 0 of a later block", "line", &[(6, number(0))]);
    forge.with("no group in a later block", "group", &[(1, Cbor::Null)]);
    forge.with("another group", "group", &[(1, id(7))]);
    let late = START_MS + limits::MAX_CLOCK_DRIFT_MS + 1;
    forge.with("dated ahead", "future", &[(7, number(late))]);
    let sealed = Cbor::Array(vec![number(1), Cbor::Bytes(vec![1, 2, 3])]);
    forge.with("a sealed payload", "sealed", &[(8, map("sealed", sealed))]);
    forge.acts("no transaction", "transactions", vec![]);
    forge.acts("101 transactions", "transactions", vec![retract(); 101]);
    forge.acts("a genesis in a later block", "genesis", vec![act("genesis", &[text("a"), text("KAT"), id(9)])]);
    forge.acts(
        "a genesis behind another act",
        "genesis",
        vec![retract(), act("genesis", &[text("a"), text("KAT"), id(9)])],
    );
    let claim = |size: u64, supersedes: &[u8]| {
        let supersedes = Cbor::Array(supersedes.iter().map(|byte| id(*byte)).collect());
        vec![act("claim", &[id(7), number(size), Cbor::Null, Cbor::Null, supersedes])]
    };
    forge.acts("a claim without a byte", "field", claim(0, &[]));
    forge.acts("a claim too long", "field", claim(75_529, &[]));
    forge.acts("superseded claims out of order", "field", claim(1, &[2, 1]));
    forge.acts("a superseded claim twice", "field", claim(1, &[1, 1]));
    forge.acts("17 superseded claims", "field", claim(1, &(1..=17).collect::<Vec<u8>>()));
    forge.acts("an experience too long", "field", vec![act("experience", &[id(7), number(1_048_577)])]);
    let add = |identity: [u8; 32]| vec![act("member_add", &[Cbor::Bytes(identity.to_vec()), text("member")])];
    forge.acts("a member of small order", "field", add(small_order()));
    forge.acts("a member that is no point", "field", add(no_point()));
    tickets(forge);
}

fn tickets(forge: &mut Forge<'_>) {
    let of = |key: &SecretKey| Cbor::Bytes(key.identity().as_bytes().to_vec());
    let ticket = ticket_key();
    let invite = |ticket: Cbor, uses: u64, expires_ms: u64| {
        vec![act("invite", &[ticket, text("member"), number(uses), number(expires_ms)])]
    };
    forge.acts("a ticket for nobody", "field", invite(of(&ticket), 0, 1));
    forge.acts("a ticket for 1,001", "field", invite(of(&ticket), 1_001, 1));
    forge.acts("a ticket without an end", "field", invite(of(&ticket), 1, 0));
    forge.acts("a ticket of small order", "field", invite(Cbor::Bytes(small_order().to_vec()), 1, 1));
    let carol = key("carol");
    let good = MemberJoin::prove(&ticket, &forge.story.group, carol.identity());
    let join = |by: &SecretKey, whom: &SecretKey, proof: &[u8]| {
        vec![act("member_join", &[of(by), of(whom), Cbor::Bytes(proof.to_vec())])]
    };
    forge.acts("a proof for another", "field", join(&ticket, &key("bob"), &*good.proof));
    forge.acts("a proof by another ticket", "field", join(&key("bob"), &carol, &*good.proof));
    let elsewhere = MemberJoin::prove(&ticket, &GroupId::from_bytes([7; 32]), carol.identity());
    forge.acts("a proof for another group", "field", join(&ticket, &carol, &*elsewhere.proof));
    forge.acts("a proof of 63 bytes", "encoding", join(&ticket, &carol, &good.proof[..63]));
}

fn amounts(forge: &mut Forge<'_>) {
    let rule = |name: &str, value: u64| map("policy_update", Cbor::Map(vec![(text(name), number(value))]));
    let alice = || Cbor::Bytes(key("alice").identity().as_bytes().to_vec());
    for word in ["mint", "transfer", "treasury_pay"] {
        forge.acts("a payment of nothing", "field", vec![act(word, &[alice(), number(0)])]);
        forge.acts("a payment of 2^63", "field", vec![act(word, &[alice(), number(1 << 63)])]);
        forge.acts("a payment to no key", "field", vec![act(word, &[Cbor::Bytes(no_point().to_vec()), number(1)])]);
    }
    let negative = [alice(), Cbor::Integer((-1).into())];
    forge.acts("a negative payment", "encoding", vec![act("transfer", &negative)]);
    forge.acts("a policy that changes nothing", "field", vec![map("policy_update", Cbor::Map(vec![]))]);
    forge.acts("an unknown rule", "encoding", vec![rule("price", 1)]);
    forge.acts("a fee above half", "field", vec![rule("transfer_fee_bps", 5_001)]);
    forge.acts("a cap of 2^63", "field", vec![rule("max_total_supply", 1 << 63)]);
    let twice = vec![(text("faucet_amount"), number(1)); 2];
    forge.acts("a rule twice", "encoding", vec![map("policy_update", Cbor::Map(twice))]);
    let swapped = vec![(text("transfer_fee_bps"), number(1)), (text("faucet_amount"), number(1))];
    forge.acts("rules in another order", "encoding", vec![map("policy_update", Cbor::Map(swapped))]);
    let null = vec![(text("faucet_amount"), Cbor::Null)];
    forge.acts("a rule without a value", "encoding", vec![map("policy_update", Cbor::Map(null))]);
}

fn tasks(forge: &mut Forge<'_>) {
    let create = |fields: &[(usize, Cbor)]| {
        let none = Cbor::Array(vec![]);
        let mut all = vec![text("t"), text("T"), Cbor::Null, Cbor::Null, number(0), none, Cbor::Null, number(0)];
        for (at, field) in fields {
            all[*at] = field.clone();
        }
        vec![act("task_create", &all)]
    };
    let ids = |ids: &[&str]| Cbor::Array(ids.iter().map(|id| text(id)).collect());
    let many: Vec<String> = (100..133).map(|number| number.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (why, at, field) in [
        ("a task without a name", 0, text("")),
        ("a task with a space in its name", 0, text("a b")),
        ("a task with a name of 65 letters", 0, text(&"t".repeat(65))),
        ("a task without a title", 1, text(" ")),
        ("a task with a title of two lines", 1, text("two\nlines")),
        ("a task with a title that turns its direction", 1, text("evil\u{202e}txt")),
        ("a task with a title with a tag that nobody sees", 1, text("a\u{e0041}")),
        ("a task with a title of 257 bytes", 1, text(&"t".repeat(257))),
        ("a task with an empty description", 2, text("")),
        ("a task with a description of 4,097 bytes", 2, text(&"d".repeat(4_097))),
        ("a task of priority 10", 4, number(10)),
        ("a task that depends on 33 others", 5, ids(&many)),
        ("a task that depends on another twice", 5, ids(&["a", "a"])),
        ("dependencies in descending order", 5, ids(&["b", "a"])),
        ("a task that is given to no key", 6, Cbor::Bytes(no_point().to_vec())),
        ("a reward of 2^63", 7, number(1 << 63)),
    ] {
        forge.acts(why, "field", create(&[(at, field)]));
    }
    let bob = || Cbor::Bytes(key("bob").identity().as_bytes().to_vec());
    for (why, lease) in [("a lease below a second", 999), ("a lease above 30 days", 2_592_000_001)] {
        forge.acts(why, "field", vec![act("task_assign", &[text("t"), bob(), number(lease)])]);
        forge.acts(why, "field", vec![act("task_start", &[text("t"), number(1), number(lease)])]);
    }
    forge.acts("an attempt of 2^32", "encoding", vec![act("task_release", &[text("t"), number(1 << 32)])]);
    forge.acts("an empty message", "field", vec![act("task_fail", &[text("t"), number(1), text("")])]);
    forge.acts(
        "a message too long",
        "field",
        vec![act("task_fail", &[text("t"), number(1), text(&"e".repeat(1_025))])],
    );
    forge.acts("a task cancelled without a name", "field", vec![act("task_cancel", &[text("")])]);
}

/// Orders that nobody may pay for, and offers that sell no sum.
fn market(forge: &mut Forge<'_>) {
    let group = forge.story.group;
    let good = || order("carol", group, OfferId::from_bytes([7; 32]), ("bob", bobs_offer()));
    let fields = |order: &SignedOrder| match taken_apart(order) {
        (Cbor::Array(fields), _) => fields,
        (other, _) => panic!("{other:?} is no order"),
    };
    let signed = |fields: Vec<Cbor>| {
        let body = bytes(&Cbor::Array(fields));
        let signature = key("carol").sign(ORDER_DOMAIN, &body).to_vec();
        act("purchase", &[Cbor::Array(vec![Cbor::Bytes(body), Cbor::Bytes(signature)])])
    };
    let with = |at: usize, new: Cbor| {
        let mut fields = fields(&good());
        assert_ne!(fields[at], new);
        fields[at] = new;
        vec![signed(fields)]
    };
    forge.acts("an order of another version", "field", with(0, number(2)));
    forge.acts("an order of another group", "field", with(1, id(7)));
    let bob = Cbor::Bytes(key("bob").identity().as_bytes().to_vec());
    forge.acts("an order that another is to pay for", "field", with(2, bob));
    forge.acts("an order of 2^63 tokens", "field", with(6, number(1 << 63)));
    forge.acts("an order with a key of small order", "field", with(9, id(0)));
    forge.acts("an order with a field too many", "encoding", vec![signed([fields(&good()), vec![number(1)]].concat())]);
    let (body, mut signature) = taken_apart(&good());
    let body = bytes(&body);
    let purchase = |body: &[u8], signature: &[u8]| {
        let order = Cbor::Array(vec![Cbor::Bytes(body.to_vec()), Cbor::Bytes(signature.to_vec())]);
        vec![act("purchase", &[order])]
    };
    let mut longer = body.clone();
    longer.push(0);
    forge.acts("an order with a trailing byte", "encoding", purchase(&longer, &signature));
    let block_signature = key("carol").sign(SIGNATURE_DOMAIN, &body);
    forge.acts("an order signed as a block", "field", purchase(&body, &block_signature));
    forge.acts("an order with another signature", "field", purchase(&body, &malleated(signature)));
    signature[3] ^= 1;
    forge.acts("an order that is not signed", "field", purchase(&body, &signature));
    let offer = |fields: &[(usize, Cbor)]| {
        let none = || Cbor::Array(vec![]);
        let package = Cbor::Array(vec![id(1), number(5), id(2)]);
        let mut all = vec![text("t"), Cbor::Null, none(), number(1), none(), none(), Cbor::Null, text("sealed")];
        all.extend([number(60_000), number(900_000), package]);
        for (at, field) in fields {
            all[*at] = field.clone();
        }
        vec![act("offer_create", &all)]
    };
    let part = |name: &str, bps| Cbor::Array(vec![Cbor::Bytes(key(name).identity().as_bytes().to_vec()), number(bps)]);
    let royalty = |byte, bps| Cbor::Array(vec![id(byte), number(bps)]);
    for (why, at, field) in [
        ("an offer with a title of two lines", 0, text("two\nlines")),
        ("tags in descending order", 2, Cbor::Array(vec![text("b"), text("a")])),
        ("splits of less than all", 4, Cbor::Array(vec![part("alice", 9_999)])),
        ("splits of more than all", 4, Cbor::Array(vec![part("alice", 10_001)])),
        ("a split to one twice", 4, Cbor::Array(vec![part("alice", 5_000), part("alice", 5_000)])),
        (
            "a split to no key",
            4,
            Cbor::Array(vec![Cbor::Array(vec![Cbor::Bytes(no_point().to_vec()), number(10_000)])]),
        ),
        ("royalties of more than all", 5, Cbor::Array(vec![royalty(1, 5_000), royalty(2, 5_001)])),
        ("a royalty of nothing", 5, Cbor::Array(vec![royalty(1, 0)])),
        ("royalties in descending order", 5, Cbor::Array(vec![royalty(2, 1), royalty(1, 1)])),
        ("less than a minute to grant", 8, number(59_999)),
        ("less than fifteen minutes to dispute", 9, number(899_999)),
        ("an empty package", 10, Cbor::Array(vec![id(1), number(0), id(2)])),
    ] {
        forge.acts(why, "field", offer(&[(at, field)]));
    }
    forge.acts("another time to settle", "encoding", offer(&[(7, text("later"))]));
    forge.acts("a sealed key of 79 bytes", "field", vec![act("grant", &[id(7), Cbor::Bytes(vec![7; 79])])]);
    let proof = Cbor::Array(vec![number(0), Cbor::Bytes(vec![7; 65_553]), Cbor::Array(vec![])]);
    forge.acts("a dispute with a chunk too long", "field", vec![act("dispute", &[id(7), id(8), proof])]);
}

/// The body of an order, taken apart, and its signature.
fn taken_apart(order: &SignedOrder) -> (Cbor, [u8; 64]) {
    let whole: Cbor = ciborium::from_reader(order.encode().as_slice()).unwrap();
    let Cbor::Array(parts) = whole else { panic!("an order is an array") };
    let [Cbor::Bytes(body), Cbor::Bytes(signature)] = parts.as_slice() else { panic!("of body and signature") };
    (ciborium::from_reader(body.as_slice()).unwrap(), signature.as_slice().try_into().unwrap())
}

/// Genesis blocks; their group is what their own body says.
fn foundings(forge: &mut Forge<'_>) {
    let genesis = |name: &str, currency: &str| vec![act("genesis", &[text(name), text(currency), id(9)])];
    forge.with("a founding with number 1", "genesis", &[(3, number(1))]);
    forge.with("a founding with height 1", "genesis", &[(6, number(1))]);
    forge.with("a founding with a parent", "genesis", &[(5, Cbor::Array(vec![id(1)]))]);
    forge.with("a founding with a previous block", "genesis", &[(4, id(1))]);
    forge.acts("a first block without a genesis", "genesis", vec![retract()]);
    forge.acts("two geneses", "genesis", [genesis("a", "KAT"), genesis("b", "KAT")].concat());
    forge.acts("a name of 129 bytes", "field", genesis(&"n".repeat(129), "KAT"));
    forge.acts("an empty name", "field", genesis("", "KAT"));
    forge.acts("a name with a slash", "field", genesis("../x", "KAT"));
    forge.acts("a currency of 13 letters", "field", genesis("a", "KATKATKATKATK"));
    forge.acts("a currency in small letters", "field", genesis("a", "kat"));
}

/// The neutral point: a key under which anybody can sign anything, were the check not strict.
fn small_order() -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0] = 1;
    bytes
}

/// A y coordinate that no point has.
fn no_point() -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0] = 2;
    bytes
}

/// Adds the order of the group to a signature's scalar: the same signature in another form.
fn malleated(mut signature: [u8; 64]) -> [u8; 64] {
    let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
    let mut carry = 0u16;
    for (byte, add) in signature[32..].iter_mut().zip(order) {
        carry += u16::from(*byte) + u16::from(add);
        *byte = carry.to_le_bytes()[0];
        carry >>= 8;
    }
    signature
}

fn signatures(forge: &mut Forge<'_>) {
    let good = forge.story.told(forge.name).block.to_unverified();
    let mut add = |why, signature| {
        let block = Unverified::new(good.body.clone(), signature);
        forge.made.push(Bad { why, reason: "signature", block });
    };
    add("signed by somebody else", key("mallory").sign(SIGNATURE_DOMAIN, &good.body));
    let other = forge.story.told("left").block.bytes();
    add("the author's signature of another block", forge.story.alice.sign(SIGNATURE_DOMAIN, other));
    add("signed without the domain's tag", forge.story.alice.sign(b"", &good.body));
    add("signed for another domain", forge.story.alice.sign(b"lbm block 2", &good.body));
    add("a signature with its scalar plus the group's order", malleated(good.signature));
    add("no signature", [0; 64]);
    // R neutral, s = 0: holds for every message under the neutral key, where small orders are let through.
    let mut anything = [0; 64];
    anything[..32].copy_from_slice(&small_order());
    let mut elements = forge.elements();
    elements[2] = Cbor::Bytes(small_order().to_vec());
    let block = Unverified::new(bytes(&Cbor::Array(elements)), anything);
    forge.made.push(Bad { why: "a key of small order, which signs anything", reason: "signature", block });
}

fn all(story: &Story) -> Vec<Bad> {
    let mut woven = Forge { story, name: "woven", made: vec![] };
    encodings(&mut woven);
    rules(&mut woven);
    amounts(&mut woven);
    tasks(&mut woven);
    market(&mut woven);
    signatures(&mut woven);
    woven.made
}

#[test]
fn blocks_that_no_node_may_take() {
    let story = story();
    let mut founding = Forge { story: &story, name: "founding", made: vec![] };
    foundings(&mut founding);
    let founding = founding.made.into_iter().map(|bad| (GroupId::from(lbm::chain::BlockId::of(&bad.block.body)), bad));
    let vectors: Vec<_> = all(&story)
        .into_iter()
        .map(|bad| (story.group, bad))
        .chain(founding)
        .map(|(group, Bad { why, reason, block })| {
            match block.clone().verify(&context(group)) {
                Ok(_) => panic!("{why} was accepted"),
                Err(invalid) => assert_eq!(word(&invalid), reason, "{why}: {invalid}"),
            }
            json!({
                "why": why, "reason": reason, "group": group,
                "body": hex::encode(&block.body), "signature": hex::encode(block.signature),
            })
        })
        .collect();
    let drift = limits::MAX_CLOCK_DRIFT_MS;
    pin("refused.json", &json!({"now_ms": START_MS, "max_drift_ms": drift, "blocks": vectors}));
}

#[test]
fn what_is_forged_differs_by_its_fault_alone() {
    // The unchanged body, taken apart and put together and signed by the same hand, is accepted.
    let story = story();
    for name in ["woven", "founding"] {
        let mut forge = Forge { story: &story, name, made: vec![] };
        let same = bytes(&Cbor::Array(forge.elements()));
        forge.raw("nothing", "", same);
        for Bad { block, .. } in forge.made {
            block.verify(&context(story.group)).unwrap();
        }
    }
}

#[test]
fn a_body_past_its_length_is_refused_before_it_is_read() {
    let story = story();
    for (length, reason) in [(limits::BLOCK_BYTES + 1, "too_long"), (limits::BLOCK_BYTES, "encoding")] {
        let block = Unverified::new(vec![0; length], [0; 64]);
        let invalid = block.verify(&context(story.group)).unwrap_err();
        assert_eq!(word(&invalid), reason);
    }
}
