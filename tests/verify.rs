//! `git heddle verify`: what CI is told of a thread in a clone that has refs and nothing else.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{Answer, Sandbox, assert_same, snapshot_of, text};

/// The trailers of a capture.
fn trailers(thread: &str, session: &str, generation: &str) -> String {
    format!("Heddle-Thread: {thread}\nHeddle-Session: {session}\nHeddle-Generation: {generation}\n")
}

/// A commit of `files` on `parents` with `message`, on nothing.
#[track_caller]
fn make(sandbox: &Sandbox, parents: &[&str], files: &[(&str, &str)], message: &str) -> String {
    let index = sandbox.home().join("index");
    let run = |args: &[&str], input: &str| {
        let path = sandbox.home().join("input");
        fs::write(&path, input).expect("input");
        let mut command = sandbox.program("git", &sandbox.root(), args);
        command.env("GIT_INDEX_FILE", &index).stdin(fs::File::open(path).expect("input"));
        Answer::of(&command.output().expect("git")).exits(0).stdout.trim().to_owned()
    };
    match parents.first() {
        Some(parent) => run(&["read-tree", parent], ""),
        None => run(&["read-tree", "--empty"], ""),
    };
    for (path, content) in files {
        let blob = run(&["hash-object", "-w", "--stdin"], content);
        run(&["update-index", "--add", "--cacheinfo", &format!("100644,{blob},{path}")], "");
    }
    let tree = run(&["write-tree"], "");
    let mut args = vec!["commit-tree", &tree, "-F", "-"];
    parents.iter().for_each(|parent| args.extend(["-p", parent]));
    run(&args, message)
}

fn set(sandbox: &Sandbox, thread: &str, commit: &str) {
    sandbox.git(&["update-ref", &format!("refs/heddle/threads/{thread}"), commit]);
}

/// One capture on `parents`.
fn capture(
    sandbox: &Sandbox,
    thread: &str,
    parents: &[&str],
    file: &str,
    session: &str,
    generation: u64,
) -> String {
    let message = format!("Work\n\n{}", trailers(thread, session, &generation.to_string()));
    make(sandbox, parents, &[(file, &format!("{session} {generation}\n"))], &message)
}

#[track_caller]
fn verify(sandbox: &Sandbox, code: i32, args: &[&str]) -> Value {
    sandbox.heddle(&[&["verify", "--json"], args].concat()).exits(code).json()
}

/// The messages of what was found at the first subject, each behind its check.
fn findings(document: &Value) -> Vec<String> {
    let found = document["subjects"][0]["findings"].as_array().expect("findings");
    found.iter().map(|finding| format!("{}: {}", text(finding, "check"), text(finding, "message"))).collect()
}

#[track_caller]
fn finds(sandbox: &Sandbox, args: &[&str], expected: &[&str]) {
    let found = findings(&verify(sandbox, 7, args));
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.contains(expected), "{found} has no {expected:?}");
    }
}

/// A clone of the sandbox's repository with its threads fetched by plain Git.
#[track_caller]
fn fresh_clone(sandbox: &Sandbox, options: &[&str]) -> PathBuf {
    let to = sandbox.home().join("clone");
    let url = format!("file://{}", sandbox.root().display());
    sandbox.git_in(sandbox.home(), &[&["clone", "--quiet"], options, &[&url, "clone"]].concat());
    let refspec = "+refs/heddle/*:refs/heddle-remotes/origin/*";
    let depth = options.iter().find(|option| option.starts_with("--depth"));
    let args: Vec<&str> =
        ["fetch", "--quiet"].into_iter().chain(depth.copied()).chain(["origin", refspec]).collect();
    sandbox.git_in(&to, &args);
    to
}

#[test]
fn a_fresh_clone_proves_what_reserve_capture_and_ready_made() {
    let sandbox = Sandbox::new();
    let reserved = sandbox.reserve("fix/login", &["--worktree"]);
    let (session, path) = (text(&reserved, "session_id"), PathBuf::from(text(&reserved, "path")));
    fs::write(path.join("file"), "x\n").expect("write");
    sandbox.heddle_in(&path, &["agent", "ready", "--session", &session, "-m", "Work"]).exits(0);
    let clone = fresh_clone(&sandbox, &[]);
    assert!(!clone.join(".git/heddle").exists());
    let before = snapshot_of(&clone);
    let args = ["verify", "fix/login", "--json", "--require-ready", "--require-session", "--allow", "file"];
    let document = sandbox.heddle_in(&clone, &args).exits(0).json();
    assert_same(&before, &snapshot_of(&clone));
    let subject = &document["subjects"][0];
    assert_eq!(document["verdict"], "ok");
    assert_eq!(document["base"]["name"], "refs/remotes/origin/main");
    assert_eq!((text(subject, "name").as_str(), &subject["ready"]), ("origin/fix/login", &json!(true)));
    assert_eq!(subject["sessions"], json!([session]));
    assert_eq!((&subject["commits"], &subject["generation"]), (&json!(1), &json!(1)));
    // All there is, by full name, and as a range; a bare clone will do.
    sandbox.heddle_in(&clone, &["verify"]).exits(0);
    sandbox.heddle_in(&clone, &["verify", "origin/fix/login"]).exits(0);
    let full = "refs/heddle-remotes/origin/threads/fix/login";
    sandbox.heddle_in(&clone, &["verify", full]).exits(0);
    let range = format!("origin/main..{full}");
    sandbox.heddle_in(&clone, &["verify", &range, "--require-ready", "--require-session"]).exits(0);
    sandbox.git_in(sandbox.home(), &["clone", "--quiet", "--mirror", "repo", "mirror"]);
    sandbox.heddle_in(&sandbox.home().join("mirror"), &["verify", "--require-ready"]).exits(0);
}

