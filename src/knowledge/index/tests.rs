use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Added, Hit, Index};
use crate::knowledge::{ClaimKey, Document};

fn document(text: &str) -> Document {
    Document { text: text.to_owned(), ..Document::default() }
}

const fn key(number: u8) -> ClaimKey {
    [number; 32]
}

fn index_of(texts: &[&str]) -> Index {
    let mut index = Index::new();
    for (number, text) in (0..).zip(texts) {
        index.add(key(number), &document(text)).unwrap();
    }
    index
}

fn found(index: &Index, query: &str) -> Vec<u8> {
    index.search(query, 100, &|_| true).iter().map(|hit| hit.key[0]).collect()
}

#[test]
fn more_of_a_word_ranks_higher_and_longer_text_lower() {
    let index = index_of(&[
        "seal block peer frontier",
        "seal seal block peer",
        "seal block peer frontier gossip ticket notary ledger",
        "frontier gossip",
    ]);
    assert_eq!(found(&index, "seals"), [1, 0, 2]);
}

#[test]
fn rarer_words_weigh_more_and_more_words_beat_one() {
    let index = index_of(&["common rare one", "common other two", "common third three", "common rare three"]);
    assert_eq!(found(&index, "common rare"), [0, 3, 1, 2]);
    assert_eq!(found(&index, "rare three"), [3, 0, 2]);
}

#[test]
fn repeating_a_word_in_the_query_weighs_it() {
    let index = index_of(&["alpha x", "beta x"]);
    assert_eq!(found(&index, "alpha beta beta"), [1, 0]);
    assert_eq!(found(&index, "alpha alpha beta"), [0, 1]);
}

#[test]
fn a_title_weighs_more_than_the_text_and_tags_are_searched() {
    let mut index = Index::new();
    index.add(key(0), &document("notary hand over procedure")).unwrap();
    let titled = Document { title: Some("notary".into()), text: "hand over procedure".into(), tags: Vec::new() };
    index.add(key(1), &titled).unwrap();
    let tagged = Document { title: None, text: "something else".into(), tags: vec!["hand-over".into()] };
    index.add(key(2), &tagged).unwrap();
    assert_eq!(found(&index, "notary"), [1, 0]);
    assert!(found(&index, "hand").contains(&2));
}

#[test]
fn ties_go_to_the_lower_key_whatever_came_first() {
    let mut index = Index::new();
    for number in [7, 3, 9, 1] {
        index.add(key(number), &document("equal words")).unwrap();
    }
    assert_eq!(found(&index, "equal words"), [1, 3, 7, 9]);
    let best: Vec<u8> = index.search("equal", 2, &|_| true).iter().map(|hit| hit.key[0]).collect();
    assert_eq!(best, [1, 3]);
}

#[test]
fn claims_in_any_script_and_identifiers_are_found() {
    let index = index_of(&[
        "知識の市場で黒猫を飼う",
        "Знание живёт в группе",
        "fails with E0382 in src/knowledge/text.rs",
        "le café est fermé",
        "ความรู้ของกลุ่ม",
        "call openConnection before use",
    ]);
    for (query, want) in [
        ("市場", 0),
        ("猫", 0),
        ("ЗНАНИЕ", 1),
        ("e0382", 2),
        ("text.rs", 2),
        ("src/knowledge/text.rs", 2),
        ("cafe ferme", 3),
        ("ความรู้", 4),
        ("connection", 5),
        ("OPENCONNECTION", 5),
    ] {
        assert_eq!(found(&index, query).first(), Some(&want), "{query}");
    }
}

#[test]
fn a_hit_says_why_in_the_words_of_the_query() {
    let index = index_of(&["sealing a block", "block of peers", "block again"]);
    let hits = index.search("Which Blocks are sealed or frobnicated?", 1, &|_| true);
    assert_eq!(hits[0].matched, ["sealed", "Blocks"]);
    assert!(hits[0].relevance >= 1.0);
}

#[test]
fn an_unrelated_long_query_is_told_by_its_relevance() {
    let index = index_of(&["the daemon listens on port 7400", "notary seals blocks", "tickets expire after a day"]);
    let hits = index.search("bake sourdough bread using a day old rye starter kept warm near the oven", 8, &|_| true);
    assert!(hits.iter().all(|hit| hit.relevance < 1.0), "{hits:?}");
    let hits = index.search("on which port does the daemon listen", 8, &|_| true);
    assert!(hits[0].relevance >= 1.0 && hits[0].key == key(0));
}

