//! The text of a job file and complaints about it: line, column, the line itself, a caret.

use std::fmt;

use crate::spec::Place;

/// What is wrong with a job file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub file: String,
    /// Counted from 1; 0 when the complaint is about the whole file.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    pub message: String,
    /// The offending line, cut when very long.
    pub excerpt: String,
    /// How many characters the caret underlines.
    pub width: usize,
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return write!(f, "{}: {}", self.file, self.message);
        }
        writeln!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let indent: String =
            self.excerpt.chars().take(self.column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        writeln!(f, " {margin} |")?;
        writeln!(f, " {number} | {}", self.excerpt)?;
        write!(f, " {margin} | {indent}{}", "^".repeat(self.width.max(1)))
    }
}

/// A named text.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub name: &'a str,
    pub text: &'a str,
}

const MAX_EXCERPT: usize = 160;

impl Source<'_> {
    pub fn error(&self, place: &Place, message: impl Into<String>) -> Error {
        let message = message.into();
        match place {
            Place::Nowhere => self.at(0, 0, message, 0),
            Place::Path(path) => self.at(0, 0, format!("{path}: {message}"), 0),
            Place::Span(span) => {
                let start = span.start.min(self.text.len());
                let before = self.text.get(..start).unwrap_or("");
                let line_start = before.rfind('\n').map_or(0, |i| i + 1);
                let line = before.matches('\n').count() + 1;
                let column = before[line_start..].chars().count() + 1;
                let shown = self.text.get(span.clone()).unwrap_or("");
                let width = shown.lines().next().unwrap_or("").trim_end().chars().count();
                self.at(line, column, message, width)
            }
        }
    }

    pub fn syntax_error(&self, e: &hcl_edit::parser::Error) -> Error {
        let at = e.location();
        self.at(at.line(), at.column(), e.message().to_owned() + self.advice(at.line()), 1)
    }

    /// Mistakes that old job files make and that the parser's message does not explain.
    fn advice(&self, line: usize) -> &'static str {
        let text = self.text.lines().nth(line.saturating_sub(1)).unwrap_or("").trim();
        if text.starts_with('"') {
            return " (names of attributes are written without quotes)";
        }
        if text.contains('{') && text.matches('=').count() > 1 {
            return " (a block on one line may hold one attribute only; write each on its own line)";
        }
        ""
    }

    fn at(&self, line: usize, column: usize, message: String, width: usize) -> Error {
        let text = self.text.lines().nth(line.saturating_sub(1)).unwrap_or("");
        let excerpt: String = text.chars().take(MAX_EXCERPT).collect();
        let column = column.clamp(1, MAX_EXCERPT);
        let room = excerpt.chars().count().saturating_sub(column - 1);
        Error { file: self.name.to_owned(), line, column, message, excerpt, width: width.min(room.max(1)) }
    }
}
