//! Fields of tools, and the JSON Schema that they make.
//!
//! Written by hand and short: each word of a schema is read by every model in every conversation.

use std::sync::Arc;

use rmcp::model::JsonObject;
use serde_json::{Value, json};

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A list of strings.
    Texts,
    /// A whole number.
    Whole,
    /// Yes or no.
    Truth,
    /// A JSON object.
    Object,
    /// A list of JSON objects.
    Objects,
    /// One of these words.
    OneOf(&'static [&'static str]),
}

impl Kind {
    fn schema(self) -> Value {
        match self {
            Self::Text => json!({"type": "string"}),
            Self::Texts => json!({"type": "array", "items": {"type": "string"}}),
            Self::Whole => json!({"type": "integer"}),
            Self::Truth => json!({"type": "boolean"}),
            Self::Object => json!({"type": "object"}),
            Self::Objects => json!({"type": "array", "items": {"type": "object"}}),
            Self::OneOf(words) => json!({"type": "string", "enum": words}),
        }
    }
}

/// One field of an input or an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether it is always there.
    pub required: bool,
    /// What its name does not say; nothing where the name says it all.
    pub says: &'static str,
}

/// A field that must be there.
pub(super) const fn must(name: &'static str, kind: Kind, says: &'static str) -> Field {
    Field { name, kind, required: true, says }
}

/// A field that may be there.
pub(super) const fn may(name: &'static str, kind: Kind, says: &'static str) -> Field {
    Field { name, kind, required: false, says }
}

/// The schema of an object with these fields. Inputs are closed: a misspelt field must not be ignored.
#[must_use]
pub fn object(fields: impl IntoIterator<Item = Field>, closed: bool) -> Arc<JsonObject> {
    let (mut properties, mut required) = (JsonObject::new(), Vec::new());
    for field in fields {
        let mut schema = field.kind.schema();
        if let (false, Some(object)) = (field.says.is_empty(), schema.as_object_mut()) {
            object.insert("description".to_owned(), field.says.into());
        }
        properties.insert(field.name.to_owned(), schema);
        if field.required {
            required.push(field.name);
        }
    }
    let mut schema = JsonObject::new();
    schema.insert("type".to_owned(), "object".into());
    schema.insert("properties".to_owned(), properties.into());
    if !required.is_empty() {
        schema.insert("required".to_owned(), required.into());
    }
    if closed {
        schema.insert("additionalProperties".to_owned(), false.into());
    }
    Arc::new(schema)
}