#[test]
fn no_data_is_never_fine() {
    let sandbox = Sandbox::new();
    let unknown = |args: &[&str], word: &str| {
        let answer = sandbox.refused(128, args);
        assert!(answer.stderr.contains(word), "{answer:?}");
        assert!(answer.stderr.contains("hint: "), "{answer:?}");
    };
    unknown(&["verify"], "no threads here");
    set(&sandbox, "a", "HEAD");
    sandbox.heddle(&["verify"]).exits(0);
    unknown(&["verify", "b"], "thread 'b' is not here");
    unknown(&["verify", "a", "b"], "thread 'b' is not here");
    unknown(&["verify", "refs/heddle/threads/b"], "not here");
    unknown(&["verify", "--base", "nowhere"], "no base 'nowhere'");
    unknown(&["verify", "--base", "HEAD^{tree}"], "no base");
    unknown(&["verify", "nowhere..HEAD"], "no revision 'nowhere'");
    unknown(&["-C", ".", "verify", "a..a^..a"], "no revision");
    sandbox.refused(2, &["verify", "main...HEAD"]);
    sandbox.git(&["config", "heddle.target", "gone"]);
    unknown(&["verify"], "'gone' not found");
    sandbox.git(&["config", "--unset", "heddle.target"]);
    sandbox.git(&["checkout", "--quiet", "--detach"]);
    unknown(&["verify"], "cannot tell which branch");
    let answer = sandbox.heddle(&["verify", "b", "--format=github"]).exits(128);
    assert!(answer.stdout.starts_with("::error title=git heddle verify::cannot tell: "), "{answer:?}");
    let answer = sandbox.heddle(&["verify", "b", "--format=json"]).exits(128);
    assert_eq!(answer.json()["error"]["kind"], "not_usable");
}

#[test]
fn two_formats_at_once_are_refused() {
    let sandbox = Sandbox::new();
    set(&sandbox, "t", "HEAD");
    for format in ["github", "text", "junit"] {
        let format = format!("--format={format}");
        for args in [["verify", "--json", &format], ["--output=json", "verify", &format]] {
            let refused = sandbox.heddle(&args).exits(2);
            assert!(refused.stdout.is_empty() && refused.stderr.contains("two formats"), "{refused:?}");
        }
        sandbox.heddle(&["verify", "--no-json", &format]).exits(0);
    }
    sandbox.heddle(&["verify", "--json", "--format=json"]).exits(0).json();
}

#[test]
fn trailers_that_contradict_each_other_are_found() {
    let sandbox = Sandbox::new();
    let head = sandbox.git(&["rev-parse", "HEAD"]);
    let case = |message: &str, expected: &[&str]| {
        set(&sandbox, "t", &make(&sandbox, &[&head], &[("f", message)], message));
        finds(&sandbox, &["t"], expected);
    };
    let good = trailers("t", "agent-1", "1");
    case(&format!("Work\n\n{good}Heddle-Thread: t\n"), &["trailers: commit "]);
    case(&format!("Work\n\n{good}heddle-session: agent-2\n"), &["2 Heddle-Session"]);
    case(&format!("Work\n\n{good}Heddle-Generation: 1\n"), &["2 Heddle-Generation"]);
    case(&format!("Work\n\n{}", trailers("t", "agent-1", "0")), &["no generation"]);
    case(&format!("Work\n\n{}", trailers("t", "Agent 1", "1")), &["no session's id", "no Heddle-Session"]);
    case(
        &format!("Work\n\n{}", trailers("other", "agent-1", "1")),
        &["names thread 'other', which does not have it"],
    );
    // What Git takes for prose is no session's work.
    let prose = make(&sandbox, &[&head], &[("f", "prose")], &format!("Work\n\nWhat it does.\n{good}"));
    set(&sandbox, "t", &prose);
    finds(&sandbox, &["--require-session", "t"], &["no session made it"]);
    case("Work\n\nHeddle-Thread: t\n", &["0 Heddle-Session"]);
    case("Work\n\nHeddle-Session: agent-1\nHeddle-Generation: 1\n", &["no Heddle-Thread"]);
}

#[test]
fn a_generation_once_passed_is_not_written_to_again() {
    let sandbox = Sandbox::new();
    let head = sandbox.git(&["rev-parse", "HEAD"]);
    let one = capture(&sandbox, "t", &[&head], "a", "agent-1", 1);
    let two = capture(&sandbox, "t", &[&one], "b", "agent-2", 2);
    // Commits that people made in between change nothing.
    let by_hand = make(&sandbox, &[&two], &[("c", "c")], "By hand\n");
    let three = capture(&sandbox, "t", &[&by_hand], "d", "agent-3", 3);
    set(&sandbox, "t", &three);
    let document = verify(&sandbox, 0, &["t"]);
    assert_eq!(document["subjects"][0]["generation"], 3);
    assert_eq!(document["subjects"][0]["sessions"], json!(["agent-1", "agent-2", "agent-3"]));
    // A writer that was fenced off and woke up.
    set(&sandbox, "t", &capture(&sandbox, "t", &[&by_hand], "d", "agent-1", 1));
    finds(&sandbox, &["t"], &["generations: commit "]);
    // The same by way of a merge: the other side had got further.
    let late = capture(&sandbox, "t", &[&one], "e", "agent-1", 1);
    let merge = make(&sandbox, &[&late, &two], &[("b", "x"), ("e", "y")], "Merge\n");
    set(&sandbox, "t", &merge);
    sandbox.heddle(&["verify", "t"]).exits(0);
    set(&sandbox, "t", &capture(&sandbox, "t", &[&merge], "f", "agent-1", 1));
    finds(&sandbox, &["t"], &["generation 1 follows generation 2"]);
    // One session, two generations; one generation, two sessions.
    set(&sandbox, "t", &capture(&sandbox, "t", &[&one], "f", "agent-1", 2));
    finds(&sandbox, &["t"], &["sessions: commit "]);
    set(&sandbox, "t", &capture(&sandbox, "t", &[&one], "f", "agent-9", 1));
    finds(&sandbox, &["t"], &["generation 1 is of session 'agent-9', and of session 'agent-1'"]);
}

