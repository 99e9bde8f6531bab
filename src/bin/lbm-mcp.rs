//! `lbm-mcp`: what `lbm mcp` becomes. It does that and nothing else, so that it takes little memory: one runs for each agent.

use std::process::ExitCode;

fn main() -> ExitCode {
    lbm::cli::run_lbm_mcp()
}
