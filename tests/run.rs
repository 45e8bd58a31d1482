//! `agent run`: the command behaves as if it ran alone, and its thread is held for exactly as
//! long as runner or command live.

mod support_processes;
mod support_program;

use std::fs;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use support_processes::{BINARY, Ended, Sandbox, eventually};
use support_program::write_program;

const LIMIT: Duration = Duration::from_secs(20);

fn pid(number: u64) -> Pid {
    Pid::from_raw(i32::try_from(number).expect("a pid"))
}

fn send(child: &Child, signal: Signal) {
    kill(pid(u64::from(child.id())), signal).expect("sent");
}

fn state(process: Pid) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

fn is_gone(process: Pid) -> bool {
    matches!(state(process), None | Some('Z'))
}

/// Starts `agent run` on thread `t` with a shell line.
fn start(sandbox: &Sandbox, more: &[&str], line: &str) -> Child {
    let args = [&["agent", "run", "--thread", "t", "--resume"], more, &["--", "sh", "-c", line]].concat();
    sandbox.start(&args)
}

/// Runs it to its end.
fn run(sandbox: &Sandbox, more: &[&str], line: &str) -> Ended {
    Ended::new(&start(sandbox, more, line).wait_with_output().expect("ended"))
}

/// The one session that may act on thread `t`.
fn owner(sandbox: &Sandbox) -> Option<Value> {
    let list = sandbox.heddle(&["agent", "list", "--thread", "t", "--alive-only"]).ok().json();
    list.as_array().expect("an array").first().cloned()
}

/// Waits until the command has made the file `begun`, and returns the session.
fn begun(sandbox: &Sandbox) -> Value {
    assert!(eventually(LIMIT, || sandbox.path("begun").exists()), "the command has begun");
    owner(sandbox).expect("an owner")
}

fn last_status(sandbox: &Sandbox) -> Value {
    let list = sandbox.heddle(&["agent", "list", "--thread", "t"]).ok().json();
    list[0]["status"].clone()
}

#[test]
fn input_output_arguments_and_exit_status_are_the_commands_own() {
    let sandbox = Sandbox::new();
    let args = [
        "agent",
        "run",
        "--thread",
        "t",
        "--",
        "sh",
        "-c",
        "cat; echo err >&2; echo \"$1\"; exit 7",
        "x",
        "--json",
    ];
    let mut child = sandbox.command(BINARY, &args).stdin(Stdio::piped()).spawn().expect("git-heddle");
    child.stdin.take().expect("stdin").write_all(b"in\n").expect("written");
    let ended = Ended::new(&child.wait_with_output().expect("ended"));
    assert_eq!(
        (ended.code, ended.stdout.as_str(), ended.stderr.as_str()),
        (Some(7), "in\n--json\n", "err\n")
    );
    assert_eq!(last_status(&sandbox), "abandoned");
    assert_eq!(run(&sandbox, &[], "exit 0").code, Some(0));
    assert_eq!(last_status(&sandbox), "complete");
    sandbox.assert_clean("after two runs");
}

#[test]
fn a_signal_that_kills_the_command_kills_the_runner() {
    let sandbox = Sandbox::new();
    for signal in [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGINT] {
        let output = start(&sandbox, &[], &format!("kill -{} $$", signal as i32)).wait().expect("ended");
        assert_eq!(output.signal(), Some(signal as i32), "{output:?}");
        assert_eq!(last_status(&sandbox), "abandoned");
    }
    // Through a shell it is 128 and the number, as for the command itself.
    let line = format!("{BINARY} agent run --thread t --resume -- sh -c 'kill -9 $$'");
    assert_eq!(sandbox.run("sh", &["-c", &line]).code, Some(137));
}

#[test]
fn the_command_knows_its_session_and_nothing_else_of_ours() {
    let sandbox = Sandbox::new();
    let args = ["agent", "run", "--thread", "a/b", "--worktree", "--", "sh", "-c", "env; pwd"];
    let mut command = sandbox.command(BINARY, &args);
    command.env("HEDDLE_REQUEST_TOKEN", "x".repeat(32)).env("GIT_DIR", sandbox.git_dir());
    let ended = Ended::new(&command.output().expect("git-heddle")).ok();
    let has = |name: &str| ended.stdout.lines().any(|line| line.starts_with(name));
    assert!(
        has("HEDDLE_SESSION=agent-") && has("HEDDLE_TOKEN=hdl_") && has("HEDDLE_THREAD=a/b"),
        "{ended:?}"
    );
    assert!(!has("HEDDLE_REQUEST_TOKEN") && !has("GIT_DIR"), "{ended:?}");
    assert!(ended.stdout.trim_end().ends_with("/repo.heddle/a%2Fb"), "{ended:?}");
    assert!(!sandbox.path("repo.heddle").exists(), "the worktree went with the session");
}

