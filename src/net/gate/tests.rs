//! One host after another at the gate.

use super::*;

fn with(per_host: u32, access: Access) -> Gate {
    Gate::new(per_host, access, Arc::new(Pace::new(6_000)))
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
    gate.welcome(id(n), peer);
    peer
}

#[test]
fn one_host_has_its_share_and_gets_it_back() {
    let mut gate = with(2, Access::default());
    comes(&mut gate, 1, 1);
    assert_eq!(gate.let_in(id(2), &from(1)), Ok(()));
    assert_eq!(gate.let_in(id(3), &from(1)), Ok(()), "it may show who it is");
    gate.gone(id(3));
    assert_eq!(gate.let_in(id(4), &from(1)), Ok(()));
    gate.welcome(id(2), PeerId::random());
    assert!(!gate.is_on_trial(&id(1)) && !gate.is_on_trial(&id(2)));
    gate.welcome(id(4), PeerId::random());
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
    all.into_iter().for_each(|guest| gate.gone(guest));
    assert_eq!((gate.hosts.len(), gate.count.strangers, gate.count.shaking_hands), (0, 0, 0));
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
    gate.welcome(id(54), late);
    assert_eq!(gate.hosts[&IpAddr::from([10, 0, 0, 1])].strangers, 3);
    // Who is removed counts again.
    members.into_iter().for_each(|member| gate.vouch(member, false));
    assert_eq!(gate.count.strangers, 53);
    (0..55).for_each(|n| gate.gone(id(n)));
    assert_eq!((gate.hosts.len(), gate.count.strangers, gate.count.shaking_hands), (0, 0, 0));
    gate.vouch(PeerId::random(), true);
    assert_eq!(gate.vouched.len(), 1, "nobody is vouched for who is not here");
}

#[test]
fn handshakes_and_guests_are_bounded_in_all() {
    let mut gate = with(u32::MAX, Access::default());
    // From many hosts: one may not come as often.
    let of = |n: usize| format!("/ip4/10.0.{}.{}/tcp/1", n / 200, n % 200).parse().unwrap();
    let mut n = 0;
    while gate.let_in(id(n), &of(n)).is_ok() {
        n += 1;
    }
    assert_eq!(n, PENDING_INBOUND_CONNECTIONS as usize);
    for n in 0..n {
        gate.welcome(id(n), PeerId::random());
    }
    let mut fill = |is_vouched| loop {
        match gate.let_in(id(n), &of(n)) {
            Ok(()) => {
                let peer = PeerId::random();
                gate.welcome(id(n), peer);
                gate.peers.insert(peer, 1);
                gate.vouch(peer, is_vouched);
                n += 1;
            }
            Err(refused) => break (n, refused),
        }
    };
    let (strangers, refused) = fill(false);
    assert_eq!((strangers, refused), ((STRANGER_CONNECTIONS + TRIALS) as usize, Refused::Full));
    gate.gone(id(0));
    gate.gone(id(1));
    assert_eq!(gate.refused().count(), 2, "hosts whose connections were refused are remembered");
}

#[test]
fn members_are_bounded_too() {
    let mut gate = with(10, Access::default());
    let mut n = 0;
    while gate.let_in(id(n), &from((n / 200) as u8)).is_ok() {
        let member = PeerId::random();
        gate.welcome(id(n), member);
        gate.vouch(member, true);
        n += 1;
    }
    assert_eq!(n, INBOUND_CONNECTIONS as usize);
}

#[test]
fn refusals_are_remembered_within_bounds() {
    let mut gate = with(2, Access::default());
    for n in 0..=REFUSED_HOSTS {
        let host = IpAddr::from(u32::try_from(n).unwrap().to_be_bytes());
        gate.remember(host, Refused::Full);
        gate.remember(host, Refused::HostFull { host, limit: 2 });
    }
    assert_eq!(gate.refused().count(), REFUSED_HOSTS);
    assert!(gate.refused().all(|(_, refusals)| refusals.times == 2 && refusals.why != Refused::Full));
}

#[test]
fn a_peer_has_three_connections_and_a_banned_one_none() {
    let (mut gate, peer) = (with(10, Access::default()), PeerId::random());
    for n in 0..CONNECTIONS_PER_PEER as usize {
        assert!(gate.check_peer(&peer, &from(1)).is_ok());
        gate.welcome(id(n), peer);
    }
    assert!(gate.check_peer(&peer, &from(1)).is_err());
    leave(&mut gate.peers, &peer);
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
    assert!(matches!(come_and_go(0, 1), Err(Refused::TooOften { .. })));
    assert_eq!(come_and_go(0, 2), Ok(()));
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
