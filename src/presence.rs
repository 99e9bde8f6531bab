//! Presence: what a member says of itself right now, signed by it and kept outside the chain.
//!
//! Owns the record's form, signature and age order. Pure. **Only [`Opened::verify`] and [`Presence::sign`] make a [`Verified`]
//! record**, and what is verified and passed on are the bytes as received. Of two records of one member in one group the newer
//! one counts: the later `time_ms`, and of equal ones that whose bytes are greater, so that all nodes choose alike.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::cbor::{self, DecodeError};
use crate::chain::GroupId;
use crate::identity::{BadSignature, Identity, SecretKey, Signed};
use crate::limits;
use crate::unseen::is_unseen;

/// The version of the format, the first element of each record.
pub const VERSION: u8 = 1;

/// What a record's signature covers besides the record.
pub const SIGNATURE_DOMAIN: &[u8] = b"lbm presence 1";

/// What a member is up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// At work.
    Active,
    /// Here, with nothing to do.
    Idle,
    /// Here, and not to be given more.
    Busy,
    /// Gone.
    Offline,
}

impl Status {
    /// Its word, as in CBOR, JSON and on the command line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Offline => "offline",
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// What a member signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// The group whose members may know.
    pub group: GroupId,
    /// Who signs, of itself.
    pub member: Identity,
    /// What it is up to.
    pub status: Status,
    /// Whatever else it wants known: one JSON object, as text of at most [`limits::PRESENCE_METADATA_BYTES`].
    pub metadata: Option<String>,
    /// The member's clock, milliseconds since 1970 UTC.
    pub time_ms: u64,
}

impl Serialize for Presence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { group, member, status, metadata, time_ms } = self;
        (VERSION, group, member, status, metadata, time_ms).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Presence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        type Fields = (u8, GroupId, Identity, Status, Option<String>, u64);
        let (version, group, member, status, metadata, time_ms): Fields = Deserialize::deserialize(deserializer)?;
        if version != VERSION {
            return Err(serde::de::Error::custom(format_args!(
                "presence version {version}; this node knows {VERSION}"
            )));
        }
        Ok(Self { group, member, status, metadata, time_ms })
    }
}

fn can_be_seen(text: &str) -> bool {
    !text.chars().any(is_unseen)
}

