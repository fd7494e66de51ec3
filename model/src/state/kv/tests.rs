//! Guarded writes, locks, sessions, and indexes of prefixes.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use uuid::Uuid;

use crate::{
    catalog::{CatalogNode, Check, Source},
    check::Verdict,
    command::{CatalogRegistration, Command, Rejected, Reply},
    driver_config::Value,
    id::{Index, SessionId},
    kv::{KvGuard, KvOp, Session, SessionBehavior},
    state::{Outcome, State},
    time::Timestamp,
    topic::Topic,
};

const NOW: Timestamp = Timestamp::from_secs(1000);

fn apply(s: &mut State, command: Command) -> Outcome {
    let index = Index(s.index.0 + 1);
    s.apply(index, command)
}

fn one(s: &mut State, op: KvOp) -> bool {
    match apply(s, Command::Kv { ops: vec![op], at: NOW }).reply.expect("applies").reply {
        Reply::Kv { written, .. } => written,
        other => panic!("{other:?}"),
    }
}

fn put(key: &str, value: &'static str, guard: KvGuard) -> KvOp {
    KvOp::Put { key: key.into(), value: Bytes::from_static(value.as_bytes()), flags: 0, guard }
}

fn delete(key: &str, guard: KvGuard) -> KvOp {
    KvOp::Delete { key: key.into(), guard }
}

fn session(n: u128, behavior: SessionBehavior) -> Session {
    Session {
        id: SessionId(Uuid::from_u128(n)),
        name: String::new(),
        node: "n".into(),
        checks: ["serfHealth".into()].into(),
        lock_delay: Duration::from_secs(15),
        behavior,
        ttl: Duration::ZERO,
        expires_at: Timestamp::ZERO,
        create_index: Index(0),
        modify_index: Index(0),
    }
}

fn node(verdict: Verdict) -> Command {
    let check = Check {
        id: "serfHealth".into(),
        name: String::new(),
        verdict,
        notes: String::new(),
        output: String::new(),
        kind: String::new(),
        definition: None,
        foreign_definition: Value::Null,
        create_index: Index(0),
        modify_index: Index(0),
    };
    Command::CatalogRegister(Box::new(CatalogRegistration {
        node: CatalogNode {
            name: "n".into(),
            id: String::new(),
            address: "10.0.0.1".into(),
            datacenter: "dc1".into(),
            tagged_addresses: BTreeMap::new(),
            meta: BTreeMap::new(),
            checks: BTreeMap::new(),
            source: Source::Catalog,
            create_index: Index(0),
            modify_index: Index(0),
        },
        skip_node_update: false,
        instance: None,
        replace_checks: false,
        checks: vec![(None, check)],
    }))
}

#[test]
fn compare_and_set() {
    let mut s = State::default();
    assert!(!one(&mut s, put("a", "1", KvGuard::Cas(Index(7)))), "no key, index not 0");
    assert!(one(&mut s, put("a", "1", KvGuard::Cas(Index(0)))));
    assert!(!one(&mut s, put("a", "2", KvGuard::Cas(Index(0)))), "exists");
    let index = s.kv["a"].modify_index;
    assert!(one(&mut s, put("a", "2", KvGuard::Cas(index))));
    assert!(!one(&mut s, delete("a", KvGuard::Cas(index))), "older index");
    let newest = s.kv["a"].modify_index;
    assert!(one(&mut s, delete("a", KvGuard::Cas(newest))));
    assert!(one(&mut s, delete("a", KvGuard::Cas(Index(99)))), "nothing to delete");
}

#[test]
fn the_same_write_again_moves_nothing() {
    let mut s = State::default();
    assert!(one(&mut s, put("a", "1", KvGuard::None)));
    let before = s.kv_key_index("a");
    let out = apply(&mut s, Command::Kv { ops: vec![put("a", "1", KvGuard::None)], at: NOW });
    assert!(out.touched.is_empty());
    assert_eq!(s.kv_key_index("a"), before);
}

#[test]
fn prefix_indexes_are_their_own_and_never_go_back() {
    let mut s = State::default();
    assert!(one(&mut s, put("a/1", "x", KvGuard::None)));
    let a = s.kv_prefix_index("a/");
    assert!(one(&mut s, put("b/1", "x", KvGuard::None)));
    assert_eq!(s.kv_prefix_index("a/"), a, "another prefix");
    assert_eq!(s.kv_prefix_index("none/"), Index(0));
    assert!(one(&mut s, KvOp::DeleteTree { prefix: "a/".into() }));
    assert!(s.kv_prefix_index("a/") > a && s.kv_key_index("a/1") > a);
    assert_eq!(s.kv_under("").count(), 1);
    for n in 0..9000 {
        s.kv_tombstones.insert(format!("t{n}").into(), Index(1));
    }
    assert!(one(&mut s, delete("b/1", KvGuard::None)));
    assert_eq!(s.kv_tombstones.len(), 1, "bounded");
    assert_eq!(s.kv_prefix_index("a/"), s.index, "and no index went back");
}

