//! Properties: names against `git check-ref-format`, and reservations against a model with
//! time, deaths and retries.

use std::collections::HashMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use git_heddle::context::Context;
use git_heddle::error::{ConflictKind, Error};
use git_heddle::git::Repo;
use git_heddle::names::{SessionId, ThreadName};
use git_heddle::ops::acting::Claim;
use git_heddle::ops::heartbeat::{Report, heartbeat};
use git_heddle::ops::release::release;
use git_heddle::ops::reserve::{Hold, Request, reserve};
use git_heddle::platform::{Moment, Place, Platform, ProcessState, System};
use git_heddle::session::session::{Agent, End};
use git_heddle::session::token::Token;
use proptest::prelude::*;

fn git(folder: &std::path::Path, args: &[&str]) -> bool {
    Command::new("git").args(args).current_dir(folder).status().expect("git").success()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_name_that_we_take_is_one_that_git_takes(name in "[-a-zA-Z0-9./@{}~^:?*\\[\\\\ \u{7f}é]{0,12}|[a-c./]{1,8}(lock)?") {
        let reference = format!("refs/heddle/threads/{name}");
        let legal = git(std::path::Path::new("/"), &["check-ref-format", &reference]);
        let ours = ThreadName::parse(&name);
        // We refuse more than Git: names that start with '-', and '@' alone.
        prop_assert!(ours.is_err() || legal, "{name:?} is taken, and Git refuses it");
        if legal && !name.starts_with('-') && name != "@" && !name.to_lowercase().contains(".lock") {
            prop_assert!(ours.is_ok(), "{name:?} is refused, and Git takes it");
        }
    }

    #[test]
    fn different_threads_have_different_keys_of_one_segment(a in "[a-z%/é]{1,90}", b in "[a-z%/é]{1,90}") {
        if let (Ok(a), Ok(b)) = (ThreadName::parse(&a), ThreadName::parse(&b)) {
            prop_assert!(!a.key().contains('/') && a.key().len() <= 200);
            prop_assert_eq!(a == b, a.key() == b.key());
        }
    }
}

/// A world whose clock only moves when told, and where processes die on paper.
struct Paper {
    system: System,
    monotonic_ms: AtomicU64,
    alive: AtomicBool,
}

impl Platform for Paper {
    fn now(&self) -> Moment {
        Moment { monotonic_ms: self.monotonic_ms.load(Relaxed), ..self.system.now() }
    }
    fn place(&self) -> &Place {
        self.system.place()
    }
    fn process(&self, _pid: u32) -> ProcessState {
        if self.alive.load(Relaxed) {
            ProcessState::Running { start_time: 7, stopped: false }
        } else {
            ProcessState::Gone
        }
    }
    fn random(&self, bytes: &mut [u8]) -> std::io::Result<()> {
        self.system.random(bytes)
    }
}

#[derive(Debug, Clone)]
enum Step {
    Reserve { thread: usize, held: bool, key: Option<usize> },
    Heartbeat(usize),
    Release(usize),
    Pass(u64),
    Die,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = prop_oneof![Just(None), Just(Some(0)), Just(Some(1))];
    let step = prop_oneof![
        4 => (0..2usize, any::<bool>(), key).prop_map(|(thread, held, key)| Step::Reserve { thread, held, key }),
        2 => (0..8usize).prop_map(Step::Heartbeat),
        2 => (0..8usize).prop_map(Step::Release),
        2 => (1..90u64).prop_map(Step::Pass),
        1 => Just(Step::Die),
    ];
    proptest::collection::vec(step, 1..25)
}

/// What the model knows of an owner.
#[derive(Debug, Clone)]
struct Owner {
    session: SessionId,
    held: bool,
    beat: u64,
    key: Option<usize>,
}

