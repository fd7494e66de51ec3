//! Clocks with made-up time, and the duties against a replica in memory.

use std::{collections::HashMap, sync::Arc, time::Duration};

use model::{
    Command, Replica, SessionId, State, Timestamp,
    catalog::{CheckDefinition, Instance},
    check::Verdict,
    command::CatalogRegistration,
    id::Index,
    kv::{Session, SessionBehavior},
    replica::local::LocalReplica,
    service::Probe,
};
use tokio::{
    net::TcpListener,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Local,
    duties::{Clocks, sessions_over},
    run,
};
use crate::fixture::{Fixture, check, instance, node, registration};

const SECOND: Duration = Duration::from_secs(1);

fn definition(probe: Probe, target: &str) -> CheckDefinition {
    CheckDefinition {
        probe,
        target: target.into(),
        interval: SECOND,
        timeout: SECOND,
        success_before_passing: 0,
        failures_before_warning: 0,
        failures_before_critical: 0,
        deregister_critical_after: None,
        disable_redirects: false,
    }
}

fn with_check(verdict: Verdict, definition: CheckDefinition) -> CatalogRegistration {
    let mut c = check("c", verdict);
    c.definition = Some(definition);
    let one: Instance = instance("n1", "web1", "web", "", 80).into();
    CatalogRegistration {
        instance: Some(one),
        checks: vec![(Some("web1".into()), c)],
        ..registration(node("n1", "10.0.0.1"))
    }
}

fn step(
    clocks: &mut Clocks,
    state: &State,
    beats: &mut HashMap<model::CheckId, Instant>,
    now: Instant,
) -> (Vec<Command>, Option<Instant>) {
    let step = clocks.step(state, &"n1".into(), None, beats, now);
    (step.commands, step.next)
}

#[tokio::test]
async fn a_ttl_expires_unless_it_is_reported() {
    let mut f = Fixture::default();
    f.register(with_check(Verdict::Passing, definition(Probe::Ttl { ttl: 10 * SECOND }, "")));
    let (mut clocks, mut beats) = (Clocks::default(), HashMap::new());
    let start = Instant::now();
    let (commands, next) = step(&mut clocks, &f.state, &mut beats, start);
    assert!(commands.is_empty());
    assert_eq!(next, Some(start + 10 * SECOND));
    beats.insert("c".into(), start + 8 * SECOND);
    let (commands, next) = step(&mut clocks, &f.state, &mut beats, start + 10 * SECOND);
    assert!(commands.is_empty(), "reported in time");
    assert_eq!(next, Some(start + 18 * SECOND));
    let (commands, _) = step(&mut clocks, &f.state, &mut beats, start + 18 * SECOND);
    let [Command::CheckVerdict { verdict: Verdict::Critical, output, instance: Some(id), .. }] = &commands[..] else {
        panic!("{commands:?}")
    };
    assert!(output.starts_with("TTL expired") && id.as_str() == "web1");
    f.apply(commands[0].clone());
    let (commands, next) = step(&mut clocks, &f.state, &mut beats, start + 19 * SECOND);
    assert!(commands.is_empty() && next.is_none(), "once");
}

#[tokio::test]
async fn what_stays_critical_is_removed() {
    let mut f = Fixture::default();
    let tcp = CheckDefinition { deregister_critical_after: Some(30 * SECOND), ..definition(Probe::Tcp, "127.0.0.1:1") };
    f.register(with_check(Verdict::Critical, tcp.clone()));
    let (mut clocks, mut beats) = (Clocks::default(), HashMap::new());
    let start = Instant::now();
    assert_eq!(step(&mut clocks, &f.state, &mut beats, start).1, Some(start + 30 * SECOND));
    // A moment of health starts the clock again.
    f.register(with_check(Verdict::Passing, tcp.clone()));
    assert_eq!(step(&mut clocks, &f.state, &mut beats, start + 20 * SECOND).1, None);
    f.register(with_check(Verdict::Critical, tcp));
    assert_eq!(step(&mut clocks, &f.state, &mut beats, start + 25 * SECOND).1, Some(start + 55 * SECOND));
    let (commands, _) = step(&mut clocks, &f.state, &mut beats, start + 55 * SECOND);
    assert!(matches!(&commands[..], [Command::CatalogDeregister { instance: Some(id), .. }] if id.as_str() == "web1"));
}

#[tokio::test]
async fn a_server_announces_itself_once_its_node_is_there() {
    let (mut clocks, mut beats) = (Clocks::default(), HashMap::new());
    let mut f = Fixture::default();
    let mut commands =
        |f: &Fixture, port| clocks.step(&f.state, &"n1".into(), port, &mut beats, Instant::now()).commands;
    assert!(commands(&f, Some(4647)).is_empty());
    f.node("n1", "10.0.0.1", &[]);
    for command in commands(&f, Some(4647)) {
        f.apply(command);
    }
    assert_eq!(f.state.instance(&"n1".into(), &"consul".into()).map(|i| i.port), Some(4647));
    assert!(commands(&f, Some(4647)).is_empty());
    assert_eq!(commands(&f, Some(4648)).len(), 1, "the port moved");
    assert!(matches!(commands(&f, None)[..], [Command::CatalogDeregister { .. }]), "no server any more");
}

