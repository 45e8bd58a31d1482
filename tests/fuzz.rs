//! Whatever somebody says on the command line, in the environment, in Git's configuration, on a
//! hook's standard input or in the message of a commit: no panic, no hang, no status that is not
//! documented, and nothing changed by what is refused.
//!
//! The command lines are made from the program's own definition, so that no option is left
//! out. `HEDDLE_FUZZ_CASES` sets how many cases each test tries, `HEDDLE_FUZZ_SEED` which.

mod support_faults;
mod support_hostile;
mod support_processes;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use clap::Arg;
use git_heddle::cli;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use support_hostile::{World, config, hostile};

/// The statuses of docs/exit-status.md.
const STATUSES: [i32; 10] = [0, 1, 2, 3, 4, 5, 6, 7, 75, 128];

/// A place of a command line that takes a value.
#[derive(Debug, Clone)]
struct Place {
    path: Vec<String>,
    /// Its option, or none where it stands by itself.
    option: Option<String>,
    /// What else the command has to have.
    needed: Vec<String>,
}

/// What is right in the place of an argument.
fn right(arg: &Arg, world: &World) -> Vec<String> {
    let value = match arg.get_id().as_str() {
        "session" => world.session.clone(),
        "message" => "work".to_owned(),
        "command" => "true".to_owned(),
        "event" => "pre-commit".to_owned(),
        "shell" => "bash".to_owned(),
        "new" => "u".to_owned(),
        _ => "t".to_owned(),
    };
    match arg.get_long() {
        Some(long) if !arg.is_positional() => vec![format!("--{long}"), value],
        _ => vec![value],
    }
}

/// Every place of every command that takes a value.
fn places(world: &World) -> Vec<Place> {
    let mut root = cli::command();
    root.build();
    let mut found = Vec::new();
    let mut open = vec![(Vec::new(), root)];
    while let Some((path, command)) = open.pop() {
        for below in command.get_subcommands() {
            let path = path.iter().cloned().chain([below.get_name().to_owned()]).collect();
            open.push((path, below.clone()));
        }
        // Its path is where it writes, wherever that is.
        if command.has_subcommands() || path == ["install-man-pages"] {
            continue;
        }
        for arg in command.get_arguments().filter(|arg| arg.get_action().takes_values()) {
            // What `run` is to run is anything.
            if path.ends_with(&["run".to_owned()]) && arg.is_positional() && path[0] == "agent" {
                continue;
            }
            let others = command.get_arguments().filter(|other| other.get_id() != arg.get_id());
            let mut required: Vec<&Arg> =
                others.filter(|other| other.is_required_set() || other.get_id() == "message").collect();
            required.sort_by_key(|arg| arg.is_positional());
            let needed = required.into_iter().flat_map(|other| right(other, world)).collect();
            let short = arg.get_short().map(|short| format!("-{short}"));
            let option = arg.get_long().map(|long| format!("--{long}")).or(short);
            found.push(Place { path: path.clone(), option: option.filter(|_| !arg.is_positional()), needed });
        }
    }
    assert!(found.len() > 100, "{}", found.len());
    found
}

