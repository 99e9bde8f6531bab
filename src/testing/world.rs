//! The world: a clock, a network, and the nodes in it.
//!
//! Asserted after each step: a question is answered at most once, a machine does not ask to be woken in the past, what was
//! acknowledged is in the rows, and what is final on an honest node stays as it is and is the same on all.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::node::{Name, Node, Token, View};
use crate::chain::block::{Context, Invalid};
use crate::chain::rows::placed;
use crate::chain::{GroupId, ObjectHash, Unverified, Verified};
use crate::delegation::Delegation;
use crate::delegation::knock::Door;
use crate::identity::Identity;
use crate::kv::{Memory, Overlay};
use crate::limits;
use crate::node::engine::{Reply, Task};
use crate::node::io::{InboundId, Input, NoAnswer, NotIngested, Notice, Output, Severity, Ticket};
use crate::node::machine::Settings;
use crate::node::serve;
use crate::wire::{self, Met, Refused, Request, Response};

/// Pause between two repair pulls, milliseconds.
pub(super) const INTERVAL_MS: u64 = 10_000;
/// The hour at which a world begins, milliseconds since 1970.
const EPOCH_MS: u64 = 1_800_000_000_000;

/// How bad the network and the machines are.
#[derive(Debug, Clone)]
pub(super) struct Weather {
    pub(super) delay_ms: std::ops::Range<u64>,
    /// Share of requests and of answers that are lost.
    pub(super) loss: f64,
    /// Share of requests that arrive twice.
    pub(super) doubling: f64,
    /// Share of batches at which the node dies: before the commit, or after it and before anybody hears of it.
    pub(super) crash: f64,
}

impl Weather {
    pub(super) fn fair() -> Self {
        Self { delay_ms: 1..20, loss: 0.0, doubling: 0.0, crash: 0.0 }
    }

    pub(super) fn rough() -> Self {
        Self { delay_ms: 1..2_000, loss: 0.05, doubling: 0.05, crash: 0.01 }
    }
}

/// A sealed place of the order, and what became of the block there.
pub(super) type FinalRow = (Vec<u8>, Vec<u8>);

/// A request under way.
struct Ask {
    from: Name,
    to: Name,
    life: u32,
    connection: u64,
    ticket: Ticket,
}

enum Event {
    Request { ask: u64, to: Name, connection: u64, bytes: Vec<u8> },
    Response { ask: u64, bytes: Vec<u8> },
    Lost { ask: u64 },
    Wake { node: Name, life: u32 },
    Work { node: Name, life: u32 },
    Serve { node: Name, life: u32, id: InboundId, peer: Identity, asks_as: Vec<Identity>, request: Request },
    HangUp { pair: (Name, Name), connection: u64 },
    Dial,
}

pub(super) struct World {
    pub(super) now: u64,
    pub(super) rng: StdRng,
    pub(super) nodes: Vec<Node>,
    pub(super) weather: Weather,
    /// Pairs between which nothing passes.
    pub(super) cut: BTreeSet<(Name, Name)>,
    settings: Settings,
    events: BTreeMap<(u64, u64), Event>,
    connections: BTreeMap<(Name, Name), u64>,
    asks: BTreeMap<u64, Ask>,
    counter: u64,
    /// Whether replies reach the machine before the news of their batch.
    replies_first: bool,
    /// What is final in each group: the longest part of the order that seals cover on an honest node, rows as they are.
    pub(super) finals: BTreeMap<GroupId, Vec<FinalRow>>,
    /// Whether the notary is one that signs two seals with one number: then what is final may change.
    pub(super) notary_forks: bool,
    /// Faults that honest nodes found.
    pub(super) faults: Vec<(Name, Identity, Severity, &'static str)>,
    /// Messages sent, by kind: what a story compares.
    pub(super) sent: BTreeMap<&'static str, usize>,
    pub(super) trace: bool,
}

pub(super) fn pair(a: Name, b: Name) -> (Name, Name) {
    (a.min(b), a.max(b))
}

fn kind(request: &Request) -> &'static str {
    match request {
        Request::Probe(_) => "probe",
        Request::Pull(_) => "pull",
        Request::WantBlocks(_) => "want_blocks",
        Request::WantObjects(_) => "want_objects",
        Request::Push(_) => "push",
        Request::Have(_) => "have",
        Request::Presences(_) => "presences",
        Request::Acting(_) => "acting",
        Request::Peers(_) => "peers",
        Request::Knock(_) => "knock",
        Request::Parted(_) => "parted",
    }
}

