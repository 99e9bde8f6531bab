//! Joining on real daemons: by a ticket, with any member there, over restarts; by a request; and what strangers learn of it: nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;

use std::time::Duration;

use common::{Answer, Daemon, PATIENCE, agree, keys, wait_until};
use lbm::chain::GroupId;
use lbm::chain::transaction::Secret;
use lbm::identity::{Identity, SecretKey};
use lbm::join_request::JoinRequest;
use lbm::limits::AGENT_JOININGS;
use lbm::net::{AddressBook, NetConfig, NetEvent, Network, Protocol};
use lbm::ticket::{Checkpoint, Ticket};
use lbm::wire::node::{Admit, GetGroups, Over, Refused, Request, Response};
use serde_json::Value;

/// Makes a ticket; what is printed.
#[track_caller]
fn invite(admin: &Daemon, group: &str, args: &[&str]) -> Value {
    admin.ctl(&[&["group", "invite", "--group", group], args].concat()).done()
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("no `{key}` in {value}")).to_owned()
}

#[track_caller]
fn join(node: &Daemon, ticket: &str) -> Answer {
    node.ctl(&["group", "join", ticket, "--timeout", "25s"])
}

/// The role of a member, as a node sees it; none where it is none there.
fn role(at: &Daemon, group: &str, member: &str) -> Option<String> {
    let answer = at.ctl(&["group", "members", group]);
    if answer.code != Some(0) {
        return None;
    }
    let members = answer.json()["members"].as_array().unwrap().clone();
    let found = members.iter().find(|one| one["member_id"] == member)?;
    Some(text(found, "role"))
}

#[test]
fn a_pasted_ticket_is_all_that_a_second_machine_needs() {
    let (alice, bob) = (Daemon::start("alice"), Daemon::start("bob"));
    let group = alice.found("domain:research");
    let claim = alice.publish(&group, "Always validate inputs");
    let made = invite(&alice, &group, &[]);
    assert_eq!(keys(&made), ["block_id", "expires_ms", "group_id", "role", "ticket", "ticket_id", "uses"]);
    assert_eq!((&made["role"], &made["uses"]), (&"member".into(), &1.into()));
    let ticket = text(&made, "ticket");
    assert!(ticket.starts_with("lbm1") && ticket.len() <= 426, "{} letters", ticket.len());
    // No address was typed, and no key.
    let joined = join(&bob, &ticket).done();
    assert_eq!(
        (&joined["joined"], &joined["role"], &joined["name"]),
        (&true.into(), &"member".into(), &"domain:research".into())
    );
    assert_eq!(bob.claims(&group), [claim]);
    bob.publish(&group, "and bob writes");
    agree(&[&alice, &bob], &group);
    // What is left of it: a row without the secret, used up.
    let listed = alice.ctl(&["group", "invites", "--group", &group]).done();
    let row = &listed["invites"][0];
    assert_eq!(keys(row), ["expires_ms", "made_by", "made_ms", "role", "state", "ticket_id", "uses", "uses_left"]);
    assert_eq!(
        (&row["state"], &row["uses_left"], &row["made_by"]),
        (&"used_up".into(), &0.into(), &alice.id.clone().into())
    );
    assert!(!listed.to_string().contains(&ticket[20..60]));
    // A second time it says so, and takes nothing.
    join(&bob, &ticket).refused(1, &["already a member"]);
}

