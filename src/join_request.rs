//! Join requests: somebody without a ticket asks the admins of a group to be let in.
//!
//! Owns the record's form, signature and life. Pure. **Only [`Signed::verify`](crate::identity::Signed) and [`JoinRequest::sign`] make a
//! [`Verified`] request.** It gives no right: an admin reads it, and adds the applicant or does not. Of two by one applicant in one group
//! the later counts.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::cbor::{self, DecodeError};
use crate::chain::{FormError, GroupId};
use crate::identity::{BadSignature, Identity, SecretKey, Signed};
use crate::limits;

/// The version of the format, the first element of each record.
pub const VERSION: u8 = 1;

/// What a record's signature covers besides the record.
pub const SIGNATURE_DOMAIN: &[u8] = b"lbm join request 1";

/// What an applicant signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRequest {
    /// The group.
    pub group: GroupId,
    /// Who signs, and wants to be let in.
    pub applicant: Identity,
    /// What it calls itself: nobody has checked that.
    pub name: String,
    /// What it says to the admins, at most [`limits::JOIN_NOTE_BYTES`].
    pub note: Option<String>,
    /// The applicant's clock, milliseconds since 1970 UTC.
    pub time_ms: u64,
    /// Whether it takes back what was asked before.
    pub withdrawn: bool,
}

impl Serialize for JoinRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { group, applicant, name, note, time_ms, withdrawn } = self;
        (VERSION, group, applicant, name, note, time_ms, withdrawn).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for JoinRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        type Fields = (u8, GroupId, Identity, String, Option<String>, u64, bool);
        let (version, group, applicant, name, note, time_ms, withdrawn): Fields =
            Deserialize::deserialize(deserializer)?;
        if version != VERSION {
            return Err(serde::de::Error::custom(format_args!(
                "join request version {version}; this node knows {VERSION}"
            )));
        }
        Ok(Self { group, applicant, name, note, time_ms, withdrawn })
    }
}

