//! The verbs: what each command does, without a terminal and without clap.

pub mod acting;
pub mod bound;
pub mod bring;
pub mod capture;
pub mod checks;
pub mod detail;
pub mod doctor;
pub mod drop;
pub mod gc;
pub mod heartbeat;
pub mod impact;
pub mod land;
pub mod listing;
pub mod moves;
pub mod overlap;
pub mod promote;
pub mod readiness;
pub mod ready;
pub mod release;
pub mod rename;
pub mod reserve;
pub mod run;
pub mod standing;
pub mod threads;
pub mod worktrees;
