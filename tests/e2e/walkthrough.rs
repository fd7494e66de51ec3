//! README's first command, with both drivers.

use std::{process::Command, time::Instant};

use tests::{docker, say, shared, skip};

use crate::TRINE;

fn walk(args: &[&str]) -> String {
    let started = Instant::now();
    let out =
        Command::new(TRINE).args(["walkthrough", "-exit", "-free-ports"]).args(args).output().expect("the binary runs");
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert_eq!(out.status.code(), Some(0), "{text}");
    say(&format!("walkthrough {args:?}: {:.1} s", started.elapsed().as_secs_f64()));
    text
}

fn evidence(text: &str) {
    for wanted in
        ["Hello and welcome to", "NOMAD_ADDR", "http-echo.service.consul", "Update successful!", "1000", "0 failed"]
    {
        assert!(text.contains(wanted), "no {wanted:?} in:\n{text}");
    }
}

#[test]
fn with_raw_exec() {
    evidence(&walk(&[]));
}

#[test]
fn with_docker() {
    if let Err(why) = docker::engine() {
        return skip("docker", &why);
    }
    docker::build_image(&shared::root(), TRINE.as_ref(), "hashicorp/http-echo:latest");
    evidence(&walk(&["-driver", "docker"]));
}
