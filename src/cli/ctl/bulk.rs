//! `lbm ctl claim publish --file`: many claims, one JSON object a line.
//!
//! **The whole file is checked before its first claim is sent**, so that a bad line never leaves half a file published. What
//! can still fail after that is the daemon: then the error names the line from which on the file can be sent again.

use std::io::{self, BufRead, Read, Write};
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::api::types::{NewClaim, PublishBulk, Wrote};
use crate::cli::error::{CliError, LineError, Outcome};
use crate::cli::output::{At, Render};
use crate::cli::session::{Session, shown};
use crate::cli::text::count;
use crate::limits;

/// What a bulk did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct BulkOutput {
    published: usize,
    blocks: usize,
    claim_hashes: Vec<String>,
    block_id: String,
}

impl Wrote for BulkOutput {
    fn block_id(&self) -> &str {
        &self.block_id
    }
}

impl Render for At<BulkOutput> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let BulkOutput { published, blocks, .. } = self.answer;
        writeln!(out, "Published {} in {}", count(published as u64, "claim"), count(blocks as u64, "block"))
    }
}

/// Claims of one request, and the line of the first of them.
#[derive(Debug, PartialEq, Eq)]
struct Chunk {
    first_line: usize,
    claims: Vec<NewClaim>,
}

pub(super) async fn publish(group: &str, file: &Path, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    let name = shown(file);
    let chunks = read(session.open(file)?, &name)?;
    let total: usize = chunks.iter().map(|chunk| chunk.claims.len()).sum();
    let bar = if session.shows_progress { ProgressBar::new(total as u64) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} claims  {per_sec}  {eta} left") {
        bar.set_style(style);
    }
    let mut done = BulkOutput::default();
    for Chunk { first_line, claims } in chunks {
        let sent = claims.len();
        let answer = session.client.publish_bulk(group, &PublishBulk { claims }).await.map_err(|source| {
            bar.finish_and_clear();
            CliError::BulkStopped { name: name.clone(), line: first_line, published: done.published, source }
        })?;
        done.published += answer.published;
        done.blocks += answer.blocks;
        done.claim_hashes.extend(answer.claim_hashes);
        done.block_id = answer.block_id;
        bar.inc(sent as u64);
    }
    bar.finish_and_clear();
    session.wrote(group, done).await?;
    Ok(Outcome::Done)
}

/// Bytes of the JSON that surrounds the claims of a request, and a margin.
const ENVELOPE_BYTES: usize = 1_024;

/// Reads and checks every line, and cuts the claims into requests that are within the API's limits.
fn read(input: Box<dyn BufRead + '_>, name: &str) -> Result<Vec<Chunk>, CliError> {
    let limit_bytes = limits::BULK_FILE_BYTES;
    let mut input = input.take(limit_bytes + 1);
    let mut chunks: Vec<Chunk> = Vec::new();
    let (mut line, mut count, mut chunk_bytes, mut file_bytes) = (0, 0, 0, 0);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let cap = limits::BULK_LINE_BYTES as u64 + 2;
        let got = (&mut input)
            .take(cap)
            .read_until(b'\n', &mut bytes)
            .map_err(|source| CliError::Read { name: name.to_owned(), source })?;
        if got == 0 {
            break;
        }
        line += 1;
        file_bytes += got as u64;
        if file_bytes > limit_bytes {
            return Err(CliError::TooLarge { name: name.to_owned(), limit_bytes });
        }
        let Some(claim) = parse(&bytes).map_err(|source| CliError::Line { name: name.to_owned(), line, source })?
        else {
            continue;
        };
        count += 1;
        if count > limits::BULK_FILE_CLAIMS {
            return Err(CliError::TooManyClaims { name: name.to_owned(), limit: limits::BULK_FILE_CLAIMS });
        }
        // As it will be sent: the line itself may have been written with other escapes.
        let json_bytes = serde_json::to_vec(&claim).map_or(bytes.len(), |json| json.len()) + 1;
        match chunks.last_mut() {
            Some(chunk)
                if chunk.claims.len() < limits::BULK_CLAIMS
                    && chunk_bytes + json_bytes + ENVELOPE_BYTES <= limits::API_BODY_BYTES =>
            {
                chunk.claims.push(claim);
                chunk_bytes += json_bytes;
            }
            _ => {
                chunks.push(Chunk { first_line: line, claims: vec![claim] });
                chunk_bytes = json_bytes;
            }
        }
    }
    if chunks.is_empty() { Err(CliError::NoClaims { name: name.to_owned() }) } else { Ok(chunks) }
}

