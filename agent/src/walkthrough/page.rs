//! What the walkthrough prints: plain lines on stdout, bold titles where a terminal shows them.

use std::io::{IsTerminal as _, Write as _};

/// The output.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    bold: bool,
}

impl Page {
    /// Colour only for people: not in files, not with `NO_COLOR`.
    #[must_use]
    pub fn stdout() -> Self {
        Self { bold: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    fn line(self, text: &str) {
        let mut out = std::io::stdout().lock();
        // Whoever closed the pipe does not want to read on.
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }

    fn styled(self, code: &str, text: &str) -> String {
        if self.bold { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A line as it is.
    pub fn text(self, text: &str) {
        self.line(text);
    }

    /// A step begins.
    pub fn title(self, number: usize, text: &str) {
        self.line("");
        self.line(&self.styled("1", &format!("{number}  {text}")));
    }

    /// What a user would type.
    pub fn command(self, text: &str) {
        self.line(&format!("   $ {}", self.styled("36", text)));
    }

    /// What came of it.
    pub fn shows(self, text: &str) {
        for line in text.lines() {
            self.line(&format!("     {line}"));
        }
    }
}
