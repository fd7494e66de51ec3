//! The harness of the end-to-end tests: real processes, real sockets, waits that poll with a deadline.
//!
//! Owns starting, killing and asking an agent. Knows no crate of Trine but the vocabulary: it sees what a user sees.

use std::time::{Duration, Instant};

pub mod dns;
pub mod docker;
pub mod http;
pub mod process;
pub mod shared;

/// Say something even when the test runner captures output: why a test was skipped, what a count was.
pub fn say(line: &str) {
    use std::io::Write;
    // Nothing to be done if stderr is closed.
    writeln!(std::io::stderr(), "{line}").ok();
}

/// Poll until `probe` gives a value, or fail with what it last complained of.
pub fn eventually<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        match probe() {
            Ok(value) => return value,
            Err(why) if Instant::now() > deadline => panic!("{what}: not within {limit:?}: {why}"),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// A part of the machine a test needs and does not find. Where `TRINE_REQUIRE` names the part, its absence fails.
pub fn skip(part: &str, why: &str) {
    let required = std::env::var("TRINE_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|p| p == part), "{part} is required here, but: {why}");
    say(&format!("skipped, needs {part}: {why}"));
}
