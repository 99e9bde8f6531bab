//! `lbm`: everything from the terminal.

use std::process::ExitCode;

fn main() -> ExitCode {
    lbm::cli::run()
}