#[test]
fn a_run_within_a_run_has_the_outer_session_as_its_parent() {
    let sandbox = Sandbox::new();
    let line = format!(
        "{BINARY} agent run --thread inner -- sh -c 'exec {BINARY} agent show $HEDDLE_SESSION'; echo $HEDDLE_SESSION"
    );
    let ended = run(&sandbox, &[], &line).ok();
    let (inner, outer) = ended.stdout.trim_end().rsplit_once('\n').expect("two lines");
    let inner: Value = serde_json::from_str(inner).expect("JSON");
    assert_eq!(inner["agent"]["parent"], outer);
    assert_eq!(inner["thread"], "inner");
}

#[test]
fn a_refused_reservation_never_starts_the_command() {
    let sandbox = Sandbox::new();
    sandbox.heddle(&["agent", "reserve", "--thread", "t"]).ok();
    let begun = sandbox.path("begun");
    let refused = run(&sandbox, &[], &format!(": >{begun:?}"));
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(!begun.exists());
    let line = refused.stderr.lines().next().expect("a line");
    let document: Value = serde_json::from_str(line).expect("JSON");
    assert_eq!((&document["started"], &document["kind"]), (&false.into(), &"live_owner".into()));
    assert_eq!(refused.json()["kind"], "live_owner");
    let wrong = sandbox.heddle(&["agent", "run", "--thread", "t..x", "--", "true"]);
    assert_eq!(wrong.code, Some(2));
    let document: Value = serde_json::from_str(wrong.stderr.lines().next().expect("a line")).expect("JSON");
    assert_eq!((&document["started"], &document["error"]["kind"]), (&false.into(), &"usage".into()));
}

#[test]
fn a_command_that_cannot_be_run_is_named() {
    let sandbox = Sandbox::new();
    let missing = sandbox.heddle(&["agent", "run", "--thread", "t", "--", "no-such-program"]);
    assert_eq!(missing.code, Some(127), "{missing:?}");
    assert!(missing.stderr.contains("no-such-program"), "{missing:?}");
    sandbox.write("no-program", "x");
    let denied = sandbox.heddle(&["agent", "run", "--thread", "t", "--", "./no-program"]);
    assert_eq!(denied.code, Some(126), "{denied:?}");
    sandbox.assert_clean("after both");
}

