//! Whether there is an order of calls in which every answer is true: the rules of reservation,
//! as a thread sees them.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

/// What a call asked for and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Did {
    /// The thread was had by a session.
    Reserved(Session),
    /// It was not, because of this owner.
    Refused(String),
    /// A session put a commit on top of another.
    Captured { session: String, commit: String, parent: String },
    /// A session marked a commit as ready.
    Marked { session: String, commit: String },
    /// A session was heard of.
    Beat(String),
    /// A session was ended with this status.
    Released(String, &'static str),
    /// A landing found this tip, marked as ready, or on its target already.
    Stood { tip: String, already: bool },
    /// It came to its end: whoever made the tip and still had the thread has done its work.
    Landed { tip: String },
    /// The thread is no more; this was its tip, and the last generation.
    Dropped { tip: String, generation: u64 },
    /// There is no such thread.
    Absent,
    /// A session was told that the thread is not its own any more.
    Lost(String),
    /// Nothing was done: something was busy or moved on.
    Nothing,
    /// The call was killed: it may have done what it was to do.
    Killed(Box<Attempt>),
    /// How the thread was found when all was over.
    Found { owner: Option<String>, generation: u64, tip: Option<String>, ready: Option<String> },
}

/// A session as it is told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) generation: u64,
    /// Where the thread was when it began.
    pub(crate) anchor: String,
}

/// What a killed call was to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Attempt {
    Reserve,
    Capture(String),
    Mark(String),
    Release(String, &'static str),
    /// A runner, whose session is dead with it.
    Run,
    Land,
    Drop,
    /// A drop, which ends the owner first, and may then find another.
    Evict,
}

#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) start: Duration,
    pub(crate) end: Duration,
    pub(crate) did: Did,
}

/// A thread as the rules see it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Thread {
    owner: Option<String>,
    generation: u64,
    tip: Option<String>,
    ready: Option<String>,
    /// Where it was made, which its target has.
    began: Option<String>,
    landed: Option<String>,
    ended: BTreeMap<String, &'static str>,
}

/// The calls on one thread, and what is known beside their answers.
pub(crate) struct Judge {
    pub(crate) calls: Vec<Call>,
    /// Sessions that exist although no answer told of them.
    pub(crate) untold: Vec<Session>,
    /// Each commit's parent and session, for captures that nobody was told of.
    pub(crate) commits: BTreeMap<String, (String, String)>,
}

/// How far the search has come.
#[derive(Default)]
struct Search {
    seen: HashSet<(u128, Thread)>,
    order: Vec<usize>,
    longest: Vec<usize>,
}

impl Judge {
    /// The order in which the calls can have happened; if there is none, the longest beginning
    /// of one that was found.
    pub(crate) fn order(&self) -> Result<Vec<usize>, Vec<usize>> {
        assert!(self.calls.len() <= 128, "{} calls on one thread", self.calls.len());
        let mut search = Search::default();
        let found = self.search(0, &Thread::default(), &mut search);
        if found { Ok(search.order) } else { Err(search.longest) }
    }

    fn search(&self, done: u128, thread: &Thread, search: &mut Search) -> bool {
        let open = |index: &usize| done & (1 << index) == 0;
        let all = || (0..self.calls.len()).filter(open);
        // Nothing can come after a call that has ended without coming after it. One that was
        // killed need not have done anything, so it is in nobody's way.
        let answered = all().filter(|index| !matches!(self.calls[*index].did, Did::Killed(_)));
        let Some(first_end) = answered.map(|index| self.calls[index].end).min() else { return true };
        if !search.seen.insert((done, thread.clone())) {
            return false;
        }
        for index in all().filter(|index| self.calls[*index].start <= first_end) {
            for next in self.after(thread, &self.calls[index].did) {
                search.order.push(index);
                if search.order.len() > search.longest.len() {
                    search.longest.clone_from(&search.order);
                }
                if self.search(done | (1 << index), &next, search) {
                    return true;
                }
                search.order.pop();
            }
        }
        false
    }

