//! `lbm completions` and `lbm man`: what the command line says of itself, for shells and for `man`.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man;

use super::Cli;
use super::error::{CliError, Outcome};
use super::node::NodeCli;

/// Arguments of `lbm completions`.
#[derive(Debug, Clone, Args)]
pub struct CompletionsArgs {
    /// For which shell
    pub shell: Shell,
    /// Of which program
    #[arg(default_value = "lbm")]
    pub program: Program,
}

/// A program that has completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Program {
    /// The command line
    Lbm,
    /// The daemon
    LbmNode,
}

/// Arguments of `lbm man`.
#[derive(Debug, Clone, Args)]
pub struct ManArgs {
    /// Write a page for `lbm`, each of its commands and `lbm-node` into this folder, which is made where it is missing
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Prints a shell's completions.
///
/// # Errors
/// Where they cannot be written.
pub fn completions(args: &CompletionsArgs, out: &mut dyn Write) -> Result<Outcome, CliError> {
    let mut script = Vec::new();
    let (mut command, name) = match args.program {
        Program::Lbm => (Cli::command(), "lbm"),
        Program::LbmNode => (NodeCli::command(), "lbm-node"),
    };
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    out.write_all(&script)?;
    out.flush()?;
    Ok(Outcome::Done)
}

/// Prints the page of `lbm`, or writes all pages.
///
/// # Errors
/// Where they cannot be written.
pub fn man(args: &ManArgs, out: &mut dyn Write) -> Result<Outcome, CliError> {
    match &args.dir {
        None => Man::new(Cli::command()).render(out)?,
        Some(folder) => {
            let failed = |source| CliError::Save { path: folder.clone(), source };
            std::fs::create_dir_all(folder).map_err(failed)?;
            clap_mangen::generate_to(Cli::command(), folder).map_err(failed)?;
            clap_mangen::generate_to(NodeCli::command(), folder).map_err(failed)?;
        }
    }
    out.flush()?;
    Ok(Outcome::Done)
}
