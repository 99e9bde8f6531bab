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

/// Writes an answer in the form that was asked for, and sees that it is out.
///
/// # Errors
/// Those of `out`.
pub fn print<R: Render>(answer: &R, json: bool, out: &mut dyn Write) -> io::Result<()> {
    if json {
        serde_json::to_writer(&mut *out, answer)?;
        out.write_all(b"\n")?;
    } else {
        answer.render(out)?;
    }
    out.flush()
}

/// An answer of the API and the moment at which it is shown, for times like `2 min ago`. As JSON it is the answer.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct At<T> {
    /// The answer.
    pub answer: T,
    /// Milliseconds since the Unix epoch.
    #[serde(skip)]
    pub now_ms: u64,
}

/// An answer to a write that was waited for. As JSON it is the answer with `final`.
#[derive(Debug, Serialize)]
pub struct Settled<T> {
    /// The answer.
    #[serde(flatten)]
    pub answer: T,
    /// Whether a seal covers it.
    #[serde(rename = "final")]
    pub is_final: bool,
}

impl<T: Render> Render for Settled<T> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        self.answer.render(out)?;
        writeln!(out, "It is {}.", if self.is_final { "final" } else { "pending" })
    }
}