#[test]
fn a_thread_that_stands_on_another_has_its_commits() {
    let sandbox = Sandbox::new();
    let head = sandbox.git(&["rev-parse", "HEAD"]);
    let below = capture(&sandbox, "below", &[&head], "a", "agent-1", 1);
    let above = capture(&sandbox, "above", &[&below], "b", "agent-2", 1);
    set(&sandbox, "below", &below);
    set(&sandbox, "above", &above);
    let document = verify(&sandbox, 0, &["above"]);
    assert_eq!(document["subjects"][0]["sessions"], json!(["agent-2"]));
    // Once the other is gone, its name is no explanation; an old name of this one is.
    sandbox.git(&["update-ref", "-d", "refs/heddle/threads/below"]);
    finds(&sandbox, &["above"], &["names thread 'below'"]);
    finds(&sandbox, &["above", "--formerly", "below"], &["generation 1 is of session 'agent-2'"]);
    set(&sandbox, "above", &capture(&sandbox, "above", &[&below], "b", "agent-1", 1));
    sandbox.heddle(&["verify", "above", "--formerly", "below"]).exits(0);
}

#[test]
fn landings_on_a_target_that_the_base_has_not_are_known_by_their_form() {
    for strategy in ["squash", "merge"] {
        let sandbox = Sandbox::new();
        let head = sandbox.git(&["rev-parse", "HEAD"]);
        let one = capture(&sandbox, "u", &[&head], "a", "agent-1", 1);
        let by_hand = make(&sandbox, &[&one], &[("hand", "x")], "By hand\n");
        for (tip, session) in
            [(&one, "agent-1"), (&capture(&sandbox, "u", &[&by_hand], "b", "agent-2", 2), "")]
        {
            set(&sandbox, "u", tip);
            sandbox.git(&["update-ref", "refs/heddle/ready/u", tip]);
            sandbox.heddle(&["thread", "land", "u", "--strategy", strategy]).exits(0);
            let landed = sandbox.git(&["rev-parse", "main"]);
            let tip = capture(&sandbox, "t", &[&landed], "c", "agent-3", 1);
            set(&sandbox, "t", &tip);
            verify(&sandbox, 0, &["--base", &head, "t"]);
            // Also where the other thread is not known.
            sandbox.git(&["update-ref", "-d", "refs/heddle/ready/u"]);
            sandbox.git(&["update-ref", "-d", "refs/heddle/threads/u"]);
            verify(&sandbox, 0, &["--base", &head, "t"]);
            if session.is_empty() {
                continue;
            }
            // What names another thread and is no landing is none, on top of one or of its form but
            // for the name or the number of parents.
            let claim = trailers("u", session, "1");
            let captured = make(&sandbox, &[&landed], &[("d", "x")], &format!("Land\n\n{claim}"));
            let other = make(&sandbox, &[&landed], &[("d", "x")], &format!("Land thread 't'\n\n{claim}"));
            let side = make(&sandbox, &[&head], &[("side", "x")], "Side\n");
            let three = [landed.as_str(), &head, &side];
            let three = make(&sandbox, &three, &[("d", "x")], &format!("Land thread 'u'\n\n{claim}"));
            for forged in [captured, other, three] {
                set(&sandbox, "t", &capture(&sandbox, "t", &[&forged], "c", "agent-3", 1));
                finds(&sandbox, &["--base", &head, "t"], &["names thread 'u', which does not have it"]);
            }
        }
    }
    // A thread may begin at its own landing, which names all its sessions.
    let sandbox = Sandbox::new();
    let head = sandbox.git(&["rev-parse", "HEAD"]);
    let both = format!("{}Heddle-Session: agent-2\n", trailers("t", "agent-1", "2"));
    let landed = make(&sandbox, &[&head], &[("a", "x")], &format!("Land thread 't'\n\n{both}"));
    set(&sandbox, "t", &capture(&sandbox, "t", &[&landed], "b", "agent-3", 3));
    verify(&sandbox, 0, &["t"]);
    set(&sandbox, "t", &capture(&sandbox, "t", &[&landed], "b", "agent-1", 1));
    finds(&sandbox, &["t"], &["generation 1 follows generation 2"]);
    // A landing of what no session made has none either.
    let none = make(&sandbox, &[&head], &[("a", "x")], "Land thread 'u'\n\nHeddle-Thread: u\n");
    set(&sandbox, "t", &none);
    verify(&sandbox, 0, &["t"]);
    finds(&sandbox, &["t", "--require-session"], &["no session made it"]);
}

#[test]
fn marks_count_at_the_tip_only() {
    let sandbox = Sandbox::new();
    let head = sandbox.git(&["rev-parse", "HEAD"]);
    let tip = capture(&sandbox, "t", &[&head], "a", "agent-1", 1);
    set(&sandbox, "t", &tip);
    finds(&sandbox, &["--require-ready"], &["ready: it is not marked ready"]);
    finds(&sandbox, &["--require-ready", "main..refs/heddle/threads/t"], &["ready: it is not marked ready"]);
    sandbox.git(&["update-ref", "refs/heddle/ready/t", &tip]);
    sandbox.heddle(&["verify", "--require-ready", "t", "main..refs/heddle/threads/t"]).exits(0);
    sandbox.git(&["update-ref", "refs/heddle/ready/t", &head]);
    finds(&sandbox, &[], &["ready: its ready mark is at "]);
    sandbox.git(&["update-ref", "-d", "refs/heddle/threads/t"]);
    finds(&sandbox, &[], &["tip: there is a ready mark, and no thread"]);
}

