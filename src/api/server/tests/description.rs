//! The description of the API says what the code does, and all of it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::api::openapi::bounds;
use crate::api::server::router::document;
use crate::api::{REQUEST_ID_HEADER, routes};

fn types_of(document: &Value) -> &serde_json::Map<String, Value> {
    document["components"]["schemas"].as_object().unwrap()
}

fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

/// All values under a value, itself as well.
fn every<'v>(value: &'v Value, seen: &mut dyn FnMut(&'v Value)) {
    seen(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| every(item, seen)),
        Value::Object(keys) => keys.values().for_each(|value| every(value, seen)),
        _ => {}
    }
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let document = document();
    let described: BTreeSet<_> =
        operations(&document).map(|(path, method, _)| (path.to_owned(), method.to_uppercase())).collect();
    let routes = routes::ALL.iter().map(|route| (route.path.to_owned(), route.method.to_string()));
    assert_eq!(described, routes.collect());
    let ids: BTreeSet<_> =
        operations(&document).map(|(.., operation)| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), routes::ALL.len());
    for (path, _, operation) in operations(&document) {
        let named = operation["parameters"].as_array().unwrap().iter().filter(|parameter| parameter["in"] == "path");
        let named: Vec<_> = named.map(|parameter| format!("{{{}}}", parameter["name"].as_str().unwrap())).collect();
        assert!(named.iter().all(|name| path.contains(name)) && named.len() == path.matches('{').count(), "{path}");
        let answer = &operation["responses"]["200"];
        let content = answer["content"].as_object().unwrap();
        assert_eq!(content.len(), 1, "{path}: {answer}");
        for refused in ["400", "403", "404", "500", "503"] {
            assert!(operation["responses"][refused]["$ref"].is_string(), "{path}: {refused}");
        }
    }
}

#[test]
fn what_it_refers_to_is_there_and_reads_by_itself() {
    let document = document();
    every(&document, &mut |value| {
        if let Some(to) = value["$ref"].as_str() {
            assert!(document.pointer(to.strip_prefix('#').unwrap()).is_some(), "{to}");
        }
        if let Some(text) = value["description"].as_str() {
            assert!(!text.contains("limits::") && !text.contains("Self::") && !text.contains('\n'), "{text}");
        }
        assert!(value != "unrecognised" && value["title"] != "Unrecognised", "{value}");
    });
    let codes = types_of(&document)["ProblemCode"]["enum"].as_array().unwrap();
    let words: BTreeSet<_> = ProblemCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(codes.iter().map(|code| code.as_str().unwrap()).collect::<BTreeSet<_>>(), words);
}

/// Names of the types that requests have in their bodies.
fn bodies(document: &Value) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    let mut looking = Vec::new();
    for (.., operation) in operations(document) {
        looking.extend(operation.get("requestBody"));
    }
    while let Some(value) = looking.pop() {
        every(value, &mut |value| {
            if let Some(name) = value["$ref"].as_str().and_then(|to| to.strip_prefix("#/components/schemas/"))
                && found.insert(name)
            {
                looking.push(&types_of(document)[name]);
            }
        });
    }
    found
}

fn is_bounded(schema: &Value) -> bool {
    let is = |kind: &str| {
        schema["type"] == kind || schema["type"].as_array().is_some_and(|kinds| kinds.contains(&kind.into()))
    };
    let has = |key: &str| !schema[key].is_null();
    let text = !is("string") || has("maxLength") || has("enum") || has("const") || has("pattern");
    let number = !is("integer") || (has("minimum") && has("maximum"));
    let list = !is("array") || has("maxItems");
    text && number && list
}

#[test]
fn whatever_is_sent_is_bounded() {
    let document = document();
    let bodies = bodies(&document);
    assert!(bodies.len() > 25, "{bodies:?}");
    for name in bodies {
        every(&types_of(&document)[name], &mut |schema| assert!(is_bounded(schema), "{name}: {schema}"));
    }
    for (path, _, operation) in operations(&document) {
        // The name of a request is never refused: one that is none is not taken.
        let all = operation["parameters"].as_array().unwrap().iter();
        for parameter in all.filter(|parameter| parameter["name"] != REQUEST_ID_HEADER) {
            every(&parameter["schema"], &mut |schema| assert!(is_bounded(schema), "{path}: {parameter}"));
        }
    }
}

#[test]
fn every_bound_is_of_a_key_that_is_there() {
    let document = document();
    let queries: BTreeSet<_> = operations(&document)
        .flat_map(|(.., operation)| operation["parameters"].as_array().unwrap())
        .filter_map(|parameter| parameter["name"].as_str())
        .collect();
    for (of, key, bound) in bounds::all() {
        match types_of(&document).get(of) {
            Some(schema) => {
                let property = schema["properties"].get(key).unwrap_or_else(|| panic!("{of} has no {key}"));
                for (rule, value) in bound.as_object().unwrap() {
                    assert_eq!(&property[rule], value, "{of}.{key}");
                }
            }
            // The type of a query is taken apart.
            None => assert!(queries.contains(key), "{of}.{key}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_daemon_describes_itself() {
    let node = start(1);
    let (status, head, body) = node.request("GET", "/api/openapi.json", b"").await;
    assert!(status == 200 && head.contains("content-type: application/json\r\n"), "{head}");
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), document());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_and_every_refusal_names_its_request() {
    let node = start(1);
    let named = |head: &str| {
        let start = format!("{REQUEST_ID_HEADER}: ");
        let mut lines = head.lines().filter_map(|line| line.strip_prefix(&start).map(str::to_owned));
        (lines.next().unwrap(), lines.next())
    };
    for path in ["/api/v1/status", "/api/v1/nothing", "/api/v1/groups/nothing"] {
        let (status, head, body) = node.request("GET", path, b"").await;
        let (name, None) = named(&head) else { panic!("{head}") };
        assert_eq!(name.len(), 24);
        let document: Value = serde_json::from_str(&body).unwrap();
        let instance = (status != 200).then(|| format!("urn:lbm:request:{name}"));
        assert_eq!(document["instance"].as_str(), instance.as_deref(), "{body}");
    }
    for (given, is_taken) in
        [("abc-1.2:3_4", true), ("", false), ("a b", false), ("\"x\"", false), (&"x".repeat(65), false)]
    {
        let head = format!("{REQUEST_ID_HEADER}: {given}\r\n");
        let (_, head, _) = node.request_with("GET", "/api/v1/status", &head, b"").await;
        assert_eq!(named(&head).0 == given, is_taken, "{given}: {head}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_is_an_object_and_no_array() {
    let node = start(1);
    for body in ["[]", "[null,null]", "null", "7", "\"x\""] {
        let (status, _, said) = node.request("POST", "/api/v1/sync", body.as_bytes()).await;
        assert!(status == 400 && said.contains("a JSON object"), "{body}: {status} {said}");
    }
    assert_eq!(node.request("POST", "/api/v1/sync", b"{}").await.0, 200);
    node.stop().await;
}
