//! The environment means what it means in Git: each case asks the git program first.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;
mod support_program;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use support::{Answer, Sandbox, put, text};
use support_program::write_program;

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
    length(&Answer::of(&output).exits(0).json())
}

/// How long the lease of a new session is, in seconds.
fn length(document: &serde_json::Value) -> i64 {
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
    // Files that libgit2 does not look for, in order of their precedence.
    let file = |name: &str, ttl: u32| {
        let path = sandbox.home().join(name);
        std::fs::write(&path, format!("[heddle]\n\tttl = {ttl}\n")).expect("write");
        path.to_str().expect("path").to_owned()
    };
    let (system, global, given) = (file("system", 400), file("global", 500), file("given", 600));
    let users = sandbox.home().join(".gitconfig");
    std::fs::write(&users, "[heddle]\n\tttl = 700\n").expect("write");
    let include = format!("include.path={given}");
    let on_branch = format!("includeIf.onbranch:main.path={given}");
    let in_system = [("GIT_CONFIG_NOSYSTEM", "0"), ("GIT_CONFIG_SYSTEM", &*system)];
    let both = [in_system[0], in_system[1], ("GIT_CONFIG_GLOBAL", &*global)];
    let none = [("GIT_CONFIG_GLOBAL", "/dev/null")];
    let counted =
        [("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", "include.path"), ("GIT_CONFIG_VALUE_0", &*given)];
    let agree = |variables: &[(&str, &str)], before: &[&str], expected: Option<i64>| {
        let mut git = sandbox.program("git", &root, &[before, &["config", "--get", "heddle.ttl"]].concat());
        let said = git.envs(variables.iter().copied()).output().expect("git").stdout;
        assert_eq!(String::from_utf8_lossy(&said).trim().parse().ok(), expected, "{variables:?} {before:?}");
        assert_eq!(
            lease(&sandbox, &root, variables, before),
            expected.unwrap_or(1800),
            "{variables:?} {before:?}"
        );
    };
    agree(&[], &["-c", &include], Some(600));
    agree(&[], &["-c", &on_branch], Some(600));
    agree(&counted, &[], Some(600));
    sandbox.git(&["config", "--unset", "heddle.ttl"]);
    agree(&[], &[], Some(700));
    agree(&both, &[], Some(500));
    agree(&in_system, &[], Some(700));
    agree(&none, &[], None);
    std::fs::remove_file(&users).expect("remove");
    agree(&in_system, &[], Some(400));
    agree(&[in_system[1]], &[], None);
    // Conditions that libgit2 does not know.
    sandbox.git(&["config", "remote.o.url", "https://example.com/x"]);
    let condition = "includeIf.hasconfig:remote.*.url:https://example.com/**.path";
    sandbox.git(&["config", condition, included.to_str().expect("path")]);
    let expected: i64 = sandbox.git(&["config", "--get", "heddle.ttl"]).trim().parse().expect("number");
    assert_eq!(expected, 300);
    assert_eq!(lease(&sandbox, &root, &[], &[]), expected);
}

#[test]
fn files_of_configuration_are_those_that_the_environment_names() {
    let sandbox = Sandbox::new();
    let root = sandbox.root();
    std::fs::write(sandbox.home().join(".gitconfig"), "[heddle]\n\tttl = 100\n").expect("write");
    let other = sandbox.home().join("other");
    std::fs::write(&other, "[heddle]\n\tttl = 200\n").expect("write");
    let other = other.to_str().expect("path");
    let system = [("GIT_CONFIG_SYSTEM", other), ("GIT_CONFIG_NOSYSTEM", "false")];
    // A file may have any name.
    let odd = sandbox.home().join(OsStr::from_bytes(b"odd \xff"));
    std::fs::write(&odd, "[heddle]\n\tttl = 300\n").expect("write");
    let reserve = ["agent", "reserve", "--thread", "odd"];
    let reserved = sandbox.command(&reserve).env("GIT_CONFIG_GLOBAL", &odd).output().expect("heddle");
    let reserved = Answer::of(&reserved).exits(0).json();
    let record = sandbox.state(format!("agents/{}.json", reserved["session_id"].as_str().expect("session")));
    let record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(record).expect("record")).expect("JSON");
    assert_eq!(record["ttl_seconds"], 300);
    for (variables, expected) in [
        (&[][..], "100"),
        (&[("GIT_CONFIG_GLOBAL", other)][..], "200"),
        (&[("GIT_CONFIG_GLOBAL", "/dev/null")][..], ""),
        (&[("GIT_CONFIG_GLOBAL", "")][..], ""),
        (&[system[0], system[1], ("GIT_CONFIG_GLOBAL", "/dev/null")][..], "200"),
        (&[system[0], ("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_CONFIG_GLOBAL", "/dev/null")][..], ""),
        (&system[..], "100"),
    ] {
        let mut git = sandbox.program("git", &root, &["config", "--get", "heddle.ttl"]);
        let said = git.envs(variables.iter().copied()).output().expect("git").stdout;
        assert_eq!(String::from_utf8_lossy(&said).trim(), expected, "{variables:?}");
        let expected = if expected.is_empty() { 1800 } else { expected.parse().expect("number") };
        assert_eq!(lease(&sandbox, &root, variables, &[]), expected, "{variables:?}");
    }
}

