//! The arguments of a call: read once, each key taken out, and what is left over must be a request of the API.

use rmcp::model::JsonObject;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::answer::Failure;

/// What a client gave.
#[derive(Debug, Default)]
pub(super) struct Arguments(pub JsonObject);

impl Arguments {
    /// Takes a value out; `null` is as good as none.
    pub(super) fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, Failure> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value)
                .map(Some)
                .map_err(|error| Failure::Arguments(format!("`{name}`: {}", plain(&error)))),
        }
    }

    /// Takes a value out that must be there.
    pub(super) fn need<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, Failure> {
        self.take(name)?.ok_or_else(|| Failure::Arguments(format!("`{name}` is missing")))
    }

    /// All that is left, as a request of the API. It refuses keys that it does not know.
    pub(super) fn rest<T: DeserializeOwned>(mut self) -> Result<T, Failure> {
        self.0.retain(|_, value| !value.is_null());
        serde_json::from_value(Value::Object(self.0)).map_err(|error| Failure::Arguments(plain(&error)))
    }

    /// Nothing is left.
    pub(super) fn end(self) -> Result<(), Failure> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(Failure::Arguments(format!("there is no argument `{name}` here"))),
        }
    }
}

/// The parser's words, cut: they repeat what was given.
fn plain(error: &serde_json::Error) -> String {
    let mut words = error.to_string();
    super::answer::cut(&mut words, 300);
    words
}
