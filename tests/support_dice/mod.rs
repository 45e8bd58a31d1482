//! Random edits of a worktree that are the same every time.

use std::fs;
use std::path::Path;

/// Numbers that look random and are the same every time.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number below `sides`.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % sides
    }

    /// One of them.
    pub(crate) fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }
}

/// Removes whatever is at `path`.
pub(crate) fn remove(path: &Path) {
    let _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
}

/// Makes `path` a file, whatever is in the way.
pub(crate) fn place(root: &Path, path: &str, make: impl Fn(&Path)) {
    let mut at = root.to_owned();
    for component in Path::new(path).parent().expect("folder").components() {
        at.push(component);
        if !fs::symlink_metadata(&at).is_ok_and(|meta| meta.is_dir()) {
            remove(&at);
            fs::create_dir(&at).expect("folder");
        }
    }
    remove(&root.join(path));
    make(&root.join(path));
}
