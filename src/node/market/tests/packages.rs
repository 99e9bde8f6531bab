//! Packages from whoever has them: what is here stays here, and what is wrong has its verdict.

use super::*;
use crate::node::market::io::{NotFetched, Wanted};
use crate::package::{Commitment, PackageKey, encrypt, prove};
use crate::wire::market::GetPackage;

fn package(bytes: usize) -> (Vec<u8>, Commitment) {
    let content: Vec<u8> = (0..bytes).map(|at| (at % 247) as u8).collect();
    encrypt(&PackageKey::from_bytes([8; 32]), &content).unwrap()
}

const MANY: usize = 40 * limits::PACKAGE_CHUNK_BYTES + 5;

fn part(ciphertext: &[u8], asked: &GetPackage) -> Response {
    Response::Chunks((asked.from..asked.from + asked.count).filter_map(|index| prove(ciphertext, index)).collect())
}

/// A market that wants a package of seller 2, and is connected to these.
fn wanting(connected: &[u16], commitment: Commitment) -> One {
    let mut one = One::new(1);
    for peer in connected {
        one.connect(*peer);
    }
    one.asks();
    one.step(Input::Fetch(Wanted { commitment, seller: key(2).identity() }));
    one
}

/// The parts that it has asked for.
fn parts(one: &mut One) -> Vec<(Ticket, Identity, GetPackage)> {
    let package = |(ticket, peer, request)| match request {
        Request::Package(package) => Some((ticket, peer, package)),
        _ => None,
    };
    one.asks().into_iter().filter_map(package).collect()
}

/// What became of the fetch, once it is over.
fn fetched(one: &One) -> Option<Result<(), NotFetched>> {
    one.said.iter().find_map(|output| match output {
        Output::Notice(Notice::Fetched(_, result)) => Some(result.clone()),
        _ => None,
    })
}

/// Answers as each peer does until the package is whole and kept, or given up; gives how many chunks each peer sent.
fn finish(
    one: &mut One,
    ciphertext: &[u8],
    answer: impl Fn(&Identity, &GetPackage) -> Option<Result<Response, NoAnswer>>,
) -> BTreeMap<Identity, u32> {
    let mut sent = BTreeMap::new();
    let mut open = Vec::new();
    for _ in 0..1_000 {
        open.extend(parts(one));
        let stored = one.said.iter().find_map(|output| match output {
            Output::Store(commitment, bytes) => Some((*commitment, bytes == ciphertext)),
            _ => None,
        });
        if let Some((commitment, is_right)) = stored {
            assert!(is_right, "another package");
            one.step(Input::Stored(commitment.package, Ok(())));
        }
        if fetched(one).is_some() {
            return sent;
        }
        let ready = open.iter().position(|(_, peer, asked)| answer(peer, asked).is_some());
        match ready {
            Some(at) => {
                let (ticket, peer, asked) = open.remove(at);
                if let Some(result) = answer(&peer, &asked) {
                    let chunks = if let Ok(Response::Chunks(chunks)) = &result { chunks.len() } else { 0 };
                    *sent.entry(peer).or_default() += u32::try_from(chunks).unwrap();
                    one.answer(ticket, result);
                }
            }
            None => one.pass(500),
        }
    }
    panic!("it never ends");
}

#[test]
fn the_seller_is_asked_first_in_parts_and_nobody_for_the_same_twice() {
    let (ciphertext, commitment) = package(MANY);
    let mut one = wanting(&[2, 3, 4], commitment);
    let sent = finish(&mut one, &ciphertext, |_, asked| {
        assert!(asked.count <= limits::PACKAGE_RANGE_CHUNKS);
        Some(Ok(part(&ciphertext, asked)))
    });
    assert_eq!(sent, BTreeMap::from([(key(2).identity(), commitment.chunks())]));
    assert_eq!(fetched(&one), Some(Ok(())));
    assert!(one.blames().is_empty());
}

