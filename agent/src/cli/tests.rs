//! Command lines as people write them.

use super::*;

fn normal(line: &str) -> Vec<String> {
    let mut command = Trine::command();
    command.build();
    let words = line.split_whitespace().map(OsString::from).collect();
    argv::normalise(words, &command).into_iter().map(|w| w.into_string().unwrap()).collect()
}

#[test]
fn one_dash_or_two() {
    assert_eq!(normal("trine agent -dev"), ["trine", "agent", "--dev"]);
    assert_eq!(normal("trine agent --dev"), ["trine", "agent", "--dev"]);
    assert_eq!(normal("trine agent -data-dir /x -bind=::1"), ["trine", "agent", "--data-dir=/x", "--bind=::1"]);
    assert_eq!(normal("trine agent -name n1"), ["trine", "agent", "--name=n1"]);
}

#[test]
fn a_value_is_taken_whatever_it_looks_like() {
    assert_eq!(
        normal("trine http-echo -text -listen -listen :1"),
        ["trine", "http-echo", "--text=-listen", "--listen=:1"]
    );
}

#[test]
fn booleans_may_have_a_value() {
    assert_eq!(normal("trine agent -dev=true -lb=false"), ["trine", "agent", "--dev"]);
}

#[test]
fn what_is_not_ours_is_left_alone() {
    assert_eq!(normal("trine agent -- -dev"), ["trine", "agent", "--", "-dev"]);
    assert_eq!(normal("trine agent -h"), ["trine", "agent", "-h"]);
    assert_eq!(normal("trine http-echo -1"), ["trine", "http-echo", "-1"]);
    assert_eq!(normal("trine agent -dve"), ["trine", "agent", "--dve"]);
}

#[test]
fn wrong_words_get_a_hint() {
    let error = |line: &str| {
        let words = line.split_whitespace().map(OsString::from).collect();
        parse(words).unwrap_err().to_string()
    };
    assert!(error("trine agnet").contains("agent"), "{}", error("trine agnet"));
    assert!(error("trine agent -data-dri x").contains("--data-dir"), "{}", error("trine agent -data-dri x"));
    assert!(error("trine").contains("walkthrough"));
}

#[test]
fn the_link_chooses_the_persona() {
    let words = with_command("http-echo", vec!["/usr/bin/http-echo".into(), "-text".into(), "x".into()]);
    assert!(matches!(parse(words).unwrap().command, Command::HttpEcho(_)));
    let words = with_command("fabio", vec!["fabio".into(), "-proxy.addr".into(), "10.0.0.1:80".into()]);
    assert!(matches!(parse(words).unwrap().command, Command::Fabio(_)));
}

#[test]
fn causes_are_told_once() {
    let cause = std::io::Error::other("disk full");
    let error = anyhow::Error::new(cause).context("cannot write the log").context("no start");
    assert_eq!(told(&error), "no start: cannot write the log: disk full");
    let error = anyhow::Error::new(std::io::Error::other("disk full")).context("cannot write: disk full");
    assert_eq!(told(&error), "cannot write: disk full");
}
