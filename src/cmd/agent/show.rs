//! `git heddle agent show`: one session with all its fields.

/// The arguments of `show`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The session
    #[arg(value_name = "SESSION")]
    pub session: String,
}
