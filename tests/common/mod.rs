//! Real daemons for tests: the binaries of this package as processes, each on a data folder of its own.
//!
//! A daemon is killed and its folder is removed when it goes out of scope, also when the test panics; then what it said on
//! standard error is printed. **Only processes that were started here are ended.** Waiting is for a condition with a deadline.

#![allow(dead_code, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

pub mod mcp;
pub mod netns;
pub mod story;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take that should happen soon, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(5);

/// `lbm`.
pub const LBM: &str = env!("CARGO_BIN_EXE_lbm");
/// `lbm-node`.
pub const LBM_NODE: &str = env!("CARGO_BIN_EXE_lbm-node");

/// Waits until `condition` holds.
///
/// # Panics
/// Where it does not in time; names what was waited for.
pub fn wait_until(patience: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < patience, "waited {patience:?} in vain: {what}");
        std::thread::sleep(POLL);
    }
    started.elapsed()
}

/// What a command answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The command as typed.
    pub line: String,
    /// Its exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Answer {
    /// The one JSON document on standard output.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON document ({error}): {self:#?}"))
    }

    /// The same of a command that must have succeeded.
    #[track_caller]
    pub fn done(&self) -> Value {
        self.ok().json()
    }

    /// The answer of a command that must have succeeded.
    #[track_caller]
    pub fn ok(&self) -> &Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// The one sentence on standard error of a command that must have failed with this exit code, with each of `words` in it.
    #[track_caller]
    pub fn refused(&self, code: i32, words: &[&str]) -> String {
        assert_eq!(self.code, Some(code), "{self:#?}");
        let sentence = self.stderr.lines().filter(|line| line.starts_with("error: ")).collect::<Vec<_>>();
        assert_eq!(sentence.len(), 1, "one sentence is wanted: {self:#?}");
        for word in words {
            assert!(sentence[0].contains(word), "no `{word}` in: {}", sentence[0]);
        }
        assert!(!sentence[0].contains("panicked"), "{self:#?}");
        sentence[0].to_owned()
    }

    /// A string of the JSON document.
    #[track_caller]
    pub fn text(&self, key: &str) -> String {
        let document = self.done();
        document[key].as_str().unwrap_or_else(|| panic!("no text `{key}` in {document}")).to_owned()
    }
}

/// The keys of a JSON object, sorted.
#[track_caller]
pub fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().expect("a JSON object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// A command without the settings of whoever runs the tests.
pub fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LB_") {
            command.env_remove(name);
        }
    }
    command.env_remove("XDG_DATA_HOME").env("NO_COLOR", "1");
    command
}

/// Runs a command to its end with these bytes on standard input.
///
/// # Panics
/// Where it does not end within a minute.
#[track_caller]
pub fn run(command: Command, input: &[u8]) -> Answer {
    let mut command = clean(command);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line = words.map(|word| shortened(&word.to_string_lossy())).collect::<Vec<_>>().join(" ");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{line}: {error}"));
    let (mut stdin, stdout, stderr) =
        (child.stdin.take().unwrap(), child.stdout.take().unwrap(), child.stderr.take().unwrap());
    std::thread::scope(|scope| {
        // A command that refuses its input early closes it.
        scope.spawn(move || drop(stdin.write_all(input)));
        let (stdout, stderr) = (scope.spawn(|| read(stdout)), scope.spawn(|| read(stderr)));
        let status = ended(&mut child, Duration::from_secs(60));
        if status.is_none() {
            drop(child.kill());
            drop(child.wait());
        }
        let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
        let code = status.unwrap_or_else(|| panic!("does not end: {line}\n{stdout}\n{stderr}")).code();
        Answer { line, code, stdout, stderr }
    })
}

fn shortened(word: &str) -> String {
    if word.len() > 200 {
        format!("{}… ({} bytes)", word.chars().take(60).collect::<String>(), word.len())
    } else {
        word.into()
    }
}

