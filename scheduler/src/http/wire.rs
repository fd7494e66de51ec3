//! JSON types of the API and their conversions; foreign field names live here and in the answers beside it.

pub mod agent;
pub mod alloc;
pub mod answer;
pub mod body;
pub mod deployment;
pub mod eval;
pub mod event;
pub mod job;
pub mod node;
pub mod plan;
pub mod search;
pub mod service;
pub mod summary;
pub mod time;