impl World {
    pub(super) fn new(seed: u64, nodes: usize) -> Self {
        Self::with_interval(seed, nodes, INTERVAL_MS)
    }

    /// A world in which so much time passes between two repair pulls.
    pub(super) fn with_interval(seed: u64, nodes: usize, sync_interval_ms: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let settings = Settings { sync_interval_ms, auto: true, max_drift_ms: limits::MAX_CLOCK_DRIFT_MS };
        let mut world = Self {
            now: 0,
            replies_first: rng.random_bool(0.5),
            rng,
            nodes: (0..nodes).map(|number| Node::new(number as u8, settings)).collect(),
            weather: Weather::fair(),
            cut: BTreeSet::new(),
            settings,
            events: BTreeMap::new(),
            connections: BTreeMap::new(),
            asks: BTreeMap::new(),
            counter: 0,
            finals: BTreeMap::new(),
            notary_forks: false,
            faults: vec![],
            sent: BTreeMap::new(),
            trace: std::env::var_os("LBM_TRACE").is_some(),
        };
        world.after(0, Event::Dial);
        world
    }

    pub(super) fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn after(&mut self, pause_ms: u64, event: Event) {
        let number = self.next();
        self.events.insert((self.now + pause_ms, number), event);
    }

    fn delay(&mut self) -> u64 {
        self.rng.random_range(self.weather.delay_ms.clone())
    }

    pub(super) fn clock(&self, node: Name) -> u64 {
        (EPOCH_MS + self.now).saturating_add_signed(self.nodes[node].skew_ms)
    }

    pub(super) fn name_of(&self, id: &Identity) -> Name {
        self.nodes.iter().position(|node| node.id == *id).unwrap()
    }

    // ---- time ---------------------------------------------------------------------------------------------------

    pub(super) fn run_for(&mut self, ms: u64) {
        self.run_until(self.now + ms, |_| false);
    }