fn read(mut from: impl Read) -> String {
    let mut bytes = Vec::new();
    drop(from.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn ended(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let started = Instant::now();
    loop {
        match child.try_wait().expect("a child of ours") {
            Some(status) => return Some(status),
            None if started.elapsed() > patience => return None,
            None => std::thread::sleep(POLL),
        }
    }
}

/// Runs `lbm` with these arguments.
#[track_caller]
pub fn lbm(args: &[&str]) -> Answer {
    lbm_with(args, b"")
}

/// Runs `lbm` with these arguments, and these bytes on standard input.
#[track_caller]
pub fn lbm_with(args: &[&str], input: &[u8]) -> Answer {
    let mut command = Command::new(LBM);
    command.args(args);
    run(command, input)
}

/// The words of a shell line, with double quotes; without a comment and `&` at its end.
#[must_use]
pub fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut is_word) = (vec![], String::new(), false, false);
    for c in line.chars() {
        match c {
            '#' if !quoted && !is_word => break,
            '"' => {
                quoted = !quoted;
                is_word = true;
            }
            ' ' if !quoted => {
                if is_word {
                    words.push(std::mem::take(&mut word));
                }
                is_word = false;
            }
            c => {
                word.push(c);
                is_word = true;
            }
        }
    }
    if is_word {
        words.push(word);
    }
    words.retain(|word| word != "&");
    words
}

/// A folder that only we may look into, as data folders must be.
pub fn private_folder() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("lbm-test-").tempdir().unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(folder.path(), mode).unwrap();
    folder
}

/// A TCP port that is free now and will not be given to an outgoing connection.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id().wrapping_mul(64).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(12_000 + number % 18_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// One node: its data folder, and its daemon while that runs.
pub struct Daemon {
    /// What people call it.
    pub name: String,
    /// Its data folder.
    pub data: PathBuf,
    /// Its identity.
    pub id: String,
    _folder: tempfile::TempDir,
    /// What stands before `lbm-node`: a program that runs it elsewhere.
    wrapper: Vec<String>,
    args: Vec<String>,
    running: Option<Running>,
    stderr: Arc<Mutex<Vec<u8>>>,
}

struct Running {
    child: Child,
    addresses: Vec<String>,
}

/// Waits until daemons have the same blocks, all of them final, and compares what they come to; the hash of the state.
#[track_caller]
pub fn agree(daemons: &[&Daemon], group: &str) -> String {
    wait_until(PATIENCE, "all have the same blocks", || {
        let first = daemons[0].settled(group);
        daemons.iter().all(|daemon| daemon.settled(group) == first)
    });
    let hashes: BTreeSet<String> = daemons.iter().map(|daemon| daemon.verified(group)).collect();
    assert_eq!(hashes.len(), 1, "they have the same blocks, and come to {hashes:?}");
    hashes.into_iter().next().expect("one")
}