/// Why a request does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not a record in its one encoding.
    #[error("the join request is {0}")]
    Decode(#[from] DecodeError),
    /// Of another version of the format: nobody's fault.
    #[error("the join request is of format {0}, and this node knows {VERSION}: upgrade lbm on the older machine")]
    Version(u8),
    /// A name or note of another form.
    #[error(transparent)]
    Form(#[from] FormError),
    /// Dated ahead of the reader's clock.
    #[error("the join request is dated {0} ms ahead: check the machines' clocks")]
    Early(u64),
    /// Too old.
    #[error("the join request is {0} ms old, and counts no more: ask again")]
    Over(u64),
    /// The signature does not hold.
    #[error("the join request's signature does not match")]
    Signature(#[from] BadSignature),
}

impl JoinRequest {
    /// Checks what people read of it.
    ///
    /// # Errors
    /// [`FormError`] names the field and the rule.
    pub fn check(&self) -> Result<(), FormError> {
        let of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let words = "A-Z a-z 0-9 . _ -";
        crate::chain::transaction::word("the name", &self.name, limits::NODE_NAME_BYTES, words, of_name)?;
        match &self.note {
            Some(note) => crate::chain::transaction::lines("the note", note, limits::JOIN_NOTE_BYTES),
            None => Ok(()),
        }
    }

    /// Signs it. `key` is the applicant's: with another, nobody would read it.
    ///
    /// # Errors
    /// [`FormError`] where nobody would accept it.
    pub fn sign(&self, key: &SecretKey) -> Result<Unverified, FormError> {
        debug_assert_eq!(key.identity(), self.applicant, "a request is signed by who wants to be let in");
        self.check()?;
        let body = cbor::encode(self);
        let signature = key.sign(SIGNATURE_DOMAIN, &body);
        Ok(Signed::new(body, signature))
    }
}

/// Reads a record that is this node's own: nothing of it is checked.
///
/// # Errors
/// [`DecodeError`] where it is none.
pub fn read(record: &Unverified) -> Result<JoinRequest, DecodeError> {
    cbor::decode(&record.body, limits::JOIN_REQUEST_BYTES)
}

/// A request as it came: nothing about it is known. In CBOR `[body, signature]`, both byte strings.
pub type Unverified = Signed<JoinRequest>;

impl Signed<JoinRequest> {
    /// Checks it, in the sequence of cost: form, date, and then the signature. `drift_ms` is how far clocks may differ.
    ///
    /// # Errors
    /// [`Invalid`] names the rule that is broken.
    pub fn verify(&self, clock_ms: u64, drift_ms: u64) -> Result<Verified, Invalid> {
        if let Some(version) = self.other_version(VERSION) {
            return Err(Invalid::Version(version));
        }
        let request: JoinRequest = cbor::decode(&self.body, limits::JOIN_REQUEST_BYTES)?;
        request.check()?;
        if request.time_ms > clock_ms.saturating_add(drift_ms) {
            return Err(Invalid::Early(request.time_ms - clock_ms));
        }
        let age_ms = clock_ms.saturating_sub(request.time_ms);
        if age_ms > limits::JOIN_REQUEST_LIFE_MS {
            return Err(Invalid::Over(age_ms));
        }
        request.applicant.verify(SIGNATURE_DOMAIN, &self.body, &self.signature)?;
        Ok(Verified { request, signed: self.clone() })
    }
}

/// A request whose form and signature hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    request: JoinRequest,
    signed: Unverified,
}

impl Verified {
    /// What it says.
    #[must_use]
    pub const fn request(&self) -> &JoinRequest {
        &self.request
    }

    /// The bytes as they came.
    #[must_use]
    pub const fn signed(&self) -> &Unverified {
        &self.signed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> JoinRequest {
        let applicant = SecretKey::from_seed(&[1; 32]).identity();
        let note = Some("Bob from the lab".to_owned());
        let (group, time_ms) = (GroupId::from_bytes([1; 32]), 1_000_000_000);
        JoinRequest { group, applicant, name: "bob".into(), note, time_ms, withdrawn: false }
    }

    #[test]
    fn it_counts_for_a_week_and_as_it_was_signed() {
        let key = SecretKey::from_seed(&[1; 32]);
        let signed = request().sign(&key).unwrap();
        assert_eq!(signed.verify(1_000_000_000, 0).unwrap().request(), &request());
        let last_ms = 1_000_000_000 + limits::JOIN_REQUEST_LIFE_MS;
        assert!(signed.verify(last_ms, 0).is_ok());
        assert_eq!(signed.verify(last_ms + 1, 0), Err(Invalid::Over(limits::JOIN_REQUEST_LIFE_MS + 1)));
        assert_eq!(signed.verify(999_999_899, 100), Err(Invalid::Early(101)));
        assert!(signed.verify(999_999_900, 100).is_ok());
        let other =
            Unverified::new(signed.body.clone(), SecretKey::from_seed(&[2; 32]).sign(SIGNATURE_DOMAIN, &signed.body));
        assert_eq!(other.verify(1_000_000_000, 0), Err(Invalid::Signature(BadSignature)));
        for at in 0..signed.body.len() {
            let mut changed = signed.clone();
            changed.body[at] ^= 1;
            assert!(changed.verify(1_000_000_000, 0).is_err(), "byte {at}");
        }
    }

    #[test]
    fn what_people_read_is_bounded_and_harmless() {
        let key = SecretKey::from_seed(&[1; 32]);
        for (name, note) in [
            ("", None),
            ("bob\u{1b}[31m", None),
            ("bob the builder", None),
            ("bob", Some(String::new())),
            ("bob", Some("\u{1b}[31m".to_owned())),
            ("bob", Some("n".repeat(limits::JOIN_NOTE_BYTES + 1))),
        ] {
            assert!(
                JoinRequest { name: name.into(), note: note.clone(), ..request() }.sign(&key).is_err(),
                "{name} {note:?}"
            );
        }
        let longest = JoinRequest {
            name: "b".repeat(limits::NODE_NAME_BYTES),
            note: Some("n".repeat(limits::JOIN_NOTE_BYTES)),
            time_ms: u64::MAX,
            ..request()
        };
        assert!(longest.sign(&key).unwrap().body.len() <= limits::JOIN_REQUEST_BYTES);
    }
}