#[test]
fn refs_that_lead_nowhere_are_found_and_take_no_other_thread_down() {
    if !support::format::refs_are_files("it writes refs by hand that Git would not") {
        return;
    }
    let sandbox = Sandbox::new();
    let head = sandbox.git(&["rev-parse", "HEAD"]);
    set(&sandbox, "good", &capture(&sandbox, "good", &[&head], "a", "agent-1", 1));
    let threads = sandbox.root().join(".git/refs/heddle/threads");
    fs::write(threads.join("absent"), format!("{}\n", sandbox.format.id_of('1'))).expect("ref");
    fs::write(threads.join("garbage"), "no id\n").expect("ref");
    sandbox.git(&["symbolic-ref", "refs/heddle/threads/link", "refs/heads/main"]);
    sandbox.git(&["tag", "-a", "-m", "x", "tag"]);
    sandbox.git(&["update-ref", "refs/heddle/threads/tag", "refs/tags/tag"]);
    let lost = capture(&sandbox, "lost", &[&head], "b", "agent-2", 1);
    set(&sandbox, "lost", &capture(&sandbox, "lost", &[&lost], "c", "agent-2", 1));
    fs::remove_file(object(&sandbox.root(), &lost)).expect("object");
    let document = verify(&sandbox, 7, &[]);
    let subjects = document["subjects"].as_array().expect("subjects");
    let outcome: Vec<(String, String)> = subjects
        .iter()
        .map(|subject| {
            let first = &subject["findings"][0];
            (text(subject, "name"), first["check"].as_str().unwrap_or("-").to_owned())
        })
        .collect();
    let expected = [
        ("absent", "tip"),
        ("garbage", "tip"),
        ("good", "-"),
        ("link", "tip"),
        ("lost", "commits"),
        ("tag", "tip"),
    ];
    assert_eq!(outcome, expected.map(|(name, check)| (name.to_owned(), check.to_owned())));
}

fn object(root: &Path, id: &str) -> PathBuf {
    root.join(".git/objects").join(&id[..2]).join(&id[2..])
}

#[test]
fn a_tip_without_its_files_is_found() {
    let sandbox = Sandbox::new();
    let head = sandbox.git(&["rev-parse", "HEAD"]);
    let tip = capture(&sandbox, "t", &[&head], "deep/er/file", "agent-1", 1);
    set(&sandbox, "t", &tip);
    for what in ["deep/er/file", "deep/er"] {
        let id = sandbox.git(&["rev-parse", &format!("{tip}:{what}")]);
        let bytes = fs::read(object(&sandbox.root(), &id)).expect("object");
        fs::remove_file(object(&sandbox.root(), &id)).expect("object");
        finds(&sandbox, &["t"], &[&format!("{id} is missing")]);
        if what == "deep/er" {
            fs::write(object(&sandbox.root(), &id), "no tree").expect("object");
            finds(&sandbox, &["t"], &[&format!("tree {id} is damaged")]);
            fs::remove_file(object(&sandbox.root(), &id)).expect("object");
        }
        fs::write(object(&sandbox.root(), &id), bytes).expect("object");
    }
    sandbox.heddle(&["verify", "t"]).exits(0);
}

#[test]
fn of_many_threads_those_without_their_files_are_found_in_their_order() {
    let sandbox = Sandbox::new();
    sandbox.git(&["config", "fastimport.unpackLimit", "100000"]);
    let head = sandbox.git(&["rev-parse", "HEAD"]);
    let mut stream = String::new();
    for number in 0..200 {
        let message = format!("Work\n\n{}", trailers(&format!("t{number:03}"), "agent-1", "1"));
        let message = message.replace("agent-1", &format!("agent-{number}"));
        stream += &format!("commit refs/heddle/threads/t{number:03}\ncommitter A <a@b> 1800000000 +0000\n");
        stream += &format!("data {}\n{message}from {head}\n", message.len());
        stream += &format!("M 100644 inline f\ndata 4\n{number:03}\n\n");
    }
    let input = sandbox.home().join("stream");
    fs::write(&input, stream).expect("stream");
    let mut import = sandbox.program("git", &sandbox.root(), &["fast-import", "--quiet"]);
    import.stdin(fs::File::open(input).expect("stream"));
    Answer::of(&import.output().expect("git")).exits(0);
    let lacking = [7, 63, 64, 65, 198];
    for number in lacking {
        let blob = sandbox.git(&["rev-parse", &format!("refs/heddle/threads/t{number:03}:f")]);
        fs::remove_file(object(&sandbox.root(), &blob)).expect("blob");
    }
    let document = verify(&sandbox, 7, &[]);
    let subjects = document["subjects"].as_array().expect("subjects");
    let found: Vec<String> = subjects
        .iter()
        .filter(|subject| subject["verdict"] == "findings")
        .map(|subject| text(subject, "name"))
        .collect();
    assert_eq!(subjects.len(), 200);
    assert_eq!(found, lacking.map(|number| format!("t{number:03}")));
    assert_eq!(verify(&sandbox, 7, &[]), document, "the same every time");
}

#[test]
fn a_malformed_commit_is_found() {
    let sandbox = Sandbox::new();
    let head = sandbox.git(&["rev-parse", "HEAD"]);
    let tree = sandbox.git(&["rev-parse", "HEAD^{tree}"]);
    let person = "A <a@b> 1700000000 +0000";
    for (author, message, expected) in [
        ("A a@b 1700000000 +0000", "x\n", "author line"),
        ("A <a@b> 1700000000", "x\n", "author line"),
        (person, "\n", "message is empty"),
    ] {
        let raw = format!("tree {tree}\nparent {head}\nauthor {author}\ncommitter {person}\n\n{message}");
        let file = sandbox.home().join("raw");
        fs::write(&file, raw).expect("write");
        let path = file.to_str().expect("UTF-8");
        let id = sandbox.git(&["hash-object", "-t", "commit", "-w", "--literally", path]);
        set(&sandbox, "t", &id);
        finds(&sandbox, &["t"], &[expected]);
    }
}