impl Daemon {
    /// A data folder with a new key, and nothing that runs.
    #[track_caller]
    pub fn prepared(name: &str) -> Self {
        let folder = private_folder();
        let data = folder.path().join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&data).unwrap();
        let id = lbm(&["init", "--name", name, "--data", data.to_str().unwrap(), "--json"]).text("node_id");
        let args = ["--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns", "--admin", "off"].map(str::to_owned).to_vec();
        Self {
            name: name.to_owned(),
            data,
            id,
            _folder: folder,
            wrapper: vec![],
            args,
            running: None,
            stderr: Arc::default(),
        }
    }

    /// A daemon that runs, on loopback.
    #[track_caller]
    pub fn start(name: &str) -> Self {
        let mut daemon = Self::prepared(name);
        daemon.restart();
        daemon
    }

    /// Starts with these arguments from now on.
    pub fn args(&mut self, args: &[&str]) {
        self.args = args.iter().map(|arg| (*arg).to_owned()).collect();
    }

    /// Is started through this program from now on.
    pub fn wrapper(&mut self, words: &[&str]) {
        self.wrapper = words.iter().map(|word| (*word).to_owned()).collect();
    }

    /// A program where this node runs.
    pub fn elsewhere(&self, program: &str) -> Command {
        let mut words = self.wrapper.iter().map(String::as_str).chain([program]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words);
        clean(command)
    }

    fn command(&self) -> Command {
        let mut command = self.elsewhere(LBM_NODE);
        command.arg("--data").arg(&self.data).args(&self.args);
        command
    }

    /// Starts on the same folder, and waits until it is ready.
    ///
    /// # Panics
    /// Where it does not get ready.
    #[track_caller]
    pub fn restart(&mut self) {
        assert!(self.running.is_none(), "{} runs already", self.name);
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a daemon starts");
        let (stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let kept = Arc::clone(&self.stderr);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = stderr.read(&mut buffer) {
                kept.lock().unwrap().extend_from_slice(&buffer[..read]);
            }
        });
        let (say, said) = mpsc::channel();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
            drop(say.send(lines.next().unwrap_or_default()));
            // Whatever follows is read, so that the daemon never waits for us.
            lines.for_each(drop);
        });
        // From here on it is ended with us.
        self.running = Some(Running { child, addresses: vec![] });
        let line = said.recv_timeout(PATIENCE).unwrap_or_default();
        let mut words = line.split(' ');
        assert_eq!(words.next(), Some("ready"), "{} does not get ready: `{line}`\n{}", self.name, self.said());
        let addresses = words.skip(2).map(str::to_owned).collect();
        self.running.as_mut().unwrap().addresses = addresses;
    }

    /// Starts what must not get ready, and waits for its end.
    #[track_caller]
    pub fn fails_to_start(&self) -> Answer {
        run(self.command(), b"")
    }

    /// The process, while it runs.
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.running.as_ref().expect("it runs").child.id()
    }

    /// The addresses of its ready line.
    #[track_caller]
    pub fn addresses(&self) -> Vec<String> {
        self.running.as_ref().expect("it runs").addresses.clone()
    }

    /// Whether it runs.
    pub const fn runs(&self) -> bool {
        self.running.is_some()
    }

    /// What it has said on standard error, in all its runs.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().unwrap()).into_owned()
    }

    /// Ends it as a power cut would.
    #[track_caller]
    pub fn kill(&mut self) {
        let mut running = self.running.take().expect("it runs");
        running.child.kill().unwrap();
        running.child.wait().unwrap();
    }

    /// Tells it to end with SIGTERM; tells its exit code, and how long it took.
    #[track_caller]
    pub fn stop(&mut self) -> (Option<i32>, Duration) {
        let started = Instant::now();
        self.signal("TERM");
        let mut running = self.running.take().expect("it runs");
        let status = ended(&mut running.child, PATIENCE);
        if status.is_none() {
            drop(running.child.kill());
            drop(running.child.wait());
        }
        (status.unwrap_or_else(|| panic!("{} does not end on SIGTERM", self.name)).code(), started.elapsed())
    }

    /// Waits for its end, which must have this exit code.
    #[track_caller]
    pub fn ended(&mut self, code: Option<i32>) {
        let mut running = self.running.take().expect("it runs");
        let status = ended(&mut running.child, PATIENCE);
        if status.is_none() {
            drop(running.child.kill());
            drop(running.child.wait());
        }
        assert_eq!(status.expect("it ends").code(), code, "{}", self.said());
    }

    /// Sends it a signal.
    #[track_caller]
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.pid().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Runs `lbm` on its data folder.
    #[track_caller]
    pub fn lbm(&self, args: &[&str]) -> Answer {
        self.lbm_with(args, b"")
    }

    /// The same with these bytes on standard input.
    #[track_caller]
    pub fn lbm_with(&self, args: &[&str], input: &[u8]) -> Answer {
        let mut command = self.elsewhere(LBM);
        command.args(args).arg("--data").arg(&self.data);
        run(command, input)
    }

    /// Runs `lbm ctl` with `--json`.
    #[track_caller]
    pub fn ctl(&self, args: &[&str]) -> Answer {
        self.lbm(&[&["ctl"], args, &["--json"]].concat())
    }

    /// The same with these bytes on standard input.
    #[track_caller]
    pub fn ctl_with(&self, args: &[&str], input: &[u8]) -> Answer {
        self.lbm_with(&[&["ctl"], args, &["--json"]].concat(), input)
    }

    /// Begins a `lbm ctl` on its data folder, and does not wait for it.
    pub fn begin(&self, args: &[&str]) -> Begun {
        let mut command = clean(Command::new(LBM));
        command.arg("ctl").args(args).arg("--data").arg(&self.data);
        Begun(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts"))
    }

    /// Its first full address.
    #[track_caller]
    pub fn address(&self) -> String {
        self.ctl(&["status"]).done()["listen"][0].as_str().expect("it listens").to_owned()
    }

    /// Makes it call another and waits until they are connected.
    #[track_caller]
    pub fn meet(&self, other: &Self) {
        self.ctl(&["peer", "add", "--addr", &other.address()]).ok();
        self.wait_for_peers(1);
    }

    /// Waits until it is connected to so many.
    #[track_caller]
    pub fn wait_for_peers(&self, peers: u64) {
        wait_until(PATIENCE, &format!("{} is connected to {peers}", self.name), || {
            self.ctl(&["status"]).done()["peers"].as_u64() >= Some(peers)
        });
    }

    /// Founds a group; its id.
    #[track_caller]
    pub fn found(&self, name: &str) -> String {
        self.ctl(&["group", "create", "--name", name]).text("group_id")
    }

    /// Lets another into a group.
    #[track_caller]
    pub fn add(&self, group: &str, member: &str, role: &str) {
        self.ctl(&["group", "add-member", "--group", group, "--member", member, "--role", role]).ok();
    }

    /// Publishes a claim; its hash.
    #[track_caller]
    pub fn publish(&self, group: &str, text: &str) -> String {
        self.ctl(&["claim", "publish", "--group", group, "--text", text]).text("claim_hash")
    }

    /// The hashes of all claims of a group; none where it is not here yet.
    pub fn claims(&self, group: &str) -> Vec<String> {
        let answer = self.ctl(&["claim", "list", "--group", group, "--limit", "1000000"]);
        if answer.code != Some(0) {
            return vec![];
        }
        let list = answer.json();
        let claims = list["claims"].as_array().expect("a list").iter();
        claims.map(|claim| claim["claim_hash"].as_str().expect("a hash").to_owned()).collect()
    }

    /// Waits until it has all of these claims.
    #[track_caller]
    pub fn wait_for_claims(&self, group: &str, wanted: &[&str]) -> Duration {
        wait_until(PATIENCE, &format!("{} has the claims {wanted:?}", self.name), || {
            let here = self.claims(group);
            wanted.iter().all(|claim| here.iter().any(|here| here == claim))
        })
    }

    /// How many blocks it has of a group, and the last of them. The hash of a block covers all that it builds on, so two nodes that
    /// agree here have the same blocks.
    #[track_caller]
    pub fn blocks(&self, group: &str) -> (u64, BTreeSet<String>) {
        let shown = self.ctl(&["group", "show", group]).done();
        let heads = shown["heads"].as_array().expect("heads").iter().map(|head| head.as_str().unwrap().to_owned());
        (shown["blocks"].as_u64().expect("blocks"), heads.collect())
    }

    /// The same, once a seal covers all of them.
    #[track_caller]
    pub fn settled(&self, group: &str) -> (u64, BTreeSet<String>) {
        let mut settled = None;
        wait_until(PATIENCE, "everything is final", || {
            let shown = self.ctl(&["group", "show", group]).done();
            let blocks = self.blocks(group);
            let is_final = shown["final_blocks"] == shown["blocks"] && shown["blocks"] == blocks.0;
            settled = is_final.then_some(blocks);
            is_final
        });
        settled.expect("waited for")
    }

    /// Checks all signatures and folds all again; the hash of the state.
    #[track_caller]
    pub fn verified(&self, group: &str) -> String {
        let answer = self.ctl(&["group", "verify", group]).done();
        assert_eq!(answer["ok"], true, "{}: {answer}", self.name);
        answer["state_hash"].as_str().expect("a hash").to_owned()
    }

    /// The memory that the process holds, bytes.
    #[track_caller]
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
    }
}

/// A command that runs beside the test; ended with it.
pub struct Begun(Child);

impl Drop for Begun {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            drop(running.child.kill());
            drop(running.child.wait());
        }
        if std::thread::panicking() {
            eprintln!("---- {} said ----\n{}", self.name, self.said());
        }
    }
}

/// Two daemons in one group: the first has founded it, the second is a member and has all of it.
#[track_caller]
pub fn pair(group: &str) -> (Daemon, Daemon, String) {
    let (alice, bob) = (Daemon::start("alice"), Daemon::start("bob"));
    let id = alice.found(group);
    alice.add(&id, &bob.id, "member");
    bob.meet(&alice);
    bob.ctl(&["group", "join", &id]).ok();
    (alice, bob, id)
}

/// Says loudly why a test is not run.
pub fn skipped(test: &str, why: &str) {
    // Past the harness, which keeps to itself what a test that passes prints.
    drop(writeln!(std::io::stderr().lock(), "SKIPPED {test}: {why}"));
}

/// Whether `path` is there.
pub fn is_there(path: impl AsRef<Path>) -> bool {
    path.as_ref().symlink_metadata().is_ok()
}
