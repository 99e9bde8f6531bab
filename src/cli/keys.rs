//! `lbm keys`: the node's key, looked at, encrypted, carried elsewhere and brought back.

use std::io::{self, IsTerminal, Write};
use std::path::{self, Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

use super::output::Render;
use super::password::{NewPasswordArgs, PasswordArgs, PasswordSourceError, Prompt};
use crate::datadir::{self, DataDir, DataDirError, ExportForm, KeyBytes, KeyInfo, NodeName};
use crate::identity::Identity;
use crate::limits::KEY_FILE_BYTES;

/// The name that stands for standard input and output.
const STANDARD: &str = "-";

/// What to do with the key.
#[derive(Debug, Clone, Subcommand)]
pub enum KeysCommand {
    /// Show whose key it is and whether it is encrypted; needs no password
    Show,
    /// Put the key under a password (asked for twice)
    Encrypt(PasswordArgs),
    /// Take the password off: the key is then in clear on the disk
    Decrypt(PasswordArgs),
    /// Put the key under another password
    ChangePassword(ChangePasswordArgs),
    /// Write a copy of the key to a new file
    Export(ExportArgs),
    /// Make this data folder that of the node whose key is in a file
    Import(ImportArgs),
}

/// The options of `lbm keys change-password`.
#[derive(Debug, Clone, Default, Args)]
pub struct ChangePasswordArgs {
    /// The present password.
    #[command(flatten)]
    pub password: PasswordArgs,
    /// The new password.
    #[command(flatten)]
    pub new_password: NewPasswordArgs,
}

/// The options of `lbm keys export`.
#[derive(Debug, Clone, Default, Args)]
pub struct ExportArgs {
    /// The new file (mode 0600), or - for standard output
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// In which form; without it, as it stands in the data folder
    #[arg(long, value_enum, value_name = "FORM")]
    pub form: Option<Form>,
    /// The present password, for an encrypted key that leaves in plain form.
    #[command(flatten)]
    pub password: PasswordArgs,
    /// The new password, for a plain key that leaves encrypted.
    #[command(flatten)]
    pub new_password: NewPasswordArgs,
}

/// In which form a key is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Without a password: whoever has the file has the node
    Plain,
    /// Under its password, or under a new one where it stands in plain form
    Encrypted,
}

/// The options of `lbm keys import`.
#[derive(Debug, Clone, Default, Args)]
pub struct ImportArgs {
    /// A file that `lbm keys export` wrote, or - for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What people call this node; without it, `node-` and the end of its id
    #[arg(long, value_name = "NAME")]
    pub name: Option<NodeName>,
}

/// Why a command on keys failed.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The data folder or the key in it.
    #[error(transparent)]
    Data(#[from] DataDirError),
    /// The password.
    #[error(transparent)]
    Password(#[from] PasswordSourceError),
    /// A key would be written over the screen.
    #[error("a key is no text, and standard output is a terminal: name a file, or send it into a pipe")]
    StandardOutputIsTerminal,
    /// Standard input failed.
    #[error("cannot read a key from standard input: {reason}; name a file")]
    StandardInput {
        /// Why.
        reason: io::Error,
    },
}

/// What a command on keys answers with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum KeysOutput {
    /// Of all but `export`: the key as it now stands.
    Key(KeyOutput),
    /// Of `export`.
    Exported(ExportOutput),
}

/// A key as it stands in a data folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyOutput {
    /// The node's identity.
    pub node_id: Identity,
    /// The node's name.
    pub name: NodeName,
    /// The data folder, absolute.
    pub data: String,
    /// Whether the key is encrypted.
    pub encrypted: bool,
    #[serde(skip)]
    done: &'static str,
}

/// A key that has left its data folder.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct ExportOutput {
    /// The node's identity.
    pub node_id: Identity,
    /// Whether the copy is encrypted.
    pub encrypted: bool,
    /// The file, absolute; none where the key goes to standard output.
    pub file: Option<String>,
    /// The bytes of the key file in hex, where the key goes to standard output.
    #[serde(rename = "key_hex", skip_serializing_if = "Option::is_none", serialize_with = "as_hex")]
    bytes: Option<KeyBytes>,
}

/// Without the key: this is the one output that may hold a secret.
impl std::fmt::Debug for ExportOutput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExportOutput")
            .field("node_id", &self.node_id)
            .field("encrypted", &self.encrypted)
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

