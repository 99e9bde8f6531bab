//! What a command has at hand: the daemon's client, the three standard streams, and the clock.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::time::Duration;

use super::error::CliError;
use super::output::{self, At, Render, Settled};
use super::when;
use crate::api::client::Client;
use crate::api::types::{ShowBlock, Wrote};

/// The name that people give to standard input instead of a file's.
pub const STANDARD_INPUT: &str = "-";

/// One run of a command. Tests put their own streams in.
pub struct Session<'a> {
    /// The daemon.
    pub client: Client,
    /// Whether the answer is wanted as JSON.
    pub json: bool,
    /// How long a write is waited for to be final; not at all where it is not asked for.
    pub wait_final: Option<Duration>,
    /// Milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// Where the answer goes.
    pub out: &'a mut dyn Write,
    /// Where words for people go.
    pub err: &'a mut dyn Write,
    /// Standard input.
    pub input: &'a mut dyn BufRead,
    /// Whether `err` is a terminal that can show a progress bar.
    pub shows_progress: bool,
}

impl<'a> Session<'a> {
    /// A session on these streams.
    pub fn new(
        client: Client,
        json: bool,
        (out, err, input): (&'a mut dyn Write, &'a mut dyn Write, &'a mut dyn BufRead),
    ) -> Self {
        Self { client, json, wait_final: None, now_ms: when::now_ms(), out, err, input, shows_progress: false }
    }

    /// Writes the answer, as JSON or for people.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn answer<T>(&mut self, answer: T) -> Result<(), CliError>
    where
        At<T>: Render,
    {
        Ok(output::print(&At { answer, now_ms: self.now_ms }, self.json, self.out)?)
    }

    /// Writes the answer to a write, once it is final where that was asked for.
    ///
    /// # Errors
    /// Where it cannot be written, and where the write is not final in time or turns out to be refused.
    pub async fn wrote<T: Wrote>(&mut self, group: &str, answer: T) -> Result<(), CliError>
    where
        At<T>: Render,
    {
        let Some(wait) = self.wait_final.filter(|_| !answer.block_id().is_empty()) else { return self.answer(answer) };
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let query = ShowBlock { wait_final_ms: Some(wait_ms) };
        query.check()?;
        let block = self.client.block(group, answer.block_id(), &query).await?;
        if let Some(reason) = block.reason {
            return Err(CliError::Rejected { reason });
        }
        let answer = Settled { answer: At { answer, now_ms: self.now_ms }, is_final: block.is_final };
        output::print(&answer, self.json, self.out)?;
        if block.is_final {
            return Ok(());
        }
        Err(CliError::Pending { block: block.block_id, waited_ms: wait_ms, sealer: block.sealer })
    }

    /// Tells people something that is not the answer. Where nobody can be told, that is no failure.
    pub fn tell(&mut self, words: &str) {
        let _ = writeln!(self.err, "{words}").and_then(|()| self.err.flush());
    }

    /// Reads a file, or standard input for `-`, as text of at most `limit_bytes`.
    ///
    /// # Errors
    /// Where it cannot be read, is larger, or is no UTF-8.
    pub fn read_text(&mut self, path: &Path, limit_bytes: usize) -> Result<String, CliError> {
        let name = shown(path);
        let mut bytes = Vec::new();
        let limit = limit_bytes as u64;
        self.open(path)?
            .take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| CliError::Read { name: name.clone(), source })?;
        if bytes.len() > limit_bytes {
            return Err(CliError::TooLarge { name, limit_bytes: limit });
        }
        String::from_utf8(bytes).map_err(|error| CliError::NotUtf8 { name, at: error.utf8_error().valid_up_to() })
    }

    /// Opens a file, or standard input for `-`.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn open(&mut self, path: &Path) -> Result<Box<dyn BufRead + '_>, CliError> {
        if path == Path::new(STANDARD_INPUT) {
            return Ok(Box::new(&mut *self.input));
        }
        let file = File::open(path).map_err(|source| CliError::Read { name: shown(path), source })?;
        Ok(Box::new(BufReader::new(file)))
    }
}

/// How a file is called in an error.
#[must_use]
pub fn shown(path: &Path) -> String {
    if path == Path::new(STANDARD_INPUT) { "standard input".to_owned() } else { path.display().to_string() }
}

/// The standard streams of the process; styles are taken out of them where they are no terminal or `NO_COLOR` is set.
pub struct Streams {
    /// Standard output.
    pub out: io::BufWriter<anstream::AutoStream<io::Stdout>>,
    /// Standard error.
    pub err: anstream::AutoStream<io::Stderr>,
    /// Standard input.
    pub input: io::StdinLock<'static>,
}

impl Streams {
    /// Those of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self {
            out: io::BufWriter::new(anstream::AutoStream::auto(io::stdout())),
            err: anstream::AutoStream::auto(io::stderr()),
            input: io::stdin().lock(),
        }
    }
}