#[test]
fn conflicts_are_found_and_a_target_that_moved_on_is_none() {
    let sandbox = Sandbox::new();
    sandbox.commit("shared");
    let head = sandbox.git(&["rev-parse", "HEAD"]);
    set(&sandbox, "clash", &capture(&sandbox, "clash", &[&head], "shared", "agent-1", 1));
    set(&sandbox, "clear", &capture(&sandbox, "clear", &[&head], "own", "agent-2", 1));
    set(&sandbox, "unrelated", &capture(&sandbox, "unrelated", &[], "x", "agent-3", 1));
    fs::write(sandbox.root().join("shared"), "changed\n").expect("write");
    sandbox.git(&["commit", "--quiet", "--all", "--message", "changed"]);
    set(&sandbox, "landed", &sandbox.git(&["rev-parse", "HEAD"]));
    let objects = || fs::read_dir(sandbox.root().join(".git/objects")).expect("objects").count();
    let before = objects();
    let document = verify(&sandbox, 7, &[]);
    assert_eq!(objects(), before, "a merge in thought leaves nothing");
    let verdicts: Vec<&Value> =
        document["subjects"].as_array().expect("subjects").iter().map(|s| &s["verdict"]).collect();
    assert_eq!(verdicts, ["findings", "ok", "ok", "findings"]);
    assert_eq!(document["subjects"][0]["findings"][0]["path"], "shared");
    assert!(text(&document["subjects"][3]["findings"][0], "message").contains("no history"));
    sandbox.heddle(&["verify", "clear", "landed"]).exits(0);
}

#[test]
fn commits_of_people_are_found_where_sessions_are_required() {
    let sandbox = Sandbox::new();
    let head = sandbox.git(&["rev-parse", "HEAD"]);
    let one = capture(&sandbox, "t", &[&head], "a", "agent-1", 1);
    set(&sandbox, "t", &make(&sandbox, &[&one], &[("b", "b")], "By hand\n"));
    sandbox.heddle(&["verify"]).exits(0);
    finds(&sandbox, &["--require-session"], &["sessions: commit "]);
}

#[test]
fn paths_that_are_not_allowed_are_found_in_every_commit() {
    let sandbox = Sandbox::new();
    let head = sandbox.git(&["rev-parse", "HEAD"]);
    let one = capture(&sandbox, "t", &[&head], "src/a", "agent-1", 1);
    // Touched and put back: history has it all the same.
    let two = make(&sandbox, &[&one], &[("secret", "x")], "Work\n");
    let put_back = sandbox.git(&["commit-tree", &format!("{one}^{{tree}}"), "-p", &two, "-m", "Back"]);
    set(&sandbox, "t", &put_back);
    finds(&sandbox, &["--allow", "src"], &["paths: commit ", "paths: commit "]);
    sandbox.heddle(&["verify", "--allow", "src", "--allow", ":(glob)se*"]).exits(0);
    sandbox.heddle(&["verify", "--allow", "."]).exits(0);
    for bad in [":(bad", ":(bad)x", "", "/etc", "../x"] {
        let refused = sandbox.heddle(&["verify", "--allow", "src", "--allow", bad]).exits(2);
        assert!(refused.stderr.starts_with("error: bad value for --allow: "), "{refused:?}");
        assert!(!refused.stderr.contains("diff-tree") && refused.stderr.lines().count() == 1, "{refused:?}");
    }
    // As in Git, a pathspec is meant from where one stands; a path is no option.
    fs::create_dir(sandbox.root().join("src")).expect("folder");
    let there = |args: &[&str]| sandbox.heddle_in(&sandbox.root().join("src"), args);
    there(&["verify", "--allow", "a", "--allow", "../secret"]).exits(0);
    there(&["verify", "--allow=--all", "--allow", "../secret"]).exits(7);
    // A merge touches what it has from neither side.
    let side = make(&sandbox, &[&head], &[("other", "x")], "Side\n");
    sandbox.git(&["update-ref", "refs/heads/main", &side]);
    let merge = make(&sandbox, &[&one, &side], &[("other", "x")], "Merge\n");
    set(&sandbox, "t", &merge);
    sandbox.heddle(&["verify", "--allow", "src"]).exits(0);
    set(&sandbox, "t", &make(&sandbox, &[&one, &side], &[("other", "x"), ("evil", "x")], "Merge\n"));
    let document = verify(&sandbox, 7, &["--allow", "src"]);
    assert_eq!(document["subjects"][0]["findings"][0]["path"], "evil");
}

#[test]
fn a_submodule_is_a_path_whatever_is_said_of_it_not_to_be_shown() {
    let sandbox = Sandbox::new();
    let first = sandbox.git(&["rev-parse", "HEAD"]);
    let link = |parents: &[&str], at: &str| {
        sandbox.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{at},sub")]);
        let tree = sandbox.git(&["write-tree"]);
        let mut args = vec!["commit-tree", &tree, "-m", "Link"];
        parents.iter().for_each(|parent| args.extend(["-p", parent]));
        sandbox.git(&args)
    };
    let modules = "[submodule \"sub\"]\n\tpath = sub\n\turl = ./x\n\tignore = all\n";
    fs::write(sandbox.root().join(".gitmodules"), modules).expect("write");
    sandbox.git(&["add", "."]);
    let base = link(&[&first], &first);
    sandbox.git(&["reset", "--quiet", "--soft", &base]);
    sandbox.git(&["config", "submodule.sub.ignore", "all"]);
    sandbox.git(&["config", "diff.ignoreSubmodules", "all"]);
    let moved = link(&[&base], &base);
    let side = link(&[&base], &first);
    let elsewhere = sandbox.git(&["commit-tree", &format!("{base}^{{tree}}"), "-p", &first, "-m", "x"]);
    for tip in [moved.clone(), link(&[&moved, &side], &elsewhere)] {
        set(&sandbox, "t", &tip);
        let document = verify(&sandbox, 7, &["--base", &base, "--allow", "src", "t"]);
        assert_eq!(document["subjects"][0]["findings"][0]["path"], "sub", "{document}");
        sandbox.heddle(&["verify", "--base", &base, "--allow", "sub", "t"]).exits(0);
    }
}

