//! The client's own HTTP routes.
