use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tempfile::TempDir;

use super::group::Seen;
use super::keeper::Keeper;
use super::{Answer, Indexes, Question};
use crate::chain::transaction::{Claim, MemberAdd, Retract, RoleSet};
use crate::chain::{ClaimBody, ClaimId, GroupId, ObjectHash, Role, Transaction};
use crate::identity::{Identity, SecretKey};
use crate::knowledge::context::Ask;
use crate::limits;
use crate::node::Engine;
use crate::node::engine::{Groups, Reply, Task, genesis};
use crate::store::{Registry, Store};
use crate::testing::desk::{Desk, who, words};

/// Changes of files that may still happen before all fail.
#[derive(Debug)]
pub(super) struct Faults(AtomicI64);

impl Default for Faults {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MAX))
    }
}

impl Faults {
    pub(super) fn step(&self) -> io::Result<()> {
        if self.0.fetch_sub(1, Ordering::Relaxed) > 0 { Ok(()) } else { Err(io::Error::other("the power is gone")) }
    }
}

/// A store with one group, and what keeps its index.
struct Node {
    data: TempDir,
    store: Arc<Store>,
    engine: Engine,
    me: Identity,
    group: GroupId,
    keeper: Keeper,
}

impl Node {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let key = SecretKey::from_seed(&[1; 32]);
        let me = key.identity();
        let store = Arc::new(Store::open(&data.path().join("lbm.redb"), &me).unwrap());
        let mut engine = Engine::new([key]);
        let found = Task::Found { author: me, genesis: genesis("g".into(), "KAT".into(), [7; 32]) };
        let mut done = engine.run(&store.view().unwrap(), 1, vec![((), found)]).unwrap();
        store.commit(&done.changes, &Registry::default()).unwrap();
        let Some(((), Ok(Reply::Founded(group)))) = done.replies.pop() else { panic!("nothing was founded") };
        let keeper = Keeper::new(Indexes::in_folder(data.path().join("index")), Arc::clone(&store));
        Self { data, store, engine, me, group, keeper }
    }

    /// Publishes claims, so many in each block, in one commit.
    fn publish(&mut self, texts: &[String], in_block: usize) {
        let task = |texts: &[String]| {
            let (transactions, objects) = texts.iter().map(|text| words(text)).unzip();
            ((), Task::Write { group: self.group, author: self.me, transactions, objects })
        };
        let tasks = texts.chunks(in_block).map(task).collect();
        let done = self.engine.run(&self.store.view().unwrap(), 2, tasks).unwrap();
        assert!(done.replies.iter().all(|(_, reply)| reply.is_ok()));
        self.store.commit(&done.changes, &Registry::default()).unwrap();
    }

    fn ask(&self, query: &str) -> Answer {
        let question =
            Question { query: query.into(), ask: Ask { top_k: 100, budget_tokens: None }, ..Question::default() };
        let view = self.store.view().unwrap();
        let kv = view.group(&self.group).unwrap().unwrap();
        self.keeper.indexes.answer(self.group, kv.as_ref(), &question, None).unwrap()
    }

    /// The claims of an answer, with their scores.
    fn found(&self, query: &str) -> Vec<(String, u32)> {
        let items = self.ask(query).context.items;
        items.into_iter().map(|item| (item.text, item.score.to_bits())).collect()
    }

    /// Lets the background do all there is to do; whether it could.
    fn keep(&self) -> bool {
        loop {
            match self.keeper.step(self.group) {
                Ok(true) => {}
                Ok(false) => return true,
                Err(_) => return false,
            }
        }
    }

    /// As after a crash: nothing of the indexes is left but the files.
    fn restart(&mut self) {
        self.keeper = Keeper::new(Indexes::in_folder(self.data.path().join("index")), Arc::clone(&self.store));
    }

    fn files(&self) -> BTreeSet<PathBuf> {
        let folder = self.data.path().join("index").join(self.group.to_string());
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    fn fail_after(&self, changes: i64) {
        let slot = self.keeper.indexes.group(self.group);
        let folder = slot.with(|index| index.folder()).flatten().unwrap();
        folder.faults.0.store(changes, Ordering::Relaxed);
    }
}

/// Short texts, each with a number of its own; few words, so that many are alike.
fn texts(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("w{} n{number}", number % 37)).collect()
}