#[test]
fn signatures_are_checked_by_git() {
    let sandbox = Sandbox::new();
    let key = sandbox.home().join("key");
    let keygen = |path: &Path| {
        let args = ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path.to_str().expect("UTF-8")];
        let output = sandbox.program("ssh-keygen", sandbox.home(), &args).output().expect("ssh-keygen");
        Answer::of(&output).exits(0);
    };
    keygen(&key);
    let public = fs::read_to_string(key.with_extension("pub")).expect("key");
    let signers = sandbox.home().join("signers");
    fs::write(&signers, format!("ada@example.com {public}")).expect("write");
    sandbox.git(&["config", "gpg.format", "ssh"]);
    sandbox.git(&["config", "user.signingKey", key.to_str().expect("UTF-8")]);
    let head = sandbox.git(&["rev-parse", "HEAD"]);
    let signed = sandbox.git(&["commit-tree", "-S", "HEAD^{tree}", "-p", &head, "-m", "Signed"]);
    set(&sandbox, "t", &signed);
    // With no list of signers, nobody can say whose it is.
    let document = verify(&sandbox, 128, &["--require-signed"]);
    assert_eq!(document["subjects"][0]["unknown"][0]["check"], "signatures");
    sandbox.git(&["config", "gpg.ssh.allowedSignersFile", signers.to_str().expect("UTF-8")]);
    sandbox.heddle(&["verify", "--require-signed"]).exits(0);
    // A signature of something else is bad, none is none.
    let raw = sandbox.git(&["cat-file", "commit", &signed]).replace("Signed", "Forged");
    let file = sandbox.home().join("raw");
    fs::write(&file, raw + "\n").expect("write");
    let forged = sandbox.git(&["hash-object", "-t", "commit", "-w", file.to_str().expect("UTF-8")]);
    set(&sandbox, "t", &forged);
    finds(&sandbox, &["--require-signed"], &["signatures: commit "]);
    set(&sandbox, "t", &make(&sandbox, &[&head], &[], "Unsigned\n"));
    finds(&sandbox, &["--require-signed"], &["it is not signed"]);
    // Somebody else's key.
    let other = sandbox.home().join("other");
    keygen(&other);
    fs::write(
        &signers,
        format!("bob@example.com {}", fs::read_to_string(other.with_extension("pub")).expect("key")),
    )
    .expect("write");
    set(&sandbox, "t", &signed);
    finds(&sandbox, &["--require-signed"], &["signatures: commit "]);
}

#[test]
fn a_shallow_clone_cannot_tell_where_it_ends_and_can_where_it_reaches() {
    let sandbox = Sandbox::new();
    let mut tip = sandbox.git(&["rev-parse", "HEAD"]);
    for number in 0..3 {
        tip = capture(&sandbox, "t", &[&tip], &format!("f{number}"), "agent-1", 1);
    }
    set(&sandbox, "t", &tip);
    let clone = fresh_clone(&sandbox, &["--depth=2"]);
    let answer = sandbox.heddle_in(&clone, &["verify", "--json"]).exits(128);
    assert_eq!(answer.json()["verdict"], "unknown");
    assert!(text(&answer.json()["subjects"][0]["unknown"][0], "hint").contains("--unshallow"));
    sandbox.git_in(
        &clone,
        &["fetch", "--quiet", "--depth=4", "origin", "+refs/heddle/*:refs/heddle-remotes/origin/*"],
    );
    sandbox.heddle_in(&clone, &["verify"]).exits(0);
}

#[test]
fn a_partial_clone_cannot_tell_of_what_it_lacks_and_fetches_nothing() {
    let sandbox = Sandbox::new();
    sandbox.git(&["config", "uploadpack.allowFilter", "true"]);
    let head = sandbox.git(&["rev-parse", "HEAD"]);
    set(&sandbox, "t", &capture(&sandbox, "t", &[&head], "file", "agent-1", 1));
    let clone = sandbox.home().join("clone");
    let url = format!("file://{}", sandbox.root().display());
    sandbox.git_in(sandbox.home(), &["clone", "--quiet", "--filter=blob:none", &url, "clone"]);
    sandbox.git_in(&clone, &["fetch", "--quiet", "origin", "+refs/heddle/*:refs/heddle-remotes/origin/*"]);
    let packs = || fs::read_dir(clone.join(".git/objects/pack")).expect("packs").count();
    let before = packs();
    let answer = sandbox.heddle_in(&clone, &["verify", "--json"]).exits(128);
    assert!(text(&answer.json()["subjects"][0]["unknown"][0], "hint").contains("--refetch"));
    assert_eq!(packs(), before);
    // What there is to find is found all the same.
    sandbox.heddle_in(&clone, &["verify", "--require-ready"]).exits(7);
    sandbox.git_in(&clone, &["cat-file", "-e", "refs/heddle-remotes/origin/threads/t:file"]);
    sandbox.heddle_in(&clone, &["verify"]).exits(0);
}

#[test]
fn a_clone_without_trees_cannot_tell_of_paths_and_tells_the_rest() {
    let sandbox = Sandbox::new();
    sandbox.git(&["config", "uploadpack.allowFilter", "true"]);
    let head = sandbox.git(&["rev-parse", "HEAD"]);
    let lacking = capture(&sandbox, "lacking", &[&head], "folder/file", "agent-1", 1);
    set(&sandbox, "lacking", &capture(&sandbox, "lacking", &[&lacking], "folder/more", "agent-1", 1));
    set(&sandbox, "there", &capture(&sandbox, "there", &[&head], "evil", "agent-2", 1));
    let clone = sandbox.home().join("clone");
    let url = format!("file://{}", sandbox.root().display());
    sandbox.git_in(sandbox.home(), &["clone", "--quiet", "--filter=tree:0", &url, "clone"]);
    sandbox.git_in(&clone, &["fetch", "--quiet", "origin", "+refs/heddle/*:refs/heddle-remotes/origin/*"]);
    // One tip and its files are here, and of the other its last tree.
    for name in
        ["refs/heddle-remotes/origin/threads/there^{tree}", "refs/heddle-remotes/origin/threads/there:evil"]
    {
        sandbox.git_in(&clone, &["cat-file", "-e", name]);
    }
    let args = ["verify", "--json", "--allow", "folder"];
    let document = sandbox.heddle_in(&clone, &args).exits(7).json();
    let subjects = document["subjects"].as_array().expect("subjects");
    let unknown = subjects[0]["unknown"].as_array().expect("unknown");
    let paths = unknown.iter().find(|unknown| unknown["check"] == "paths").expect("paths");
    assert!(text(paths, "message").contains("which paths it touches cannot be told"), "{document}");
    assert!(text(paths, "hint").contains("--refetch"), "{document}");
    assert_eq!(subjects[0]["findings"], json!([]), "{document}");
    assert_eq!(subjects[1]["findings"][0]["path"], "evil", "{document}");
    // Where nothing was left out on purpose it is damage.
    let tree = sandbox.git(&["rev-parse", &format!("{lacking}:folder")]);
    fs::remove_file(object(&sandbox.root(), &tree)).expect("object");
    finds(&sandbox, &["lacking", "--allow", "folder"], &["paths: which paths it touches"]);
}

