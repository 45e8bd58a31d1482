//! How libgit2 is to behave in this process: its options are global.

#![expect(unsafe_code, reason = "libgit2's options are global; these are set before any other thread exists")]

/// Has it sync objects and refs before it reports them as written. It asks for that when
/// refs or objects are first used.
pub(super) fn sync_what_it_writes() {
    // SAFETY: it sets one global flag; heddle opens repositories from one thread.
    let _ = unsafe {
        libgit2_sys::git_libgit2_opts(libgit2_sys::GIT_OPT_ENABLE_FSYNC_GITDIR as std::ffi::c_int, 1)
    };
}

/// Has it keep trees that it has read also where they are large, as the tops of large
/// repositories are: a capture looks at them again and again.
pub(super) fn remember_large_trees() {
    const TREE: usize = 64 << 10;
    const TOGETHER: isize = 32 << 20;
    // SAFETY: it sets global numbers; heddle opens repositories from one thread.
    let _ = unsafe {
        git2::opts::set_cache_object_limit(git2::ObjectType::Tree, TREE)
            .and_then(|()| git2::opts::set_cache_max_size(TOGETHER))
    };
}

/// Has it open a repository of another owner.
pub(super) fn trust_git() {
    // SAFETY: it sets one global flag; heddle opens repositories from one thread.
    let _ = unsafe { git2::opts::set_verify_owner_validation(false) };
}

/// Extensions that it does not know and that do not concern it. Of a partial clone commits
/// are always there, and what has to be fetched first is read by the git program; refs that are
/// in another format are never read by it.
pub(super) const EXTENSIONS: [&str; 2] = ["partialclone", "refstorage"];

/// Has it open repositories with [`EXTENSIONS`].
pub(super) fn allow_extensions() {
    // SAFETY: it sets one global list; heddle opens repositories from one thread.
    let _ = unsafe { git2::opts::set_extensions(&EXTENSIONS) };
}

/// Has it spare comparing every object that is read with its name, as Git itself does where it
/// only looks: for commands that show and write nothing.
pub fn only_look() {
    git2::opts::strict_hash_verification(false);
}

/// Has it keep no tree that it has read: for commands that read many, and each once or keep
/// it themselves. To keep a thousand trees for nothing takes as long as to read them.
pub fn read_trees_once() {
    // SAFETY: it sets a global number; commands ask for it before they start a thread.
    let _ = unsafe { git2::opts::set_cache_object_limit(git2::ObjectType::Tree, 0) };
}
