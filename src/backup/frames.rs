//! The form of the file: written in one go, read with no more memory than one frame takes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use zeroize::Zeroizing;

use super::BackupError;
use crate::cbor::{self, cbor_array};
use crate::datadir::KeyBytes;
use crate::identity::{AgentName, Identity};
use crate::limits;
use crate::store::{Row, View};

const MAGIC: &[u8] = b"LBM backup ";
const VERSION: u32 = 1;
const CHECKSUM_BYTES: usize = blake3::OUT_LEN;

cbor_array! {
    /// What a backup says of itself.
    pub struct Head {
        /// Whose node it is.
        pub identity: Identity,
        /// When it was made, milliseconds since 1970 UTC.
        pub created_ms: u64,
        /// The version of lbm that made it.
        pub version: String,
    }

    /// A file of the data folder.
    pub struct NamedFile {
        /// `node.key`, `agents/NAME.key`, `name` or `config.toml`.
        pub name: String,
        /// What is in it.
        pub bytes: ByteBuf,
    }

    /// Some rows of one table.
    pub struct Rows {
        /// The table, as the database calls it.
        pub table: String,
        /// The rows, ascending by key.
        pub rows: Vec<Row>,
    }
}

/// One part of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Frame {
    Head(Head),
    File(NamedFile),
    Rows(Rows),
    /// The end, with the number of rows.
    End(u64),
}

/// The files of a data folder that a backup holds.
#[derive(Clone, Default)]
pub struct Files {
    /// The key file, as it stands.
    pub key: KeyBytes,
    /// The key files of its agents, as they stand.
    pub agents: BTreeMap<AgentName, KeyBytes>,
    /// The node's name.
    pub name: String,
    /// The settings, where there are any.
    pub config: Option<Vec<u8>>,
}

const KEY: &str = "node.key";
const AGENTS: &str = "agents/";
const ENDING: &str = ".key";
const NAME: &str = "name";
const CONFIG: &str = "config.toml";

/// What a backup holds, but for the rows.
pub struct Contents {
    /// What it says of itself.
    pub head: Head,
    /// The files.
    pub files: Files,
    /// Number of rows.
    pub rows: u64,
}

/// A writer that hashes what goes through it.
pub struct Hashing<W> {
    out: W,
    hasher: blake3::Hasher,
    /// Bytes so far.
    pub bytes: u64,
}

