//! Names the build: the version, and in a release the commit that it is made from, where that is known.
//!
//! `LBM_COMMIT` says so to whoever builds from an archive; else git is asked. Builds for tests are not named by their commit, which would
//! have everything compiled anew after each one.

use std::path::Path;
use std::process::Command;

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The commit of this folder's own repository: a folder that was unpacked within another one is none of its commits.
fn commit() -> Option<String> {
    if !Path::new(".git").exists() {
        return None;
    }
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo:rerun-if-changed={log}");
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=LBM_COMMIT");
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let given = std::env::var("LBM_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = given.or_else(|| if is_release { commit() } else { None });
    // A word of a version and nothing that would break a line of it.
    let commit = commit.filter(|commit| commit.len() <= 64 && commit.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let build = commit.map_or_else(|| version.clone(), |commit| format!("{version} ({commit})"));
    println!("cargo:rustc-env=LBM_BUILD={build}");
}
