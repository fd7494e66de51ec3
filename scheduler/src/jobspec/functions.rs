//! The functions a job file may call, by name.
//!
//! Each takes its arguments already worked out and answers a value or a sentence saying what was wrong.

use std::path::Path;

use model::driver_config::Value;

/// What a function may know besides its arguments.
pub struct Context<'a> {
    /// The directory files may be read below; `None` where reading is refused.
    pub files: Option<&'a Path>,
}

pub type Answer = Result<Value, String>;

/// Call a function.
///
/// # Errors
/// When there is no such function, or its arguments do not fit.
pub fn call(name: &str, _args: &[Value], _context: &Context<'_>) -> Answer {
    Err(format!("there is no function {name:?}"))
}
