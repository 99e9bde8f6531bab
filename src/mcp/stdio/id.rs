//! The id of a request that cannot be read: without it, whoever waits for its answer waits until it gives up.

use rmcp::model::RequestId;
use serde_json::Deserializer;

/// The `id` of the object that a line begins with, whatever is wrong with the rest of it.
pub(super) fn at_begin(line: &[u8]) -> Option<RequestId> {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(&byte) = line.get(at) {
        match byte {
            b'"' => {
                let end = string_end(line, at)?;
                let rest = line.get(end..)?.trim_ascii_start();
                if depth == 1
                    && line.get(at..end) == Some(b"\"id\"")
                    && let Some(value) = rest.strip_prefix(b":")
                {
                    return first(value).map(|(id, _)| id);
                }
                at = end;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    None
}

/// The `id` that the object at the end of a line ends with.
pub(super) fn at_end(line: &[u8]) -> Option<RequestId> {
    const KEY: &[u8] = b"\"id\"";
    let at = line.windows(KEY.len()).rposition(|window| window == KEY)?;
    let is_text = at.checked_sub(1).and_then(|before| line.get(before)) == Some(&b'\\');
    let value = line.get(at + KEY.len()..)?.trim_ascii_start().strip_prefix(b":")?;
    let (id, rest) = first(value)?;
    (!is_text && rest.trim_ascii() == b"}").then_some(id)
}

/// The id that a text begins with, and what follows.
fn first(text: &[u8]) -> Option<(RequestId, &[u8])> {
    let mut read = Deserializer::from_slice(text).into_iter::<RequestId>();
    let id = read.next()?.ok()?;
    Some((id, text.get(read.byte_offset()..)?))
}

/// Behind the closing quote of the string that begins at `at`.
fn string_end(line: &[u8], at: usize) -> Option<usize> {
    let mut end = at + 1;
    loop {
        match line.get(end)? {
            b'"' => return Some(end + 1),
            b'\\' => end += 2,
            _ => end += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{RequestId, at_begin, at_end};

    fn number(id: i64) -> Option<RequestId> {
        Some(RequestId::Number(id))
    }

    #[test]
    fn an_id_is_found_where_the_line_is_broken() {
        for (line, id) in [
            (&b"{\"jsonrpc\":\"2.0\",\"id\":42,\"method\":\"x\",\"params\":{\"t\":\"\\ud83d\"}}"[..], number(42)),
            (b"{\"params\":{\"id\":1,\"t\":\"\xff \\\" {\"}, \"id\" : 7}", number(7)),
            (b"{\"id\":9,\"meth", number(9)),
            (b"{\"method\":\"id\",\"params\":[[[[", None),
            (b"{\"params\":{\"id\":1}", None),
            (b"{\"t\":\"never ends\\", None),
            (b"\xff\xfe", None),
            (b"{\"id\":{\"a\":1}}", None),
            (b"", None),
        ] {
            assert_eq!(at_begin(line), id, "{}", String::from_utf8_lossy(line));
        }
        assert_eq!(at_begin(b"{\"id\":\"a\"}"), Some(RequestId::String("a".into())));
    }

    #[test]
    fn an_id_is_found_at_the_end_of_a_line_whose_middle_is_gone() {
        for (line, id) in [
            (&b"xxx\"},\"jsonrpc\":\"2.0\",\"id\":42}\n"[..], number(42)),
            (b"xxx\\\"id\\\":42}", None),
            (b"xxx\"params\":{\"id\":42}}", None),
            (b"xxx", None),
        ] {
            assert_eq!(at_end(line), id, "{}", String::from_utf8_lossy(line));
        }
    }
}
