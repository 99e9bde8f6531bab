//! Claims: publishing one or many, listing, threads, retraction; and experiences.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Wrote;
use super::check::{self, FieldError};
use crate::identity::Identity;
use crate::limits;

/// What proves a claim, as its author says: nobody has checked it. Each text at most `limits::EVIDENCE_BYTES`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Evidence {
    /// A command that was run.
    Command {
        /// As it was typed.
        command: String,
        /// The code with which it ended, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<u32>,
    },
    /// The hash of what was looked at.
    Hash {
        /// Of `A-Za-z0-9+./:=_-`, its algorithm in front where that is not obvious: `sha256:…`.
        hash: String,
    },
    /// Where it can be looked at.
    Link {
        /// A URL or a place in a file, without white space.
        link: String,
    },
    /// Anything else.
    Note {
        /// A sentence.
        note: String,
    },
}

impl Evidence {
    /// Checks its text's bounds.
    ///
    /// # Errors
    /// The text is empty, too long, or has a NUL byte.
    pub fn check(&self) -> Result<(), FieldError> {
        match self {
            Self::Command { command, .. } => check::text("evidence.command", command, limits::EVIDENCE_BYTES),
            Self::Hash { hash } => check::line("evidence.hash", hash, limits::EVIDENCE_BYTES),
            Self::Link { link } => check::line("evidence.link", link, limits::EVIDENCE_BYTES),
            Self::Note { note } => check::text("evidence.note", note, limits::EVIDENCE_BYTES),
        }
    }
}

/// A claim to publish: body of `POST …/claims`, and one line of a bulk file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewClaim {
    /// What is claimed, at most `limits::CLAIM_TEXT_BYTES`.
    pub text: String,
    /// One line above it, at most `limits::TITLE_BYTES`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// At most `limits::TAGS` tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The claim that this one answers: its hash, or a unique prefix of it. It must exist in the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_hash: Option<String>,
    /// What proves it, at most `limits::EVIDENCE` pieces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
    /// The claims whose place it takes, at most `limits::SUPERSEDES`: their hashes, or unique prefixes of them. One's own, or for an
    /// admin anybody's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supersedes: Vec<String>,
    /// When it is no longer true, milliseconds since 1970 UTC: a time to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until_ms: Option<u64>,
}

impl NewClaim {
    /// Checks each field's bounds.
    ///
    /// # Errors
    /// The first field that breaks one.
    pub fn check(&self) -> Result<(), FieldError> {
        check::text("text", &self.text, limits::CLAIM_TEXT_BYTES)?;
        if let Some(title) = &self.title {
            check::line("title", title, limits::TITLE_BYTES)?;
        }
        check::tags(&self.tags)?;
        check::count("evidence", self.evidence.len(), limits::EVIDENCE)?;
        self.evidence.iter().try_for_each(Evidence::check)?;
        check::count("supersedes", self.supersedes.len(), limits::SUPERSEDES)?;
        self.supersedes.iter().try_for_each(|hash| check::hash("supersedes", hash))?;
        self.parent_hash.as_deref().map_or(Ok(()), |hash| check::hash("parent_hash", hash))
    }
}

/// Answer to a publish: the claim is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublishedClaim {
    /// Its hash.
    pub claim_hash: String,
    /// The block that it is in.
    pub block_id: String,
}

impl Wrote for PublishedClaim {
    fn block_id(&self) -> &str {
        &self.block_id
    }
}

/// Body of `POST …/claims/bulk`. All of them are published, or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishBulk {
    /// From one to `limits::BULK_CLAIMS` claims. A parent must exist before the request.
    pub claims: Vec<NewClaim>,
}

impl PublishBulk {
    /// Checks the number of claims, and each of them.
    ///
    /// # Errors
    /// The place in `claims` (from 0; nothing where their number is wrong) and what is wrong there.
    pub fn check(&self) -> Result<(), (Option<usize>, FieldError)> {
        let count = self.claims.len();
        if count > limits::BULK_CLAIMS {
            return Err((None, FieldError::TooMany { field: "claims", count, limit: limits::BULK_CLAIMS }));
        }
        if count == 0 {
            return Err((None, FieldError::Empty { field: "claims" }));
        }
        self.claims.iter().enumerate().try_for_each(|(at, claim)| claim.check().map_err(|error| (Some(at), error)))
    }
}

