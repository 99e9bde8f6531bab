//! `lbm init`: a data folder with a new key.

use std::io::{self, Write};
use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::keys::KeysError;
use super::output::Render;
use super::password::{PasswordArgs, Prompt};
use crate::datadir::{DataDir, DataDirError, NodeName, new_secret};
use crate::identity::Identity;

/// The options of `lbm init`.
#[derive(Debug, Clone, Default, Args)]
pub struct InitArgs {
    /// What people call this node; without it, `node-` and the end of its id
    #[arg(long, value_name = "NAME")]
    pub name: Option<NodeName>,
    /// Put the key under a password; asked for twice, unless an option below says where it is. They imply this one
    #[arg(long)]
    pub encrypt_keys: bool,
    /// Where the password comes from.
    #[command(flatten)]
    pub password: PasswordArgs,
}

/// What `lbm init` made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InitOutput {
    /// The node's identity.
    pub node_id: Identity,
    /// The node's name.
    pub name: NodeName,
    /// The data folder, absolute.
    pub data: String,
    /// Whether the key is encrypted.
    pub encrypted: bool,
}

/// Makes a new node in the folder `data`. Where one stands there, nothing is asked and nothing is changed.
///
/// # Errors
/// [`KeysError`].
pub fn run(args: &InitArgs, data: &Path, prompt: &mut dyn Prompt) -> Result<InitOutput, KeysError> {
    match DataDir::open(data) {
        Ok(folder) => folder.check_fresh()?,
        Err(DataDirError::Missing { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let is_encrypted = args.encrypt_keys || args.password.is_given();
    let password = is_encrypted.then(|| args.password.source().new_one(prompt)).transpose()?;
    let secret = new_secret()?;
    let name = args.name.clone().unwrap_or_else(|| NodeName::of(secret.identity()));
    let info = DataDir::create(data)?.init(&name, &secret, password.as_ref())?;
    Ok(InitOutput {
        node_id: info.identity,
        name: info.name,
        data: super::keys::shown(data),
        encrypted: info.is_encrypted,
    })
}

impl Render for InitOutput {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "Made the node {}.", self.name)?;
        writeln!(out, "id    {}", self.node_id)?;
        writeln!(out, "data  {}", self.data)?;
        if self.encrypted {
            writeln!(out, "key   encrypted; there is no way back to it without its password")
        } else {
            writeln!(out, "key   not encrypted; `lbm keys encrypt` puts it under a password")
        }
    }
}
