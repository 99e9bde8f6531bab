//! One short history, the same on every machine: keys from fixed seeds, fixed times, every kind of transaction once.
//!
//! Shared by the protocol's vectors and by the tests of the decoders.

use lbm::chain::gone::Gone;
use lbm::chain::transaction::{
    Claim, Dispute, Experience, Genesis, Grant, Invite, InviteRevoke, MemberAdd, MemberJoin, MemberRemove, Mint,
    NotarySet, OfferCreate, OfferRevoke, Offered, Order, PolicyUpdate, Purchase, Refund, Retract, RoleSet, Royalty,
    Seal, Secret, Settle, Settlement, SignedOrder, Split, TaskAssign, TaskCancel, TaskComplete, TaskCreate, TaskFail,
    TaskId, TaskRelease, TaskStart, Transfer, TreasuryPay, Unfreeze,
};
use lbm::chain::{
    BlockId, Body, ClaimBody, ClaimId, Draft, Evidence, Frontier, GroupId, ObjectAt, ObjectHash, OfferId, Payload,
    PurchaseId, Role, TextHash, Tip, Transaction, Verified,
};
use lbm::delegation::knock::{Door, Knock};
use lbm::delegation::{self, Delegation};
use lbm::identity::{Identity, OneTimeSecret, SecretKey};
use lbm::limits;
use lbm::package::{self, ChunkProof, Commitment, PackageKey};
use lbm::presence::{self, Presence, Status};
use lbm::wire::{
    Acting, AuthorTips, Batch, Have, Met, Parted, Peers, Presences, Probe, Pull, Push, Reached, Refused, Request,
    Response, WantBlocks, WantObjects,
};
use serde_bytes::ByteBuf;

/// When the history begins: 2026-01-01 00:00:00 UTC.
pub const START_MS: u64 = 1_767_225_600_000;

/// A block and what the history calls it.
pub struct Told {
    /// Its name in the vectors.
    pub name: &'static str,
    /// The block.
    pub block: Verified,
    /// The objects that it names.
    pub objects: Vec<Vec<u8>>,
}

impl Told {
    /// The ids of what the block publishes.
    pub fn claims(&self) -> Vec<ClaimId> {
        let publishes = |(index, transaction): (u32, &Transaction)| {
            transaction.object().is_some().then(|| ClaimId::derive(self.block.id(), index))
        };
        (0..).zip(self.block.body().transactions()).filter_map(publishes).collect()
    }

    fn tip(&self) -> Tip {
        Tip { seq: self.block.body().seq, id: self.block.id() }
    }
}

/// The whole history.
pub struct Story {
    /// Founds the group.
    pub alice: SecretKey,
    /// A member, later an admin.
    pub bob: SecretKey,
    /// A viewer who writes, is refused, and leaves.
    pub carol: SecretKey,
    /// The group.
    pub group: GroupId,
    /// Its blocks, causes first.
    pub blocks: Vec<Told>,
}

/// The seed of a person's key: one byte, 32 times.
pub fn seed(name: &str) -> [u8; 32] {
    [name.as_bytes()[0]; 32]
}

/// A person's key.
pub fn key(name: &str) -> SecretKey {
    SecretKey::from_seed(&seed(name))
}

/// The text of the claim that earns a reward.
const WORTH: &str = "Measure\ttwice,\n  CUT once";

/// The words of the claims.
pub fn claim_bodies() -> [ClaimBody; 5] {
    let tags = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
    let body = |title: Option<&str>, text: &str, words: &[&str]| {
        ClaimBody::new(title.map(str::to_owned), text.to_owned(), &tags(words)).unwrap()
    };
    [
        body(Some("Input validation"), "Always validate inputs", &["validation", "security"]),
        body(None, "At the edge, and again where it is stored", &[]),
        body(None, "入力を検証する\n\tзначит проверять", &["日本"]),
        body(None, WORTH, &[]),
        body(Some("Input validation"), "Validate inputs once, where they enter", &["validation"])
            .proven(
                vec![
                    Evidence::Command("cargo test validate\n".into(), Some(101)),
                    Evidence::Command("make check".into(), None),
                    Evidence::Hash("sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae".into()),
                    Evidence::Link("https://example.org/review?id=7#入力".into()),
                    Evidence::Note("Seen on two machines".into()),
                ],
                Some(START_MS + 31_536_000_000),
            )
            .unwrap(),
    ]
}

