//! How claims are shown.

use serde_json::{Value, json};

use super::{HASH, claim, run};

#[tokio::test]
async fn a_thread_is_a_tree_with_what_became_of_its_claims() {
    let at = |depth: usize, hash: &str, text: &str, changed: Value| {
        let mut row = claim(hash, text);
        row["depth"] = json!(depth);
        for (key, value) in changed.as_object().unwrap() {
            row[key] = value.clone();
        }
        row
    };
    let rows = json!([
        at(0, "r", "root", json!({"retracted": true})),
        at(1, "a", "", json!({})),
        at(2, "b", "deeper", json!({"superseded_by": ["x"]})),
        at(2, "c", "beside", json!({"title": "Title"})),
        at(1, "d", "last", json!({"valid_until_ms": 1})),
        at(2, "e", "under the last", json!({})),
        at(50, "f", "far down", json!({})),
    ]);
    let ran =
        run(&["claim", "thread", "r", "--group", "g"], json!({"root_hash": "r", "claims": rows, "left_out": 3})).await;
    let lines: Vec<&str> =
        ran.out.lines().map(|line| line.rsplit_once("  (").map_or(line, |(before, _)| before)).collect();
    assert_eq!(
        lines,
        [
            "r  (retracted) root",
            "├ a  (its words have not come yet)",
            "│ ├ b  (superseded) deeper",
            "│ └ c  Title",
            "└ d  (expired) last",
            "  └ e  under the last",
            &format!("{:40}f  far down", "(depth 50)"),
            "… and 3 more",
        ]
    );
}

#[tokio::test]
async fn a_claim_in_full_shows_its_evidence_and_its_standing() {
    let mut shown = claim(HASH, "");
    shown["evidence"] =
        json!([{"kind": "command", "command": "make\u{1b}[2J", "exit_code": 2}, {"kind": "link", "link": "l"}]);
    shown["supersedes"] = json!(["ab"]);
    shown["superseded_by"] = json!(["cd"]);
    shown["valid_until_ms"] = json!(0);
    let out = run(&["claim", "show", HASH, "--group", "g"], shown).await.out;
    for words in [
        "evidence       `make\u{FFFD}[2J` ended with exit code 2\n",
        "evidence       l\n",
        "supersedes     ab\n",
        "superseded by  cd\n",
        "valid until    1970-01-01T00:00:00Z\n",
        "state          superseded\n",
        "\nIts words have not come yet",
    ] {
        assert!(out.contains(words), "no {words:?} in: {out}");
    }
    let odd = [
        "claim",
        "publish",
        "--group",
        "g",
        "--text",
        "t",
        "--evidence-command",
        "a",
        "--exit-code",
        "1",
        "--exit-code",
        "2",
    ];
    let ran = run(&odd, json!({})).await;
    assert!(
        ran.code == "1" && ran.err.contains("one exit code for each command") && ran.asked.is_empty(),
        "{}",
        ran.err
    );
}