const MANY: usize = limits::INDEX_FLUSH_DOCUMENTS + 100;

#[test]
fn whatever_is_cut_short_the_index_opens_and_answers() {
    let mut node = Node::new();
    node.publish(&texts(0..MANY), 100);
    let expected = node.found("w5 n42");
    assert_eq!(expected[0].0, "w5 n42");
    let mut cuts = 0;
    loop {
        node.fail_after(cuts);
        let is_done = node.keep();
        // It goes on in memory, and after a start from what the files have.
        assert_eq!(node.found("w5 n42"), expected, "after {cuts} changes");
        node.restart();
        assert_eq!(node.found("w5 n42"), expected, "after {cuts} changes and a start");
        if is_done {
            break;
        }
        cuts += 1;
    }
    assert!(cuts >= 8, "a file and a manifest took {cuts} changes");
    assert!(node.keep());
    assert_eq!(node.files().len(), 2, "one segment and the manifest: {:?}", node.files());
    // What is written later goes on from there.
    node.publish(&texts(MANY..MANY + 5), 1);
    assert_eq!(node.found(&format!("n{}", MANY + 4)).len(), 1);
}

#[test]
fn what_is_damaged_is_noticed_and_built_anew() {
    let mut node = Node::new();
    node.publish(&texts(0..MANY), 100);
    let expected = node.found("w5 n42");
    assert!(node.keep());
    for case in 0..6 {
        node.restart();
        let is_manifest = |path: &PathBuf| path.ends_with("manifest");
        let (manifest, segments): (Vec<PathBuf>, Vec<PathBuf>) = node.files().into_iter().partition(is_manifest);
        let ([manifest], [segment]) = (manifest.as_slice(), segments.as_slice()) else { panic!("{:?}", node.files()) };
        let change = |path: &PathBuf, change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = fs::read(path).unwrap();
            change(&mut bytes);
            fs::write(path, bytes).unwrap();
        };
        match case {
            0 => fs::remove_file(manifest).unwrap(),
            1 => change(manifest, &|bytes| bytes[40] ^= 1),
            2 => fs::remove_file(segment).unwrap(),
            3 => change(segment, &|bytes| bytes.truncate(1_000)),
            4 => change(segment, &|bytes| bytes.clear()),
            // Where no trailer tells.
            _ => change(segment, &|bytes| bytes[100..50_000].fill(0xa5)),
        }
        // Whatever is missing: nothing fails, and the background makes it whole.
        node.ask("w5 n42");
        assert!(node.keep(), "case {case}");
        let answer = node.ask("w5 n42");
        assert_eq!(answer.indexed_percent, None, "case {case}");
        assert_eq!(node.found("w5 n42"), expected, "case {case}");
        assert_eq!(node.files().len(), 2, "case {case}: {:?}", node.files());
    }
}

#[test]
fn what_is_new_is_found_while_the_rest_is_rebuilt() {
    let mut node = Node::new();
    let many = limits::INDEX_REPLAY_BLOCKS as usize + 500;
    node.publish(&texts(0..many), 1);
    let condition = |node: &Node| node.keeper.indexes.conditions(&node.store.view().unwrap()).unwrap().remove(0);
    // Before anybody has asked nothing is read, and nothing waits for it.
    let before = condition(&node);
    assert_eq!((before.claims, before.indexed_percent), (0, None));
    assert!(before.behind >= many as u64, "{before:?}");
    let answer = node.ask("n10");
    let asked = condition(&node);
    assert!(asked.indexed_percent.is_some_and(|percent| percent < 100) && asked.claims > 0, "{asked:?}");
    assert_eq!(asked.behind, 0);
    assert!(answer.indexed_percent.is_some_and(|percent| percent < 100), "{:?}", answer.indexed_percent);
    assert!(!answer.context.items.iter().any(|item| item.text == "w10 n10"));
    node.publish(&["w1 justnow".to_owned()], 1);
    assert_eq!(condition(&node).behind, 1);
    // One that is at work is as it was: nobody waits for it.
    let slot = node.keeper.indexes.group(node.group);
    let at_work = slot.lock();
    assert_eq!(condition(&node).behind, 1);
    drop(at_work);
    assert_eq!(node.found("justnow")[0].0, "w1 justnow");
    assert!(node.keep());
    let answer = node.ask("n10");
    assert_eq!((answer.indexed_percent, answer.context.items[0].text.as_str()), (None, "w10 n10"));
    // Nothing is there twice, and a start has it all at once.
    let expected = (node.found("w1 n75"), node.found("justnow"));
    node.restart();
    assert_eq!(node.ask("n10").indexed_percent, None);
    assert_eq!((node.found("w1 n75"), node.found("justnow")), expected);
    assert_eq!(condition(&node).claims, many + 1);
}

