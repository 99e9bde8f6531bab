//! A password, from the moment it is read to the moment it is wiped.

use std::fmt;

use zeroize::Zeroizing;

use crate::limits::PASSWORD_BYTES;

/// A password within the bounds of [`PASSWORD_BYTES`]. Wiped from memory on drop; neither shown by `Debug` nor
/// serialisable. What counts are its UTF-8 bytes as they were typed; no Unicode normalisation is applied.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

/// Why a text cannot be a password. Says nothing about the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Shorter than the least.
    #[error("the password is too short: it needs at least {} bytes", PASSWORD_BYTES.start())]
    TooShort,
    /// Longer than the most.
    #[error("the password is too long: it may have at most {} bytes", PASSWORD_BYTES.end())]
    TooLong,
}

impl Password {
    /// The password of `text`, which is taken so that no copy stays behind.
    ///
    /// # Errors
    /// [`PasswordError`] where it is too short or too long.
    pub fn new(text: Zeroizing<String>) -> Result<Self, PasswordError> {
        if text.len() < *PASSWORD_BYTES.start() {
            return Err(PasswordError::TooShort);
        }
        if text.len() > *PASSWORD_BYTES.end() {
            return Err(PasswordError::TooLong);
        }
        Ok(Self(text))
    }

    /// What the key is derived from.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// In constant time over equal lengths: it decides whether a password was typed alike twice.
impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        let (mine, theirs) = (self.as_bytes(), other.as_bytes());
        mine.len() == theirs.len() && mine.iter().zip(theirs).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
    }
}

impl Eq for Password {}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Result<Password, PasswordError> {
        Password::new(Zeroizing::new(text.to_owned()))
    }

    #[test]
    fn its_length_is_bounded_on_both_sides() {
        assert_eq!(password("1234567"), Err(PasswordError::TooShort));
        assert!(password("12345678").is_ok());
        assert!(password(&"x".repeat(1024)).is_ok());
        assert_eq!(password(&"x".repeat(1025)), Err(PasswordError::TooLong));
    }

    #[test]
    fn equal_means_every_byte() {
        assert_eq!(password("correct horse"), password("correct horse"));
        assert_ne!(password("correct horse"), password("correct horsf"));
        assert_ne!(password("correct horse"), password("correct horse "));
    }

    #[test]
    fn debug_keeps_it_secret() {
        assert_eq!(format!("{:?}", password("correct horse").unwrap()), "Password(…)");
    }
}