struct Author<'a> {
    key: &'a SecretKey,
    last: Option<(Tip, u64)>,
    blocks: u64,
}

impl Author<'_> {
    /// Signs the author's next block.
    fn write(
        &mut self,
        name: &'static str,
        group: Option<GroupId>,
        parents: &[&Told],
        transactions: Vec<Transaction>,
        objects: Vec<Vec<u8>>,
    ) -> Told {
        let mut ids: Vec<BlockId> = parents.iter().map(|told| told.block.id()).collect();
        ids.sort();
        let heights = parents.iter().map(|told| told.block.body().height).chain(self.last.iter().map(|last| last.1));
        let height = heights.max().map_or(0, |highest| highest + 1);
        let body = Body {
            group,
            author: self.key.identity(),
            seq: self.blocks,
            prev: self.last.as_ref().map(|(tip, _)| tip.id),
            parents: ids,
            height,
            time_ms: START_MS + 1_000 * height,
            payload: Payload::Plain(transactions),
        };
        let block = Draft::new(body).unwrap().sign(self.key);
        self.last = Some((Tip { seq: self.blocks, id: block.id() }, height));
        self.blocks += 1;
        Told { name, block, objects }
    }
}

fn claim(object: &[u8], parent: Option<ClaimId>) -> Transaction {
    Transaction::Claim(Claim {
        object: ObjectHash::of(object),
        size: u32::try_from(object.len()).unwrap(),
        parent,
        rewarded: None,
        supersedes: vec![],
    })
}

/// Rules for tokens, and each way in which they move: 510 are made in all, of which Alice comes to have 108, Bob 400, Carol 1, and 1
/// is left in the treasury.
fn economy(bob: &SecretKey, carol: &SecretKey, worth: &[u8]) -> Vec<Transaction> {
    let policy = PolicyUpdate {
        listed: Some(true),
        faucet_amount: Some(50),
        max_total_supply: Some(1_000_000),
        transfer_fee_bps: Some(250),
        claim_reward_amount: Some(10),
        max_account_balance: Some(0),
    };
    let rewarded = Claim {
        object: ObjectHash::of(worth),
        size: u32::try_from(worth.len()).unwrap(),
        parent: None,
        rewarded: Some(TextHash::of(WORTH)),
        supersedes: vec![],
    };
    let (bob, carol) = (bob.identity(), carol.identity());
    vec![
        Transaction::PolicyUpdate(policy),
        Transaction::Mint(Mint { to: key("alice").identity(), amount: 200 }),
        Transaction::Mint(Mint { to: bob, amount: 300 }),
        Transaction::Claim(rewarded),
        Transaction::Transfer(Transfer { to: bob, amount: 100 }),
        Transaction::PolicyUpdate(PolicyUpdate { faucet_amount: Some(0), ..PolicyUpdate::default() }),
        Transaction::TreasuryPay(TreasuryPay { to: carol, amount: 1 }),
    ]
}

/// Three tasks: one with all that a task can have, one that waits for it and is given to Bob, and one with the least.
fn tasks(bob: &SecretKey) -> Vec<Transaction> {
    let least = |id: &str, title: &str| TaskCreate {
        task: TaskId(id.into()),
        title: title.into(),
        description: None,
        due_ms: None,
        priority: 0,
        depends_on: vec![],
        assignee: None,
        reward: 0,
    };
    let parse = TaskCreate {
        description: Some("All of them,\n\talso those of last year".into()),
        due_ms: Some(START_MS + 86_400_000),
        priority: 9,
        reward: 20,
        ..least("logs:parse-1", "Parse the logs")
    };
    let report = TaskCreate {
        depends_on: vec![parse.task.clone()],
        assignee: Some(bob.identity()),
        ..least("report", "Write it up")
    };
    [parse, report, least("Spare_1.x", "If there is time")].map(Transaction::TaskCreate).into()
}