#[test]
fn a_transaction_is_all_or_nothing() {
    let mut s = State::default();
    assert!(one(&mut s, put("x", "1", KvGuard::None)));
    let before = s.clone();
    let ops = vec![put("a", "1", KvGuard::None), put("x", "2", KvGuard::Cas(Index(0)))];
    let out = apply(&mut s, Command::Kv { ops, at: NOW });
    assert_eq!(out.reply.expect("applies").reply, Reply::Kv { written: false, failed_op: Some(1) });
    assert!(out.touched.is_empty());
    assert_eq!(State { index: before.index, ..s }, before);
}

#[test]
fn locks_are_held_released_and_delayed() {
    let mut s = State::default();
    apply(&mut s, node(Verdict::Passing)).reply.expect("registers");
    let (one_, two) = (session(1, SessionBehavior::Release), session(2, SessionBehavior::Delete));
    let invalid = put("l", "", KvGuard::Acquire(one_.id));
    assert!(matches!(
        apply(&mut s, Command::Kv { ops: vec![invalid], at: NOW }).reply,
        Err(Rejected::Invalid(m)) if m.starts_with("invalid session")
    ));
    for x in [&one_, &two] {
        apply(&mut s, Command::SessionCreate { session: x.clone() }).reply.expect("creates");
    }
    assert!(one(&mut s, put("l", "1", KvGuard::Acquire(one_.id))));
    assert!(one(&mut s, put("l", "2", KvGuard::Acquire(one_.id))), "again by the holder");
    assert_eq!(s.kv["l"].lock_index, 1);
    assert!(!one(&mut s, put("l", "3", KvGuard::Acquire(two.id))));
    assert!(one(&mut s, put("l", "4", KvGuard::None)), "locks are advisory");
    assert_eq!(s.kv["l"].session, Some(one_.id));
    assert!(!one(&mut s, put("l", "5", KvGuard::Release(two.id))));
    assert!(!one(&mut s, put("nokey", "", KvGuard::Release(two.id))));
    assert!(one(&mut s, put("d", "", KvGuard::Acquire(two.id))));

    let out = apply(&mut s, Command::SessionDestroy { id: one_.id, at: NOW });
    assert!(out.touched.contains(&Topic::Key("l".into())) && out.touched.contains(&Topic::Sessions));
    assert_eq!(s.kv["l"].session, None);
    assert!(!one(&mut s, put("l", "6", KvGuard::Acquire(two.id))), "the lock delay");
    let later = NOW + Duration::from_secs(16);
    let out = apply(&mut s, Command::Kv { ops: vec![put("l", "6", KvGuard::Acquire(two.id))], at: later });
    assert_eq!(out.reply.expect("applies").reply, Reply::Kv { written: true, failed_op: None });
    assert!(s.lock_delays.is_empty());
    assert_eq!(s.kv["l"].lock_index, 2);
    apply(&mut s, Command::SessionDestroy { id: two.id, at: later }).reply.expect("destroys");
    assert!(s.kv.is_empty(), "behavior delete takes its keys along");
}

#[test]
fn sessions_need_a_node_and_checks_that_are_not_critical() {
    let mut s = State::default();
    let x = session(1, SessionBehavior::Release);
    let refused = |s: &mut State, x: &Session| match apply(s, Command::SessionCreate { session: x.clone() }).reply {
        Err(Rejected::Invalid(why)) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&mut s, &x), "Missing node registration");
    apply(&mut s, node(Verdict::Critical)).reply.expect("registers");
    assert_eq!(refused(&mut s, &x), "Check 'serfHealth' is in critical state");
    let strange = Session { checks: ["nope".into()].into(), ..x.clone() };
    assert_eq!(refused(&mut s, &strange), "Missing check 'nope' registration");
    apply(&mut s, node(Verdict::Warning)).reply.expect("registers");
    apply(&mut s, Command::SessionCreate { session: x.clone() }).reply.expect("creates");
    assert_eq!(s.session_broken(&x), None);
    apply(&mut s, node(Verdict::Critical)).reply.expect("registers");
    assert!(s.session_broken(&x).is_some());
}