    /// What the thread may be after `did`; nothing if the rules forbid it.
    fn after(&self, thread: &Thread, did: &Did) -> Vec<Thread> {
        let owns = |session: &String| thread.owner.as_ref() == Some(session);
        let same = |allowed: bool| if allowed { vec![thread.clone()] } else { Vec::new() };
        match did {
            Did::Reserved(session) => Self::reserved(thread, session).into_iter().collect(),
            Did::Refused(owner) => same(owns(owner)),
            Did::Captured { session, commit, parent } => {
                Self::captured(thread, session, commit, parent).into_iter().collect()
            }
            Did::Marked { session, commit } => {
                let allowed = owns(session) && thread.tip.as_ref() == Some(commit);
                let marked = Thread { ready: Some(commit.clone()), ..thread.clone() };
                if allowed { vec![marked] } else { Vec::new() }
            }
            Did::Beat(session) => same(owns(session)),
            Did::Lost(session) => same(!owns(session)),
            Did::Nothing => same(true),
            // A landing ended it, as it told, or gave it its word later.
            Did::Released(session, "merged") => same(thread.ended.contains_key(session)),
            Did::Released(session, status) if owns(session) => vec![Self::released(thread, session, status)],
            // Told once more.
            Did::Released(session, status) => same(thread.ended.get(session) == Some(status)),
            Did::Stood { tip, already } => {
                let tip = Some(tip);
                let on_target = thread.landed.as_ref() == tip || thread.began.as_ref() == tip;
                same(
                    thread.tip.as_ref() == tip
                        && if *already { on_target } else { thread.ready.as_ref() == tip },
                )
            }
            Did::Landed { tip } => vec![self.landed(thread, tip)],
            Did::Dropped { tip, generation } => {
                let fits = thread.tip.as_ref() == Some(tip) && thread.generation == *generation;
                if fits { vec![Self::dropped(thread)] } else { Vec::new() }
            }
            Did::Absent => same(thread.tip.is_none()),
            Did::Killed(attempt) => self.attempted(thread, attempt),
            Did::Found { owner, generation, tip, ready } => same(
                thread.owner == *owner
                    && thread.generation == *generation
                    && thread.tip == *tip
                    && thread.ready == *ready,
            ),
        }
    }

    fn reserved(thread: &Thread, session: &Session) -> Option<Thread> {
        let mut next = thread.clone();
        let free = next.owner.replace(session.id.clone()).is_none();
        if next.tip.is_none() {
            (next.tip, next.began) = (Some(session.anchor.clone()), Some(session.anchor.clone()));
        }
        let allowed =
            free && next.tip.as_ref() == Some(&session.anchor) && session.generation == thread.generation + 1;
        next.generation = session.generation;
        allowed.then_some(next)
    }

    /// As it is after `tip` has landed: one who has not begun on top of it goes on.
    fn landed(&self, thread: &Thread, tip: &str) -> Thread {
        let untold = self.untold.iter();
        let told = self.calls.iter().filter_map(|call| match &call.did {
            Did::Reserved(session) => Some(session),
            _ => None,
        });
        let owner = untold.chain(told).find(|session| thread.owner.as_ref() == Some(&session.id));
        let next = match owner {
            Some(owner) if thread.tip.as_deref() == Some(tip) && owner.anchor != tip => {
                Self::released(thread, &owner.id, "merged")
            }
            _ => thread.clone(),
        };
        Thread { landed: Some(tip.to_owned()), ..next }
    }

    /// As it is after a drop: the generation stays.
    fn dropped(thread: &Thread) -> Thread {
        let next = match &thread.owner {
            Some(owner) => Self::released(thread, owner, "abandoned"),
            None => thread.clone(),
        };
        Thread { tip: None, ready: None, began: None, landed: None, ..next }
    }

    fn captured(thread: &Thread, session: &str, commit: &str, parent: &str) -> Option<Thread> {
        let allowed = thread.owner.as_deref() == Some(session) && thread.tip.as_deref() == Some(parent);
        allowed.then(|| Thread { tip: Some(commit.to_owned()), ..thread.clone() })
    }

    fn released(thread: &Thread, session: &str, status: &'static str) -> Thread {
        let mut next = Thread { owner: None, ..thread.clone() };
        next.ended.insert(session.to_owned(), status);
        next
    }

    /// What a killed call may have come to.
    fn attempted(&self, thread: &Thread, attempt: &Attempt) -> Vec<Thread> {
        match attempt {
            Attempt::Reserve => {
                self.untold.iter().filter_map(|session| Self::reserved(thread, session)).collect()
            }
            Attempt::Capture(session) => {
                let theirs = self.commits.iter().filter(|(_, (_, by))| by == session);
                theirs
                    .filter_map(|(commit, (parent, _))| Self::captured(thread, session, commit, parent))
                    .collect()
            }
            Attempt::Mark(session) if thread.owner.as_ref() == Some(session) => {
                vec![Thread { ready: thread.tip.clone(), ..thread.clone() }]
            }
            Attempt::Release(session, status) if thread.owner.as_ref() == Some(session) => {
                vec![Self::released(thread, session, status)]
            }
            Attempt::Run => {
                let theirs = self.untold.iter().find(|session| thread.owner.as_ref() == Some(&session.id));
                theirs.map(|session| Self::released(thread, &session.id, "abandoned")).into_iter().collect()
            }
            Attempt::Land => thread.ready.iter().map(|tip| self.landed(thread, tip)).collect(),
            Attempt::Evict => {
                let owner = thread.owner.iter();
                owner.map(|owner| Self::released(thread, owner, "abandoned")).collect()
            }
            Attempt::Drop if thread.tip.is_some() => vec![Self::dropped(thread)],
            Attempt::Mark(_) | Attempt::Release(..) | Attempt::Drop => Vec::new(),
        }
    }
}