#[test]
fn a_fetch_that_is_cut_goes_on_with_another_peer_where_it_was() {
    let (ciphertext, commitment) = package(MANY);
    let mut one = wanting(&[2, 3], commitment);
    let asked = parts(&mut one);
    let (ticket, _, first) = &asked[0];
    one.answer(*ticket, Ok(part(&ciphertext, first)));
    // The seller goes in the middle; what was asked of it is lost.
    let lost: Vec<_> =
        asked[1..].iter().map(|(ticket, ..)| *ticket).chain(parts(&mut one).iter().map(|ask| ask.0)).collect();
    one.market.disconnected(&key(2).identity());
    one.tick();
    lost.into_iter().for_each(|ticket| one.answer(ticket, Err(NoAnswer::Lost)));
    let sent = finish(&mut one, &ciphertext, |peer, asked| {
        assert_eq!(*peer, key(3).identity());
        Some(Ok(part(&ciphertext, asked)))
    });
    assert_eq!(sent[&key(3).identity()], commitment.chunks() - first.count, "only what was not here");
    assert!(one.blames().is_empty() && one.market.unreported() <= 2, "all that is open are catalogues");
}

#[test]
fn who_sends_wrong_bytes_is_blamed_and_not_asked_again_and_the_fetch_goes_on() {
    let (ciphertext, commitment) = package(MANY);
    let (other, _) = encrypt(&PackageKey::from_bytes([1; 32]), &vec![0; MANY]).unwrap();
    type Lie = fn(&[u8], &[u8], &GetPackage) -> Result<Response, NoAnswer>;
    let lies: [(&str, Lie); 6] = [
        ("another package", |_, other, asked| Ok(part(other, asked))),
        ("other chunks of it", |good, _, asked| Ok(part(good, &GetPackage { from: asked.from + 1, ..asked.clone() }))),
        ("one changed byte", |good, _, asked| {
            let Response::Chunks(mut chunks) = part(good, asked) else { panic!() };
            chunks[1].chunk[77] ^= 1;
            Ok(Response::Chunks(chunks))
        }),
        ("no chunk", |_, _, _| Ok(Response::Chunks(vec![]))),
        ("another answer", |_, _, _| Ok(Response::Same)),
        ("no message", |_, _, _| Err(NoAnswer::Malformed)),
    ];
    for (why, lie) in lies {
        let mut one = wanting(&[2, 3], commitment);
        let sent = finish(&mut one, &ciphertext, |peer, asked| {
            Some(if *peer == key(2).identity() {
                lie(&ciphertext, &other, asked)
            } else {
                Ok(part(&ciphertext, asked))
            })
        });
        assert_eq!(fetched(&one), Some(Ok(())), "{why}");
        assert!(sent[&key(3).identity()] > 0);
        let blames = one.blames();
        assert!(!blames.is_empty() && blames.len() <= limits::FETCH_PARALLEL, "{why}: {blames:?}");
        assert!(blames.iter().all(|blame| *blame == (key(2).identity(), Severity::High)), "{why}");
    }
}

#[test]
fn where_a_peer_is_slow_others_are_asked_and_where_it_is_alone_it_is_waited_for() {
    let (ciphertext, commitment) = package(MANY);
    let mut one = wanting(&[2, 3], commitment);
    let sent =
        finish(&mut one, &ciphertext, |peer, asked| (*peer != key(2).identity()).then(|| Ok(part(&ciphertext, asked))));
    assert_eq!(sent[&key(3).identity()], commitment.chunks());
    assert!(one.now_ms < 2 * limits::FETCH_SLOW_MS, "{}", one.now_ms);
    // Alone, a peer that takes five seconds for a part is asked for less and less, and each part counts.
    let mut one = wanting(&[2], commitment);
    let mut counts = Vec::new();
    while fetched(&one).is_none() {
        let asked = parts(&mut one);
        one.pass(limits::FETCH_SLOW_MS + 2_000);
        assert!(parts(&mut one).is_empty(), "nothing is asked twice");
        for (ticket, _, asked) in asked {
            counts.push(asked.count);
            one.answer(ticket, Ok(part(&ciphertext, &asked)));
        }
        if one.said.iter().any(|output| matches!(output, Output::Store(..))) {
            one.step(Input::Stored(commitment.package, Ok(())));
        }
        assert!(one.now_ms < 10 * 60_000, "it does not get on");
    }
    assert_eq!((fetched(&one), counts[0], counts.last()), (Some(Ok(())), limits::PACKAGE_RANGE_CHUNKS, Some(&1)));
    assert!(one.blames().is_empty());
}

