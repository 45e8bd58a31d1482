//! What the program says: JSON documents, text for people, hints, exit codes.

pub mod documents;
pub mod exit;