#[test]
fn a_killed_runner_whose_command_lives_still_owns_the_thread() {
    let sandbox = Sandbox::new();
    let mark = sandbox.path("begun");
    let mut runner = start(&sandbox, &["--worktree"], &format!(": >{mark:?}; exec sleep 600"));
    let session = begun(&sandbox);
    let command = pid(session["holder"]["pid"].as_u64().expect("a pid"));
    assert_eq!(session["holder"]["kind"], "lock");
    send(&runner, Signal::SIGKILL);
    runner.wait().expect("gone");

    let refused = sandbox.heddle(&["agent", "reserve", "--thread", "t", "--resume", "--worktree"]);
    assert_eq!(
        (refused.code, &refused.json()["owner"]["liveness"]),
        (Some(3), &"alive".into()),
        "{refused:?}"
    );
    // Also after a forced release the worktree is not handed on while the command lives.
    let id = session["session_id"].as_str().expect("an id");
    let released = sandbox.heddle(&["agent", "release", "--session", id, "--force"]).ok();
    assert!(released.stderr.contains("may still live"), "{released:?}");
    let refused = sandbox.heddle(&["agent", "reserve", "--thread", "t", "--resume", "--worktree"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("its last command"), "{refused:?}");

    kill(command, Signal::SIGKILL).expect("killed");
    assert!(eventually(LIMIT, || is_gone(command)));
    sandbox.heddle(&["agent", "reserve", "--thread", "t", "--resume", "--worktree"]).ok();
}

#[test]
fn a_killed_runner_whose_command_is_gone_is_dead_at_once() {
    let sandbox = Sandbox::new();
    let mark = sandbox.path("begun");
    let line = format!("echo left >left; : >{mark:?}; exec sleep 600");
    let mut runner = start(&sandbox, &["--worktree"], &line);
    let session = begun(&sandbox);
    let command = pid(session["holder"]["pid"].as_u64().expect("a pid"));
    send(&runner, Signal::SIGKILL);
    runner.wait().expect("gone");
    kill(command, Signal::SIGKILL).expect("killed");
    assert!(eventually(LIMIT, || is_gone(command)));
    assert!(owner(&sandbox).is_none());
    let next = sandbox.heddle(&["agent", "reserve", "--thread", "t", "--resume", "--worktree"]).ok();
    assert_eq!(next.json()["generation"], 2);
    let path = PathBuf::from(next.text("path"));
    assert_eq!(fs::read_to_string(path.join("left")).expect("kept"), "left\n");
}

#[test]
fn a_runner_killed_before_its_command_is_recorded_never_starts_it() {
    if !sandbox_has("strace") {
        return;
    }
    let mut started = 0;
    // The second session record that a run writes names the command: killed at each of the
    // renames around it, and at the byte that opens the gate.
    for number in 1..=8 {
        let sandbox = Sandbox::new();
        let mark = sandbox.path("begun");
        let line = format!(": >{mark:?}; exec sleep 600");
        let inject = format!("inject=rename:signal=KILL:when={number}");
        let trace = sandbox.path("trace");
        let (trace, thread) = (trace.to_string_lossy(), ["agent", "run", "--thread", "t"]);
        let args = [
            &["-qq", "-o", &trace, "-e", "trace=rename", "-e", &inject, BINARY],
            &thread[..],
            &["--", "sh", "-c", &line],
        ]
        .concat();
        let mut runner = sandbox.command("strace", &args).spawn().expect("strace");
        let over = eventually(LIMIT, || runner.try_wait().expect("state").is_some() || mark.exists());
        assert!(over, "rename {number}");
        match owner(&sandbox) {
            Some(session) if mark.exists() => {
                started += 1;
                assert_eq!(session["holder"]["kind"], "lock");
                let command = pid(session["holder"]["pid"].as_u64().expect("a recorded command"));
                kill(command, Signal::SIGKILL).expect("killed");
            }
            _ => assert!(!mark.exists(), "rename {number}: a command runs that nobody knows"),
        }
        let _ = runner.wait();
        assert!(eventually(LIMIT, || owner(&sandbox).is_none()), "rename {number}");
        sandbox.heddle(&["agent", "reserve", "--thread", "t", "--resume"]).ok();
        sandbox.assert_clean(&format!("rename {number}"));
    }
    assert!(started < 8, "some were killed in time");
}

fn sandbox_has(program: &str) -> bool {
    let found = std::process::Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        println!("skipped: there is no {program} here");
    }
    found
}

#[test]
fn a_stopped_runner_keeps_its_reservation_beyond_its_lease() {
    let sandbox = Sandbox::new();
    let mark = sandbox.path("begun");
    let mut runner = start(&sandbox, &["--ttl=1s"], &format!(": >{mark:?}; exec sleep 600"));
    let session = begun(&sandbox);
    let command = pid(session["holder"]["pid"].as_u64().expect("a pid"));
    send(&runner, Signal::SIGSTOP);
    let id = session["session_id"].as_str().expect("an id");
    let path = sandbox.git_dir().join(format!("heddle/agents/{id}.json"));
    // As if the last heartbeat were as old as this machine.
    let mut record: Value = serde_json::from_slice(&fs::read(&path).expect("record")).expect("JSON");
    record["heartbeat"]["monotonic_ms"] = 0.into();
    fs::write(&path, record.to_string()).expect("record");
    assert_eq!(sandbox.heddle(&["agent", "reserve", "--thread", "t"]).code, Some(3));
    send(&runner, Signal::SIGCONT);
    kill(command, Signal::SIGKILL).expect("killed");
    assert_eq!(runner.wait().expect("gone").signal(), Some(Signal::SIGKILL as i32));
}

#[test]
fn signals_sent_to_the_runner_reach_the_command() {
    let sandbox = Sandbox::new();
    let mark = sandbox.path("begun");
    let line = format!(
        "trap 'echo term; exit 9' TERM; trap 'echo usr1' USR1; : >{mark:?}; while :; do sleep 0.01; done"
    );
    let runner = start(&sandbox, &[], &line);
    begun(&sandbox);
    send(&runner, Signal::SIGUSR1);
    send(&runner, Signal::SIGTERM);
    let ended = Ended::new(&runner.wait_with_output().expect("ended"));
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(9), "usr1\nterm\n"), "{ended:?}");
}

