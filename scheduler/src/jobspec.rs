//! Job files: HCL2 text becomes a [`model::Job`] with every default filled in.
//!
//! ```text
//!  text ─ hcl-edit ─► syntax tree ─ variables, locals ─► scope ─ walk (by the tables of `spec`) ─► Block ─ decode ─► Job
//! ```
//!
//! What stands in `${…}` and is unknown here (`NOMAD_PORT_http`, `attr.kernel.name`, a shell variable) survives as
//! text for the client to fill in. Every error says file, line and column, shows the line, and suggests the likely name.
//!
//! Refuses: reading files unless [`ParseOptions::files`] allows it, input above [`MAX_SOURCE`], and work above a budget.

mod eval;
mod functions;
mod json;
mod text;
mod types;
mod variables;
mod walk;

use std::{collections::BTreeMap, path::PathBuf};

use model::Job;

use crate::spec::{self, Place};
pub use text::Error;
use text::Source;

/// The longest job file that is read, in bytes.
pub const MAX_SOURCE: usize = 1024 * 1024;

/// Everything besides the text that decides what a job file means.
#[derive(Clone, Debug)]
pub struct ParseOptions {
    /// How the text is called in messages.
    pub file_name: String,
    /// `-var name=value`, in order; the last one wins.
    pub variables: Vec<(String, String)>,
    /// Variable files: name and text, in order.
    pub variable_files: Vec<(String, String)>,
    /// `NOMAD_VAR_<name>` of the environment, without the prefix. Unknown names are left alone.
    pub environment: BTreeMap<String, String>,
    /// Refuse variables the file does not declare; otherwise they only warn.
    pub strict: bool,
    /// The directory `file()` and its like may read below; `None` refuses them, as a server must.
    pub files: Option<PathBuf>,
}

impl Default for ParseOptions {
    fn default() -> Self {
        Self {
            file_name: "job.hcl".into(),
            variables: Vec::new(),
            variable_files: Vec::new(),
            environment: BTreeMap::new(),
            strict: true,
            files: None,
        }
    }
}

/// A job, and what its author should know.
#[derive(Clone, Debug)]
pub struct Parsed {
    pub job: Job,
    pub warnings: Vec<String>,
}

/// Read a job file. A text that starts with `{` is read as JSON.
///
/// # Errors
/// The first mistake, with its place; see [`Error`].
pub fn parse(source: &str, options: &ParseOptions) -> Result<Parsed, Error> {
    let text = source.strip_prefix('\u{feff}').unwrap_or(source);
    let input = Source { name: &options.file_name, text };
    if text.len() > MAX_SOURCE {
        let message = format!("the job file is larger than {} KiB; split the job", MAX_SOURCE / 1024);
        return Err(input.error(&Place::Nowhere, message));
    }
    if let Some(at) = text.find('\0') {
        return Err(input.error(&Place::Span(at..at + 1), "a job file is text; it must not hold NUL bytes"));
    }
    if text.trim().is_empty() {
        return Err(input.error(&Place::Nowhere, "the job file is empty; it needs one block: job \"<id>\" { … }"));
    }
    if text.trim_start().starts_with('{') {
        return json::parse(&input, options);
    }
    let body = hcl_edit::parser::parse_body(text).map_err(|e| input.syntax_error(&e))?;
    let mut warnings = Vec::new();
    let declared = variables::collect(&body, options, &input, &mut warnings)?;
    let scope = eval::Root::new(text, options.files.as_deref(), declared);
    let block = walk::job(&body, &scope).map_err(|e| input.error(&e.place, e.message))?;
    let mut job = spec::decode::job(block).map_err(|e| input.error(&e.place, e.message))?;
    job.source = Some(source.to_owned());
    Ok(Parsed { job, warnings })
}

#[cfg(test)]
mod tests;