/// Bob completes the first, for which he is paid, cannot do the second, and gives the third back before he cancels it.
fn work(bob: &SecretKey, result: ClaimId) -> Vec<Transaction> {
    let id = |id: &str| TaskId(id.into());
    let take = |task| Transaction::TaskAssign(TaskAssign { task, assignee: bob.identity(), lease_ms: 600_000 });
    let start = |task| Transaction::TaskStart(TaskStart { task, attempt: 1, lease_ms: 1_000 });
    let (parse, report, spare) = (id("logs:parse-1"), id("report"), id("Spare_1.x"));
    let result_hash = Some(ObjectHash::of(b"parsed"));
    vec![
        take(parse.clone()),
        start(parse.clone()),
        Transaction::TaskComplete(TaskComplete { task: parse, attempt: 1, result: Some(result), result_hash }),
        start(report.clone()),
        Transaction::TaskFail(TaskFail { task: report, attempt: 1, error_message: Some("no model reads that".into()) }),
        take(spare.clone()),
        Transaction::TaskRelease(TaskRelease { task: spare.clone(), attempt: 1 }),
        Transaction::TaskCancel(TaskCancel { task: spare }),
    ]
}

/// What Alice and Bob sell: 20 bytes, and two chunks.
pub fn packages() -> [(PackageKey, Vec<u8>); 2] {
    let long = (0..70_000u32).map(|at| (at % 251) as u8).collect();
    [(PackageKey::from_bytes([0x11; 32]), b"Measure three times.".to_vec()), (PackageKey::from_bytes([0x22; 32]), long)]
}

fn commitments() -> [Commitment; 2] {
    packages().map(|(key, content)| package::encrypt(&key, &content).unwrap().1)
}

/// The second chunk of what Bob sells, with its way to the root.
pub fn chunk() -> ChunkProof {
    let [_, (key, content)] = packages();
    package::prove(&package::encrypt(&key, &content).unwrap().0, 1).unwrap()
}

/// The one-time secret of a person's order.
pub fn one_time_secret(name: &str) -> OneTimeSecret {
    OneTimeSecret::from_bytes([name.as_bytes()[0] + 0x80; 32])
}

/// What Bob offers: the least that an offer can say.
pub fn bobs_offer() -> OfferCreate {
    OfferCreate {
        title: "Seventy thousand bytes".into(),
        description: None,
        tags: vec![],
        price: 1,
        splits: vec![],
        royalties: vec![],
        expires_ms: None,
        settle: Settlement::AtOnce,
        grant_within_ms: 60_000,
        dispute_within_ms: 900_000,
        package: commitments()[1],
    }
}

/// What Alice offers, which builds on Bob's: all that one can say.
fn alices_offer(bobs: OfferId) -> OfferCreate {
    let mut splits =
        vec![Split { to: key("alice").identity(), bps: 7_000 }, Split { to: key("carol").identity(), bps: 3_000 }];
    splits.sort_by_key(|split| split.to);
    OfferCreate {
        title: "How to measure".into(),
        description: Some("Three times,\n\tat least".into()),
        tags: vec!["measuring".into(), "日本".into()],
        price: 100,
        splits,
        royalties: vec![Royalty { offer: bobs, bps: 500 }],
        expires_ms: Some(START_MS + 86_400_000),
        settle: Settlement::Sealed,
        grant_within_ms: 3_600_000,
        dispute_within_ms: 3_600_000,
        package: commitments()[0],
    }
}

/// An offer as it is announced.
fn announced(offer: OfferCreate) -> Offered {
    Offered { group_name: "domain:research".into(), currency: "KAT".into(), offer }
}

/// A person's first order, of what somebody offers.
pub fn order(name: &str, group: GroupId, offer: OfferId, (seller, offered): (&str, OfferCreate)) -> SignedOrder {
    let (seller, key_of_buyer) = (key(seller).identity(), key(name));
    let (price, terms) = (offered.price, announced(offered).terms());
    let order = Order {
        version: 1,
        group,
        buyer: key_of_buyer.identity(),
        offer,
        seller,
        terms,
        price,
        nonce: 0,
        expires_ms: START_MS + 3_600_000,
        key: one_time_secret(name).key(),
    };
    order.sign(&key_of_buyer)
}

fn grant(order: &SignedOrder, key: &PackageKey, random: u8) -> Transaction {
    Transaction::Grant(Grant::seal(order.id(), &order.order().key, key, &[random; 32]).unwrap())
}

/// The secret half of the ticket by which Carol comes back.
pub fn ticket_key() -> SecretKey {
    SecretKey::from_seed(&[0x71; 32])
}

