//! Where a password comes from: a file, an inherited file descriptor, or the terminal.
//!
//! **Never from an argument or an environment variable**: other users of the machine see these in the list of processes.
//! What is read stays in memory that is wiped, and is in no error.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use clap::Args;
use zeroize::Zeroizing;

use crate::identity::{Password, PasswordError};
use crate::limits::PASSWORD_BYTES;

const OPTIONS: &str = "--password-file FILE or --password-fd N";
const NEW_OPTIONS: &str = "--new-password-file FILE or --new-password-fd N";

/// The options of a command that takes one password.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct PasswordArgs {
    /// Read the password from the first line of this file, which no other user may read
    #[arg(long, value_name = "FILE", conflicts_with = "password_fd")]
    pub password_file: Option<PathBuf>,
    /// Read the password from the first line of this open file descriptor (a pipe or a file)
    #[arg(long, value_name = "N")]
    pub password_fd: Option<u32>,
}

/// The options of a command that sets a password besides taking one.
#[derive(Debug, Clone, Default, Args)]
pub struct NewPasswordArgs {
    /// Read the new password from the first line of this file, which no other user may read
    #[arg(long, value_name = "FILE", conflicts_with = "new_password_fd")]
    pub new_password_file: Option<PathBuf>,
    /// Read the new password from the first line of this open file descriptor (a pipe or a file)
    #[arg(long, value_name = "N")]
    pub new_password_fd: Option<u32>,
}

/// Where one password comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordSource {
    place: Place,
    /// The options that name another place, for the error that there is no terminal.
    options: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    File(PathBuf),
    Descriptor(u32),
    Terminal,
}

/// Asks a person. The one real implementation is [`Terminal`].
pub trait Prompt {
    /// Shows `prompt` and reads one line that is not shown.
    ///
    /// # Errors
    /// Where there is no terminal, or the person gives up.
    fn ask(&mut self, prompt: &str) -> io::Result<Zeroizing<String>>;
}

/// The terminal that controls this process, wherever its standard streams lead.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terminal;

impl Prompt for Terminal {
    fn ask(&mut self, prompt: &str) -> io::Result<Zeroizing<String>> {
        rpassword::prompt_password(prompt).map(Zeroizing::new)
    }
}

/// Why no password could be had.
#[derive(Debug, thiserror::Error)]
pub enum PasswordSourceError {
    /// Nobody to ask.
    #[error("a password is needed, and there is no terminal to ask for it ({reason}): give {options}")]
    NoTerminal {
        /// Why not.
        reason: io::Error,
        /// The options to give.
        options: &'static str,
    },
    /// The person left without an answer.
    #[error("no password was given: nothing was changed")]
    GivenUp,
    /// Typed differently the second time.
    #[error("the two passwords differ, and nothing was changed: try again")]
    Differ,
    /// Two passwords cannot come from one descriptor.
    #[error("descriptor {descriptor} cannot give both passwords: give two descriptors, or files")]
    SameDescriptor {
        /// Its number.
        descriptor: u32,
    },
    /// The file cannot be read.
    #[error("cannot read a password from '{}': {reason}; check the path and who owns it", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: io::Error,
    },
    /// The file is open to others.
    #[error(
        "other users may look into the password file '{}' (mode {mode:04o}): close it with `chmod 600 '{}'`, and change \
         the password if one of them may have read it",
        path.display(), path.display()
    )]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A folder, a device or a socket.
    #[error("'{}' is neither a file nor a pipe: put the password on the first line of a file", path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// The descriptor cannot be read.
    #[error(
        "cannot read a password from descriptor {descriptor}: {reason}; it must be open for reading when lbm starts"
    )]
    Descriptor {
        /// Its number.
        descriptor: u32,
        /// Why not.
        reason: io::Error,
    },
    /// What is typed there would be shown.
    #[error("descriptor {descriptor} is a terminal: leave the option out to be asked there")]
    DescriptorIsTerminal {
        /// Its number.
        descriptor: u32,
    },
    /// Not UTF-8 text.
    #[error("the password is no UTF-8 text: write it as text on the first line")]
    NotText,
    /// Of a length that no password has.
    #[error(transparent)]
    Password(#[from] PasswordError),
}

impl PasswordArgs {
    /// Where the password comes from.
    #[must_use]
    pub fn source(&self) -> PasswordSource {
        PasswordSource::of(self.password_file.as_ref(), self.password_fd, OPTIONS)
    }

    /// Whether one of the options was given.
    #[must_use]
    pub const fn is_given(&self) -> bool {
        self.password_file.is_some() || self.password_fd.is_some()
    }
}

