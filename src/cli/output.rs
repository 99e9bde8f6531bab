//! What a command answers with.

use std::io::{self, Write};

use serde::Serialize;

/// The answer of a command: one JSON document with stable `snake_case` keys for programs, and text for people.
pub trait Render: Serialize {
    /// Writes the answer for people.
    ///
    /// # Errors
    /// Those of `out`.
    fn render(&self, out: &mut dyn Write) -> io::Result<()>;
}
