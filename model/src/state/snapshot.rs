//! The state as bytes: a version byte, then postcard. Read back whole or not at all.

use super::State;
use crate::command::{Command, FORMAT};

/// Bytes that are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("format {found} is newer than this binary's {FORMAT}; upgrade this agent")]
    Newer { found: u8 },
    #[error("damaged {what}: {source}")]
    Damaged { what: &'static str, source: postcard::Error },
    #[error("empty {0}")]
    Empty(&'static str),
}

fn body<'a>(bytes: &'a [u8], what: &'static str) -> Result<&'a [u8], DecodeError> {
    match bytes.split_first() {
        None => Err(DecodeError::Empty(what)),
        Some((&found, _)) if found > FORMAT => Err(DecodeError::Newer { found }),
        Some((_, rest)) => Ok(rest),
    }
}

fn encode<T: serde::Serialize>(value: &T, what: &'static str) -> Result<Vec<u8>, DecodeError> {
    postcard::to_extend(value, vec![FORMAT]).map_err(|source| DecodeError::Damaged { what, source })
}

impl State {
    /// A snapshot of the whole state.
    pub fn encode(&self) -> Result<Vec<u8>, DecodeError> {
        encode(self, "snapshot")
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        postcard::from_bytes(body(bytes, "snapshot")?)
            .map_err(|source| DecodeError::Damaged { what: "snapshot", source })
    }
}

impl Command {
    pub fn encode(&self) -> Result<Vec<u8>, DecodeError> {
        encode(self, "command")
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        postcard::from_bytes(body(bytes, "command")?).map_err(|source| DecodeError::Damaged { what: "command", source })
    }
}