/// Answer to a bulk publish: all claims are durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BulkPublished {
    /// How many claims were published.
    pub published: usize,
    /// Their hashes, in the request's order.
    pub claim_hashes: Vec<String>,
    /// In how many blocks.
    pub blocks: usize,
    /// The block that it is in, the last of them.
    pub block_id: String,
}

impl Wrote for BulkPublished {
    fn block_id(&self) -> &str {
        &self.block_id
    }
}

/// One claim as the group's ledger has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Claim {
    /// Its hash.
    pub claim_hash: String,
    /// Its text; empty while no peer has sent it.
    pub text: String,
    /// Its title, where it has one.
    pub title: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Who signed it: a peer id.
    pub author: String,
    /// The author's clock when it was published.
    pub created_ms: u64,
    /// The claim that it answers.
    pub parent_hash: Option<String>,
    /// What proves it, as its author says.
    pub evidence: Vec<Evidence>,
    /// The claims whose place it takes.
    pub supersedes: Vec<String>,
    /// The claims that stand in its place, at most `limits::SUPERSEDES` of them.
    pub superseded_by: Vec<String>,
    /// When it is no longer true, where its author knows.
    pub valid_until_ms: Option<u64>,
    /// Whether its author or an admin took it back.
    pub retracted: bool,
    /// Whether a seal fixes its place: nothing can come before it any more.
    #[serde(rename = "final")]
    pub is_final: bool,
}

/// Answer of `GET …/claims/{claim}/holders`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClaimHolders {
    /// The claim.
    pub claim_hash: String,
    /// Connected members that are seen to have its block, besides this node: peer ids.
    pub peers: Vec<String>,
    /// Connected members of which that is not known yet.
    pub unknown: usize,
}

/// Query of `GET …/claims`: the claims in the sequence in which this node stored them, the last one first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ListClaims {
    /// Rows of the page, at most `limits::PAGE_ROWS`; `limits::PAGE_DEFAULT_ROWS` where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// `next_cursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl ListClaims {
    /// Checks the page's size.
    ///
    /// # Errors
    /// Where it is 0 or past `limits::PAGE_ROWS`.
    pub fn check(&self) -> Result<(), FieldError> {
        self.limit.map_or(Ok(()), |limit| check::range("limit", limit, 1, limits::PAGE_ROWS))
    }
}

/// A page of claims. A page also ends at `limits::PAGE_BYTES` of text, so that it can have fewer rows than asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClaimList {
    /// The claims.
    pub claims: Vec<Claim>,
    /// Where the next page starts; `null` at the end.
    pub next_cursor: Option<String>,
}

/// Query of `GET …/claims/recent`: the claims by their authors' clocks, newest first, retracted ones left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecentClaims {
    /// At most so many, up to `limits::PAGE_ROWS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Nothing older than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// `next_cursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl RecentClaims {
    /// Checks the number of rows.
    ///
    /// # Errors
    /// Where it is 0 or past `limits::PAGE_ROWS`.
    pub fn check(&self) -> Result<(), FieldError> {
        self.limit.map_or(Ok(()), |limit| check::range("limit", limit, 1, limits::PAGE_ROWS))
    }
}

/// Query of `GET …/claims/watch` and `GET …/claims/follow`: what became of claims on this node, in the sequence in which it came here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WatchClaims {
    /// Only what came after this: `next_cursor` of the answer before, or the `cursor` of a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Where to begin without a cursor: with what came here at or after this. Else a page begins with the first that ever came,
    /// and a stream with the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// Rows of a page, at most `limits::PAGE_ROWS`; a stream has no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// How long a page waits where there is nothing yet, at most `limits::WATCH_WAIT_MS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// Only claims that have all of these tags, with commas between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<String>,
    /// Only claims of this author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Identity>,
    /// Only claims of the thread that this one stands in: its hash, or a unique prefix of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
}