#[test]
fn a_misspelled_query_and_one_in_other_words_find_what_they_mean() {
    let index = index_of(&[
        "the database connection pool was exhausted",
        "a physician prescribed medicine to the patient",
        "keep the bread dough warm while it rises",
        "tickets expire after one day",
    ]);
    for (query, want, why) in
        [("databse conection pol exausted", 0, "similar spelling"), ("doctor giving drugs", 1, "similar meaning")]
    {
        let hits = index.search(query, 8, &|_| true);
        assert_eq!(hits.iter().map(|hit| hit.key[0]).collect::<Vec<_>>(), [want], "{query}: {hits:?}");
        assert!(hits[0].relevance >= 1.0 && hits[0].matched.is_empty());
        assert_eq!(hits[0].why(), [why]);
    }
    assert!(index.search("quarterly football scores", 8, &|_| true).is_empty());
}

#[test]
fn nothing_is_found_by_nothing() {
    let index = index_of(&["seal"]);
    for query in ["", "the of and", "unknown", "…"] {
        assert!(found(&index, query).is_empty(), "{query}");
    }
    assert!(index.search("seal", 0, &|_| true).is_empty());
    assert!(Index::new().search("seal", 10, &|_| true).is_empty());
}

#[test]
fn a_word_that_all_have_still_finds_them() {
    let texts = vec!["equal"; 200];
    assert_eq!(found(&index_of(&texts), "equal").len(), 100);
}

#[test]
fn the_filter_decides_before_the_choice() {
    let index = index_of(&["seal seal", "seal one", "seal two"]);
    let hits = index.search("seal", 1, &|doc| doc != 0);
    assert_eq!(hits[0].doc, 1);
}

#[test]
fn a_second_add_changes_nothing_and_a_removed_one_comes_back() {
    let mut index = index_of(&["seal", "block"]);
    assert_eq!(index.add(key(0), &document("seal")), Ok(Added::Known(0)));
    assert!(index.remove(&key(0)));
    assert!(!index.remove(&key(0)) && !index.remove(&key(9)));
    assert_eq!((index.find(&key(0)), index.len()), (None, 1));
    assert!(found(&index, "seal").is_empty());
    assert_eq!(index.add(key(0), &document("seal")), Ok(Added::New(0)));
    assert_eq!(found(&index, "seal"), [0]);
    index.remove(&key(0));
    index.vacuum();
    assert_eq!(index.add(key(0), &document("seal")), Ok(Added::New(2)));
    assert_eq!(found(&index, "seal"), [0]);
}

#[test]
fn removing_most_gives_memory_back_by_itself() {
    let mut index = Index::new();
    let key = |number: u32| *blake3::hash(&number.to_le_bytes()).as_bytes();
    for number in 0..9_000_u32 {
        index.add(key(number), &document(&format!("claim w{number} and some more words"))).unwrap();
    }
    let before = index.words.heap_bytes();
    (0..8_999).for_each(|number| assert!(index.remove(&key(number))));
    assert!(index.words.heap_bytes() < before && index.buried < 8_999);
    assert_eq!(index.search("claim", 10, &|_| true).len(), 1);
}

#[test]
fn documents_beyond_a_window_and_queries_beyond_the_bound_are_served() {
    let mut index = Index::new();
    for number in 0..10_000_u32 {
        let text = format!("claim number{number} {}", if number % 5_000 == 4_999 { "needle" } else { "hay" });
        index.add(*blake3::hash(&number.to_le_bytes()).as_bytes(), &document(&text)).unwrap();
    }
    let docs = |query: &str| {
        let mut docs: Vec<u32> = index.search(query, 5, &|_| true).iter().map(|hit| hit.doc).collect();
        docs.sort_unstable();
        docs
    };
    assert_eq!(docs("needle"), [4_999, 9_999]);
    let long: String = (0..700).map(|number| format!("unknown{number} ")).chain(["needle".into()]).collect();
    assert_eq!(docs(&long), [4_999, 9_999]);
}

/// What an answer says, without document numbers, which depend on the sequence of arrival.
fn answer(index: &Index, query: &str) -> Vec<(ClaimKey, u32, u32, Vec<String>)> {
    let row = |hit: Hit| (hit.key, hit.score.to_bits(), hit.relevance.to_bits(), hit.matched);
    index.search(query, 10, &|_| true).into_iter().map(row).collect()
}

#[derive(Debug, Clone)]
enum Step {
    Add(u8),
    Remove(u8),
    Vacuum,
}

