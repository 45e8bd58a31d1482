//! Which kind of repository a test runs in: refs in files or in tables, objects named by SHA-1 or
//! by SHA-256. `HEDDLE_TEST_FORMAT` says it for all tests that do not say it themselves:
//! `files-sha1` (the usual one), `files-sha256`, `reftable-sha1` or `reftable-sha256`.

/// A kind of repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    /// Whether refs are in the reftable format.
    pub(crate) reftable: bool,
    /// Whether objects are named by SHA-256.
    pub(crate) sha256: bool,
}

/// All kinds.
pub(crate) const ALL: [Format; 4] = [
    Format { reftable: false, sha256: false },
    Format { reftable: false, sha256: true },
    Format { reftable: true, sha256: false },
    Format { reftable: true, sha256: true },
];

/// The kind that is asked for.
pub(crate) fn asked() -> Format {
    let Ok(asked) = std::env::var("HEDDLE_TEST_FORMAT") else { return ALL[0] };
    let named = ALL.iter().find(|format| format.name() == asked);
    *named.unwrap_or_else(|| panic!("HEDDLE_TEST_FORMAT={asked} is no kind of repository"))
}

impl Format {
    pub(crate) fn name(self) -> String {
        let refs = if self.reftable { "reftable" } else { "files" };
        format!("{refs}-{}", self.hash())
    }

    fn hash(self) -> &'static str {
        if self.sha256 { "sha256" } else { "sha1" }
    }

    /// What has git make repositories of this kind.
    pub(crate) fn environment(self) -> [(&'static str, &'static str); 2] {
        let refs = if self.reftable { "reftable" } else { "files" };
        [("GIT_DEFAULT_HASH", self.hash()), ("GIT_DEFAULT_REF_FORMAT", refs)]
    }

    /// Git's own lock on a ref that all worktrees share, from the common Git directory.
    pub(crate) fn lock_of(self, name: &str) -> String {
        if self.reftable { "reftable/tables.list.lock".to_owned() } else { format!("{name}.lock") }
    }

    /// An id that names nothing, of that digit.
    pub(crate) fn id_of(self, digit: char) -> String {
        digit.to_string().repeat(if self.sha256 { 64 } else { 40 })
    }
}

/// Whether refs are files, for a test that reads or writes such files; where they are not, the
/// test is left out, and says why.
pub(crate) fn refs_are_files(why: &str) -> bool {
    if asked().reftable {
        eprintln!("left out where refs are no files: {why}");
    }
    !asked().reftable
}