/// Tells the history.
#[allow(clippy::too_many_lines, reason = "one story, told in its sequence")]
pub fn story() -> Story {
    let (alice, bob, carol) = (key("alice"), key("bob"), key("carol"));
    let [validate, edge, script, worth, once] = claim_bodies().map(|body| body.encode());
    let run = b"{\"steps\":[\"read\",\"write\"],\"result\":\"done\"}".to_vec();
    let author = |key| Author { key, last: None, blocks: 0 };
    let (mut by_alice, mut by_bob, mut by_carol) = (author(&alice), author(&bob), author(&carol));

    let genesis = Genesis { name: "domain:research".into(), currency: "KAT".into(), discovery_secret: Secret([9; 32]) };
    let founding = by_alice.write("founding", None, &[], vec![Transaction::Genesis(genesis)], vec![]);
    let group = Some(GroupId::from(founding.block.id()));
    let add = |who: &SecretKey, role| Transaction::MemberAdd(MemberAdd { identity: who.identity(), role });
    let members =
        by_alice.write("members", group, &[], vec![add(&bob, Role::Member), add(&carol, Role::Viewer)], vec![]);
    let experience = Experience { object: ObjectHash::of(&run), size: u32::try_from(run.len()).unwrap() };
    let knowledge = by_bob.write(
        "knowledge",
        group,
        &[&members],
        vec![claim(&validate, None), claim(&script, None), Transaction::Experience(experience)],
        vec![validate, script.clone(), run],
    );
    let [validated, translated, _] = knowledge.claims().try_into().unwrap();
    let refused = by_carol.write("refused", group, &[&members], vec![claim(&script, Some(translated))], vec![script]);
    let woven = by_alice.write(
        "woven",
        group,
        &[&knowledge, &refused],
        vec![
            claim(&edge, Some(validated)),
            Transaction::Retract(Retract { claim: translated }),
            Transaction::RoleSet(RoleSet { identity: bob.identity(), role: Role::Admin }),
        ],
        vec![edge],
    );
    let size = u32::try_from(once.len()).unwrap();
    let (object, supersedes) = (ObjectHash::of(&once), vec![validated]);
    let once_again = Claim { object, size, parent: None, rewarded: None, supersedes };
    let revised = by_bob.write("revised", group, &[&woven], vec![Transaction::Claim(once_again)], vec![once]);
    let leave = Transaction::MemberRemove(MemberRemove { identity: carol.identity() });
    let left = by_carol.write("left", group, &[&revised], vec![leave], vec![]);
    let economy = by_alice.write("economy", group, &[&left], economy(&bob, &carol, &worth), vec![worth]);
    let tasks = by_alice.write("tasks", group, &[], tasks(&bob), vec![]);
    let work = by_bob.write("work", group, &[&tasks], work(&bob, validated), vec![]);

    // Bob offers, Alice offers what builds on it; Bob buys hers, and Carol, who has an account and is no member, hands Bob an order for his.
    let offers = by_bob.write("offer", group, &[], vec![Transaction::OfferCreate(bobs_offer())], vec![]);
    let bobs = OfferId::derive(offers.block.id(), 0);
    let more = vec![Transaction::OfferCreate(alices_offer(bobs))];
    let builds_on = by_alice.write("offer on another", group, &[&offers], more, vec![]);
    let alices = OfferId::derive(builds_on.block.id(), 0);
    let named = GroupId::from(founding.block.id());
    let by_bob_for_alices = order("bob", named, alices, ("alice", alices_offer(bobs)));
    let by_carol_for_bobs = order("carol", named, bobs, ("bob", bobs_offer()));
    let buys = |order: &SignedOrder| Transaction::Purchase(Purchase { order: order.clone() });
    let orders = vec![buys(&by_bob_for_alices), buys(&by_carol_for_bobs)];
    let bought = by_bob.write("bought", group, &[&builds_on], orders, vec![]);

    // Alice seals what she has seen, and hands over; Bob seals from there on.
    let hand_over = Transaction::NotarySet(NotarySet { identity: bob.identity() });
    let handed_over = by_alice.write("handed over", group, &[&bought], vec![hand_over], vec![]);
    let sealed = by_alice.write("sealed", group, &[], vec![Transaction::Seal(Seal { epoch: 1 })], vec![]);
    // Refused: Carol is not frozen.
    let lifted = Transaction::Unfreeze(Unfreeze { identity: carol.identity() });
    let lifted = by_bob.write("lifted", group, &[&sealed], vec![lifted], vec![]);
    // Alice grants, and Bob settles. Bob grants Carol the key of another package, and Alice hands her dispute in.
    let [(alices_key, _), _] = packages();
    let granted_by_alice = vec![grant(&by_bob_for_alices, &alices_key, 0x33)];
    let granted_by_alice = by_alice.write("granted", group, &[], granted_by_alice, vec![]);
    let settle = |purchase: PurchaseId| Transaction::Settle(Settle { purchase });
    let more = vec![settle(by_bob_for_alices.id()), grant(&by_carol_for_bobs, &alices_key, 0x44)];
    let settled = by_bob.write("settled", group, &[&granted_by_alice], more, vec![]);
    let purchase = by_carol_for_bobs.id();
    let dispute = Dispute { purchase, secret: one_time_secret("carol"), chunk: Some(chunk()) };
    let revoke = OfferRevoke { offer: alices };
    let disputed = vec![Transaction::Dispute(dispute), Transaction::OfferRevoke(revoke)];
    let disputed = by_alice.write("disputed", group, &[&settled], disputed, vec![]);
    // Refused: the purchase has ended.
    let refund = Transaction::Refund(Refund { purchase });
    let refunded = by_bob.write("refund", group, &[&disputed], vec![refund], vec![]);
    let sealed_again = by_bob.write("sealed again", group, &[], vec![Transaction::Seal(Seal { epoch: 2 })], vec![]);

    // Bob makes two tickets and ends one; Alice, who is a member yet, lets Carol in by the other.
    let ticket = |key: &SecretKey, uses| Invite {
        ticket: key.identity(),
        role: Role::Member,
        uses,
        expires_ms: START_MS + 86_400_000,
    };
    let ended = SecretKey::from_seed(&[0x72; 32]);
    let tickets = vec![
        Transaction::Invite(ticket(&ticket_key(), 1)),
        Transaction::Invite(ticket(&ended, 1_000)),
        Transaction::InviteRevoke(InviteRevoke { ticket: ended.identity() }),
    ];
    let tickets = by_bob.write("tickets", group, &[], tickets, vec![]);
    let let_in = MemberJoin::prove(&ticket_key(), &named, carol.identity());
    let let_in = by_alice.write("let in", group, &[&tickets], vec![Transaction::MemberJoin(let_in)], vec![]);

    let group = GroupId::from(founding.block.id());
    let blocks = vec![
        founding,
        members,
        knowledge,
        refused,
        woven,
        revised,
        left,
        economy,
        tasks,
        work,
        offers,
        builds_on,
        bought,
        handed_over,
        sealed,
        lifted,
        granted_by_alice,
        settled,
        disputed,
        refunded,
        sealed_again,
        tickets,
        let_in,
    ];
    Story { alice, bob, carol, group, blocks }
}