fn session(n: u128, expires_at: Timestamp) -> Session {
    Session {
        id: SessionId(uuid::Uuid::from_u128(n)),
        name: String::new(),
        node: "n1".into(),
        checks: ["serfHealth".into()].into(),
        lock_delay: Duration::ZERO,
        behavior: SessionBehavior::Release,
        ttl: Duration::ZERO,
        expires_at,
        create_index: Index(0),
        modify_index: Index(0),
    }
}

#[test]
fn sessions_end_by_time_or_with_their_checks() {
    let mut f = Fixture::default();
    f.node("n1", "10.0.0.1", &[]);
    f.node_check("n1", "serfHealth", Verdict::Passing);
    f.apply(Command::SessionCreate { session: session(1, Timestamp::ZERO) });
    f.apply(Command::SessionCreate { session: session(2, Timestamp::from_secs(100)) });
    let ids = |now| sessions_over(&f.state, now).0.into_iter().map(|(id, _)| id.0.as_u128()).collect::<Vec<_>>();
    assert_eq!(sessions_over(&f.state, Timestamp::from_secs(90)), (Vec::new(), Some(10 * SECOND)));
    assert_eq!(ids(Timestamp::from_secs(100)), [2]);
    f.node_check("n1", "serfHealth", Verdict::Critical);
    assert_eq!(sessions_over(&f.state, Timestamp::from_secs(90)).0.len(), 2);
}

/// Look until it holds.
async fn eventually(replica: &dyn Replica, what: &str, holds: impl Fn(&State) -> bool) {
    let mut applied = replica.waiters().applied();
    let wait = async {
        while !holds(&replica.snapshot()) {
            applied.changed().await.expect("the replica lives");
        }
    };
    timeout(Duration::from_secs(15), wait).await.unwrap_or_else(|_| panic!("{what}: not in time"));
}

#[tokio::test]
async fn registered_checks_are_run_and_their_verdicts_stored() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let addr = listener.local_addr().expect("an address").to_string();
    let mut f = Fixture::default();
    f.register(with_check(Verdict::Critical, definition(Probe::Tcp, &addr)));
    let replica: Arc<dyn Replica> = Arc::new(LocalReplica::new(f.state));
    let cancel = CancellationToken::new();
    let task = tokio::spawn(run(Arc::clone(&replica), "n1".into(), Local::new(Some(4647)), cancel.clone()));
    let verdict = |s: &State| s.instance(&"n1".into(), &"web1".into()).map(|i| i.verdict());
    eventually(&*replica, "passing", |s| verdict(s) == Some(Verdict::Passing)).await;
    eventually(&*replica, "announced", |s| s.service("consul").is_some()).await;
    drop(listener);
    eventually(&*replica, "critical", |s| verdict(s) == Some(Verdict::Critical)).await;
    // What somebody else writes about it does not stay.
    let claim = with_check(Verdict::Passing, definition(Probe::Tcp, &addr));
    let claimed = replica.propose(Command::CatalogRegister(Box::new(claim))).await.expect("registers").index;
    eventually(&*replica, "said again", |s| s.index > claimed && verdict(s) == Some(Verdict::Critical)).await;
    // A definition that changes is followed.
    let ttl = definition(Probe::Ttl { ttl: Duration::from_millis(100) }, "");
    let again = with_check(Verdict::Passing, ttl);
    replica.propose(Command::CatalogRegister(Box::new(again))).await.expect("registers");
    eventually(&*replica, "expired", |s| verdict(s) == Some(Verdict::Critical)).await;
    cancel.cancel();
    timeout(Duration::from_secs(5), task).await.expect("ends").expect("no panic");
}

#[tokio::test]
async fn the_leader_ends_sessions() {
    let mut f = Fixture::default();
    f.node("n1", "10.0.0.1", &[]);
    f.node_check("n1", "serfHealth", Verdict::Passing);
    let soon = super::now() + Duration::from_millis(100);
    f.apply(Command::SessionCreate { session: session(1, soon) });
    let replica: Arc<dyn Replica> = Arc::new(LocalReplica::new(f.state));
    let cancel = CancellationToken::new();
    let task = tokio::spawn(run(Arc::clone(&replica), "n1".into(), Local::default(), cancel.clone()));
    eventually(&*replica, "expired", |s| s.sessions.is_empty()).await;
    cancel.cancel();
    timeout(Duration::from_secs(5), task).await.expect("ends").expect("no panic");
}
