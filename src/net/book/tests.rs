use super::*;
use crate::identity::SecretKey;
use crate::limits::{ADDRESS_GRACE_MS, BOOK_ADDRESSES_PER_PEER, CONNECT_MS, DIALS};

const START_MS: u64 = 1_700_000_000_000;

/// An identity that sorts by `rank`: the book only compares them.
fn someone(rank: u16) -> Identity {
    let mut keys: Vec<_> = (0..40_u8).map(|seed| SecretKey::from_seed(&[seed; 32]).identity()).collect();
    keys.sort_unstable();
    keys[usize::from(rank)]
}

/// Many identities, in no order.
fn crowd(count: usize) -> Vec<Identity> {
    (0..count)
        .map(|n| {
            let mut seed = [9; 32];
            seed[..8].copy_from_slice(&n.to_le_bytes());
            SecretKey::from_seed(&seed).identity()
        })
        .collect()
}

fn at(port: u16) -> Multiaddr {
    format!("/ip4/10.0.0.1/tcp/{port}").parse().unwrap()
}

fn book_of(rank: u16) -> AddressBook {
    AddressBook::new(someone(rank), 42)
}

#[test]
fn the_lower_identity_calls_first_and_the_other_soon_after() {
    for seed in 0..200 {
        let (mut low, mut high) = (AddressBook::new(someone(1), seed), AddressBook::new(someone(2), seed));
        assert!(low.discovered(someone(2), at(1), START_MS));
        assert!(high.discovered(someone(1), at(2), START_MS));
        let (first, second) = (low.next_due_ms().unwrap(), high.next_due_ms().unwrap());
        assert!(FIRST_CALLER_MS.contains(&(first - START_MS)), "{first}");
        assert!(SECOND_CALLER_MS.contains(&(second - START_MS)), "{second}");
    }
}

#[test]
fn what_a_person_adds_is_called_at_once() {
    let mut book = book_of(5);
    book.add(someone(1), at(1), Some("bob".into()), Keep::Always, START_MS).unwrap();
    assert!(book.take_changed());
    assert!(!book.take_changed());
    assert_eq!(book.due(START_MS, DIALS), [Dial { peer: someone(1), addresses: vec![at(1)] }]);
    assert_eq!(book.due(START_MS, DIALS), [], "it is being dialled");
}

#[test]
fn each_other_call_is_over_tcp_alone_where_there_is_tcp() {
    let (mut book, peer) = (book_of(5), someone(1));
    let quic = |port: u16| format!("/ip4/10.0.0.1/udp/{port}/quic-v1").parse::<Multiaddr>().unwrap();
    book.add(peer, quic(1), None, Keep::Always, START_MS).unwrap();
    let mut now = START_MS;
    let mut called = |book: &mut AddressBook| {
        now = book.next_due_ms().unwrap().max(now);
        let [Dial { addresses, .. }] = &book.due(now, DIALS)[..] else { panic!("nobody is called") };
        book.dial_failed(&peer, DialTrouble::TimedOut, now);
        addresses.clone()
    };
    assert_eq!([called(&mut book), called(&mut book)], [[quic(1)], [quic(1)]]);
    book.add(peer, at(2), None, Keep::Always, START_MS).unwrap();
    let (first, second, third) = (called(&mut book), called(&mut book), called(&mut book));
    assert_eq!((&first, second.len(), &third), (&vec![at(2)], 2, &vec![at(2)]));
}

#[test]
fn failures_back_off_to_a_minute_and_a_pinned_peer_is_never_given_up() {
    let mut book = book_of(1);
    let peer = someone(2);
    book.add(peer, at(1), None, Keep::Always, START_MS).unwrap();
    let (mut now, mut tries, mut pauses) = (START_MS, 0, Vec::new());
    while now < START_MS + 3 * PEER_MEMORY_MS / 100 {
        assert_eq!(book.due(now, DIALS).len(), 1);
        book.dial_failed(&peer, DialTrouble::Refused, now);
        let next = book.next_due_ms().unwrap();
        pauses.push(next - now);
        now = next;
        book.sweep(now);
        tries += 1;
    }
    assert!(pauses[0] <= SWEEP_MS && pauses[0] >= SWEEP_MS / 2, "{pauses:?}");
    assert!(pauses.iter().all(|pause| *pause <= REDIAL_MAX_MS));
    assert!(pauses[10..].iter().all(|pause| *pause >= REDIAL_MAX_MS / 2));
    assert!(tries > 100);
    book.sweep(START_MS + 10 * PEER_MEMORY_MS);
    assert_eq!(book.len(), 1);
}

