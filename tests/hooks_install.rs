//! Installing the hooks beside whatever is there: everybody's hooks run, and uninstalling
//! leaves no trace.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;
mod support_program;

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::Value;
use support::{Answer, Sandbox, assert_same, snapshot_of};
use support_program::write_program;

const EVENTS: [&str; 3] = ["reference-transaction", "pre-commit", "post-rewrite"];

/// Writes a hook of the user's own.
#[track_caller]
fn write_hook(path: &Path, content: impl AsRef<[u8]>, mode: u32) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
    write_program(path, content);
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode");
}

fn hook(sandbox: &Sandbox, name: &str) -> PathBuf {
    sandbox.root().join(".git/hooks").join(name)
}

/// A sandbox whose Git has no sample hooks in the way of comparisons, and takes itself for one
/// that runs hooks from files only.
fn sandbox() -> Sandbox {
    let mut sandbox = Sandbox::new();
    if runs_configured_hooks(&sandbox) {
        sandbox.first_on_path = Some(pretend(&sandbox, "2.53.0"));
    }
    let _ = fs::remove_dir_all(sandbox.root().join(".git/hooks"));
    fs::create_dir(sandbox.root().join(".git/hooks")).expect("folder");
    sandbox
}

#[track_caller]
fn install(sandbox: &Sandbox) -> Value {
    sandbox.heddle(&["hooks", "install", "--json"]).exits(0).json()
}

#[track_caller]
fn uninstall(sandbox: &Sandbox) {
    sandbox.heddle(&["hooks", "uninstall"]).exits(0);
}

/// What was done to a hook, by its name.
fn done(report: &Value, name: &str) -> String {
    let changes = report["changes"].as_array().expect("changes");
    let of =
        changes.iter().find(|change| change["hook"] == name).unwrap_or_else(|| panic!("{name} in {report}"));
    of["done"].as_str().expect("done").to_owned()
}

/// The state of a hook, by its name.
#[track_caller]
fn state<'a>(status: &'a Value, name: &str) -> &'a Value {
    let hooks = status["hooks"].as_array().expect("hooks");
    hooks.iter().find(|hook| hook["hook"] == name).unwrap_or_else(|| panic!("{name} in {status}"))
}

#[track_caller]
fn status(sandbox: &Sandbox, code: i32) -> Value {
    sandbox.heddle(&["hooks", "status", "--json"]).exits(code).json()
}

/// Git, with the program under test on its path.
fn git_says(sandbox: &Sandbox, folder: &Path, args: &[&str]) -> Answer {
    Answer::of(&sandbox.program("git", folder, args).output().expect("git"))
}

