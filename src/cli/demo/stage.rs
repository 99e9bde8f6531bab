//! The daemons of the story, its commands, and who reads along.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::effect::{effect, line, quoted, refusal};
use super::mcp::Mcp;
use super::{DemoError, GROUP};
use crate::api::client::Client;
use crate::api::types::{AskBalance, ListClaims, ListPurchases, ListRejected, Purchase, PurchaseState};
use crate::cli::text::one_line;

/// How long anything may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// The folder, the daemons, and who reads along.
pub(super) struct Stage<'o> {
    out: &'o mut dyn Write,
    exe: PathBuf,
    folder: Folder,
    daemons: Vec<(String, Child)>,
    /// The agents that play, and how often they have called a tool.
    agents: BTreeMap<String, Mcp>,
    calls: usize,
    /// What the identities of those are called that have said who they are.
    names: BTreeMap<String, String>,
    /// What the last command answered.
    pub(super) answer: Value,
}

/// A folder that goes when the story ends.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed now is in the system's folder for what is temporary.
            let _left = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// The error of something that the system was asked for.
pub(super) fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> DemoError {
    move |source| DemoError::System { what, source }
}

impl<'o> Stage<'o> {
    pub(super) fn set(out: &'o mut dyn Write, keep: bool) -> Result<Self, DemoError> {
        let exe = std::env::current_exe().map_err(system("find this program"))?;
        let unique = getrandom::u64().map_err(std::io::Error::other).map_err(system("get random bytes"))?;
        let path = std::env::temp_dir().join(format!("lbm-demo-{unique:016x}"));
        std::fs::create_dir(&path).map_err(system("make a temporary folder"))?;
        let folder = Folder { path, keep };
        let (daemons, agents) = (Vec::new(), BTreeMap::new());
        let mut stage =
            Self { out, exe, folder, daemons, agents, calls: 0, names: BTreeMap::new(), answer: Value::Null };
        if keep {
            stage.say(&format!("The data folders are kept in {}.", stage.folder.path.display()));
        }
        Ok(stage)
    }

    /// Words for who reads along; if nobody does, the story goes on.
    pub(super) fn say(&mut self, words: &str) {
        let _nobody = writeln!(self.out, "{words}").and_then(|()| self.out.flush());
    }

    pub(super) fn part(&mut self, title: &str) {
        self.say(&format!("\n{title}\n"));
    }

    pub(super) fn say_text(&mut self, key: &str) {
        let text = self.last(key);
        let indented: String = text.lines().map(|line| format!("    {line}\n")).collect();
        self.say(indented.trim_end());
    }

    fn data(&self, name: &str) -> PathBuf {
        self.folder.path.join(name)
    }

    /// A string of the last answer.
    pub(super) fn last(&self, key: &str) -> String {
        self.answer.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    fn client(&self, name: &str) -> Client {
        Client::new(&self.data(name))
    }

    /// Runs a command of this binary in a node's name: its words as typed, what came of it, and how long it took.
    async fn command(&self, name: &str, args: &[&str]) -> Result<(String, Output, Duration), DemoError> {
        let shown = args.iter().map(|arg| quoted(arg)).collect::<Vec<_>>().join(" ");
        let started = Instant::now();
        let output = Command::new(&self.exe)
            .args(args)
            .arg("--data")
            .arg(self.data(name))
            .arg("--json")
            .stdin(Stdio::null())
            .output()
            .await
            .map_err(system("start a command"))?;
        Ok((format!("lbm {shown}"), output, started.elapsed()))
    }

    fn show(&mut self, name: &str, command: &str, effect: &str, took: Duration) {
        self.say(&format!("  {name:5} $ {command}\n        {effect}  ({:.0} ms)", took.as_secs_f64() * 1e3));
    }

    /// Runs a command that must succeed, and shows it with its effect.
    async fn run(&mut self, name: &str, args: &[&str]) -> Result<(), DemoError> {
        let (command, output, took) = self.command(name, args).await?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(DemoError::Command { command, said });
        }
        // `group join` streams its progress; its answer is the last line, as that of the others is the only one.
        let text = String::from_utf8_lossy(&output.stdout);
        self.answer = text.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or(Value::Null);
        let effect = effect(&self.answer);
        self.show(name, &command, &effect, took);
        Ok(())
    }

