//! The leader's queues of evaluations: plain data structures that are handed the time. Rebuilt from the state whenever
//! leadership begins, so nothing in them needs to be durable.

pub mod blocked;
pub mod broker;
pub mod delayed;
