//! Reservations for coding agents that share one Git repository.

pub mod cli;
pub mod cmd;
pub mod git;
pub mod names;
pub mod output;
