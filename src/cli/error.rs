//! Why a command failed, and the exit code that says so to scripts.

use std::io;
use std::process::ExitCode;

use serde_json::json;

use crate::api::client::ClientError;
use crate::api::types::{FieldError, Problem};
use crate::config::ConfigError;

/// How a command ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Done,
    /// It answered, and the answer is that something is not as it should be.
    Bad,
}

impl Outcome {
    /// `Done` where `ok`.
    #[must_use]
    pub const fn of(ok: bool) -> Self {
        if ok { Self::Done } else { Self::Bad }
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The daemon could not be asked, or refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A value of the command line breaks a bound.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// A key, or the password that it is under.
    #[error(transparent)]
    Keys(#[from] super::keys::KeysError),
    /// The daemon does not start.
    #[error(transparent)]
    Daemon(#[from] super::daemon::StartFailure),
    /// A backup cannot be made or put back.
    #[error(transparent)]
    Backup(#[from] crate::backup::BackupError),
    /// The demo.
    #[error(transparent)]
    Demo(#[from] super::demo::DemoError),
    /// The settings cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file or standard input cannot be read.
    #[error("cannot read {name}: {source}")]
    Read {
        /// The file, or `standard input`.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// What was read is larger than it may be.
    #[error("{name} has more than {limit_bytes} bytes: shorten it or split it")]
    TooLarge {
        /// The file, or `standard input`.
        name: String,
        /// Bytes it may have.
        limit_bytes: u64,
    },
    /// What was read is not text.
    #[error("{name} is not UTF-8 text (byte {at} is no part of a character): convert it first")]
    NotUtf8 {
        /// The file, or `standard input`.
        name: String,
        /// Where it stops being text, from 0.
        at: usize,
    },
    /// A line of a bulk file is wrong. Nothing was sent.
    #[error("{name}, line {line}: {source}; nothing was published")]
    Line {
        /// The file, or `standard input`.
        name: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        source: LineError,
    },
    /// A bulk file has no claim in it.
    #[error("{name} has no claim in it: give one JSON object a line, like {{\"text\":\"…\",\"tags\":[\"…\"]}}")]
    NoClaims {
        /// The file, or `standard input`.
        name: String,
    },
    /// A bulk file has more claims than are held in memory.
    #[error("{name} has more than {limit} claims: split it")]
    TooManyClaims {
        /// The file, or `standard input`.
        name: String,
        /// Claims it may have.
        limit: usize,
    },
    /// A bulk stopped on its way.
    #[error("stopped at line {line} of {name}, with {published} claims published before it: {source}")]
    BulkStopped {
        /// The file, or `standard input`.
        name: String,
        /// First line of the part that failed, from 1. From it on the file may be sent again.
        line: usize,
        /// Claims of the parts before.
        published: usize,
        /// What happened.
        source: ClientError,
    },
    /// A write is durable, and not final in time.
    #[error(
        "it is written and on its way (block {block}), and not final after {}: the group's notary {sealer} seals it when it is \
         reached; `lbm ctl rejected` would show it if it were refused then",
        super::when::span(*waited_ms)
    )]
    Pending {
        /// Its block.
        block: String,
        /// How long it was waited for, milliseconds.
        waited_ms: u64,
        /// Who seals.
        sealer: String,
    },
    /// A write was durable, and the order that the seal has fixed does not allow it.
    #[error("another write came first, and this one is refused: {reason}")]
    Rejected {
        /// Why.
        reason: String,
    },
    /// A purchase is under way, and not done in time.
    #[error(
        "it is paid for or on its way, and not here yet ({what}): this node goes on by itself; repeat the command, or look with \
         `lbm ctl offer purchases`"
    )]
    PurchasePending {
        /// The offer.
        offer: String,
        /// What it waits for.
        what: String,
    },
    /// A purchase is above the spending limit.
    #[error(
        "it is above the spending limit, and nothing was signed: let it through with `lbm ctl offer approve {}`, or see \
         `lbm ctl offer limit`",
        super::text::short(offer)
    )]
    NeedsApproval {
        /// The offer.
        offer: String,
        /// What it costs.
        price: u64,
    },
    /// A purchase came to nothing.
    #[error("it was not delivered ({}), and the price came back: nothing was paid", ending.as_deref().unwrap_or("undone").replace('_', " "))]
    PriceBack {
        /// The offer.
        offer: String,
        /// Why.
        ending: Option<String>,
    },
    /// A file cannot be written.
    #[error("cannot write {name}: {source}; nothing that is there is overwritten")]
    Write {
        /// The file.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// A joining is not done in time.
    #[error("{0}")]
    NotYet(Box<Problem>),
    /// The daemon ended a joining without saying how.
    #[error("the daemon stopped following the joining: see `lbm ctl group list` for how it goes")]
    JoinCut,
    /// The daemon ended a stream of claims, or the connection to it broke.
    #[error(
        "the daemon ended the stream: {}",
        cursor.as_deref().map_or_else(
            || "start it again; `--since` begins with what came meanwhile".to_owned(),
            |cursor| format!("go on with `--follow --cursor {cursor}`"),
        )
    )]
    WatchCut {
        /// Behind the last claim that was shown.
        cursor: Option<String>,
    },
    /// Nothing is written that could become final.
    #[error(
        "`--wait-final` waits until a write of the command is final, and this command makes none that it could wait for: leave it out"
    )]
    NothingToWaitFor,
    /// Exit codes that belong to no command.
    #[error(
        "there are {commands} of `--evidence-command` and {codes} of `--exit-code`: give one exit code for each command, or none"
    )]
    ExitCodes {
        /// Commands.
        commands: usize,
        /// Codes.
        codes: usize,
    },
    /// The answer cannot be written.
    #[error("cannot write the answer: {0}")]
    Output(#[from] io::Error),
    /// The program cannot start its event loop.
    #[error("cannot start: {0}")]
    Start(io::Error),
}

