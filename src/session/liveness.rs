//! Whether a session's owner lives, judged from evidence, never from a guess.
//!
//! A live owner is never judged dead: what cannot be known is *unknown*, which counts as
//! alive until `heddle.unknownTtl` without a sign of life. A dead one is not kept: process
//! evidence is exact on the same boot, and a lease bounds everything else.
//!
//! Judging reads clocks, `/proc` and the presence lock; it writes nothing and takes nothing.

use std::time::Duration;

use super::session::{Heartbeat, Holder, Session, Status};
use crate::platform::{Moment, Platform, ProcessState};

/// The verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// The owner lives.
    Alive,
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
            Self::Alive => "alive",
            Self::Dead(_) => "dead",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Whether the owner may be alive.
    #[must_use]
    pub fn may_live(self) -> bool {
        !matches!(self, Self::Dead(_))
    }
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
    let millis = if same_boot(heartbeat, platform) {
        now.monotonic_ms.checked_sub(heartbeat.monotonic_ms)
    } else {
        u64::try_from((now.wall - heartbeat.at).num_milliseconds()).ok()
    };
    millis.map_or(Age::Future, |millis| Age::Past(Duration::from_millis(millis)))
}

fn same_boot(heartbeat: &Heartbeat, platform: &dyn Platform) -> bool {
    let here = &platform.place().boot_id;
    here.is_some() && heartbeat.place.boot_id == *here
}

/// Judges `session`. `present` tells whether a command acts for it right now: whether its
/// presence lock is held, which counts on the same boot only.
#[must_use]
pub fn judge(
    session: &Session,
    present: bool,
    unknown_ttl: Duration,
    now: &Moment,
    platform: &dyn Platform,
) -> Liveness {
    if session.status != Status::Active {
        return Liveness::Dead("the session has ended");
    }
    let heartbeat = &session.heartbeat;
    let same_boot = same_boot(heartbeat, platform);
    if present && same_boot {
        return Liveness::Alive;
    }
    let age = age(heartbeat, now, platform);
    let lapsed = matches!(age, Age::Past(age) if age > Duration::from_secs(session.ttl_seconds));
    let verdict = match &session.holder {
        _ if age == Age::Future => Liveness::Unknown("its last heartbeat lies in the future"),
        Holder::Lease if lapsed => Liveness::Dead("its lease lapsed"),
        Holder::Lease => Liveness::Alive,
        Holder::Process { .. } if heartbeat.place.host != platform.place().host => {
            Liveness::Unknown("its process is on another host")
        }
        Holder::Process { .. } if !same_boot && lapsed => {
            Liveness::Dead("the machine was started anew and its lease lapsed")
        }
        Holder::Process { .. } if !same_boot => Liveness::Unknown("its process is of another boot"),
        Holder::Process { .. } if heartbeat.place.pid_namespace != platform.place().pid_namespace => {
            Liveness::Unknown("its process is in another pid namespace")
        }
        Holder::Process { pid, start_time } => match platform.process(*pid) {
            ProcessState::Gone => Liveness::Dead("its process is gone"),
            ProcessState::Running { start_time: now, .. } if now != *start_time => {
                Liveness::Dead("its process is gone and the pid was given to another")
            }
            ProcessState::Running { .. } => Liveness::Alive,
            ProcessState::Unknown => Liveness::Unknown("its process may not be looked at"),
        },
    };
    match (verdict, age) {
        (Liveness::Unknown(_), Age::Past(age)) if age > unknown_ttl => {
            Liveness::Dead("nothing was heard of it for longer than heddle.unknownTtl")
        }
        _ => verdict,
    }
}
