//! The scripts `lease renew release lease_router`, and the tokens.

use super::fixture::{Bus, done, ids, read_all, settle};
use posthorn::bus::lease::{self, Leased, TokenFileError, Tokens};
use posthorn::bus::queue::Answered;
use posthorn::bus::{Error, lease::random_token};
use posthorn::event::Sequence;

async fn lease_with(bus: &Bus, uid: &str, tokens: &Tokens) -> (String, Leased) {
    lease::lease(&bus.link, &bus.name, uid, tokens).await.unwrap()
}

#[tokio::test]
async fn a_queue_has_one_owner() {
    let bus = Bus::start().await;
    bus.create("u").await;
    bus.owe("u", 1).await;
    let tokens = Tokens::in_memory();
    let (token, leased) = lease_with(&bus, "u", &tokens).await;
    let Leased::Held { state, .. } = leased else { panic!("{leased:?}") };
    assert_eq!((state["routed"].as_str(), bus.cli(&["GET", &bus.key("own", "u")])), ("1", token.clone()));
    let left: u64 = bus.cli(&["PTTL", &bus.key("own", "u")]).parse().unwrap();
    assert!(left <= 6000);
    assert_eq!(lease_with(&bus, "u", &Tokens::in_memory()).await.1, Leased::Busy);
    assert_eq!(bus.cli(&["GET", &bus.key("own", "u")]), token);
    let (again, leased) = lease_with(&bus, "u", &tokens).await;
    assert!(matches!(leased, Leased::Held { .. }), "its own token does not lock it out");
    assert_ne!(again, token);
    assert!(bus.tenure("u", &token).renew().await.unwrap().is_none(), "the earlier token is over");
    bus.check();
}

#[tokio::test]
async fn a_lost_answer_does_not_lock_the_owner_out() {
    let bus = Bus::start().await;
    bus.create("u").await;
    let tokens = Tokens::in_memory();
    // three leases whose answers never came; the server knows of the second alone
    let sent: Vec<String> = (0..3).map(|_| tokens.next()).collect();
    bus.cli(&["SET", &bus.key("own", "u"), &sent[1], "PX", "60000"]);
    assert!(matches!(lease_with(&bus, "u", &tokens).await.1, Leased::Held { .. }));
}

#[tokio::test]
async fn a_destination_without_a_route_has_no_lease() {
    let bus = Bus::start().await;
    let before = bus.everything();
    assert_eq!(lease_with(&bus, "nobody", &Tokens::in_memory()).await.1, Leased::NoRoute);
    assert_eq!(bus.everything(), before);
}

#[tokio::test]
async fn a_lost_queue_is_made_again_with_the_lease() {
    let bus = Bus::start().await;
    bus.create("u").await;
    let owed = bus.owe("u", 3).await;
    let tenure = bus.lease("u").await;
    let read = read_all(&tenure).await;
    settle(&tenure, &read[..1]).await;
    done(tenure.begin(owed[1], 1, false, false).await);
    bus.cli(&["DEL", &bus.key("q", "u")]);
    let tenure = bus.take_over("u").await;
    assert_eq!((bus.count("u", "lost"), bus.trial("u", owed[1])), (2, None));
    assert_eq!(bus.last_id(&bus.key("q", "u")), bus.position(), "what was decided is not routed again");
    assert!(bus.field("u", "dataLost").is_some());
    assert_eq!(ids(&read_all(&tenure).await), []);
    let next = bus.owe("u", 1).await;
    assert_eq!(ids(&read_all(&tenure).await), next);
    bus.check();
}

#[tokio::test]
async fn a_lost_group_is_made_again_with_the_lease() {
    let bus = Bus::start().await;
    bus.create("u").await;
    let owed = bus.owe("u", 2).await;
    let queue = bus.key("q", "u");
    for foreign in [false, true] {
        let tenure = bus.take_over("u").await;
        read_all(&tenure).await;
        bus.cli(&["XGROUP", "DESTROY", &queue, "delivery"]);
        if foreign {
            bus.cli(&["XGROUP", "CREATE", &queue, "foreign", "$"]);
        }
        let lost = tenure.read(Sequence::ZERO, 10, 1000, 0).await.unwrap_err();
        assert!(matches!(lost, Error::Protocol(_)), "{lost}");
        assert!(!bus.link.is_closed(), "the other tenures of the connection go on");
        assert_eq!(ids(&read_all(&bus.take_over("u").await).await), owed);
    }
    bus.check();
}

