//! What is told of changes in a tree of folders, on every system.

/// A path at which something changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// From the top folder.
    pub path: Vec<u8>,
    /// Whether anything below it may have changed too.
    pub whole: bool,
}

/// Why nothing can be told any more.
#[derive(Debug)]
pub enum Trouble {
    /// Changes were lost, and what is watched is not all; it can be begun anew.
    Lost,
    /// It cannot be watched at all.
    Unable(String),
}
