//! Job files written as JSON: the API's own form, or a job file's blocks spelled as objects.

use model::{Job, driver_config::Value as Tree};
use serde_json::Value;

use super::{
    Error, ParseOptions, Parsed,
    eval::{Declared, Root},
    text::Source,
    walk::blocks_of_value,
};
use crate::{
    http::wire,
    spec::{self, Place, schema},
};

/// Read a JSON text: a job as the API has it, bare or wrapped as `{"Job": …}`, or `{"job": {"<id>": {…}}}`.
pub fn parse(input: &Source<'_>, _options: &ParseOptions) -> Result<Parsed, Error> {
    let json: Value = serde_json::from_str(input.text).map_err(|e| {
        let line_start: usize = input.text.split_inclusive('\n').take(e.line().saturating_sub(1)).map(str::len).sum();
        let at = (line_start + e.column().saturating_sub(1)).min(input.text.len());
        input.error(&Place::Span(at..at), format!("this is not JSON: {e}"))
    })?;
    let mut job = if is_job_file(&json) {
        job_file(&json).map_err(|e| input.error(&e.place, e.message))?
    } else {
        let body = json.get("Job").filter(|j| j.is_object()).unwrap_or(&json);
        wire::job::from_json(body).map_err(|e| input.error(&Place::Path(e.path), e.message))?
    };
    job.source = Some(input.text.to_owned());
    Ok(Parsed { job, warnings: Vec::new() })
}

/// Whether the document spells the blocks of a job file, and not the API's job.
fn is_job_file(json: &Value) -> bool {
    json.get("job").and_then(Value::as_object).is_some_and(|j| !j.contains_key("ID") && !j.contains_key("TaskGroups"))
}

fn job_file(json: &Value) -> Result<Job, spec::Error> {
    let at = |name: &str| Place::Path(name.to_owned());
    if let Some(other) = json.as_object().into_iter().flat_map(|o| o.keys()).find(|k| *k != "job") {
        let message = format!("a JSON job file holds \"job\" only, not {other:?}; write the file as HCL to use it");
        return Err(spec::Error::new(&at(other), message));
    }
    let tree = filled(&json["job"], "job")?;
    let mut blocks = blocks_of_value(&tree, &schema::JOB, &at("job"))?;
    match (blocks.pop(), blocks.is_empty()) {
        (Some(job), true) => spec::decode::job(job),
        _ => Err(spec::Error::new(&at("job"), "a job file holds one job: {\"job\": {\"<id>\": {…}}}")),
    }
}

/// The document with its texts worked out as templates, as they would be between quotes in a job file.
fn filled(json: &Value, path: &str) -> Result<Tree, spec::Error> {
    Ok(match json {
        Value::String(s) => {
            let place = Place::Path(path.to_owned());
            let template = hcl_edit::parser::parse_template(s).map_err(|e| spec::Error::new(&place, e.message()))?;
            let text = Root::new(s, None, Declared::default()).scope().render(&template, &place);
            Tree::Str(text.map_err(|e| spec::Error::new(&place, e.message))?)
        }
        Value::Array(l) => {
            let all = l.iter().enumerate().map(|(i, v)| filled(v, &format!("{path}[{i}]")));
            Tree::List(all.collect::<Result<_, _>>()?)
        }
        Value::Object(o) => {
            let all = o.iter().map(|(k, v)| Ok((k.clone(), filled(v, &format!("{path}.{k}"))?)));
            Tree::Map(all.collect::<Result<_, spec::Error>>()?)
        }
        plain => Tree::from(plain),
    })
}
