//! Reservations for coding agents that share one Git repository.

pub mod git;
pub mod names;
pub mod output;
