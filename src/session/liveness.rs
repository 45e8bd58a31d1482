//! Whether a session's owner lives, judged from evidence, never from a guess.
//!
//! A live owner is never judged dead: what cannot be known is *unknown*, which counts as
//! alive until `heddle.unknownTtl` without a sign of life. A dead one is not kept: process
//! evidence is exact on the same boot, and a lease bounds everything else.
//!
//! Judging reads clocks, `/proc` and the presence lock; it writes nothing and takes nothing.

use std::time::Duration;

use super::session::{Heartbeat, Holder, Process, Session};
use crate::platform::{Moment, Place, Platform, ProcessState, START_SLACK};

/// The verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// The owner lives, and by what evidence.
    Alive(&'static str),
    /// The owner is gone for certain, or the session has ended.
    Dead(&'static str),
    /// The owner may live; it counts as alive.
    Unknown(&'static str),
}

impl Liveness {
    /// The word of the wire format.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Alive(_) => "alive",
            Self::Dead(_) => "dead",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Why.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Alive(reason) | Self::Dead(reason) | Self::Unknown(reason) => reason,
        }
    }

    /// Whether the owner may be alive.
    #[must_use]
    pub fn may_live(self) -> bool {
        !matches!(self, Self::Dead(_))
    }
}

/// Whether a command acts for a session right now: whether its presence lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Somebody holds it.
    Held,
    /// Nobody does.
    Free,
    /// It may not be looked at.
    Unknown,
}

/// How long ago a heartbeat was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    Past(Duration),
    /// It lies in the future of the clock that decides.
    Future,
}

/// The age of a heartbeat: on the same boot by the monotonic clock, so that neither a clock
/// that jumps nor a suspended machine ends a lease; across boots by wall time.
fn age(heartbeat: &Heartbeat, now: &Moment, platform: &dyn Platform) -> Age {
    let millis = if same_boot(&heartbeat.place, platform) {
        now.monotonic_ms.checked_sub(heartbeat.monotonic_ms)
    } else {
        u64::try_from((now.wall - heartbeat.at).num_milliseconds()).ok()
    };
    millis.map_or(Age::Future, |millis| Age::Past(Duration::from_millis(millis)))
}

fn same_boot(place: &Place, platform: &dyn Platform) -> bool {
    let here = &platform.place().boot_id;
    here.is_some() && place.boot_id == *here
}

/// What the process that a session names, at `place`, says about it.
fn of_process(process: Process, place: &Place, lapsed: bool, platform: &dyn Platform) -> Liveness {
    let same_boot = same_boot(place, platform);
    if place.host != platform.place().host {
        return Liveness::Unknown("its process is on another host");
    }
    match (same_boot, lapsed) {
        (false, true) => return Liveness::Dead("the machine was started anew and its lease lapsed"),
        (false, false) => return Liveness::Unknown("its process is of another boot"),
        (true, _) => {}
    }
    if place.pid_namespace != platform.place().pid_namespace {
        return Liveness::Unknown("its process is in another pid namespace");
    }
    match platform.process(process.pid) {
        ProcessState::Gone => Liveness::Dead("its process is gone"),
        ProcessState::Running { start_time, .. } if start_time.abs_diff(process.start_time) > START_SLACK => {
            Liveness::Dead("its process is gone and the pid was given to another")
        }
        ProcessState::Running { .. } => Liveness::Alive("its process runs"),
        ProcessState::Unknown => Liveness::Unknown("its process may not be looked at"),
    }
}

/// Whether the command that a session ran may still live, also where the session has ended:
/// only then is there anything but the session to ask.
#[must_use]
pub fn command_may_live(session: &Session, platform: &dyn Platform) -> bool {
    let Holder::Lock { command: Some(command), .. } = session.holder else { return false };
    // Whether it lapsed matters across boots only, where no process lives on.
    of_process(command, session.place(), true, platform).may_live()
}