impl Story {
    /// A block by its name.
    pub fn told(&self, name: &str) -> &Told {
        self.blocks.iter().find(|told| told.name == name).unwrap()
    }

    /// Who has the whole history.
    pub fn frontier(&self) -> Frontier {
        let mut frontier = Frontier::default();
        for told in &self.blocks {
            frontier.advance(told.block.body().author, told.block.body().prev, told.tip());
        }
        frontier
    }

    fn reached(&self, name: &str) -> Reached {
        let told = self.told(name);
        Reached { author: told.block.body().author, tip: told.tip() }
    }

    fn objects(&self, name: &str) -> Vec<ByteBuf> {
        self.told(name).objects.iter().cloned().map(ByteBuf::from).collect()
    }

    /// What the members say of themselves, ascending by member.
    pub fn presences(&self) -> Vec<presence::Verified> {
        let metadata = "{\"task\":\"入力を検証する\",\"step\":[1,2.5,null]}".to_owned();
        let says = |key: &SecretKey, status, metadata: Option<String>| {
            let presence =
                Presence { group: self.group, member: key.identity(), status, metadata, time_ms: START_MS + 9_000 };
            presence.sign(key).unwrap()
        };
        let mut said = vec![
            says(&self.alice, Status::Active, None),
            says(&self.bob, Status::Busy, Some(metadata)),
            says(&self.carol, Status::Offline, Some("{}".to_owned())),
        ];
        said.sort_by_key(|record| record.presence().member);
        said
    }