#[test]
fn no_value_of_any_option_makes_a_command_panic_or_change_what_it_refuses() {
    let world = World::new();
    let places = places(&world);
    let strategy = (0..places.len(), hostile(), any::<bool>(), any::<bool>());
    TestRunner::new(config(40))
        .run(&strategy, |(place, value, joined, inside)| {
            let place = &places[place];
            let mut args: Vec<OsString> = Vec::new();
            if inside {
                args.extend(["-C".into(), OsString::from(&world.tree)]);
            }
            args.extend(place.path.iter().map(OsString::from));
            match &place.option {
                Some(option) if joined && option.starts_with("--") => {
                    args.push([OsString::from(option), "=".into(), value].into_iter().collect());
                }
                Some(option) => args.extend([OsString::from(option), value]),
                None if joined => args.extend(["--end-of-options".into(), value]),
                None => args.push(value),
            }
            args.extend(place.needed.iter().map(OsString::from));
            world.restore();
            let ended = world.run(world.command(&args), b"", &STATUSES);
            let sound = ended.and_then(|_| world.is_sound());
            sound.map_err(|fault| TestCaseError::fail(format!("{args:?}: {fault}")))
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

/// Where the environment says something.
const VARIABLES: [&str; 10] = [
    "HEDDLE_SESSION",
    "HEDDLE_TOKEN",
    "HEDDLE_REQUEST_TOKEN",
    "HEDDLE_THREAD",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT",
    "GIT_CEILING_DIRECTORIES",
    "HOME",
];

/// Where Git's configuration says something.
const KEYS: [&str; 16] = [
    "heddle.ttl",
    "heddle.unknownTtl",
    "heddle.lockTimeout",
    "heddle.retention",
    "heddle.fsync",
    "heddle.requireToken",
    "heddle.maxNewFileSize",
    "heddle.target",
    "heddle.hooks",
    "heddle.pushUnready",
    "heddle.worktreeCopy",
    "heddle.worktreeLink",
    "core.hooksPath",
    "core.abbrev",
    "user.name",
    "remote.origin.fetch",
];

#[test]
fn no_value_of_the_environment_makes_a_command_panic_or_change_what_it_refuses() {
    let world = World::new();
    let commands: Vec<Vec<&str>> = vec![
        vec!["agent", "reserve", "--thread", "u"],
        vec!["agent", "reserve", "--thread", "u", "--worktree"],
        vec!["agent", "heartbeat"],
        vec!["agent", "capture", "-m", "more", "--allow-empty"],
        vec!["agent", "ready", "--session", &world.session],
        vec!["agent", "release", "--session", &world.session],
        vec!["agent", "list"],
        vec!["thread", "list"],
        vec!["thread", "show", "t"],
        vec!["thread", "refresh", "t"],
        vec!["thread", "refresh", "t", "--merge", "--force"],
        vec!["thread", "rename", "t", "u", "--force"],
        vec!["thread", "promote", "t"],
        vec!["thread", "land", "t"],
        vec!["thread", "land", "t", "--force", "--strategy=squash"],
        vec!["thread", "drop", "t", "--force"],
        vec!["agent", "run", "--thread", "v", "--", "true"],
        vec!["agent", "run", "--thread", "v", "--worktree", "--", "true"],
        vec!["gc"],
        vec!["doctor"],
        vec!["verify"],
        vec!["hooks", "status"],
    ];
    let strategy = (0..commands.len(), 0..VARIABLES.len() + KEYS.len(), hostile(), any::<bool>());
    TestRunner::new(config(40))
        .run(&strategy, |(which, place, value, inside)| {
            let mut args: Vec<OsString> = Vec::new();
            if inside {
                args.extend(["-C".into(), OsString::from(&world.tree)]);
            }
            args.extend(commands[which].iter().map(OsString::from));
            let mut command = world.command(&args);
            let name = match VARIABLES.get(place) {
                Some(name) => {
                    command.env(name, &value);
                    name
                }
                None => {
                    let key = KEYS[place - VARIABLES.len()];
                    command.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", key);
                    command.env("GIT_CONFIG_VALUE_0", &value);
                    key
                }
            };
            world.restore();
            let ended = world.run(command, b"", &STATUSES);
            let sound = ended.and_then(|_| world.is_sound());
            sound.map_err(|fault| TestCaseError::fail(format!("{name}={value:?} {args:?}: {fault}")))
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

/// What a hook may be told of.
fn names() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "refs/heddle/threads/t",
        "refs/heddle/threads/o",
        "refs/heddle/threads/new",
        "refs/heddle/ready/t",
        "refs/heddle/dropped/t/1",
        "refs/heddle/",
        "refs/heddle/threads/",
        "refs/heddle/threads/t/below",
        "refs/heddle-remotes/o/t",
        "refs/heads/main",
        "HEAD",
        "main-worktree/HEAD",
        "worktrees/t/HEAD",
    ]);
    prop_oneof![
        4 => known.prop_map(|name| name.as_bytes().to_vec()),
        1 => hostile().prop_map(OsString::into_vec),
    ]
}

#[test]
fn nothing_on_a_hooks_standard_input_makes_it_panic_or_hang() {
    let mut world = World::new();
    // So that there is something of everything.
    world.sandbox.git(&["commit", "-q", "--allow-empty", "-m", "more"]);
    world.keep();
    let revisions = ["refs/heddle/threads/t", "main", "main~1", "refs/heddle/threads/o"];
    let mut ids: Vec<String> = revisions.iter().map(|revision| world.sandbox.commit(revision)).collect();
    let odd = ["0", "f", "A", "g"].map(|digit| digit.repeat(40));
    ids.extend(odd);
    ids.extend([
        "0".repeat(39),
        "1".repeat(41),
        "0".repeat(64),
        "ref:refs/heads/main".to_owned(),
        String::new(),
    ]);
    let id = prop::sample::select(ids).prop_map(String::into_bytes);
    let gap = prop::sample::select(vec![" ", " ", " ", " ", " ", "  ", "\t", ""]);
    let end = prop::sample::select(vec!["\n", "\n", "\n", "\n", "\r\n", "\0", ""]);
    let words = prop::collection::vec(prop_oneof![id.clone(), names()], 0..6);
    let told = (id.clone(), id, names()).prop_map(|(old, new, name)| vec![old, new, name]);
    let line = (prop_oneof![3 => told, 1 => words], gap, end)
        .prop_map(|(words, gap, end)| [words.join(gap.as_bytes()), end.as_bytes().to_vec()].concat());
    let stdin = prop_oneof![
        6 => prop::collection::vec(line, 0..12).prop_map(|lines| lines.concat()),
        1 => prop::collection::vec(any::<u8>(), 0..200),
        1 => (1..4usize).prop_map(|which| ["x", "x\n", "1 2 3\n"][which - 1].repeat(200_000).into_bytes()),
    ];
    let events = ["reference-transaction", "pre-commit", "post-rewrite", "pre-push", "pre-receive"];
    let word =
        prop::sample::select(vec!["prepared", "committed", "aborted", "amend", "rebase", "origin", "--"]);
    let arg = prop_oneof![4 => word.prop_map(OsString::from), 1 => hostile()];
    let args = prop::collection::vec(arg, 0..3);
    let strategy = (0..events.len(), args, stdin, 0..3usize);
    TestRunner::new(config(40))
        .run(&strategy, |(event, args, stdin, caller)| {
            let mut line: Vec<OsString> = ["hooks", "run", events[event]].map(OsString::from).to_vec();
            line.extend(args);
            let mut command = world.command(&line);
            match caller {
                0 => {}
                1 => drop(command.env("HEDDLE_SESSION", &world.session)),
                _ => drop(command.env("HEDDLE_SESSION", "agent-nobody")),
            }
            world.restore();
            let ended = world.run(command, &stdin, &[0, 1, 2]);
            let sound = ended.and_then(|_| world.is_sound());
            let about = || format!("{line:?} <<< {:?}", String::from_utf8_lossy(&stdin));
            sound.map_err(|fault| TestCaseError::fail(format!("{}: {fault}", about())))
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn no_message_of_a_commit_makes_a_command_panic_or_change_what_it_refuses() {
    let world = World::new();
    let tip = world.sandbox.commit("refs/heddle/threads/t");
    let raw = world.sandbox.run("git", &["cat-file", "commit", &tip]).ok().stdout;
    let (header, message) = raw.split_once("\n\n").expect("a commit");
    let keys = prop::sample::select(vec![
        "Heddle-Thread",
        "Heddle-Session",
        "Heddle-Generation",
        "Heddle-Agent",
        "Heddle-Confidence",
        "heddle-thread",
        "Heddle-Nonsense",
        "Signed-off-by",
    ]);
    let right =
        prop::sample::select(vec!["t".to_owned(), world.session.clone(), "1".to_owned(), "2".to_owned()]);
    let value =
        prop_oneof![2 => right.prop_map(String::into_bytes), 3 => hostile().prop_map(OsString::into_vec)];
    let gap = prop::sample::select(vec![": ", ": ", ": ", ":", " : ", "=", ":\n ", ""]);
    let trailer = (keys, gap, value)
        .prop_map(|(key, gap, value)| [key.as_bytes(), gap.as_bytes(), &value, b"\n"].concat());
    let between = prop::sample::select(vec!["\n\n", "\n\n", "\n", "", "\r\n\r\n", "\n---\n", "\n\n> "]);
    let written =
        (hostile(), between, prop::collection::vec(trailer, 0..7)).prop_map(|(start, gap, trailers)| {
            [start.into_vec(), gap.as_bytes().to_vec(), trailers.concat()].concat()
        });
    let whole = message.to_owned().into_bytes();
    let added =
        prop::collection::vec(any::<u8>(), 0..30).prop_map(move |bytes| [whole.clone(), bytes].concat());
    let message = prop_oneof![5 => written, 1 => added, 1 => Just(b"x: y\n".repeat(50_000))];
    let headers = [
        header.to_owned(),
        header.replace("author ", "author"),
        header.replace(" +0000", " +9999"),
        header.replace(" 1", " 99999999999999999999"),
        format!("{header}\nencoding nonsense"),
        format!("{header}\ngpgsig -----BEGIN\n \n -----END"),
        header.lines().filter(|line| !line.starts_with("author")).collect::<Vec<_>>().join("\n"),
    ];
    let commands: Vec<Vec<&str>> = vec![
        vec!["verify"],
        vec!["verify", "--format", "json"],
        vec!["verify", "--format", "junit"],
        vec!["thread", "show", "t"],
        vec!["--json", "thread", "show", "t"],
        vec!["thread", "list", "--all"],
        vec!["thread", "log", "t"],
        vec!["thread", "diff", "t"],
        vec!["thread", "land", "t", "--force"],
        vec!["thread", "land", "t", "--strategy", "squash"],
        vec!["thread", "refresh", "t", "--session", &world.session],
        vec!["-C", &world.tree, "agent", "capture", "--session", &world.session, "-m", "x", "--allow-empty"],
        vec!["agent", "reserve", "--thread", "t", "--resume"],
        vec!["thread", "promote", "t", "--branch", "b"],
        vec!["thread", "drop", "t"],
    ];
    let heads = prop_oneof![4 => Just(0usize), 1 => 0..headers.len()];
    TestRunner::new(config(25))
        .run(&(heads, message, prop::collection::vec(0..commands.len(), 3)), |(head, message, picks)| {
            world.restore();
            let about = || format!("{:?}, {:?}", headers[head], String::from_utf8_lossy(&message));
            let raw = [headers[head].as_bytes(), b"\n\n", &message].concat();
            let id = written_object(&world, &raw);
            for name in ["threads", "ready"] {
                let name = format!("refs/heddle/{name}/t");
                if support_processes::format::asked().reftable {
                    // Only Git writes it there, and not for what is no commit.
                    world.sandbox.run("git", &["update-ref", &name, &id]);
                } else {
                    std::fs::write(world.sandbox.git_dir().join(name), format!("{id}\n")).expect("ref");
                }
            }
            for pick in picks {
                let args: Vec<OsString> = commands[pick].iter().map(OsString::from).collect();
                let ended = world.run(world.command(&args), b"", &STATUSES);
                let sound = ended.and_then(|_| world.is_sound());
                sound.map_err(|fault| TestCaseError::fail(format!("{}: {args:?}: {fault}", about())))?;
            }
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

/// Puts a commit into the repository as it is, right or wrong; its id.
fn written_object(world: &World, raw: &[u8]) -> String {
    let file = world.sandbox.path("commit");
    std::fs::write(&file, raw).expect("file");
    let path = file.to_string_lossy().into_owned();
    let id = world.sandbox.git(&["hash-object", "-t", "commit", "-w", "--literally", &path]);
    std::fs::remove_file(file).expect("removed");
    id
}

#[test]
fn a_reserve_that_fails_where_the_worktree_is_not_there_is_taken_back() {
    let world = World::new();
    let args = ["agent", "reserve", "--thread", "u", "--worktree"].map(OsString::from);
    let mut command = world.command(&args);
    command.env("GIT_WORK_TREE", "nowhere");
    let ended = world.run(command, b"", &STATUSES).unwrap_or_else(|fault| panic!("{fault}"));
    let made = world.sandbox.commit("refs/heddle/threads/u");
    assert_eq!(made.is_empty(), ended.code != Some(0), "{ended:?}");
}
