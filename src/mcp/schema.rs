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
    /// A whole number from the first to the second.
    Within(u64, u64),
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
            Self::Within(0, most) => json!({"type": "integer", "maximum": most}),
            Self::Within(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
            Self::Truth => json!({"type": "boolean"}),
            Self::Object => json!({"type": "object"}),
            Self::Objects => json!({"type": "array", "items": {"type": "object"}}),
            Self::OneOf(words) => json!({"type": "string", "enum": words}),
        }
    }
}

impl Kind {
    /// What is wrong with a value, as what it should be; nothing where it is right. `null` is as good as none.
    pub(super) fn wants(self, value: &Value) -> Option<String> {
        let is_texts = |value: &Value| value.as_array().is_some_and(|items| items.iter().all(Value::is_string));
        let is_objects = |value: &Value| value.as_array().is_some_and(|items| items.iter().all(Value::is_object));
        let (is_right, wanted) = match self {
            _ if value.is_null() => (true, ""),
            Self::Text => (value.is_string(), "a text"),
            Self::Texts => (is_texts(value), "a list of texts"),
            Self::Whole => (value.is_u64(), "a whole number, 0 or more, without quotes"),
            Self::Within(least, most) => {
                let fits = value.as_u64().is_some_and(|number| (least..=most).contains(&number));
                return (!fits).then(|| format!("a whole number from {least} to {most}, without quotes"));
            }
            Self::Truth => (value.is_boolean(), "true or false"),
            Self::Object => (value.is_object(), "a JSON object"),
            Self::Objects => (is_objects(value), "a list of JSON objects"),
            Self::OneOf(words) => {
                let is_one = value.as_str().is_some_and(|word| words.contains(&word));
                return (!is_one).then(|| format!("one of {}", words.join(", ")));
            }
        };
        (!is_right).then(|| wanted.to_owned())
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
