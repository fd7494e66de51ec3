//! JSON types of the API and their conversions; foreign field names live here and nowhere else.

pub mod job;
