//! Signal names as job files and the API write them.

use nix::sys::signal::Signal;

use super::Error;

/// `SIGTERM`, `TERM` or `sigterm`; anything else is refused with the words clients match on.
pub fn parse(name: &str) -> Result<Signal, Error> {
    let upper = name.trim().to_ascii_uppercase();
    let full = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    full.parse::<Signal>().map_err(|_| Error::Signal(name.chars().take(32).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(parse("SIGUSR1").expect("known"), Signal::SIGUSR1);
        assert_eq!(parse("hup").expect("known"), Signal::SIGHUP);
        assert!(parse("SIGNOPE").expect_err("unknown").to_string().contains("invalid signal"));
        assert!(parse("").is_err());
    }
}
