//! Constraints, affinities, spreads, and the policies that a job may set for all its groups.

use model::job::{Affinity, Constraint, JobKind, Migrate, Operator, ReschedulePolicy, RestartPolicy, Spread, Update};

use crate::spec::{
    tree::{Block, Error},
    words::{Word, word},
};

/// Attributes that name the operator and hold the value at once: `version = ">= 2"`.
const SHORTHANDS: [&str; 6] = ["version", "semver", "regexp", "set_contains", "set_contains_all", "set_contains_any"];

pub fn constraints(holder: &Block) -> Result<Vec<Constraint>, Error> {
    let all: Result<Vec<_>, _> = holder.blocks("constraint").iter().map(constraint).collect();
    Ok(all?.into_iter().flatten().collect())
}

/// `None` for `distinct_hosts = false`, which constrains nothing.
fn constraint(b: &Block) -> Result<Option<Constraint>, Error> {
    if let Some(wanted) = b.bool("distinct_hosts") {
        let c = Constraint { operator: Operator::DistinctHosts, ..Constraint::default() };
        return Ok(wanted.then_some(c));
    }
    if let Some(property) = b.str("distinct_property") {
        let (attribute, operator) = (property.to_owned(), Operator::DistinctProperty);
        return Ok(Some(Constraint { attribute, operator, value: b.text("value") }));
    }
    let (operator, value) = comparison(b)?;
    let mut c = Constraint { attribute: b.text("attribute"), operator, value };
    if operator == Operator::DistinctHosts {
        match c.value.as_str() {
            "" | "true" => c.value.clear(),
            "false" => return Ok(None),
            other => return Err(b.fail("value", format!("\"distinct_hosts\" takes true or false, not {other:?}"))),
        }
    } else if c.attribute.is_empty() {
        return Err(b.fail("", "a constraint needs an \"attribute\", such as \"${attr.kernel.name}\""));
    }
    Ok(Some(c))
}

fn comparison(b: &Block) -> Result<(Operator, String), Error> {
    for name in SHORTHANDS {
        if let Some(value) = b.str(name) {
            let operator = Operator::WORDS.iter().find(|(w, _)| *w == name).map_or(Operator::Eq, |(_, o)| *o);
            return Ok((operator, value.to_owned()));
        }
    }
    Ok((word(b, "operator")?.unwrap_or_default(), b.text("value")))
}

pub fn affinities(holder: &Block) -> Result<Vec<Affinity>, Error> {
    holder
        .blocks("affinity")
        .iter()
        .map(|b| {
            let (operator, value) = comparison(b)?;
            if matches!(operator, Operator::DistinctHosts | Operator::DistinctProperty) {
                return Err(b.fail("operator", format!("{:?} is for constraints, not affinities", operator.word())));
            }
            Ok(Affinity { attribute: b.text("attribute"), operator, value, weight: weight(b, -100)? })
        })
        .collect()
}

fn weight(b: &Block, least: i64) -> Result<i8, Error> {
    let w = b.int("weight").unwrap_or(50);
    if !(least..=100).contains(&w) {
        return Err(b.fail("weight", format!("\"weight\" must be between {least} and 100, not {w}")));
    }
    Ok(i8::try_from(w).unwrap_or(50))
}

pub fn spreads(holder: &Block) -> Result<Vec<Spread>, Error> {
    holder
        .blocks("spread")
        .iter()
        .map(|b| {
            let targets: Result<Vec<_>, Error> = b.blocks("target").iter().map(target).collect();
            Ok(Spread { attribute: b.text("attribute"), weight: weight(b, 0)?, targets: targets? })
        })
        .collect()
}

fn target(b: &Block) -> Result<(String, u8), Error> {
    let percent = b.int("percent").unwrap_or(0);
    if !(0..=100).contains(&percent) {
        return Err(b.fail("percent", format!("\"percent\" must be between 0 and 100, not {percent}")));
    }
    Ok((b.str("value").unwrap_or(b.label()).to_owned(), u8::try_from(percent).unwrap_or(0)))
}

