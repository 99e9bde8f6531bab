//! A text as a QR code, for a page that draws it.

use qrcode::{Color, EcLevel, QrCode};

/// The rows of the code, `1` for dark; none where the text is too long for one. Capitals take less room in a code: a ticket means the same
/// in them.
pub fn rows(text: &str) -> Option<Vec<String>> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let colors = code.to_colors();
    let dark = |color: &Color| if *color == Color::Dark { '1' } else { '0' };
    Some(colors.chunks(code.width()).map(|row| row.iter().map(dark).collect()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_a_square_with_three_eyes() {
        let rows = rows("LBM1QQQ").unwrap();
        assert!(rows.iter().all(|row| row.len() == rows.len()));
        let last = rows.len() - 7;
        for (row, at) in [(0, 0), (0, last), (last, 0)] {
            assert_eq!(&rows[row][at..at + 7], "1111111");
            assert_eq!(&rows[row + 1][at..at + 7], "1000001");
        }
        assert!(super::rows(&"x".repeat(4_000)).is_none());
    }
}
