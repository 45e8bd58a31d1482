//! The only users of libgit2 and of the git program.
//!
//! Everything above this module speaks of commits, refs and paths; nothing above it knows
//! which of the two did the work. git2 reads and writes objects and refs; whatever depends
//! on the user's configuration (filters, hooks, signing, merging) is done by the user's own
//! git, started by [`program`].

mod aside;
pub mod audit;
mod backend;
pub mod changed;
pub mod commit;
mod commit_hooks;
pub mod commits;
mod complete;
pub mod config;
pub mod diff;
pub mod error;
mod exchange;
mod files;
pub mod follow;
pub mod graph;
pub mod head;
pub mod history;
mod holding;
pub mod hooks;
mod ident;
mod index_file;
mod index_splice;
mod key;
pub mod land;
pub mod library;
mod line_counts;
mod listing;
pub mod merge;
pub mod moving;
mod new_trees;
mod objects;
pub mod only;
mod packed;
pub mod places;
mod plain;
pub mod program;
pub mod rebase;
mod reflog;
pub mod refs;
mod reftable;
pub mod remote;
mod removal;
pub mod repo;
mod room;
pub mod rules;
mod said;
pub mod scratch;
mod sharing;
pub mod stage;
mod staged;
mod still;
pub mod target;
mod trailer_block;
pub mod trailers;
mod tree_form;
mod trees;
pub mod unfinished;
mod unstaged;
pub mod upkeep;
pub(crate) mod workers;
pub mod worktree;
mod write_tree;

pub use error::GitError;
pub use repo::Repo;
