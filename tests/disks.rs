//! A disk that is really full, and one that is really read-only: a small file system in memory,
//! which only root can mount. `HEDDLE_FAULTS=all` tries every amount of room, from
//! `HEDDLE_DISK_SEED` on one in [`STRIDE`] is tried otherwise.

mod support_faults;
mod support_processes;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::statvfs::statvfs;
use support_faults::{Case, check, strs};
use support_processes::{Sandbox, from_environment, read, restore};

const PAGE: u64 = 4096;
/// With so many pages left every command has room enough.
const ENOUGH: u64 = 40;
const STRIDE: u64 = 10;

/// A file system of its own for a sandbox's repository; gone when dropped.
struct Mounted(PathBuf);

impl Mounted {
    /// `None`, with a word, where nothing may be mounted.
    fn under(sandbox: &Sandbox) -> Option<Self> {
        let top = sandbox.worktree();
        let files = read(&top);
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(&top).output();
        if !mount.is_ok_and(|mount| mount.status.success()) {
            println!("skipped: nothing can be mounted here");
            return None;
        }
        restore(&top, &files);
        Some(Self(top))
    }

    fn remount(&self, how: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&self.0).status();
        assert!(done.is_ok_and(|status| status.success()), "remounted {how}");
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn full_with(make: impl Fn(&Sandbox) -> Case) {
    let sandbox = Sandbox::new();
    let case = make(&sandbox);
    let Some(disk) = Mounted::under(&sandbox) else { return };
    let before = read(&disk.0);
    let refs = sandbox.git(&["for-each-ref"]);
    let seed = from_environment("HEDDLE_DISK_SEED", u64::from(std::process::id()));
    let all = std::env::var_os("HEDDLE_FAULTS").is_some_and(|value| value == "all");
    // What a command leaves below the logs nobody compares.
    let ballast = sandbox.git_dir().join("heddle/logs/ballast");
    let (mut tried, mut failed) = (0, 0);
    for pages in (0..=ENOUGH).filter(|pages| all || *pages == ENOUGH || (pages + seed).is_multiple_of(STRIDE))
    {
        restore(&disk.0, &before);
        fs::create_dir_all(ballast.parent().expect("a folder")).expect("folder");
        let room = statvfs(&disk.0).expect("its size");
        let room = room.blocks_available() * room.fragment_size();
        let filling = usize::try_from(room.saturating_sub(pages * PAGE)).expect("a size");
        fs::write(&ballast, vec![0; filling]).expect("ballast");
        let answer = sandbox.heddle(&strs(&case.command));
        fs::remove_file(&ballast).expect("removed");
        let about = format!("{}, disk full but for {pages} pages (HEDDLE_DISK_SEED={seed})", case.name);
        println!("{about}: {:?}", answer.code);
        tried += 1;
        failed += usize::from(answer.code != Some(0));
        check(&sandbox, &case, (&before, &refs), &answer, &about);
    }
    println!("{}: {tried} full disks, {failed} failures", case.name);
    assert!(failed < tried, "{}: {tried} tried, {failed} failed", case.name);
}

#[test]
fn on_a_full_disk_what_an_agent_does_is_done_or_changes_nothing() {
    full_with(support_faults::reserve);
    full_with(support_faults::heartbeat);
    full_with(support_faults::capture);
    full_with(support_faults::mark);
    full_with(support_faults::release);
    full_with(support_faults::run);
}

#[test]
fn on_a_full_disk_what_is_done_to_threads_is_done_or_changes_nothing() {
    full_with(support_faults::refresh);
    full_with(support_faults::rename);
    full_with(support_faults::land);
    full_with(support_faults::drop_thread);
    full_with(support_faults::install_hooks);
}

#[test]
fn on_a_read_only_disk_everything_can_be_read_and_nothing_else() {
    let sandbox = Sandbox::new();
    let id = sandbox.heddle(&["agent", "reserve", "--thread", "t"]).ok().text("session_id");
    sandbox.write("work", "work\n");
    sandbox.heddle(&["agent", "ready", "--session", &id, "-m", "work"]).ok();
    let Some(disk) = Mounted::under(&sandbox) else { return };
    let readers: [&[&str]; 8] = [
        &["--json", "agent", "show", &id],
        &["--json", "thread", "list", "--all"],
        &["--json", "thread", "show", "t"],
        &["thread", "log", "t"],
        &["thread", "diff", "t"],
        &["log"],
        &["--json", "gc", "--dry-run"],
        &["verify"],
    ];
    let writers: [&[&str]; 10] = [
        &["agent", "reserve", "--thread", "u"],
        &["agent", "heartbeat", "--session", &id],
        &["agent", "capture", "--session", &id, "--allow-empty", "-m", "more"],
        &["agent", "ready", "--session", &id],
        &["agent", "release", "--session", &id],
        &["agent", "run", "--thread", "u", "--", "true"],
        &["thread", "land", "t"],
        &["thread", "rename", "t", "u", "--session", &id],
        &["thread", "drop", "t", "--force"],
        &["hooks", "install"],
    ];
    // How long ago something was is told in seconds.
    let told = |text: &str| text.split_inclusive(|at: char| !at.is_ascii_digit()).count();
    let before: Vec<_> = readers.iter().map(|reader| sandbox.heddle(reader)).collect();
    let files = read(&disk.0);
    disk.remount("ro");
    for (reader, before) in readers.iter().zip(&before) {
        let now = sandbox.heddle(reader);
        assert_eq!((now.code, told(&now.stdout)), (before.code, told(&before.stdout)), "{reader:?}: {now:?}");
    }
    for writer in writers {
        let refused = sandbox.heddle(writer);
        assert!(matches!(refused.code, Some(1 | 75 | 128)), "{writer:?}: {refused:?}");
        assert_eq!(refused.stderr.matches("error: ").count(), 1, "{writer:?}: {refused:?}");
    }
    assert!(read(&disk.0) == files);
    disk.remount("rw");
    sandbox.heddle(&["agent", "release", "--session", &id]).ok();
    sandbox.assert_clean("after the read-only disk");
}
