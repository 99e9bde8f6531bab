//! Members who lie about who is here.

use crate::common::Daemon;
use crate::peer::{DAY_MS, Honest, Peer, daemon, is_sent_away, now_ms, sent_away};
use lbm::cbor;
use lbm::chain::GroupId;
use lbm::identity::SecretKey;
use lbm::limits;
use lbm::presence::{self, Presence, Status};
use lbm::wire::{Presences, Refused, Request, Response};

/// What a member says of itself at a time.
pub fn says(key: &SecretKey, group: GroupId, time_ms: u64) -> presence::Unverified {
    let presence = Presence { group, member: key.identity(), status: Status::Busy, metadata: None, time_ms };
    presence.sign(key).unwrap().to_unverified()
}

/// A record as somebody would sign it who does not look at what it says.
fn signed(key: &SecretKey, presence: &Presence) -> presence::Unverified {
    let body = cbor::encode(presence);
    let signature = key.sign(presence::SIGNATURE_DOMAIN, &body);
    presence::Unverified::new(body, signature)
}

/// Whose presence the daemon shows.
fn present(daemon: &Daemon, name: &str) -> Vec<String> {
    let list = daemon.ctl(&["presence", "list", "--group", name]).done();
    let rows = list["presence"].as_array().unwrap().iter();
    rows.map(|row| row["member_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn members_who_forge_presence_are_sent_away_and_nothing_is_shown() {
    let (alice, name, group) = daemon();
    let other_group: GroupId = alice.found("other").parse().unwrap();
    let honest = Honest::start(&alice, &name, group).await;
    let victim = SecretKey::from_seed(&[69; 32]);
    alice.add(&name, &victim.identity().to_string(), "member");
    let of_victim = |metadata: Option<String>| Presence {
        group,
        member: victim.identity(),
        status: Status::Offline,
        metadata,
        time_ms: now_ms(),
    };
    let mut forged = says(&victim, group, now_ms());
    forged.signature[3] ^= 1;
    let too_long = Some(format!("{{\"a\":\"{}\"}}", "x".repeat(limits::PRESENCE_METADATA_BYTES)));
    let cases = [
        ("a forged signature", vec![forged]),
        ("signed by another", vec![signed(&SecretKey::from_seed(&[60; 32]), &of_victim(None))]),
        ("of another group", vec![says(&victim, other_group, now_ms())]),
        ("metadata too long", vec![signed(&victim, &of_victim(too_long))]),
        ("metadata that is no object", vec![signed(&victim, &of_victim(Some("[1]".to_owned())))]),
        ("a body of nothing", vec![presence::Unverified::new(vec![0xff; 4_000], [1; 64])]),
    ];
    for (seed, (what, records)) in (60..).zip(cases) {
        let id = SecretKey::from_seed(&[seed; 32]).identity();
        alice.add(&name, &id.to_string(), "member");
        let mut eve = Peer::of(seed, &alice).await;
        let request = Request::Presences(Presences { group, records });
        assert_eq!(eve.ask(&request).await, Ok(Response::Refused(Refused::Malformed)), "{what}");
        assert!(!is_sent_away(&alice, &id), "{what}: once may be a fault of its own");
        assert!(eve.ask(&request).await.is_err() || is_sent_away(&alice, &id), "{what}");
        sent_away(&alice, &id).await;
        assert_eq!(present(&alice, &name), Vec::<String>::new(), "{what}");
    }
    honest.finish(&alice).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn presence_of_no_member_or_of_tomorrow_is_not_taken_and_nobody_is_blamed() {
    let (alice, name, group) = daemon();
    let mut member = Peer::of(71, &alice).await;
    alice.add(&name, &member.id.to_string(), "viewer");
    let mut send = async |records| {
        let answer = member.ask(&Request::Presences(Presences { group, records })).await.unwrap();
        (answer, present(&alice, &name))
    };
    let nobody = Vec::<String>::new();
    let member_key = SecretKey::from_seed(&[71; 32]);
    let again = Response::Refused(Refused::Busy(limits::PRESENCE_AGAIN_MS));
    let stranger = SecretKey::from_seed(&[72; 32]);
    for _ in 0..60 {
        assert_eq!(send(vec![says(&stranger, group, now_ms())]).await, (again.clone(), nobody.clone()));
        let tomorrow = says(&member_key, group, now_ms() + DAY_MS);
        assert_eq!(send(vec![tomorrow]).await, (Response::Taken, nobody.clone()));
    }
    let now = now_ms();
    let shown = vec![member_key.identity().to_string()];
    assert_eq!(send(vec![says(&member_key, group, now)]).await, (Response::Taken, shown.clone()));
    // What is older changes nothing.
    let offline =
        Presence { group, member: member_key.identity(), status: Status::Offline, metadata: None, time_ms: now - 1 };
    assert_eq!(send(vec![signed(&member_key, &offline)]).await, (Response::Taken, shown));
    let list = alice.ctl(&["presence", "list", "--group", &name]).done();
    assert_eq!(list["presence"][0]["status"], "busy", "{list}");
    assert!(!is_sent_away(&alice, &member_key.identity()));
}
