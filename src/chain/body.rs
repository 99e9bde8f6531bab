//! The words of a claim: the object that a claim transaction names.

use serde::{Deserialize, Serialize};

use super::ids::TextHash;
use super::transaction::{CLAIM_BODY_BYTES, FormError, line, tags, text, word};
use crate::cbor::{self, DecodeError, cbor_array};
use crate::limits;

cbor_array! {
    /// What a claim says.
    pub struct ClaimBody {
        /// One line, or none.
        pub title: Option<String>,
        /// The knowledge itself.
        pub text: String,
        /// Words to find it by, sorted and distinct.
        pub tags: Vec<String>,
        /// What proves it, as its author says.
        pub evidence: Vec<Evidence>,
        /// When it is no longer true, milliseconds since 1970 UTC, where its author knows.
        pub valid_until_ms: Option<u64>,
    }
}

/// What proves a claim. Its author says so: nobody has checked it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// A command that was run, and the code with which it ended, where that is known.
    Command(String, Option<u32>),
    /// The hash of what was looked at: a file, a commit. Its author's choice of algorithm, like `sha256:…`.
    Hash(String),
    /// Where it can be looked at: a URL, or a place in a file.
    Link(String),
    /// A sentence.
    Note(String),
}

impl Evidence {
    fn check(&self) -> Result<(), FormError> {
        let is_one_word = |c: char| !c.is_whitespace() && !c.is_control();
        match self {
            Self::Command(command, _) => text("the command of a piece of evidence", command, limits::EVIDENCE_BYTES),
            Self::Note(note) => text("the note of a piece of evidence", note, limits::EVIDENCE_BYTES),
            Self::Hash(hash) => {
                let is_allowed = |c: char| c.is_ascii_alphanumeric() || "+./:=_-".contains(c);
                word("the hash of a piece of evidence", hash, limits::EVIDENCE_BYTES, "A-Za-z0-9+./:=_-", is_allowed)
            }
            Self::Link(link) => {
                let allowed = "of a link, without white space";
                word("the link of a piece of evidence", link, limits::EVIDENCE_BYTES, allowed, is_one_word)
            }
        }
    }
}

/// Why an object is not the words of a claim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimBodyError {
    /// Not the expected CBOR.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A field breaks a rule.
    #[error(transparent)]
    Form(#[from] FormError),
}

impl ClaimBody {
    /// The words of a claim, with its tags trimmed, sorted and each once.
    ///
    /// # Errors
    /// [`FormError`] names the field and the rule.
    pub fn new(title: Option<String>, text: String, tags: &[String]) -> Result<Self, FormError> {
        let mut tags: Vec<String> =
            tags.iter().map(|tag| tag.trim().to_owned()).filter(|tag| !tag.is_empty()).collect();
        tags.sort();
        tags.dedup();
        let title = title.filter(|title| !title.is_empty());
        let body = Self { title, text, tags, evidence: vec![], valid_until_ms: None };
        body.check()?;
        Ok(body)
    }

    /// The same with what proves it, and until when it holds.
    ///
    /// # Errors
    /// [`FormError`] names the field and the rule.
    pub fn proven(self, evidence: Vec<Evidence>, valid_until_ms: Option<u64>) -> Result<Self, FormError> {
        let body = Self { evidence, valid_until_ms, ..self };
        body.check()?;
        Ok(body)
    }

