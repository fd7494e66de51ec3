//! Service discovery: health checks, catalog queries, DNS, and the Consul-shaped HTTP API.
//!
//! Owns what can be asked about services and how it is answered. Refuses to place or run work: services of
//! allocations arrive through the replicated state, which this crate reads and (for its own API) writes by proposing
//! commands.
//!
//! ```text
//!  Replica ─ snapshot ─► catalog (pure) ─► dns · http
//!  checks ─ Report ─► local ─► propose(CheckVerdict)
//! ```

pub mod catalog;
pub mod check;
pub mod dns;
pub mod http;
pub mod local;

#[cfg(test)]
mod fixture;