#[test]
fn a_command_whose_reservation_is_lost_is_asked_to_end() {
    let sandbox = Sandbox::new();
    let mark = sandbox.path("begun");
    let line = format!("trap 'exit 0' TERM; echo left >left; : >{mark:?}; while :; do sleep 0.01; done");
    let runner = start(&sandbox, &["--worktree"], &line);
    let session = begun(&sandbox);
    let id = session["session_id"].as_str().expect("an id").to_owned();
    sandbox.heddle(&["agent", "release", "--session", &id, "--force"]).ok();
    let ended = Ended::new(&runner.wait_with_output().expect("ended"));
    assert_eq!(ended.code, Some(5), "{ended:?}");
    assert!(ended.stderr.contains("was lost while the command ran"), "{ended:?}");
    let path = session["path"].as_str().expect("a path");
    assert!(PathBuf::from(path).join("left").exists(), "its work stays");
    assert_eq!(sandbox.commit("refs/heddle/threads/t"), sandbox.commit("main"), "nothing was captured");
}

#[test]
fn what_a_command_leaves_is_captured_also_when_it_is_killed() {
    let sandbox = Sandbox::new();
    let ended = run(&sandbox, &["--worktree", "--task", "the task"], "echo left >left; kill -9 $$");
    assert_eq!(ended.code, None, "{ended:?}");
    assert_eq!(last_status(&sandbox), "abandoned");
    let tip = sandbox.commit("refs/heddle/threads/t");
    assert_eq!(sandbox.git(&["show", &format!("{tip}:left")]), "left");
    assert_eq!(sandbox.git(&["log", "-1", "--format=%s", &tip]), "the task");
    assert!(!sandbox.path("repo.heddle").exists());

    // Left alone on demand, and then the worktree stays.
    let ended = run(&sandbox, &["--worktree", "--no-capture"], "echo more >more");
    assert_eq!(ended.code, Some(0));
    assert!(ended.stderr.contains("stays") && ended.stderr.contains("more"), "{ended:?}");
    assert_eq!(sandbox.commit("refs/heddle/threads/t"), tip);
}

#[test]
fn the_users_own_checkout_is_captured_only_on_demand_or_where_the_command_captured() {
    let sandbox = Sandbox::new();
    sandbox.write("mine", "mine\n");
    run(&sandbox, &[], "true").ok();
    assert_eq!(sandbox.commit("refs/heddle/threads/t"), sandbox.commit("main"));
    run(&sandbox, &["--capture-on-exit"], "true").ok();
    let tip = sandbox.commit("refs/heddle/threads/t");
    assert_eq!(sandbox.git(&["show", &format!("{tip}:mine")]), "mine");
    assert_eq!(sandbox.git(&["status", "--porcelain"]), "?? mine");
}

#[test]
fn a_hook_that_refuses_the_last_capture_loses_nothing_and_changes_no_status() {
    let sandbox = Sandbox::new();
    let hook = sandbox.git_dir().join("hooks/pre-commit");
    fs::create_dir_all(hook.parent().expect("folder")).expect("folder");
    write_program(&hook, "#!/bin/sh\nexit 1\n");
    let ended = run(&sandbox, &["--worktree"], "echo left >left; exit 4");
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("pre-commit") && ended.stderr.contains("stays"), "{ended:?}");
    assert_eq!(fs::read_to_string(sandbox.path("repo.heddle/t/left")).expect("kept"), "left\n");
}

#[test]
fn ready_marks_the_thread_or_exits_with_7() {
    let sandbox = Sandbox::new();
    run(&sandbox, &["--worktree", "--ready"], "echo work >work").ok();
    let tip = sandbox.commit("refs/heddle/threads/t");
    assert_eq!(sandbox.commit("refs/heddle/ready/t"), tip);
    assert_eq!(last_status(&sandbox), "complete");
    sandbox.git(&["config", "heddle.readyCommand", "false"]);
    let blocked = run(&sandbox, &["--worktree", "--ready"], "echo more >more");
    assert_eq!(blocked.code, Some(7), "{blocked:?}");
    assert!(blocked.stderr.contains("check 'false' failed"), "{blocked:?}");
    assert_ne!(sandbox.commit("refs/heddle/threads/t"), tip, "the work is on the thread");
}

