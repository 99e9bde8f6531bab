//! Whoever reads events and is cut off goes on where it was, or is told that it cannot.

use super::*;

/// The events of an answer: id, name and data of each.
fn events(body: &str) -> Vec<(String, Option<String>, serde_json::Value)> {
    let field = |event: &str, name: &str| {
        event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(|value| value.trim().to_owned()))
    };
    let whole = body.split("\n\n").filter(|event| event.contains("data:"));
    whole
        .map(|event| {
            let data = serde_json::from_str(&field(event, "data").unwrap()).unwrap();
            (field(event, "id").unwrap(), field(event, "event"), data)
        })
        .collect()
}

async fn read(node: &Running, path: &str, last: Option<&str>) -> Vec<(String, Option<String>, serde_json::Value)> {
    let line = last.map_or_else(String::new, |last| format!("last-event-id: {last}\r\n"));
    let (status, _, body) = node.request_with("GET", path, &line, b"").await;
    assert_eq!(status, 200, "{body}");
    events(&body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_goes_on_where_it_was() {
    let node = start(1);
    let group = node.create("lab").await;
    for text in ["one", "two", "three"] {
        node.publish(&group, text).await;
    }
    let all = read(&node, "/api/v1/events?after=0", None).await;
    assert!(all.len() >= 4 && all.iter().all(|(_, name, _)| name.is_none()), "{all:?}");
    let (id, _, seen) = &all[1];
    // What was missed, all of it and nothing twice; whatever the query said at first.
    for path in ["/api/v1/events", "/api/v1/events?after=0"] {
        let rest = read(&node, path, Some(id)).await;
        assert_eq!(rest, all[2..], "{path}");
    }
    assert_eq!(read(&node, "/api/v1/events", Some(&all.last().unwrap().0)).await, []);

    // Of another run, of one that is to come, and of nobody: what happened between is not known, and that is said before all that is held.
    let (run, seq) = id.split_once('-').unwrap();
    assert_eq!(seen["seq"].to_string(), seq);
    for unknown in
        [format!("{}-{seq}", run.parse::<u64>().unwrap() - 1), format!("{run}-999999"), "7".into(), "x-y".into()]
    {
        let told = read(&node, "/api/v1/events", Some(&unknown)).await;
        let (reset, rest) = told.split_first().unwrap();
        assert_eq!((reset.1.as_deref(), &reset.2["type"]), (Some("reset"), &"reset".into()), "{unknown}: {reset:?}");
        assert!(!reset.2["reason"].as_str().unwrap().is_empty());
        assert_eq!(rest, all, "{unknown}");
        // Who goes on behind it misses nothing, and is not reset again.
        assert_eq!(read(&node, "/api/v1/events", Some(&reset.0)).await, all);
    }
    let told = read(&node, "/api/v1/events?after=999999", None).await;
    assert_eq!((told[0].2["type"].as_str(), &told[1..]), (Some("reset"), all.as_slice()));
    node.stop().await;
}
