//! One host after another at the gate.

use super::*;

fn with(per_host: u32, access: Access) -> Gate {
    Gate::new(per_host, access, Arc::new(Pace::new(6_000)), Arc::default())
}

fn id(n: usize) -> ConnectionId {
    ConnectionId::new_unchecked(n)
}

fn from(host: u8) -> Multiaddr {
    format!("/ip4/10.0.0.{host}/tcp/1").parse().unwrap()
}

fn comes(gate: &mut Gate, n: usize, host: u8) -> PeerId {
    let peer = PeerId::random();
    gate.let_in(id(n), &from(host)).unwrap();
    gate.welcome(id(n), peer, &from(host), true);
    peer
}

/// One address for each number.
fn at(n: usize) -> Multiaddr {
    format!("/ip4/10.0.{}.{}/tcp/1", n / 200, n % 200).parse().unwrap()
}

fn over_quic(n: usize) -> Multiaddr {
    format!("/ip4/10.0.{}.{}/udp/1/quic-v1", n / 200, n % 200).parse().unwrap()
}

/// What is counted.
fn counts(gate: &Gate) -> (usize, u32, usize) {
    (gate.hosts.len(), gate.strangers, gate.handshakes.len())
}

#[test]
fn one_host_has_its_share_and_gets_it_back() {
    let mut gate = with(2, Access::default());
    comes(&mut gate, 1, 1);
    assert_eq!(gate.let_in(id(2), &from(1)), Ok(()));
    assert_eq!(gate.let_in(id(3), &from(1)), Ok(()), "it may show who it is");
    gate.gone(id(3));
    assert_eq!(gate.let_in(id(4), &from(1)), Ok(()));
    gate.welcome(id(2), PeerId::random(), &from(1), true);
    assert!(!gate.is_on_trial(&id(1)) && !gate.is_on_trial(&id(2)));
    gate.welcome(id(4), PeerId::random(), &from(1), true);
    assert!(gate.is_on_trial(&id(4)));
    for n in 5..5 + TRIALS_PER_HOST as usize - 1 {
        comes(&mut gate, n, 1);
    }
    assert!(matches!(gate.let_in(id(90), &from(1)), Err(Refused::HostFull { limit: 2, .. })));
    assert_eq!(gate.refused().map(|(host, _)| host.to_string()).collect::<Vec<_>>(), ["10.0.0.1"]);
    assert_eq!(gate.let_in(id(91), &from(2)), Ok(()));
    gate.gone(id(90));
    assert!(gate.let_in(id(90), &from(1)).is_err(), "a refused one was never counted");
    gate.gone(id(1));
    assert_eq!(gate.let_in(id(90), &from(1)), Ok(()));
    let all: Vec<_> = gate.guests.keys().copied().collect();
    all.into_iter().chain([id(90), id(91)]).for_each(|guest| gate.gone(guest));
    assert_eq!(counts(&gate), (0, 0, 0));
}

#[test]
fn members_count_against_no_host_and_strangers_cannot_shut_them_out() {
    let mut gate = with(2, Access::default());
    let members: Vec<_> = (0..50)
        .map(|n| {
            let member = comes(&mut gate, n, 1);
            gate.vouch(member, true);
            member
        })
        .collect();
    // Strangers fill what is theirs; one more is on trial, and a member that comes then shows who it is.
    for n in 50..53 {
        comes(&mut gate, n, 1);
    }
    assert!((50..53).all(|n| gate.is_on_trial(&id(n))));
    let late = comes(&mut gate, 53, 1);
    gate.vouch(late, true);
    assert!(!gate.is_on_trial(&id(53)));
    // Another connection of a member is one of its own from the start.
    assert_eq!(gate.let_in(id(54), &from(1)), Ok(()));
    gate.welcome(id(54), late, &from(1), true);
    assert_eq!(gate.hosts[&IpAddr::from([10, 0, 0, 1])], 3);
    // Who is removed counts again.
    members.into_iter().for_each(|member| gate.vouch(member, false));
    assert_eq!(gate.strangers, 53);
    (0..55).for_each(|n| gate.gone(id(n)));
    assert_eq!(counts(&gate), (0, 0, 0));
    gate.vouch(PeerId::random(), true);
    assert_eq!(gate.vouched.len(), 1, "nobody is vouched for who is not here");
}

