//! Consul's JSON: how the catalog is shown, and how bodies are read.

pub(super) mod check;
pub(super) mod decode;
pub(super) mod node;
pub(super) mod registration;
pub(super) mod service;