#[test]
fn two_remotes_with_the_same_thread_have_to_be_told_apart() {
    let sandbox = Sandbox::new();
    let head = sandbox.git(&["rev-parse", "HEAD"]);
    for remote in ["one", "two/three"] {
        sandbox.git(&["remote", "add", remote, "."]);
        sandbox.git(&["update-ref", &format!("refs/heddle-remotes/{remote}/threads/a/b"), &head]);
    }
    let answer = sandbox.refused(128, &["verify", "a/b"]);
    assert!(answer.stderr.contains("refs/heddle-remotes/two/three/threads/a/b"), "{answer:?}");
    let document = verify(&sandbox, 0, &["two/three/a/b"]);
    assert_eq!(document["subjects"][0]["ref"], "refs/heddle-remotes/two/three/threads/a/b");
    assert_eq!(verify(&sandbox, 0, &[])["subjects"].as_array().expect("subjects").len(), 2);
    // What is here as well, as it is, is verified once; the local one is meant.
    set(&sandbox, "a/b", &head);
    assert_eq!(verify(&sandbox, 0, &[])["subjects"].as_array().expect("subjects").len(), 1);
    assert_eq!(verify(&sandbox, 0, &["a/b"])["subjects"][0]["ref"], "refs/heddle/threads/a/b");
}

#[test]
fn a_range_may_hold_the_work_of_several_threads_and_their_landings() {
    let sandbox = Sandbox::new();
    let start = sandbox.git(&["rev-parse", "HEAD"]);
    for thread in ["a", "b"] {
        let reserved = sandbox.reserve(thread, &["--worktree", "--anchor", &start]);
        let (session, path) = (text(&reserved, "session_id"), PathBuf::from(text(&reserved, "path")));
        fs::write(path.join(thread), "x\n").expect("write");
        sandbox.heddle_in(&path, &["agent", "ready", "--session", &session, "-m", "Work"]).exits(0);
    }
    sandbox.heddle(&["thread", "land", "a", "b"]).exits(0);
    let range = format!("{start}..main");
    let document = verify(&sandbox, 0, &[&range]);
    assert_eq!(document["subjects"][0]["sessions"].as_array().map(Vec::len), Some(2));
    assert_eq!(document["base"], Value::Null);
    finds(&sandbox, &[&range, "--allow", "a"], &["paths: commit "]);
}

#[test]
fn hostile_names_are_only_names_in_every_format() {
    let sandbox = Sandbox::new();
    let head = sandbox.git(&["rev-parse", "HEAD"]);
    let thread = "a%0A|<b>&\"'@x";
    let path = "é,%0A::x\u{7f}|<i>";
    set(&sandbox, thread, &capture(&sandbox, "x", &[&head], path, "agent-1", 1));
    let summary = sandbox.home().join("summary");
    let environment = [("GITHUB_STEP_SUMMARY", summary.to_str().expect("UTF-8"))];
    fs::write(&summary, "before\n").expect("write");
    let args = ["verify", "--allow", "nothing", "--format=github"];
    let answer = sandbox.heddle_with(&environment, &args).exits(7);
    assert_eq!(answer.stdout.lines().count(), 2, "{answer:?}");
    assert!(
        answer.stdout.lines().all(|line| line.starts_with("::error title=a%250A|<b>&\"'@x%3A ")),
        "{answer:?}"
    );
    assert!(answer.stdout.contains(",file=\"é%2C%250A%3A%3Ax\\177|<i>\"::"), "{answer:?}");
    let written = fs::read_to_string(&summary).expect("summary");
    assert!(written.starts_with("before\n### git heddle verify\n"), "{written}");
    assert!(!written.contains("<b>") && !written.contains("<i>") && !written.contains("@x"), "{written}");
    let row = written.lines().find(|line| line.starts_with("| a")).expect("row");
    assert_eq!(row.matches('|').count(), 7, "{row}");
    let xml = sandbox.heddle(&["verify", "--allow", "nothing", "--format=junit"]).exits(7).stdout;
    let document = roxmltree::Document::parse(&xml).expect("well-formed");
    let cases: Vec<_> = document.descendants().filter(|node| node.has_tag_name("testcase")).collect();
    assert_eq!(cases.len(), 8);
    assert!(cases.iter().all(|case| case.attribute("classname") == Some(thread)), "{xml}");
    let failed: Vec<_> =
        cases.iter().filter(|case| case.children().any(|node| node.has_tag_name("failure"))).collect();
    assert_eq!(
        failed.iter().filter_map(|case| case.attribute("name")).collect::<Vec<_>>(),
        ["trailers", "paths"]
    );
    assert_eq!(document.root_element().attribute("failures"), Some("2"));
    let said = sandbox.heddle(&["verify", "--allow", "nothing"]).exits(7).stdout;
    assert!(!said.contains('\u{7f}'), "{said}");
    // A summary that cannot be written changes no verdict.
    let nowhere = [("GITHUB_STEP_SUMMARY", "/nonexistent/summary")];
    sandbox.heddle_with(&nowhere, &args).exits(7);
    // No thread can have this name, and Git lets it be made.
    sandbox.git(&["update-ref", "refs/heddle/threads/-x", &head]);
    let document = verify(&sandbox, 7, &["--", "-x"]);
    assert!(findings(&document)[0].contains("invalid thread name"), "{document}");
}

