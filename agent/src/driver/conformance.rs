//! One suite for every driver: the same promises, asked of each.
