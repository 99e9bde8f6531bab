//! The description of the API (OpenAPI 3.1.0), made from the table of routes, the handlers' signatures and the types.
//!
//! Types describe themselves; what of a request is bounded stands in `bounds`, and what each status of a refusal can mean is read off
//! [`ProblemCode::ALL`]. Nothing in it is written by hand a second time.

pub(in crate::api) mod bounds;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use super::routes::{Pace, Permission, Route};
use super::types::{Problem, ProblemCode};
use super::{
    AGENT_HEADER, AGENT_ID_HEADER, EVENT_MEDIA_TYPE, ONCE_HEADER, PROBLEM_MEDIA_TYPE, REQUEST_ID_HEADER, VERSION,
    VERSION_HEADER,
};
use crate::limits;

/// A type that describes itself.
#[derive(Debug, Clone)]
pub struct TypeOf {
    name: String,
    schema: fn() -> RefOr<Schema>,
    others: fn(&mut Vec<(String, RefOr<Schema>)>),
}

impl TypeOf {
    /// Of `T`.
    #[must_use]
    pub fn new<T: ToSchema>() -> Self {
        Self { name: T::name().into_owned(), schema: T::schema, others: T::schemas }
    }
}

/// What an answer has.
#[derive(Debug, Clone, Default)]
pub enum Content {
    /// Nothing that is described.
    #[default]
    None,
    /// JSON.
    Json(TypeOf),
    /// Server-sent events, each with one of these as JSON.
    Events(TypeOf),
    /// Bytes or text of another media type.
    Other(&'static str),
}

/// What a handler takes and gives.
#[derive(Debug, Clone, Default)]
pub struct Call {
    /// Its query.
    pub query: Option<TypeOf>,
    /// Its body.
    pub body: Option<TypeOf>,
    /// Its answer.
    pub answer: Content,
}

/// The description of these routes.
#[must_use]
pub fn document(served: &[(&'static Route, Call)]) -> Value {
    let mut types = Types::default();
    types.add(&TypeOf::new::<Problem>());
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for (route, call) in served {
        let method = route.method.as_str().to_ascii_lowercase();
        paths.entry(route.path).or_default().insert(method, operation(route, call, &mut types));
    }
    let statuses: BTreeSet<u16> = ProblemCode::ALL.iter().map(|code| code.status()).collect();
    let problems: Map<String, Value> =
        statuses.into_iter().map(|status| (format!("Problem{status}"), problem(status))).collect();
    let header = |description: &str| json!({ "description": description, "schema": { "type": "string" } });
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "LBM",
            "version": VERSION,
            "description": "The API of an `lbm-node` daemon, over its local socket. Every id is a string, every time milliseconds since \
                1970 UTC, every refusal a problem document (RFC 9457) that says what to do next. Lengths of text are bounded in bytes \
                of UTF-8.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/", "description": "The daemon's local socket, DATA/lbm.sock" }],
        "paths": paths,
        "components": {
            "schemas": types.schemas(),
            "responses": problems,
            "headers": {
                REQUEST_ID_HEADER: header("The request's name: the one that was sent, or a new one."),
                VERSION_HEADER: header("The daemon's version."),
            },
        },
    });
    words::finish(&mut document);
    document
}

/// The types that something refers to, by their names.
#[derive(Default)]
struct Types(BTreeMap<String, Value>);

impl Types {
    /// Keeps a type and those that it consists of; gives a reference to it.
    fn add(&mut self, of: &TypeOf) -> Value {
        let mut others = Vec::new();
        (of.others)(&mut others);
        others.push((of.name.clone(), (of.schema)()));
        for (name, schema) in others {
            self.0.entry(name).or_insert_with(|| serde_json::to_value(schema).unwrap_or_default());
        }
        json!({ "$ref": format!("#/components/schemas/{}", of.name) })
    }

    fn schemas(self) -> BTreeMap<String, Value> {
        let mut schemas = self.0;
        bounds::apply(&mut schemas);
        schemas
    }
}

