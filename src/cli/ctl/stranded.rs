//! `lbm ctl stranded`: own writes that a group is not known to have.

use std::collections::BTreeSet;
use std::io::{self, Write};

use clap::Args;
use serde::Serialize;

use super::node::more;
use crate::api::types::{Claim, ListStranded, NewClaim, StrandedList};
use crate::cli::error::{CliError, Outcome};
use crate::cli::output::{At, Render};
use crate::cli::session::Session;
use crate::cli::text::{one_line, short};
use crate::cli::when::ago;

/// Arguments of `lbm ctl stranded`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct StrandedArgs {
    /// Only this group: its id, a unique prefix of it, or its name
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// What the ledger refuses: what was stranded is, once its author is let in again
    #[arg(long)]
    refused: bool,
    /// At most so many rows
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Where the page before ended: its next_cursor
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    /// Print all claims among them, the first first, one JSON object a line: what `lbm ctl claim publish --file` reads
    #[arg(long, conflicts_with_all = ["limit", "cursor"])]
    claims: bool,
}

pub(super) async fn run(args: &StrandedArgs, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    let StrandedArgs { group, refused, limit, cursor, claims } = args.clone();
    let mut query = ListStranded { group, refused, limit, cursor };
    query.check()?;
    if !claims {
        let answer = session.client.stranded(&query).await?;
        session.answer(answer)?;
        return Ok(Outcome::Done);
    }
    for claim in anew(all(&mut query, session).await?, session.now_ms) {
        session.answer(Line(claim))?;
    }
    Ok(Outcome::Done)
}

/// All claims, the first first.
async fn all(query: &mut ListStranded, session: &Session<'_>) -> Result<Vec<Claim>, CliError> {
    let mut claims = Vec::new();
    loop {
        let page = session.client.stranded(query).await?;
        claims.extend(page.stranded.into_iter().filter_map(|row| row.claim));
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            claims.reverse();
            return Ok(claims);
        }
    }
}

/// The same as new ones: without what another group, or another time, would not take.
fn anew(claims: Vec<Claim>, now_ms: u64) -> Vec<NewClaim> {
    let stranded: BTreeSet<String> = claims.iter().map(|claim| claim.claim_hash.clone()).collect();
    let is_elsewhere = |hash: &String| !stranded.contains(hash);
    let new = |claim: Claim| NewClaim {
        text: claim.text,
        title: claim.title,
        tags: claim.tags,
        parent_hash: claim.parent_hash.filter(is_elsewhere),
        evidence: claim.evidence,
        supersedes: claim.supersedes.into_iter().filter(is_elsewhere).collect(),
        valid_until_ms: claim.valid_until_ms.filter(|until_ms| *until_ms > now_ms),
    };
    claims.into_iter().map(new).collect()
}

/// A claim as `lbm ctl claim publish --file` reads it, whatever form is asked for.
#[derive(Serialize)]
#[serde(transparent)]
struct Line(NewClaim);

impl Render for At<Line> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, &self.answer)?;
        writeln!(out)
    }
}

impl Render for At<StrandedList> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.answer.stranded.is_empty() {
            return writeln!(out, "No write is stranded.");
        }
        for row in &self.answer.stranded {
            let (author, when) = (one_line(&row.author, 100), ago(row.created_ms, self.now_ms));
            let what = one_line(&row.what, 200);
            writeln!(out, "{} in {}, {when}: {author} {what}", short(&row.block_id), short(&row.group_id))?;
            if let Some(claim) = &row.claim {
                writeln!(out, "    {}", one_line(&claim.text, 200))?;
            }
        }
        more(out, self.answer.next_cursor.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_written_anew_without_what_is_not_there() {
        let claim = |hash: &str, parent: Option<&str>, until_ms: Option<u64>| Claim {
            claim_hash: hash.into(),
            text: hash.into(),
            title: None,
            tags: vec!["x".into()],
            author: "a".into(),
            created_ms: 1,
            parent_hash: parent.map(str::to_owned),
            evidence: vec![],
            supersedes: vec!["one".into(), "kept".into()],
            superseded_by: vec![],
            valid_until_ms: until_ms,
            retracted: false,
            is_final: false,
        };
        let new = anew(vec![claim("one", Some("kept"), Some(5)), claim("two", Some("one"), Some(50))], 10);
        assert_eq!((new[0].parent_hash.as_deref(), new[0].valid_until_ms), (Some("kept"), None));
        assert_eq!((new[1].parent_hash.as_deref(), new[1].valid_until_ms), (None, Some(50)));
        assert!(new.iter().all(|new| new.supersedes == ["kept"] && new.tags == ["x"]));
    }
}