/// What is wrong with a line of a bulk file.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// Not the JSON of a claim.
    #[error("not a claim in JSON ({0})")]
    Json(serde_json::Error),
    /// Not UTF-8.
    #[error("not UTF-8 text")]
    NotUtf8,
    /// Longer than the largest claim.
    #[error("longer than {limit_bytes} bytes")]
    TooLong {
        /// Bytes it may have.
        limit_bytes: usize,
    },
    /// A field breaks a bound.
    #[error(transparent)]
    Field(#[from] FieldError),
}

impl CliError {
    /// Whether the reader of the answer went away (`… | head`): no failure of ours.
    #[must_use]
    pub fn is_reader_gone(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Whether the answer is out already, and says the same.
    #[must_use]
    pub const fn has_answered(&self) -> bool {
        matches!(
            self,
            Self::Pending { .. } | Self::PurchasePending { .. } | Self::NeedsApproval { .. } | Self::PriceBack { .. }
        )
    }

    /// 3 where there is no daemon, 4 where something is under way, 2 for a flag that says nothing here (other wrong usage is the parser's),
    /// 1 for all else.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            _ if self.is_reader_gone() => ExitCode::SUCCESS,
            Self::Client(error) | Self::BulkStopped { source: error, .. } if error.is_no_daemon() => ExitCode::from(3),
            Self::Pending { .. } | Self::PurchasePending { .. } | Self::NeedsApproval { .. } => ExitCode::from(4),
            Self::NothingToWaitFor => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }

    /// The document that `--json` prints: the daemon's problem as it is, or the same keys for an error of our own.
    #[must_use]
    pub fn document(&self) -> serde_json::Value {
        let problem = match self {
            Self::Client(error) => error.problem(),
            Self::NotYet(problem) => Some(&**problem),
            _ => None,
        };
        match problem {
            Some(problem) => json!(problem),
            None => json!({
                "type": format!("urn:lbm:problem:{}", self.code()), "code": self.code(), "detail": self.to_string(),
            }),
        }
    }

    fn code(&self) -> &str {
        match self {
            Self::Client(error) => error.code(),
            Self::Field(error) if error.is_size() => "too_large",
            Self::Field(_) => "bad_field",
            Self::Config(_) => "bad_settings",
            Self::Keys(_) => "key_refused",
            Self::Daemon(_) => "cannot_start",
            Self::Backup(_) => "backup_failed",
            Self::Demo(_) => "demo_failed",
            Self::Read { .. } => "cannot_read",
            Self::TooLarge { .. } | Self::TooManyClaims { .. } => "too_large",
            Self::NotUtf8 { .. } => "not_utf8",
            Self::Line { .. } => "bad_line",
            Self::NoClaims { .. } => "no_claims",
            Self::BulkStopped { .. } => "bulk_stopped",
            Self::Pending { .. } => "pending",
            Self::Rejected { .. } => "rejected",
            Self::PurchasePending { .. } => "purchase_pending",
            Self::NeedsApproval { .. } => "waiting_for_approval",
            Self::PriceBack { .. } => "price_back",
            Self::Write { .. } => "cannot_write",
            Self::NotYet(problem) => problem.code.as_str(),
            Self::JoinCut => "join_cut",
            Self::WatchCut { .. } => "watch_cut",
            Self::NothingToWaitFor => "nothing_to_wait_for",
            Self::ExitCodes { .. } => "bad_field",
            Self::Output(_) => "cannot_write",
            Self::Start(_) => "cannot_start",
        }
    }
}