/// The claim of a line; nothing where the line is blank.
fn parse(line: &[u8]) -> Result<Option<NewClaim>, LineError> {
    if line.len() > limits::BULK_LINE_BYTES + 1 {
        return Err(LineError::TooLong { limit_bytes: limits::BULK_LINE_BYTES });
    }
    let line = std::str::from_utf8(line).map_err(|_| LineError::NotUtf8)?.trim();
    if line.is_empty() {
        return Ok(None);
    }
    let claim: NewClaim = serde_json::from_str(line).map_err(LineError::Json)?;
    claim.check()?;
    Ok(Some(claim))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(text: &str) -> Result<Vec<Chunk>, String> {
        read(Box::new(text.as_bytes()), "f").map_err(|error| error.to_string())
    }

    #[test]
    fn lines_become_requests_of_at_most_a_thousand() {
        let text: String = (0..2_500).map(|number| format!("{{\"text\":\"claim {number}\"}}\n\n")).collect();
        let chunks = chunks(&text).unwrap();
        let sizes: Vec<_> = chunks.iter().map(|chunk| chunk.claims.len()).collect();
        assert_eq!(sizes, [1_000, 1_000, 500]);
        // Blank lines count as lines.
        assert_eq!((chunks[1].first_line, chunks[1].claims[0].text.as_str()), (2_001, "claim 1000"));
    }

    #[test]
    fn large_claims_are_cut_by_their_bytes() {
        let claim = format!("{{\"text\":\"{}\"}}\n", "\\u0001".repeat(limits::CLAIM_TEXT_BYTES));
        let chunks = chunks(&claim.repeat(50)).unwrap();
        assert!(chunks.len() > 1);
        for chunk in chunks {
            let bytes = serde_json::to_vec(&PublishBulk { claims: chunk.claims }).unwrap().len();
            assert!(bytes <= limits::API_BODY_BYTES, "{bytes}");
        }
    }

    #[test]
    fn a_bad_line_is_named_and_nothing_comes_of_the_file() {
        let good = "{\"text\":\"t\",\"tags\":[\"a\"],\"parent_hash\":\"ab\"}\r\n";
        assert_eq!(chunks(good).unwrap()[0].claims[0].tags, ["a"]);
        let long = format!("{{\"text\":\"{}\"}}", "x".repeat(limits::CLAIM_TEXT_BYTES + 1));
        let endless = "x".repeat(limits::BULK_LINE_BYTES + 5);
        for (bad, words) in [
            ("{\"text\":\"t\"", "not a claim in JSON"),
            ("[]", "not a claim in JSON"),
            ("{\"text\":\"t\",\"tag\":[]}", "unknown field `tag`"),
            ("{\"tags\":[]}", "missing field `text`"),
            ("{\"text\":\" \"}", "`text` is empty"),
            ("{\"text\":\"a\\u0000\"}", "NUL"),
            (long.as_str(), "65537 bytes"),
            (endless.as_str(), "longer than"),
        ] {
            let error = chunks(&format!("{good}\n{bad}\n{good}")).unwrap_err();
            assert!(error.starts_with("f, line 3: ") && error.contains(words), "{error}");
            assert!(error.ends_with("nothing was published"), "{error}");
        }
        let not_utf8 = [good.as_bytes(), b"{\"text\":\"\xff\"}"].concat();
        let error = read(Box::new(not_utf8.as_slice()), "f").unwrap_err().to_string();
        assert!(error.starts_with("f, line 2: not UTF-8"), "{error}");
    }

    #[test]
    fn a_file_without_a_claim_is_refused() {
        for empty in ["", "\n", " \n\r\n"] {
            assert!(chunks(empty).unwrap_err().contains("has no claim in it"));
        }
    }
}