/// Judges `session`. Its `presence` counts on the same boot only.
#[must_use]
pub fn judge(
    session: &Session,
    presence: Presence,
    unknown_ttl: Duration,
    now: &Moment,
    platform: &dyn Platform,
) -> Liveness {
    if !session.is_active() {
        return Liveness::Dead("the session has ended");
    }
    let (heartbeat, place) = (&session.heartbeat, session.place());
    let same_boot = same_boot(place, platform);
    if presence == Presence::Held && same_boot {
        return Liveness::Alive("a command that acts for it runs");
    }
    let age = age(heartbeat, now, platform);
    let lapsed = matches!(age, Age::Past(age) if age > Duration::from_secs(session.ttl_seconds.get()));
    let verdict = match &session.holder {
        // What is seen of a process or a lock needs no clock.
        holder if age == Age::Future && (*holder == Holder::Lease || !same_boot) => {
            Liveness::Unknown("its last heartbeat lies in the future")
        }
        Holder::Lease if lapsed => Liveness::Dead("its lease lapsed"),
        Holder::Lease => Liveness::Alive("its lease has not lapsed"),
        Holder::Process { pid, start_time, .. } => {
            let process = Process { pid: *pid, start_time: *start_time };
            of_process(process, place, lapsed, platform)
        }
        Holder::Lock { .. } if place.host != platform.place().host => {
            Liveness::Unknown("its lock is on another host")
        }
        Holder::Lock { .. } if !same_boot && lapsed => {
            Liveness::Dead("the machine was started anew and its lease lapsed")
        }
        Holder::Lock { .. } if !same_boot => Liveness::Unknown("its lock is of another boot"),
        Holder::Lock { command: None, .. } => Liveness::Dead("nobody holds its lock"),
        Holder::Lock { command: Some(command), .. } => of_process(*command, place, lapsed, platform),
    };
    let verdict = match verdict {
        Liveness::Dead(_) if presence == Presence::Unknown && same_boot => {
            Liveness::Unknown("its lock file may not be looked at")
        }
        verdict => verdict,
    };
    match (verdict, age) {
        (Liveness::Unknown(_), Age::Past(age)) if age > unknown_ttl => {
            Liveness::Dead("nothing was heard of it for longer than heddle.unknownTtl")
        }
        _ => verdict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::Place;

    /// A world in which every process is as told.
    struct World {
        place: Place,
        process: ProcessState,
    }

    impl Platform for World {
        fn now(&self) -> Moment {
            Moment { wall: chrono::DateTime::UNIX_EPOCH, monotonic_ms: 10_000 }
        }
        fn place(&self) -> &Place {
            &self.place
        }
        fn process(&self, _pid: u32) -> ProcessState {
            self.process
        }
        fn random(&self, _bytes: &mut [u8]) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn place(host: &str, boot: &str, namespace: &str) -> Place {
        Place {
            host: host.to_owned(),
            boot_id: Some(boot.to_owned()),
            pid_namespace: Some(namespace.to_owned()),
        }
    }

    /// The verdict on a session of a runner that was heard of at `heard`, a second before.
    fn verdict(
        command: Option<Process>,
        present: bool,
        heard: Place,
        process: ProcessState,
        ttl: u64,
    ) -> &'static str {
        let presence = if present { Presence::Held } else { Presence::Free };
        judged(serde_json::json!({"kind": "lock", "command": command}), presence, heard, process, ttl)
    }

    fn judged(
        holder: serde_json::Value,
        presence: Presence,
        heard: Place,
        process: ProcessState,
        ttl: u64,
    ) -> &'static str {
        let id = "0".repeat(40);
        let record = serde_json::json!({
            "version": 1, "session_id": "agent-1", "thread": "t", "anchor_state": id, "anchor_root": id,
            "generation": 1, "status": "active", "task": null, "path": null,
            "holder": holder, "ttl_seconds": ttl,
            "heartbeat": {"at": "1970-01-01T00:00:00Z", "monotonic_ms": 1, "place": heard},
            "started_at": "1970-01-01T00:00:00Z", "completed_at": null, "token_hash": "0".repeat(64), "require_token": false,
            "agent": {}, "usage": {},
        });
        let session: Session = serde_json::from_value(record).expect("a record");
        let world = World { place: place("here", "boot", "pid"), process };
        judge(&session, presence, Duration::from_secs(3600), &world.now(), &world).word()
    }

    #[test]
    fn a_runner_lives_by_its_lock_and_then_by_its_command() {
        let command = Some(Process { pid: 7, start_time: 42 });
        let running = |start_time| ProcessState::Running { start_time, stopped: false };
        let here = || place("here", "boot", "pid");
        // The lease has lapsed in all of them: on one boot it does not matter.
        assert_eq!(verdict(command, true, here(), ProcessState::Gone, 1), "alive");
        assert_eq!(verdict(command, false, here(), running(42), 1), "alive");
        assert_eq!(verdict(command, false, here(), running(43), 1), "alive");
        assert_eq!(verdict(command, false, here(), running(44), 1), "dead");
        assert_eq!(verdict(command, false, here(), ProcessState::Gone, 1), "dead");
        assert_eq!(verdict(command, false, here(), ProcessState::Unknown, 1), "unknown");
        assert_eq!(verdict(None, true, here(), ProcessState::Gone, 1), "alive");
        assert_eq!(verdict(None, false, here(), running(42), 1), "dead");
    }

    #[test]
    fn nobody_is_dead_whose_lock_may_not_be_looked_at() {
        let here = || place("here", "boot", "pid");
        let lock = || serde_json::json!({"kind": "lock", "command": null});
        let lease = || serde_json::json!({"kind": "lease"});
        let gone = ProcessState::Gone;
        assert_eq!(judged(lock(), Presence::Unknown, here(), gone, 3600), "unknown");
        assert_eq!(judged(lease(), Presence::Unknown, here(), gone, 1), "unknown");
        assert_eq!(judged(lease(), Presence::Unknown, here(), gone, 3600), "alive");
    }

    #[test]
    fn a_lock_says_nothing_on_another_boot_host_or_in_another_namespace() {
        let command = Some(Process { pid: 7, start_time: 42 });
        let gone = ProcessState::Gone;
        assert_eq!(verdict(command, true, place("there", "other", "pid"), gone, 1), "unknown");
        assert_eq!(verdict(command, false, place("here", "boot", "other"), gone, 1), "unknown");
        assert_eq!(verdict(command, true, place("here", "earlier", "pid"), gone, 3600), "unknown");
    }

    #[test]
    fn a_heartbeat_from_a_container_says_nothing_about_where_the_holder_is() {
        let inside = place("here", "boot", "container");
        let outside = place("here", "boot", "pid");
        for kind in ["lock", "process"] {
            let holder = |at: &Place| match kind {
                "lock" => {
                    serde_json::json!({"kind": kind, "command": {"pid": 7, "start_time": 42}, "place": at})
                }
                _ => serde_json::json!({"kind": kind, "pid": 7, "start_time": 42, "place": at}),
            };
            // The judge is outside, and so is the holder: its pid is seen.
            assert_eq!(
                judged(holder(&outside), Presence::Free, inside.clone(), ProcessState::Gone, 3600),
                "dead"
            );
            // The holder is elsewhere than the judge, whatever has the pid here.
            assert_eq!(
                judged(holder(&inside), Presence::Free, outside.clone(), ProcessState::Gone, 3600),
                "unknown"
            );
        }
    }
}