const TTL: u64 = 60;

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reservations_are_what_the_model_says(steps in steps()) {
        let folder = tempfile::tempdir().expect("folder");
        prop_assert!(git(folder.path(), &["init", "-q", "-b", "main"]));
        prop_assert!(git(folder.path(), &["-c", "user.name=a", "-c", "user.email=b", "commit", "-q", "--allow-empty", "-m", "x"]));
        prop_assert!(git(folder.path(), &["config", "heddle.fsync", "false"]));
        let repo = Repo::open(folder.path()).expect("repository");
        let world = Paper { system: System::new(), monotonic_ms: AtomicU64::new(1_000_000), alive: AtomicBool::new(true) };
        let context = Context::new(&repo, &world, "test").expect("context");
        let mut owners: HashMap<usize, Owner> = HashMap::new();
        let mut generations = [0u64; 2];
        let mut known: Vec<(usize, SessionId)> = Vec::new();
        let seconds = || world.monotonic_ms.load(Relaxed) / 1000;
        for step in steps {
            let lives = |owner: &Owner| if owner.held { world.alive.load(Relaxed) } else { seconds() - owner.beat <= TTL };
            match step {
                Step::Pass(passed) => drop(world.monotonic_ms.fetch_add(passed * 1000, Relaxed)),
                // The next process is another one; those that held before are gone with this.
                Step::Die => {
                    world.alive.store(false, Relaxed);
                    owners.retain(|_, owner| !owner.held);
                    let lapsed: Vec<usize> = owners.keys().copied().collect();
                    for thread in lapsed {
                        prop_assert!(!owners[&thread].held);
                    }
                }
                Step::Reserve { thread, held, key } => {
                    // Everybody who holds from now on is a process that lives, so long as
                    // no dead one is still on record.
                    let held = held && world.alive.load(Relaxed);
                    let request = Request {
                        thread: ThreadName::parse(&format!("t{thread}")).expect("name"),
                        anchor: None,
                        resume: false,
                        task: None,
                        hold: if held { Hold::Process(1) } else { Hold::Lease },
                        ttl: Some(Duration::from_secs(TTL)),
                        target: None,
                        require_token: false,
                        request_token: key.and_then(|key| Token::given(&format!("a request token of two {key}"))),
                        worktree: None,
                        wait: None,
                        agent: Agent::default(),
                    };
                    let got = reserve(&context, &request);
                    match owners.get(&thread).filter(|owner| lives(owner)) {
                        Some(owner) if key.is_some() && owner.key == key => {
                            let got = got.expect("the same reservation");
                            prop_assert!(!got.new);
                            prop_assert_eq!(&got.session.session_id, &owner.session);
                        }
                        Some(owner) => match got {
                            Err(Error::Conflict(conflict)) => {
                                prop_assert_eq!(conflict.kind, ConflictKind::LiveOwner);
                                prop_assert_eq!(&conflict.owner.expect("owner").id, &owner.session);
                            }
                            other => prop_assert!(false, "{other:?}"),
                        },
                        None => {
                            let got = got.expect("a reservation");
                            generations[thread] += 1;
                            prop_assert_eq!(got.session.generation.get(), generations[thread]);
                            let session = got.session.session_id.clone();
                            known.push((thread, session.clone()));
                            owners.insert(thread, Owner { session, held, beat: seconds(), key });
                        }
                    }
                }
                Step::Heartbeat(which) if !known.is_empty() => {
                    let (thread, session) = &known[which % known.len()];
                    let claim = Claim { session: session.clone(), token: None };
                    let beaten = heartbeat(&context, &claim, &Report::default()).is_ok();
                    // One that expired but that nobody replaced revives; a held one that
                    // died has left the model, and its beat is as good as any.
                    match owners.get_mut(thread).filter(|owner| owner.session == *session) {
                        Some(owner) => {
                            prop_assert!(beaten);
                            owner.beat = seconds();
                        }
                        None => prop_assert!(!beaten || !world.alive.load(Relaxed)),
                    }
                }
                Step::Release(which) if !known.is_empty() => {
                    let (thread, session) = &known[which % known.len()];
                    let claim = Claim { session: session.clone(), token: None };
                    let released = release(&context, &claim, End::Complete, false);
                    if owners.get(thread).is_some_and(|owner| owner.session == *session) {
                        prop_assert!(released.is_ok());
                        owners.remove(thread);
                    }
                }
                Step::Heartbeat(_) | Step::Release(_) => {}
            }
        }
    }
}
