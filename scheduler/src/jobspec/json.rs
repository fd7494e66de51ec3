//! Job files written as JSON: the API's own form.

use super::{Error, ParseOptions, Parsed, text::Source};
use crate::{http::wire, spec::Place};

/// Read a JSON text: a job as the API has it, bare or wrapped as `{"Job": …}`.
pub fn parse(input: &Source<'_>, _options: &ParseOptions) -> Result<Parsed, Error> {
    let json: serde_json::Value = serde_json::from_str(input.text).map_err(|e| {
        let line_start: usize = input.text.split_inclusive('\n').take(e.line().saturating_sub(1)).map(str::len).sum();
        let at = (line_start + e.column().saturating_sub(1)).min(input.text.len());
        input.error(&Place::Span(at..at), format!("this is not JSON: {e}"))
    })?;
    let body = json.get("Job").filter(|j| j.is_object()).unwrap_or(&json);
    let mut job = wire::job::from_json(body).map_err(|e| input.error(&Place::Path(e.path), e.message))?;
    job.source = Some(input.text.to_owned());
    Ok(Parsed { job, warnings: Vec::new() })
}
