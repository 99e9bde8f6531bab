//! `lbm-node`: the daemon.

use std::process::ExitCode;

fn main() -> ExitCode {
    lbm::cli::run_lbm_node()
}