/// Runs one command on the key in the folder `data`.
///
/// # Errors
/// [`KeysError`].
pub fn run(command: &KeysCommand, data: &Path, prompt: &mut dyn Prompt) -> Result<KeysOutput, KeysError> {
    let (info, done) = match command {
        KeysCommand::Show => (DataDir::open(data)?.show()?, ""),
        KeysCommand::Encrypt(args) => {
            let new = || Ok::<_, KeysError>(args.source().new_one(prompt)?);
            (
                DataDir::open(data)?.encrypt(new)?,
                "The key is encrypted; the next start of the node asks for the password.",
            )
        }
        KeysCommand::Decrypt(args) => {
            let present = || Ok::<_, KeysError>(args.source().present(prompt)?);
            (DataDir::open(data)?.decrypt(present)?, "The key is no longer encrypted: keep others off this disk.")
        }
        KeysCommand::ChangePassword(args) => (change_password(args, data, prompt)?, "The password is changed."),
        KeysCommand::Export(args) => return export(args, data, prompt, io::stdout().is_terminal()),
        KeysCommand::Import(args) => (import(args, data)?, "The key is imported."),
    };
    Ok(KeysOutput::Key(KeyOutput {
        node_id: info.identity,
        name: info.name,
        data: shown(data),
        encrypted: info.is_encrypted,
        done,
    }))
}

fn change_password(args: &ChangePasswordArgs, data: &Path, prompt: &mut dyn Prompt) -> Result<KeyInfo, KeysError> {
    let present = args.password.source();
    let new = args.new_password.source(&args.password)?;
    // Both ask the same person, the one after the other.
    let prompt = std::cell::RefCell::new(prompt);
    DataDir::open(data)?.change_password(
        || Ok(present.present(&mut **prompt.borrow_mut())?),
        || Ok(new.new_one(&mut **prompt.borrow_mut())?),
    )
}

fn export(
    args: &ExportArgs,
    data: &Path,
    prompt: &mut dyn Prompt,
    stdout_is_terminal: bool,
) -> Result<KeysOutput, KeysError> {
    let goes_out = args.file == Path::new(STANDARD);
    if goes_out && stdout_is_terminal {
        return Err(KeysError::StandardOutputIsTerminal);
    }
    let folder = DataDir::open(data)?;
    let info = folder.show()?;
    let (form, encrypted) = match args.form {
        None => (ExportForm::AsStored, info.is_encrypted),
        Some(Form::Plain) => (ExportForm::Plain, false),
        Some(Form::Encrypted) => (ExportForm::Encrypted, true),
    };
    let present = args.password.source();
    let new = args.new_password.source(&args.password)?;
    let prompt = std::cell::RefCell::new(prompt);
    let bytes = folder.export(
        form,
        || Ok::<_, KeysError>(present.present(&mut **prompt.borrow_mut())?),
        || Ok(new.new_one(&mut **prompt.borrow_mut())?),
    )?;
    let (file, bytes) = if goes_out {
        (None, Some(bytes))
    } else {
        datadir::write_new(&args.file, &bytes)?;
        (Some(shown(&args.file)), None)
    };
    Ok(KeysOutput::Exported(ExportOutput { node_id: info.identity, encrypted, file, bytes }))
}

fn import(args: &ImportArgs, data: &Path) -> Result<KeyInfo, KeysError> {
    let bytes = if args.file == Path::new(STANDARD) {
        datadir::read_secret(&mut io::stdin().lock(), KEY_FILE_BYTES)
            .map_err(|reason| KeysError::StandardInput { reason })?
    } else {
        datadir::read_key_file(&args.file)?
    };
    // Before the folder is made: a bad file leaves nothing behind.
    datadir::check_importable(&bytes, &args.file)?;
    Ok(DataDir::create(data)?.import(&bytes, &args.file, args.name.as_ref())?)
}

/// A path for people and for JSON, which has no bytes that are no text.
pub(super) fn shown(path: &Path) -> String {
    path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

fn as_hex<S: Serializer>(bytes: &Option<KeyBytes>, serializer: S) -> Result<S::Ok, S::Error> {
    let hex = bytes.as_ref().map(|bytes| Zeroizing::new(hex::encode(&**bytes)));
    serializer.serialize_str(hex.as_ref().map_or("", |hex| hex.as_str()))
}

const fn form(encrypted: bool) -> &'static str {
    if encrypted { "encrypted" } else { "not encrypted" }
}

impl Render for KeysOutput {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Key(key) => key.render(out),
            Self::Exported(export) => export.render(out),
        }
    }
}

impl Render for KeyOutput {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        if !self.done.is_empty() {
            writeln!(out, "{}", self.done)?;
        }
        writeln!(out, "id    {}", self.node_id)?;
        writeln!(out, "name  {}", self.name)?;
        writeln!(out, "data  {}", self.data)?;
        writeln!(out, "key   {}", form(self.encrypted))
    }
}

/// To standard output go the bytes of the key file and nothing else.
impl Render for ExportOutput {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        if let Some(bytes) = &self.bytes {
            return out.write_all(bytes);
        }
        let file = self.file.as_deref().unwrap_or_default();
        writeln!(out, "Wrote the key of {} to {file} ({}).", self.node_id, form(self.encrypted))?;
        if !self.encrypted {
            writeln!(out, "Whoever has this file has the node: keep it where nobody else looks.")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
