use proptest::prelude::*;

use super::{Added, Filter, Hit, Index};
use crate::identity::{Identity, SecretKey};
use crate::knowledge::segment::{Builder, Segment};
use crate::knowledge::{ClaimKey, Document, Stamp};

fn author(number: u8) -> Identity {
    SecretKey::from_seed(&[number; 32]).identity()
}

fn stamp() -> Stamp {
    Stamp { author: author(1), created_ms: 0 }
}

fn document(text: &str) -> Document {
    Document { text: text.to_owned(), ..Document::default() }
}

const fn key(number: u8) -> ClaimKey {
    [number; 32]
}

fn index_of(texts: &[&str]) -> Index {
    let mut index = Index::new();
    for (number, text) in (0..).zip(texts) {
        index.add(key(number), &document(text), &stamp(), 0).unwrap();
    }
    index
}

fn found(index: &Index, query: &str) -> Vec<u8> {
    index.search(query, 100, &Filter::ALL).iter().map(|hit| hit.key[0]).collect()
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
    index.add(key(0), &document("notary hand over procedure"), &stamp(), 0).unwrap();
    let titled = Document { title: Some("notary".into()), text: "hand over procedure".into(), tags: Vec::new() };
    index.add(key(1), &titled, &stamp(), 0).unwrap();
    let tagged = Document { title: None, text: "something else".into(), tags: vec!["hand-over".into()] };
    index.add(key(2), &tagged, &stamp(), 0).unwrap();
    assert_eq!(found(&index, "notary"), [1, 0]);
    assert!(found(&index, "hand").contains(&2));
}

#[test]
fn ties_go_to_the_lower_key_whatever_came_first() {
    let mut index = Index::new();
    for number in [7, 3, 9, 1] {
        index.add(key(number), &document("equal words"), &stamp(), 0).unwrap();
    }
    assert_eq!(found(&index, "equal words"), [1, 3, 7, 9]);
    let best: Vec<u8> = index.search("equal", 2, &Filter::ALL).iter().map(|hit| hit.key[0]).collect();
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
    let hits = index.search("Which Blocks are sealed or frobnicated?", 1, &Filter::ALL);
    assert_eq!(hits[0].matched, ["sealed", "Blocks"]);
    assert!(hits[0].relevance >= 1.0);
}

#[test]
fn an_unrelated_long_query_is_told_by_its_relevance() {
    let index = index_of(&["the daemon listens on port 7400", "notary seals blocks", "tickets expire after a day"]);
    let hits =
        index.search("bake sourdough bread using a day old rye starter kept warm near the oven", 8, &Filter::ALL);
    assert!(hits.iter().all(|hit| hit.relevance < 1.0), "{hits:?}");
    let hits = index.search("on which port does the daemon listen", 8, &Filter::ALL);
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
        let hits = index.search(query, 8, &Filter::ALL);
        assert_eq!(hits.iter().map(|hit| hit.key[0]).collect::<Vec<_>>(), [want], "{query}: {hits:?}");
        assert!(hits[0].relevance >= 1.0 && hits[0].matched.is_empty());
        assert_eq!(hits[0].why(), [why]);
    }
    assert!(index.search("quarterly football scores", 8, &Filter::ALL).is_empty());
}

#[test]
fn nothing_is_found_by_nothing() {
    let index = index_of(&["seal"]);
    for query in ["", "the of and", "unknown", "…"] {
        assert!(found(&index, query).is_empty(), "{query}");
    }
    assert!(index.search("seal", 0, &Filter::ALL).is_empty());
    assert!(Index::new().search("seal", 10, &Filter::ALL).is_empty());
}

#[test]
fn a_word_that_all_have_still_finds_them() {
    let texts = vec!["equal"; 200];
    assert_eq!(found(&index_of(&texts), "equal").len(), 100);
}

#[test]
fn the_filter_decides_before_the_choice() {
    let index = index_of(&["seal seal", "seal one", "seal two"]);
    let hits = index.search("seal", 1, &Filter { only: Some(&|doc| doc != 0), ..Filter::ALL });
    assert_eq!(hits[0].doc, 1);
}

#[test]
fn a_second_add_changes_nothing() {
    let mut index = index_of(&["seal", "block"]);
    assert_eq!(index.add(key(0), &document("seal"), &stamp(), 0), Ok(Added::Known));
    assert_eq!(index.add(key(2), &document("seal"), &stamp(), 0), Ok(Added::New));
    assert_eq!(index.len(), 3);
    for number in 0..3 {
        let doc = index.find(&key(number)).unwrap();
        assert_eq!(index.key(doc), Some(&key(number)));
    }
    assert_eq!((index.find(&key(9)), index.key(3)), (None, None));
}

