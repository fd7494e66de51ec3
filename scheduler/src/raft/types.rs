//! The names under which the rest of `raft/` uses openraft.
//!
//! An entry carries an encoded `model::Command` as opaque bytes, so that what lies on disk and goes over the wire
//! is the model's own versioned format and never openraft's.

use std::fmt;

use bytes::Bytes;
use model::command::{Applied, Rejected};
use openraft::alias;
use serde::{Deserialize, Serialize};

openraft::declare_raft_types!(
    /// The types this Raft is made of.
    pub TypeConfig:
        D = CommandBytes,
        R = Response,
);

/// An encoded command.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandBytes(pub Bytes);

impl fmt::Debug for CommandBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for CommandBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// What the proposer gets; `None` for entries that carry no command.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Response(pub Option<Result<Applied, Rejected>>);

pub type Entry = alias::EntryOf<TypeConfig>;
pub type LogId = alias::LogIdOf<TypeConfig>;
pub type Vote = alias::VoteOf<TypeConfig>;
pub type Membership = alias::StoredMembershipOf<TypeConfig>;
pub type SnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;
pub type Payload = openraft::EntryPayload<CommandBytes, u64, openraft::BasicNode>;