fn operation(route: &Route, call: &Call, types: &mut Types) -> Value {
    let mut parameters: Vec<Value> = path_names(route.path).map(bounds::segment).collect();
    if let Some(query) = &call.query {
        parameters.extend(query_parameters(query, types));
    }
    let header = |name: &str, description: &str, schema: Value| json!({ "name": name, "in": "header", "required": false, "description": description, "schema": schema });
    if !route.permission.is_of_node() {
        let description = "The agent in whose name the request is made; without it, it is made in the node's own name.";
        parameters.push(header(AGENT_HEADER, description, bounds::agent_name()));
        let description = "The peer id of the agent that is meant: another that has its name now is not.";
        parameters.push(header(AGENT_ID_HEADER, description, json!({ "$ref": "#/components/schemas/Identity" })));
        types.add(&TypeOf::new::<crate::identity::Identity>());
    }
    if !route.permission.looks() {
        let description =
            "A name for this write: sent again under the same name, it is done once and answered as before.";
        parameters.push(header(ONCE_HEADER, description, bounds::once_name()));
    }
    let description = format!(
        "A name for this request, for the log: 1 to {} of `A-Za-z0-9._:-`. What is none gets a new one.",
        limits::REQUEST_ID_BYTES
    );
    parameters.push(header(REQUEST_ID_HEADER, &description, json!({ "type": "string" })));
    let headers = json!({
        REQUEST_ID_HEADER: { "$ref": format!("#/components/headers/{REQUEST_ID_HEADER}") },
        VERSION_HEADER: { "$ref": format!("#/components/headers/{VERSION_HEADER}") },
    });
    let content = match &call.answer {
        Content::None => json!({}),
        Content::Json(of) => json!({ "application/json": { "schema": types.add(of) } }),
        Content::Events(of) => {
            // Of one event, as what reads descriptions takes it for this media type.
            let data =
                json!({ "type": "string", "contentMediaType": "application/json", "contentSchema": types.add(of) });
            let properties = json!({ "data": data, "id": { "type": "string" }, "event": { "type": "string" } });
            json!({ EVENT_MEDIA_TYPE: { "schema": { "type": "object", "required": ["data"], "properties": properties } } })
        }
        Content::Other(media) => json!({ *media: { "schema": { "type": "string" } } }),
    };
    let mut responses = Map::new();
    responses.insert("200".to_owned(), json!({ "description": "Done.", "headers": headers, "content": content }));
    for status in refusals(route, call) {
        responses.insert(status.to_string(), json!({ "$ref": format!("#/components/responses/Problem{status}") }));
    }
    let mut operation = json!({
        "operationId": route.name.to_ascii_lowercase(),
        "summary": route.summary,
        "tags": [tag(route.path)],
        "parameters": parameters,
        "responses": responses,
        "x-permission": format!("{:?}", route.permission).to_lowercase(),
    });
    if let Some(body) = &call.body {
        let schema = types.add(body);
        operation["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    operation
}

/// The statuses with which a route refuses.
fn refusals(route: &Route, call: &Call) -> BTreeSet<u16> {
    let all = ProblemCode::ALL.iter().map(|code| code.status());
    // What has no route for its method is answered before there is an operation.
    let all = all.filter(|status| *status != ProblemCode::MethodNotAllowed.status());
    let looks = route.permission == Permission::Read && route.pace == Pace::Quick;
    all.filter(|status| !looks || ![422, 504].contains(status))
        .filter(|status| {
            call.body.is_some() || call.query.is_some() || *status != ProblemCode::TooLarge.status() || !looks
        })
        .collect()
}

fn problem(status: u16) -> Value {
    let codes = ProblemCode::ALL.iter().filter(|code| code.status() == status);
    let codes: Vec<String> = codes.map(|code| format!("`{}` ({})", code.as_str(), code.title())).collect();
    let headers = json!({ REQUEST_ID_HEADER: { "$ref": format!("#/components/headers/{REQUEST_ID_HEADER}") } });
    json!({
        "description": format!("Refused: {}.", codes.join(", ")),
        "headers": headers,
        "content": { PROBLEM_MEDIA_TYPE: { "schema": { "$ref": "#/components/schemas/Problem" } } },
    })
}

/// Each key of a query's type as a parameter.
fn query_parameters(of: &TypeOf, types: &mut Types) -> Vec<Value> {
    let mut schemas = BTreeMap::new();
    let mut others = Vec::new();
    (of.others)(&mut others);
    for (name, schema) in others {
        types.0.entry(name).or_insert_with(|| serde_json::to_value(schema).unwrap_or_default());
    }
    schemas.insert(of.name.clone(), serde_json::to_value((of.schema)()).unwrap_or_default());
    bounds::apply(&mut schemas);
    let schema = schemas.remove(&of.name).unwrap_or_default();
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let Some(properties) = schema["properties"].as_object() else { return Vec::new() };
    let parameter = |(name, schema): (&String, &Value)| {
        let mut schema = schema.clone();
        // A key without a value is left out: in a query there is no null.
        bounds::never_null(&mut schema);
        let description = schema.as_object_mut().and_then(|schema| schema.remove("description")).unwrap_or_default();
        let is_required = required.contains(&name.as_str());
        json!({ "name": name, "in": "query", "required": is_required, "description": description, "schema": schema })
    };
    properties.iter().map(parameter).collect()
}

fn path_names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

/// The family of a route: what its path is about.
fn tag(path: &str) -> &str {
    let mut words = path.split('/').filter(|word| !word.is_empty() && !["api", "v1"].contains(word));
    match (words.next(), words.next(), words.next()) {
        (Some("groups"), Some(_), Some(family)) => family,
        (Some(family), ..) => family,
        (None, ..) => "node",
    }
}