impl NewPasswordArgs {
    /// Where the new password comes from, beside the present one from `present`.
    ///
    /// # Errors
    /// [`PasswordSourceError::SameDescriptor`].
    pub fn source(&self, present: &PasswordArgs) -> Result<PasswordSource, PasswordSourceError> {
        match (self.new_password_fd, present.password_fd) {
            (Some(descriptor), Some(other)) if descriptor == other => {
                Err(PasswordSourceError::SameDescriptor { descriptor })
            }
            _ => Ok(PasswordSource::of(self.new_password_file.as_ref(), self.new_password_fd, NEW_OPTIONS)),
        }
    }
}

impl PasswordSource {
    fn of(file: Option<&PathBuf>, descriptor: Option<u32>, options: &'static str) -> Self {
        let place = match (file, descriptor) {
            (Some(path), _) => Place::File(path.clone()),
            (None, Some(descriptor)) => Place::Descriptor(descriptor),
            (None, None) => Place::Terminal,
        };
        Self { place, options }
    }

    /// The password that opens what is there. A person is asked once.
    ///
    /// # Errors
    /// [`PasswordSourceError`].
    pub fn present(&self, prompt: &mut dyn Prompt) -> Result<Password, PasswordSourceError> {
        self.read(prompt, "Password of the key: ", None)
    }

    /// The password of what is made now. A person is asked twice.
    ///
    /// # Errors
    /// [`PasswordSourceError`].
    pub fn new_one(&self, prompt: &mut dyn Prompt) -> Result<Password, PasswordSourceError> {
        self.read(prompt, "New password for the key: ", Some("The same again: "))
    }

    fn read(&self, prompt: &mut dyn Prompt, first: &str, again: Option<&str>) -> Result<Password, PasswordSourceError> {
        match &self.place {
            Place::File(path) => from_file(path),
            Place::Descriptor(descriptor) => from_descriptor(*descriptor),
            Place::Terminal => {
                let password = Password::new(self.ask(prompt, first)?)?;
                // The second one is compared as a password: where its length is none, it cannot be the same.
                match again.map(|again| self.ask(prompt, again).map(Password::new)).transpose()? {
                    Some(second) if second.as_ref() != Ok(&password) => Err(PasswordSourceError::Differ),
                    _ => Ok(password),
                }
            }
        }
    }

    fn ask(&self, prompt: &mut dyn Prompt, text: &str) -> Result<Zeroizing<String>, PasswordSourceError> {
        prompt.ask(text).map_err(|reason| match reason.kind() {
            io::ErrorKind::Interrupted | io::ErrorKind::UnexpectedEof => PasswordSourceError::GivenUp,
            _ => PasswordSourceError::NoTerminal { reason, options: self.options },
        })
    }
}

fn from_file(path: &Path) -> Result<Password, PasswordSourceError> {
    let failed = |reason| PasswordSourceError::File { path: path.to_owned(), reason };
    let mut file = File::open(path).map_err(failed)?;
    // Of what was opened, not of what stands at the path by now.
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() && !metadata.file_type().is_fifo() {
        return Err(PasswordSourceError::NotAFile { path: path.to_owned() });
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(PasswordSourceError::TooOpen { path: path.to_owned(), mode });
    }
    first_line(&mut file, failed)
}

/// Opens the descriptor anew through the system's folder of them, as the standard library takes over a bare number only in
/// unsafe code. Works for pipes and files; a socket cannot be opened again.
fn from_descriptor(descriptor: u32) -> Result<Password, PasswordSourceError> {
    let failed = |reason| PasswordSourceError::Descriptor { descriptor, reason };
    let folder = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
    let mut file = File::open(format!("{folder}/{descriptor}")).map_err(failed)?;
    if file.is_terminal() {
        return Err(PasswordSourceError::DescriptorIsTerminal { descriptor });
    }
    first_line(&mut file, failed)
}

/// The first line without its end. Reads until the line ends: a pipe may stay open behind it.
fn first_line(
    reader: &mut dyn Read,
    failed: impl FnOnce(io::Error) -> PasswordSourceError,
) -> Result<Password, PasswordSourceError> {
    // Room for the longest password, its line end, and one byte that shows it is longer. Wiped, and never moved.
    let mut bytes = Zeroizing::new(vec![0; PASSWORD_BYTES.end() + 3]);
    let mut filled = 0;
    let end = loop {
        if let Some(end) = bytes[..filled].iter().position(|byte| *byte == b'\n') {
            break end;
        }
        match reader.read(&mut bytes[filled..]) {
            Ok(0) => break filled,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    };
    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    let text = match std::str::from_utf8(line) {
        Ok(text) => text,
        // A password that is longer than the buffer may be cut inside a character.
        Err(_) if line.len() > *PASSWORD_BYTES.end() => return Err(PasswordError::TooLong.into()),
        Err(_) => return Err(PasswordSourceError::NotText),
    };
    Ok(Password::new(Zeroizing::new(text.to_owned()))?)
}

#[cfg(test)]
pub(crate) mod tests;
