//! How a hook knows a child of heddle's own.
//!
//! Some refs are written by the git program on heddle's behalf (`git update-ref --stdin`,
//! `git worktree add`), and Git runs its hooks for that as for anybody. Such a child gets
//! `HEDDLE_VOUCHER` in its environment: the number of one byte, chosen at random, of the file
//! `locks/%vouchers.lock`, on which its parent holds a lock for exactly as long as the child
//! runs. The hook asks the system whether that byte is locked.
//!
//! Nothing is written: the file stays empty, and a voucher dies with the process that issued
//! it, so a copy of the variable that outlives the child is worth nothing. What runs *in* the
//! child, the user's own hooks, has it as long as the child has. Whoever may read and write
//! the Git directory can move a ref by an editor; this keeps out whoever uses Git.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use super::Layout;
use super::atomic_file::no_follow;
use crate::platform;

/// The variable.
pub const VARIABLE: &str = "HEDDLE_VOUCHER";

/// A voucher in force. It ends when dropped.
#[must_use = "the voucher ends when this value is dropped"]
#[derive(Debug)]
pub struct Voucher {
    _file: File,
    place: i64,
}

impl Voucher {
    /// Issues one in the repository with this common Git directory. `None` where no file can
    /// be locked, as in a read-only repository, where no ref can be written either.
    #[must_use]
    pub fn issue(common_dir: &Path) -> Option<Self> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = Layout::new(common_dir).vouchers();
        std::fs::create_dir_all(path.parent()?).ok()?;
        let file = no_follow().read(true).write(true).create(true).mode(0o666).open(path).ok()?;
        let place = platform::random_place().ok()?;
        platform::hold_byte(&file, place).ok()?;
        Some(Self { _file: file, place })
    }

    /// Gives it to `command`.
    pub fn hand_to(&self, command: &mut Command) {
        command.env(VARIABLE, self.place.to_string());
    }
}

/// Whether `voucher`, the value of [`VARIABLE`], is in force in the repository with this
/// common Git directory.
#[must_use]
pub fn is_in_force(common_dir: &Path, voucher: &str) -> bool {
    let place = voucher.parse().ok().filter(|place| *place >= 0);
    let file = no_follow().read(true).open(Layout::new(common_dir).vouchers());
    match (place, file) {
        (Some(place), Ok(file)) => platform::is_byte_held(&file, place).unwrap_or(false),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voucher_is_worth_something_only_while_it_is_held() {
        let folder = tempfile::tempdir().expect("folder");
        assert!(!is_in_force(folder.path(), "7"));
        let voucher = Voucher::issue(folder.path()).expect("a voucher");
        let text = voucher.place.to_string();
        assert!(is_in_force(folder.path(), &text));
        assert!(!is_in_force(folder.path(), &(voucher.place - 1).to_string()));
        for nonsense in ["", "-1", "x", "99999999999999999999999"] {
            assert!(!is_in_force(folder.path(), nonsense));
        }
        drop(voucher);
        // A child that another test starts in this process has the file open until it becomes a program.
        let limit = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while is_in_force(folder.path(), &text) {
            assert!(std::time::Instant::now() < limit);
            std::thread::yield_now();
        }
    }
}