#[test]
fn the_file_of_the_whole_system_is_the_one_that_git_was_built_with() {
    let sandbox = Sandbox::new();
    let root = sandbox.root();
    let prefix = sandbox.home().join("opt");
    let folder = |below: &str| {
        let folder = prefix.join(below);
        std::fs::create_dir_all(&folder).expect("folder");
        folder
    };
    let (bin, etc) = (folder("bin"), folder("etc"));
    std::fs::write(etc.join("gitconfig"), "[heddle]\n\tttl = 200\n").expect("write");
    // As a Git would do that was built for this prefix.
    let script = format!(
        "#!/bin/sh\nPATH=${{PATH#*:}} GIT_CONFIG_NOSYSTEM=0 GIT_CONFIG_SYSTEM='{}' exec git \"$@\"\n",
        etc.join("gitconfig").display()
    );
    write_program(bin.join("git"), script);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("PATH"));
    for (no_system, expected) in [("0", 200), ("1", 1800)] {
        let variables = [("PATH", &*path), ("GIT_CONFIG_NOSYSTEM", no_system)];
        if no_system == "0" {
            let mut git = sandbox.program("git", &root, &["config", "--get", "heddle.ttl"]);
            let output = git.envs(variables).output().expect("git").stdout;
            assert_eq!(String::from_utf8_lossy(&output).trim(), expected.to_string());
        }
        let mut heddle = sandbox.command(&["agent", "reserve", "--thread", &format!("system-{no_system}")]);
        let reserved = Answer::of(&heddle.envs(variables).output().expect("heddle")).exits(0).json();
        assert_eq!(length(&reserved), expected, "{variables:?}");
    }
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
    // Where libgit2 would trust, and Git does not: it has the user's file elsewhere, or takes
    // back what is said there.
    let users = sandbox.home().join(".gitconfig");
    std::fs::write(&users, "[safe]\n\tdirectory = *\n").expect("write");
    list(&[]).exits(0);
    list(&[("GIT_CONFIG_GLOBAL", "/dev/null")]).exits(128);
    list(&count("")).exits(128);
    for value in [".", "~/repo", "~/*", "/elsewhere"] {
        std::fs::write(&users, format!("[safe]\n\tdirectory = {value}\n")).expect("write");
        list(&[]);
    }
    // What the repository says of itself counts for nothing.
    std::fs::remove_file(&users).expect("remove");
    let own = root.join(".git/config");
    let text = std::fs::read_to_string(&own).expect("read");
    std::fs::write(&own, format!("{text}[safe]\n\tdirectory = *\n")).expect("write");
    list(&[]).exits(128);
}

