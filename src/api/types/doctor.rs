//! What may keep a node from working, and what to do about it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// As it should be.
    Ok,
    /// It may be as somebody wants it; where something does not work, this may be why.
    Warning,
    /// It keeps the node from working as it should.
    Problem,
}

impl Grade {
    /// As on the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// How bad it is.
    pub severity: Grade,
    /// A word for scripts: `data_folder`, `port_in_use`, …
    pub code: String,
    /// What was seen, as a sentence.
    pub detail: String,
    /// What to do; `null` where nothing is to be done.
    pub remedy: Option<String>,
}

impl Finding {
    /// Something that is as it should be.
    #[must_use]
    pub fn ok(code: &str, detail: impl Into<String>) -> Self {
        Self { severity: Grade::Ok, code: code.to_owned(), detail: detail.into(), remedy: None }
    }

    /// Something that may be why something does not work.
    #[must_use]
    pub fn warning(code: &str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into());
        Self { severity: Grade::Warning, code: code.to_owned(), detail: detail.into(), remedy }
    }

    /// Something that keeps the node from working.
    #[must_use]
    pub fn problem(code: &str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Grade::Problem, ..Self::warning(code, detail, remedy) }
    }
}

/// Answer of `GET /doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Diagnosis {
    /// Whether nothing is a problem.
    pub ok: bool,
    /// Whether a daemon was there to be looked at: without one nothing is known of peers and groups.
    pub daemon: bool,
    /// What was looked at, the worst first.
    pub findings: Vec<Finding>,
}

impl Diagnosis {
    /// Puts the worst first.
    #[must_use]
    pub fn of(daemon: bool, mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        Self { ok: findings.iter().all(|finding| finding.severity < Grade::Problem), daemon, findings }
    }
}