#[test]
fn any_member_lets_the_bearer_in_and_the_joining_outlives_the_daemon() {
    let (mut alice, mut bob, mut carol) = (Daemon::start("alice"), Daemon::start("bob"), Daemon::prepared("carol"));
    let group = alice.found("any");
    assert_eq!(join(&bob, &text(&invite(&alice, &group, &[]), "ticket")).done()["joined"], true);
    // Made while bob is there, it names bob as well.
    let ticket = text(&invite(&alice, &group, &["--uses", "2"]), "ticket");
    let named: Vec<String> =
        Ticket::from_text(&ticket).unwrap().contacts.iter().map(|contact| contact.member.to_string()).collect();
    assert_eq!(named, [alice.id.clone(), bob.id.clone()]);
    agree(&[&alice, &bob], &group);
    // Nobody is there: the node waits, says what to do, and waits again after it was killed.
    let bob_address = bob.address();
    let port = bob_address.split('/').nth(4).unwrap().to_owned();
    bob.args(&["--listen", &format!("/ip4/127.0.0.1/tcp/{port}"), "--no-mdns"]);
    alice.stop();
    bob.stop();
    carol.restart();
    let waits = carol.ctl(&["group", "join", &ticket, "--timeout", "1s"]);
    waits.refused(1, &["no member of the group", "goes on by itself"]);
    carol.kill();
    carol.restart();
    let pending = carol.ctl(&["group", "list"]).done();
    assert_eq!((&pending["groups"][0]["joining"], &pending["groups"][0]["name"]), (&true.into(), &"any".into()));
    // The inviter stays away: bob does it.
    bob.restart();
    wait_until(PATIENCE, "carol is a member", || role(&carol, &group, &carol.id).as_deref() == Some("member"));
    carol.publish(&group, "let in by bob");
    // And an agent of carol's by the same ticket, which is then used up.
    carol.ctl(&["agent", "create", "--name", "scout"]).ok();
    let scout = carol.ctl(&["--agent", "scout", "group", "join", &ticket, "--timeout", "25s"]).done();
    assert_eq!((&scout["joined"], &scout["role"]), (&true.into(), &"member".into()));
    carol.ctl(&["--agent", "scout", "claim", "publish", "--group", &group, "--text", "the agent writes"]).ok();
    let dave = Daemon::start("dave");
    join(&dave, &ticket).refused(1, &["is used up"]);
    alice.restart();
    agree(&[&alice, &bob, &carol], &group);
    // Removed by an admin, carol's agent comes back by no ticket; by name it does.
    let scout = carol.ctl(&["agent", "show", "scout"]).text("member_id");
    alice.ctl(&["group", "remove-member", "--group", &group, "--member", &scout]).ok();
    wait_until(PATIENCE, "carol knows", || role(&carol, &group, &scout).is_none());
    let another = text(&invite(&alice, &group, &["--uses", "9"]), "ticket");
    let refused = carol.ctl(&["--agent", "scout", "group", "join", &another, "--timeout", "25s"]);
    refused.refused(1, &["removed before"]);
    alice.add(&group, &scout, "member");
    wait_until(PATIENCE, "it is back", || role(&carol, &group, &scout).is_some());
}

#[test]
fn a_ticket_that_is_over_damaged_or_somebody_elses_lets_nobody_in() {
    let (alice, bob) = (Daemon::start("alice"), Daemon::start("bob"));
    let group = alice.found("shut");
    let made = invite(&alice, &group, &["--role", "viewer", "--expires", "1h"]);
    let ticket = text(&made, "ticket");
    // Copied with a fault, cut, of another version, and none at all.
    let swapped = if &ticket[50..51] == "q" { "p" } else { "q" };
    join(&bob, &format!("{}{swapped}{}", &ticket[..50], &ticket[51..])).refused(1, &["damaged", "copy it again"]);
    join(&bob, &ticket[..ticket.len() - 9]).refused(1, &["damaged"]);
    join(&bob, "hello").refused(1, &["neither a ticket nor the full id"]);
    // Revoked.
    alice.ctl(&["group", "uninvite", "--group", &group, &text(&made, "ticket_id")]).ok();
    join(&bob, &ticket).refused(1, &["was revoked", "ask an admin"]);
    assert_eq!(bob.ctl(&["group", "list"]).done()["groups"], serde_json::json!([]), "nothing of it is left");
    // Expired, by the clock of who lets in; the joiner's own margin is five minutes.
    let short = text(&invite(&alice, &group, &["--expires", "1s"]), "ticket");
    std::thread::sleep(Duration::from_millis(1_100));
    join(&bob, &short).refused(1, &["has expired"]);
    // Its maker is no admin any more.
    let ticket = text(&invite(&alice, &group, &[]), "ticket");
    let other = Daemon::start("other");
    assert_eq!(join(&other, &ticket).done()["joined"], true);
    alice.ctl(&["group", "set-role", "--group", &group, "--member", &other.id, "--role", "admin"]).ok();
    wait_until(PATIENCE, "the other is an admin", || role(&other, &group, &other.id).as_deref() == Some("admin"));
    let theirs = text(&invite(&other, &group, &[]), "ticket");
    alice.ctl(&["group", "set-role", "--group", &group, "--member", &other.id, "--role", "member"]).ok();
    wait_until(PATIENCE, "and is none", || role(&other, &group, &other.id).as_deref() == Some("member"));
    join(&bob, &theirs).refused(1, &["no admin any more"]);
    // A forger has the ticket's words and another secret: nobody knows that ticket.
    let mut forged = Ticket::from_text(&ticket).unwrap();
    forged.seed.0 = [7; 32];
    let forged = bob.ctl(&["group", "join", &forged.to_text().unwrap(), "--timeout", "2s"]);
    forged.refused(1, &["has let this node into the group"]);
    assert!(role(&alice, &group, &bob.id).is_none());
    // Only admins make one.
    other.ctl(&["group", "invite", "--group", &group]).refused(1, &["not an admin"]);
}