#[test]
fn an_index_of_another_history_is_not_believed() {
    let mut node = Node::new();
    node.publish(&texts(0..MANY), 100);
    node.found("w5");
    assert!(node.keep());
    let mut other = Node::new();
    assert_eq!(other.group, node.group);
    let others: Vec<String> = (0..MANY).map(|number| format!("other{number}")).collect();
    other.publish(&others, 100);
    let (from, to) = (node.data.path().join("index"), other.data.path().join("index"));
    fs::rename(from, to).unwrap();
    other.restart();
    assert!(other.found("w5 n42").iter().all(|(text, ..)| text.starts_with("other")), "a claim of another history");
    assert_eq!(other.found("other42")[0].0, "other42");
}

#[test]
fn who_leaves_a_group_keeps_no_file_of_it() {
    let mut node = Node::new();
    node.publish(&texts(0..MANY), 100);
    node.found("w5");
    assert!(node.keep() && node.files().len() == 2);
    node.keeper.indexes.forget(&node.group);
    assert!(fs::read_dir(node.data.path().join("index")).unwrap().next().is_none());
    // Nor what a start finds of a group that is not kept.
    fs::create_dir(node.data.path().join("index").join("elsewhere")).unwrap();
    node.restart();
    node.keeper.begin().unwrap();
    assert!(!node.data.path().join("index").join("elsewhere").exists());
}

#[test]
fn a_claim_that_was_gone_is_found_again_when_it_stands_again() {
    let mut desk = Desk::founded();
    let admin = |desk: &mut Desk, transaction| desk.write(0, vec![transaction], vec![]).unwrap();
    admin(&mut desk, Transaction::MemberAdd(MemberAdd { identity: who(1), role: Role::Admin }));
    let claim = *desk.publish(0, "the notary seals blocks").claims.first().unwrap();
    let mut elsewhere = desk.copy();
    let indexes = Indexes::default();
    let found = |desk: &Desk| {
        let question = Question { query: "notary seals".into(), ask: Ask::default(), ..Question::default() };
        let answer = indexes.answer(desk.group, desk.rows(), &question, None).unwrap();
        answer.context.items.iter().map(|item| ClaimId::from_bytes(item.claim_hash)).collect::<Vec<_>>()
    };
    assert_eq!(found(&desk), [claim]);
    // Another admin takes it back, some blocks later.
    (0..3).for_each(|number| drop(desk.publish(1, &format!("something else {number}"))));
    desk.write(1, vec![Transaction::Retract(Retract { claim })], vec![]).unwrap();
    assert_eq!(found(&desk), []);
    let seen = Seen::of(desk.rows()).unwrap();
    let slot = indexes.group(desk.group);
    assert_eq!(slot.with(|index| index.gone(&seen).len()), Some(1), "it is known to be gone");
    assert_eq!(found(&desk), []);
    // That admin was none any more: a block says so that lands before what it did.
    admin(&mut elsewhere, Transaction::RoleSet(RoleSet { identity: who(1), role: Role::Viewer }));
    let blocks = elsewhere.verify(elsewhere.own_blocks());
    desk.ingest(&blocks);
    assert_eq!(found(&desk), [claim]);
}