    /// Runs a command of `lbm ctl` that must be refused, and shows it with the sentence.
    pub(super) async fn refused(&mut self, name: &str, args: &[&str]) -> Result<(), DemoError> {
        let (command, output, took) = self.command(name, &[&["ctl"], args].concat()).await?;
        if output.status.code() != Some(1) {
            return Err(DemoError::Wrong("a command that breaks a rule is not refused"));
        }
        let said = refusal(&String::from_utf8_lossy(&output.stderr));
        self.show(name, &command, &said, took);
        Ok(())
    }

    pub(super) async fn ctl(&mut self, name: &str, args: &[&str]) -> Result<(), DemoError> {
        let args: Vec<&str> = std::iter::once("ctl").chain(args.iter().copied()).collect();
        self.run(name, &args).await
    }

    pub(super) async fn publish(&mut self, name: &str, text: &str, tags: &str) -> Result<(), DemoError> {
        self.ctl(name, &["claim", "publish", "--group", GROUP, "--text", text, "--tags", tags]).await
    }

    pub(super) async fn start(&mut self, name: &str) -> Result<(), DemoError> {
        self.run(name, &["init", "--name", name]).await?;
        self.start_daemon(name).await
    }

    pub(super) async fn start_daemon(&mut self, name: &str) -> Result<(), DemoError> {
        let started = Instant::now();
        let mut daemon = Command::new(&self.exe)
            .args(["node", "--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns", "--log-level", "error", "--data"])
            .arg(self.data(name))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(system("start a daemon"))?;
        let stdout = daemon.stdout.take();
        self.daemons.push((name.to_owned(), daemon));
        let mut line = String::new();
        if let Some(stdout) = stdout {
            let mut reader = BufReader::new(stdout);
            let read = tokio::time::timeout(PATIENCE, reader.read_line(&mut line));
            read.await.map_err(|_| late("a daemon gets ready"))?.map_err(system("hear a daemon"))?;
        }
        if !line.starts_with("ready") {
            return Err(DemoError::Wrong("a daemon did not start: run `lbm-node` by hand to see why"));
        }
        let took = started.elapsed().as_secs_f64() * 1e3;
        self.say(&format!("  {name:5} $ lbm-node\n        ready, with all that is on its disk  ({took:.0} ms)"));
        Ok(())
    }

    /// Ends a daemon as a power cut would.
    pub(super) async fn kill(&mut self, name: &str) -> Result<(), DemoError> {
        let Some(at) = self.daemons.iter().position(|(daemon, _)| daemon == name) else {
            return Err(DemoError::Wrong("no such daemon"));
        };
        let (_, mut daemon) = self.daemons.swap_remove(at);
        daemon.kill().await.map_err(system("kill a daemon"))?;
        self.say(&format!("  {name:5} $ kill -9 lbm-node"));
        Ok(())
    }

    /// Ends all agents and daemons, and comes back when they are gone: only then may their folders go.
    pub(super) async fn end(&mut self) -> Result<(), DemoError> {
        for agent in std::mem::take(&mut self.agents).into_values() {
            agent.end().await?;
        }
        for (_, daemon) in &mut self.daemons {
            daemon.start_kill().map_err(system("end a daemon"))?;
        }
        for (_, mut daemon) in self.daemons.drain(..) {
            daemon.wait().await.map_err(system("wait for a daemon to end"))?;
        }
        Ok(())
    }

    pub(super) async fn node_id(&self, name: &str) -> Result<String, DemoError> {
        Ok(self.client(name).status().await?.node_id)
    }

    /// Connects two nodes, as mDNS does by itself between two machines.
    pub(super) async fn meet(&mut self, name: &str, other: &str) -> Result<(), DemoError> {
        let address = self.client(other).status().await?.listen.into_iter().next().unwrap_or_default();
        self.ctl(name, &["peer", "add", "--addr", &address, "--alias", other]).await
    }