/// A book whose peers were connected until `START_MS`, and whom it has called.
fn parted_from(peers: &[Identity]) -> AddressBook {
    let mut book = book_of(1);
    for peer in peers {
        book.add(*peer, at(1), None, Keep::Loosely, 0).unwrap();
    }
    book.due(0, DIALS);
    for peer in peers {
        book.connected(peer, Some(&at(1)), 0);
        book.disconnected(peer, START_MS);
    }
    book
}

/// Calls that take `lasts_ms` each and find nobody, until then; the times at which they began.
fn calls_in_vain(book: &mut AddressBook, lasts_ms: u64, until_ms: u64) -> Vec<u64> {
    let mut begun = Vec::new();
    while let Some(now_ms) = book.next_due_ms().filter(|at| *at < until_ms) {
        for call in book.due(now_ms, DIALS) {
            begun.push(now_ms);
            book.dial_failed(&call.peer, DialTrouble::TimedOut, now_ms + lasts_ms);
        }
    }
    begun
}

fn longest_pause(begun: &[u64]) -> u64 {
    begun.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap()
}

#[test]
fn who_was_here_of_late_is_called_each_second_or_two_and_by_who_is_alone_for_longer() {
    let (away, here) = (someone(2), someone(3));
    for (lasts_ms, most_ms) in [(1, REDIAL_MS.end), (CONNECT_MS, CONNECT_MS + FIRST_CALLER_MS.end)] {
        let mut book = parted_from(&[away]);
        let begun = calls_in_vain(&mut book, lasts_ms, START_MS + 10 * AWAY_MS);
        assert!(longest_pause(&begun) <= most_ms, "{}", longest_pause(&begun));
        // With somebody there it is the other that is away: each second or two for a while, and then rarely.
        let mut book = parted_from(&[away, here]);
        book.connected(&here, None, START_MS);
        let begun = calls_in_vain(&mut book, lasts_ms, START_MS + 10 * AWAY_MS);
        let (soon, later): (Vec<u64>, Vec<u64>) = begun.iter().partition(|at| **at < START_MS + AWAY_MS);
        assert!(longest_pause(&soon) <= most_ms, "{}", longest_pause(&soon));
        assert!(later.len() < 200 && longest_pause(&later) > REDIAL_MAX_MS / 2, "{} calls", later.len());
    }
}

#[test]
fn who_is_alone_calls_a_few_often_and_the_others_rarely() {
    let peers = crowd(3 * REDIAL_ALONE);
    let mut book = parted_from(&peers);
    // Those first that were seen last.
    for (peer, seen_ms) in peers.iter().zip(START_MS..) {
        book.connected(peer, None, seen_ms);
        book.disconnected(peer, seen_ms);
    }
    let from_ms = START_MS + 2 * AWAY_MS;
    let calls = calls_in_vain(&mut book, 1, from_ms + AWAY_MS).into_iter().filter(|at| *at > from_ms).count();
    let a_few = REDIAL_ALONE as u64 * AWAY_MS / REDIAL_MS.start;
    assert!((calls as u64) < a_few + peers.len() as u64 * AWAY_MS / (REDIAL_MAX_MS / 4), "{calls}");
    assert!(calls as u64 > a_few / 2, "{calls}");
}

#[test]
fn when_one_is_back_the_others_are_called_at_once_but_not_again_and_again() {
    let (back, away) = (someone(2), someone(3));
    let mut book = parted_from(&[back, away]);
    book.connected(&back, None, START_MS);
    let begun = calls_in_vain(&mut book, 1, START_MS + 3 * AWAY_MS);
    let now_ms = *begun.last().unwrap() + 2;
    assert!(book.next_due_ms().unwrap() > now_ms + FIRST_CALLER_MS.end);
    book.rally(now_ms);
    assert!(book.next_due_ms().unwrap() <= now_ms + FIRST_CALLER_MS.end);
    calls_in_vain(&mut book, 1, now_ms + FIRST_CALLER_MS.end);
    book.rally(now_ms + RALLY_MS - 1);
    assert!(book.next_due_ms().unwrap() > now_ms + RALLY_MS + FIRST_CALLER_MS.end);
}

#[test]
fn one_that_hangs_up_at_once_is_not_called_in_a_tight_loop() {
    let mut book = book_of(1);
    let peer = someone(2);
    book.add(peer, at(1), None, Keep::Always, START_MS).unwrap();
    let mut now = START_MS;
    for _ in 0..10 {
        book.due(now, DIALS);
        book.connected(&peer, Some(&at(1)), now);
        book.disconnected(&peer, now + 5);
        now = book.next_due_ms().unwrap();
    }
    assert!(now - START_MS > 2 * REDIAL_MAX_MS, "{}", now - START_MS);
    assert_eq!(book.known().next().unwrap().1.trouble, Some(DialTrouble::Dropped));
}