#[test]
fn a_ticket_made_on_one_branch_of_a_lying_notary_takes_no_other() {
    let (alice, bob) = (Daemon::start("alice"), Daemon::start("bob"));
    let group = alice.found("one-branch");
    wait_until(PATIENCE, "something is sealed", || {
        alice.publish(&group, "something to seal");
        alice.ctl(&["group", "show", &group]).done()["epoch"].as_u64() > Some(0)
    });
    let good = Ticket::from_text(&text(&invite(&alice, &group, &[]), "ticket")).unwrap();
    let mut checkpoint = good.checkpoint.unwrap();
    checkpoint.block[0] ^= 1;
    let other = Ticket { checkpoint: Some(checkpoint), ..good };
    join(&bob, &other.to_text().unwrap()).refused(1, &["another history"]);
    wait_until(PATIENCE, "nothing of it is kept", || {
        bob.ctl(&["group", "list"]).done()["groups"] == serde_json::json!([])
    });
}

/// A ticket into a group of which its maker knows nothing but the id: nobody would let its bearer in.
fn forged(group: &str, like: &Ticket, checkpoint: Option<Checkpoint>) -> String {
    let (seed, discovery_secret) = (Secret([66; 32]), Secret([67; 32]));
    let ticket = Ticket { group: group.parse().unwrap(), seed, discovery_secret, checkpoint, ..like.clone() };
    ticket.to_text().unwrap()
}

