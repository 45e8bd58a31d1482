//! Reservations for coding agents that share one Git repository.
//!
//! A *thread* is a named line of work: a ref under `refs/heddle/threads`. A *session* is one
//! agent's claim on one thread, from reserve to release: JSON under `heddle/agents` in the
//! common Git directory. A thread has at most one *owner*, and a *generation* that goes up
//! with every new one, so that an owner that lost its thread can never move it again.
//!
//! # Guaranteed
//! One owner at a time under any number of processes; a crash at any instant leaves a state
//! that the next writing command on the thread repairs by itself; a refusal changes
//! nothing; reading never writes. `docs/architecture.md` has the argument, and each module
//! the part that it stands for.
//!
//! # Not guaranteed
//! That whoever writes to the Git directory by other means asks first: the rules bind those
//! who use heddle and, where hooks are installed ([`hook`]), the Git commands that run them.

pub mod cli;
pub mod cmd;
pub mod context;
pub mod error;
pub mod git;
pub mod hook;
pub mod names;
pub mod ops;
pub mod output;
pub mod platform;
pub mod session;
pub mod settings;
pub mod store;
pub mod thread;
pub mod watch;
