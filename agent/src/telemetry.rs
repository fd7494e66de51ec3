//! Logs: levels, format, and where they go (stderr).

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// What to log and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logs {
    /// `trace`, `debug`, `info`, `warn`, `error`, or a `target=level,…` list.
    pub level: String,
    pub json: bool,
}

/// A log level that cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("log level {0:?} is not understood: use trace, debug, info, warn or error ({1})")]
pub struct BadLevel(String, String);

/// Check a level without installing anything.
pub fn filter(level: &str) -> Result<EnvFilter, BadLevel> {
    let level = if level.eq_ignore_ascii_case("warning") { "warn" } else { level };
    let plain = !level.contains(['=', ',']);
    if level.is_empty() || plain && level.parse::<tracing_subscriber::filter::LevelFilter>().is_err() {
        return Err(BadLevel(level.into(), "not a level".into()));
    }
    // Libraries speak only from `warn` up, unless asked by name.
    let directives = if plain && !level.eq_ignore_ascii_case("trace") {
        format!("warn,trine={level},model={level},scheduler={level},discovery={level},lb={level},agent={level}")
    } else {
        level.to_owned()
    };
    EnvFilter::try_new(&directives).map_err(|e| BadLevel(level.into(), e.to_string()))
}

/// Install the global subscriber. A second call (tests, in-process agents) keeps the first one.
pub fn init(logs: &Logs) -> Result<(), BadLevel> {
    let registry = tracing_subscriber::registry().with(filter(&logs.level)?);
    let layer = fmt::layer().with_writer(std::io::stderr);
    let installed = if logs.json {
        registry.with(layer.json().flatten_event(true)).try_init()
    } else {
        let colour = std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
        registry.with(layer.with_ansi(colour).with_target(false)).try_init()
    };
    // Already installed: the first caller in this process decides.
    let _ = installed;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels() {
        for good in ["info", "WARN", "warning", "debug,hyper=trace", "off"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["loud", "", "info info"] {
            assert!(filter(bad).is_err(), "{bad:?}");
        }
    }
}