#[test]
fn nobody_inherits_the_lock_of_the_session() {
    let sandbox = Sandbox::new();
    let mark = sandbox.path("begun");
    // A grandchild that outlives runner and command, with all that was open.
    let line = format!("setsid sleep 600 >/dev/null 2>&1 </dev/null & echo $! >{mark:?}");
    run(&sandbox, &[], &line).ok();
    let grandchild = fs::read_to_string(&mark).expect("a pid").trim().parse().expect("a pid");
    let grandchild = pid(grandchild);
    let open = fs::read_dir(format!("/proc/{grandchild}/fd")).expect("alive").flatten();
    let open: Vec<PathBuf> = open.filter_map(|fd| fs::read_link(fd.path()).ok()).collect();
    let ours = |path: &PathBuf| path.starts_with(sandbox.worktree().parent().expect("folder"));
    assert!(!open.iter().any(ours), "{open:?}");
    // Pipes that it has are those that this test was itself given.
    let known: Vec<PathBuf> = fs::read_dir("/proc/self/fd")
        .expect("our own")
        .flatten()
        .filter_map(|fd| fs::read_link(fd.path()).ok())
        .collect();
    let pipe = |path: &&PathBuf| path.to_string_lossy().starts_with("pipe:");
    assert!(open.iter().filter(pipe).all(|path| known.contains(path)), "{open:?} {known:?}");
    kill(grandchild, Signal::SIGKILL).expect("killed");
}

/// Drives a shell on a terminal of its own: Ctrl-Z, `fg`, Ctrl-C, as a person would. The
/// command starts no process: a shell in `vfork` does not stop while its stopped child has
/// not become another program, whoever runs it.
const TERMINAL: &str = r#"
import os, pty, select, sys, time
pid, fd = pty.fork()
if pid == 0:
    os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
seen = b""
def wait_for(word, times=1):
    global seen
    end = time.time() + 20
    while seen.count(word) < times:
        if time.time() > end:
            sys.stderr.write("no %r in %r\n" % (word, seen)); sys.exit(1)
        if select.select([fd], [], [], 0.1)[0]:
            seen += os.read(fd, 4096)
os.write(fd, b"PS1='pro''mpt> '; stty -echo\n"); wait_for(b"prompt> ")
os.write(fd, (sys.argv[1] + " agent run --thread t -- sh -c 'trap \"echo got-int; exit 6\" INT; echo be''gun; while :; do read line; done'\n").encode())
wait_for(b"begun")
# Which group of processes the keys of the terminal go to.
running = os.tcgetpgrp(fd)
os.write(fd, b"\x1a"); wait_for(b"Stopped")
os.write(fd, b"fg\n")
end = time.time() + 20
while os.tcgetpgrp(fd) != running:
    if time.time() > end:
        sys.stderr.write("not in the foreground again: %r\n" % seen); sys.exit(1)
    time.sleep(0.01)
os.write(fd, b"\x03"); wait_for(b"\r\ngot-int\r\n")
os.write(fd, b"echo status=$?\n"); wait_for(b"status=6")
if seen.count(b"\ngot-int\r") != 1:
    sys.stderr.write("Ctrl-C came twice: %r\n" % seen); sys.exit(1)
"#;