    /// What Bob and Carol have signed for Alice's node.
    pub fn delegations(&self) -> Vec<(Delegation, delegation::Unverified)> {
        let give = |key: &SecretKey| {
            let (agent, node) = (key.identity(), self.alice.identity());
            let (from_ms, expires_ms) = (START_MS + 9_000, START_MS + 9_000 + limits::DELEGATION_LIFE_MS);
            let given = Delegation { group: self.group, agent, node, from_ms, expires_ms };
            (given, given.sign(key))
        };
        vec![give(&self.bob), give(&self.carol)]
    }

    /// The same, as Alice's node knocks with it at Carol's.
    pub fn knock(&self) -> Knock {
        let door = Door { group: self.group, from: self.alice.identity(), to: self.carol.identity() };
        let signed: Vec<_> = self.delegations().into_iter().map(|(_, signed)| signed).collect();
        Knock::new(&door, &signed)
    }

    /// Every kind of request.
    pub fn requests(&self) -> Vec<(&'static str, Request)> {
        let group = self.group;
        let blocks = |names: &[&str]| names.iter().map(|name| self.told(name).block.to_unverified()).collect();
        let digest = ByteBuf::from(self.frontier().digest().to_vec());
        let block = self.told("knowledge").block.id();
        let acts = self.told("knowledge").block.body().transactions();
        let named = (0..).zip(acts).filter(|(_, act)| act.object().is_some());
        let objects = named.map(|(index, _)| ObjectAt { block, index }).collect();
        let forked: Vec<Identity> = vec![self.alice.identity(), self.bob.identity()];
        let two = Frontier::new(forked.into_iter().map(|author| (author, self.frontier().tips(&author).to_vec())));
        vec![
            ("probe", Request::Probe(Probe { group, digest })),
            ("pull, of nothing", Request::Pull(Pull { group, frontier: vec![] })),
            ("pull, of two authors", Request::Pull(Pull { group, frontier: Vec::<AuthorTips>::from(&two) })),
            ("want_blocks", Request::WantBlocks(WantBlocks { group, ids: vec![self.told("woven").block.id()] })),
            ("want_objects", Request::WantObjects(WantObjects { group, objects })),
            ("push", Request::Push(Push { group, blocks: blocks(&["knowledge"]), objects: self.objects("knowledge") })),
            ("have", Request::Have(Have { group, tips: vec![self.reached("woven"), self.reached("left")] })),
            (
                "presences",
                Request::Presences(Presences {
                    group,
                    records: self.presences().iter().map(presence::Verified::to_unverified).collect(),
                }),
            ),
            (
                "acting",
                Request::Acting(Acting {
                    group,
                    delegations: self.delegations().into_iter().map(|(_, signed)| signed).collect(),
                }),
            ),
            ("peers", Request::Peers(Peers { group })),
            ("knock", Request::Knock(self.knock())),
            ("parted", Request::Parted(Parted { group, why: Gone::TicketUsedUp })),
        ]
    }

    /// Every kind of response.
    pub fn responses(&self) -> Vec<(&'static str, Response)> {
        let blocks = |names: &[&str]| names.iter().map(|name| self.told(name).block.to_unverified()).collect();
        vec![
            (
                "batch, the last",
                Response::Batch(Batch {
                    blocks: blocks(&["woven", "left"]),
                    objects: self.objects("woven"),
                    reached: vec![self.reached("woven"), self.reached("left")],
                    more: false,
                }),
            ),
            (
                "batch, with more behind it",
                Response::Batch(Batch {
                    blocks: blocks(&["founding"]),
                    objects: vec![],
                    reached: vec![self.reached("founding")],
                    more: true,
                }),
            ),
            (
                "peers",
                Response::Peers(vec![Met {
                    peer: self.bob.identity(),
                    addresses: vec!["/ip4/192.0.2.7/tcp/7337".into(), "/ip4/192.0.2.7/udp/7337/quic-v1".into()],
                }]),
            ),
            ("same", Response::Same),
            ("differs", Response::Differs),
            ("taken", Response::Taken),
            ("refused, not shared", Response::Refused(Refused::NotShared)),
            ("refused, gone", Response::Refused(Refused::Gone(Gone::TicketUsedUp))),
            ("refused, busy", Response::Refused(Refused::Busy(200))),
            ("refused, malformed", Response::Refused(Refused::Malformed)),
            ("refused, failed", Response::Refused(Refused::Failed)),
        ]
    }
}
