//! Proving, from refs and commits alone, whose work a thread is and that it is in order.
//!
//! This runs where nothing of heddle's state exists: in a fresh clone on a CI machine. It
//! reads refs and objects, writes nothing, fetches nothing and asks no server. What it proves
//! is form: that commits name one thread, that a generation once passed is not written to
//! again, that what is declared ready is what is there. It cannot prove identity: whoever can
//! write commits can write trailers; signatures can (`--require-signed`).
//!
//! "No data" is never "fine". Each check of each thread ends in one of three ways: nothing
//! found, something found, or unknown, because history ends too early, objects were left out,
//! or a signature's key is not here.

pub mod lineage;
mod members;
pub mod subjects;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::path::PathBuf;

use self::lineage::Lineage;
use self::members::Members;
use self::subjects::{Candidate, Kind, Shelf};
use crate::context::Context;
use crate::error::Error;
use crate::git::GitError;
use crate::git::audit::{Flaw, History, Presence, RefValue, Signature, StoredCommit};
use crate::git::trailers::Stamp;
use crate::names::{CommitId, ThreadName};

/// What to verify, and how strictly.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The revision that threads are compared with; `None` is the target branch.
    pub base: Option<String>,
    /// Threads and ranges; all threads if there are none.
    pub what: Vec<String>,
    /// Names that the commits of a thread may carry besides its own.
    pub formerly: Vec<ThreadName>,
    /// Whether what is not marked ready is a finding.
    pub require_ready: bool,
    /// Whether a commit without a good signature is a finding.
    pub require_signed: bool,
    /// Whether a commit that no session made is a finding.
    pub require_session: bool,
    /// Pathspecs of what may be touched; everything if there are none.
    pub allow: Vec<OsString>,
    /// The folder that `allow` is relative to.
    pub cwd: PathBuf,
}

/// What is looked at, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// The tip is a commit, and its tree is all there and as Git writes trees.
    Tip,
    /// The commits since the base can be read and are well formed.
    Commits,
    /// Trailers are whole, single, and name this thread.
    Trailers,
    /// Generations never go down.
    Generations,
    /// A session has one generation, and a generation one session.
    Sessions,
    /// The ready mark is at the tip.
    Ready,
    /// It merges with the base without conflict.
    Merge,
    /// Every commit is signed.
    Signatures,
    /// Nothing is touched but what may be.
    Paths,
}

impl Check {
    /// The word for it in documents.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tip => "tip",
            Self::Commits => "commits",
            Self::Trailers => "trailers",
            Self::Generations => "generations",
            Self::Sessions => "sessions",
            Self::Ready => "ready",
            Self::Merge => "merge",
            Self::Signatures => "signatures",
            Self::Paths => "paths",
        }
    }
}

/// Something that a check came upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The check.
    pub check: Check,
    /// The commit that it is about, if it is about one.
    pub commit: Option<CommitId>,
    /// The path that it is about, if it is about one.
    pub path: Option<Vec<u8>>,
    /// One sentence.
    pub message: String,
    /// What to do.
    pub hint: Option<&'static str>,
}

/// One thread or range, verified.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The thread's name, or the range as given.
    pub label: String,
    /// The thread's ref; `None` for a range.
    pub refname: Option<String>,
    /// Its tip; `None` if it has none that can be followed.
    pub tip: Option<CommitId>,
    /// What it was compared with.
    pub base: CommitId,
    /// How many commits it has that the base has not.
    pub commits: usize,
    /// The sessions that they name.
    pub sessions: BTreeSet<String>,
    /// The highest generation that they name.
    pub generation: Option<u64>,
    /// Whether the ready mark is at the tip.
    pub ready: bool,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What could not be told.
    pub unknown: Vec<Finding>,
}

/// All that was verified.
#[derive(Debug, Clone)]
pub struct Report {
    /// What the threads were compared with, as named and as found; `None` if only ranges were
    /// verified.
    pub base: Option<(String, CommitId)>,
    /// The checks that were made.
    pub checks: Vec<Check>,
    /// What was verified, in order.
    pub subjects: Vec<Subject>,
}

/// What a verification is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Reading commits, as many as were read.
    Reading(usize),
    /// Checking the subject of this number, of so many.
    Checking(usize, usize),
    /// Checking the signature of the commit of this number, of so many.
    Signature(usize, usize),
}

