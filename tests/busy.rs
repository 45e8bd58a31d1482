//! A lock that stays busy: the wait ends, the holder is named, nothing changes.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;

use support::{Sandbox, text};

#[test]
fn a_busy_thread_lock_is_exit_75_and_names_its_holder() {
    let sandbox = Sandbox::new();
    let reserved = sandbox.heddle(&["agent", "reserve", "--thread", "busy"]).exits(0).json();
    let id = text(&reserved, "session_id");
    sandbox.git(&["config", "heddle.lockTimeout", "0"]);
    let lock = sandbox.state("locks/busy.lock");
    let file = std::fs::File::options().read(true).write(true).open(&lock).expect("lock");
    file.try_lock().expect("lock");
    let before = sandbox.snapshot();
    for verb in ["heartbeat", "release"] {
        let refused = sandbox.heddle(&["agent", verb, "--session", &id]).exits(75);
        assert_eq!(refused.json()["error"]["kind"], "temporary");
        assert!(refused.stderr.contains("agent reserve"), "{}", refused.stderr);
    }
    assert_eq!(before, sandbox.snapshot());
    drop(file);
    sandbox.heddle(&["agent", "heartbeat", "--session", &id]).exits(0);
}

#[test]
fn a_ref_lock_of_another_git_is_waited_for_and_never_removed() {
    let sandbox = Sandbox::new();
    sandbox.git(&["config", "heddle.lockTimeout", "0"]);
    let reserved = sandbox.heddle(&["agent", "reserve", "--thread", "busy"]).exits(0).json();
    let lock = sandbox.root().join(".git").join(sandbox.format.lock_of("refs/heddle/threads/busy"));
    std::fs::write(&lock, "").expect("lock");
    let before = sandbox.snapshot();
    let refused =
        sandbox.heddle(&["agent", "release", "--session", &text(&reserved, "session_id")]).exits(75);
    assert!(refused.stderr.contains(&lock.display().to_string()), "{}", refused.stderr);
    assert_eq!(before, sandbox.snapshot());
    assert!(lock.exists());
}