    /// Cuts a node off from all others.
    pub(super) async fn part_ways(&mut self, name: &str) -> Result<(), DemoError> {
        let id = self.node_id(name).await?;
        let others: Vec<String> =
            self.daemons.iter().map(|(other, _)| other.clone()).filter(|other| other != name).collect();
        for other in &others {
            let other_id = self.node_id(other).await?;
            self.client(other).remove_peer(&id).await?;
            self.client(name).remove_peer(&other_id).await?;
        }
        let began = Instant::now();
        while self.client(name).status().await?.peers > 0 {
            pause(began, "a node is cut off").await?;
        }
        self.say(&format!("  {name} has no connection to anybody."));
        Ok(())
    }

    pub(super) async fn wait_for_claim(
        &self,
        name: &str,
        group: &str,
        claim: &str,
        since: Instant,
    ) -> Result<Duration, DemoError> {
        let client = self.client(name);
        loop {
            match client.claim(group, claim).await {
                Ok(_) => return Ok(since.elapsed()),
                Err(error) if error.problem().is_some() => pause(since, "a claim arrives").await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(super) async fn wait_for_task(&self, name: &str, group: &str, task: &str) -> Result<(), DemoError> {
        let (client, began) = (self.client(name), Instant::now());
        loop {
            match client.task(group, task).await {
                Ok(_) => return Ok(()),
                Err(error) if error.problem().is_some() => pause(began, "a task arrives").await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(super) async fn wait_for_offer(&self, name: &str, offer: &str) -> Result<(), DemoError> {
        let (client, began) = (self.client(name), Instant::now());
        loop {
            match client.offer(offer).await {
                Ok(_) => return Ok(()),
                Err(error) if error.problem().is_some() => pause(began, "an offer arrives").await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits until a seller has its price.
    pub(super) async fn wait_for_sale(&self, name: &str, group: &str, offer: &str) -> Result<(), DemoError> {
        let (client, began) = (self.client(name), Instant::now());
        let here = ListPurchases { group: Some(group.to_owned()), limit: None };
        let is_paid = |purchase: &Purchase| purchase.offer_id == offer && purchase.status == PurchaseState::Settled;
        while !client.purchases(&here).await?.purchases.iter().any(is_paid) {
            pause(began, "a seller is paid").await?;
        }
        Ok(())
    }

    /// Waits until a node knows that one of the group's blocks is refused.
    pub(super) async fn wait_for_refusal(&self, name: &str, group: &str) -> Result<(), DemoError> {
        let (client, began) = (self.client(name), Instant::now());
        let here = ListRejected { group: Some(group.to_owned()), ..ListRejected::default() };
        while client.rejected(&here).await?.rejected.is_empty() {
            pause(began, "who was later in a race is told").await?;
        }
        Ok(())
    }

    /// Adds up on one node what all have, what the treasury has and what is set aside: that is what there is.
    pub(super) async fn count_tokens(&self, name: &str, group: &str, all: &[&str]) -> Result<u64, DemoError> {
        let client = self.client(name);
        let stats = client.group_stats(group).await?;
        let mut tokens = stats.treasury_balance + stats.escrow_balance;
        for other in all {
            let account = self.node_id(other).await?.parse().map_err(|_| DemoError::Wrong("a node's id is none"))?;
            tokens += client.balance(group, &AskBalance { account: Some(account) }).await?.balance;
        }
        if tokens != stats.total_supply {
            return Err(DemoError::Wrong("the tokens of all do not add up to the supply"));
        }
        Ok(tokens)
    }

    pub(super) async fn wait_for_count(&mut self, name: &str, group: &str, count: usize) -> Result<(), DemoError> {
        let (client, began) = (self.client(name), Instant::now());
        let all = ListClaims { limit: Some(100), cursor: None };
        while client.claims(group, &all).await?.claims.len() < count {
            pause(began, "all claims arrive").await?;
        }
        let took = began.elapsed().as_secs_f64() * 1e3;
        self.say(&format!("  {name} has all {count} claims  (waited {took:.0} ms)"));
        Ok(())
    }
}

impl Stage<'_> {
    /// Starts an agent's client, which acts in the group.
    pub(super) async fn enter(&mut self, agent: &str, machine: &str, group: &str) -> Result<(), DemoError> {
        let started = Instant::now();
        let mcp = Mcp::start(&self.exe, &self.data(machine), agent, group).await?;
        self.agents.insert(agent.to_owned(), mcp);
        let took = started.elapsed().as_secs_f64() * 1e3;
        self.say(&format!(
            "  {agent:9} $ lbm mcp --agent {agent}\n            on {machine}'s machine, initialized  ({took:.0} ms)"
        ));
        Ok(())
    }

    /// Calls of tools so far.
    pub(super) const fn calls(&self) -> usize {
        self.calls
    }

    /// An agent calls a tool, which must do it; shown with its effect.
    pub(super) async fn ask(&mut self, agent: &str, tool: &str, arguments: Value) -> Result<(), DemoError> {
        self.ask_until(agent, tool, arguments, "", |_| true).await
    }

    /// The same, again and again until its answer is as it should be. What is shown is the last call, with the time of all.
    pub(super) async fn ask_until(
        &mut self,
        agent: &str,
        tool: &str,
        arguments: Value,
        what: &'static str,
        is_it: impl Fn(&Value) -> bool,
    ) -> Result<(), DemoError> {
        let command = line(tool, &arguments);
        let began = Instant::now();
        loop {
            let Some(mcp) = self.agents.get_mut(agent) else { return Err(DemoError::Wrong("no such agent")) };
            self.calls += 1;
            match mcp.call(tool, &arguments).await? {
                Ok(answer) if is_it(&answer) => {
                    self.answer = answer;
                    break;
                }
                // What one machine names may not be on the other yet.
                Ok(_) | Err(_) if !what.is_empty() => pause(began, what).await?,
                Ok(_) => return Err(DemoError::Wrong("a tool does not answer as it should")),
                Err(said) => return Err(DemoError::Command { command, said }),
            }
        }
        if tool == "prime" {
            self.names.insert(self.last("identity"), agent.to_owned());
        }
        let (effect, took) = (effect(&self.answer), began.elapsed().as_secs_f64() * 1e3);
        self.say(&format!("  {agent:9} > {command}\n            {effect}  ({took:.1} ms)"));
        Ok(())
    }

    /// The claims of the last answer, each under the one that it answers.
    pub(super) fn say_thread(&mut self) {
        let mut words = String::new();
        for claim in self.answer.get("claims").and_then(Value::as_array).into_iter().flatten() {
            let depth = claim.get("depth").and_then(Value::as_u64).unwrap_or_default();
            let text = claim.get("text").and_then(Value::as_str).unwrap_or_default();
            let author = claim.get("author").and_then(Value::as_str).unwrap_or_default();
            let indent = "  ".repeat(usize::try_from(depth).unwrap_or_default());
            let name = self.names.get(author).map_or(author, String::as_str);
            words.push_str(&format!("    {indent}{name}: {}\n", one_line(text, 100)));
        }
        self.say(words.trim_end());
    }

    /// Waits until all members have the same blocks, and a seal covers each.
    pub(super) async fn wait_until_final(&mut self, group: &str, all: &[&str]) -> Result<(), DemoError> {
        let began = Instant::now();
        loop {
            let mut seen = Vec::new();
            for name in all {
                let shown = self.client(name).group(group).await?;
                seen.push((shown.heads, shown.group.blocks, shown.final_blocks));
            }
            let first = seen.first();
            if seen
                .iter()
                .all(|(heads, blocks, sealed)| blocks == sealed && first == Some(&(heads.clone(), *blocks, *sealed)))
            {
                break;
            }
            pause(began, "everything is final").await?;
        }
        let took = began.elapsed().as_secs_f64() * 1e3;
        self.say(&format!(
            "  Alice, the group's notary, has sealed it: nothing can be put before it any more  (waited {took:.0} ms)"
        ));
        Ok(())
    }
}

pub(super) fn late(what: &'static str) -> DemoError {
    DemoError::Late { what, seconds: PATIENCE.as_secs() }
}

async fn pause(since: Instant, what: &'static str) -> Result<(), DemoError> {
    if since.elapsed() > PATIENCE {
        return Err(late(what));
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    Ok(())
}
