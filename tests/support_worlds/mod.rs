//! Worlds that a command finds itself in: another time, another boot, other namespaces; and
//! whether everybody in them is of one mind about an owner.

#![allow(dead_code, reason = "each test crate uses a part")]

use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support_processes::{BINARY, Ended, Sandbox, eventually, read};
use std::time::Duration;

/// What a program is started through.
#[derive(Debug, Clone)]
pub(crate) struct World(Vec<String>);

impl World {
    /// As it is.
    pub(crate) fn plain() -> Self {
        Self::through(&["env"])
    }

    /// The wall clock alone has jumped; `None` if there is no faketime here.
    pub(crate) fn wall(offset: &str) -> Option<Self> {
        Self::probed(Self::through(&["env", "DONT_FAKE_MONOTONIC=1", "faketime", "-f", offset]))
    }

    /// So much time has passed by every clock.
    pub(crate) fn later(offset: &str) -> Option<Self> {
        Self::probed(Self::through(&["faketime", "-f", offset]))
    }

    /// With namespaces of its own, as root or as one who looks like it in there.
    pub(crate) fn apart(options: &[&str]) -> Option<Self> {
        let as_user = || Self::through(&[&["unshare", "--map-root-user"], options, &["--"]].concat());
        let as_root = Self::through(&[&["unshare"], options, &["--"]].concat());
        as_root.works().then_some(as_root).or_else(|| Self::probed(as_user()))
    }

    /// In another pid namespace, with a `/proc` of its own.
    pub(crate) fn other_pids() -> Option<Self> {
        Self::apart(&["--pid", "--fork", "--kill-child", "--mount-proc"])
    }

    /// On a host of another name.
    pub(crate) fn other_host() -> Option<Self> {
        let host = Self::apart(&["--uts"])?;
        Self::probed(host.and(&["sh", "-c", "hostname elsewhere && exec \"$@\"", "sh"]))
    }

    /// After a boot that has the id in `file`.
    pub(crate) fn other_boot(file: &str) -> Option<Self> {
        let script = "mount --bind \"$1\" /proc/sys/kernel/random/boot_id && shift && exec \"$@\"";
        Self::probed(Self::apart(&["--mount"])?.and(&["sh", "-c", script, "sh", file]))
    }

    /// And in that one besides.
    pub(crate) fn within(&self, inner: &Self) -> Self {
        Self([&self.0[..], &inner.0].concat())
    }

    fn through(words: &[&str]) -> Self {
        Self(words.iter().map(|word| (*word).to_owned()).collect())
    }

    fn and(&self, words: &[&str]) -> Self {
        self.within(&Self::through(words))
    }

    fn works(&self) -> bool {
        let mut command = Command::new(&self.0[0]);
        let tried = command.args(&self.0[1..]).arg("true").stdout(Stdio::null()).stderr(Stdio::null());
        tried.status().is_ok_and(|status| status.success())
    }

    fn probed(world: Self) -> Option<Self> {
        if world.works() {
            return Some(world);
        }
        println!("SKIPPED: this machine does not let a test start anything through {:?}", world.0);
        None
    }

    fn words<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        self.0[1..].iter().map(String::as_str).chain([BINARY]).chain(args.iter().copied()).collect()
    }

    /// Runs git-heddle in it.
    pub(crate) fn heddle(&self, sandbox: &Sandbox, args: &[&str]) -> Ended {
        sandbox.run(&self.0[0], &self.words(args))
    }

    /// Starts git-heddle in it, to be talked to.
    pub(crate) fn start(&self, sandbox: &Sandbox, args: &[&str]) -> Child {
        let mut command = sandbox.command(&self.0[0], &self.words(args));
        command.stdin(Stdio::piped()).spawn().expect("started")
    }

    /// Runs a shell script in it; `$heddle` is git-heddle.
    pub(crate) fn shell(&self, sandbox: &Sandbox, script: &str) -> Ended {
        let args = [&self.0[1..], &["sh".to_owned(), "-euc".to_owned(), script.to_owned()]].concat();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Ended::new(&sandbox.command(&self.0[0], &args).env("heddle", BINARY).output().expect("sh"))
    }
}

/// Somebody who owns thread `t`, and what keeps the session alive.
pub(crate) struct Owner {
    pub(crate) session: String,
    holder: Option<Child>,
}

impl Owner {
    /// By a lease.
    pub(crate) fn by_lease(sandbox: &Sandbox, world: &World) -> Self {
        let args = ["agent", "reserve", "--thread", "t", "--resume"];
        Self { session: world.heddle(sandbox, &args).ok().text("session_id"), holder: None }
    }

    /// By a process of this world.
    pub(crate) fn by_process(sandbox: &Sandbox) -> Self {
        let holder = Command::new("sleep").arg("600").spawn().expect("sleep");
        let pid = holder.id().to_string();
        let args = ["agent", "reserve", "--thread", "t", "--resume", "--hold-for-pid", &pid];
        let session = sandbox.heddle(&args).ok().text("session_id");
        Self { session, holder: Some(holder) }
    }

    /// By a command that runs in `world`, until its input ends.
    pub(crate) fn by_command(sandbox: &Sandbox, world: &World) -> Self {
        let args = ["agent", "run", "--thread", "t", "--resume", "--", "cat"];
        let holder = Some(world.start(sandbox, &args));
        let mut session = None;
        let runs = eventually(Duration::from_secs(30), || {
            session = sandbox.active("t").pop();
            let id = session.clone().unwrap_or_default();
            !sandbox.record(&format!("agents/{id}.json"))["holder"]["command"].is_null()
        });
        assert!(runs, "the command does not run");
        Self { session: session.expect("a session"), holder }
    }