impl WatchClaims {
    /// Checks the page's size, the time to wait and the filters.
    ///
    /// # Errors
    /// The first that breaks its bound.
    pub fn check(&self) -> Result<(), FieldError> {
        self.limit.map_or(Ok(()), |limit| check::range("limit", limit, 1, limits::PAGE_ROWS))?;
        self.wait_ms.map_or(Ok(()), |wait_ms| check::number("wait_ms", wait_ms, 0..=limits::WATCH_WAIT_MS))?;
        check::tags(&self.tag_list())?;
        self.thread.as_deref().map_or(Ok(()), |hash| check::hash("thread", hash))
    }

    /// The tags one by one, without white space around them.
    #[must_use]
    pub fn tag_list(&self) -> Vec<String> {
        let tags = self.tags.iter().flat_map(|tags| tags.split(','));
        tags.map(|tag| tag.trim().to_owned()).filter(|tag| !tag.is_empty()).collect()
    }
}

/// What became of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WatchKind {
    /// It has come, with its words: once for each claim.
    Claim,
    /// It stands no longer: it was taken back, or its block is refused now that another came before it.
    Retracted,
    /// It stands again: what had taken it back counts no more, or its block counts again.
    Restored,
}

/// What became of a claim, and the claim as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WatchedClaim {
    /// What happened.
    pub kind: WatchKind,
    /// Goes on behind this one.
    pub cursor: String,
    /// The claim.
    #[serde(flatten)]
    pub claim: Claim,
}

/// A page of what became of claims. It ends at `limits::PAGE_BYTES` of text as well, and where `limits::WATCH_SCAN` were looked at for
/// those that were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WatchedList {
    /// In the sequence in which it came here.
    pub claims: Vec<WatchedClaim>,
    /// Goes on behind all that was looked at.
    pub next_cursor: String,
}

/// A claim in its thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ThreadClaim {
    /// The claim.
    #[serde(flatten)]
    pub claim: Claim,
    /// Steps from the thread's root, which has 0.
    pub depth: usize,
}

/// Query of `GET …/claims/{claim}/thread`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShowThread {
    /// Claims of the page, at most `limits::PAGE_ROWS`, and so many where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// `next_cursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl ShowThread {
    /// Checks the page's size.
    ///
    /// # Errors
    /// Where it is 0 or past `limits::PAGE_ROWS`.
    pub fn check(&self) -> Result<(), FieldError> {
        self.limit.map_or(Ok(()), |limit| check::range("limit", limit, 1, limits::PAGE_ROWS))
    }
}

/// Answer of `GET …/claims/{claim}/thread`: a page of the thread that the claim stands in, each claim followed by its answers, older
/// ones first.
///
/// Where it does not fit one page, the first has the claim itself, the root, and by turns the claims up to there and the answers to it;
/// then comes what else stands below it, and then the rest of the thread. A page also ends at `limits::PAGE_BYTES` of text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Thread {
    /// Hash of the root.
    pub root_hash: String,
    /// The claims.
    pub claims: Vec<ThreadClaim>,
    /// Claims that come behind this page, of at most `limits::THREAD_CLAIMS` that are looked at.
    pub left_out: usize,
    /// Where the next page starts; `null` at the end.
    pub next_cursor: Option<String>,
}

/// Answer to a retraction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RetractedClaim {
    /// The claim's full hash.
    pub claim_hash: String,
    /// Always true: a refusal is a problem.
    pub retracted: bool,
    /// The block that it is in.
    pub block_id: String,
}

impl Wrote for RetractedClaim {
    fn block_id(&self) -> &str {
        &self.block_id
    }
}

/// Body of `POST …/experiences`: the record of an agent's run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubmitExperience {
    /// The record as text of any form (JSON, a log), at most `limits::EXPERIENCE_BYTES`.
    pub content: String,
}

impl SubmitExperience {
    /// Checks the record's size.
    ///
    /// # Errors
    /// Where it is empty, too long or has a NUL byte.
    pub fn check(&self) -> Result<(), FieldError> {
        check::text("content", &self.content, limits::EXPERIENCE_BYTES)
    }
}

/// Answer to a submitted experience: it is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExperienceSubmitted {
    /// Hash of the record.
    pub experience_hash: String,
    /// The block that it is in.
    pub block_id: String,
}

impl Wrote for ExperienceSubmitted {
    fn block_id(&self) -> &str {
        &self.block_id
    }
}