    /// Whether it is no longer true at `now_ms`, as its author said.
    #[must_use]
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.valid_until_ms.is_some_and(|until| until <= now_ms)
    }

    /// The words of a claim that names `rewarded`, from its object's bytes; none where they are no claim body, or say another text than
    /// the claim was to be rewarded for: who lies about it has no words.
    #[must_use]
    pub fn of_claim(bytes: &[u8], rewarded: Option<&TextHash>) -> Option<Self> {
        let body = Self::decode(bytes).ok()?;
        rewarded.is_none_or(|hash| *hash == TextHash::of(&body.text)).then_some(body)
    }

    fn check(&self) -> Result<(), FormError> {
        self.title.iter().try_for_each(|title| line("the title", title, limits::TITLE_BYTES))?;
        text("the text", &self.text, limits::CLAIM_TEXT_BYTES)?;
        if self.evidence.len() > limits::EVIDENCE {
            let (got, max) = (self.evidence.len(), limits::EVIDENCE);
            return Err(FormError::Count { field: "pieces of evidence", got, max });
        }
        self.evidence.iter().try_for_each(Evidence::check)?;
        tags(&self.tags)
    }

    /// Its bytes as an object.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Reads an object's bytes.
    ///
    /// # Errors
    /// [`ClaimBodyError`] where they are no claim body that [`ClaimBody::new`] would have made.
    pub fn decode(bytes: &[u8]) -> Result<Self, ClaimBodyError> {
        let body: Self = cbor::decode(bytes, CLAIM_BODY_BYTES)?;
        body.check()?;
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(count: usize, length: usize) -> Vec<String> {
        (0..count).map(|n| format!("{n:0length$}")).collect()
    }

    #[test]
    fn each_limit_holds_and_one_past_it_does_not() {
        let of = |title: usize, text: usize, tags: Vec<String>| {
            ClaimBody::new(Some("t".repeat(title)), "x".repeat(text), &tags).is_ok()
        };
        assert!(of(256, 65_536, tags(20, 64)));
        assert!(!of(257, 1, vec![]));
        assert!(!of(1, 65_537, vec![]));
        assert!(!of(1, 0, vec![]));
        assert!(!of(1, 1, tags(21, 2)));
        assert!(!of(1, 1, tags(1, 65)));
    }

    #[test]
    fn the_largest_body_fits_its_object() {
        let most = || Evidence::Command("c".repeat(limits::EVIDENCE_BYTES), Some(u32::MAX));
        let body = ClaimBody::new(Some("t".repeat(256)), "x".repeat(65_536), &tags(20, 64)).unwrap();
        let body = body.proven((0..limits::EVIDENCE).map(|_| most()).collect(), Some(u64::MAX)).unwrap();
        assert!(body.encode().len() <= CLAIM_BODY_BYTES);
        assert_eq!(ClaimBody::decode(&body.encode()), Ok(body));
    }

    #[test]
    fn text_that_plays_tricks_is_refused() {
        for bad in ["\0", "a\u{1b}[2J", "  \n ", "\u{85}x"] {
            assert!(ClaimBody::new(None, bad.into(), &[]).is_err(), "{bad:?}");
        }
        assert!(ClaimBody::new(None, "two\nlines\tand 日本".into(), &[]).is_ok());
    }

    #[test]
    fn evidence_has_its_bounds_and_no_tricks() {
        let of = |evidence: Vec<Evidence>| ClaimBody::new(None, "x".into(), &[]).unwrap().proven(evidence, None);
        let long = |more: usize| "a".repeat(limits::EVIDENCE_BYTES + more);
        for good in [
            Evidence::Command("cargo test \\\n  --lib".into(), None),
            Evidence::Command(long(0), Some(101)),
            Evidence::Hash("sha256:0aF=".into()),
            Evidence::Link("https://example.org/a?b=c#d".into()),
            Evidence::Link("src/lib.rs:12".into()),
            Evidence::Note("seen twice".into()),
        ] {
            let body = of(vec![good]).unwrap();
            assert_eq!(ClaimBody::decode(&body.encode()), Ok(body));
        }
        for bad in [
            Evidence::Command(long(1), None),
            Evidence::Command(" ".into(), None),
            Evidence::Command("a\u{1b}[2J".into(), None),
            Evidence::Hash("two words".into()),
            Evidence::Hash(String::new()),
            Evidence::Link("https://a b".into()),
            Evidence::Link(long(1)),
            Evidence::Note("\0".into()),
        ] {
            assert!(of(vec![bad.clone()]).is_err(), "{bad:?}");
        }
        let many = |count| (0..count).map(|_| Evidence::Note("n".into())).collect();
        assert!(of(many(limits::EVIDENCE)).is_ok() && of(many(limits::EVIDENCE + 1)).is_err());
    }

    #[test]
    fn a_claim_expires_at_its_time() {
        let body = ClaimBody::new(None, "x".into(), &[]).unwrap();
        assert!(!body.is_expired(u64::MAX));
        let body = body.proven(vec![], Some(7)).unwrap();
        assert!(!body.is_expired(6) && body.is_expired(7));
    }

    #[test]
    fn tags_are_sorted_and_distinct_on_the_wire_as_well() {
        let body = ClaimBody::new(None, "x".into(), &[" b ".into(), "a".into(), "b".into(), String::new()]).unwrap();
        assert_eq!(body.tags, ["a", "b"]);
        for tags in [["b", "a"], ["a", "a"], ["a", "b "], ["\u{2003}a", "b"]] {
            let forged = ClaimBody { tags: tags.map(str::to_owned).to_vec(), ..body.clone() };
            assert!(ClaimBody::decode(&forged.encode()).is_err(), "{tags:?}");
        }
    }
}
