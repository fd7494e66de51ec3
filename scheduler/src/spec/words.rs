//! Words with a fixed set of meanings: job types, operators, modes. One table each, read in both directions.

use model::{
    check::Verdict,
    job::{DelayFunction, HealthSource, Hook, JobKind, JobStatus, Operator, RestartMode},
    service::{AddressMode, OnUpdate, Provider},
};

use super::{
    suggest,
    tree::{Block, Error},
};

/// A closed vocabulary. The first spelling of a meaning is the one that is written.
pub trait Word: Copy + PartialEq + 'static {
    const WORDS: &'static [(&'static str, Self)];

    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, v)| *v == self).map_or("", |(w, _)| w)
    }
}

/// The meaning of a field, if it is set.
pub fn word<T: Word>(block: &Block, field: &str) -> Result<Option<T>, Error> {
    let Some(text) = block.str(field) else { return Ok(None) };
    T::WORDS.iter().find(|(w, _)| *w == text).map(|(_, v)| Some(*v)).ok_or_else(|| {
        let known = T::WORDS.iter().map(|(w, _)| *w);
        let list: Vec<_> = known.clone().map(|w| format!("\"{w}\"")).collect();
        let hint = suggest::hint(text, known);
        block.fail(field, format!("\"{field}\" cannot be {text:?}: it is one of {}.{hint}", list.join(", ")))
    })
}

impl Word for JobKind {
    const WORDS: &'static [(&'static str, Self)] =
        &[("service", Self::Service), ("batch", Self::Batch), ("system", Self::System), ("sysbatch", Self::Sysbatch)];
}

impl Word for JobStatus {
    const WORDS: &'static [(&'static str, Self)] =
        &[("pending", Self::Pending), ("running", Self::Running), ("dead", Self::Dead)];
}

impl Word for Operator {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("=", Self::Eq),
        ("==", Self::Eq),
        ("is", Self::Eq),
        ("!=", Self::Ne),
        ("not", Self::Ne),
        (">", Self::Gt),
        (">=", Self::Ge),
        ("<", Self::Lt),
        ("<=", Self::Le),
        ("regexp", Self::Regexp),
        ("version", Self::Version),
        ("semver", Self::Semver),
        ("set_contains", Self::SetContainsAll),
        ("set_contains_all", Self::SetContainsAll),
        ("set_contains_any", Self::SetContainsAny),
        ("is_set", Self::IsSet),
        ("is_not_set", Self::IsNotSet),
        ("distinct_hosts", Self::DistinctHosts),
        ("distinct_property", Self::DistinctProperty),
    ];
}

impl Word for RestartMode {
    const WORDS: &'static [(&'static str, Self)] = &[("fail", Self::Fail), ("delay", Self::Delay)];
}

impl Word for DelayFunction {
    const WORDS: &'static [(&'static str, Self)] =
        &[("constant", Self::Constant), ("exponential", Self::Exponential), ("fibonacci", Self::Fibonacci)];
}

impl Word for HealthSource {
    const WORDS: &'static [(&'static str, Self)] =
        &[("checks", Self::Checks), ("task_states", Self::TaskStates), ("manual", Self::Manual)];
}

impl Word for Hook {
    const WORDS: &'static [(&'static str, Self)] =
        &[("prestart", Self::Prestart), ("poststart", Self::Poststart), ("poststop", Self::Poststop)];
}

impl Word for Provider {
    const WORDS: &'static [(&'static str, Self)] = &[("consul", Self::Consul), ("nomad", Self::Nomad)];
}

impl Word for AddressMode {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("auto", Self::Auto),
        ("alloc", Self::Alloc),
        ("alloc_ipv6", Self::Alloc),
        ("driver", Self::Driver),
        ("host", Self::Host),
    ];
}

impl Word for OnUpdate {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("require_healthy", Self::RequireHealthy),
        ("ignore_warnings", Self::IgnoreWarnings),
        ("ignore", Self::Ignore),
    ];
}

impl Word for Verdict {
    const WORDS: &'static [(&'static str, Self)] =
        &[("passing", Self::Passing), ("warning", Self::Warning), ("critical", Self::Critical)];
}