#[test]
fn a_lost_connection_is_redialled_at_once_however_often_it_failed_before() {
    let mut book = book_of(1);
    let peer = someone(2);
    book.add(peer, at(1), None, Keep::Always, START_MS).unwrap();
    for _ in 0..8 {
        book.due(u64::MAX / 2, DIALS);
        book.dial_failed(&peer, DialTrouble::TimedOut, START_MS);
    }
    book.connected(&peer, None, START_MS);
    assert_eq!(book.next_due_ms(), None);
    let gone = START_MS + SHORT_CONNECTION_MS;
    book.disconnected(&peer, gone);
    assert!(FIRST_CALLER_MS.contains(&(book.next_due_ms().unwrap() - gone)));
    assert_eq!(book.known().next().unwrap().1.last_seen_ms, Some(gone));
}

#[test]
fn addresses_that_mdns_lost_go_after_a_while_and_come_back_with_a_call() {
    let mut book = book_of(1);
    let peer = someone(2);
    book.discovered(peer, at(1), START_MS);
    book.due(START_MS + 1_000, DIALS);
    book.dial_failed(&peer, DialTrouble::TimedOut, START_MS);
    assert!(!book.discovered(peer, at(1), START_MS), "nothing new");
    book.expired(&peer, &at(1), START_MS);
    book.sweep(START_MS + ADDRESS_GRACE_MS - 1);
    assert_eq!(book.len(), 1);
    assert!(book.discovered(peer, at(1), START_MS + ADDRESS_GRACE_MS - 1), "heard again");
    book.sweep(START_MS + 2 * ADDRESS_GRACE_MS);
    assert_eq!(book.len(), 1);
    book.expired(&peer, &at(1), START_MS);
    book.sweep(START_MS + ADDRESS_GRACE_MS);
    assert!(book.is_empty());
}

#[test]
fn mdns_does_not_take_away_what_a_person_or_the_peer_itself_said() {
    let mut book = book_of(1);
    let peer = someone(2);
    book.discovered(peer, at(1), START_MS);
    book.identified(peer, &[at(1), at(2)], START_MS);
    book.add(peer, at(3), None, Keep::Loosely, START_MS).unwrap();
    book.disconnected(&peer, START_MS);
    for port in 1..=3 {
        book.expired(&peer, &at(port), START_MS);
    }
    book.sweep(START_MS + 2 * ADDRESS_GRACE_MS);
    assert_eq!(book.known().next().unwrap().1.addresses.len(), 3);
    book.identified(peer, &[at(2)], START_MS);
    let (_, known) = book.known().next().unwrap();
    assert_eq!(known.addresses, [(at(2), Source::Told), (at(3), Source::Given)], "its own list replaces the last one");
    book.not_there(&peer, &at(2));
    book.not_there(&peer, &at(3));
    assert_eq!(book.known().next().unwrap().1.addresses, [(at(3), Source::Given)]);
}

#[test]
fn a_peer_has_a_bounded_number_of_addresses_and_given_ones_stay() {
    let mut book = book_of(1);
    let peer = someone(2);
    book.add(peer, at(1), None, Keep::Loosely, START_MS).unwrap();
    for port in 2..100 {
        book.discovered(peer, at(port), START_MS + u64::from(port));
    }
    let (_, known) = book.known().next().unwrap();
    assert_eq!(known.addresses.len(), BOOK_ADDRESSES_PER_PEER);
    assert!(known.addresses.contains(&(at(1), Source::Given)));
    assert!(known.addresses.contains(&(at(99), Source::Mdns)), "the freshest stays");
}

#[test]
fn a_full_book_evicts_who_was_never_reached_then_who_was_seen_longest_ago() {
    let mut book = book_of(1);
    let all = crowd(BOOK_PEERS + 3);
    for (n, peer) in all[..BOOK_PEERS].iter().enumerate() {
        book.discovered(*peer, at(1), START_MS);
        if n >= 2 {
            book.connected(peer, Some(&at(1)), START_MS);
            book.disconnected(peer, START_MS + SHORT_CONNECTION_MS + n as u64);
        }
    }
    let has = |book: &AddressBook, peer| book.known().any(|(known, _)| known == peer);
    book.add(all[0], at(1), None, Keep::Session, START_MS).unwrap();
    assert!(book.discovered(all[BOOK_PEERS], at(1), START_MS));
    assert!(!has(&book, all[1]), "never reached");
    assert!(book.discovered(all[BOOK_PEERS + 1], at(1), START_MS));
    assert!(!has(&book, all[BOOK_PEERS]), "never reached either");
    book.connected(&all[BOOK_PEERS + 1], Some(&at(1)), START_MS);
    assert!(book.discovered(all[BOOK_PEERS + 2], at(1), START_MS));
    assert!(!has(&book, all[2]), "seen longest ago");
    assert!(has(&book, all[0]), "pinned");
    assert_eq!(book.len(), BOOK_PEERS);
}

