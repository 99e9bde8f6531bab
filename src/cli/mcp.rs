//! `lbm mcp`: the MCP server on standard input and output, and the settings by which clients start it.
//!
//! One runs for each agent, so its memory counts, and nearly all of that are pages of the program's code, which the system reads in around
//! each one that is used: of a program that can do everything, ten times what is needed. `lbm mcp` therefore becomes the program
//! `lbm-mcp` that lies beside it.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};

use clap::{Args, Parser, ValueEnum};
use serde_json::json;

use super::error::{CliError, Outcome};
use super::{GlobalArgs, finish};
use crate::api::client::{Client, ClientError};
use crate::identity::AgentName;
use crate::mcp::{Acting, stdio};

/// Serve an agent: the Model Context Protocol on standard input and output, as `lbm mcp` does
#[derive(Debug, Clone, Parser)]
#[command(name = "lbm-mcp", version, max_term_width = 100)]
pub struct McpCli {
    /// Data folder of the daemon [env: LB_DATA] [default: the platform's data folder]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The rest.
    #[command(flatten)]
    pub mcp: McpArgs,
}

/// Arguments of `lbm mcp`.
#[derive(Debug, Clone, Args)]
pub struct McpArgs {
    /// Act as this agent of the daemon, not as the node itself
    #[arg(long, value_name = "NAME")]
    pub agent: Option<AgentName>,
    /// Group that is meant where a call names none: its id, a unique prefix of it, or its name
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,
    /// Print what makes a client start this server, and do nothing else
    #[arg(long, value_name = "CLIENT")]
    pub print_config: Option<McpClient>,
}

impl McpArgs {
    /// What starts the same server again.
    fn words(&self, data: &Path) -> Vec<OsString> {
        let mut words = vec!["--data".into(), data.into()];
        let agent = self.agent.as_ref().map(ToString::to_string);
        for (flag, value) in [("--agent", &agent), ("--group", &self.group)] {
            if let Some(value) = value {
                words.extend([flag.into(), value.into()]);
            }
        }
        words
    }
}

/// Clients whose settings are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum McpClient {
    /// Claude Code: a command
    Claude,
    /// Codex: a part of ~/.codex/config.toml
    Codex,
    /// Gemini CLI: a part of ~/.gemini/settings.json
    Gemini,
    /// Cursor: .cursor/mcp.json
    Cursor,
    /// VS Code: .vscode/mcp.json
    Vscode,
}

/// Runs `lbm mcp`: as the program beside this one that does nothing else, or as it is where there is none.
#[must_use]
pub fn become_small(args: &McpArgs, global: &GlobalArgs) -> ExitCode {
    let beside = std::env::current_exe().map(|program| program.with_file_name("lbm-mcp"));
    if let (None, Ok(data), Ok(program)) = (args.print_config, global.data_folder(), beside) {
        // Comes back only where it is not there, or cannot be run.
        let _still_here = process::Command::new(program).args(args.words(&data)).exec();
    }
    run(args, global)
}

/// Runs `lbm mcp` in this process.
#[must_use]
pub fn run(args: &McpArgs, global: &GlobalArgs) -> ExitCode {
    let ran = global.data_folder().and_then(|data| match args.print_config {
        Some(client) => print_config(client, args, &data),
        None => serve(args, &data),
    });
    finish(ran, false, &mut io::sink(), &mut io::stderr().lock())
}

fn serve(args: &McpArgs, data: &Path) -> Result<Outcome, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Start)?;
    let acting = Acting::new(&Client::new(data), args.agent.clone(), args.group.clone());
    let served = runtime.block_on(stdio::serve(acting));
    // A thread may still be reading standard input: nobody waits for it.
    runtime.shutdown_background();
    served.map_err(CliError::Output)?;
    Ok(Outcome::Done)
}

fn print_config(client: McpClient, args: &McpArgs, data: &Path) -> Result<Outcome, CliError> {
    let program = std::env::current_exe().map_err(CliError::Start)?;
    let data = std::path::absolute(data).map_err(CliError::Start)?;
    let words = args.words(&data).into_iter().map(|word| word.to_string_lossy().into_owned());
    let words: Vec<String> = std::iter::once("mcp".to_owned()).chain(words).collect();
    let name = args.agent.as_ref().map_or_else(|| "lbm".to_owned(), |agent| format!("lbm-{agent}"));
    let mut out = io::stdout().lock();
    writeln!(out, "{}", config(client, &name, &program.display().to_string(), &words))?;
    out.flush()?;
    drop(out);
    if let Some(words) = unknown(args, &Client::new(&data))? {
        writeln!(io::stderr().lock(), "warning: {words}")?;
    }
    Ok(Outcome::Done)
}

/// What the daemon does not know of the agent and the group that are to be named; nothing while it is away.
fn unknown(args: &McpArgs, client: &Client) -> Result<Option<String>, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Start)?;
    let refused = runtime.block_on(async {
        if let Some(agent) = &args.agent {
            client.agent(agent.as_str()).await?;
        }
        if let Some(group) = &args.group {
            client.group(group).await?;
        }
        Ok::<(), ClientError>(())
    });
    Ok(refused.err().and_then(|error| error.problem().map(ToString::to_string)))
}

/// What a client takes to start `program` with `words` as the server `name`.
fn config(client: McpClient, name: &str, program: &str, words: &[String]) -> String {
    let server = json!({"command": program, "args": words});
    let pretty = |value: serde_json::Value| format!("{value:#}");
    match client {
        McpClient::Claude => {
            let words: Vec<_> = std::iter::once(program).chain(words.iter().map(String::as_str)).map(quoted).collect();
            format!("claude mcp add {name} -- {}", words.join(" "))
        }
        McpClient::Codex => {
            // A JSON string is a TOML string, and a list of them a TOML array.
            format!("[mcp_servers.{name}]\ncommand = {}\nargs = {}", json!(program), json!(words))
        }
        McpClient::Gemini | McpClient::Cursor => pretty(json!({"mcpServers": {name: server}})),
        McpClient::Vscode => pretty(json!({"servers": {name: {"type": "stdio", "command": program, "args": words}}})),
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::{McpClient, config};

    #[test]
    fn each_client_gets_what_it_reads() {
        let words = ["mcp".to_owned(), "--data".to_owned(), "/tmp/a b's".to_owned()];
        let of = |client| config(client, "lbm", "/usr/bin/lbm", &words);
        assert_eq!(of(McpClient::Claude), r"claude mcp add lbm -- /usr/bin/lbm mcp --data '/tmp/a b'\''s'");
        let codex: toml::Table = toml::from_str(&of(McpClient::Codex)).unwrap();
        assert_eq!(codex["mcp_servers"]["lbm"]["args"][2].as_str(), Some("/tmp/a b's"));
        for (client, key) in
            [(McpClient::Gemini, "mcpServers"), (McpClient::Cursor, "mcpServers"), (McpClient::Vscode, "servers")]
        {
            let document: serde_json::Value = serde_json::from_str(&of(client)).unwrap();
            assert_eq!(document[key]["lbm"]["command"], "/usr/bin/lbm");
            assert_eq!(document[key]["lbm"]["args"][0], "mcp");
        }
    }
}