/// Verifies what `request` names; `progress` hears of each step.
///
/// # Errors
/// [`Error::CannotTell`] where there is nothing to verify, or no such base or thread;
/// [`Error::Usage`] for a pathspec that Git does not take.
pub fn verify(context: &Context<'_>, request: &Request, progress: &dyn Fn(Step)) -> Result<Report, Error> {
    if !request.allow.is_empty()
        && let Some(fault) = context.repo.fault_of_pathspecs(&request.allow, &request.cwd)?
    {
        return Err(Error::Usage { message: format!("bad value for --allow: {fault}") });
    }
    let subjects::Resolved { base, candidates, shelves } = subjects::resolve(context, request)?;
    let mut checks = vec![
        Check::Tip,
        Check::Commits,
        Check::Trailers,
        Check::Generations,
        Check::Sessions,
        Check::Ready,
        Check::Merge,
    ];
    checks.extend(request.require_signed.then_some(Check::Signatures));
    checks.extend((!request.allow.is_empty()).then_some(Check::Paths));

    let mut subjects: Vec<Subject> = candidates.iter().map(Subject::new).collect();
    let repo = context.repo;
    let damage = Damage { shallow: repo.is_shallow(), partial: repo.is_partial()? };
    let mut bases: Vec<&CommitId> = candidates.iter().map(|candidate| &candidate.base).collect();
    bases.sort();
    bases.dedup();
    let total = subjects.len();
    let mut done = 0;
    for base in bases {
        let of_base = candidates.iter().zip(&mut subjects).filter(|(candidate, _)| candidate.base == *base);
        let mut group: Vec<Work<'_>> = of_base
            .map(|(candidate, subject)| {
                let tip = check_tip(context, candidate, subject, damage);
                Work { candidate, subject, tip }
            })
            .collect();
        let history = read(context, base, &mut group, damage, progress)?;
        let mut edges = HashMap::new();
        let mut members = Members::new(&shelves, &history);
        let mut flaws = flaws(context, base, &group, &history, &|count| {
            progress(Step::Checking(done + count, total));
        })?;
        done += group.len();
        for (place, Work { candidate, subject, tip }) in group.iter_mut().enumerate() {
            check_ready(candidate, subject, request.require_ready, &shelves);
            let Some(at) = tip.clone() else { continue };
            let (commits, edge) = history.from_tip(&at);
            subject.commits = commits.len();
            if let Some(end) = commits.iter().find(|commit| damage.shallow && commit.parents.is_empty()) {
                subject.unknown.push(Finding {
                    commit: Some(end.id.clone()),
                    hint: Some(UNSHALLOW),
                    ..Finding::of(Check::Commits, "history ends here, as this clone is shallow")
                });
                // How much of this is the base's nobody knows.
                *tip = None;
                continue;
            }
            match flaws.remove(&place) {
                Some(Flaw::Missing(object)) => {
                    let message = format!("its tree is not complete: {object} is missing");
                    subject.lack(Finding::of(Check::Tip, message), damage);
                }
                Some(Flaw::Damaged(object)) => {
                    let message = format!("its tree is not complete: {object} is damaged");
                    subject.find(Finding { hint: Some(FSCK), ..Finding::of(Check::Tip, message) });
                }
                Some(Flaw::Malformed(fault)) => {
                    subject.find(Finding::of(Check::Tip, format!("its tree {fault}")));
                }
                None => {}
            }
            check_forms(&commits, subject);
            let begins = begins(context, candidate, &edge, &mut edges)?;
            lineage::check(candidate, &commits, begins, request, &mut members, subject);
            if !commits.is_empty() && edge.is_empty() {
                subject.find(Finding::of(Check::Merge, "it shares no history with the base"));
            }
        }
        check_merges(context, base, &mut group, &history, damage)?;
        if !request.allow.is_empty() {
            check_paths(context, &mut group, &history, request, damage)?;
        }
        if request.require_signed {
            check_signatures(context, &mut group, &history, progress)?;
        }
    }
    Ok(Report { base, checks, subjects })
}

/// A subject in the making.
struct Work<'a> {
    candidate: &'a Candidate,
    subject: &'a mut Subject,
    /// Its tip, as long as its history can be worked with.
    tip: Option<CommitId>,
}

