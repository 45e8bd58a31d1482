//! The `git-heddle` program.

fn main() {}