    /// All three, one after the other, in a sandbox each.
    pub(crate) fn each(check: impl Fn(&Sandbox, &mut Self, &str)) {
        let sandbox = Sandbox::new();
        check(&sandbox, &mut Self::by_lease(&sandbox, &World::plain()), "lease");
        let sandbox = Sandbox::new();
        check(&sandbox, &mut Self::by_process(&sandbox), "process");
        let sandbox = Sandbox::new();
        check(&sandbox, &mut Self::by_command(&sandbox, &World::plain()), "command");
    }

    /// Ends what keeps it alive.
    pub(crate) fn die(&mut self) {
        let Some(mut holder) = self.holder.take() else { return };
        drop(holder.stdin.take());
        if holder.try_wait().is_ok_and(|state| state.is_none()) {
            let _ = holder.kill();
        }
        let _ = holder.wait();
    }

    /// The row that `world` lists.
    fn row(&self, sandbox: &Sandbox, world: &World, more: &[&str]) -> Option<Value> {
        let args = [&["--json", "agent", "list", "--thread", "t"], more].concat();
        let list = world.heddle(sandbox, &args).ok().json();
        list.as_array()
            .expect("an array")
            .iter()
            .find(|row| row["session_id"] == self.session.as_str())
            .cloned()
    }

    /// Every answer in `world` about one who may live: nobody gets the thread, nothing is
    /// cleaned away, and nothing changes.
    pub(crate) fn is(&self, word: &str, sandbox: &Sandbox, world: &World, about: &str) {
        let about = format!("{about} in {:?}", world.0);
        let row = self.row(sandbox, world, &[]).unwrap_or_else(|| panic!("{about}: not listed"));
        assert_eq!((&row["liveness"], &row["status"]), (&word.into(), &"active".into()), "{about}");
        let shown = world.heddle(sandbox, &["--json", "agent", "show", &self.session]).ok();
        assert_eq!(shown.text("liveness"), word, "{about}");
        let alive = self.row(sandbox, world, &["--alive-only"]).is_some();
        assert_eq!(alive, word != "dead", "{about}");
        if word == "dead" {
            return;
        }
        let refs = || sandbox.git(&["for-each-ref", "refs/heddle"]);
        let records = || (read(&sandbox.git_dir().join("heddle/agents")), sandbox.record("threads/t.json"));
        let before = (refs(), records());
        let reserve = world.heddle(sandbox, &["agent", "reserve", "--thread", "t", "--resume"]);
        assert_eq!(reserve.code, Some(3), "{about}: {reserve:?}");
        assert_eq!(reserve.json()["kind"], "live_owner", "{about}");
        assert_eq!(reserve.json()["owner"]["liveness"], word, "{about}: {reserve:?}");
        let run = world.heddle(sandbox, &["agent", "run", "--thread", "t", "--resume", "--", "false"]);
        assert_eq!(run.code, Some(3), "{about}: {run:?}");
        assert!(run.stderr.contains("\"started\":false"), "{about}: {run:?}");
        for refused in [&["thread", "drop", "t"][..], &["thread", "rename", "t", "u"]] {
            let answer = world.heddle(sandbox, refused);
            // Beside a live owner, a drop has commits that would be lost to tell of.
            assert!(matches!(answer.code, Some(1 | 3)), "{about}: {answer:?}");
            assert!(answer.stderr.contains(&self.session), "{about}: {answer:?}");
        }
        world.heddle(sandbox, &["gc"]).ok();
        world.heddle(sandbox, &["doctor", "--fix"]).ok();
        assert_eq!((refs(), records()), before, "{about}");
    }

    /// The owner works in `world`: every verb does what it is for.
    pub(crate) fn works(&self, sandbox: &Sandbox, world: &World, about: &str) {
        let about = format!("{about} in {:?}", world.0);
        let verb = |args: &[&str]| {
            let answer = world.heddle(sandbox, args);
            assert_eq!(answer.code, Some(0), "{about}: {args:?}: {answer:?}");
            answer
        };
        assert_eq!(verb(&["agent", "heartbeat", "--session", &self.session]).text("status"), "active");
        sandbox.write("work", &about);
        let captured = verb(&["agent", "capture", "--session", &self.session, "-m", "work"]);
        assert_eq!(captured.text("commit"), sandbox.commit("refs/heddle/threads/t"), "{about}");
        verb(&["agent", "ready", "--session", &self.session, "-m", "more"]);
        assert_eq!(sandbox.commit("refs/heddle/ready/t"), captured.text("commit"), "{about}");
    }

    /// It is dead in `world`, and the thread is somebody else's there.
    pub(crate) fn is_replaced(&self, sandbox: &Sandbox, world: &World, about: &str) {
        self.is("dead", sandbox, world, about);
        let generation = sandbox.record("threads/t.json")["generation"].as_u64();
        let next = world.heddle(sandbox, &["agent", "reserve", "--thread", "t", "--resume"]);
        assert_eq!(next.code, Some(0), "{about}: {next:?}");
        assert_eq!(next.json()["generation"].as_u64(), generation.map(|last| last + 1), "{about}");
        for verb in ["heartbeat", "capture", "ready", "release"] {
            let late = sandbox.heddle(&["agent", verb, "--session", &self.session]);
            let allowed = if verb == "release" { &[0, 5][..] } else { &[5] };
            assert!(late.code.is_some_and(|code| allowed.contains(&code)), "{about}: {verb}: {late:?}");
        }
        assert_eq!(sandbox.record("threads/t.json")["owner"], next.text("session_id").as_str(), "{about}");
        sandbox.assert_clean(about);
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.die();
    }
}