proptest! {
    /// After any history, every answer is bit for bit that of a fresh index with the same documents in another sequence.
    #[test]
    fn history_leaves_no_trace(
        texts in prop::collection::vec("[a-f]{2,3}( [a-f]{2,3}){0,8}", 12),
        steps in prop::collection::vec(prop_oneof![
            6 => (0..12_u8).prop_map(Step::Add),
            4 => (0..12_u8).prop_map(Step::Remove),
            1 => Just(Step::Vacuum),
        ], 0..60),
        query in "[a-f]{2,3}( [a-f]{2,3}){0,4}",
    ) {
        let document = |number: u8| Document {
            title: (number.is_multiple_of(3)).then(|| texts[usize::from(number + 1) % 12].clone()),
            text: texts[usize::from(number)].clone(),
            tags: if number.is_multiple_of(2) { vec![texts[usize::from(number + 5) % 12].clone()] } else { Vec::new() },
        };
        let (mut index, mut model) = (Index::new(), BTreeMap::new());
        for step in steps {
            match step {
                Step::Add(number) => {
                    let added = index.add(key(number), &document(number)).unwrap();
                    prop_assert_eq!(matches!(added, Added::New(_)), model.insert(number, ()).is_none());
                }
                Step::Remove(number) => prop_assert_eq!(index.remove(&key(number)), model.remove(&number).is_some()),
                Step::Vacuum => index.vacuum(),
            }
        }
        let mut fresh = Index::new();
        for number in model.keys().rev() {
            fresh.add(key(*number), &document(*number)).unwrap();
        }
        prop_assert_eq!(index.len(), fresh.len());
        prop_assert_eq!(answer(&index, &query), answer(&fresh, &query));
    }
}

mod embedded {
    //! With an embedder: what its vectors bring, and that none is needed.

    use super::*;
    use crate::knowledge::index::Embedded;
    use crate::knowledge::vectors::Vectors;

    const QUERY: [f32; 3] = [1.0, 0.0, 0.0];

    fn vectors(folder: &tempfile::TempDir, of: &[(u8, [f32; 3])]) -> Vectors {
        let mut vectors = Vectors::open(&folder.path().join("v"), &[0; 32]).unwrap();
        vectors.append(&of.iter().map(|(number, vector)| (key(*number), vector.to_vec())).collect::<Vec<_>>()).unwrap();
        vectors
    }

    fn search(index: &Index, query: &str, vectors: &Vectors, filter: &dyn Fn(u32) -> bool) -> Vec<Hit> {
        let embedded = Embedded { vectors, query: &QUERY, unrelated: 0.1, deviation: 0.1 };
        index.search_with(query, 100, filter, Some(embedded))
    }

    #[test]
    fn it_finds_what_shares_no_word_and_turns_nothing_else_up() {
        let folder = tempfile::tempdir().unwrap();
        let index = index_of(&["qwfp zxcd", "arst neio", "luyj hmvk"]);
        let vectors = vectors(&folder, &[(0, [0.0, 1.0, 0.0]), (1, [0.9, 0.1, 0.0]), (2, [0.3, 0.9, 0.0])]);
        let found = search(&index, "bgtk", &vectors, &|_| true);
        assert_eq!(found.iter().map(|hit| hit.key[0]).collect::<Vec<_>>(), [1]);
        assert!(found[0].relevance >= 1.0 && found[0].why() == ["similar meaning"]);
        assert!(search(&index, "bgtk", &vectors, &|doc| doc != 1).is_empty());
    }

    #[test]
    fn a_claim_without_a_vector_is_scored_as_if_there_were_no_embedder() {
        let folder = tempfile::tempdir().unwrap();
        let texts = ["seal block peer", "seal frontier", "gossip ticket notary", "seal block ledger peer"];
        let index = index_of(&texts);
        let alone = index.search("seal block", 100, &|_| true);
        let none = vectors(&folder, &[]);
        assert_eq!(search(&index, "seal block", &none, &|_| true), alone);
        // One that has a vector moves; the others keep their scores and stay.
        let folder = tempfile::tempdir().unwrap();
        let one = vectors(&folder, &[(1, QUERY)]);
        let found = search(&index, "seal block", &one, &|_| true);
        assert_eq!(found.len(), alone.len());
        for hit in alone.iter().filter(|hit| hit.key != key(1)) {
            let same = found.iter().find(|found| found.key == hit.key).unwrap();
            assert_eq!((same.score, same.relevance), (hit.score, hit.relevance));
        }
        let moved = found.iter().find(|hit| hit.key == key(1)).unwrap();
        assert!(moved.score > alone.iter().find(|hit| hit.key == key(1)).unwrap().score);
    }

    #[test]
    fn vectors_of_removed_documents_and_of_other_dimensions_do_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let mut index = index_of(&["qwfp zxcd", "seal block"]);
        let vectors = vectors(&folder, &[(0, QUERY), (1, [0.0, 1.0, 0.0]), (9, QUERY)]);
        index.remove(&key(0));
        assert!(search(&index, "bgtk", &vectors, &|_| true).is_empty());
        let short = Embedded { vectors: &vectors, query: &[1.0], unrelated: 0.1, deviation: 0.1 };
        assert_eq!(index.search_with("seal", 9, &|_| true, Some(short)), index.search("seal", 9, &|_| true));
    }
}