#[test]
fn filters_of_time_author_and_tags_decide_in_every_segment() {
    let mut index = Index::new();
    for number in 0..40_u8 {
        let tags = (0..3).filter(|bit| number >> bit & 1 == 1).map(|bit| format!("t{bit}")).collect();
        let document = Document { title: None, text: "seal".into(), tags };
        let stamp = Stamp { author: author(number % 2), created_ms: u64::from(number) * 10 };
        index.add(key(number), &document, &stamp, 0).unwrap();
    }
    assert!(index.segments().len() > 1);
    let found =
        |filter: &Filter<'_>| -> Vec<u8> { index.search("seal", 100, filter).iter().map(|hit| hit.key[0]).collect() };
    let mut with_tags = found(&Filter { tags: &["t0".into(), "t2".into()], ..Filter::ALL });
    with_tags.sort_unstable();
    assert_eq!(with_tags, (0..40).filter(|number| number & 5 == 5).collect::<Vec<_>>());
    let filter = Filter { since_ms: Some(100), until_ms: Some(130), author: Some(author(1)), ..Filter::ALL };
    let mut in_time = found(&filter);
    in_time.sort_unstable();
    assert_eq!(in_time, [11, 13]);
    assert!(found(&Filter { tags: &["t9".into()], ..Filter::ALL }).is_empty());
    assert!(found(&Filter { author: Some(author(9)), ..Filter::ALL }).is_empty());
}

#[test]
fn few_segments_stay_of_many_documents() {
    let mut index = Index::new();
    for number in 0..1_000_u32 {
        let key = *blake3::hash(&number.to_le_bytes()).as_bytes();
        index.add(key, &document(&format!("claim w{number}")), &stamp(), u64::from(number)).unwrap();
    }
    assert!(index.segments().len() <= 7 * 4, "{}", index.segments().len());
    assert_eq!(index.len(), 1_000);
    let positions = index.segments().iter().map(Segment::positions);
    assert_eq!(positions.clone().map(|range| range.end - range.start).sum::<u64>(), 1_000);
    assert!(index.segments().iter().all(|segment| segment.is_whole()));
}

#[test]
fn documents_beyond_a_window_and_queries_beyond_the_bound_are_served() {
    let mut index = Index::new();
    for number in 0..10_000_u32 {
        let text = format!("claim number{number} {}", if number % 5_000 == 4_999 { "needle" } else { "hay" });
        index.add(*blake3::hash(&number.to_le_bytes()).as_bytes(), &document(&text), &stamp(), 0).unwrap();
    }
    let docs = |query: &str| {
        let mut docs: Vec<u32> = index.search(query, 5, &Filter::ALL).iter().map(|hit| hit.doc).collect();
        docs.sort_unstable();
        docs
    };
    assert_eq!(docs("needle"), [4_999, 9_999]);
    let long: String = (0..700).map(|number| format!("unknown{number} ")).chain(["needle".into()]).collect();
    assert_eq!(docs(&long), [4_999, 9_999]);
}

/// What an answer says, without document numbers, which depend on the sequence of arrival.
fn answer(index: &Index, query: &str, filter: &Filter<'_>) -> Vec<(ClaimKey, u32, u32, Vec<String>)> {
    let row = |hit: Hit| (hit.key, hit.score.to_bits(), hit.relevance.to_bits(), hit.matched);
    index.search(query, 10, filter).into_iter().map(row).collect()
}

#[derive(Debug, Clone)]
enum Step {
    /// Documents that are added as one segment.
    Add(usize),
    /// Segments that are put together, by their places.
    Merge(usize, usize),
}

