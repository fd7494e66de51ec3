//! Constraints, affinities, spreads and policies.

use model::job::{Affinity, Constraint, Migrate, Operator, ReschedulePolicy, RestartPolicy, Spread, Update};

use crate::spec::tree::Block;

pub fn constraints(list: &[Constraint]) -> Vec<Block> {
    let one = |c: &Constraint| {
        let value = if c.operator == Operator::DistinctHosts { "true" } else { &c.value };
        comparison(&c.attribute, c.operator, value)
    };
    list.iter().map(one).collect()
}

fn comparison(attribute: &str, operator: Operator, value: &str) -> Block {
    let mut b = Block::default();
    b.text_field("attribute", attribute);
    b.word_field("operator", operator);
    b.text_field("value", value);
    b
}

pub fn affinities(list: &[Affinity]) -> Vec<Block> {
    let one = |a: &Affinity| {
        let mut b = comparison(&a.attribute, a.operator, &a.value);
        b.int_field("weight", a.weight);
        b
    };
    list.iter().map(one).collect()
}

pub fn spreads(list: &[Spread]) -> Vec<Block> {
    let one = |s: &Spread| {
        let mut b = Block::default();
        b.text_field("attribute", &s.attribute);
        b.int_field("weight", s.weight);
        let target = |(value, percent): &(String, u8)| {
            let mut t = Block { label: Some(value.clone()), ..Block::default() };
            t.int_field("percent", *percent);
            t
        };
        b.set_blocks("target", s.targets.iter().map(target).collect());
        b
    };
    list.iter().map(one).collect()
}

pub fn restart(p: &RestartPolicy) -> Block {
    let mut b = Block::default();
    b.int_field("attempts", p.attempts);
    b.time_field("interval", p.interval);
    b.time_field("delay", p.delay);
    b.word_field("mode", p.mode);
    b
}

pub fn reschedule(p: &ReschedulePolicy) -> Block {
    let mut b = Block::default();
    b.int_field("attempts", p.attempts);
    b.time_field("interval", p.interval);
    b.time_field("delay", p.delay);
    b.word_field("delay_function", p.delay_function);
    b.time_field("max_delay", p.max_delay);
    b.bool_field("unlimited", p.unlimited);
    b
}

pub fn update(p: &Update) -> Block {
    let mut b = Block::default();
    b.int_field("max_parallel", p.max_parallel);
    b.word_field("health_check", p.health_check);
    b.time_field("min_healthy_time", p.min_healthy_time);
    b.time_field("healthy_deadline", p.healthy_deadline);
    b.time_field("progress_deadline", p.progress_deadline);
    b.bool_field("auto_revert", p.auto_revert);
    b.bool_field("auto_promote", p.auto_promote);
    b.int_field("canary", p.canary);
    b.time_field("stagger", p.stagger);
    b
}

pub fn migrate(p: &Migrate) -> Block {
    let mut b = Block::default();
    b.int_field("max_parallel", p.max_parallel);
    b.word_field("health_check", p.health_check);
    b.time_field("min_healthy_time", p.min_healthy_time);
    b.time_field("healthy_deadline", p.healthy_deadline);
    b
}
