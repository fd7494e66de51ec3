//! Blocks nobody acts on: refused where the job would run differently without them, else mentioned.

use model::{Job, driver_config::Value, job::InertBlock};

use super::Report;
use crate::spec::schema::{Role, inert_role};

pub fn blocks(job: &Job, report: &mut Report) {
    for b in &job.inert {
        match inert_role(&b.kind) {
            Role::Acts | Role::Kept => {}
            Role::Warned(_) if gives_a_token(b) => {
                report.error(
                    &b.place,
                    "\"identity\" with \"env\" or \"file\" is not supported: no token is issued; remove it",
                );
            }
            Role::Warned(what) => report.warn(&b.place, format!("\"{}\" is ignored: {what}", b.kind)),
            Role::Refused(instead) => {
                report.error(&b.place, format!("\"{}\" is not supported yet: {instead}", b.kind));
            }
        }
    }
}

/// An identity a task would read.
fn gives_a_token(b: &InertBlock) -> bool {
    let set = |name: &str| b.body.as_map().and_then(|m| m.get(name)) == Some(&Value::Bool(true));
    b.kind == "identity" && (set("env") || set("file"))
}
