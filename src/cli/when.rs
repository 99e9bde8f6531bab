//! Points in time and spans, as people type and read them.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A point in time as it was typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Milliseconds since the Unix epoch.
    At(u64),
    /// So long before now.
    Ago(Duration),
    /// So long after now.
    In(Duration),
}

/// Why a time or a span is not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WhenError {
    /// Not a point in time.
    #[error(
        "expected a span before now (90s, 15m, 2h, 3d, 1w), RFC 3339 (2026-11-22T12:00:00Z), a day (2026-11-22), or milliseconds since 1970"
    )]
    Time,
    /// Not a point in time to come.
    #[error(
        "expected a span from now on (90s, 15m, 2h, 3d, 1w), RFC 3339 (2026-11-22T12:00:00Z), a day (2026-11-22), or milliseconds since 1970"
    )]
    Due,
    /// Before 1970.
    #[error("times before 1970 are none of ours")]
    Before1970,
    /// Not a span.
    #[error("expected a number with ms, s, m, h, d or w behind it, like 90s or 2h")]
    Span,
}

impl When {
    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn resolve(self, now_ms: u64) -> u64 {
        match self {
            Self::At(at_ms) => at_ms,
            Self::Ago(span) => now_ms.saturating_sub(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
            Self::In(span) => now_ms.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

/// Reads a point in time: milliseconds since the Unix epoch, RFC 3339, a day (its start in UTC), or a span before now.
///
/// # Errors
/// [`WhenError`].
pub fn parse_when(text: &str) -> Result<When, WhenError> {
    let text = text.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map(When::At).map_err(|_| WhenError::Time);
    }
    if let Ok(span) = parse_span(text) {
        return Ok(When::Ago(span));
    }
    let is_day = text.len() == "2026-11-22".len();
    let full = if is_day { format!("{text}T00:00:00Z") } else { text.to_owned() };
    let moment = OffsetDateTime::parse(&full, &Rfc3339).map_err(|_| WhenError::Time)?;
    u64::try_from(moment.unix_timestamp_nanos() / 1_000_000).map(When::At).map_err(|_| WhenError::Before1970)
}

/// Reads a point in time to come: as [`parse_when`] does, but for a span, which is one from now on.
///
/// # Errors
/// [`WhenError`].
pub fn parse_due(text: &str) -> Result<When, WhenError> {
    match parse_when(text) {
        Ok(When::Ago(span)) => Ok(When::In(span)),
        Err(WhenError::Time) => Err(WhenError::Due),
        other => other,
    }
}

/// Reads a span: a whole number and its unit.
///
/// # Errors
/// [`WhenError::Span`].
pub fn parse_span(text: &str) -> Result<Duration, WhenError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 604_800_000,
        _ => return Err(WhenError::Span),
    };
    let number: u64 = number.parse().map_err(|_| WhenError::Span)?;
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or(WhenError::Span)
}

/// How long ago something was, in one unit.
#[must_use]
pub fn ago(then_ms: u64, now_ms: u64) -> String {
    match now_ms.checked_sub(then_ms) {
        Some(0..1_000) => "now".to_owned(),
        Some(span_ms) => format!("{} ago", span(span_ms)),
        None if then_ms - now_ms < 1_000 => "now".to_owned(),
        None => format!("in {}", span(then_ms - now_ms)),
    }
}

/// A span in one unit, cut and not rounded.
#[must_use]
pub fn span(span_ms: u64) -> String {
    match span_ms {
        0..1_000 => format!("{span_ms} ms"),
        1_000..60_000 => format!("{} s", span_ms / 1_000),
        60_000..3_600_000 => format!("{} min", span_ms / 60_000),
        3_600_000..172_800_000 => format!("{} h", span_ms / 3_600_000),
        _ => format!("{} days", span_ms / 86_400_000),
    }
}

/// A point in time in full (RFC 3339, UTC), to the second.
#[must_use]
pub fn full(at_ms: u64) -> String {
    let seconds = i64::try_from(at_ms / 1_000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{at_ms} ms"))
}

/// Now, in milliseconds since the Unix epoch.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let ago = |seconds| Ok(When::Ago(Duration::from_secs(seconds)));
        for (text, expected) in [
            ("0", Ok(When::At(0))),
            ("1795348800000", Ok(When::At(1_795_348_800_000))),
            ("18446744073709551616", Err(WhenError::Time)),
            ("90s", ago(90)),
            ("15m", ago(900)),
            ("15min", ago(900)),
            ("2h", ago(7_200)),
            ("3d", ago(259_200)),
            ("1w", ago(604_800)),
            ("250ms", Ok(When::Ago(Duration::from_millis(250)))),
            ("1970-01-02", Ok(When::At(86_400_000))),
            ("2026-11-22T12:00:00Z", Ok(When::At(1_795_348_800_000))),
            ("2026-11-22T13:00:00.5+01:00", Ok(When::At(1_795_348_800_500))),
            (" 2h ", ago(7_200)),
            ("", Err(WhenError::Time)),
            ("h", Err(WhenError::Time)),
            ("2 h", Err(WhenError::Time)),
            ("-2h", Err(WhenError::Time)),
            ("2y", Err(WhenError::Time)),
            ("99999999999999999999w", Err(WhenError::Time)),
            ("2026-13-01", Err(WhenError::Time)),
            ("2026-11-22 12:00", Err(WhenError::Time)),
            ("ääääääääää", Err(WhenError::Time)),
            ("1969-12-31", Err(WhenError::Before1970)),
            ("yesterday", Err(WhenError::Time)),
        ] {
            assert_eq!(parse_when(text), expected, "{text:?}");
        }
        assert_eq!(When::Ago(Duration::from_secs(1)).resolve(5_000), 4_000);
        assert_eq!(When::Ago(Duration::MAX).resolve(5_000), 0);
        assert_eq!(When::At(7).resolve(5_000), 7);
    }

    #[test]
    fn times_are_told() {
        let now = 1_795_348_800_000;
        for (before_ms, told) in [
            (0, "now"),
            (999, "now"),
            (1_000, "1 s ago"),
            (59_999, "59 s ago"),
            (60_000, "1 min ago"),
            (3_599_999, "59 min ago"),
            (3_600_000, "1 h ago"),
            (172_799_999, "47 h ago"),
            (172_800_000, "2 days ago"),
        ] {
            assert_eq!(ago(now - before_ms, now), told);
        }
        assert_eq!(ago(now + 500, now), "now");
        assert_eq!(ago(now + 120_000, now), "in 2 min");
        assert_eq!(full(now + 999), "2026-11-22T12:00:00Z");
        assert_eq!(full(u64::MAX), format!("{} ms", u64::MAX));
    }

    #[test]
    fn what_is_told_in_full_is_read_again() {
        for at_ms in [0, 1_000, 1_795_348_800_000] {
            assert_eq!(parse_when(&full(at_ms)), Ok(When::At(at_ms)));
        }
    }
}
