//! Script probes: exit code 0 is passing, 1 warning, anything else critical.

use std::time::Duration;

use model::check::Verdict;

use super::{Finding, ScriptRunner};

pub(super) async fn probe(command: &str, args: &[String], limit: Duration, scripts: &dyn ScriptRunner) -> Finding {
    match scripts.run(command, args, limit).await {
        Ok((0, output)) => Finding::new(Verdict::Passing, output),
        Ok((1, output)) => Finding::new(Verdict::Warning, output),
        Ok((code, output)) if output.is_empty() => Finding::critical(format!("{command}: exit code {code}")),
        Ok((_, output)) => Finding::critical(output),
        Err(why) => Finding::critical(format!("{command}: {why}")),
    }
}