#[tokio::test]
async fn a_key_of_another_kind_is_no_queue() {
    let bus = Bus::start().await;
    bus.create("u").await;
    bus.owe("u", 2).await;
    bus.cli(&["DEL", &bus.key("q", "u")]);
    bus.cli(&["SET", &bus.key("q", "u"), "not a stream"]);
    let tenure = bus.lease("u").await;
    assert_eq!((ids(&read_all(&tenure).await).len(), bus.count("u", "lost")), (0, 2));
    bus.check();
}

#[tokio::test]
async fn what_another_consumer_took_comes_back_with_the_lease() {
    let bus = Bus::start().await;
    bus.create("u").await;
    let owed = bus.owe("u", 250).await;
    let queue = bus.key("q", "u");
    for consumer in ["one", "two"] {
        bus.cli(&["XREADGROUP", "GROUP", "delivery", consumer, "COUNT", "120", "STREAMS", &queue, ">"]);
    }
    let tenure = bus.lease("u").await;
    assert_eq!(bus.consumers("u")["w"], 240);
    let read = read_all(&tenure).await;
    assert_eq!(ids(&read), owed);
    assert_eq!(read.iter().filter(|owed| owed.pending).count(), 240);
    bus.check();
}

#[tokio::test]
async fn what_someone_deleted_or_added_by_hand_is_counted_with_the_lease() {
    let bus = Bus::start().await;
    bus.create("u").await;
    let owed = bus.owe("u", 4).await;
    let queue = bus.key("q", "u");
    bus.cli(&["XDEL", &queue, &owed[0].to_string(), &owed[2].to_string()]);
    let tenure = bus.lease("u").await;
    assert_eq!((bus.count("u", "lost"), bus.field("u", "dataLost").is_some()), (2, true));
    bus.check_counters();
    let read = read_all(&tenure).await;
    assert_eq!(ids(&read), [owed[1], owed[3]]);
    settle(&tenure, &read).await;
    bus.check();
    bus.cli(&["XADD", &queue, "*", "by", "hand"]);
    bus.take_over("u").await;
    assert_eq!(bus.count("u", "routed"), 5);
    bus.check_counters();
}

#[tokio::test]
async fn lost_counters_begin_again_with_what_waits() {
    let bus = Bus::start().await;
    bus.create("u").await;
    bus.owe("u", 3).await;
    bus.cli(&["DEL", &bus.key("st", "u")]);
    let tenure = bus.lease("u").await;
    assert_eq!(bus.count("u", "routed"), 3);
    bus.check_counters();
    let read = read_all(&tenure).await;
    settle(&tenure, &read).await;
    bus.check();
}

#[tokio::test]
async fn a_renewed_lease_lasts_and_tells_what_is_asked() {
    let bus = Bus::start().await;
    bus.create("u").await;
    bus.owe("u", 2).await;
    let tenure = bus.lease("u").await;
    bus.cli(&["PEXPIRE", &bus.key("own", "u"), "3000"]);
    let renewed = tenure.renew().await.unwrap().unwrap();
    assert_eq!((renewed.ask, renewed.halted, renewed.backlog), (None, None, 2));
    assert!(bus.cli(&["PTTL", &bus.key("own", "u")]).parse::<u64>().unwrap() > 3000);
    done(tenure.halt("Gone").await);
    assert_eq!(tenure.renew().await.unwrap().unwrap().halted.as_deref(), Some("Gone"));
}

#[tokio::test]
async fn a_lease_that_is_over_is_not_renewed() {
    let bus = Bus::start().await;
    bus.create("u").await;
    let tenure = bus.lease("u").await;
    bus.cli(&["DEL", &bus.key("own", "u")]);
    assert!(tenure.renew().await.unwrap().is_none());
    assert_eq!(bus.cli(&["EXISTS", &bus.key("own", "u")]), "0");
    let next = bus.lease("u").await;
    tenure.release().await.unwrap();
    assert!(next.renew().await.unwrap().is_some(), "a lease of another is not given back");
}