/// A field of the inner block, else of the outer one, else of the default.
struct Layers<'a>(Option<&'a Block>, Option<&'a Block>);

impl<'a> Layers<'a> {
    fn at(&self, name: &str) -> Option<&'a Block> {
        Block::over(self.0, self.1, name)
    }

    fn u32(&self, name: &str, default: u32) -> Result<u32, Error> {
        Ok(self.at(name).map(|b| b.number(name)).transpose()?.flatten().unwrap_or(default))
    }

    fn time(&self, name: &str, default: std::time::Duration) -> std::time::Duration {
        self.at(name).and_then(|b| b.duration(name)).unwrap_or(default)
    }

    fn flag(&self, name: &str, default: bool) -> bool {
        self.at(name).and_then(|b| b.bool(name)).unwrap_or(default)
    }

    fn word<T: Word>(&self, name: &str, default: T) -> Result<T, Error> {
        Ok(self.at(name).map(|b| word(b, name)).transpose()?.flatten().unwrap_or(default))
    }
}

/// The restart policy of a group over the job's, or of a task over its group's.
pub fn restart(own: Option<&Block>, outer: Option<&Block>, d: &RestartPolicy) -> Result<RestartPolicy, Error> {
    let l = Layers(own, outer);
    Ok(RestartPolicy {
        attempts: l.u32("attempts", d.attempts)?,
        interval: l.time("interval", d.interval),
        delay: l.time("delay", d.delay),
        mode: l.word("mode", d.mode)?,
    })
}

pub fn reschedule(own: Option<&Block>, job: Option<&Block>, kind: JobKind) -> Result<ReschedulePolicy, Error> {
    let d = ReschedulePolicy::of(kind);
    let l = Layers(own, job);
    Ok(ReschedulePolicy {
        attempts: l.u32("attempts", d.attempts)?,
        interval: l.time("interval", d.interval),
        delay: l.time("delay", d.delay),
        delay_function: l.word("delay_function", d.delay_function)?,
        max_delay: l.time("max_delay", d.max_delay),
        unlimited: l.flag("unlimited", d.unlimited),
    })
}

/// A job-wide `update` that only holds zeros is what a server writes for "none"; it says nothing about the groups.
fn says_nothing(b: &Block) -> bool {
    ["max_parallel", "canary"].iter().all(|f| b.int(f).unwrap_or(0) == 0)
        && ["stagger", "min_healthy_time", "healthy_deadline", "progress_deadline"]
            .iter()
            .all(|f| b.duration(f).is_none_or(|d| d.is_zero()))
        && !b.flag("auto_revert")
        && !b.flag("auto_promote")
        && b.str("health_check").is_none()
        && b.has("stagger")
}

pub fn update(own: Option<&Block>, job: Option<&Block>, kind: JobKind) -> Result<Option<Update>, Error> {
    if kind.runs_to_completion() {
        return Ok(None);
    }
    let d = Update::default();
    let l = Layers(own, job.filter(|b| !says_nothing(b)));
    Ok(Some(Update {
        max_parallel: l.u32("max_parallel", d.max_parallel)?,
        health_check: l.word("health_check", d.health_check)?,
        min_healthy_time: l.time("min_healthy_time", d.min_healthy_time),
        healthy_deadline: l.time("healthy_deadline", d.healthy_deadline),
        progress_deadline: l.time("progress_deadline", d.progress_deadline),
        auto_revert: l.flag("auto_revert", d.auto_revert),
        auto_promote: l.flag("auto_promote", d.auto_promote),
        canary: l.u32("canary", d.canary)?,
        stagger: l.time("stagger", d.stagger),
    }))
}

pub fn migrate(own: Option<&Block>, job: Option<&Block>) -> Result<Migrate, Error> {
    let d = Migrate::default();
    let l = Layers(own, job);
    Ok(Migrate {
        max_parallel: l.u32("max_parallel", d.max_parallel)?,
        health_check: l.word("health_check", d.health_check)?,
        min_healthy_time: l.time("min_healthy_time", d.min_healthy_time),
        healthy_deadline: l.time("healthy_deadline", d.healthy_deadline),
    })
}
