//! `git heddle doctor`: finds what is damaged or left over, and repairs it when told to.

/// The arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Repair what can be repaired, instead of saying what would be done
    #[arg(long)]
    pub fix: bool,
}