#[tokio::test]
async fn a_lease_that_was_given_back_is_free() {
    let bus = Bus::start().await;
    bus.create("u").await;
    bus.lease("u").await.release().await.unwrap();
    assert_eq!(bus.cli(&["EXISTS", &bus.key("own", "u")]), "0");
    bus.lease("u").await;
}

#[tokio::test]
async fn one_router_has_the_lease() {
    let bus = Bus::start().await;
    let lease_router = async |token: &str| lease::lease_router(&bus.link, &bus.name, token).await.unwrap();
    let (other, twin) = (random_token(), format!("{}.{}", bus.router, random_token()));
    assert!(!lease_router(&other).await);
    assert!(lease_router(&bus.router).await, "renewed");
    assert!(lease_router(&twin).await, "of the same process");
    assert!(!lease_router(&other).await);
    assert!(lease::renew(&bus.link, &bus.name, "router", &twin).await.unwrap().is_some());
    assert!(lease::renew(&bus.link, &bus.name, "router", &bus.router).await.unwrap().is_none(), "the whole token counts");
    lease::release(&bus.link, &bus.name, "router", &twin).await.unwrap();
    assert!(lease_router(&other).await);
}

#[tokio::test]
async fn every_change_of_a_queue_is_refused_with_another_token() {
    let bus = Bus::start().await;
    bus.create("u").await;
    let owed = bus.owe("u", 2).await;
    let owner = bus.lease("u").await;
    let read = read_all(&owner).await;
    done(owner.begin(owed[0], 1, false, false).await);
    let before = bus.everything();
    let other = bus.tenure("u", "another");
    let id = owed[0];
    let event = posthorn::bus::queue::Settled { id, size: read[0].entry.size(), attempts: 1 };
    assert!(other.renew().await.unwrap().is_none());
    other.release().await.unwrap();
    assert!(matches!(other.read(Sequence::ZERO, 10, 1000, 0).await.unwrap(), Answered::Fenced));
    assert_eq!(other.begin(id, 2, false, false).await.unwrap(), Answered::Fenced);
    assert_eq!(other.fail(id, 2, "Timeout", None, "", Some(std::time::Duration::ZERO)).await.unwrap(), Answered::Fenced);
    assert_eq!(other.abort(id).await.unwrap(), Answered::Fenced);
    assert_eq!(other.reset(&[id]).await.unwrap(), Answered::Fenced);
    assert_eq!(other.settle(&[event]).await.unwrap(), Answered::Fenced);
    assert_eq!(other.bury(&super::fixture::burial(id)).await.unwrap(), Answered::Fenced);
    assert_eq!(other.halt("Gone").await.unwrap(), Answered::Fenced);
    assert_eq!(other.unhalt().await.unwrap(), Answered::Fenced);
    assert_eq!(other.report("Active", "", "p", "Strict", None).await.unwrap(), Answered::Fenced);
    assert_eq!(bus.everything(), before);
    bus.check();
}

fn identity(tokens: &Tokens) -> String {
    tokens.next().split_once('.').unwrap().0.to_owned()
}

#[test]
fn the_identity_of_a_process_survives_a_restart_and_no_token_comes_twice() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = Tokens::open(dir.path()).unwrap();
    let (first, token) = (identity(&tokens), tokens.next());
    assert_ne!(token, tokens.next());
    drop(tokens);
    assert_eq!(identity(&Tokens::open(dir.path()).unwrap()), first);
    assert_ne!(identity(&Tokens::in_memory()), identity(&Tokens::in_memory()));
}

#[test]
fn two_processes_never_share_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let _tokens = Tokens::open(dir.path()).unwrap();
    assert!(matches!(Tokens::open(dir.path()), Err(TokenFileError::Locked { .. })));
    assert!(matches!(Tokens::open(&dir.path().join("nowhere")), Err(TokenFileError::Io { .. })));
}

#[test]
fn a_damaged_token_file_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("identity.token"), b"cut").unwrap();
    let first = identity(&Tokens::open(dir.path()).unwrap());
    assert_ne!(first, "cut");
    assert_eq!(identity(&Tokens::open(dir.path()).unwrap()), first);
}
