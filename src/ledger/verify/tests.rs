//! What holds is found to hold, and each kind of damage is found.

use std::collections::BTreeMap;

use super::*;
use crate::chain::rows::{parse_row, write_row};
use crate::chain::transaction::{Claim, MemberAdd};
use crate::chain::{Body, ClaimBody, Draft, Payload, Role};
use crate::identity::SecretKey;
use crate::kv::Range;
use crate::ledger::Refusal;
use crate::node::engine::{self, Engine, Groups, Reply, Task};

struct Shared<'a>(&'a Memory);

impl Read for Shared<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.0.get(table, key)
    }

    fn scan(&self, table: Table, range: Range<'_>, direction: Direction, visit: &mut Visit<'_>) -> Result<(), KvError> {
        self.0.scan(table, range, direction, visit)
    }
}

#[derive(Default)]
struct Node {
    engine: Engine,
    groups: BTreeMap<GroupId, Memory>,
}

impl Groups for Node {
    fn group(&self, id: &GroupId) -> Result<Option<Box<dyn Read + '_>>, KvError> {
        Ok(self.groups.get(id).map(|rows| Box::new(Shared(rows)) as Box<dyn Read>))
    }
}

impl Node {
    fn new(key: &SecretKey) -> Self {
        Self { engine: Engine::new([key.clone()]), groups: BTreeMap::new() }
    }

    fn run(&mut self, task: Task) -> Reply {
        let mut engine = std::mem::take(&mut self.engine);
        let mut done = engine.run(&*self, 1_000, vec![((), task)]).unwrap();
        self.engine = engine;
        for (id, changes) in done.changes {
            self.groups.entry(id).or_default().commit(changes);
        }
        done.replies.remove(0).1.unwrap()
    }

    fn write(&mut self, group: GroupId, author: Identity, transactions: Vec<Transaction>, objects: Vec<Vec<u8>>) {
        self.run(Task::Write { group, author, transactions, objects });
    }
}

fn claim(text: &str) -> (Transaction, Vec<u8>) {
    let object = ClaimBody::new(None, text.into(), &[]).unwrap().encode();
    let size = u32::try_from(object.len()).unwrap();
    (
        Transaction::Claim(Claim {
            object: ObjectHash::of(&object),
            size,
            parent: None,
            rewarded: None,
            supersedes: vec![],
        }),
        object,
    )
}

/// A group of an admin and a member, whose first block stands in the order before the one that adds it, and is refused there.
fn a_group() -> (GroupId, Memory) {
    let (admin, member) = (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32]));
    let mut node = Node::new(&admin);
    let genesis = engine::genesis("g".into(), "KAT".into(), [7; 32]);
    let Reply::Founded(group) = node.run(Task::Found { author: admin.identity(), genesis }) else { panic!() };
    let add = MemberAdd { identity: member.identity(), role: Role::Member };
    node.write(group, admin.identity(), vec![Transaction::MemberAdd(add)], vec![]);
    let adding = rows::heads(&node.groups[&group]).unwrap()[0].id;

    let (transaction, object) = claim("too early");
    let early = |time_ms| Body {
        group: Some(group),
        author: member.identity(),
        seq: 0,
        prev: None,
        parents: vec![BlockId::from_bytes(*group.as_bytes())],
        height: 1,
        time_ms,
        payload: Payload::Plain(vec![transaction.clone()]),
    };
    let draft = (0..).map(|time_ms| Draft::new(early(time_ms)).unwrap()).find(|draft| draft.id() < adding).unwrap();
    let objects = vec![(ObjectHash::of(&object), object)];
    let blocks = vec![draft.sign(&member)];
    node.run(Task::Ingest { group, peer: member.identity(), blocks, objects });
    for text in ["one", "two"] {
        let (transaction, object) = claim(text);
        node.write(group, admin.identity(), vec![transaction], vec![object]);
    }
    (group, node.groups.remove(&group).unwrap())
}

/// The faults that are found once rows of a table were changed: each row is given with its key, and what it becomes comes back.
fn faults_of(table: Table, change: impl Fn(&[u8], &[u8]) -> Option<Option<Vec<u8>>>) -> String {
    let (group, mut memory) = a_group();
    let mut overlay = Overlay::new(&memory);
    let changed: Vec<_> =
        memory.rows(table).iter().filter_map(|(key, value)| Some((key.clone(), change(key, value)?))).collect();
    assert!(!changed.is_empty(), "nothing was changed");
    for (key, value) in changed {
        overlay.set(table, key, value);
    }
    let changes = overlay.into_changes();
    memory.commit(changes);
    let faults = verify(&memory, group).unwrap().faults;
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[test]
fn what_holds_is_found_to_hold() {
    let (group, memory) = a_group();
    let report = verify(&memory, group).unwrap();
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    assert_eq!((report.blocks, report.state_hash), (5, query::state_hash(&memory).unwrap()));
    assert_eq!(rows::counters(&memory).unwrap().refused, 1);
}

#[test]
fn an_altered_block_is_found() {
    let found = faults_of(Table::Line, |key, value| {
        let mut value = value.to_vec();
        *value.first_mut()? ^= 1;
        key.starts_with(SecretKey::from_seed(&[2; 32]).identity().as_bytes()).then_some(Some(value))
    });
    assert!(found.contains("is invalid: the block's signature does not match"), "{found}");
    let found = faults_of(Table::Line, |_, value| {
        let at = value.len() - 3;
        let mut value = value.to_vec();
        value[at] ^= 1;
        Some(Some(value))
    });
    assert!(found.contains("should lie"), "{found}");
}

#[test]
fn a_missing_place_is_found() {
    let found = faults_of(Table::Order, |key, _| {
        let place = OrderKey::from_bytes(key)?;
        (place.height == 2).then_some(None)
    });
    assert!(found.contains("builds on 1 blocks") && found.contains("counters"), "{found}");
}

#[test]
fn an_altered_outcome_is_found() {
    let found = faults_of(Table::Order, |key, value| {
        let mut row: OrderRow = parse_row(Table::Order, key, value).unwrap();
        let author = Identity::from_stored([3; 32]);
        (OrderKey::from_bytes(key)?.height == 3).then(|| {
            row.outcome = Outcome::Refused(0, Refusal::NotAMember(author));
            let nothing = Memory::default();
            let mut overlay = Overlay::new(&nothing);
            write_row(&mut overlay, Table::Order, vec![], &row);
            overlay.get(Table::Order, &[]).unwrap()
        })
    });
    assert!(found.contains("comes out as applied"), "{found}");
}

#[test]
fn an_altered_state_object_or_head_is_found() {
    let found = faults_of(Table::State, |key, _| key.starts_with(b"c").then_some(None));
    assert!(found.contains("the stored state has the hash"), "{found}");
    let found = faults_of(Table::Object, |_, value| Some(Some([value, b"x"].concat())));
    assert!(found.contains("has other bytes than its hash says"), "{found}");
    let found = faults_of(Table::Meta, |key, _| key.starts_with(b"h").then_some(None));
    assert!(found.contains("heads"), "{found}");
    let found = faults_of(Table::Meta, |key, _| key.starts_with(b"t").then_some(None));
    assert!(found.contains("tips"), "{found}");
}

#[test]
fn another_groups_blocks_are_not_ours() {
    let (_, memory) = a_group();
    let faults = verify(&memory, GroupId::from_bytes([9; 32])).unwrap().faults;
    assert!(faults[0].to_string().contains("another group"), "{faults:?}");
}