#[test]
fn who_has_many_addresses_keeps_nobody_from_shaking_hands() {
    for (address, other) in [(at as fn(usize) -> Multiaddr, over_quic as fn(usize) -> Multiaddr), (over_quic, at)] {
        let mut gate = with(10, Access::default());
        // Ten of each host, for as many hosts as are needed, and more.
        for n in 0..3 * PENDING_INBOUND_CONNECTIONS as usize {
            assert_eq!(gate.let_in(id(n), &address(n / 10)), Ok(()));
        }
        assert_eq!(gate.handshakes.len(), PENDING_INBOUND_CONNECTIONS as usize, "all are bounded");
        // Who comes from elsewhere is in nobody's way as long as one host has more than that: neither now nor as more come.
        assert_eq!(gate.let_in(id(900), &address(900)), Ok(()));
        assert_eq!(gate.let_in(id(901), &other(900)), Ok(()), "the other transport has room of its own");
        for n in 1_000..1_200 {
            let _ = gate.let_in(id(n), &address(n / 10));
        }
        for transport in [Transport::Tcp, Transport::Quic] {
            assert_eq!(gate.handshakes.of(host_of(&at(900)), transport), 1);
        }
        assert_eq!(gate.handshakes.len(), PENDING_INBOUND_CONNECTIONS as usize + 1);
        assert!(gate.refused().all(|(_, refusals)| refusals.why == Refused::ShakingHands));
        gate.welcome(id(900), PeerId::random(), &address(900), true);
        gate.gone(id(901));
        assert_eq!(gate.handshakes.of(host_of(&at(900)), Transport::Tcp), 0);
        assert_eq!(gate.handshakes.of(host_of(&at(900)), Transport::Quic), 0);
    }
}

#[test]
fn who_comes_again_and_again_gives_way_to_who_comes_once() {
    let mut gate = with(10, Access::default());
    // More hosts than there is room for, with one connection each: by that alone the oldest would have to go.
    let hosts = 3 * PENDING_INBOUND_CONNECTIONS as usize;
    let come = |gate: &mut Gate, n: usize| assert_eq!(gate.let_in(id(n), &at(n % hosts)), Ok(()));
    (0..3 * hosts).for_each(|n| come(&mut gate, n));
    assert_eq!(gate.let_in(id(9_999), &from(250)), Ok(()));
    (3 * hosts..6 * hosts).for_each(|n| come(&mut gate, n));
    assert_eq!(gate.handshakes.of(host_of(&from(250)), Transport::Tcp), 1);
}