    /// Runs until `done`, at most until `deadline`; tells whether it is done.
    pub(super) fn run_until(&mut self, deadline: u64, done: impl Fn(&Self) -> bool) -> bool {
        loop {
            if done(self) {
                return true;
            }
            let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= deadline) else { break };
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.happen(event);
        }
        self.now = deadline;
        done(self)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Request { ask, to, connection, bytes } => self.deliver(ask, to, connection, &bytes),
            Event::Response { ask, bytes } => {
                if self.asks.get(&ask).is_some_and(|open| self.passes(open.from, open.to, open.connection)) {
                    self.close(ask, Response::decode(&bytes).map_err(|_| NoAnswer::Malformed));
                }
            }
            Event::Lost { ask } => self.close(ask, Err(NoAnswer::Lost)),
            Event::Wake { node, life } => {
                if self.nodes[node].life == life && self.nodes[node].wake_at.is_some_and(|at| at <= self.now) {
                    self.nodes[node].wake_at = None;
                    self.step(node, Input::Tick);
                }
            }
            Event::Work { node, life } if self.nodes[node].life == life => self.work(node),
            Event::Serve { node, life, id, peer, asks_as, request } if self.nodes[node].life == life => {
                self.serve(node, id, peer, &asks_as, request);
            }
            Event::Work { .. } | Event::Serve { .. } => {}
            Event::HangUp { pair, connection } => {
                if self.connections.get(&pair) == Some(&connection) {
                    self.hang_up(pair);
                }
            }
            Event::Dial => {
                self.dial();
                let pause = self.rng.random_range(300..700);
                self.after(pause, Event::Dial);
            }
        }
    }

    // ---- the network --------------------------------------------------------------------------------------------

    fn passes(&self, a: Name, b: Name, connection: u64) -> bool {
        self.connections.get(&pair(a, b)) == Some(&connection) && !self.cut.contains(&pair(a, b))
    }

    /// Connects who can be connected.
    fn dial(&mut self) {
        for a in 0..self.nodes.len() {
            for b in a + 1..self.nodes.len() {
                let bans = |x: Name, y: Name| self.nodes[x].banned.contains(&self.nodes[y].id);
                let free = !self.connections.contains_key(&(a, b)) && !self.cut.contains(&(a, b));
                if free && !bans(a, b) && !bans(b, a) && self.rng.random_bool(0.7) {
                    let number = self.next();
                    self.connections.insert((a, b), number);
                    let (first, second) = if self.rng.random_bool(0.5) { (a, b) } else { (b, a) };
                    self.step(first, Input::Connected(self.nodes[second].id));
                    self.step(second, Input::Connected(self.nodes[first].id));
                }
            }
        }
    }

    pub(super) fn hang_up(&mut self, (a, b): (Name, Name)) {
        let Some(connection) = self.connections.remove(&(a, b)) else { return };
        let open: Vec<u64> =
            self.asks.iter().filter(|(_, ask)| ask.connection == connection).map(|(ask, _)| *ask).collect();
        for ask in open {
            let pause = self.rng.random_range(0..50);
            self.after(pause, Event::Lost { ask });
        }
        self.step(a, Input::Disconnected(self.nodes[b].id));
        self.step(b, Input::Disconnected(self.nodes[a].id));
    }

    /// Nothing passes between the two sides; the connections break a while later.
    pub(super) fn partition(&mut self, side: &[Name]) {
        for a in 0..self.nodes.len() {
            for b in a + 1..self.nodes.len() {
                if side.contains(&a) != side.contains(&b) {
                    self.cut.insert((a, b));
                    if let Some(connection) = self.connections.get(&(a, b)).copied() {
                        let pause = self.rng.random_range(0..5_000);
                        self.after(pause, Event::HangUp { pair: (a, b), connection });
                    }
                }
            }
        }
    }

    pub(super) fn heal(&mut self) {
        self.cut.clear();
    }

    fn send(&mut self, from: Name, ticket: Ticket, peer: &Identity, request: &Request) {
        let to = self.name_of(peer);
        *self.sent.entry(kind(request)).or_default() += 1;
        let ask = self.next();
        let connection = self.connections.get(&pair(from, to)).copied();
        let life = self.nodes[from].life;
        self.asks.insert(ask, Ask { from, to, life, connection: connection.unwrap_or(0), ticket });
        let Some(connection) = connection else {
            let pause = self.rng.random_range(0..50);
            return self.after(pause, Event::Lost { ask });
        };
        self.after(limits::REQUEST_TIMEOUT_MS, Event::Lost { ask });
        let bytes = request.encode();
        let copies = 1 + usize::from(self.rng.random_bool(self.weather.doubling));
        for _ in 0..copies {
            if !self.rng.random_bool(self.weather.loss) {
                let pause = self.delay();
                self.after(pause, Event::Request { ask, to, connection, bytes: bytes.clone() });
            }
        }
    }

    fn deliver(&mut self, ask: u64, to: Name, connection: u64, bytes: &[u8]) {
        let Some(from) = self
            .connections
            .iter()
            .find(|(_, number)| **number == connection)
            .map(|(pair, _)| if pair.0 == to { pair.1 } else { pair.0 })
        else {
            return;
        };
        if !self.passes(from, to, connection) {
            return;
        }
        let peer = self.nodes[from].id;
        match Request::decode(bytes) {
            Ok(request) => {
                let node = &mut self.nodes[to];
                let id = InboundId(node.next_question);
                node.next_question += 1;
                node.questions.insert(id, ask);
                self.step(to, Input::Asked { peer, id, request, clock_ms: self.clock(to) });
            }
            Err(_) => self.step(to, Input::Malformed(peer, Severity::High)),
        }
    }

    fn answer(&mut self, node: Name, id: InboundId, response: &Response) {
        let asked = self.nodes[node].questions.remove(&id);
        let ask = asked.unwrap_or_else(|| panic!("node {node} answered {id:?} twice"));
        let bytes = match self.nodes[node].evil {
            Some(evil) => evil.answer(&self.nodes[node], self.clock(node), response),
            None => response.encode(),
        };
        assert!(self.nodes[node].evil.is_some() || bytes.len() <= limits::MESSAGE_BYTES, "an answer is too long");
        if self.rng.random_bool(self.weather.loss) {
            return;
        }
        let pause = self.delay();
        self.after(pause, Event::Response { ask, bytes });
    }

    /// The asker learns what came of its request; the first report counts.
    fn close(&mut self, ask: u64, result: Result<Response, NoAnswer>) {
        let Some(Ask { from, life, ticket, .. }) = self.asks.remove(&ask) else { return };
        if self.nodes[from].life == life {
            self.step(from, Input::Answered { ticket, result });
        }
    }

    // ---- the nodes ----------------------------------------------------------------------------------------------

    pub(super) fn step(&mut self, name: Name, input: Input) {
        if self.trace {
            let text = format!("{input:?}");
            std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("{:>8} node {name} <- {}\n", self.now, &text[..text.len().min(180)]).as_bytes(),
            )
            .unwrap();
        }
        let now = self.now;
        let outputs = self.nodes[name].machine.step(now, &mut self.rng, input);
        for output in outputs {
            self.act(name, output);
        }
        let node = &mut self.nodes[name];
        let wake = node.machine.next_wake_ms();
        assert!(wake.is_none_or(|at| at > now), "node {name} asks to be woken in the past, for ever");
        if let Some(at) = wake
            && node.wake_at.is_none_or(|earlier| at < earlier)
        {
            node.wake_at = Some(at);
            let life = node.life;
            self.after(at - now, Event::Wake { node: name, life });
        }
    }

    fn act(&mut self, name: Name, output: Output) {
        let life = self.nodes[name].life;
        match output {
            Output::Ask { ticket, peer, request } => self.send(name, ticket, &peer, &request),
            Output::Answer { id, response } => self.answer(name, id, &response),
            Output::TellPeers { id, peers, .. } => {
                let met = |peer| Met { peer, addresses: vec!["/ip4/10.0.0.1/tcp/1".into()] };
                self.answer(name, id, &Response::Peers(peers.into_iter().map(met).collect()));
            }
            // Everybody here can call everybody.
            Output::HeardOf(..) => {}
            Output::Show { ticket, peer, group, agents, is_knock } => {
                let node = &self.nodes[name];
                let from_ms = self.clock(name);
                let expires_ms = from_ms + limits::DELEGATION_LIFE_MS;
                let delegations =
                    agents.iter().filter_map(|agent| node.agents.iter().find(|key| key.identity() == *agent));
                let delegations = delegations.map(|key| {
                    Delegation { group, agent: key.identity(), node: node.id, from_ms, expires_ms }.sign(key)
                });
                let door = Door { group, from: node.id, to: peer };
                let request = wire::shown(&door, delegations.collect(), is_knock);
                self.send(name, ticket, &peer, &request);
            }
            Output::Serve { id, peer, asks_as, request } => {
                let pause = self.rng.random_range(0..3);
                self.after(pause, Event::Serve { node: name, life, id, peer, asks_as, request });
            }
            Output::Ingest { ticket, peer, group, blocks, objects } => {
                let context = Context { group, now_ms: self.clock(name), max_drift_ms: limits::MAX_CLOCK_DRIFT_MS };
                let task = match ingest(&context, peer, blocks, objects) {
                    Ok(task) => task,
                    Err(result) => return self.step(name, Input::Ingested { ticket, result: Err(result) }),
                };
                self.enqueue(name, Token::Machine(ticket), task);
            }
            Output::Settle(group, own) => {
                let as_of = Some(own);
                self.enqueue(name, Token::Nobody, Task::Settle { group, as_of });
            }
            Output::ShutOut(group, mark) => self.enqueue(name, Token::Nobody, Task::ShutOut { group, mark }),
            Output::Seal(group) => self.enqueue(name, Token::Nobody, Task::Seal { group }),
            Output::Ban(peer, _) => {
                self.nodes[name].banned.insert(peer);
                self.hang_up(pair(name, self.name_of(&peer)));
            }
            // The market needs none of the chain, and is tested by itself: `node::market`.
            Output::Market(_) => {}
            Output::Notice(notice) => {
                if let Notice::Fault { peer, severity, what } = &notice
                    && self.nodes[name].evil.is_none()
                {
                    self.faults.push((name, *peer, *severity, what));
                }
                self.nodes[name].notices.push(notice);
            }
        }
    }

    pub(super) fn enqueue(&mut self, name: Name, token: Token, task: Task) {
        let node = &mut self.nodes[name];
        node.jobs.push((token, task));
        if node.jobs.len() == 1 {
            let life = node.life;
            let pause = self.rng.random_range(0..10);
            self.after(pause, Event::Work { node: name, life });
        }
    }

    fn serve(&mut self, name: Name, id: InboundId, peer: Identity, asks_as: &[Identity], request: Request) {
        let response = match request.group().and_then(|group| self.nodes[name].rows.get(&group)) {
            Some(rows) => serve::serve(rows, asks_as, request).unwrap(),
            None => Response::Refused(Refused::NotShared),
        };
        self.answer(name, id, &response);
        self.step(name, Input::Served(peer));
    }

    /// The writer takes all that waits: one batch, one commit, and only then replies and news.
    fn work(&mut self, name: Name) {
        let clock = self.clock(name);
        let crashes = self.rng.random_bool(self.weather.crash);
        let node = &mut self.nodes[name];
        let tasks = std::mem::take(&mut node.jobs);
        let done = node.engine.run(&View(&node.rows), clock, tasks).unwrap();
        if crashes && self.rng.random_bool(0.5) {
            return self.restart(name);
        }
        for (group, changes) in done.changes {
            let rows = self.nodes[name].rows.entry(group).or_default();
            rows.commit(changes);
            super::check_rows(rows);
            self.check_finals(name, group);
        }
        if crashes {
            return self.restart(name);
        }
        let node = &mut self.nodes[name];
        let mut inputs = Vec::new();
        let news = done.news.into_iter().map(Input::News);
        if !self.replies_first {
            inputs.extend(news.clone());
        }
        for (token, result) in done.replies {
            match (token, result) {
                (Token::Machine(ticket), Ok(Reply::Ingested(report))) => {
                    inputs.push(Input::Ingested { ticket, result: Ok(report) });
                }
                (Token::Machine(ticket), _) => {
                    inputs.push(Input::Ingested { ticket, result: Err(NotIngested::Failed) });
                }
                (Token::Story(number, group), result) => {
                    match &result {
                        Ok(Reply::Founded(group)) => inputs.push(Input::Opened(node.opened(*group))),
                        Ok(Reply::Written(written)) => {
                            node.acknowledged.extend(written.blocks.iter().map(|block| (group.unwrap(), *block)));
                        }
                        _ => {}
                    }
                    node.replies.insert(number, result);
                }
                (Token::Nobody, _) => {}
            }
        }
        if self.replies_first {
            inputs.extend(news);
        }
        for input in inputs {
            self.step(name, input);
        }
    }

    pub(super) fn restart(&mut self, name: Name) {
        for other in 0..self.nodes.len() {
            if let Some(connection) = self.connections.remove(&pair(name, other)) {
                let open: Vec<u64> =
                    self.asks.iter().filter(|(_, ask)| ask.connection == connection).map(|(ask, _)| *ask).collect();
                for ask in open {
                    self.after(0, Event::Lost { ask });
                }
                self.step(other, Input::Disconnected(self.nodes[name].id));
            }
        }
        self.nodes[name].restart(self.settings);
        assert!(self.nodes[name].keeps_its_word(), "node {name} lost what it had acknowledged");
        let groups: Vec<GroupId> = self.nodes[name].rows.keys().copied().collect();
        for group in groups {
            self.step(name, Input::Opened(self.nodes[name].opened(group)));
        }
    }

    /// Puts an older copy of a group's rows back: marked, as `lbm restore` does, or as a folder that was copied by hand.
    pub(super) fn put_back(&mut self, name: Name, group: GroupId, mut rows: Memory, is_marked: bool) {
        if is_marked {
            let mut overlay = Overlay::new(&rows);
            crate::chain::rows::set_in_doubt(&mut overlay, true);
            let changes = overlay.into_changes();
            rows.commit(changes);
        }
        let node = &mut self.nodes[name];
        // What was written since is not this copy's to keep; others have it.
        node.acknowledged.retain(|(of, block)| *of != group || placed(&rows, block).unwrap().is_some());
        node.rows.insert(group, rows);
        // Their arrival order is another: a cursor of the old one is refused.
        node.watched.remove(&group);
        self.restart(name);
    }

    pub(super) fn join(&mut self, name: Name, group: GroupId) {
        if let std::collections::btree_map::Entry::Vacant(entry) = self.nodes[name].rows.entry(group) {
            entry.insert(Memory::default());
            self.step(name, Input::Opened(self.nodes[name].opened(group)));
        }
    }

    /// Puts blocks into a node's queue as if `peer` had sent them.
    pub(super) fn slip_in(
        &mut self,
        name: Name,
        group: GroupId,
        peer: Identity,
        blocks: Vec<Unverified>,
        objects: Vec<Vec<u8>>,
    ) {
        let context = Context { group, now_ms: self.clock(name), max_drift_ms: limits::MAX_CLOCK_DRIFT_MS };
        let task = ingest(&context, peer, blocks, objects).unwrap();
        self.enqueue(name, Token::Nobody, task);
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.asks.is_empty() && self.nodes.iter().all(|node| node.jobs.is_empty() && node.questions.is_empty())
    }

    /// What is still open, for a message.
    pub(super) fn open(&self) -> String {
        let asks: Vec<_> = self.asks.values().map(|ask| (ask.from, ask.to)).collect();
        let nodes: Vec<_> = self.nodes.iter().map(|node| (node.jobs.len(), node.questions.len())).collect();
        format!("asks {asks:?}, jobs and questions {nodes:?}")
    }

    pub(super) fn connected(&self, a: Name, b: Name) -> bool {
        self.connections.contains_key(&pair(a, b))
    }
}

/// What the daemon does with what a peer sent, before the writer sees it.
fn ingest(
    context: &Context,
    peer: Identity,
    blocks: Vec<Unverified>,
    objects: Vec<Vec<u8>>,
) -> Result<Task, NotIngested> {
    let verified: Result<Vec<Verified>, Invalid> = blocks.into_iter().map(|block| block.verify(context)).collect();
    let blocks = verified.map_err(|invalid| match invalid {
        Invalid::Future { .. } | Invalid::Version(_) | Invalid::Sealed => NotIngested::NotYet,
        _ => NotIngested::Invalid,
    })?;
    let objects = objects.into_iter().map(|object| (ObjectHash::of(&object), object)).collect();
    Ok(Task::Ingest { group: context.group, peer, blocks, objects })
}
