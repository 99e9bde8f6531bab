//! Characters that nobody sees: what a title, a name or a fence must not carry.
//!
//! A reader who is shown text cannot tell that they are there, and they can turn its direction, carry words that only a model reads, or
//! act on a terminal. **The table is part of the protocol**: signed titles are checked by it on every node alike, so that it is written
//! here, as of Unicode 17, and not taken from a library that grows with the standard.

/// Whether a character has no glyph of its own: controls, line and paragraph separators, what Unicode calls `Default_Ignorable_Code_Point`
/// (marks of direction, tags, fillers, variation selectors), anchors of annotations, the empty Braille pattern.
///
/// Joiners and the selectors between a sign and its picture ([`joins`]) are not among them: scripts and emoji need them.
#[must_use]
pub fn is_unseen(c: char) -> bool {
    if joins(c) {
        return false;
    }
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Whether a character has no glyph and changes how its neighbours are drawn: the joiners, and the choice between text and emoji.
#[must_use]
pub const fn joins(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe0e}' | '\u{fe0f}')
}

/// A text with its lines and tabs, and without what is not seen. Line ends of all kinds become `\n`; of joiners in a row, which could spell
/// something, no more stay than an emoji has.
pub fn shown(text: &str) -> impl Iterator<Item = char> {
    let mut chars = text.chars().peekable();
    let mut before = '\n';
    std::iter::from_fn(move || {
        loop {
            let c = match chars.next()? {
                '\r' if chars.peek() == Some(&'\n') => continue,
                '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => '\n',
                c @ ('\n' | '\t') => c,
                c if is_unseen(c) => continue,
                c if joins(c) => {
                    let is_of_emoji = before == '\u{fe0f}' && c == '\u{200d}';
                    if before.is_whitespace() || (joins(before) && !is_of_emoji) {
                        continue;
                    }
                    c
                }
                c => c,
            };
            before = c;
            return Some(c);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{is_unseen, shown};

    fn seen(text: &str) -> String {
        shown(text).collect()
    }

    #[test]
    fn what_cannot_be_seen_is_not_shown() {
        assert_eq!(seen("a\u{202e}b\r\nc\rd\u{2028}e\u{1b}[2Jf\u{e0041}\u{200b}\tg"), "ab\nc\nd\ne[2Jf\tg");
        let hidden = "\u{ad}\u{34f}\u{115f}\u{1160}\u{17b4}\u{17b5}\u{180e}\u{2800}\u{3164}\u{fe01}\u{ffa0}\u{1d173}\u{fff9}\u{e0100}";
        assert_eq!(seen(&format!("x{hidden}y")), "xy");
        assert!(hidden.chars().all(is_unseen));
        for c in ['a', ' ', 'é', '知', '\u{301}', '👩', '\u{1f1e9}'] {
            assert!(!is_unseen(c), "{c}");
        }
    }

    #[test]
    fn emoji_and_scripts_stay_and_joiners_spell_nothing() {
        for whole in ["👩\u{200d}💻", "❤\u{fe0f}\u{200d}🔥", "می\u{200c}خواهم", "☎\u{fe0e}"] {
            assert_eq!(seen(whole), whole);
        }
        assert_eq!(seen("a\u{200d}\u{200c}\u{200d}\u{200c}b"), "a\u{200d}b");
        assert_eq!(seen("\u{200d}a \u{200c}b"), "a b");
    }
}