/// Starts a hook as Git does, with that on its standard input.
fn feed(sandbox: &Sandbox, path: &Path, args: &[&str], input: &[u8]) -> Answer {
    let mut command = sandbox.program(path, &sandbox.root(), args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut child = loop {
        match command.spawn() {
            // The hook was written by this process: what another test forked meanwhile has it open
            // for writing, until it becomes its own program.
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            child => break child.expect("the hook"),
        }
    };
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || {
        // One that reads nothing is no failure.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().expect("its end");
    writer.join().expect("the writer");
    Answer::of(&output)
}

/// Whether a program is there to be run.
fn has(program: &str) -> bool {
    let found =
        std::process::Command::new(program).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

#[test]
fn hooks_are_reached_once_installed_and_not_before() {
    let sandbox = sandbox();
    let before = status(&sandbox, 7);
    assert_eq!((&before["enforced"], &before["way"]), (&false.into(), &Value::Null));
    assert_eq!(state(&before, "pre-commit")["mend"], "git heddle hooks install");
    install(&sandbox);
    let after = status(&sandbox, 0);
    assert_eq!((&after["enforced"], &after["way"]), (&true.into(), &"files".into()));
    for event in EVENTS {
        let state = state(&after, event);
        assert_eq!((&state["reached"], &state["fired"]), (&true.into(), &true.into()), "{state}");
    }
    uninstall(&sandbox);
    status(&sandbox, 7);
}

#[test]
fn hooks_that_may_not_refuse_do_not_enforce() {
    let sandbox = sandbox();
    install(&sandbox);
    for mode in ["warn", "off"] {
        sandbox.git(&["config", "heddle.hooks", mode]);
        assert_eq!(status(&sandbox, 7)["mode"], mode);
    }
    sandbox.git(&["config", "heddle.hooks", "enforce"]);
    assert_eq!(status(&sandbox, 0)["mode"], "enforce");
}

#[test]
fn trying_leaves_nothing_behind_and_runs_nobody_elses_hook() {
    let sandbox = sandbox();
    let touch = "#!/bin/sh\n: >\"$HOME/ran\"\n";
    for event in EVENTS {
        write_hook(&hook(&sandbox, event), touch, 0o755);
    }
    install(&sandbox);
    let before = sandbox.snapshot();
    status(&sandbox, 0);
    assert_same(&before, &sandbox.snapshot());
    assert!(!sandbox.home().join("ran").exists());
}

#[test]
fn nobody_gets_past_the_rules_by_the_variable_that_hooks_answer_to() {
    let sandbox = sandbox();
    install(&sandbox);
    let before = sandbox.git(&["rev-parse", "HEAD"]);
    for args in
        [&["commit", "--allow-empty", "-m", "x"][..], &["commit", "--no-verify", "--allow-empty", "-m", "x"]]
    {
        let mut command = sandbox.program("git", &sandbox.root(), args);
        let answer = Answer::of(&command.env("HEDDLE_HOOKS_PROBE", "x").output().expect("git"));
        assert_ne!(answer.code, 0, "{answer:?}");
    }
    assert_eq!(sandbox.git(&["rev-parse", "HEAD"]), before);
}

#[test]
fn installing_again_changes_nothing() {
    let sandbox = sandbox();
    write_hook(&hook(&sandbox, "pre-commit"), "#!/bin/bash\ntrue\n", 0o755);
    write_hook(&hook(&sandbox, "post-rewrite"), "#!/usr/bin/perl\n1;\n", 0o755);
    let first = install(&sandbox);
    assert_eq!(EVENTS.map(|event| done(&first, event)), ["added", "inserted", "chained"]);
    let before = sandbox.snapshot();
    let second = install(&sandbox);
    assert_eq!(EVENTS.map(|event| done(&second, event)), ["unchanged"; 3]);
    assert_same(&before, &sandbox.snapshot());
}

#[test]
fn an_upgrade_replaces_our_part_and_nothing_else() {
    let sandbox = sandbox();
    write_hook(&hook(&sandbox, "pre-commit"), "#!/bin/sh\necho mine\n", 0o755);
    install(&sandbox);
    let path = hook(&sandbox, "pre-commit");
    let text = fs::read_to_string(&path).expect("hook");
    // What an older version would have put there, and what the user has written since.
    let older = text.replace("exec git-heddle hooks run", "exec git-heddle some-older-verb");
    fs::write(&path, older + "echo more\n").expect("write");
    assert_eq!(done(&install(&sandbox), "pre-commit"), "updated");
    assert_eq!(fs::read_to_string(&path).expect("hook"), text + "echo more\n");
    uninstall(&sandbox);
    assert_eq!(fs::read_to_string(&path).expect("hook"), "#!/bin/sh\necho mine\necho more\n");
}

#[test]
fn what_is_added_to_a_file_of_ours_is_kept_and_made_to_run() {
    let sandbox = sandbox();
    install(&sandbox);
    let path = hook(&sandbox, "pre-commit");
    let text = fs::read_to_string(&path).expect("hook");
    fs::write(&path, text + "echo appended >&2\n").expect("write");
    let found = status(&sandbox, 0);
    let reason = state(&found, "pre-commit")["reason"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("never runs"), "{reason}");
    assert_eq!(done(&install(&sandbox), "pre-commit"), "updated");
    assert!(feed(&sandbox, &path, &[], b"").stderr.contains("appended"));
    uninstall(&sandbox);
    assert_eq!(fs::read_to_string(&path).expect("hook"), "#!/bin/sh\necho appended >&2\n");
}

/// A hook of the user's in each language: it tells its name, its arguments and its standard
/// input, and exits with 3.
fn telling(language: &str) -> String {
    match language {
        "perl" => {
            "#!/usr/bin/perl\nprint STDERR join('|', $0 =~ m{([^/]*)$}, @ARGV), \"\\n\", <STDIN>;\nexit 3;\n"
                .to_owned()
        }
        shell => format!(
            "#!{shell}\nset -eu\nn=${{0##*/}}\nfor a; do n=\"$n|$a\"; done\necho \"$n\" >&2\ncat >&2\nexit 3\n"
        ),
    }
}

#[test]
fn a_hook_that_was_there_gets_all_it_got_before_and_answers_for_itself() {
    // Large enough that no pipe holds it.
    let ids = format!("{} {}", "a".repeat(40), "b".repeat(40));
    let input: String = (0..3000).map(|n| format!("{ids} refs/heads/branch-{n}\n")).collect();
    for language in ["/bin/sh", "/bin/sh -eu", "/usr/bin/env bash", "perl"] {
        for input in ["", "one\n", input.as_str()] {
            for (event, args) in [
                ("reference-transaction", &["prepared"][..]),
                ("reference-transaction", &["committed"]),
                ("post-rewrite", &["amend"]),
                ("pre-commit", &["a b", "c"]),
                ("pre-push", &["origin", "url"]),
            ] {
                let sandbox = sandbox();
                let path = hook(&sandbox, event);
                write_hook(&path, telling(language), 0o755);
                let alone = feed(&sandbox, &path, args, input.as_bytes());
                assert_eq!(alone.code, 3);
                install(&sandbox);
                let beside = feed(&sandbox, &path, args, input.as_bytes());
                assert_eq!(alone, beside, "{language} {event} {args:?}");
            }
        }
    }
}

#[test]
fn a_refusal_of_ours_comes_before_what_was_there() {
    let sandbox = sandbox();
    for language in ["/bin/sh", "perl"] {
        write_hook(&hook(&sandbox, "reference-transaction"), telling(language), 0o755);
        install(&sandbox);
        let tip = sandbox.git(&["rev-parse", "HEAD"]);
        let line = format!("{} {tip} refs/heddle/threads/x\n", "0".repeat(40));
        let path = hook(&sandbox, "reference-transaction");
        let refused = feed(&sandbox, &path, &["prepared"], line.as_bytes());
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.stderr.starts_with("error: heddle: "), "{refused:?}");
        uninstall(&sandbox);
    }
}

#[test]
fn a_disabled_hook_stays_disabled() {
    let sandbox = sandbox();
    let path = hook(&sandbox, "pre-commit");
    write_hook(&path, "#!/bin/sh\necho disabled\nexit 1\n", 0o644);
    assert_eq!(done(&install(&sandbox), "pre-commit"), "chained");
    status(&sandbox, 0);
    assert_eq!(
        feed(&sandbox, &path, &[], b""),
        Answer { code: 0, stdout: String::new(), stderr: String::new() }
    );
    uninstall(&sandbox);
    assert_eq!(fs::metadata(&path).expect("hook").mode() & 0o7777, 0o644);
}

#[test]
fn a_hook_of_ours_that_may_not_be_run_is_mended() {
    let sandbox = sandbox();
    install(&sandbox);
    let path = hook(&sandbox, "reference-transaction");
    for mend in [&["hooks", "install"][..], &["agent", "reserve", "--thread", "t"]] {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("mode");
        sandbox.heddle(mend).exits(0);
        assert_ne!(fs::metadata(&path).expect("hook").mode() & 0o111, 0, "{mend:?}");
    }
    status(&sandbox, 0);
}

#[test]
fn a_hook_in_which_half_of_ours_is_left_is_left_alone_and_named() {
    let sandbox = sandbox();
    let path = hook(&sandbox, "pre-commit");
    write_hook(&path, "#!/bin/sh\nexit 0\n", 0o755);
    install(&sandbox);
    let text = fs::read_to_string(&path).expect("hook");
    let torn = text.replace("# <<< git-heddle hooks <<<\n", "");
    assert_ne!(torn, text);
    write_hook(&path, &torn, 0o755);
    assert_eq!(done(&install(&sandbox), "pre-commit"), "skipped");
    let report = sandbox.heddle(&["hooks", "uninstall", "--json"]).exits(0).json();
    assert_eq!(done(&report, "pre-commit"), "skipped");
    assert_eq!(fs::read_to_string(&path).expect("hook"), torn);
}

#[test]
fn a_damaged_record_of_hooks_is_set_aside_by_the_doctor() {
    let sandbox = sandbox();
    let path = hook(&sandbox, "pre-commit");
    write_hook(&path, "#!/usr/bin/perl\nexit 0;\n", 0o755);
    let before = fs::read(&path).expect("hook");
    install(&sandbox);
    fs::write(sandbox.root().join(".git/heddle/hooks.json"), "").expect("damage");
    let refused = sandbox.heddle(&["hooks", "uninstall"]).exits(1);
    assert!(refused.stderr.contains("git heddle doctor"), "{refused:?}");
    sandbox.heddle(&["doctor"]).exits(1);
    sandbox.heddle(&["doctor", "--fix"]).exits(0);
    uninstall(&sandbox);
    assert_eq!(fs::read(&path).expect("hook"), before);
}

#[test]
fn what_a_link_names_is_run_and_not_written_to() {
    let sandbox = sandbox();
    let script = sandbox.root().join("check.sh");
    write_hook(&script, "#!/bin/sh\necho \"linked ${0##*/}\" >&2\n", 0o755);
    let path = hook(&sandbox, "pre-commit");
    symlink("../../check.sh", &path).expect("link");
    install(&sandbox);
    assert_eq!(feed(&sandbox, &path, &[], b"").stderr, "linked pre-commit\n");
    uninstall(&sandbox);
    assert_eq!(fs::read_link(&path).expect("a link"), Path::new("../../check.sh"));
    assert_eq!(fs::read_to_string(&script).expect("script"), "#!/bin/sh\necho \"linked ${0##*/}\" >&2\n");
}

#[test]
fn a_chained_hook_finds_its_name_and_its_neighbours() {
    let sandbox = sandbox();
    // One script for several hooks, which reads what lies beside it and what lies above.
    let script = "#!/bin/sh\nhere=$(dirname \"$0\")\n. \"$here/../../lib.sh\"\n\
                  echo \"$(basename \"$0\") $(cat \"$here/words\") $found\" >&2\n";
    write_hook(&sandbox.root().join("check.sh"), script, 0o755);
    fs::write(sandbox.root().join("lib.sh"), "found=lib\n").expect("write");
    fs::write(hook(&sandbox, "words"), "words").expect("write");
    for event in ["pre-commit", "post-rewrite"] {
        symlink("../../check.sh", hook(&sandbox, event)).expect("link");
    }
    let before = sandbox.snapshot();
    let told = |event: &str| feed(&sandbox, &hook(&sandbox, event), &[], b"").stderr;
    for _ in 0..2 {
        install(&sandbox);
        assert_eq!(told("pre-commit"), "pre-commit words lib\n");
        assert_eq!(told("post-rewrite"), "post-rewrite words lib\n");
        // What comes later is found once hooks are installed again.
        fs::write(hook(&sandbox, "more"), "more").expect("write");
    }
    assert!(sandbox.root().join(".git/hooks.heddle/more").exists());
    fs::remove_file(hook(&sandbox, "more")).expect("remove");
    uninstall(&sandbox);
    assert_same(&before, &sandbox.snapshot());
}

#[test]
fn what_is_in_the_place_of_our_folder_is_nobodys_to_lose() {
    let sandbox = sandbox();
    let folder = sandbox.root().join(".git/hooks.heddle");
    let path = hook(&sandbox, "pre-commit");
    write_hook(&path, "#!/usr/bin/perl\nexit 1;\n", 0o755);
    for is_folder in [false, true] {
        if is_folder {
            fs::create_dir(&folder).expect("folder");
            fs::write(folder.join("pre-commit"), "mine").expect("write");
        } else {
            fs::write(&folder, "mine").expect("write");
        }
        let look = || {
            let names = fs::read_dir(path.parent().expect("a folder")).expect("folder").count();
            (fs::read(&path).expect("hook"), names)
        };
        let before = look();
        let report = install(&sandbox);
        assert_eq!(done(&report, "pre-commit"), "skipped", "{report}");
        assert_eq!(feed(&sandbox, &path, &[], b"").code, 1);
        uninstall(&sandbox);
        assert_eq!(before, look());
        if is_folder {
            assert_eq!(fs::read_to_string(folder.join("pre-commit")).expect("mine"), "mine");
        } else {
            fs::remove_file(&folder).expect("remove");
        }
    }
}

#[test]
fn a_chained_hook_that_was_replaced_is_neither_run_nor_lost() {
    let sandbox = sandbox();
    let path = hook(&sandbox, "pre-commit");
    write_hook(&path, "#!/usr/bin/perl\nprint STDERR 'old';\n", 0o755);
    install(&sandbox);
    fs::remove_file(&path).expect("hook");
    write_hook(&path, "#!/usr/bin/perl\nprint STDERR 'new';\n", 0o755);
    // Which of the two is meant is for a person to say.
    assert_eq!(done(&install(&sandbox), "pre-commit"), "skipped");
    let found = status(&sandbox, 7);
    let reason = state(&found, "pre-commit")["reason"].as_str().expect("a reason");
    assert!(reason.contains("pre-commit.before-heddle"), "{reason}");
    assert_eq!(feed(&sandbox, &path, &[], b"").stderr, "new");
    fs::remove_file(hook(&sandbox, "pre-commit.before-heddle")).expect("hook");
    assert_eq!(done(&install(&sandbox), "pre-commit"), "chained");
    status(&sandbox, 0);
    assert_eq!(feed(&sandbox, &path, &[], b"").stderr, "new");
}

/// Contents that a hook may have, nasty ones above all.
fn contents() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just("#!/bin/sh".to_owned()),
        Just("#!/usr/bin/env bash".to_owned()),
        Just("#!/bin/sh -e".to_owned()),
        Just("#! /bin/sh\r".to_owned()),
        Just("#!/usr/bin/perl".to_owned()),
        Just("# >>> git-heddle hooks >>> inserted".to_owned()),
        Just("# >>> git-heddle hooks >>> ".to_owned()),
        Just("# <<< git-heddle hooks <<< ".to_owned()),
        Just("exit 0".to_owned()),
        Just(String::new()),
        "[ -~]{0,12}",
    ];
    let text = (proptest::collection::vec(line, 0..6), any::<bool>()).prop_map(|(lines, ended)| {
        let mut text = lines.join("\n").into_bytes();
        if ended {
            text.push(b'\n');
        }
        text
    });
    prop_oneof![4 => text, 1 => proptest::collection::vec(any::<u8>(), 0..64)]
}

