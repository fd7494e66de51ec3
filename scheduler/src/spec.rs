//! What a job may contain, in one place: tables of blocks and attributes, and the two directions between a tree of
//! them and [`model::Job`].
//!
//! The job file parser and the JSON layer both produce a [`tree::Block`]; `decode` turns it into a job with every
//! default filled in, `encode` turns a job back. So a field is described once, and both doors accept the same things.
//!
//! ```text
//!  HCL  ─ jobspec ──┐                        ┌─► Job
//!  JSON ─ wire ─────┴─► Block ── decode ─────┘
//!  JSON ◄ wire ─────── Block ◄── encode ──────── Job
//! ```
//!
//! Refuses: I/O, and judging whether a job makes sense (that is `validate`).

pub mod decode;
pub mod duration;
pub mod encode;
pub mod place;
pub mod schema;
pub mod suggest;
pub mod tree;
pub mod words;

pub use tree::{Block, Data, Error, Field, Place};
