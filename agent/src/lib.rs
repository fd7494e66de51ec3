//! Skeleton.
pub mod ui;