proptest! {
    /// However documents are cut into segments, and whichever of those are put together: every answer is bit for bit that of one segment
    /// with the same documents in another sequence.
    #[test]
    fn a_cut_shows_in_no_answer(
        texts in prop::collection::vec("([a-f]{2,3}|seal|sealing|notary|bread)( [a-f]{2,3}| of peers| warm dough){0,8}", 30),
        steps in prop::collection::vec(prop_oneof![
            6 => (1..6_usize).prop_map(Step::Add),
            3 => (0..20_usize, 0..20_usize).prop_map(|(a, b)| Step::Merge(a, b)),
        ], 1..20),
        query in "([a-f]{2,3}|sealed|dow)( [a-f]{2,3}| notaries| bred){0,4}",
        tag in prop::bool::ANY,
    ) {
        let document = |number: usize| Document {
            title: (number.is_multiple_of(3)).then(|| texts[(number + 1) % 30].clone()),
            text: texts[number].clone(),
            tags: if number.is_multiple_of(2) { vec![texts[(number + 5) % 30].clone(), "even".into()] } else { Vec::new() },
        };
        let stamp = |number: usize| Stamp { author: author(number as u8 % 3), created_ms: number as u64 };
        let add = |builder: &mut Builder, number: usize| {
            builder.add(key(number as u8), &document(number), &stamp(number), number as u64);
        };
        let (mut segments, mut next) = (Vec::<Segment>::new(), 0);
        for step in steps {
            match step {
                Step::Add(count) => {
                    let mut builder = Builder::default();
                    let end = (next + count).min(texts.len());
                    (next..end).for_each(|number| add(&mut builder, number));
                    next = end;
                    segments.push(builder.finish());
                }
                Step::Merge(a, b) if !segments.is_empty() => {
                    let (a, b) = (a % segments.len(), b % segments.len());
                    let together: Vec<Segment> = segments.drain(a.min(b)..=a.max(b)).collect();
                    segments.push(Segment::merged(&together));
                }
                Step::Merge(..) => {}
            }
        }
        prop_assert!(segments.iter().all(Segment::is_whole));
        let cut = Index::of(segments);
        let mut builder = Builder::default();
        (0..next).rev().for_each(|number| add(&mut builder, number));
        let whole = Index::of([builder.finish()]);
        let mut one_by_one = Index::new();
        for number in 0..next {
            one_by_one.add(key(number as u8), &document(number), &stamp(number), 0).unwrap();
        }
        let tags = if tag { vec!["even".to_owned()] } else { vec![] };
        let filter = Filter { tags: &tags, ..Filter::ALL };
        let answers = [&cut, &whole, &one_by_one].map(|index| answer(index, &query, &filter));
        prop_assert_eq!(&answers[0], &answers[1]);
        prop_assert_eq!(&answers[0], &answers[2]);
        for number in 0..next {
            let (a, b) = (cut.find(&key(number as u8)).unwrap(), whole.find(&key(number as u8)).unwrap());
            prop_assert_eq!(cut.stems(a), whole.stems(b));
        }
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

    fn search(index: &Index, query: &str, vectors: &Vectors, filter: &Filter<'_>) -> Vec<Hit> {
        let embedded = Embedded { vectors, query: &QUERY, unrelated: 0.1, deviation: 0.1 };
        index.search_with(query, 100, filter, Some(embedded))
    }

    #[test]
    fn it_finds_what_shares_no_word_and_turns_nothing_else_up() {
        let folder = tempfile::tempdir().unwrap();
        let index = index_of(&["qwfp zxcd", "arst neio", "luyj hmvk"]);
        let vectors = vectors(&folder, &[(0, [0.0, 1.0, 0.0]), (1, [0.9, 0.1, 0.0]), (2, [0.3, 0.9, 0.0])]);
        let found = search(&index, "bgtk", &vectors, &Filter::ALL);
        assert_eq!(found.iter().map(|hit| hit.key[0]).collect::<Vec<_>>(), [1]);
        assert!(found[0].relevance >= 1.0 && found[0].why() == ["similar meaning"]);
        let others = |doc: u32| index.key(doc) != Some(&key(1));
        let filter = Filter { only: Some(&others), ..Filter::ALL };
        assert!(search(&index, "bgtk", &vectors, &filter).is_empty());
        let filter = Filter { author: Some(author(2)), ..Filter::ALL };
        assert!(search(&index, "bgtk", &vectors, &filter).is_empty());
    }

    #[test]
    fn a_claim_without_a_vector_is_scored_as_if_there_were_no_embedder() {
        let folder = tempfile::tempdir().unwrap();
        let texts = ["seal block peer", "seal frontier", "gossip ticket notary", "seal block ledger peer"];
        let index = index_of(&texts);
        let alone = index.search("seal block", 100, &Filter::ALL);
        let none = vectors(&folder, &[]);
        assert_eq!(search(&index, "seal block", &none, &Filter::ALL), alone);
        // One that has a vector moves; the others keep their scores and stay.
        let folder = tempfile::tempdir().unwrap();
        let one = vectors(&folder, &[(1, QUERY)]);
        let found = search(&index, "seal block", &one, &Filter::ALL);
        assert_eq!(found.len(), alone.len());
        for hit in alone.iter().filter(|hit| hit.key != key(1)) {
            let same = found.iter().find(|found| found.key == hit.key).unwrap();
            assert_eq!((same.score, same.relevance), (hit.score, hit.relevance));
        }
        let moved = found.iter().find(|hit| hit.key == key(1)).unwrap();
        assert!(moved.score > alone.iter().find(|hit| hit.key == key(1)).unwrap().score);
    }

    #[test]
    fn vectors_of_no_document_and_of_other_dimensions_do_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let index = index_of(&["qwfp zxcd", "seal block"]);
        let vectors = vectors(&folder, &[(1, [0.0, 1.0, 0.0]), (9, QUERY)]);
        assert!(search(&index, "bgtk", &vectors, &Filter::ALL).is_empty());
        let short = Embedded { vectors: &vectors, query: &[1.0], unrelated: 0.1, deviation: 0.1 };
        assert_eq!(index.search_with("seal", 9, &Filter::ALL, Some(short)), index.search("seal", 9, &Filter::ALL));
    }
}