/// Whether the texts in it hold nothing that nobody sees. As deep as the parser goes, which is bounded.
fn all_can_be_seen(value: &Value) -> bool {
    match value {
        Value::String(text) => can_be_seen(text),
        Value::Array(items) => items.iter().all(all_can_be_seen),
        Value::Object(fields) => fields.iter().all(|(name, value)| can_be_seen(name) && all_can_be_seen(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

impl Presence {
    fn check(&self) -> Result<(), Invalid> {
        let Some(text) = &self.metadata else { return Ok(()) };
        if text.len() > limits::PRESENCE_METADATA_BYTES {
            return Err(Invalid::MetadataBytes(text.len()));
        }
        let object: serde_json::Map<String, Value> = serde_json::from_str(text).map_err(|_| Invalid::Metadata)?;
        if object.iter().all(|(name, value)| can_be_seen(name) && all_can_be_seen(value)) {
            Ok(())
        } else {
            Err(Invalid::Unseen)
        }
    }

    /// Signs it. `key` is the member's: with another, no node would accept the record.
    ///
    /// ```
    /// use lbm::presence::{Presence, Status};
    /// let key = lbm::identity::SecretKey::from_seed(&[7; 32]);
    /// let group = lbm::chain::GroupId::from_bytes([1; 32]);
    /// let presence = Presence { group, member: key.identity(), status: Status::Busy, metadata: None, time_ms: 5 };
    /// let signed = presence.sign(&key)?;
    /// assert!(signed.to_unverified().open(&group)?.verify().is_ok());
    /// # Ok::<(), lbm::presence::Invalid>(())
    /// ```
    ///
    /// # Errors
    /// [`Invalid`] where nobody would accept it.
    pub fn sign(self, key: &SecretKey) -> Result<Verified, Invalid> {
        debug_assert_eq!(key.identity(), self.member, "a record is signed by whom it is about");
        self.check()?;
        let bytes = cbor::encode(&self);
        let signature = key.sign(SIGNATURE_DOMAIN, &bytes);
        Ok(Verified { presence: self, bytes, signature })
    }
}

/// Why a record can never be accepted. Whoever sends it is at fault, but for [`Invalid::Version`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not a record in its one encoding.
    #[error("the presence record is {0}")]
    Decode(#[from] DecodeError),
    /// Of another version of the format: nobody's fault.
    #[error("the presence record is of format {0}, and this node knows {VERSION}: upgrade lbm on the older machine")]
    Version(u8),
    /// Of another group than the one it was sent for.
    #[error("the presence record belongs to another group")]
    Group,
    /// Not behind the one before it in the message.
    #[error("the presence records are not ascending by member, each at most once")]
    Sequence,
    /// Metadata past its bound.
    #[error("the presence's metadata has {0} bytes; {max} are allowed", max = limits::PRESENCE_METADATA_BYTES)]
    MetadataBytes(usize),
    /// Metadata that is no JSON object.
    #[error("the presence's metadata is no JSON object")]
    Metadata,
    /// Metadata with characters that nobody sees.
    #[error(
        "the presence's metadata has characters that cannot be seen (controls, marks of direction): leave them out"
    )]
    Unseen,
    /// The signature does not hold.
    #[error("the presence record's signature does not match")]
    Signature(#[from] BadSignature),
}

/// A record as it came: nothing about it is known. In CBOR `[body, signature]`, both byte strings.
pub type Unverified = Signed<Presence>;

impl Signed<Presence> {
    /// Reads the record and checks its form. The signature, which costs a hundred times as much, is left to [`Opened::verify`].
    ///
    /// # Errors
    /// [`Invalid`] names the rule that is broken.
    pub fn open(self, group: &GroupId) -> Result<Opened, Invalid> {
        if let Some(version) = self.other_version(VERSION) {
            return Err(Invalid::Version(version));
        }
        let presence: Presence = cbor::decode(&self.body, limits::PRESENCE_BYTES)?;
        if presence.group != *group {
            return Err(Invalid::Group);
        }
        presence.check()?;
        Ok(Opened(Verified { presence, bytes: self.body, signature: self.signature }))
    }
}

/// A record whose form holds; who signed it is not known yet.
#[derive(Debug)]
pub struct Opened(Verified);

impl Opened {
    /// What it claims to say.
    #[must_use]
    pub const fn claimed(&self) -> &Presence {
        &self.0.presence
    }

    /// Whether it would count before `held`.
    #[must_use]
    pub fn is_newer_than(&self, held: &Verified) -> bool {
        self.0.age_order() > held.age_order()
    }

    /// Whether it is `held` itself.
    #[must_use]
    pub fn is(&self, held: &Verified) -> bool {
        self.0.age_order() == held.age_order()
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`Invalid::Signature`].
    pub fn verify(self) -> Result<Verified, Invalid> {
        self.0.presence.member.verify(SIGNATURE_DOMAIN, &self.0.bytes, &self.0.signature)?;
        Ok(self.0)
    }
}

/// A record whose form and signature hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    presence: Presence,
    bytes: Vec<u8>,
    signature: [u8; 64],
}

impl Verified {
    /// What was signed.
    #[must_use]
    pub const fn presence(&self) -> &Presence {
        &self.presence
    }

    /// The record's bytes as signed.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The record as it is sent.
    #[must_use]
    pub fn to_unverified(&self) -> Unverified {
        Signed::new(self.bytes.clone(), self.signature)
    }

    fn age_order(&self) -> (u64, &[u8]) {
        (self.presence.time_ms, &self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SecretKey {
        SecretKey::from_seed(&[1; 32])
    }

    fn presence(metadata: Option<String>) -> Presence {
        let group = GroupId::from_bytes([2; 32]);
        Presence { group, member: key().identity(), status: Status::Active, metadata, time_ms: 1_800_000_000_000 }
    }

    fn open(sent: Unverified) -> Result<Verified, Invalid> {
        sent.open(&GroupId::from_bytes([2; 32]))?.verify()
    }

    /// Signs whatever it is: also what nobody would take.
    fn sent(presence: &Presence) -> Unverified {
        let body = cbor::encode(presence);
        let signature = key().sign(SIGNATURE_DOMAIN, &body);
        Unverified::new(body, signature)
    }

    #[test]
    fn metadata_that_cannot_be_seen_is_refused() {
        for text in
            ["{\"a\":\"x\\u202ey\"}", "{\"a\":[{\"b\\u001b\":1}]}", "{\"a\":\"two\\nlines\"}", "{\"\u{e0041}\":1}"]
        {
            let record = presence(Some(text.to_owned()));
            assert!(matches!(open(sent(&record)), Err(Invalid::Unseen)), "{text}");
        }
        assert!(open(sent(&presence(Some("{\"at\":\"👩\u{200d}💻\"}".to_owned())))).is_ok());
    }

    #[test]
    fn a_record_is_read_as_it_was_signed() {
        for metadata in [None, Some("{}".to_owned()), Some("{\"task\":[1,{\"at\":null}]}".to_owned())] {
            let signed = presence(metadata.clone()).sign(&key()).unwrap();
            let read = open(signed.to_unverified()).unwrap();
            assert_eq!((read.presence(), &read), (&presence(metadata), &signed));
        }
    }

    #[test]
    fn the_longest_record_fits_and_one_byte_more_does_not() {
        let filled = |bytes: usize| Some(format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8)));
        let longest = Presence { time_ms: u64::MAX, ..presence(filled(limits::PRESENCE_METADATA_BYTES)) };
        let longest = longest.sign(&key()).unwrap();
        assert!(longest.bytes().len() <= limits::PRESENCE_BYTES);
        assert!(open(longest.to_unverified()).is_ok());
        let longer = presence(filled(limits::PRESENCE_METADATA_BYTES + 1));
        let refused = Invalid::MetadataBytes(limits::PRESENCE_METADATA_BYTES + 1);
        assert_eq!(open(sent(&longer)), Err(refused.clone()));
        assert_eq!(longer.sign(&key()), Err(refused));
    }

    #[test]
    fn what_breaks_a_rule_is_refused() {
        for text in ["", "null", "[]", "\"a\"", "{", "{}{}", "{\"a\":1e999}"] {
            assert_eq!(open(sent(&presence(Some(text.into())))), Err(Invalid::Metadata), "{text}");
        }
        let good = sent(&presence(None));
        let other = GroupId::from_bytes([3; 32]);
        assert_eq!(good.clone().open(&other).map(drop), Err(Invalid::Group));
        let mut forged = good.clone();
        forged.signature[5] ^= 1;
        assert_eq!(open(forged), Err(Invalid::Signature(BadSignature)));
        let of_another = Presence { member: SecretKey::from_seed(&[9; 32]).identity(), ..presence(None) };
        assert_eq!(open(sent(&of_another)), Err(Invalid::Signature(BadSignature)));
        let as_a_block = key().sign(crate::chain::block::SIGNATURE_DOMAIN, &good.body);
        assert!(open(Unverified::new(good.body.clone(), as_a_block)).is_err(), "another purpose");
        let mut later = good.clone();
        later.body[1] = 2;
        assert_eq!(open(later), Err(Invalid::Version(2)));
        let mut longer = good;
        longer.body.push(0);
        assert!(matches!(open(longer), Err(Invalid::Decode(_))));
    }

    #[test]
    fn the_later_counts_and_of_equally_late_ones_always_the_same() {
        let at = |time_ms, status| Presence { time_ms, status, ..presence(None) }.sign(&key()).unwrap();
        let opened = |record: &Verified| record.to_unverified().open(&GroupId::from_bytes([2; 32])).unwrap();
        let (early, late) = (at(5, Status::Busy), at(6, Status::Active));
        assert!(opened(&late).is_newer_than(&early) && !opened(&early).is_newer_than(&late));
        let (one, other) = (at(5, Status::Busy), at(5, Status::Idle));
        assert_ne!(opened(&one).is_newer_than(&other), opened(&other).is_newer_than(&one));
        assert!(opened(&one).is(&one) && !opened(&one).is_newer_than(&one));
    }
}