/// What this clone was made to lack.
#[derive(Debug, Clone, Copy)]
struct Damage {
    shallow: bool,
    partial: bool,
}

const UNSHALLOW: &str = "git fetch --unshallow gets all of it; in a workflow, fetch-depth: 0";
const FSCK: &str = "git fsck tells what is damaged; fetch into a fresh clone what another repository has";
const WHOLE: &str = "clone without --filter; or git fetch --refetch --no-filter with the remote and the refspec of the threads gets what is lacking";

impl Finding {
    fn of(check: Check, message: impl Into<String>) -> Self {
        Self { check, commit: None, path: None, message: message.into(), hint: None }
    }
}

impl Subject {
    fn new(candidate: &Candidate) -> Self {
        let tip = match &candidate.tip {
            Some(RefValue::Id(tip)) => Some(tip.clone()),
            _ => None,
        };
        Self {
            label: candidate.label.clone(),
            refname: candidate.refname.clone(),
            tip,
            base: candidate.base.clone(),
            commits: 0,
            sessions: BTreeSet::new(),
            generation: None,
            ready: false,
            findings: Vec::new(),
            unknown: Vec::new(),
        }
    }

    fn find(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Something that is not there: what was left out on purpose tells nothing.
    fn lack(&mut self, finding: Finding, damage: Damage) {
        if damage.partial {
            self.unknown.push(Finding { hint: Some(WHOLE), ..finding });
        } else {
            self.findings.push(finding);
        }
    }
}

/// The tip, if it can be worked with.
fn check_tip(
    context: &Context<'_>,
    candidate: &Candidate,
    subject: &mut Subject,
    damage: Damage,
) -> Option<CommitId> {
    let fault = match (&candidate.tip, &candidate.name_fault) {
        (None, _) => "there is a ready mark, and no thread of that name".to_owned(),
        (Some(RefValue::Unusable(reason)), _) => format!("its ref cannot be followed: {reason}"),
        (Some(RefValue::Id(_)), Some(fault)) => fault.clone(),
        (Some(RefValue::Id(tip)), None) => match context.repo.presence(tip) {
            Presence::Commit => return Some(tip.clone()),
            Presence::Other(kind) => format!("its ref is at a {kind}, not at a commit"),
            Presence::Missing => {
                subject.lack(Finding::of(Check::Tip, format!("its tip {tip} is not here")), damage);
                return None;
            }
        },
    };
    subject.find(Finding::of(Check::Tip, fault));
    None
}

/// The history of a group in one pass; where that fails, one by one, to learn whose fails.
fn read(
    context: &Context<'_>,
    base: &CommitId,
    group: &mut [Work<'_>],
    damage: Damage,
    progress: &dyn Fn(Step),
) -> Result<History, Error> {
    let mut tick = |count| progress(Step::Reading(count));
    let all: Vec<&CommitId> = group.iter().filter_map(|work| work.tip.as_ref()).collect();
    match context.repo.history(&all, &[base], &mut tick) {
        Err(GitError::Program { .. }) => {}
        history => return Ok(history?),
    }
    for Work { subject, tip, .. } in group.iter_mut() {
        let Some(alone) = tip else { continue };
        if let Err(error) = context.repo.history(&[alone], &[base], &mut tick) {
            let GitError::Program { stderr, .. } = error else { return Err(error.into()) };
            let said = stderr.lines().next().unwrap_or("git rev-list failed");
            subject.lack(Finding::of(Check::Commits, format!("its history cannot be read: {said}")), damage);
            *tip = None;
        }
    }
    let readable: Vec<&CommitId> = group.iter().filter_map(|work| work.tip.as_ref()).collect();
    Ok(context.repo.history(&readable, &[base], &mut tick)?)
}

fn check_ready(candidate: &Candidate, subject: &mut Subject, required: bool, shelves: &[Shelf]) {
    let Some(tip) = subject.tip.clone() else { return };
    if candidate.kind == Kind::Range {
        // Which thread's it is the commits tell; any mark at this very commit counts.
        subject.ready = shelves.iter().any(|shelf| shelf.marks(&tip));
    } else {
        match &candidate.mark {
            Some(RefValue::Id(mark)) if *mark == tip => subject.ready = true,
            Some(RefValue::Id(mark)) => {
                let message = format!("its ready mark is at {}, not at the tip", mark.short());
                return subject
                    .find(Finding { commit: Some(mark.clone()), ..Finding::of(Check::Ready, message) });
            }
            Some(RefValue::Unusable(reason)) => {
                return subject
                    .find(Finding::of(Check::Ready, format!("its ready mark cannot be followed: {reason}")));
            }
            None => {}
        }
    }
    if required && !subject.ready {
        subject.find(Finding::of(Check::Ready, "it is not marked ready"));
    }
}

/// What is wrong with the trees of tips, beyond what the base has, by the tip's place in the group.
fn flaws(
    context: &Context<'_>,
    base: &CommitId,
    group: &[Work<'_>],
    history: &History,
    tick: &dyn Fn(usize),
) -> Result<HashMap<usize, Flaw>, Error> {
    let (mut places, mut pairs) = (Vec::new(), Vec::new());
    for (at, work) in group.iter().enumerate() {
        let Some(tip) = &work.tip else { continue };
        let Some(stored) = history.get(tip) else { continue };
        let known = history.from_tip(tip).1.first().copied().unwrap_or(base);
        places.push(at);
        pairs.push((&stored.tree, known));
    }
    let found = context.repo.flaws_of_trees(&pairs, &mut |count| tick(count))?;
    Ok(places.into_iter().zip(found).filter_map(|(at, flaw)| Some((at, flaw?))).collect())
}

/// What the base's side tells of the thread: where it had landed, how far it had got. `known`
/// is what commits claim there, as many threads begin at one.
fn begins(
    context: &Context<'_>,
    candidate: &Candidate,
    edge: &[&CommitId],
    known: &mut HashMap<CommitId, Option<Stamp>>,
) -> Result<Option<Lineage>, Error> {
    let Some(thread) = &candidate.thread else { return Ok(None) };
    let mut begins = Lineage::default();
    for commit in edge {
        if !known.contains_key(*commit) {
            known.insert((*commit).clone(), context.repo.claim_of(commit)?);
        }
        let claim = known[*commit].as_ref().filter(|claim| claim.thread == *thread);
        if let Some(generation) = claim.and_then(|claim| claim.generation) {
            begins.had_reached((*commit).clone(), generation);
        }
    }
    Ok(Some(begins))
}

fn check_forms(commits: &[&StoredCommit], subject: &mut Subject) {
    for commit in commits {
        if let Some(fault) = &commit.fault {
            let finding =
                Finding::of(Check::Commits, format!("commit {} is malformed: {fault}", commit.id.short()));
            subject.find(Finding { commit: Some(commit.id.clone()), ..finding });
        }
    }
}

/// Merges those that do not contain the base into it; those about which Git has to be asked all
/// at once.
fn check_merges(
    context: &Context<'_>,
    base: &CommitId,
    group: &mut [Work<'_>],
    history: &History,
    damage: Damage,
) -> Result<(), Error> {
    let mut waiting: Vec<(CommitId, &mut Subject)> = Vec::new();
    for Work { subject, tip, .. } in group.iter_mut() {
        let Some(tip) = tip.clone() else { continue };
        let (_, edge) = history.from_tip(&tip);
        // With the base itself among what lies below, merging is a fast-forward.
        if edge.is_empty() || edge.contains(&base) {
            continue;
        }
        let left = edge.iter().all(|commit| *commit == edge[0]).then_some(edge[0]);
        if !left.is_some_and(|left| context.repo.merges_plainly(base, &tip, left)) {
            waiting.push((tip, subject));
        }
    }
    let tips: Vec<&CommitId> = waiting.iter().map(|(tip, _)| tip).collect();
    let together = match context.repo.merges(base, &tips) {
        Ok(merges) => merges.into_iter().map(Ok).collect(),
        // One that cannot be merged keeps Git from the rest.
        Err(GitError::Program { .. }) => {
            let alone = |tip: &&CommitId| context.repo.merges(base, &[*tip]);
            tips.iter().map(alone).map(|merge| merge.map(|mut one| one.remove(0))).collect::<Vec<_>>()
        }
        Err(error) => return Err(error.into()),
    };
    for ((_, subject), merge) in waiting.iter_mut().zip(together) {
        match merge {
            Ok(conflicts) if conflicts.any && conflicts.paths.is_empty() => {
                subject.find(Finding::of(Check::Merge, "it does not merge with the base without conflict"));
            }
            Ok(conflicts) => {
                for path in conflicts.paths {
                    let message = "it conflicts with the base";
                    subject.find(Finding { path: Some(path), ..Finding::of(Check::Merge, message) });
                }
            }
            Err(error) => {
                let finding = Finding::of(Check::Merge, format!("whether it merges cannot be told: {error}"));
                let hint = damage.partial.then_some(WHOLE);
                subject.unknown.push(Finding { hint, ..finding });
            }
        }
    }
    Ok(())
}

fn check_paths(
    context: &Context<'_>,
    group: &mut [Work<'_>],
    history: &History,
    request: &Request,
    damage: Damage,
) -> Result<(), Error> {
    let mut wanted: Vec<&CommitId> = Vec::new();
    let mut seen = HashSet::new();
    for tip in group.iter().filter_map(|work| work.tip.as_ref()) {
        wanted.extend(history.from_tip(tip).0.iter().map(|commit| &commit.id).filter(|id| seen.insert(*id)));
    }
    let outside_of =
        |commits: &[&CommitId]| match context.repo.paths_outside(commits, &request.allow, &request.cwd) {
            Err(GitError::Program { stderr, .. }) => Ok(Err(stderr)),
            outside => outside.map(Ok),
        };
    // One whose trees are not here keeps Git from the rest.
    let together = outside_of(&wanted)?.ok();
    for Work { subject, tip, .. } in group.iter_mut() {
        let Some(tip) = tip else { continue };
        let commits: Vec<&CommitId> = history.from_tip(tip).0.iter().map(|commit| &commit.id).collect();
        let alone = if together.is_some() { None } else { Some(outside_of(&commits)?) };
        let outside = match &alone {
            Some(Err(said)) => {
                let said = said.lines().next().unwrap_or("git diff-tree failed");
                let message = format!("which paths it touches cannot be told: {said}");
                subject.lack(Finding::of(Check::Paths, message), damage);
                continue;
            }
            Some(Ok(alone)) => Some(alone),
            None => together.as_ref(),
        };
        for commit in commits {
            for path in outside.and_then(|outside| outside.get(commit)).into_iter().flatten() {
                let message = format!("commit {} touches a path that is not allowed", commit.short());
                let (commit, path) = (Some(commit.clone()), Some(path.clone()));
                subject.find(Finding { commit, path, ..Finding::of(Check::Paths, message) });
            }
        }
    }
    Ok(())
}

fn check_signatures(
    context: &Context<'_>,
    group: &mut [Work<'_>],
    history: &History,
    progress: &dyn Fn(Step),
) -> Result<(), Error> {
    let of = |work: &Work<'_>| work.tip.as_ref().map_or(0, |_| work.subject.commits);
    let total: usize = group.iter().map(of).sum();
    let mut verdicts: HashMap<CommitId, Signature> = HashMap::new();
    let mut done = 0;
    for Work { subject, tip, .. } in group.iter_mut() {
        let Some(tip) = tip else { continue };
        for commit in history.from_tip(tip).0 {
            done += 1;
            progress(Step::Signature(done, total));
            let about = |message: String| Finding {
                commit: Some(commit.id.clone()),
                ..Finding::of(Check::Signatures, format!("commit {}: {message}", commit.id.short()))
            };
            if !commit.signed {
                subject.find(about("it is not signed".to_owned()));
                continue;
            }
            if !verdicts.contains_key(&commit.id) {
                verdicts.insert(commit.id.clone(), context.repo.signature(&commit.id)?);
            }
            match &verdicts[&commit.id] {
                Signature::Good => {}
                Signature::Bad(why) => subject.find(about(why.clone())),
                Signature::Unchecked(said) => {
                    let finding = about(format!("its signature cannot be checked: {said}"));
                    let hint = Some("import the signers' keys, or set gpg.ssh.allowedSignersFile");
                    subject.unknown.push(Finding { hint, ..finding });
                }
            }
        }
    }
    Ok(())
}
