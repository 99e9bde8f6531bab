//! The words of a claim: the object that a claim transaction names.

use super::ids::TextHash;
use super::transaction::{CLAIM_BODY_BYTES, FormError, line, tags, text};
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
        let body = Self { title: title.filter(|title| !title.is_empty()), text, tags };
        body.check()?;
        Ok(body)
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
        let body = ClaimBody::new(Some("t".repeat(256)), "x".repeat(65_536), &tags(20, 64)).unwrap();
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
    fn tags_are_sorted_and_distinct_on_the_wire_as_well() {
        let body = ClaimBody::new(None, "x".into(), &[" b ".into(), "a".into(), "b".into(), String::new()]).unwrap();
        assert_eq!(body.tags, ["a", "b"]);
        for tags in [["b", "a"], ["a", "a"], ["a", "b "], ["\u{2003}a", "b"]] {
            let forged = ClaimBody { tags: tags.map(str::to_owned).to_vec(), ..body.clone() };
            assert!(ClaimBody::decode(&forged.encode()).is_err(), "{tags:?}");
        }
    }
}