/// Compares where `git` and heddle are with these variables in `folder`: the common directory
/// by the ref that a reserve makes, the worktree by what a capture of it finds.
fn same_place(sandbox: &Sandbox, folder: &Path, variables: &[(&str, &str)]) {
    let git = |args: &[&str]| {
        let mut git = sandbox.program("git", folder, args);
        Answer::of(&git.envs(variables.iter().copied()).output().expect("git"))
    };
    let heddle = |args: &[&str]| {
        let mut heddle = sandbox.program(env!("CARGO_BIN_EXE_git-heddle"), folder, args);
        Answer::of(&heddle.envs(variables.iter().copied()).output().expect("heddle"))
    };
    let about = format!("{variables:?} in {}", folder.display());
    let common = git(&["rev-parse", "--path-format=absolute", "--git-common-dir"]);
    let reserved = heddle(&["agent", "reserve", "--thread", "place"]);
    assert_eq!(common.code, reserved.code, "{about}: {}", reserved.stderr);
    if common.code != 0 {
        return;
    }
    let reserved = reserved.json();
    let head = git(&["rev-parse", "HEAD"]).exits(0).stdout;
    assert_eq!(reserved["anchor_state"], head.trim(), "{about}");
    let made = git(&["rev-parse", "refs/heddle/threads/place"]).exits(0).stdout;
    assert_eq!(made, head, "{about}");
    let (common, record) = (Path::new(common.stdout.trim()), "heddle/threads/place.json");
    assert!(common.join(record).exists(), "{about}");
    let session = reserved["session_id"].as_str().expect("id");
    let top = git(&["rev-parse", "--show-toplevel"]);
    let captured = heddle(&["agent", "capture", "--session", session, "--dry-run", "-m", "x"]);
    assert_eq!(top.code == 0, captured.code == 0, "{about}: {}", captured.stderr);
    if top.code == 0 {
        // Dry runs bind nothing; what is new in this worktree is what Git sees there.
        let listed =
            git(&["ls-files", "--others", "--modified", "--deleted", "--full-name", top.stdout.trim()]);
        let listed: Vec<&str> = listed.stdout.lines().collect();
        assert_eq!(captured.json()["changed_paths"], serde_json::json!(listed), "{about}");
    }
    heddle(&["agent", "release", "--session", session]).exits(0);
    heddle(&["thread", "drop", "place", "--force"]).exits(0);
}

#[test]
fn parts_and_places_that_the_environment_names_are_those_of_git() {
    let sandbox = Sandbox::new();
    sandbox.commit("second");
    let root = sandbox.root();
    let below = root.join("below");
    let linked = sandbox.home().join("linked");
    std::fs::create_dir(&below).expect("folder");
    sandbox.git(&["worktree", "add", "-q", "--detach", linked.to_str().expect("path")]);
    std::fs::write(root.join("new"), "x\n").expect("write");
    std::fs::write(linked.join("other"), "x\n").expect("write");
    let git_dir = root.join(".git");
    let of_linked = git_dir.join("worktrees/linked");
    let text = |path: &Path| path.to_str().expect("path").to_owned();
    let (repo, git, link, link_git) = (text(&root), text(&git_dir), text(&linked), text(&of_linked));
    let elsewhere = text(sandbox.home());

    same_place(&sandbox, &below, &[]);
    same_place(&sandbox, &git_dir, &[]);
    same_place(&sandbox, &git_dir.join("refs"), &[]);
    same_place(&sandbox, &below, &[("GIT_CEILING_DIRECTORIES", &repo)]);
    same_place(&sandbox, &below, &[("GIT_CEILING_DIRECTORIES", &elsewhere)]);
    same_place(&sandbox, &below, &[("GIT_DISCOVERY_ACROSS_FILESYSTEM", "1")]);
    same_place(&sandbox, &below, &[("GIT_NAMESPACE", "ns")]);
    same_place(&sandbox, &root, &[("GIT_DIR", &git), ("GIT_IMPLICIT_WORK_TREE", "0")]);
    same_place(&sandbox, &below, &[("GIT_DIR", "../.git"), ("GIT_WORK_TREE", "..")]);
    same_place(&sandbox, &linked, &[("GIT_DIR", &git), ("GIT_WORK_TREE", &repo)]);
    same_place(&sandbox, sandbox.home(), &[("GIT_DIR", &link_git), ("GIT_WORK_TREE", &link)]);
    same_place(&sandbox, &root, &[("GIT_DIR", "nowhere")]);

    // Git takes refs from the one and configuration from the other: nothing to be sure of.
    let common = sandbox.home().join("common");
    sandbox.git(&["init", "-q", "--bare", common.to_str().expect("path")]);
    let refused = sandbox.refused_with(&[("GIT_COMMON_DIR", &text(&common))], 128, &["agent", "list"]);
    assert!(refused.stderr.contains("GIT_COMMON_DIR"), "{}", refused.stderr);
    same_place(&sandbox, &root, &[("GIT_COMMON_DIR", &git)]);
    same_place(&sandbox, &linked, &[("GIT_COMMON_DIR", &git)]);
}