#[test]
fn who_does_not_have_it_or_is_busy_is_asked_again_later() {
    let (ciphertext, commitment) = package(MANY);
    let mut one = wanting(&[2, 3], commitment);
    for (ticket, peer, _) in parts(&mut one) {
        let why = if peer == key(2).identity() { Refused::Busy(700) } else { Refused::Unknown };
        one.answer(ticket, Ok(Response::Refused(why)));
    }
    for (ticket, ..) in parts(&mut one) {
        one.answer(ticket, Ok(Response::Refused(Refused::Unknown)));
    }
    assert!(parts(&mut one).is_empty());
    let sent = finish(&mut one, &ciphertext, |_, asked| Some(Ok(part(&ciphertext, asked))));
    assert_eq!(sent, BTreeMap::from([(key(2).identity(), commitment.chunks())]));
    assert!((700..2_000).contains(&one.now_ms) && one.blames().is_empty());
}

#[test]
fn a_seller_that_is_away_is_called_and_given_up_in_the_end() {
    let (ciphertext, commitment) = package(100);
    let mut one = wanting(&[], commitment);
    one.pass(limits::FETCH_GIVE_UP_MS - 1);
    let calls =
        one.said.iter().filter(|output| matches!(output, Output::Call(who) if *who == key(2).identity())).count();
    assert_eq!(calls as u64, limits::FETCH_GIVE_UP_MS / limits::FETCH_CALL_MS);
    assert_eq!(fetched(&one), None);
    one.pass(1);
    assert_eq!(fetched(&one), Some(Err(NotFetched::Nobody)));
    assert!(one.market.next_wake_ms().is_none(), "nothing is left to do");
    // It can be tried again, and comes as soon as the seller does.
    one.said.clear();
    one.step(Input::Fetch(Wanted { commitment, seller: key(2).identity() }));
    one.connect(2);
    finish(&mut one, &ciphertext, |_, asked| Some(Ok(part(&ciphertext, asked))));
    assert_eq!(fetched(&one), Some(Ok(())));
}

#[test]
fn few_packages_are_fetched_at_a_time_and_the_others_wait_in_bounds() {
    let (_, commitment) = package(MANY);
    let numbered = |number: usize| {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_be_bytes());
        Commitment { package: crate::package::PackageHash::from_bytes(hash), ..commitment }
    };
    let mut one = wanting(&[2, 3], numbered(0));
    let most = limits::FETCHES + limits::FETCHES_WAITING;
    for number in (0..=most).chain(0..most) {
        one.step(Input::Fetch(Wanted { commitment: numbered(number), seller: key(2).identity() }));
    }
    assert_eq!(one.market.fetches.counts(), (limits::FETCHES, limits::FETCHES_WAITING));
    let refused = |output: &&Output| matches!(output, Output::Notice(Notice::Fetched(_, Err(NotFetched::TooMany))));
    assert_eq!(one.said.iter().filter(refused).count(), 1);
    let asked: BTreeSet<_> = parts(&mut one).into_iter().map(|(.., asked)| asked.package).collect();
    assert_eq!(asked.len(), limits::FETCHES);
    one.step(Input::StopFetch(numbered(0).package));
    assert_eq!(one.market.fetches.counts(), (limits::FETCHES, limits::FETCHES_WAITING - 1));
}

#[test]
fn a_peer_asks_a_bounded_number_of_things_at_once() {
    let mut one = One::new(1);
    one.connect(2);
    let peer = key(2).identity();
    let ask = |one: &mut One| {
        let request = Request::Package(GetPackage { package: package(1).1.package, from: 0, count: 1 });
        one.step(Input::Asked { peer, id: InboundId(1), request });
        one.said.pop().unwrap()
    };
    for _ in 0..limits::MARKET_SERVED_PER_PEER {
        assert!(matches!(ask(&mut one), Output::Serve { .. }));
    }
    assert!(matches!(ask(&mut one), Output::Answer { response: Response::Refused(Refused::Busy(_)), .. }));
    one.step(Input::Served(peer));
    assert!(matches!(ask(&mut one), Output::Serve { .. }));
}
