//! Health verdicts: the three words of the catalog and how they combine.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The state of one check, or the worst of several. Ordered: passing < warning < critical.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verdict {
    Passing,
    Warning,
    Critical,
}

impl Verdict {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// The worst of several; passing when there is none.
    #[must_use]
    pub fn worst(all: impl IntoIterator<Item = Self>) -> Self {
        all.into_iter().max().unwrap_or(Self::Passing)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The word was not one of passing, warning, critical.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("health is \"passing\", \"warning\" or \"critical\", not {0:?}")]
pub struct NotAVerdict(pub String);

impl FromStr for Verdict {
    type Err = NotAVerdict;

    fn from_str(s: &str) -> Result<Self, NotAVerdict> {
        match s {
            "passing" => Ok(Self::Passing),
            "warning" => Ok(Self::Warning),
            "critical" => Ok(Self::Critical),
            other => Err(NotAVerdict(other.to_owned())),
        }
    }
}
