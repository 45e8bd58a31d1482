//! Git packs refs while others pack them and move them: that is nobody's move of a thread, and a
//! move is not taken for packing. In tables nothing is packed that hooks are asked about.

mod support_processes;

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support_processes::{Ended, Sandbox};

const TIP: &str = "refs/heddle/threads/t";

/// A thread `t` with a capture, packed; where it began, and where it is.
fn packed() -> (Sandbox, String, String) {
    let sandbox = Sandbox::new();
    let session = sandbox.heddle(&["agent", "reserve", "--thread", "t"]).ok().text("session_id");
    sandbox.write("work", "work\n");
    sandbox.heddle(&["agent", "capture", "--session", &session, "-m", "work"]).ok();
    // So that whoever asks is a stranger.
    sandbox.heddle(&["agent", "release", "--session", &session]).ok();
    sandbox.git(&["pack-refs", "--all", "--no-prune"]);
    let (first, tip) = (sandbox.commit("main"), sandbox.commit(TIP));
    (sandbox, first, tip)
}

/// What the hook says to a stranger about a ref that is about to change.
fn asked(sandbox: &Sandbox, old: &str, new: &str) -> Ended {
    let line = format!("{old} {new} {TIP}");
    sandbox.heddle(&["hooks", "run", "reference-transaction", "prepared", &line])
}

#[test]
fn what_moves_while_it_is_packed_does_not_stop_the_packing() {
    if support_processes::format::asked().reftable {
        return;
    }
    let (sandbox, first, _) = packed();
    let zeros = "0".repeat(40);
    let lock = sandbox.git_dir().join("packed-refs.lock");
    let ref_lock = sandbox.git_dir().join(format!("{TIP}.lock"));
    // A move: nobody has packed-refs locked.
    assert_eq!(asked(&sandbox, &zeros, &first).code, Some(1));
    // It was read as `first`, and has moved on.
    fs::write(&lock, "").expect("lock");
    asked(&sandbox, &zeros, &first).ok();
    // A move, while somebody packs.
    fs::write(&ref_lock, "").expect("lock");
    let refused = asked(&sandbox, &zeros, &first);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("moves for its owner only"), "{refused:?}");
}

#[test]
fn others_that_pack_do_not_stop_the_pruning() {
    if support_processes::format::asked().reftable {
        return;
    }
    let (sandbox, _, tip) = packed();
    let zeros = "0".repeat(40);
    let lock = sandbox.git_dir().join("packed-refs.lock");
    // It stays: whoever asks has it, and deletes.
    fs::write(&lock, "").expect("lock");
    let refused = asked(&sandbox, &tip, &zeros);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    // There is always one, and never for long the same.
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let next = sandbox.git_dir().join("packed-refs.next");
                fs::write(&next, "").expect("lock");
                fs::rename(&next, &lock).expect("lock");
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let answer = asked(&sandbox, &tip, &zeros);
        done.store(true, Ordering::Relaxed);
        answer.ok();
    });
}
