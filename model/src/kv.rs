//! Keys and values, and the sessions that lock them.

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    id::{CheckId, Index, NodeName, SessionId},
    time::Timestamp,
};

/// The largest value, in bytes.
pub const MAX_VALUE: usize = 512 * 1024;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvEntry {
    pub value: bytes::Bytes,
    pub flags: u64,
    /// How often the key was locked.
    pub lock_index: u64,
    pub session: Option<SessionId>,
    pub create_index: Index,
    pub modify_index: Index,
}

/// Conditions of a write. At most one is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvGuard {
    None,
    /// Only if the key's modify index is this; 0 = only if the key does not exist.
    Cas(Index),
    Acquire(SessionId),
    Release(SessionId),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvOp {
    Put {
        key: String,
        value: bytes::Bytes,
        flags: u64,
        guard: KvGuard,
    },
    Delete {
        key: String,
        guard: KvGuard,
    },
    DeleteTree {
        prefix: String,
    },
    /// Change nothing; the transaction fails when this does not hold.
    Check {
        key: String,
        test: KvTest,
    },
}

/// What a transaction may ask of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvTest {
    Exists,
    NotExists,
    /// The key exists and its modify index is this.
    Index(Index),
    /// The key exists and this session holds it.
    HeldBy(SessionId),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionBehavior {
    #[default]
    Release,
    Delete,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub id: SessionId,
    pub name: String,
    pub node: NodeName,
    pub checks: BTreeSet<CheckId>,
    pub lock_delay: Duration,
    pub behavior: SessionBehavior,
    /// Zero: lives until destroyed or its checks fail.
    pub ttl: Duration,
    /// When the session ends unless renewed; zero without a ttl.
    pub expires_at: Timestamp,
    pub create_index: Index,
    pub modify_index: Index,
}
