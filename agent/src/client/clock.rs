//! The wall clock, as the model counts time.

use std::time::{SystemTime, UNIX_EPOCH};

use model::Timestamp;

/// Now; zero on a machine whose clock stands before 1970.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
