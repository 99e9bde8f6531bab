use proptest::prelude::*;

use super::{Analyser, Kind, Side, Token};
use crate::limits::{QUERY_BYTES, TERM_BYTES};

/// Terms of a text; whole forms are marked with `=`.
fn terms(text: &str, side: Side) -> Vec<String> {
    let mut terms = Vec::new();
    Analyser::default().terms(text, side, &mut |Token { term, kind, .. }| {
        terms.push(if kind == Kind::Whole { format!("={term}") } else { term.to_owned() });
    });
    terms
}

fn check(table: &[(&str, &str)]) {
    for (text, want) in table {
        assert_eq!(terms(text, Side::Document).join(" "), *want, "document: {text}");
    }
}

#[test]
fn prose_is_folded_stopped_and_stemmed() {
    check(&[
        ("", ""),
        ("  \t\n -- ... !", ""),
        ("The nodes were synchronising, and the claims arrived.", "node synchronis claim arriv"),
        ("Sealing SEALED seals", "seal seal seal"),
        ("don't can't won't you're I'm it's", ""),
        ("the node’s notary's 'quoted'", "node notari quot"),
        ("l'avion d’une", "avion une"),
        ("e.g. i.e. etc. the U.S.A. and U.S.", "usa us"),
        ("state-of-the-art boundary-layer", "state art boundari layer"),
        ("p<0.05, (n=17); x|y", "p 0.05 n 17 x y"),
        ("1,000 genomes 3.14", "1000 genom 3.14"),
    ]);
}

#[test]
fn emoji_and_other_signs_are_terms() {
    check(&[
        ("Deployed 🚀", "deploy =🚀"),
        ("🚀launch done🎉!", "=🚀 launch done =🎉"),
        ("👍🏽 👍", "=👍 =👍"),
        ("❤️", "=❤"),
        ("🇩🇪🇫🇷", "=🇩🇪 =🇫🇷"),
        ("request → reply, 5 € ± 2", "request =→ repli 5 =€ =± 2"),
        ("├── src — “quoted” • item …", "src quot item"),
        ("🚀v1.2/linux", "=🚀 v1.2 linux =v1.2/linux"),
    ]);
}

#[test]
fn identifiers_are_found_whole_and_by_their_parts() {
    check(&[
        ("snake_case_name", "snake case name =snake_case_name"),
        ("SCREAMING_SNAKE", "scream snake =screaming_snake"),
        ("_private", "privat"),
        ("camelCaseName", "camel case name =camelcasenam"),
        ("HTTPServer", "http server =httpserver"),
        ("mRNA IDs RNAs PhD", "mrna id rnas phd"),
        ("miRNA", "mi rna =mirna"),
        ("src/knowledge/text.rs", "src knowledg text rs =text.rs =src/knowledge/text.rs"),
        ("main.rs:42", "main rs =main.rs 42 =main.rs:42"),
        (r"C:\Users\x", "c user x =c:\\users\\x"),
        ("libp2p::Swarm", "libp2p swarm =libp2p::swarm"),
        ("error[E0382]:", "error e0382"),
        ("v0.57.1 1.2.3", "v0.57.1 1.2.3"),
        ("IL-2 covid-19 10-20", "il 2 =il-2 covid 19 =covid-19 10 20"),
        ("--no-verify .gitignore", "verifi gitignor"),
        ("me@example.com", "exampl com =example.com =me@example.com"),
        ("C++ c# F#", "c =c++ c =c# f =f#"),
        ("{\"key\":\"value\"}", "key valu"),
        ("0x80070005", "0x80070005"),
    ]);
}

#[test]
fn every_script_has_terms_and_accents_do_not_matter() {
    check(&[
        ("Café naïve Straße Ærø Łódź İstanbul", "cafe naiv strass aero lodz istanbul"),
        ("ＦＵＬＬ ｗｉｄｔｈ ﬁne", "full width fine"),
        ("soft\u{ad}ware", "softwar"),
        ("Знание Ёлка", "знание елка"),
        ("ΓΝΏΣΗ γνώσης", "γνωση γνωσησ"),
        ("שָׁלוֹם", "שלום"),
        ("مُحَمَّد مـــن أحمد", "محمد من احمد"),
        ("ज्ञान का बाज़ार", "ज्ञान का बाज़ार"),
        ("知識の市場", "=知 知識 =識 識の =の の市 =市 市場 =場"),
        ("猫", "猫"),
        ("ﾊﾟｿｺﾝ が", "=パ パソ =ソ ソコ =コ コン =ン が"),
        ("서울에서", "=서 서울 =울 울에 =에 에서 =서"),
        ("ความรู้", "=ค คว =ว วา =า าม =ม มรู้ =รู้"),
        ("Rust言語2026", "rust =言 言語 =語 2026"),
    ]);
    assert_eq!(terms("知識の市場", Side::Query).join(" "), "知識 識の の市 市場");
    assert_eq!(terms("猫", Side::Query).join(" "), "猫");
}

#[test]
fn a_query_keeps_frequencies_spelling_and_sequence() {
    let query = Analyser::default().query("Sealing the blocks: which Blocks seal a block?");
    let rows: Vec<(&str, &str, u32)> =
        query.iter().map(|term| (term.term.as_str(), term.surface.as_str(), term.count)).collect();
    assert_eq!(rows, [("seal", "Sealing", 2), ("block", "blocks", 3)]);
}

#[test]
fn long_words_and_long_queries_are_bounded() {
    let long = "é".repeat(TERM_BYTES);
    assert!(terms(&long, Side::Document).iter().all(|term| term.len() <= TERM_BYTES));
    let word = "x1".repeat(TERM_BYTES);
    assert_eq!(terms(&word, Side::Document), [word[..TERM_BYTES].to_owned()]);
    let query = format!("{}tail", "sixteen ".repeat(QUERY_BYTES / 8));
    let found = Analyser::default().query(&query);
    assert_eq!(found.len(), 1, "text past the bound is not read");
}

proptest! {
    #[test]
    fn no_text_breaks_the_analyser(text in any::<String>()) {
        for side in [Side::Document, Side::Query] {
            for term in terms(&text, side) {
                prop_assert!(!term.is_empty() && term.len() <= TERM_BYTES + 1);
            }
        }
    }

    #[test]
    fn case_and_width_do_not_matter(word in "[a-z]{2,12}") {
        let wide: String = word.chars().filter_map(|c| char::from_u32(c as u32 - 0x21 + 0xff01)).collect();
        prop_assert_eq!(terms(&word, Side::Document), terms(&word.to_uppercase(), Side::Document));
        prop_assert_eq!(terms(&word, Side::Document), terms(&wide, Side::Document));
    }

    /// Whatever a document is made of, the same text as a query asks for terms that the document has.
    #[test]
    fn a_text_finds_itself(text in "\\PC{0,80}") {
        let document = terms(&text, Side::Document);
        let bare = |term: &String| term.trim_start_matches('=').to_owned();
        let known: Vec<String> = document.iter().map(bare).collect();
        for term in terms(&text, Side::Query) {
            prop_assert!(known.contains(&bare(&term)), "{} of {:?} is not in {:?}", term, text, document);
        }
    }
}