#[test]
fn a_forged_ticket_takes_nothing_away_and_an_agent_has_no_more_than_its_share_of_joinings() {
    let alice = Daemon::start("alice");
    let group = alice.found("vault");
    let claim = alice.publish(&group, "what nobody may take away");
    wait_until(PATIENCE, "something is sealed", || {
        alice.publish(&group, "something to seal");
        alice.ctl(&["group", "show", &group]).done()["epoch"].as_u64() > Some(0)
    });
    let good = Ticket::from_text(&text(&invite(&alice, &group, &[]), "ticket")).unwrap();
    let mut checkpoint = good.checkpoint.unwrap();
    checkpoint.block[0] ^= 1;
    // An agent without a right in any group, on the founder's own node.
    alice.ctl(&["agent", "create", "--name", "evil"]).ok();
    let ticket = forged(&group, &good, Some(checkpoint));
    let answer = alice.ctl(&["--agent", "evil", "group", "join", &ticket, "--timeout", "3s"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(alice.claims(&group).contains(&claim));
    assert_eq!(alice.ctl(&["group", "verify", &group]).done()["ok"], true);
    // It may begin some joinings that come to nothing, and leaves room for others.
    let mut begun = 0;
    for number in 0..=AGENT_JOININGS {
        let nowhere = blake3::hash(&number.to_be_bytes()).to_hex().to_string();
        let ticket = forged(&nowhere, &good, None);
        let answer = alice.ctl(&["--agent", "evil", "group", "join", &ticket, "--no-wait"]);
        if answer.code == Some(0) {
            begun += 1;
        } else {
            answer.refused(1, &["groups are being joined"]);
        }
    }
    assert!(begun <= AGENT_JOININGS, "{begun}");
    let other = Daemon::start("other");
    let theirs = other.found("elsewhere");
    other.publish(&theirs, "for alice");
    let ticket = text(&invite(&other, &theirs, &[]), "ticket");
    // As a person pastes it who wants it in no list of processes.
    let joined = alice.ctl_with(&["group", "join", "-", "--timeout", "25s"], format!("{ticket}\n").as_bytes());
    assert_eq!(joined.done()["joined"], true);
    // With the agent end its joinings.
    alice.ctl(&["agent", "revoke", "evil"]).ok();
    alice.ctl(&["agent", "create", "--name", "good"]).ok();
    agree(&[&alice, &other], &theirs);
}

#[test]
fn who_has_no_ticket_asks_and_an_admin_decides() {
    let (alice, bob, carol, dave) =
        (Daemon::start("alice"), Daemon::start("bob"), Daemon::start("carol"), Daemon::start("dave"));
    let group = alice.found("asked");
    assert_eq!(join(&bob, &text(&invite(&alice, &group, &[]), "ticket")).done()["joined"], true);
    // Carol meets bob alone, who is no admin: the request reaches alice through him.
    carol.meet(&bob);
    let asks = carol.ctl(&["group", "join", &group, "--note", "Carol from the lab", "--timeout", "500ms"]);
    asks.refused(1, &["group requests"]);
    let requests =
        || alice.ctl(&["group", "requests", "--group", &group]).done()["requests"].as_array().unwrap().clone();
    wait_until(PATIENCE, "alice sees it", || requests().len() == 1);
    let request = &requests()[0];
    assert_eq!(keys(request), ["asked_ms", "came_ms", "group_id", "member_id", "name", "note"]);
    assert_eq!((text(request, "member_id"), text(request, "name")), (carol.id.clone(), "carol".to_owned()));
    assert_eq!(text(request, "note"), "Carol from the lab");
    let told = alice.ctl(&["events"]).stdout;
    assert!(told.contains("\"join_request\"") && told.contains("Carol from the lab"), "{told}");
    // Who is no admin sees none, and decides none.
    assert_eq!(bob.ctl(&["group", "requests"]).done()["requests"], serde_json::json!([]));
    bob.ctl(&["group", "approve", &group, &carol.id]).refused(1, &["not an admin"]);
    alice.ctl(&["group", "approve", &group, &dave.id]).refused(1, &["has not asked"]);
    alice.ctl(&["group", "approve", &group, &carol.id, "--role", "viewer"]).ok();
    assert_eq!(requests(), [] as [Value; 0]);
    wait_until(PATIENCE, "carol is in", || role(&carol, &group, &carol.id).as_deref() == Some("viewer"));
    // Dave is denied: the request is gone, and comes back by no repetition.
    dave.meet(&alice);
    let _asked = dave.ctl(&["group", "join", &group, "--timeout", "200ms"]);
    wait_until(PATIENCE, "alice sees that too", || requests().len() == 1);
    alice.ctl(&["group", "deny", &group, &dave.id]).ok();
    wait_until(PATIENCE, "dave is told", || {
        dave.ctl(&["group", "list"]).done()["groups"][0]["refused"] == "request_denied"
    });
    assert!(dave.ctl(&["events"]).stdout.contains("request_denied"));
    let again = dave.ctl(&["group", "join", &group, "--note", "please", "--timeout", "2s"]);
    again.refused(1, &["has denied", "ask an admin for a ticket"]);
    assert_eq!(requests(), [] as [Value; 0]);
    assert!(role(&alice, &group, &dave.id).is_none());
}

#[test]
fn a_member_keeps_a_request_over_a_restart_until_an_admin_is_met_and_who_asked_takes_it_back() {
    let (mut alice, mut bob, mut carol) = (Daemon::start("alice"), Daemon::start("bob"), Daemon::prepared("carol"));
    let group = alice.found("handed-on");
    assert_eq!(join(&bob, &text(&invite(&alice, &group, &[]), "ticket")).done()["joined"], true);
    agree(&[&alice, &bob], &group);
    alice.stop();
    // She never meets an admin.
    carol.args(&["--no-mdns"]);
    carol.restart();
    carol.meet(&bob);
    let _asked = carol.ctl(&["group", "join", &group, "--note", "Carol", "--timeout", "500ms"]);
    bob.kill();
    carol.kill();
    bob.restart();
    alice.restart();
    bob.meet(&alice);
    let requests =
        || alice.ctl(&["group", "requests", "--group", &group]).done()["requests"].as_array().unwrap().clone();
    wait_until(PATIENCE, "alice sees it", || requests().len() == 1);
    assert_eq!(text(&requests()[0], "member_id"), carol.id);
    // Taken back while nobody is there to hear it: they hear when they are met.
    carol.restart();
    carol.ctl(&["group", "leave", &group]).ok();
    assert_eq!(carol.ctl(&["group", "list"]).done()["groups"], serde_json::json!([]));
    carol.meet(&bob);
    wait_until(PATIENCE, "alice sees it no more", || requests().is_empty());
}

#[test]
fn what_is_printed_of_a_ticket_can_be_piped_and_pasted_and_the_operator_sees_what_its_agents_join() {
    let (alice, bob) = (Daemon::start("alice"), Daemon::start("bob"));
    let group = alice.found("piped");
    let printed = alice.lbm(&["ctl", "group", "invite", "--group", &group]);
    printed.ok();
    let ticket = printed.stdout.trim_end();
    assert!(Ticket::from_text(ticket).is_ok(), "{}", printed.stdout);
    assert!(printed.stderr.contains("comes in as member"), "{}", printed.stderr);
    // Nobody of the group can be reached: its agent waits, and both see it.
    let nowhere = forged(&blake3::hash(b"nowhere").to_hex(), &Ticket::from_text(ticket).unwrap(), None);
    bob.ctl(&["agent", "create", "--name", "scout"]).ok();
    bob.ctl(&["--agent", "scout", "group", "join", &nowhere, "--no-wait"]).ok();
    let joining = bob.ctl(&["group", "list"]).done()["groups"][0].clone();
    assert_eq!((&joining["joining"], &joining["agent"]), (&true.into(), &"scout".into()));
    let own = bob.ctl(&["--agent", "scout", "group", "list"]).done()["groups"][0].clone();
    assert_eq!((&own["joining"], &own["agent"]), (&true.into(), &Value::Null));
    // As it is copied out of a message, with its quotes.
    assert_eq!(join(&bob, &format!("\"{ticket}\"")).done()["joined"], true);
    // What somebody asks is the admins' business, not each agent's.
    alice.ctl(&["agent", "create", "--name", "reader"]).ok();
    let reader = alice.ctl(&["agent", "show", "reader"]).text("member_id");
    alice.add(&group, &reader, "viewer");
    let carol = Daemon::start("carol");
    carol.meet(&alice);
    let _asked = carol.ctl(&["group", "join", &group, "--note", "for admins", "--timeout", "200ms"]);
    wait_until(PATIENCE, "alice is told", || alice.ctl(&["events"]).stdout.contains("for admins"));
    let told = alice.ctl(&["--agent", "reader", "events"]);
    told.ok();
    assert!(!told.stdout.contains("for admins"), "{}", told.stdout);
}

#[test]
fn groups_show_to_their_members_and_where_they_are_listed() {
    let (alice, bob) = (Daemon::start("alice"), Daemon::start("bob"));
    let (open, closed) = (alice.found("open-house"), alice.found("closed-doors"));
    bob.meet(&alice);
    let shown = |at: &Daemon, args: &[&str]| {
        let answer = at.ctl(&[&["peer", "discover-groups"], args].concat()).done();
        answer["groups"].as_array().unwrap().clone()
    };
    assert_eq!(shown(&bob, &[]), [] as [Value; 0], "nothing is listed unless an admin says so");
    alice.ctl(&["group", "policy", "--group", &open, "--set", "listed=true"]).ok();
    let groups = shown(&bob, &[&alice.id]);
    assert_eq!(groups.len(), 1);
    assert_eq!(keys(&groups[0]), ["group_id", "is_here", "members", "name", "peers", "role"]);
    assert_eq!((text(&groups[0], "group_id"), text(&groups[0], "name")), (open, "open-house".to_owned()));
    assert_eq!(
        (&groups[0]["role"], &groups[0]["members"], &groups[0]["is_here"]),
        (&Value::Null, &1.into(), &false.into())
    );
    // A member sees its own, though it has nothing of it yet.
    alice.add(&closed, &bob.id, "viewer");
    let groups = shown(&bob, &[]);
    let own = groups.iter().find(|group| group["group_id"] == closed).unwrap();
    assert_eq!((&own["role"], &own["name"]), (&"viewer".into(), &"closed-doors".into()));
    bob.ctl(&["peer", "discover-groups", "nobody"]).refused(1, &["no peer `nobody`"]);
}

/// A stranger that speaks the protocol.
struct Stranger {
    key: SecretKey,
    network: Network,
    to: Identity,
}

impl Stranger {
    async fn of(seed: u8, daemon: &Daemon) -> Self {
        let key = SecretKey::from_seed(&[seed; 32]);
        let config = NetConfig { mdns: false, ..NetConfig::new(key.clone()) };
        let mut network = Network::new(&config, AddressBook::new(key.identity(), 1)).unwrap();
        network.add_peer(&daemon.address().parse().unwrap(), None, true).unwrap();
        let connected = async { while !matches!(network.next().await, NetEvent::Connected { .. }) {} };
        tokio::time::timeout(PATIENCE, connected).await.unwrap();
        Self { key, network, to: daemon.id.parse().unwrap() }
    }

    async fn send(&mut self, bytes: Vec<u8>) -> Option<Vec<u8>> {
        let asked = self.network.request(Protocol::Node, self.to, bytes);
        let answer = async {
            loop {
                if let NetEvent::Response { id, result, .. } = self.network.next().await
                    && id == asked
                {
                    return result.ok();
                }
            }
        };
        tokio::time::timeout(PATIENCE, answer).await.unwrap()
    }

    async fn ask(&mut self, request: &Request) -> Option<Response> {
        self.send(request.encode()).await.map(|bytes| Response::decode(&bytes).unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_told_the_same_whether_the_group_is_here_or_not() {
    let alice = Daemon::start("alice");
    let group: GroupId = alice.found("secret").parse().unwrap();
    let elsewhere = GroupId::from_bytes([7; 32]);
    let made = invite(&alice, &group.to_string(), &["--uses", "5"]);
    let ticket = Ticket::from_text(&text(&made, "ticket")).unwrap();
    let mut eve = Stranger::of(60, &alice).await;
    let me = eve.key.identity();
    // A proof by a key of its own.
    let own = SecretKey::from_seed(&[61; 32]);
    let mut answers = Vec::new();
    for group in [group, elsewhere] {
        let join = lbm::chain::transaction::MemberJoin::prove(&own, &group, me);
        let admit = eve.ask(&Request::Admit(Box::new(Admit { group, join }))).await.unwrap();
        let request = JoinRequest {
            group,
            applicant: me,
            name: "eve".into(),
            note: None,
            time_ms: made["expires_ms"].as_u64().unwrap() - 24 * 3_600_000,
            withdrawn: false,
        };
        let apply = eve.ask(&Request::Apply(request.sign(&eve.key).unwrap())).await.unwrap();
        answers.push((admit, apply));
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], (Response::Refused(Refused::NotShared), Response::Taken));
    let groups = eve.ask(&Request::Groups(GetGroups { after: None })).await.unwrap();
    assert!(matches!(groups, Response::Groups(page) if page.groups.is_empty() && !page.more));
    // With the ticket it is told why: and only then.
    let good = ticket.prove(me);
    alice.ctl(&["group", "uninvite", "--group", "secret", &text(&made, "ticket_id")]).ok();
    let revoked = eve.ask(&Request::Admit(Box::new(Admit { group, join: good.clone() }))).await.unwrap();
    assert_eq!(revoked, Response::Refused(Refused::Ticket(Over::Revoked)));
    assert!(role(&alice, "secret", &me.to_string()).is_none());
    // But not whether somebody else is in: that is asked for a member and for a stranger.
    for other in [alice.id.parse().unwrap(), SecretKey::from_seed(&[64; 32]).identity()] {
        let answer = eve.ask(&Request::Admit(Box::new(Admit { group, join: ticket.prove(other) }))).await;
        assert_eq!(answer, Some(Response::Refused(Refused::Ticket(Over::Revoked))), "{other}");
    }
    // A proof that does not hold costs, of another identity or group: twice, and it is sent away.
    let mut thief = Stranger::of(62, &alice).await;
    let mut stolen = good;
    stolen.identity = thief.key.identity();
    let join = || Request::Admit(Box::new(Admit { group, join: stolen.clone() }));
    assert_eq!(thief.ask(&join()).await, Some(Response::Refused(Refused::Malformed)));
    // The answer to the last may go down with the connection.
    let _last = thief.ask(&join()).await;
    let away = "sent a peer away for its faults";
    wait_until(PATIENCE, "the thief is sent away", || {
        alice.said().lines().any(|line| line.contains(away) && line.contains(&thief.key.identity().to_string()))
    });
    // So does what is no message.
    let mut garbler = Stranger::of(63, &alice).await;
    let refused = garbler.send(vec![0xff; 100]).await.map(|bytes| Response::decode(&bytes).unwrap());
    assert_eq!(refused, Some(Response::Refused(Refused::Malformed)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_floods_with_requests_is_slowed_and_pushes_nobody_else_out() {
    let alice = Daemon::start("alice");
    let group: GroupId = alice.found("flooded").parse().unwrap();
    let bob = Daemon::start("bob");
    bob.meet(&alice);
    let _asks = bob.ctl(&["group", "join", &group.to_string(), "--note", "I am bob", "--timeout", "200ms"]);
    let requests = || alice.ctl(&["group", "requests"]).done()["requests"].as_array().unwrap().clone();
    wait_until(PATIENCE, "bob's request is there", || requests().len() == 1);
    let time_ms = requests()[0]["came_ms"].as_u64().unwrap();
    let mut eve = Stranger::of(70, &alice).await;
    let (mut taken, mut busy) = (0, 0);
    for number in 0..100_u8 {
        let key = SecretKey::from_seed(&[100 + number % 100; 32]);
        let request =
            JoinRequest { group, applicant: key.identity(), name: "x".into(), note: None, time_ms, withdrawn: false };
        match eve.ask(&Request::Apply(request.sign(&key).unwrap())).await {
            Some(Response::Taken) => taken += 1,
            Some(Response::Refused(Refused::Busy(_))) => busy += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(taken <= 62 && busy >= 38, "{taken} taken, {busy} refused");
    assert!(requests().iter().any(|request| request["note"] == "I am bob"));
}

/// What members say of a node's membership, as it shows it.
fn shut_out(at: &Daemon, group: &str) -> Option<String> {
    let shown = at.ctl(&["group", "show", group]).done();
    shown["shut_out"]["why"].as_str().map(str::to_owned)
}

#[track_caller]
fn writes_nothing(at: &Daemon, group: &str) {
    let answer = at.ctl(&["claim", "publish", "--group", group, "--text", "acknowledged and lost"]);
    assert_eq!(answer.json()["code"], "membership_refused", "{answer:#?}");
}

/// Two are let in apart by a ticket's last use; by now the group's notary has sealed one of them.
#[test]
fn who_was_let_in_and_is_refused_in_the_order_learns_it_and_comes_back_by_a_new_ticket() {
    let (mut alice, mut bob) = (Daemon::start("alice"), Daemon::start("bob"));
    let group = alice.found("last-place");
    assert_eq!(join(&bob, &text(&invite(&alice, &group, &[]), "ticket")).done()["joined"], true);
    let ticket = text(&invite(&alice, &group, &[]), "ticket");
    agree(&[&alice, &bob], &group);
    // Bob alone lets carol in, alice alone dave.
    alice.stop();
    let mut carol = Daemon::start("carol");
    assert_eq!(join(&carol, &ticket).done()["joined"], true);
    let claim = carol.publish(&group, "a member, as far as I can see");
    wait_until(PATIENCE, "bob has it", || bob.claims(&group).contains(&claim));
    carol.stop();
    bob.stop();
    alice.restart();
    let dave = Daemon::start("dave");
    dave.meet(&alice);
    assert_eq!(join(&dave, &ticket).done()["joined"], true);
    wait_until(PATIENCE, "dave's joining is sealed", || {
        let shown = dave.ctl(&["group", "show", &group]).done();
        shown["final_blocks"] == shown["blocks"]
    });
    bob.restart();
    bob.meet(&alice);
    agree(&[&alice, &bob, &dave], &group);
    assert!(role(&bob, &group, &carol.id).is_none() && role(&bob, &group, &dave.id).is_some());
    carol.restart();
    carol.meet(&alice);
    wait_until(PATIENCE, "carol learns it", || shut_out(&carol, &group).as_deref() == Some("ticket_used_up"));
    writes_nothing(&carol, &group);
    assert_eq!(carol.ctl(&["status"]).done()["shut_out_groups"], 1);
    let listed = carol.ctl(&["group", "list"]).done();
    assert_eq!(listed["groups"][0]["shut_out"]["why"], "ticket_used_up");
    assert!(carol.ctl(&["events"]).stdout.contains("\"membership_refused\""));
    let health = carol.ctl(&["health"]).stdout;
    assert!(health.contains("is no member any more"), "{health}");
    let doctor = carol.ctl(&["doctor"]).stdout;
    assert!(doctor.contains("is no member any more"), "{doctor}");
    for member in [&alice, &bob, &dave] {
        assert_eq!(shut_out(member, &group), None);
    }
    // Not for a restart either, with nobody there.
    carol.stop();
    carol.args(&["--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0"]);
    carol.restart();
    writes_nothing(&carol, &group);
    // The old ticket is used up; a new one lets it in, and what it wrote is with all, refused.
    let new = text(&invite(&alice, &group, &[]), "ticket");
    let joined = join(&carol, &new).done();
    assert_eq!((&joined["joined"], &joined["role"]), (&true.into(), &"member".into()));
    assert_eq!(shut_out(&carol, &group), None);
    let after = carol.publish(&group, "a member for all");
    agree(&[&alice, &bob, &dave, &carol], &group);
    assert!(alice.claims(&group).contains(&after));
    let everywhere = [&alice, &dave].map(|at| {
        at.claims(&group).contains(&claim) || at.ctl(&["rejected", "--group", &group]).stdout.contains(&carol.id)
    });
    assert_eq!(everywhere, [true; 2]);
}

#[test]
fn who_is_removed_while_its_node_is_off_learns_it_and_writes_again_once_it_is_added() {
    let (alice, mut bob) = (Daemon::start("alice"), Daemon::start("bob"));
    let group = alice.found("off");
    assert_eq!(join(&bob, &text(&invite(&alice, &group, &[]), "ticket")).done()["joined"], true);
    bob.stop();
    alice.ctl(&["group", "remove-member", "--group", &group, "--member", &bob.id]).ok();
    bob.restart();
    bob.meet(&alice);
    wait_until(PATIENCE, "bob learns it", || shut_out(&bob, &group).as_deref() == Some("removed"));
    writes_nothing(&bob, &group);
    let ticket = text(&invite(&alice, &group, &[]), "ticket");
    join(&bob, &ticket).refused(1, &["removed before"]);
    alice.add(&group, &bob.id, "member");
    wait_until(PATIENCE, "bob is served", || shut_out(&bob, &group).is_none());
    bob.publish(&group, "here again");
    agree(&[&alice, &bob], &group);
}
