//! The command line: a face that parses, asks the daemon through the API's client, and prints.
//!
//! Owns the arguments of all binaries, the forms of answers, and the exit codes: 0 done, 1 refused or failed, 2 wrong
//! usage, 3 no daemon. **Standard output is the answer and nothing else**; words for people go to standard error. It adds
//! nothing to what the API can do.

pub mod backup;
pub mod config;
pub mod ctl;
pub mod daemon;
pub mod demo;
pub mod doctor;
pub mod error;
pub mod init;
pub mod keys;
pub mod mcp;
pub mod node;
pub mod output;
pub mod pages;
pub mod password;
pub mod session;
pub mod text;
pub mod when;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, Parser, Subcommand};

use self::error::{CliError, Outcome};
use self::output::Render;
use self::password::Terminal;
use self::session::{Session, Streams};
use crate::api::BUILD;
use crate::api::client::Client;
use crate::config::{check_names, data_folder, process_environment};

/// Share what agents learn between the machines of one network
///
/// Each machine runs one daemon, `lbm-node`; `lbm ctl` talks to it. `lbm demo` shows the whole story.
#[derive(Debug, Clone, Parser)]
#[command(name = "lbm", version = BUILD, max_term_width = 100)]
pub struct Cli {
    /// What is accepted anywhere on the line.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What is accepted anywhere on the line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct GlobalArgs {
    /// Data folder of the daemon [env: LB_DATA] [default: the platform's data folder]
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Print one JSON document with stable keys, not text for people
    #[arg(long, global = true)]
    pub json: bool,
}

impl GlobalArgs {
    /// The data folder: the flag, `LB_DATA`, or the platform's.
    ///
    /// # Errors
    /// Where none of them is known.
    pub fn data_folder(&self) -> Result<PathBuf, CliError> {
        Ok(data_folder(self.data.clone(), &process_environment)?.value)
    }
}

/// What `lbm` can do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Make a data folder with a new key
    Init(init::InitArgs),
    /// The node's key: show it, put it under a password, carry it elsewhere
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Put the whole node into one file, whether its daemon runs or not
    Backup(backup::BackupArgs),
    /// Make an empty data folder that of the node in a backup
    Restore(backup::RestoreArgs),
    /// Start daemons on this machine, play the whole story, and leave nothing behind
    Demo(demo::DemoArgs),
    /// Show the settings in force, and where each comes from
    Config(config::ConfigArgs),
    /// What may keep the node from working, and what to do about it; exit code 1 where there is a problem
    Doctor,
    /// Print what a shell needs to complete this command, or lbm-node: `source <(lbm completions bash)`
    Completions(pages::CompletionsArgs),
    /// Print the manual page, or write one for each command into a folder
    Man(pages::ManArgs),
    /// Ask the daemon
    Ctl(Box<ctl::CtlArgs>),
    /// Serve an agent: the Model Context Protocol on standard input and output
    Mcp(mcp::McpArgs),
    /// Run the daemon, as `lbm-node` does
    #[command(hide = true)]
    Node(Box<node::NodeArgs>),
}

/// Runs `lbm`, with the process's arguments and streams.
#[must_use]
pub fn run() -> ExitCode {
    let Cli { global, command } = Cli::try_parse().unwrap_or_else(|error| plainly(error).exit());
    match command {
        Command::Ctl(args) => run_ctl(&args, &global),
        Command::Config(args) => run_config(&args, &global),
        Command::Node(args) => run_node(&args, &global),
        Command::Completions(args) => run_page(&global, |out| pages::completions(&args, out)),
        Command::Man(args) => run_page(&global, |out| pages::man(&args, out)),
        Command::Mcp(args) => mcp::become_small(&args, &global),
        Command::Doctor => {
            let mut out = io::stdout().lock();
            let ran = global.data_folder().and_then(|data| doctor::run(&data, global.json, &mut out));
            finish(ran, global.json, &mut out, &mut io::stderr().lock())
        }
        Command::Demo(args) => {
            let mut out = io::stdout().lock();
            let ran = demo::run(&args, global.json, &mut out);
            finish(ran, global.json, &mut out, &mut io::stderr().lock())
        }
        Command::Init(args) => run_here(&global, |data| Ok(init::run(&args, data, &mut Terminal)?)),
        Command::Backup(args) => run_here(&global, |data| backup::backup(&args, data)),
        Command::Restore(args) => run_here(&global, |data| Ok(backup::restore(&args, data)?)),
        Command::Keys(command) => run_here(&global, |data| Ok(keys::run(&command, data, &mut Terminal)?)),
    }
}