#[test]
fn ctrl_z_fg_and_ctrl_c_do_to_the_command_what_they_do_without_us() {
    if !sandbox_has("python3") || !sandbox_has("bash") {
        return;
    }
    let sandbox = Sandbox::new();
    let ended = sandbox.run("python3", &["-c", TERMINAL, BINARY]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(last_status(&sandbox), "abandoned");
}

/// The processes that a python script prints the ends of, alone and under a runner.
fn alone_and_run(sandbox: &Sandbox, script: &str) -> Vec<String> {
    let ended = sandbox.run("python3", &["-c", script, BINARY]).ok();
    ended.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn whatever_ends_the_command_the_runner_ends_like_it() {
    let sandbox = Sandbox::new();
    for signal in [Signal::SIGSEGV, Signal::SIGPIPE, Signal::SIGABRT, Signal::SIGHUP, Signal::SIGKILL] {
        let output = start(&sandbox, &[], &format!("kill -{} $$", signal as i32)).wait_with_output();
        assert_eq!(output.expect("ended").status.signal(), Some(signal as i32), "{signal}");
    }
    // One that has no name cannot be raised here, and is told as a shell tells it.
    let ended = run(&sandbox, &[], "kill -40 $$");
    assert_eq!(ended.code, Some(168), "{ended:?}");
    assert_eq!(last_status(&sandbox), "abandoned");
}

#[test]
fn a_parent_that_ignores_its_children_does_not_hide_how_the_command_ended() {
    if !sandbox_has("python3") {
        return;
    }
    let sandbox = Sandbox::new();
    let script = "
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
args = [sys.argv[1], 'agent', 'run', '--thread', 't', '--worktree', '--', 'sh', '-c', 'echo left >left']
os.execv(args[0], args)";
    alone_and_run(&sandbox, script);
    assert_eq!(last_status(&sandbox), "complete");
    assert_eq!(sandbox.git(&["show", "refs/heddle/threads/t:left"]), "left");
}

#[test]
fn a_command_that_is_stopped_and_continued_by_its_pid_does_not_leave_the_runner_stopped() {
    let sandbox = Sandbox::new();
    let mark = sandbox.path("begun");
    let done = sandbox.path("done");
    let line = format!("trap : USR1; : >{mark:?}; while ! [ -e {done:?} ]; do sleep 0.01; done; exit 3");
    let runner = start(&sandbox, &[], &line);
    let session = begun(&sandbox);
    let command = pid(session["holder"]["pid"].as_u64().expect("a pid"));
    kill(command, Signal::SIGSTOP).expect("sent");
    assert!(eventually(LIMIT, || state(command) == Some('T')));
    // A runner that still passes signals on has seen that, and has not stopped itself.
    send(&runner, Signal::SIGUSR1);
    let waits = || {
        let status = fs::read_to_string(format!("/proc/{command}/status")).expect("status");
        let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:\t")).expect("pending");
        u64::from_str_radix(pending, 16).expect("a set") & (1 << (Signal::SIGUSR1 as u32 - 1)) != 0
    };
    let passed_on = eventually(LIMIT, waits);
    send(&runner, Signal::SIGCONT);
    assert!(passed_on, "the runner has stopped");
    kill(command, Signal::SIGCONT).expect("sent");
    fs::write(&done, "").expect("written");
    let ended = Ended::new(&runner.wait_with_output().expect("ended"));
    assert_eq!(ended.code, Some(3), "{ended:?}");
}

#[test]
fn a_command_that_signals_its_process_group_is_signalled_once() {
    if !sandbox_has("python3") {
        return;
    }
    let sandbox = Sandbox::new();
    // The second signal goes to the runner alone, and so back to nobody: what it passed on of
    // the first would have come before the wait ends.
    let script = "
import os, signal, subprocess, sys
inner = '''
import os, signal, subprocess, sys
count = 0
def handle(*_):
    global count
    count += 1
signal.signal(signal.SIGUSR1, handle)
os.kill(0, signal.SIGUSR1)
os.kill(os.getppid(), signal.SIGUSR2)
signal.sigtimedwait([signal.SIGUSR2], 0.3)
print(count)
'''
os.setpgid(0, 0)
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
signal.signal(signal.SIGUSR2, signal.SIG_IGN)
args = [sys.argv[1], 'agent', 'run', '--thread', 't', '--', sys.executable, '-c', inner]
sys.stdout.write(subprocess.run(args, stdout=subprocess.PIPE, text=True).stdout)";
    assert_eq!(alone_and_run(&sandbox, script), ["1"]);
}

#[test]
fn a_terminal_that_is_hung_up_ends_the_command_of_a_runner_that_leads_the_session() {
    if !sandbox_has("python3") {
        return;
    }
    let sandbox = Sandbox::new();
    let script = "
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    args = [sys.argv[1], 'agent', 'run', '--thread', 't', '--', 'sh', '-c', 'echo be''gun; exec sleep 600']
    os.execv(args[0], args)
seen = b''
while b'begun' not in seen:
    seen += os.read(fd, 4096)
os.close(fd)
print(os.WTERMSIG(os.waitpid(pid, 0)[1]))";
    assert_eq!(alone_and_run(&sandbox, script), [(Signal::SIGHUP as i32).to_string()]);
    assert_eq!(last_status(&sandbox), "abandoned");
}

/// Runs the command after it in a pid namespace of its own, as a container does.
const CONTAINER: [&str; 5] = ["unshare", "--user", "--pid", "--fork", "--mount-proc"];

#[test]
fn a_heartbeat_from_a_container_does_not_make_a_live_command_dead() {
    let sandbox = Sandbox::new();
    if sandbox
        .command(CONTAINER[0], &[&CONTAINER[1..], &["true"]].concat())
        .status()
        .map_or(true, |s| !s.success())
    {
        eprintln!("skipped: no namespaces here");
        return;
    }
    let mark = sandbox.path("begun");
    let (killed, code) = (sandbox.path("killed"), sandbox.path("code"));
    let inside = format!(
        "{BINARY} agent heartbeat >/dev/null && : >{mark:?}; while ! [ -e {killed:?} ]; do sleep 0.01; done; \
         {BINARY} agent reserve --thread t >/dev/null 2>&1; echo $? >{code:?}"
    );
    let line = format!("{} sh -c '{inside}' & exec sleep 600", CONTAINER.join(" "));
    let mut runner = start(&sandbox, &[], &line);
    let session = begun(&sandbox);
    let command = pid(session["holder"]["pid"].as_u64().expect("a pid"));
    send(&runner, Signal::SIGKILL);
    runner.wait().expect("ended");
    fs::write(killed, "").expect("written");
    let answered = || fs::read_to_string(&code).is_ok_and(|code| code.ends_with('\n'));
    assert!(eventually(LIMIT, answered));
    assert_eq!(fs::read_to_string(&code).expect("code"), "3\n", "inside its pid means nothing");
    assert_eq!(owner(&sandbox).expect("an owner")["liveness"], "alive");
    kill(command, Signal::SIGKILL).expect("killed");
    assert!(eventually(LIMIT, || is_gone(command)));
    sandbox.heddle(&["agent", "reserve", "--thread", "t"]).ok();
}

#[test]
fn a_command_that_releases_its_session_itself_runs_on() {
    let sandbox = Sandbox::new();
    let line = format!(
        "echo work >work; {BINARY} agent capture -m work && {BINARY} agent ready && {BINARY} agent release; \
         sleep 0.1; echo done >&2; exit 3"
    );
    let ended = run(&sandbox, &["--worktree", "--ready"], &line);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains("done"), "{ended:?}");
    assert_eq!(last_status(&sandbox), "complete");
    assert!(!sandbox.path("repo.heddle").exists(), "its worktree is in nobody's way any more");
    let ended = run(&sandbox, &["--worktree", "--ready"], &line.replace("exit 3", "exit 0"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn a_command_whose_thread_lands_meanwhile_runs_on() {
    let sandbox = Sandbox::new();
    let (mark, done) = (sandbox.path("begun"), sandbox.path("done"));
    let line = format!(
        "echo work >work; {BINARY} agent capture -m work && {BINARY} agent ready && : >{mark:?}; \
         while ! [ -e {done:?} ]; do sleep 0.01; done; exit 0"
    );
    let runner = start(&sandbox, &["--worktree", "--ready"], &line);
    begun(&sandbox);
    sandbox.heddle(&["thread", "land", "t"]).ok();
    fs::write(done, "").expect("written");
    let ended = Ended::new(&runner.wait_with_output().expect("ended"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(last_status(&sandbox), "merged");
    assert_eq!(sandbox.git(&["show", "main:work"]), "work");
}

#[test]
fn work_that_could_not_be_captured_is_not_declared_ready() {
    let sandbox = Sandbox::new();
    let hook = sandbox.git_dir().join("hooks/pre-commit");
    fs::create_dir_all(hook.parent().expect("folder")).expect("folder");
    write_program(&hook, "#!/bin/sh\n! git diff --cached --name-only | grep -q half\n");
    let line = format!("echo one >one; {BINARY} agent capture -m one >/dev/null; echo half >half");
    let ended = run(&sandbox, &["--worktree", "--ready"], &line);
    assert_eq!(ended.code, Some(7), "{ended:?}");
    assert_eq!(sandbox.commit("refs/heddle/ready/t"), "", "nothing is ready");
    assert_eq!(sandbox.git(&["show", "refs/heddle/threads/t:one"]), "one");
    assert!(sandbox.path("repo.heddle/t/half").exists(), "its work stays");
}

#[test]
fn a_busy_thread_does_not_keep_signals_from_the_command() {
    let sandbox = Sandbox::new();
    sandbox.git(&["config", "heddle.lockTimeout", "1h"]);
    let (mark, came) = (sandbox.path("begun"), sandbox.path("came"));
    let line =
        format!("trap 'echo >>{came:?}' USR1; trap 'exit 0' TERM; : >{mark:?}; while :; do sleep 0.01; done");
    let runner = start(&sandbox, &["--ttl", "1"], &line);
    begun(&sandbox);
    let path = sandbox.git_dir().join("heddle/locks/t.lock");
    let lock = fs::File::options().read(true).write(true).open(path).expect("lock");
    lock.lock().expect("held");
    // Long enough for several renewals.
    let until = Instant::now() + Duration::from_millis(1500);
    let count = || fs::read(&came).map_or(0, |came| came.len());
    while Instant::now() < until {
        let before = count();
        send(&runner, Signal::SIGUSR1);
        assert!(eventually(LIMIT, || count() > before), "the runner waits for the lock");
    }
    drop(lock);
    send(&runner, Signal::SIGTERM);
    let ended = Ended::new(&runner.wait_with_output().expect("ended"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn whatever_keeps_the_command_from_starting_is_told_in_one_line() {
    let sandbox = Sandbox::new();
    let refused = |args: &[&str]| -> (Option<i32>, Value) {
        let ended = sandbox.heddle(args);
        let line = ended.stderr.lines().find(|line| line.starts_with('{')).expect("a document").to_owned();
        (ended.code, serde_json::from_str(&line).expect("JSON"))
    };
    let home = sandbox.path("home");
    let home = home.to_str().expect("a path");
    let run = ["agent", "run", "--thread", "t", "--", "true"];
    for (args, code, kind) in [
        (vec!["agent", "run", "--bogus", "--", "true"], 2, "usage"),
        (vec!["agent", "run", "--thread", "t"], 2, "usage"),
        (vec!["agent", "run", "--thread", "a..b", "--", "true"], 2, "usage"),
        ([&["-C", home][..], &run].concat(), 128, "not_usable"),
    ] {
        let (found, document) = refused(&args);
        assert_eq!(found, Some(code), "{args:?}");
        assert_eq!(
            (&document["started"], &document["error"]["kind"]),
            (&false.into(), &kind.into()),
            "{args:?}"
        );
    }
    sandbox.git(&["config", "heddle.ttl", "never"]);
    assert_eq!(refused(&run).1["started"], false);
}

#[test]
fn capturing_on_exit_can_be_switched_off_by_either_name() {
    let sandbox = Sandbox::new();
    for switch in ["--no-capture", "--no-capture-on-exit"] {
        let ended = run(&sandbox, &["--worktree", "--capture-on-exit", switch], "echo left >left");
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(sandbox.commit("refs/heddle/threads/t"), sandbox.commit("main"), "{switch}");
    }
    for switch in ["--capture", "--capture-on-exit"] {
        run(&sandbox, &["--worktree", "--no-capture", switch], "echo more >>left").ok();
        assert_ne!(sandbox.commit("refs/heddle/threads/t"), sandbox.commit("main"), "{switch}");
    }
}

#[test]
fn the_doctor_leaves_a_live_runner_its_thread_where_its_record_is_damaged() {
    let sandbox = Sandbox::new();
    let line = format!("touch '{}'; exec sleep 1000", sandbox.path("begun").display());
    let runner = start(&sandbox, &[], &line);
    let id = begun(&sandbox)["session_id"].as_str().expect("an id").to_owned();
    let record = sandbox.git_dir().join(format!("heddle/agents/{id}.json"));
    fs::write(&record, "garbage\n").expect("write");
    let thread = || sandbox.record("threads/t.json");
    let before = thread();
    for args in [&["doctor", "--json"][..], &["doctor", "--fix", "--json"]] {
        let answer = sandbox.heddle(args);
        assert_eq!(answer.code, Some(1), "{answer:?}");
        let findings = answer.json()["findings"].clone();
        let [finding] = findings.as_array().expect("findings").as_slice() else { panic!("{findings}") };
        assert_eq!((&finding["kind"], &finding["fix"]), (&"damaged_record".into(), &Value::Null));
        let said = finding["message"].as_str().expect("a message");
        assert!(said.contains(&format!("git heddle agent release --force --session {id}")), "{said}");
        assert_eq!(fs::read_to_string(&record).expect("there still"), "garbage\n");
        assert!(record.with_extension("live").exists());
        assert_eq!(thread(), before);
    }
    // Nor is it ended by way of its thread's record, which names it.
    fs::write(sandbox.git_dir().join("heddle/threads/t.json"), "garbage\n").expect("write");
    assert_eq!(sandbox.heddle(&["doctor", "--fix"]).code, Some(1));
    assert!(sandbox.heddle(&["agent", "reserve", "--thread", "t"]).code != Some(0));
    fs::write(sandbox.git_dir().join("heddle/threads/t.json"), before.to_string()).expect("write");
    assert_eq!(sandbox.heddle(&["agent", "reserve", "--thread", "t"]).code, Some(3));
    // Without force it is a damaged record; a person's word ends it, and its command.
    assert_eq!(sandbox.heddle(&["agent", "release", "--session", &id]).code, Some(1));
    let released = sandbox.heddle(&["agent", "release", "--force", "--session", &id]);
    assert!(released.stderr.contains("was damaged, and is kept at"), "{released:?}");
    assert_eq!(released.ok().json()["thread"], "t");
    let ended = Ended::new(&runner.wait_with_output().expect("ended"));
    assert!(ended.stderr.contains("the reservation was lost while the command ran"), "{ended:?}");
    assert_eq!(fs::read_to_string(record.with_extension("json.damaged")).expect("kept"), "garbage\n");
    assert!(!record.exists());
    let next = sandbox.heddle(&["agent", "reserve", "--thread", "t"]).ok().json();
    assert_eq!(next["generation"], 2);
    assert_eq!(sandbox.heddle(&["doctor", "--json"]).ok().json()["findings"], serde_json::json!([]));
}
