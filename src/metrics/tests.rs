use std::collections::{BTreeMap, BTreeSet};

use super::*;

fn busy() -> Metrics {
    let metrics = Metrics::default();
    for queue in Queue::ALL {
        metrics.overflowed(queue, 2);
    }
    metrics.committed(3, Duration::from_millis(2), true);
    metrics.committed(3, Duration::from_millis(2), false);
    metrics.rejected("signature");
    metrics.compiled(Duration::from_millis(7));
    metrics.answered("STATUS", 200, Duration::from_micros(300));
    metrics.asked("sync");
    metrics.refused("sync", "busy");
    metrics.fault("low");
    metrics.banned();
    metrics
}

fn all_sampled() -> Sample {
    let mut sample = Sample::default();
    for (name, _) in SAMPLED.iter().filter(|(name, _)| *name != "series_left_out") {
        sample.set(name, vec![], 1.0);
    }
    sample
}

/// The families of a text, and its samples: name with labels, and value.
fn parse(text: &str) -> (BTreeSet<String>, BTreeMap<String, f64>) {
    let body = text.strip_suffix("# EOF\n").expect("its end");
    let (mut families, mut samples) = (BTreeSet::new(), BTreeMap::new());
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (kind, name, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            assert!(["HELP", "TYPE"].contains(&kind) && !rest.is_empty(), "{line}");
            families.insert(name.to_owned());
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        let family = name.split('{').next().unwrap();
        assert!(families.iter().any(|known| family.starts_with(known.as_str())), "{line}");
        assert!(samples.insert(name.to_owned(), value.parse().unwrap()).is_none(), "twice: {line}");
    }
    (families, samples)
}

#[test]
fn every_name_is_there_with_its_words_and_the_text_can_be_read() {
    let (families, samples) = parse(&busy().text(all_sampled()));
    let names: BTreeSet<String> = COUNTED.iter().chain(SAMPLED).map(|(name, _)| format!("lbm_{name}")).collect();
    assert_eq!(families, names);
    assert_eq!(samples["lbm_queue_overflows_total{queue=\"verify\"}"], 2.0);
    assert_eq!(samples["lbm_api_requests_total{route=\"status\",status=\"200\"}"], 1.0);
    assert_eq!((samples["lbm_writer_commits_total"], samples["lbm_writer_commit_failures_total"]), (1.0, 1.0));
    assert!(COUNTED.iter().chain(SAMPLED).all(|(_, help)| !help.is_empty()));
}

#[test]
fn series_are_bounded_and_the_rest_is_counted() {
    let mut sample = Sample::default();
    for number in 0..limits::METRIC_SERIES + 5 {
        sample.set("sync_lag_blocks", vec![("group", "ab".into()), ("peer", number.to_string())], 1.0);
    }
    let (_, samples) = parse(&Metrics::default().text(sample));
    let pairs = samples.keys().filter(|name| name.starts_with("lbm_sync_lag_blocks{")).count();
    assert_eq!((pairs, samples["lbm_series_left_out"]), (limits::METRIC_SERIES, 5.0));
}

#[test]
fn each_queue_that_is_measured_is_described() {
    let (queues, operations) = (include_str!("../../docs/QUEUES.md"), include_str!("../../docs/OPERATIONS.md"));
    for queue in Queue::ALL {
        let word = format!("`{}`", queue.word());
        assert!(queues.contains(&word) && operations.contains(&word), "{word}");
    }
}

#[test]
fn the_dashboard_asks_for_nothing_that_there_is_not() {
    let text = include_str!("../../docs/grafana.json");
    let dashboard: serde_json::Value = serde_json::from_str(text).unwrap();
    let (families, samples) = parse(&busy().text(all_sampled()));
    let mut asked = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap();
            let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            for name in words.filter(|word| word.starts_with("lbm_")) {
                asked += 1;
                let is_there = samples.keys().any(|sample| sample.split('{').next() == Some(name));
                assert!(is_there, "{}: there is no {name}", panel["title"]);
            }
        }
    }
    assert!(asked > 20, "{asked}");
    // What is measured and not shown is of no use to whoever looks.
    let unseen: Vec<_> = families.iter().filter(|family| !text.contains(family.as_str())).collect();
    assert!(unseen.is_empty(), "{unseen:?}");
}

#[test]
fn a_process_has_memory_and_files() {
    let (resident, open) = process();
    if cfg!(target_os = "linux") {
        assert!(resident.unwrap() > 1 << 20 && open.unwrap() > 2);
    }
}