#[test]
fn objects_are_where_the_environment_has_them() {
    let sandbox = Sandbox::new();
    let root = sandbox.root();
    let objects = sandbox.home().join("objects");
    std::fs::create_dir(&objects).expect("folder");
    let mine = root.join(".git/objects");
    let (objects, mine) = (objects.to_str().expect("path"), mine.to_str().expect("path"));
    let session = sandbox.reserve("t", &[])["session_id"].as_str().expect("id").to_owned();
    std::fs::write(root.join("new"), "x\n").expect("write");
    let apart = [("GIT_OBJECT_DIRECTORY", objects), ("GIT_ALTERNATE_OBJECT_DIRECTORIES", mine)];
    let capture = ["agent", "capture", "--session", &session, "-m", "x"];
    let commit =
        sandbox.heddle_with(&apart, &capture).exits(0).json()["commit"].as_str().expect("id").to_owned();
    // Written there, and nowhere else.
    let holds = |folder: &str| Path::new(folder).join(&commit[..2]).join(&commit[2..]).exists();
    assert!(holds(objects) && !holds(mine));
    sandbox.heddle_with(&apart, &["agent", "ready", "--session", &session]).exits(0);
    // Read from there, as Git does.
    sandbox.refused(1, &["agent", "reserve", "--thread", "u", "--anchor", &commit]);
    let also = [("GIT_ALTERNATE_OBJECT_DIRECTORIES", objects)];
    let reserved =
        sandbox.heddle_with(&also, &["agent", "reserve", "--thread", "u", "--anchor", &commit]).exits(0);
    assert_eq!(reserved.json()["anchor_state"], commit);
}

#[test]
fn what_the_environment_says_of_paths_holds_for_those_of_the_user() {
    for name in ["GIT_ICASE_PATHSPECS", "GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS", "GIT_LITERAL_PATHSPECS"]
    {
        let variables = [(name, "1")];
        let sandbox = Sandbox::new();
        for file in ["a", "ab", "a*"] {
            put(&sandbox.root(), file, "1\n");
        }
        put(&sandbox.root(), ".gitignore", "ignored\ncopied\n");
        sandbox.git(&["add", "-A"]);
        sandbox.git(&["commit", "-q", "-m", "Files"]);
        sandbox.git(&["config", "heddle.worktreeCopy", "cop*"]);
        put(&sandbox.root(), "copied", "1\n");
        let args = ["agent", "reserve", "--thread", "t", "--worktree"];
        let reserved = sandbox.heddle_with(&variables, &args).exits(0).json();
        let (id, path) = (text(&reserved, "session_id"), std::path::PathBuf::from(text(&reserved, "path")));
        assert!(path.join("copied").exists(), "{name}");
        let capture = |paths: &[&str]| {
            let index = sandbox.home().join("index");
            std::fs::copy(sandbox.root().join(".git/worktrees/t/index"), &index).expect("copied");
            let git = |args: &[&str]| {
                let mut git = sandbox.program("git", &path, args);
                let output = git.envs(variables).env("GIT_INDEX_FILE", &index).output().expect("git");
                Answer::of(&output).exits(0).stdout
            };
            git(&[&["add", "-A"], paths].concat());
            let meant = git(&["diff", "--cached", "--name-only", "HEAD"]);
            let args = [&["agent", "capture", "--session", &id, "-m", "x"], paths].concat();
            let mut command = sandbox.program(env!("CARGO_BIN_EXE_git-heddle"), &path, &args);
            let document = Answer::of(&command.envs(variables).output().expect("heddle")).exits(0).json();
            assert_eq!(document["warnings"], serde_json::json!([]), "{name}");
            // What is staged beside the paths is not theirs.
            let meant: Vec<&str> =
                meant.lines().filter(|path| paths.is_empty() || *path != "ignored").collect();
            assert_eq!(document["changed_paths"], serde_json::json!(meant), "{name} {paths:?}");
        };
        for (round, paths) in [&["--", "a"][..], &["--", "a*"], &[]].into_iter().enumerate() {
            for file in ["a", "ab", "a*"] {
                put(&path, file, &format!("{round}{file}\n"));
            }
            put(&path, "ignored", "1\n");
            sandbox.git_in(&path, &["add", "-f", "ignored"]);
            capture(paths);
        }
        assert_eq!(sandbox.git_in(&path, &["status", "--porcelain"]), "", "{name}");
    }
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