#[test]
fn what_is_known_to_be_gone_outlasts_what_is_written_elsewhere() {
    const CROWD: usize = 30;
    let mut desk = Desk::founded();
    let indexes = Indexes::default();
    let publish = |desk: &mut Desk, text: &str, supersedes: Vec<ClaimId>, until: Option<u64>| {
        let body = ClaimBody::new(None, text.into(), &[]).unwrap().proven(vec![], until).unwrap();
        let (object, size) = (body.encode(), body.encode().len() as u32);
        let claim = Claim { object: ObjectHash::of(&object), size, parent: None, rewarded: None, supersedes };
        desk.write(0, vec![Transaction::Claim(claim)], vec![object]).unwrap().claims[0]
    };
    let retract = |desk: &mut Desk, claim| {
        desk.write(0, vec![Transaction::Retract(Retract { claim })], vec![]).unwrap();
    };
    for number in 0..CROWD {
        publish(&mut desk, &format!("the notary seals n{number} x{number} y{number}"), vec![], Some(1_000));
    }
    let old = publish(&mut desk, "the notary seals old blocks", vec![], None);
    let new = publish(&mut desk, "whatever takes its place", vec![old], None);
    let (first, second) = (desk.publish(0, "nothing of that").claims[0], desk.publish(0, "nor of this").claims[0]);
    let found = |desk: &Desk, now_ms: u64| {
        let ask = Ask { top_k: 100, budget_tokens: None };
        let question = Question { query: "notary seals".into(), ask, now_ms, ..Question::default() };
        let answer = indexes.answer(desk.group, desk.rows(), &question, None).unwrap();
        answer.context.items.iter().map(|item| ClaimId::from_bytes(item.claim_hash)).collect::<Vec<_>>()
    };
    let known = |desk: &Desk| {
        let seen = Seen::of(desk.rows()).unwrap();
        indexes.group(desk.group).with(|index| index.gone(&seen).len()).unwrap()
    };
    assert_eq!((found(&desk, 2_000), known(&desk)), (vec![], CROWD + 1));
    // Retractions and claims elsewhere, and a clock that is set back for a while, cost no second look at the crowd.
    retract(&mut desk, first);
    assert_eq!(known(&desk), CROWD + 1);
    assert_eq!(found(&desk, 2_000), []);
    assert_eq!(found(&desk, 500).len(), CROWD);
    retract(&mut desk, second);
    publish(&mut desk, "and another", vec![second], None);
    assert_eq!((known(&desk), found(&desk, 2_000)), (CROWD + 1, vec![]));
    // What had taken a claim's place is taken back: it stands again.
    retract(&mut desk, new);
    assert_eq!(known(&desk), 0);
    assert_eq!((found(&desk, 2_000), known(&desk)), (vec![old], CROWD));
}

#[test]
fn a_folder_that_is_removed_is_made_again_with_all_that_was_in_it() {
    let mut node = Node::new();
    node.publish(&texts(0..MANY), 100);
    let expected = node.found("w5 n42");
    assert!(node.keep());
    let folder = node.data.path().join("index").join(node.group.to_string());
    let (before, conditions) = (node.files(), |node: &Node| {
        let view = node.store.view().unwrap();
        node.keeper.indexes.conditions(&view).unwrap()
    });
    assert_eq!(conditions(&node)[0].trouble, None);
    for damage in 0..3 {
        match damage {
            0 => fs::remove_dir_all(folder.parent().unwrap()).unwrap(),
            1 => fs::remove_file(folder.join("manifest")).unwrap(),
            _ => fs::remove_file(before.iter().find(|path| !path.ends_with("manifest")).unwrap()).unwrap(),
        }
        let trouble = conditions(&node)[0].trouble.clone();
        assert!(trouble.is_some_and(|trouble| trouble.contains("removed")), "case {damage}");
        assert_eq!(node.found("w5 n42"), expected, "case {damage}");
        assert!(node.keep(), "case {damage}");
        assert_eq!((node.files(), conditions(&node)[0].trouble.clone()), (before.clone(), None), "case {damage}");
    }
    node.restart();
    assert_eq!((node.found("w5 n42"), node.ask("w5").indexed_percent), (expected, None));
}

#[test]
fn a_folder_that_cannot_be_made_is_tried_again_and_is_trouble_until_then() {
    let mut node = Node::new();
    let root = node.data.path().join("index");
    fs::write(&root, b"in the way").unwrap();
    node.publish(&texts(0..MANY), 100);
    let trouble = |node: &Node| node.keeper.indexes.conditions(&node.store.view().unwrap()).unwrap()[0].trouble.clone();
    assert_eq!(node.found("w5 n42")[0].0, "w5 n42");
    assert!(trouble(&node).is_some_and(|trouble| trouble.contains("cannot be written")));
    fs::remove_file(&root).unwrap();
    assert!(node.keep(), "it rests");
    assert!(trouble(&node).is_some());
    node.keeper.indexes.group(node.group).with(|index| index.rest_is_over());
    assert!(node.keep());
    assert_eq!((trouble(&node), node.files().len()), (None, 2));
}
