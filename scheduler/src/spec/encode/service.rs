//! Services and checks.

use model::service::{CheckRestart, CheckSpec, Probe, Service};

use crate::spec::tree::{Block, Data};

pub fn service(s: &Service) -> Block {
    let mut b = Block::default();
    b.text_field("name", &s.name);
    b.word_field("provider", s.provider);
    b.text_field("port", &s.port);
    b.strings_field("tags", &s.tags);
    b.strings_field("canary_tags", &s.canary_tags);
    b.bool_field("enable_tag_override", s.enable_tag_override);
    b.text_field("address", &s.address);
    b.word_field("address_mode", s.address_mode);
    b.text_field("task", s.task.as_ref().map_or("", |t| t.as_str()));
    b.set("meta", Data::Map(s.meta.clone()));
    b.set("canary_meta", Data::Map(s.canary_meta.clone()));
    b.word_field("on_update", s.on_update);
    let mut weights = Block::default();
    weights.int_field("passing", s.weight_passing);
    weights.int_field("warning", s.weight_warning);
    b.set_blocks("weights", vec![weights]);
    b.set_blocks("check", s.checks.iter().map(check).collect());
    b
}

fn check(c: &CheckSpec) -> Block {
    let mut b = Block::default();
    b.text_field("name", &c.name);
    probe(&c.probe, &mut b);
    b.text_field("port", &c.port);
    if let Some(mode) = c.address_mode {
        b.word_field("address_mode", mode);
    }
    b.time_field("interval", c.interval);
    b.time_field("timeout", c.timeout);
    if let Some(v) = c.initial {
        b.word_field("initial_status", v);
    }
    b.int_field("success_before_passing", c.success_before_passing);
    b.int_field("failures_before_critical", c.failures_before_critical);
    b.int_field("failures_before_warning", c.failures_before_warning);
    b.text_field("task", c.task.as_ref().map_or("", |t| t.as_str()));
    if let Some(u) = c.on_update {
        b.word_field("on_update", u);
    }
    b.set_blocks("check_restart", c.restart.iter().map(restart).collect());
    b
}

fn probe(p: &Probe, b: &mut Block) {
    match p {
        Probe::Http { method, scheme, path, headers, body, tls_skip_verify } => {
            b.text_field("type", "http");
            b.text_field("method", method);
            b.text_field("protocol", scheme);
            b.text_field("path", path);
            b.set("header", Data::Lists(headers.clone()));
            b.text_field("body", body);
            b.bool_field("tls_skip_verify", *tls_skip_verify);
        }
        Probe::Tcp => b.text_field("type", "tcp"),
        Probe::Script { command, args } => {
            b.text_field("type", "script");
            b.text_field("command", command);
            b.strings_field("args", args);
        }
        Probe::Grpc { service, tls } => {
            b.text_field("type", "grpc");
            b.text_field("grpc_service", service);
            b.bool_field("grpc_use_tls", *tls);
        }
        Probe::Ttl { ttl } => {
            b.text_field("type", "ttl");
            b.time_field("@ttl", *ttl);
        }
    }
}

fn restart(r: &CheckRestart) -> Block {
    let mut b = Block::default();
    b.int_field("limit", r.limit);
    b.time_field("grace", r.grace);
    b.bool_field("ignore_warnings", r.ignore_warnings);
    b
}
