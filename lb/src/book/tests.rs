//! Following by difference gives what reading everything at once would.

use model::{Replica, replica::local::LocalReplica};
use proptest::prelude::{Just, Strategy as _, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;
use crate::tests::catalog::{deregister, register, verdict};

#[derive(Clone, Debug)]
enum Step {
    Register {
        id: u8,
        service: u8,
        tags: Vec<u8>,
        passing: bool,
    },
    Deregister(u8),
    Verdict(u8, bool),
    /// The load balancer looks.
    Look,
}

fn step() -> impl proptest::strategy::Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..6, 0u8..3, proptest::collection::vec(0u8..7, 0..3), any::<bool>())
            .prop_map(|(id, service, tags, passing)| Step::Register { id, service, tags, passing }),
        2 => (0u8..6).prop_map(Step::Deregister),
        2 => (0u8..6, any::<bool>()).prop_map(|(id, ok)| Step::Verdict(id, ok)),
        3 => Just(Step::Look),
    ]
}

const TAGS: [&str; 7] = [
    "urlprefix-/a",
    "urlprefix-/a/b weight=0.3",
    "urlprefix-foo.com/",
    "urlprefix-*.foo.com/x",
    "urlprefix-f*o.com/",
    "urlprefix-/bad weight=x",
    "plain",
];

fn word(ok: bool) -> Verdict {
    if ok { Verdict::Passing } else { Verdict::Critical }
}

fn apply(replica: &LocalReplica, step: &Step) {
    let name = |id: &u8| format!("i{id}");
    // A command about an instance that is not there is refused, which is as good a step as any.
    let _ = match step {
        Step::Register { id, service, tags, passing } => {
            let tags: Vec<&str> = tags.iter().map(|t| TAGS[usize::from(*t)]).collect();
            let addr = ([10, 0, 0, *id], 80).into();
            replica.apply(register(&format!("s{service}"), &name(id), addr, &tags, word(*passing)))
        }
        Step::Deregister(id) => replica.apply(deregister(&name(id))),
        Step::Verdict(id, ok) => replica.apply(verdict(&name(id), word(*ok))),
        Step::Look => return,
    };
}

/// A table in words, without what differs between two books.
fn view(table: &Table) -> Vec<String> {
    let route = |r: &Arc<Route>| {
        let choices: Vec<_> = r.choices.iter().map(|c| (&c.target.key, &c.spec.options, c.target.pickable())).collect();
        format!("{}{} {:?} {:?} {:?}", r.host, r.path, r.services, r.shares, choices)
    };
    let mut all: Vec<_> = table.routes.values().map(route).collect();
    all.extend(table.problems.values().flat_map(|p| p.iter()).map(|p| format!("{p:?}")));
    for host in ["", "foo.com", "a.foo.com", "fo.com", "fooo.com"] {
        for path in ["/", "/a", "/a/b/c", "/x"] {
            let found = table.find(host, path, |r| !r.choices.is_empty()).map(|r| format!("{}{}", r.host, r.path));
            all.push(format!("{host}{path} -> {found:?}"));
        }
    }
    all
}

proptest! {
    #[test]
    fn by_difference_is_as_at_once(steps in proptest::collection::vec(step(), 1..40)) {
        let replica = LocalReplica::new(State::default());
        let mut book = Book::new(&Config::default(), Arc::default());
        let table = ArcSwap::from_pointee(Table::default());
        for s in &steps {
            apply(&replica, s);
            if matches!(s, Step::Look) {
                book.follow(&replica.snapshot(), &table);
            }
        }
        let state = replica.snapshot();
        book.follow(&state, &table);
        let (mut fresh, at_once) = (Book::new(&Config::default(), Arc::default()), ArcSwap::from_pointee(Table::default()));
        fresh.follow(&state, &at_once);
        prop_assert_eq!(view(&table.load()), view(&at_once.load()));
        // Nothing is kept for what is gone.
        prop_assert_eq!(book.targets.len(), fresh.targets.len());
        prop_assert_eq!(book.claimants, fresh.claimants);
        prop_assert!(book.lingering.is_empty());
    }
}