#[test]
fn where_members_are_met_handshakes_give_way_last() {
    let mut gate = with(10, Access::default());
    let member = comes(&mut gate, 0, 77);
    gate.vouch(member, true);
    assert_eq!(gate.let_in(id(1), &from(77)), Ok(()));
    // As many hosts as connections: without that the oldest would have to go.
    for n in 2..4 * PENDING_INBOUND_CONNECTIONS as usize {
        assert_eq!(gate.let_in(id(n), &at(200 + n)), Ok(()));
    }
    assert_eq!(gate.handshakes.of(host_of(&from(77)), Transport::Tcp), 1);
    // Where members are everywhere, each has its turn, and then gives way.
    let mut gate = with(10, Access::default());
    let all = PENDING_INBOUND_CONNECTIONS as usize;
    (0..=all).for_each(|n| gate.expect_from(host_of(&at(n))));
    (0..all).for_each(|n| assert_eq!(gate.let_in(id(n), &at(n)), Ok(())));
    assert_eq!(gate.let_in(id(all), &at(all)), Err(Refused::ShakingHands));
    let began = Instant::now();
    while gate.let_in(id(all), &at(all)).is_err() {
        assert!(began.elapsed() < Duration::from_millis(20 * TURN_MS), "none gives way");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(gate.handshakes.len(), all);
    for n in 0..2 * KNOWN_HOSTS {
        gate.expect_from(host_of(&at(n)));
    }
    assert_eq!(gate.known.len(), KNOWN_HOSTS);
}

#[test]
fn a_host_full_of_handshakes_has_room_again_when_they_have_had_their_turn() {
    let mut gate = with(2, Access::default());
    assert_eq!((gate.let_in(id(1), &from(1)), gate.let_in(id(2), &from(1))), (Ok(()), Ok(())));
    assert!(matches!(gate.let_in(id(3), &from(1)), Err(Refused::HostFull { limit: 2, .. })));
    let began = Instant::now();
    while gate.let_in(id(3), &from(1)).is_err() {
        assert!(began.elapsed() < Duration::from_millis(20 * TURN_MS), "none gives way");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(gate.handshakes.len(), 2);
}

#[test]
fn strangers_are_bounded_in_all_and_give_way_to_who_comes() {
    let mut gate = with(10, Access::default());
    let most = (STRANGER_CONNECTIONS + TRIALS) as usize;
    let comes = |gate: &mut Gate, n: usize, from: Multiaddr| {
        assert_eq!(gate.let_in(id(n), &from), Ok(()));
        let peer = PeerId::random();
        gate.welcome(id(n), peer, &from, true);
        (peer, n)
    };
    // Honest strangers have one connection each, and one host ten.
    let honest = most - 10;
    (0..honest).for_each(|n| assert_eq!(comes(&mut gate, n, at(n)).1, n));
    (honest..most).for_each(|n| assert_eq!(comes(&mut gate, n, from(250)).1, n));
    assert_eq!((gate.strangers as usize, gate.leaving.len()), (most, 0));
    // A member comes, from where nobody knows it: one of that host's goes, and none when it is known who has come.
    let (member, n) = comes(&mut gate, most, at(900));
    let (_, left) = gate.leaving[0];
    assert_eq!((gate.strangers as usize, gate.leaving.len(), gate.guests[&left].host), (most, 1, host_of(&from(250))));
    gate.vouch(member, true);
    assert!(!gate.is_on_trial(&id(n)));
    assert_eq!(gate.strangers as usize, most - 1);
    // Where all hosts are alike it is one of those that there was no room for.
    for n in 0..50 {
        comes(&mut gate, 1_000 + n, at(1_000 + n));
    }
    assert_eq!(gate.strangers as usize, most);
    let stay = (0..STRANGER_CONNECTIONS as usize).filter(|n| gate.guests[&id(*n)].standing == Standing::Stranger);
    assert_eq!(stay.count(), STRANGER_CONNECTIONS as usize);
    let all: Vec<_> = gate.guests.keys().copied().collect();
    all.into_iter().for_each(|guest| gate.gone(guest));
    assert_eq!(counts(&gate), (0, 0, 0));
}

#[test]
fn members_are_bounded_too() {
    let mut gate = with(10, Access::default());
    let mut n = 0;
    while gate.let_in(id(n), &from((n / 200) as u8)).is_ok() {
        let member = PeerId::random();
        gate.welcome(id(n), member, &from((n / 200) as u8), true);
        gate.vouch(member, true);
        n += 1;
    }
    assert_eq!(n, INBOUND_CONNECTIONS as usize);
    // A stranger that came before them goes first.
    gate.vouch(gate.guests[&id(0)].peer, false);
    assert_eq!(gate.let_in(id(n), &from(9)), Ok(()));
    gate.welcome(id(n), PeerId::random(), &from(9), true);
    assert_eq!(gate.guests[&id(0)].standing, Standing::Leaving);
}

#[test]
fn refusals_are_remembered_within_bounds() {
    let mut gate = with(2, Access::default());
    for n in 0..=REFUSED_HOSTS {
        let host = IpAddr::from(u32::try_from(n).unwrap().to_be_bytes());
        gate.remember(host, Refused::Full);
        gate.remember(host, Refused::HostFull { limit: 2 });
    }
    assert_eq!(gate.refused().count(), REFUSED_HOSTS);
    assert!(gate.refused().all(|(_, refusals)| refusals.times == 2 && refusals.why != Refused::Full));
}

#[test]
fn a_peer_has_three_connections_and_a_banned_one_none() {
    let (mut gate, peer) = (with(10, Access::default()), PeerId::random());
    for n in 0..CONNECTIONS_PER_PEER as usize {
        assert!(gate.check_peer(&peer, &from(1)).is_ok());
        gate.welcome(id(n), peer, &from(1), true);
    }
    assert!(gate.check_peer(&peer, &from(1)).is_err());
    gate.peers.get_mut(&peer).unwrap().connections -= 1;
    assert!(gate.check_peer(&peer, &from(1)).is_ok());
    gate.ban(peer, Duration::from_secs(60));
    gate.ban(peer, Duration::ZERO);
    assert!(gate.check_peer(&peer, &from(1)).is_err());
    let brief = PeerId::random();
    gate.ban(brief, Duration::ZERO);
    assert!(gate.check_peer(&brief, &from(1)).is_ok());
    gate.ban(brief, Duration::MAX);
    assert!(gate.check_peer(&brief, &from(1)).is_err());
}

#[test]
fn a_host_that_comes_and_goes_has_to_wait() {
    let mut gate = with(10, Access::default());
    let mut come_and_go = |n: usize, host| {
        let come = gate.let_in(id(n), &from(host));
        gate.gone(id(n));
        come
    };
    let in_a_moment = (0..).take_while(|n| come_and_go(*n, 1).is_ok()).count();
    let most = CONNECTS_PER_HOST_PER_MIN as usize;
    assert!((most..most + 20).contains(&in_a_moment), "{in_a_moment}");
    assert!(matches!(come_and_go(0, 1), Err(Refused::TooOften)));
    assert_eq!(come_and_go(0, 2), Ok(()));
    // Over QUIC it counts once the address is known to be true: whoever forges it takes nothing from who has it.
    let mut gate = with(10, Access::default());
    for n in 0..3 * most {
        assert_eq!(gate.let_in(id(n), &over_quic(1)), Ok(()));
        gate.gone(id(n));
    }
    assert!((0..most).all(|_| gate.check_arrival(&over_quic(1)).is_ok()));
    assert!((0..most).any(|_| gate.check_arrival(&over_quic(1)).is_err()));
}

#[test]
fn the_lists_decide_before_the_handshake_and_after_it() {
    let deny = vec!["10.0.0.1".parse().unwrap()];
    let mut gate = with(10, Access { deny, ..Access::default() });
    assert_eq!(gate.let_in(id(1), &from(1)), Err(Refused::Denied));
    assert_eq!(gate.let_in(id(2), &from(2)), Ok(()));
    let eve = crate::identity::SecretKey::from_seed(&[9; 32]).identity();
    let deny = vec![crate::access::Rule::Peer(eve)];
    let mut gate = with(10, Access { deny, ..Access::default() });
    assert_eq!(gate.let_in(id(1), &from(1)), Ok(()));
    assert!(gate.check_peer(&crate::net::address::peer_id_of(&eve).unwrap(), &from(1)).is_err());
    assert!(gate.refuses(&eve));
}

#[test]
fn bans_are_bounded_and_the_shortest_goes_first() {
    let (mut gate, first) = (with(1, Access::default()), PeerId::random());
    gate.ban(first, Duration::from_secs(60));
    for _ in 1..=BANS {
        gate.ban(PeerId::random(), Duration::from_secs(3600));
    }
    assert_eq!(gate.bans.len(), BANS);
    assert!(gate.banned(&first).is_none());
}