/// The parser's error without its tip that leads astray: to give an option behind `--`, as a word of its own.
fn plainly(mut error: clap::Error) -> clap::Error {
    let is_group = matches!(error.get(ContextKind::InvalidArg), Some(ContextValue::String(what)) if what == "--group");
    let Some(ContextValue::StyledStrs(mut tips)) = error.remove(ContextKind::Suggested) else { return error };
    tips.retain(|tip| !tip.to_string().contains("as a value, use '-- "));
    if is_group {
        tips.push("the group is named without `--group` here: see the usage".to_owned().into());
    }
    if !tips.is_empty() {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
    }
    error
}

/// Runs `lbm-node`, with the process's arguments and streams.
#[must_use]
pub fn run_lbm_node() -> ExitCode {
    let node::NodeCli { data, node } = node::NodeCli::parse();
    run_node(&node, &GlobalArgs { data, json: false })
}

/// Runs `lbm-mcp`, with the process's arguments and streams.
#[must_use]
pub fn run_lbm_mcp() -> ExitCode {
    let mcp::McpCli { data, mcp } = mcp::McpCli::parse();
    mcp::run(&mcp, &GlobalArgs { data, json: false })
}

fn run_node(args: &node::NodeArgs, global: &GlobalArgs) -> ExitCode {
    daemon::run(args, global.data_folder())
}

fn run_page(global: &GlobalArgs, run: impl FnOnce(&mut dyn Write) -> Result<Outcome, CliError>) -> ExitCode {
    let mut out = io::stdout().lock();
    let ran = run(&mut out);
    finish(ran, global.json, &mut out, &mut io::stderr().lock())
}

fn run_here<R: Render>(global: &GlobalArgs, run: impl FnOnce(&Path) -> Result<R, CliError>) -> ExitCode {
    let mut out = io::stdout().lock();
    let ran = global.data_folder().and_then(|data| {
        output::print(&run(&data)?, global.json, &mut out)?;
        Ok(Outcome::Done)
    });
    finish(ran, global.json, &mut out, &mut io::stderr().lock())
}

/// Runs `lbm ctl`: the whole of it, with the process's streams.
#[must_use]
pub fn run_ctl(args: &ctl::CtlArgs, global: &GlobalArgs) -> ExitCode {
    let mut streams = Streams::of_process();
    let shows_progress = io::stderr().is_terminal();
    let ran = global.data_folder().and_then(|data| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Start)?;
        let standard =
            (&mut streams.out as &mut dyn Write, &mut streams.err as &mut dyn Write, &mut streams.input as _);
        let mut session = Session::new(Client::new(&data), global.json, standard);
        session.shows_progress = shows_progress;
        runtime.block_on(ctl::run(args, &mut session))
    });
    finish(ran, global.json, &mut streams.out, &mut streams.err)
}

/// Runs `lbm config`, with the process's streams.
#[must_use]
pub fn run_config(args: &config::ConfigArgs, global: &GlobalArgs) -> ExitCode {
    let mut streams = Streams::of_process();
    let names = std::env::vars_os().map(|(name, _)| name);
    let checked = check_names(names).map_err(CliError::from);
    let ran = checked.and_then(|()| config::run(args, global, &process_environment, &mut streams.out));
    finish(ran, global.json, &mut streams.out, &mut streams.err)
}

/// Says why a command failed, in a sentence to people and with `--json` in a document to programs, and gives its exit code.
pub fn finish(ran: Result<Outcome, CliError>, json: bool, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    match ran {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Bad) => ExitCode::FAILURE,
        Err(error) => {
            if !error.is_reader_gone() {
                // With both streams closed there is only the exit code left to tell it by.
                let _ = writeln!(err, "error: {}", text::harmless(&error.to_string()));
                // What is pending has its answer on the way out already.
                if json && !error.has_answered() {
                    let _ = writeln!(out, "{}", error.document()).and_then(|()| out.flush());
                }
            }
            error.exit_code()
        }
    }
}

#[cfg(test)]
mod tests;