impl<W: Write> Hashing<W> {
    /// Hashes what goes to `out`.
    pub fn new(out: W) -> Self {
        Self { out, hasher: blake3::Hasher::new(), bytes: 0 }
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn write_frame(out: &mut dyn Write, frame: &Frame) -> io::Result<()> {
    // It may be the one that holds the key.
    let bytes = Zeroizing::new(cbor::encode(frame));
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    out.write_all(&length.to_be_bytes())?;
    out.write_all(&bytes)
}

/// The agent whose key a file of this name holds.
fn agent_of(file: &str) -> Option<AgentName> {
    file.strip_prefix(AGENTS)?.strip_suffix(ENDING)?.parse().ok()
}

/// Begins a file: what stands before the rows.
///
/// # Errors
/// Those of `out`.
pub fn begin(out: &mut dyn Write, head: Head, files: &Files) -> io::Result<()> {
    out.write_all(MAGIC)?;
    writeln!(out, "{VERSION}")?;
    write_frame(out, &Frame::Head(head))?;
    let named =
        |name: &str, bytes: &[u8]| Frame::File(NamedFile { name: name.to_owned(), bytes: bytes.to_vec().into() });
    write_frame(out, &named(KEY, &files.key))?;
    for (agent, key) in &files.agents {
        write_frame(out, &named(&format!("{AGENTS}{agent}{ENDING}"), key))?;
    }
    write_frame(out, &named(NAME, files.name.as_bytes()))?;
    files.config.as_ref().map_or(Ok(()), |config| write_frame(out, &named(CONFIG, config)))
}

/// Writes all rows of a view, and the frame that ends them: what a daemon sends to whoever backs it up.
///
/// # Errors
/// Those of `out`; [`BackupError::Row`] where the store cannot be read.
pub fn write_rows(out: &mut dyn Write, view: &View) -> Result<(), BackupError> {
    let mut rows = Rows { table: String::new(), rows: vec![] };
    let (mut bytes, mut count) = (0, 0);
    view.dump(&mut |table, key, value| {
        if !rows.rows.is_empty() && (rows.table != table || bytes >= limits::BACKUP_FRAME_BYTES) {
            let full = std::mem::replace(&mut rows, Rows { table: table.to_owned(), rows: vec![] });
            write_frame(out, &Frame::Rows(full))?;
            bytes = 0;
        }
        rows.table = table.to_owned();
        rows.rows.push((key.to_vec().into(), value.to_vec().into()));
        bytes += key.len() + value.len() + 16;
        count += 1;
        Ok::<(), BackupError>(())
    })?;
    if !rows.rows.is_empty() {
        write_frame(out, &Frame::Rows(rows))?;
    }
    Ok(write_frame(out, &Frame::End(count))?)
}

/// Ends a file with its checksum.
///
/// # Errors
/// Those of the writer.
pub fn end<W: Write>(mut out: Hashing<W>) -> io::Result<W> {
    let checksum = out.hasher.finalize();
    out.out.write_all(checksum.as_bytes())?;
    out.out.flush()?;
    Ok(out.out)
}

/// Whether a file begins as a backup of any form does.
///
/// # Errors
/// Those of reading it.
pub fn is_backup(path: &Path) -> io::Result<bool> {
    let mut begins = Vec::new();
    File::open(path)?.take(MAGIC.len() as u64).read_to_end(&mut begins)?;
    Ok(begins == MAGIC)
}

/// Reads of a file, and its faults by name.
struct Reader<'a> {
    path: &'a Path,
    file: BufReader<File>,
    hasher: blake3::Hasher,
}

impl Reader<'_> {
    fn damaged(&self, what: impl Into<String>) -> BackupError {
        BackupError::Damaged { path: self.path.to_owned(), what: what.into() }
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<(), BackupError> {
        self.file.read_exact(bytes).map_err(|reason| match reason.kind() {
            io::ErrorKind::UnexpectedEof => BackupError::CutOff { path: self.path.to_owned() },
            _ => BackupError::Io { attempt: "read", path: self.path.to_owned(), reason },
        })
    }

    fn hashed(&mut self, bytes: &mut [u8]) -> Result<(), BackupError> {
        self.read(bytes)?;
        self.hasher.update(bytes);
        Ok(())
    }

    fn version(&mut self) -> Result<(), BackupError> {
        let not_a_backup = || BackupError::NotABackup { path: self.path.to_owned() };
        if !is_backup(self.path).map_err(|reason| BackupError::Io {
            attempt: "read",
            path: self.path.to_owned(),
            reason,
        })? {
            return Err(not_a_backup());
        }
        self.hashed(&mut [0; MAGIC.len()])?;
        let mut digits = String::new();
        loop {
            let mut byte = [0];
            self.hashed(&mut byte)?;
            match byte {
                [b'\n'] => break,
                [digit @ b'0'..=b'9'] if digits.len() < 9 => digits.push(char::from(digit)),
                _ => return Err(BackupError::NotABackup { path: self.path.to_owned() }),
            }
        }
        match digits.parse() {
            Ok(VERSION) => Ok(()),
            Ok(found) if found > VERSION => {
                Err(BackupError::Newer { path: self.path.to_owned(), found, known: VERSION })
            }
            _ => Err(BackupError::NotABackup { path: self.path.to_owned() }),
        }
    }

    fn frame(&mut self) -> Result<Frame, BackupError> {
        let mut length = [0; 4];
        self.hashed(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > limits::BACKUP_FRAME_MOST_BYTES {
            return Err(self.damaged("a part of it is longer than any that is written"));
        }
        let mut bytes = Zeroizing::new(vec![0; length]);
        self.hashed(&mut bytes)?;
        cbor::decode_lenient(&bytes, length).map_err(|error| self.damaged(error.to_string()))
    }

    fn checksum(&mut self) -> Result<(), BackupError> {
        let mut checksum = [0; CHECKSUM_BYTES];
        self.read(&mut checksum)?;
        if self.hasher.finalize() != checksum {
            return Err(self.damaged("its checksum is another"));
        }
        match self.file.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.damaged("something follows its end")),
            Err(reason) => Err(BackupError::Io { attempt: "read", path: self.path.to_owned(), reason }),
        }
    }
}

/// Reads a file to its end, and hands its rows on as they come. **What was handed on counts only when this returns**: the checksum
/// stands at the end.
///
/// # Errors
/// [`BackupError`]; those of `take`.
pub fn read(
    path: &Path,
    mut take: impl FnMut(&str, &[Row]) -> Result<(), BackupError>,
) -> Result<Contents, BackupError> {
    let file = File::open(path).map_err(|reason| BackupError::Io { attempt: "read", path: path.to_owned(), reason })?;
    let mut reader = Reader { path, file: BufReader::new(file), hasher: blake3::Hasher::new() };
    reader.version()?;
    let Frame::Head(head) = reader.frame()? else { return Err(reader.damaged("it does not say what it is")) };
    let (mut key, mut name, mut config, mut count) = (None, None, None, 0);
    let mut agents = BTreeMap::new();
    let said = loop {
        match reader.frame()? {
            Frame::File(NamedFile { name: file, bytes }) => {
                if let Some(agent) = agent_of(&file) {
                    if agents.len() >= limits::AGENTS
                        || agents.insert(agent, Zeroizing::new(bytes.into_vec())).is_some()
                    {
                        return Err(reader.damaged(format!("too many agents, or two of one name, '{file}'")));
                    }
                    continue;
                }
                let place = match file.as_str() {
                    KEY => &mut key,
                    NAME => &mut name,
                    CONFIG => &mut config,
                    _ => return Err(reader.damaged(format!("a file that no node has, '{}'", file.escape_debug()))),
                };
                if place.replace(bytes.into_vec()).is_some() {
                    return Err(reader.damaged(format!("two files of one name, '{file}'")));
                }
            }
            Frame::Rows(Rows { table, rows }) => {
                take(&table, &rows)?;
                count += rows.len() as u64;
            }
            Frame::End(said) => break said,
            Frame::Head(_) => return Err(reader.damaged("two beginnings")),
        }
    };
    reader.checksum()?;
    let (Some(key), Some(name), true) = (key, name, said == count) else {
        return Err(reader.damaged("something is missing"));
    };
    let name = String::from_utf8(name).map_err(|_| reader.damaged("its name is no text"))?;
    Ok(Contents { head, files: Files { key: Zeroizing::new(key), agents, name, config }, rows: count })
}
