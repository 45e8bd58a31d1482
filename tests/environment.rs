//! The environment means what it means in Git: each case asks the git program first.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;

use std::path::Path;

use support::{Answer, Sandbox};

/// `heddle.ttl` as `git heddle` understood it, in seconds: what a reserve's lease lasts.
fn lease(sandbox: &Sandbox, folder: &Path, variables: &[(&str, &str)], before: &[&str]) -> i64 {
    let thread = format!("t{}", std::fs::read_dir(sandbox.state("locks")).map_or(0, Iterator::count));
    let binary = Path::new(env!("CARGO_BIN_EXE_git-heddle"));
    let mut command = sandbox.program(
        "git",
        folder,
        &[before, &["heddle", "agent", "reserve", "--thread", &thread]].concat(),
    );
    let path = std::env::var("PATH").expect("PATH");
    command.env("PATH", format!("{}:{path}", binary.parent().expect("folder").display()));
    let output = command.envs(variables.iter().copied()).output().expect("git");
    let document = Answer::of(&output).exits(0).json();
    let time =
        |key: &str| chrono::DateTime::parse_from_rfc3339(document[key].as_str().expect(key)).expect(key);
    (time("expires_at") - time("started_at")).num_seconds()
}

#[test]
fn configuration_comes_from_where_git_takes_it() {
    let sandbox = Sandbox::new();
    let root = sandbox.root();
    sandbox.git(&["config", "heddle.ttl", "100"]);
    let included = sandbox.home().join("included");
    std::fs::write(&included, "[heddle]\n\tttl = 300\n").expect("write");
    let count =
        [("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", "Heddle.TTL"), ("GIT_CONFIG_VALUE_0", "200")];
    for (variables, before, expected) in [
        (&[][..], &[][..], 100),
        (&count[..], &[][..], 200),
        (&[][..], &["-c", "heddle.ttl=250"][..], 250),
        (&count[..], &["-c", "heddle.ttl=250"][..], 250),
    ] {
        let mut git = sandbox.program("git", &root, &[before, &["config", "--get", "heddle.ttl"]].concat());
        let said = git.envs(variables.iter().copied()).output().expect("git").stdout;
        assert_eq!(String::from_utf8_lossy(&said).trim(), expected.to_string());
        assert_eq!(lease(&sandbox, &root, variables, before), expected);
    }
    // Conditions that libgit2 does not know.
    sandbox.git(&["config", "remote.o.url", "https://example.com/x"]);
    let condition = "includeIf.hasconfig:remote.*.url:https://example.com/**.path";
    sandbox.git(&["config", condition, included.to_str().expect("path")]);
    let expected: i64 = sandbox.git(&["config", "--get", "heddle.ttl"]).trim().parse().expect("number");
    assert_eq!(expected, 300);
    assert_eq!(lease(&sandbox, &root, &[], &[]), expected);
}

#[test]
fn a_repository_of_another_owner_needs_safe_directory_in_any_of_its_spellings() {
    let sandbox = Sandbox::new();
    let root = sandbox.root();
    if std::os::unix::fs::chown(&root, Some(65534), None).is_err() {
        // Only root can give a repository away.
        return;
    }
    std::os::unix::fs::chown(root.join(".git"), Some(65534), None).expect("chown");
    let list = |variables: &[(&str, &str)]| {
        let mut git = sandbox.program("git", &root, &["rev-parse", "--git-dir"]);
        let agrees = git.envs(variables.iter().copied()).output().expect("git").status.success();
        let mut heddle = sandbox.command(&["agent", "list"]);
        let output = heddle.envs(variables.iter().copied()).output().expect("heddle");
        assert_eq!(agrees, output.status.success(), "{variables:?}");
        Answer::of(&output)
    };
    let refused = list(&[]).exits(128);
    assert!(refused.stderr.contains("dubious ownership"), "{}", refused.stderr);
    let count = |value| {
        [("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", "safe.directory"), ("GIT_CONFIG_VALUE_0", value)]
    };
    list(&count("*")).exits(0);
    list(&count(root.to_str().expect("path"))).exits(0);
    let below = format!("{}/*", root.parent().expect("folder").display());
    list(&count(&below)).exits(0);
    list(&count("/elsewhere")).exits(128);
}

#[test]
fn ceilings_and_git_dir_decide_as_in_git() {
    let sandbox = Sandbox::new();
    let root = sandbox.root();
    let below = root.join("below");
    std::fs::create_dir(&below).expect("folder");
    for (folder, variables) in [
        (&below, vec![]),
        (&below, vec![("GIT_CEILING_DIRECTORIES", root.as_os_str())]),
        (&below, vec![("GIT_DIR", root.join(".git").as_os_str().to_owned().leak() as &std::ffi::OsStr)]),
        (&below, vec![("GIT_DIR", std::ffi::OsStr::new("nowhere"))]),
    ] {
        let mut git = sandbox.program("git", folder, &["rev-parse", "--git-dir"]);
        let git = git.envs(variables.iter().copied()).output().expect("git");
        let binary = env!("CARGO_BIN_EXE_git-heddle");
        let mut heddle = sandbox.program(binary, folder, &["agent", "list"]);
        let heddle = heddle.envs(variables.iter().copied()).output().expect("heddle");
        assert_eq!(git.status.code(), heddle.status.code(), "{variables:?}");
    }
}

#[test]
fn a_partial_clone_is_reserved_and_captured_like_any_other() {
    let sandbox = Sandbox::new();
    sandbox.git(&["config", "uploadpack.allowFilter", "true"]);
    let clone = sandbox.home().join("clone");
    let from = format!("file://{}", sandbox.root().display());
    sandbox.git(&["clone", "-q", "--filter=blob:none", &from, clone.to_str().expect("path")]);
    sandbox.git_in(&clone, &["config", "user.name", "A"]);
    sandbox.git_in(&clone, &["config", "user.email", "a@example.com"]);
    let heddle = |args: &[&str]| {
        let mut command = sandbox.program(env!("CARGO_BIN_EXE_git-heddle"), &clone, args);
        Answer::of(&command.output().expect("heddle")).exits(0).json()
    };
    let session =
        heddle(&["agent", "reserve", "--thread", "t"])["session_id"].as_str().expect("id").to_owned();
    std::fs::write(clone.join("new"), "x\n").expect("write");
    let captured = heddle(&["agent", "capture", "--session", &session, "-m", "x"]);
    assert_eq!(captured["changed_paths"], serde_json::json!(["new"]));
}
