//! Restart, reschedule, update and migrate policies.

use std::time::Duration;

use model::{
    Group, JobKind,
    job::{Migrate, ReschedulePolicy, RestartPolicy, Update},
};

use super::Report;

const SHORTEST: Duration = Duration::from_secs(5);

pub fn all(kind: JobKind, group: &Group, place: &str, report: &mut Report) {
    restart(&group.restart, place, report);
    if !kind.per_node() {
        reschedule(&group.reschedule, place, report);
    }
    if let Some(u) = &group.update {
        update(u, group.count, place, report);
    }
    if kind == JobKind::Service {
        migrate(&group.migrate, place, report);
    }
}

pub fn restart(p: &RestartPolicy, place: &str, report: &mut Report) {
    if p.attempts == 0 {
        return;
    }
    report.rule(p.interval >= SHORTEST, place, || {
        format!("restart: \"interval\" must be at least 5s, not {:?}", p.interval)
    });
    let needed = p.delay.saturating_mul(p.attempts);
    report.rule(needed <= p.interval, place, || {
        format!(
            "restart: {} attempts with a delay of {:?} take {needed:?}, longer than the interval of {:?}; raise \"interval\"",
            p.attempts, p.delay, p.interval
        )
    });
}

fn reschedule(p: &ReschedulePolicy, place: &str, report: &mut Report) {
    if !p.enabled() {
        return;
    }
    report.rule(p.delay >= SHORTEST, place, || format!("reschedule: \"delay\" must be at least 5s, not {:?}", p.delay));
    let grows = p.delay_function != model::job::DelayFunction::Constant;
    report.rule(!grows || p.max_delay >= p.delay, place, || {
        format!("reschedule: \"max_delay\" ({:?}) must not be shorter than \"delay\" ({:?})", p.max_delay, p.delay)
    });
    if p.unlimited {
        if p.attempts > 0 {
            report.warn(place, "reschedule: \"attempts\" has no effect while \"unlimited\" is true");
        }
        return;
    }
    report.rule(p.interval >= Duration::from_secs(15), place, || {
        format!("reschedule: \"interval\" must be at least 15s when \"attempts\" is set, not {:?}", p.interval)
    });
}

fn update(u: &Update, count: u32, place: &str, report: &mut Report) {
    report.rule(u.min_healthy_time < u.healthy_deadline || u.max_parallel == 0, place, || {
        format!(
            "update: \"min_healthy_time\" ({:?}) must be shorter than \"healthy_deadline\" ({:?})",
            u.min_healthy_time, u.healthy_deadline
        )
    });
    report.rule(u.progress_deadline.is_zero() || u.healthy_deadline < u.progress_deadline, place, || {
        format!(
            "update: \"healthy_deadline\" ({:?}) must be shorter than \"progress_deadline\" ({:?}); 0 switches the latter off",
            u.healthy_deadline, u.progress_deadline
        )
    });
    report.rule(!u.auto_promote || u.canary > 0, place, || {
        "update: \"auto_promote\" needs \"canary\" of 1 or more".into()
    });
    report.rule(u.max_parallel > 0 || u.canary == 0, place, || {
        "update: \"canary\" needs \"max_parallel\" of 1 or more".into()
    });
    if u.max_parallel > count && count > 0 {
        report
            .warn(place, format!("update: \"max_parallel\" ({}) is greater than \"count\" ({count})", u.max_parallel));
    }
    if u.canary > count && count > 0 {
        report.warn(place, format!("update: \"canary\" ({}) is greater than \"count\" ({count})", u.canary));
    }
}

fn migrate(m: &Migrate, place: &str, report: &mut Report) {
    report.rule(m.min_healthy_time < m.healthy_deadline, place, || {
        format!(
            "migrate: \"min_healthy_time\" ({:?}) must be shorter than \"healthy_deadline\" ({:?})",
            m.min_healthy_time, m.healthy_deadline
        )
    });
}
