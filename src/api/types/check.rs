//! Bounds of single fields, and the sentence that refuses each.

use crate::limits;
use crate::unseen::is_unseen;

/// Why a field of a request is refused. The sentences name the field as the API and the command line do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// A path that leaves where it begins.
    #[error("`{field}` climbs with `..` above where it begins: name it from the project's root, or from `/`")]
    Climbs {
        /// Name of the field.
        field: &'static str,
    },
    /// Nothing but white space.
    #[error("`{field}` is empty: give it some text")]
    Empty {
        /// Name of the field.
        field: &'static str,
    },
    /// More bytes than the field may have.
    #[error("`{field}` has {bytes} bytes and at most {limit_bytes} are allowed: shorten it or split it")]
    TooLong {
        /// Name of the field.
        field: &'static str,
        /// Bytes it has.
        bytes: usize,
        /// Bytes it may have.
        limit_bytes: usize,
    },
    /// More items than the list may have.
    #[error("`{field}` has {count} items and at most {limit} are allowed: leave some out or send several requests")]
    TooMany {
        /// Name of the field.
        field: &'static str,
        /// Items it has.
        count: usize,
        /// Items it may have.
        limit: usize,
    },
    /// A NUL byte, which no text has and many programs take for its end.
    #[error("`{field}` has a NUL byte at byte {at}: this is not text; remove it or encode the content")]
    Nul {
        /// Name of the field.
        field: &'static str,
        /// Where the byte stands, from 0.
        at: usize,
    },
    /// A character that the field may not have.
    #[error("`{field}` may not have the character {found:?}: use only {allowed}")]
    Character {
        /// Name of the field.
        field: &'static str,
        /// The first such character.
        found: char,
        /// What is allowed, for people.
        allowed: &'static str,
    },
    /// A number out of its range.
    #[error("`{field}` is {value}: give a number from {least} to {most}")]
    Range {
        /// Name of the field.
        field: &'static str,
        /// The value given.
        value: u64,
        /// Least value.
        least: u64,
        /// Greatest value.
        most: u64,
    },
    /// Two fields of which one is needed.
    #[error("give `{first}` or `{second}`, and not both")]
    OneOf {
        /// Name of the one.
        first: &'static str,
        /// Name of the other.
        second: &'static str,
    },
    /// A span of time that ends before it starts.
    #[error("`since_ms` is not before `until_ms`, so that nothing can be found: swap or widen them")]
    Span,
    /// Not a whole hash.
    #[error("`{field}` is not a hash: give all of its 64 hexadecimal digits, as `b3sum` prints them")]
    FullHash {
        /// Name of the field.
        field: &'static str,
    },
    /// A hash that is not hexadecimal, or longer than one.
    #[error(
        "`{field}` is not a claim's hash: expected up to 64 hexadecimal digits, as `lbm ctl claim list` prints them"
    )]
    Hash {
        /// Name of the field.
        field: &'static str,
    },
}

impl FieldError {
    /// Whether the field is too large, and not wrong in itself.
    #[must_use]
    pub const fn is_size(&self) -> bool {
        matches!(self, Self::TooLong { .. } | Self::TooMany { .. })
    }
}

/// Text of at most `limit_bytes`, with something in it and without NUL.
pub(super) fn text(field: &'static str, value: &str, limit_bytes: usize) -> Result<(), FieldError> {
    if value.len() > limit_bytes {
        return Err(FieldError::TooLong { field, bytes: value.len(), limit_bytes });
    }
    if let Some(at) = value.bytes().position(|byte| byte == 0) {
        return Err(FieldError::Nul { field, at });
    }
    if value.trim().is_empty() { Err(FieldError::Empty { field }) } else { Ok(()) }
}

/// The same on one line, with nothing in it that nobody sees: it would break a table or a terminal, or carry words past its reader.
pub(super) fn line(field: &'static str, value: &str, limit_bytes: usize) -> Result<(), FieldError> {
    text(field, value, limit_bytes)?;
    charset(field, value, |found| !is_unseen(found), "characters that can be seen, on one line")
}

/// At most `limits::TAGS` tags, each a line.
pub(super) fn tags(values: &[String]) -> Result<(), FieldError> {
    if values.len() > limits::TAGS {
        return Err(FieldError::TooMany { field: "tags", count: values.len(), limit: limits::TAGS });
    }
    values.iter().try_for_each(|tag| line("tags", tag, limits::TAG_BYTES))
}

/// At most `limit` items.
pub(super) const fn count(field: &'static str, count: usize, limit: usize) -> Result<(), FieldError> {
    if count <= limit { Ok(()) } else { Err(FieldError::TooMany { field, count, limit }) }
}

/// A name of `[A-Za-z0-9:_-]`.
pub(super) fn group_name(value: &str) -> Result<(), FieldError> {
    text("name", value, limits::GROUP_NAME_BYTES)?;
    let allowed = |found: char| found.is_ascii_alphanumeric() || matches!(found, ':' | '_' | '-');
    charset("name", value, allowed, "letters and digits of ASCII, `:`, `_` and `-`")
}

/// A currency's code of `[A-Z0-9]`.
pub(super) fn currency(value: &str) -> Result<(), FieldError> {
    text("currency", value, limits::CURRENCY_BYTES)?;
    let allowed = |found: char| found.is_ascii_uppercase() || found.is_ascii_digit();
    charset("currency", value, allowed, "capital letters and digits of ASCII")
}

/// A name of `[A-Za-z0-9._-]`, as nodes and peers' aliases have.
pub(super) fn node_name(field: &'static str, value: &str) -> Result<(), FieldError> {
    text(field, value, limits::NODE_NAME_BYTES)?;
    let allowed = |found: char| found.is_ascii_alphanumeric() || matches!(found, '.' | '_' | '-');
    charset(field, value, allowed, "letters and digits of ASCII, `.`, `_` and `-`")
}

/// Hexadecimal digits, no more than a hash has.
pub(super) fn hash(field: &'static str, value: &str) -> Result<(), FieldError> {
    let fits = (1..=64).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    if fits { Ok(()) } else { Err(FieldError::Hash { field }) }
}

/// Hexadecimal digits, as many as a hash has.
pub(super) fn full_hash(field: &'static str, value: &str) -> Result<(), FieldError> {
    let fits = value.len() == 64 && hash(field, value).is_ok();
    if fits { Ok(()) } else { Err(FieldError::FullHash { field }) }
}

/// A number from `least` to `most`.
pub(super) fn range(field: &'static str, value: usize, least: usize, most: usize) -> Result<(), FieldError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(FieldError::Range { field, value: value as u64, least: least as u64, most: most as u64 })
}

/// A number within a range.
pub(super) fn number(field: &'static str, value: u64, range: std::ops::RangeInclusive<u64>) -> Result<(), FieldError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(FieldError::Range { field, value, least: *range.start(), most: *range.end() })
}

/// A task's name of `[A-Za-z0-9._:-]`.
pub(super) fn task_id(field: &'static str, value: &str) -> Result<(), FieldError> {
    text(field, value, limits::TASK_ID_BYTES)?;
    let allowed = |found: char| found.is_ascii_alphanumeric() || matches!(found, '.' | '_' | ':' | '-');
    charset(field, value, allowed, "letters and digits of ASCII, `.`, `_`, `:` and `-`")
}

fn charset(
    field: &'static str,
    value: &str,
    allows: impl Fn(char) -> bool,
    allowed: &'static str,
) -> Result<(), FieldError> {
    match value.chars().find(|&found| !allows(found)) {
        Some(found) => Err(FieldError::Character { field, found, allowed }),
        None => Ok(()),
    }
}