#[test]
fn uninstalling_gives_every_file_back_byte_for_byte() {
    let sandbox = sandbox();
    let config = ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() };
    let mode = prop_oneof![Just(0o755u32), Just(0o700), Just(0o644), Just(0o4711)];
    let hooks = proptest::array::uniform3(proptest::option::of((contents(), mode)));
    TestRunner::new(config)
        .run(&hooks, |priors| {
            let describe = |path: &Path| {
                let meta = fs::symlink_metadata(path).ok()?;
                Some((fs::read(path).expect("hook"), meta.mode()))
            };
            for (event, prior) in EVENTS.iter().zip(&priors) {
                let path = hook(&sandbox, event);
                let _ = fs::remove_file(&path);
                if let Some((content, mode)) = prior {
                    write_hook(&path, content, *mode);
                }
            }
            let before = EVENTS.map(|event| describe(&hook(&sandbox, event)));
            install(&sandbox);
            status(&sandbox, 0);
            install(&sandbox);
            uninstall(&sandbox);
            prop_assert_eq!(EVENTS.map(|event| describe(&hook(&sandbox, event))), before);
            let left = fs::read_dir(sandbox.root().join(".git/hooks")).expect("folder").count();
            prop_assert_eq!(left, priors.iter().flatten().count());
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_killed_installer_leaves_each_hook_whole_and_the_next_one_finishes() {
    if !has("strace") {
        println!("skipped: there is no strace here");
        return;
    }
    let ready = || {
        let sandbox = sandbox();
        write_hook(&hook(&sandbox, "pre-commit"), "#!/bin/sh\necho mine\n", 0o710);
        write_hook(&hook(&sandbox, "post-rewrite"), "#!/usr/bin/perl\n1;\n", 0o755);
        sandbox
    };
    let whole = ready();
    let old: Vec<_> = EVENTS.map(|event| fs::read(hook(&whole, event)).ok()).into();
    install(&whole);
    let new: Vec<_> = EVENTS.map(|event| fs::read(hook(&whole, event)).ok()).into();
    for verb in ["install", "uninstall"] {
        let mut kills = 0;
        for call in ["write", "link", "symlink", "rename", "unlink", "mkdir", "rmdir", "fchmod", "pwrite64"] {
            for number in 1.. {
                let sandbox = ready();
                let before = snapshot_of(&sandbox.root().join(".git/hooks"));
                if verb == "uninstall" {
                    install(&sandbox);
                }
                let inject = format!("inject={call}:signal=KILL:when={number}");
                let trace = format!("trace={call}");
                let binary = env!("CARGO_BIN_EXE_git-heddle");
                let args = ["-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject, binary, "hooks", verb];
                let output = sandbox.program("strace", &sandbox.root(), &args).output().expect("strace");
                for (index, event) in EVENTS.iter().enumerate() {
                    let now = fs::read(hook(&sandbox, event)).ok();
                    assert!(now == old[index] || now == new[index], "{verb}: {event} after {call} {number}");
                    if *event == "pre-commit" {
                        let mode = fs::metadata(hook(&sandbox, event)).expect("hook").mode();
                        assert_eq!(mode & 0o7777, 0o710, "{verb}: {call} {number}");
                    }
                }
                sandbox.heddle(&["hooks", verb]).exits(0);
                if verb == "install" {
                    status(&sandbox, 0);
                    uninstall(&sandbox);
                }
                assert_same(&before, &snapshot_of(&sandbox.root().join(".git/hooks")));
                if output.status.success() {
                    break;
                }
                kills += 1;
            }
        }
        println!("{verb}: killed {kills} times");
        assert!(kills > 5, "{verb}: {kills}");
    }
}

#[test]
fn installers_that_run_at_once_leave_one_part_each() {
    let sandbox = sandbox();
    write_hook(&hook(&sandbox, "pre-commit"), "#!/bin/sh\necho mine\n", 0o755);
    let children: Vec<_> = (0..6)
        .map(|_| sandbox.command(&["hooks", "install"]).stdout(Stdio::null()).spawn().expect("start"))
        .collect();
    for mut child in children {
        assert!(child.wait().expect("its end").success());
    }
    assert_eq!(done(&install(&sandbox), "pre-commit"), "unchanged");
    uninstall(&sandbox);
    assert_eq!(fs::read_to_string(hook(&sandbox, "pre-commit")).expect("hook"), "#!/bin/sh\necho mine\n");
}

#[test]
fn hooks_go_where_the_repository_has_git_look() {
    let sandbox = sandbox();
    let elsewhere = sandbox.home().join("my hooks");
    sandbox.git(&["config", "core.hooksPath", elsewhere.to_str().expect("UTF-8")]);
    let report = install(&sandbox);
    assert!(elsewhere.join("pre-commit").exists());
    assert!(!hook(&sandbox, "pre-commit").exists());
    // It may be anybody's folder, so that is worth a word.
    assert!(report["warnings"][0].as_str().expect("a warning").contains("outside"), "{report}");
    status(&sandbox, 0);
    // Git looks elsewhere by the time that they are taken away.
    sandbox.git(&["config", "--unset", "core.hooksPath"]);
    let found = status(&sandbox, 7);
    assert!(!state(&found, "pre-commit")["reached"].as_bool().expect("a boolean"));
    uninstall(&sandbox);
    assert!(!elsewhere.exists());
}

#[test]
fn a_folder_that_other_repositories_share_is_left_alone() {
    let sandbox = sandbox();
    let shared = sandbox.home().join("shared");
    fs::create_dir(&shared).expect("folder");
    sandbox.git(&["config", "--global", "core.hooksPath", shared.to_str().expect("UTF-8")]);
    let refused = sandbox.refused(1, &["hooks", "install"]);
    assert!(refused.stderr.contains("not this repository's alone"), "{refused:?}");
    assert!(fs::read_dir(&shared).expect("folder").next().is_none());
    let found = status(&sandbox, 7);
    assert!(state(&found, "pre-commit")["reason"].as_str().expect("a reason").contains(".gitconfig"));
    // The way out that the hint names.
    sandbox.git(&["config", "core.hooksPath", ".git/hooks"]);
    install(&sandbox);
    status(&sandbox, 0);
}

#[test]
fn hooks_that_are_switched_off_are_not_switched_on() {
    let sandbox = sandbox();
    sandbox.git(&["config", "core.hooksPath", "/dev/null"]);
    let refused = sandbox.refused(1, &["hooks", "install"]);
    assert!(refused.stderr.contains("switched off"), "{refused:?}");
    let found = status(&sandbox, 7);
    assert!(state(&found, "pre-commit")["mend"].as_str().expect("a way").contains("--unset"), "{found}");
    // An empty one is no folder to Git, here or on its command line.
    sandbox.git(&["config", "core.hooksPath", ""]);
    assert!(sandbox.refused(1, &["hooks", "install"]).stderr.contains("switched off"));
    let found = status(&sandbox, 7);
    assert!(state(&found, "pre-commit")["mend"].as_str().expect("a way").contains("--unset"), "{found}");
    sandbox.git(&["config", "--unset", "core.hooksPath"]);
    install(&sandbox);
    let environment =
        [("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", "core.hooksPath"), ("GIT_CONFIG_VALUE_0", "")];
    let found = sandbox.heddle_with(&environment, &["hooks", "status", "--json"]).exits(7).json();
    let mend = state(&found, "pre-commit")["mend"].as_str().expect("a way");
    assert!(mend.contains("command line"), "{found}");
}

#[test]
fn going_around_by_the_command_line_is_seen_for_what_it_is() {
    let sandbox = sandbox();
    install(&sandbox);
    let environment =
        [("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", "core.hooksPath"), ("GIT_CONFIG_VALUE_0", "/x")];
    let found = sandbox.heddle_with(&environment, &["hooks", "status", "--json"]).exits(7).json();
    assert!(
        state(&found, "pre-commit")["reason"].as_str().expect("a reason").contains("command line"),
        "{found}"
    );
}

#[test]
fn every_worktree_gets_them_where_its_own_configuration_says() {
    let sandbox = sandbox();
    sandbox.git(&["config", "extensions.worktreeConfig", "true"]);
    sandbox.git(&["worktree", "add", "--quiet", "--detach", "../linked"]);
    let linked = sandbox.home().join("linked");
    let own = sandbox.home().join("own");
    sandbox.git_in(&linked, &["config", "--worktree", "core.hooksPath", own.to_str().expect("UTF-8")]);
    install(&sandbox);
    assert!(hook(&sandbox, "pre-commit").exists() && own.join("pre-commit").exists());
    let found = status(&sandbox, 0);
    let hooks = found["hooks"].as_array().expect("hooks");
    for top in [sandbox.root(), linked.clone()] {
        assert!(hooks.iter().any(|hook| hook["worktree"] == top.to_str().expect("UTF-8")), "{found}");
    }
    sandbox.heddle_in(&linked, &["hooks", "uninstall"]).exits(0);
    assert!(!hook(&sandbox, "pre-commit").exists() && !own.join("pre-commit").exists());
}

#[test]
fn what_the_worktree_contains_is_not_edited_and_what_is_new_is_ignored() {
    let sandbox = sandbox();
    let tracked = "#!/bin/sh\necho \"team $1\" >&2\n";
    write_hook(&sandbox.root().join(".githooks/pre-commit"), tracked, 0o755);
    sandbox.git(&["add", ".githooks"]);
    sandbox.git(&["commit", "--quiet", "--message", "hooks"]);
    sandbox.git(&["config", "core.hooksPath", ".githooks"]);
    sandbox.git(&["worktree", "add", "--quiet", "--detach", "../linked"]);
    let linked = sandbox.home().join("linked");
    let exclude = fs::read(sandbox.root().join(".git/info/exclude")).expect("exclude");
    let report = install(&sandbox);
    assert_eq!(EVENTS.map(|event| done(&report, event)), ["added", "skipped", "added"]);
    for top in [&sandbox.root(), &linked] {
        assert_eq!(sandbox.git_in(top, &["status", "--porcelain"]), "");
        assert!(top.join(".githooks/reference-transaction").exists());
    }
    // The part that enforces is reached; the other one needs the team's consent.
    let found = status(&sandbox, 7);
    assert_eq!(state(&found, "reference-transaction")["reached"], true);
    let pre_commit = state(&found, "pre-commit");
    assert_eq!(pre_commit["reached"], false);
    let reason = pre_commit["reason"].as_str().expect("a reason");
    assert!(reason.contains("git heddle hooks run pre-commit"), "{reason}");
    let path = sandbox.root().join(".githooks/pre-commit");
    fs::write(&path, format!("#!/bin/sh\ngit heddle hooks run pre-commit \"$@\" || exit\n{tracked}"))
        .expect("write");
    let found = status(&sandbox, 7);
    let pre_commit = state(&found, "pre-commit");
    assert_eq!((&pre_commit["reached"], &pre_commit["fired"]), (&true.into(), &false.into()));
    fs::write(&path, tracked).expect("write");
    let again = install(&sandbox);
    assert_eq!(EVENTS.map(|event| done(&again, event)), ["unchanged", "skipped", "unchanged"]);
    assert_eq!(sandbox.git(&["status", "--porcelain"]), "");
    // A worktree that heddle makes gets what its commit does not hold.
    let reserved = sandbox.reserve("t", &["--worktree"]);
    let made = PathBuf::from(support::text(&reserved, "path"));
    assert!(made.join(".githooks/reference-transaction").exists());
    assert_eq!(sandbox.git_in(&made, &["status", "--porcelain"]), "");
    uninstall(&sandbox);
    assert!(!linked.join(".githooks/reference-transaction").exists());
    assert!(!made.join(".githooks/reference-transaction").exists());
    assert_eq!(fs::read(sandbox.root().join(".git/info/exclude")).expect("exclude"), exclude);
    assert_eq!(fs::read_to_string(sandbox.root().join(".githooks/pre-commit")).expect("hook"), tracked);
}

#[test]
fn a_worktree_without_the_folder_gets_one() {
    let sandbox = sandbox();
    sandbox.git(&["config", "core.hooksPath", ".generated/hooks"]);
    sandbox.git(&["worktree", "add", "--quiet", "--detach", "../linked"]);
    let linked = sandbox.home().join("linked");
    install(&sandbox);
    status(&sandbox, 0);
    sandbox.heddle_in(&linked, &["hooks", "status"]).exits(0);
    assert_eq!(sandbox.git_in(&linked, &["status", "--porcelain"]), "");
    // One that is made later has none until an agent works there.
    sandbox.git(&["worktree", "add", "--quiet", "--detach", "../later"]);
    let later = sandbox.home().join("later");
    sandbox.heddle_in(&later, &["hooks", "status"]).exits(7);
    let answer = sandbox.heddle_in(&later, &["agent", "reserve", "--thread", "t"]).exits(0);
    assert!(answer.stderr.contains("are back"), "{answer:?}");
    sandbox.heddle_in(&later, &["hooks", "status"]).exits(0);
    uninstall(&sandbox);
    assert!(!linked.join(".generated").exists() && !later.join(".generated").exists());
}

#[test]
fn what_was_taken_out_is_put_back_only_where_it_was_asked_for() {
    let sandbox = sandbox();
    let before = snapshot_of(&sandbox.root().join(".git/hooks"));
    let reserved = sandbox.reserve("t", &[]);
    assert_same(&before, &snapshot_of(&sandbox.root().join(".git/hooks")));
    install(&sandbox);
    let installed = snapshot_of(&sandbox.root().join(".git/hooks"));
    fs::remove_file(hook(&sandbox, "reference-transaction")).expect("hook");
    assert_eq!(state(&status(&sandbox, 7), "reference-transaction")["reached"], false);
    let session = support::text(&reserved, "session_id");
    let answer = sandbox.heddle(&["agent", "heartbeat", "--session", &session]).exits(0);
    assert!(answer.stderr.contains("reference-transaction"), "{answer:?}");
    assert_same(&installed, &snapshot_of(&sandbox.root().join(".git/hooks")));
    let answer = sandbox.heddle(&["agent", "heartbeat", "--session", &session]).exits(0);
    assert_eq!(answer.stderr, "");
    uninstall(&sandbox);
    sandbox.heddle(&["agent", "heartbeat", "--session", &session]).exits(0);
    assert_same(&before, &snapshot_of(&sandbox.root().join(".git/hooks")));
}

#[test]
fn a_hook_that_does_not_find_the_program_is_told_apart() {
    let sandbox = sandbox();
    install(&sandbox);
    let mut command = sandbox.command(&["hooks", "status", "--json"]);
    let output =
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).output().expect("git-heddle");
    let answer = Answer::of(&output).exits(7);
    let reason = state(&answer.json(), "pre-commit")["reason"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("on PATH"), "{reason}");
}

/// A folder with a `git` that says it is of another version and else is the real one.
fn pretend(sandbox: &Sandbox, version: &str) -> PathBuf {
    let folder = sandbox.home().join(format!("git-{version}"));
    let path = sandbox.path_after(None);
    let path = path.to_str().expect("UTF-8");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" != version ] || {{ echo 'git version {version}'; exit; }}\nPATH='{path}' exec git \"$@\"\n"
    );
    write_hook(&folder.join("git"), script, 0o755);
    folder
}

/// Whether the real Git runs hooks from configuration.
fn runs_configured_hooks(sandbox: &Sandbox) -> bool {
    let said = git_says(sandbox, &sandbox.root(), &["hook", "list", "pre-commit"]);
    // The verb came with them.
    said.code != 129
}

/// What can be tested of configured hooks without a Git that runs them: what is configured, as
/// Git reads it, run as Git documents that it does; and that an older Git is found out.
#[test]
fn a_git_that_runs_configured_hooks_gets_them_by_configuration() {
    let sandbox = sandbox();
    write_hook(&hook(&sandbox, "pre-commit"), "#!/bin/sh\necho mine\n", 0o755);
    let before = snapshot_of(&sandbox.root().join(".git"));
    // Installed by an older Git at first.
    install(&sandbox);
    let path = sandbox.path_after(Some(&pretend(&sandbox, "2.54.0")));
    let heddle =
        |args: &[&str]| Answer::of(&sandbox.command(args).env("PATH", &path).output().expect("git-heddle"));
    let report = heddle(&["hooks", "install", "--json"]).exits(0).json();
    assert_eq!(
        (report["way"].as_str(), done(&report, "pre-commit").as_str()),
        (Some("configuration"), "added")
    );
    assert_eq!(fs::read_to_string(hook(&sandbox, "pre-commit")).expect("hook"), "#!/bin/sh\necho mine\n");
    assert!(!hook(&sandbox, "reference-transaction").exists());
    for event in EVENTS {
        let key = |name: &str| format!("hook.heddle-{event}.{name}");
        assert_eq!(sandbox.git(&["config", "--get-all", &key("event")]), event);
        let command = sandbox.git(&["config", "--get-all", &key("command")]);
        let script = format!("{command} \"$@\"");
        let tip = sandbox.git(&["rev-parse", "HEAD"]);
        let line = format!("{} {tip} refs/heddle/threads/x\n", "0".repeat(40));
        let run = |argument: &str| {
            feed(&sandbox, Path::new("/bin/sh"), &["-c", &script, "hook", argument], line.as_bytes())
        };
        let refused = event == "reference-transaction";
        assert_eq!(run("prepared").code, i32::from(refused), "{event}");
        assert_eq!(run("committed").code, 0, "{event}");
    }
    let again = heddle(&["hooks", "install", "--json"]).exits(0).json();
    assert_eq!(EVENTS.map(|event| done(&again, event)), ["unchanged"; 3]);
    if runs_configured_hooks(&sandbox) {
        heddle(&["hooks", "status"]).exits(0);
    } else {
        // Only the version is pretended: the real Git does not run them, and trying tells.
        let found = status(&sandbox, 7);
        let reason = state(&found, "pre-commit")["reason"].as_str().expect("a reason").to_owned();
        assert!(reason.contains("runs no hooks from configuration"), "{reason}");
        assert_eq!(done(&install(&sandbox), "pre-commit"), "inserted");
        status(&sandbox, 0);
    }
    uninstall(&sandbox);
    fs::remove_dir_all(sandbox.state("")).expect("heddle's state");
    let mut after = snapshot_of(&sandbox.root().join(".git"));
    // Looking for the state of the worktree refreshes it.
    after.retain(|path, _| before.contains_key(path));
    assert_same(&before, &after);
}

#[test]
fn a_template_gives_new_repositories_their_hooks() {
    let sandbox = sandbox();
    let before = sandbox.snapshot();
    let refused = sandbox.heddle(&["hooks", "install", "--global-template"]).exits(1);
    assert!(refused.stderr.contains("init.templateDir"), "{refused:?}");
    sandbox.git(&["config", "--global", "init.templateDir", "~/template"]);
    let outside = sandbox.home().join("outside");
    fs::create_dir(&outside).expect("folder");
    sandbox.heddle_in(&outside, &["hooks", "install", "--global-template"]).exits(0);
    assert_same(&before, &sandbox.snapshot());
    sandbox.git_in(&outside, &["init", "--quiet", "new"]);
    sandbox.heddle_in(&outside.join("new"), &["hooks", "status"]).exits(0);
    sandbox.heddle_in(&outside.join("new"), &["hooks", "uninstall"]).exits(0);
    sandbox.heddle_in(&outside.join("new"), &["hooks", "status"]).exits(7);
    sandbox.heddle_in(&outside, &["hooks", "uninstall", "--global-template"]).exits(0);
    assert!(fs::read_dir(sandbox.home().join("template/hooks")).expect("folder").next().is_none());
}

#[test]
fn a_server_gets_its_own_hook_beside_the_one_it_has() {
    let sandbox = sandbox();
    let server = sandbox.home().join("server.git");
    sandbox.git_in(sandbox.home(), &["init", "--quiet", "--bare", "server.git"]);
    let _ = fs::remove_dir_all(server.join("hooks"));
    let path = server.join("hooks/pre-receive");
    let script = "#!/bin/sh\nwhile read -r old new ref; do echo \"took $ref\"; done\n";
    write_hook(&path, script, 0o755);
    let report = sandbox.heddle_in(&server, &["hooks", "install", "--server", "--json"]).exits(0).json();
    assert_eq!(done(&report, "pre-receive"), "inserted");
    assert_eq!(report["changes"].as_array().expect("changes").len(), 1);
    let found = sandbox.heddle_in(&server, &["hooks", "status", "--json"]).exits(0).json();
    assert_eq!(state(&found, "pre-receive")["fired"], true);
    let url = server.to_str().expect("UTF-8");
    let taken =
        git_says(&sandbox, &sandbox.root(), &["push", url, "HEAD:refs/heads/main", "HEAD:refs/heads/other"]);
    assert_eq!(taken.code, 0, "{taken:?}");
    assert!(taken.stderr.contains("took refs/heads/main") && taken.stderr.contains("took refs/heads/other"));
    // A ready mark for a thread that is not there.
    let refused = git_says(&sandbox, &sandbox.root(), &["push", url, "HEAD:refs/heddle/ready/x"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("heddle:") && !refused.stderr.contains("took"), "{refused:?}");
    sandbox.heddle_in(&server, &["hooks", "uninstall"]).exits(0);
    assert_eq!(fs::read_to_string(&path).expect("hook"), script);
}

#[test]
fn a_push_asks_both_parties() {
    let sandbox = sandbox();
    sandbox.git_in(sandbox.home(), &["init", "--quiet", "--bare", "server.git"]);
    write_hook(&hook(&sandbox, "pre-push"), "#!/bin/sh\nsed 's/^/told /' >&2\n", 0o755);
    install(&sandbox);
    sandbox.reserve("t", &[]);
    let push = |refspec: &str| git_says(&sandbox, &sandbox.root(), &["push", "../server.git", refspec]);
    let branch = push("HEAD:refs/heads/main");
    assert_eq!(branch.code, 0, "{branch:?}");
    assert!(branch.stderr.contains("told HEAD "), "{branch:?}");
    let thread = push("refs/heddle/threads/t");
    assert_eq!(thread.code, 1, "{thread:?}");
    assert!(thread.stderr.contains("error: heddle: ") && !thread.stderr.contains("told"), "{thread:?}");
}

#[test]
fn the_hooks_of_a_server_are_refused_where_people_work() {
    let sandbox = sandbox();
    let refused = sandbox.refused(1, &["hooks", "install", "--server"]);
    assert!(refused.stderr.contains("bare repository"), "{refused:?}");
}

#[test]
fn a_lock_on_the_configuration_that_a_killed_git_left_is_removed_by_the_doctor() {
    let sandbox = sandbox();
    let lock = sandbox.root().join(".git/config.lock");
    fs::write(&lock, "").expect("a lock");
    let found = sandbox.heddle(&["doctor", "--json"]).exits(1).json();
    assert_eq!(found["findings"][0]["kind"], "stale_ref_lock", "{found}");
    sandbox.heddle(&["doctor", "--fix"]).exits(0);
    assert!(!lock.exists());
}