#[test]
fn a_book_full_of_pinned_peers_says_so() {
    let mut book = book_of(1);
    for peer in crowd(BOOK_PEERS) {
        book.add(peer, at(1), None, Keep::Always, START_MS).unwrap();
    }
    assert_eq!(book.add(someone(2), at(1), None, Keep::Always, START_MS), Err(BookFull));
    assert!(!book.discovered(someone(2), at(1), START_MS));
}

#[test]
fn calls_are_bounded_and_nobody_starves() {
    let mut book = book_of(1);
    let all = crowd(100);
    for peer in &all {
        book.discovered(*peer, at(1), START_MS);
    }
    book.add(all[99], at(1), None, Keep::Always, START_MS).unwrap();
    let mut called = std::collections::BTreeSet::new();
    let mut now = START_MS + 5_000;
    for round in 0..20 {
        let dials = book.due(now, DIALS);
        assert!(dials.len() <= DIALS);
        assert_eq!(book.due(now, DIALS), [], "no room for more");
        assert!(round > 0 || dials[0].peer == all[99], "pinned first");
        for dial in dials {
            called.insert(dial.peer);
            book.dial_failed(&dial.peer, DialTrouble::TimedOut, now);
        }
        now += 1_000;
    }
    assert_eq!(called.len(), 100);
}

#[test]
fn a_stored_book_comes_back() {
    let mut book = book_of(1);
    book.add(someone(2), at(1), Some("bob".into()), Keep::Always, START_MS).unwrap();
    book.add(someone(3), at(2), None, Keep::Session, START_MS).unwrap();
    book.discovered(someone(4), at(3), START_MS);
    book.connected(&someone(4), Some(&at(3)), START_MS);
    let rows = book.entries();
    let bytes = crate::cbor::encode(&rows);
    let read: Vec<BookEntry> = crate::cbor::decode_lenient(&bytes, 1 << 20).unwrap();
    assert_eq!(read, rows);

    let mut back = AddressBook::from_entries(someone(1), 7, read, START_MS);
    assert_eq!(back.entries(), rows);
    assert_eq!(back.due(START_MS + 5_000, DIALS).len(), 3, "all are called after a start");
    back.dial_failed(&someone(4), DialTrouble::TimedOut, START_MS);
    back.sweep(START_MS + ADDRESS_GRACE_MS);
    assert_eq!(back.len(), 2, "mDNS must hear it again");

    let mut odd = rows;
    odd[0].peer = someone(1);
    odd[1].addresses[0].address = "/ip4/0.0.0.0/tcp/1".into();
    odd[2].last_seen_ms = u64::MAX;
    let back = AddressBook::from_entries(someone(1), 7, odd, START_MS);
    assert_eq!(back.len(), 1, "not ourselves, and nobody without an address");
    assert_eq!(back.known().next().unwrap().1.last_seen_ms, Some(START_MS));
}

#[test]
fn who_is_out_of_reach_for_too_long_is_forgotten() {
    let mut book = book_of(1);
    book.identified(someone(2), &[at(1)], START_MS);
    book.disconnected(&someone(2), START_MS);
    book.sweep(START_MS + PEER_MEMORY_MS - 1);
    assert_eq!(book.len(), 1);
    book.sweep(START_MS + PEER_MEMORY_MS);
    assert!(book.is_empty());
}

#[test]
fn who_was_heard_on_the_local_network_stays_known_for_that() {
    let mut book = book_of(5);
    assert!(book.discovered(someone(1), at(1), START_MS));
    book.connected(&someone(1), Some(&at(1)), START_MS);
    book.identified(someone(1), &[at(1)], START_MS);
    let known = book.get(&someone(1)).unwrap();
    assert_eq!((known.heard, known.addresses), (true, vec![(at(1), Source::Told)]));
    book.heard_of(someone(2), &[at(2)], START_MS);
    assert!(!book.get(&someone(2)).unwrap().heard);
}
