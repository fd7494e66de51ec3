//! JSON types of the API and their conversions; foreign field names live here and in the answers beside it.

pub mod alloc;
pub mod deployment;
pub mod eval;
pub mod job;
pub mod node;
pub mod service;
pub mod summary;
pub mod time;