#[test]
fn a_ref_whose_name_is_not_utf_8_is_a_finding_and_hinders_nobody() {
    use std::os::unix::ffi::OsStrExt as _;
    let sandbox = Sandbox::new();
    let id = text(&sandbox.reserve("fine", &[]), "session_id");
    sandbox.heddle(&["agent", "release", "--session", &id]).exits(0);
    let name = std::ffi::OsStr::from_bytes(b"refs/heddle/threads/b\xffd");
    let status = sandbox.program("git", &sandbox.root(), &["update-ref"]).arg(name).arg("HEAD").status();
    assert!(status.expect("git").success());
    let document = verify(&sandbox, 7, &[]);
    let found = findings(&document);
    assert!(found.len() == 1 && found[0].contains("its name is not UTF-8"), "{document}");
    assert!(document.to_string().contains(r"b\\xffd"), "{document}");
    verify(&sandbox, 0, &["fine"]);
    // Whoever looks for what is wrong here finds it, and a clone that fetches it is told.
    let doctor = sandbox.heddle(&["doctor", "--json"]).exits(1).json();
    assert_eq!(doctor["findings"][0]["kind"], "stray_ref", "{doctor}");
    assert!(doctor["findings"][0]["message"].to_string().contains(r"b\\xffd"), "{doctor}");
    let clone = sandbox.home().join("clone");
    sandbox.git_in(sandbox.home(), &["clone", "-q", &sandbox.root().to_string_lossy(), "clone"]);
    let fetched = sandbox.heddle_in(&clone, &["fetch"]).exits(0);
    assert!(fetched.stderr.contains(r"b\xffd' is no thread's: its name is not UTF-8"), "{fetched:?}");
    assert!(fetched.stdout.contains("fine"), "{fetched:?}");
}

#[test]
fn refs_that_no_thread_has_are_named_by_the_doctor() {
    let sandbox = Sandbox::new();
    sandbox.git(&["update-ref", "refs/heddle/threads/-x", "HEAD"]);
    sandbox.git(&["symbolic-ref", "refs/heddle/ready/s", "refs/heads/main"]);
    let doctor = sandbox.heddle(&["doctor", "--json"]).exits(1).json();
    let found: Vec<String> =
        doctor["findings"].as_array().expect("list").iter().map(|one| text(one, "message")).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("threads/-x' is no thread's: invalid thread name"), "{found:?}");
    assert!(found[1].contains("ready/s' is no thread's: it is a symbolic ref"), "{found:?}");
}

#[test]
fn a_malformed_tree_is_found() {
    let sandbox = Sandbox::new();
    let head = sandbox.git(&["rev-parse", "HEAD"]);
    let blob = sandbox.git(&["rev-parse", "HEAD:first"]);
    let bytes = |hex: &str| -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
    };
    let id = bytes(&blob);
    let entry =
        |mode: &str, name: &str, id: &[u8]| [mode.as_bytes(), b" ", name.as_bytes(), b"\0", id].concat();
    let file = |name: &str| entry("100644", name, &id);
    for (tree, expected) in [
        ([file(".git")].concat(), "that is Git's own"),
        ([file("..")].concat(), "that leads elsewhere"),
        ([file("a"), file("a")].concat(), "twice"),
        ([file("b"), file("a")].concat(), "out of order"),
    ] {
        let write = |tree: &[u8]| {
            let raw = sandbox.home().join("raw");
            fs::write(&raw, tree).expect("write");
            let path = raw.to_str().expect("UTF-8");
            sandbox.git(&["hash-object", "-t", "tree", "-w", "--literally", path])
        };
        // Below the top it is found as well.
        let outer = write(&entry("40000", "folder", &bytes(&write(&tree))));
        let commit = sandbox.git(&["commit-tree", &outer, "-p", &head, "-m", "x"]);
        set(&sandbox, "t", &commit);
        finds(&sandbox, &["t"], &[expected]);
    }
}

#[test]
fn replaced_commits_are_seen_as_they_are() {
    let sandbox = Sandbox::new();
    let head = sandbox.git(&["rev-parse", "HEAD"]);
    let forged = make(&sandbox, &[&head], &[("f", "x")], "By nobody\n");
    let good = capture(&sandbox, "t", &[&head], "f", "agent-1", 1);
    set(&sandbox, "t", &forged);
    sandbox.git(&["replace", &forged, &good]);
    finds(&sandbox, &["--require-session"], &["no session made it"]);
}

#[test]
fn a_thousand_threads_take_one_walk() {
    let sandbox = Sandbox::new();
    let head = sandbox.git(&["rev-parse", "HEAD"]);
    let tip = capture(&sandbox, "t", &[&head], "f", "agent-1", 1);
    let refs: String =
        (0..1000).map(|number| format!("create refs/heddle/threads/t{number} {tip}\n")).collect();
    let file = sandbox.home().join("refs");
    fs::write(&file, refs + &format!("create refs/heddle/threads/t {tip}\n")).expect("write");
    let mut update = sandbox.program("git", &sandbox.root(), &["update-ref", "--stdin"]);
    update.stdin(fs::File::open(file).expect("refs"));
    Answer::of(&update.output().expect("git")).exits(0);
    let started = |code: i32| {
        let trace = sandbox.home().join("trace");
        let environment = [("GIT_TRACE2_EVENT", trace.to_str().expect("UTF-8"))];
        let answer = sandbox.heddle_with(&environment, &["verify", "--json"]).exits(code);
        assert_eq!(answer.json()["subjects"].as_array().map(Vec::len), Some(1001));
        let events = fs::read_to_string(&trace).expect("trace");
        fs::remove_file(trace).expect("trace");
        events.lines().filter(|line| line.contains("\"event\":\"start\"")).count()
    };
    // The target has moved on, elsewhere than the threads.
    sandbox.commit("later");
    assert_eq!(started(0), 1, "one walk");
    // And where they have.
    sandbox.commit("f");
    assert_eq!(started(7), 2, "one walk, one process for all merges");
}
