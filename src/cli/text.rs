//! Text for a terminal: aligned, and harmless whoever wrote it.
//!
//! **What peers wrote never reaches a terminal as control characters**: a claim cannot move the cursor, change the title or
//! turn the direction of the text. Styles are written always; the stream takes them out where it is no terminal.

use std::io::{self, Write};

use clap::builder::styling::Style;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::unseen::is_unseen;

/// Columns that one cell of free text may take in a table.
const CELL_COLUMNS: usize = 60;

/// Whether a character acts on a terminal or on the text around it: controls, the marks that turn its direction, and what nobody sees.
fn acts(found: char) -> bool {
    is_unseen(found)
}

/// Several lines of text; anything that acts, but line ends and tabs, becomes `U+FFFD`.
#[must_use]
pub fn harmless(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    text.chars().map(|found| if acts(found) && !matches!(found, '\n' | '\t') { '\u{FFFD}' } else { found }).collect()
}

/// Text on one line of at most `columns`, cut with `…`.
#[must_use]
pub fn one_line(text: &str, columns: usize) -> String {
    let mut line = String::new();
    let mut width = 0;
    let mut gap = false;
    for found in text.chars() {
        if found.is_whitespace() {
            gap = !line.is_empty();
            continue;
        }
        let found = if acts(found) { '\u{FFFD}' } else { found };
        let needed = found.width().unwrap_or(0) + usize::from(gap);
        if width + needed > columns {
            while width + 1 > columns {
                width -= line.pop().and_then(UnicodeWidthChar::width).unwrap_or(width);
            }
            line.push('…');
            return line;
        }
        if std::mem::take(&mut gap) {
            line.push(' ');
        }
        line.push(found);
        width += needed;
    }
    line
}

/// The first characters of a hash: enough to tell it from others in a table, and accepted as a prefix.
#[must_use]
pub fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

/// `1 block`, `2 blocks`.
#[must_use]
pub fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Rows under a heading, in columns as wide as they need.
#[derive(Debug)]
pub struct Table {
    heading: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table of these columns. Those whose heading ends with `#` hold numbers and are aligned to the right.
    #[must_use]
    pub fn new(heading: &[&'static str]) -> Self {
        Self { heading: heading.to_vec(), rows: Vec::new() }
    }

    /// Adds a row: one text per column, shown on one line each.
    pub fn row<const N: usize>(&mut self, cells: [&str; N]) {
        debug_assert_eq!(N, self.heading.len(), "a cell for each heading");
        // An id is never cut: it is there to be copied.
        let columns =
            |cell: &str| if cell.contains(char::is_whitespace) { CELL_COLUMNS } else { CELL_COLUMNS.max(128) };
        self.rows.push(cells.iter().map(|cell| one_line(cell, columns(cell))).collect());
    }

    /// Whether it has no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes the heading in bold, and the rows.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let names: Vec<&str> = self.heading.iter().map(|name| name.trim_end_matches('#')).collect();
        let mut widths: Vec<usize> = names.iter().map(|name| name.width()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.width().max(*width);
            }
        }
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut line = String::new();
            for ((cell, width), name) in cells.zip(&widths).zip(&self.heading) {
                let padding = " ".repeat(width.saturating_sub(cell.width()));
                let (before, after) = if name.ends_with('#') { (&*padding, "") } else { ("", &*padding) };
                line.extend([before, cell, after, "  "]);
            }
            line.truncate(line.trim_end().len());
            line
        };
        let bold = Style::new().bold();
        writeln!(out, "{bold}{}{bold:#}", line(&mut names.iter().copied()))?;
        self.rows.iter().try_for_each(|row| writeln!(out, "{}", line(&mut row.iter().map(String::as_str))))
    }
}

/// Writes names in bold with their values behind them, aligned.
///
/// # Errors
/// Those of `out`.
pub fn fields(out: &mut dyn Write, fields: &[(&str, String)]) -> io::Result<()> {
    let width = fields.iter().map(|(name, _)| name.width()).max().unwrap_or(0);
    let bold = Style::new().bold();
    for (name, value) in fields {
        let padding = " ".repeat(width - name.width());
        writeln!(out, "{bold}{name}{bold:#}{padding}  {}", harmless(value).replace('\n', " "))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(table: &Table) -> String {
        let mut bytes = Vec::new();
        table.write(&mut bytes).unwrap();
        anstream::adapter::strip_str(&String::from_utf8(bytes).unwrap()).to_string()
    }

    #[test]
    fn columns_are_aligned_whatever_the_script() {
        let mut table = Table::new(&["NAME", "BLOCKS#", "NOTE"]);
        table.row(["a", "7", "first"]);
        table.row(["日本", "1234567", ""]);
        table.row(["ärger", "12", "two\nlines"]);
        assert_eq!(
            plain(&table),
            "NAME    BLOCKS  NOTE\na            7  first\n日本   1234567\närger       12  two lines\n"
        );
    }

    #[test]
    fn only_the_heading_is_styled() {
        let mut table = Table::new(&["A"]);
        table.row(["x"]);
        let mut bytes = Vec::new();
        table.write(&mut bytes).unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), "\u{1b}[1mA\u{1b}[0m\nx\n");
    }

    #[test]
    fn long_text_is_cut_at_its_width_and_ids_are_not() {
        for (text, columns, expected) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("a\n\n b\tc ", 10, "a b c"),
            ("日本語", 4, "日…"),
            ("日本語", 6, "日本語"),
            ("ab cd", 3, "ab…"),
            ("", 3, ""),
        ] {
            assert_eq!(one_line(text, columns), expected, "{text:?} in {columns}");
            assert!(one_line(text, columns).width() <= columns);
        }
        let mut table = Table::new(&["ID", "TEXT"]);
        table.row([&"f".repeat(64), &"word ".repeat(40)]);
        let line = plain(&table).lines().nth(1).unwrap().to_owned();
        assert!(line.starts_with(&"f".repeat(64)) && line.ends_with('…') && line.width() <= 64 + 2 + CELL_COLUMNS);
    }

    #[test]
    fn nothing_that_acts_on_a_terminal_comes_through() {
        let evil = "a\u{1b}]0;title\u{7}b\u{9b}2Jc\u{202E}d\re\n\tf";
        let safe = harmless(evil);
        assert!(safe.chars().all(|found| !acts(found) || matches!(found, '\n' | '\t')), "{safe:?}");
        assert!(safe.ends_with("e\n\tf"));
        assert!(one_line(evil, 80).chars().all(|found| !acts(found)));
        assert_eq!(harmless("dos\r\nlines"), "dos\nlines");
    }

    #[test]
    fn fields_are_aligned() {
        let mut bytes = Vec::new();
        fields(&mut bytes, &[("id", "ab".into()), ("longer", "c\nd".into())]).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(anstream::adapter::strip_str(&text).to_string(), "id      ab\nlonger  c d\n");
    }
}
