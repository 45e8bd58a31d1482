//! Reading what others committed, without believing any of it: whole histories in one pass,
//! merges by the dozen, signatures, and whether everything is there.
//!
//! The walk is one `git rev-list`, however many tips there are: it uses Git's commit graph,
//! and finds what the base has not exactly as Git would. Commits come as they are stored;
//! replacement objects (`refs/replace/`), which could show others, are not looked at. Nothing
//! is fetched: what a partial clone lacks is missing, and the caller says so.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use super::backend::Value;
use super::complete;
pub use super::complete::Flaw;
use super::listing::{self, Listed};
use super::merge::{Conflicts, is_plain, scratch_folder};
use super::objects::Objects;
use super::program::{Program, hand_on_pathspecs};
use super::trailers::{Stamp, may_claim, stamp};
use super::{GitError, Repo};
use crate::names::{CommitId, TreeId};
use crate::platform::umask;

/// A commit as it is stored.
#[derive(Debug, Clone)]
pub struct StoredCommit {
    /// Its id.
    pub id: CommitId,
    /// Its parents, as far as the repository knows them: none where a shallow clone ends.
    pub parents: Vec<CommitId>,
    /// Its tree.
    pub tree: TreeId,
    /// Whether it carries a signature, whatever that is worth.
    pub signed: bool,
    /// What is wrong with its form.
    pub fault: Option<String>,
    /// What its message claims, or what is wrong with the claim; see [`stamp`].
    pub claim: Result<Option<Stamp>, Vec<String>>,
}

/// Commits that a base has not, by their ids.
#[derive(Debug, Default)]
pub struct History {
    commits: Vec<StoredCommit>,
    places: HashMap<CommitId, usize>,
}

/// What a ref is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefValue {
    /// A commit, or what should be one.
    Id(CommitId),
    /// Nothing that can be followed: a symbolic ref, or one that cannot be read.
    Unusable(String),
}

/// What an object is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// A commit.
    Commit,
    /// Something else.
    Other(&'static str),
    /// Not there, or not readable.
    Missing,
}

/// What a signature is worth, as `git verify-commit` judges it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// Good, by Git's rules and the user's configuration.
    Good,
    /// Not good, in words.
    Bad(String),
    /// It cannot be checked here, with what was said.
    Unchecked(String),
}

impl History {
    /// The commit, unless the base has it (or it is not there at all).
    #[must_use]
    pub fn get(&self, id: &CommitId) -> Option<&StoredCommit> {
        self.places.get(id).map(|place| &self.commits[*place])
    }

    /// What `tip` has that the base has not, parents before children, and the commits at
    /// which the base begins.
    #[must_use]
    pub fn from_tip(&self, tip: &CommitId) -> (Vec<&StoredCommit>, Vec<&CommitId>) {
        let (mut order, mut edge) = (Vec::new(), Vec::new());
        let Some(start) = self.places.get(tip) else { return (order, edge) };
        let mut seen = HashSet::from([*start]);
        let mut path = vec![(*start, 0)];
        while let Some((place, next)) = path.pop() {
            let commit = &self.commits[place];
            let Some(parent) = commit.parents.get(next) else {
                order.push(commit);
                continue;
            };
            path.push((place, next + 1));
            match self.places.get(parent) {
                Some(parent) => {
                    if seen.insert(*parent) {
                        path.push((*parent, 0));
                    }
                }
                None => edge.push(parent),
            }
        }
        (order, edge)
    }

    fn add(&mut self, commit: StoredCommit) {
        self.places.insert(commit.id.clone(), self.commits.len());
        self.commits.push(commit);
    }
}

impl StoredCommit {
    /// Reads a record of `git rev-list --header --parents`: the ids of commit and parents, then
    /// the commit with its message indented by four spaces. The parents in its own header are
    /// not those that a shallow clone has.
    fn parse(record: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(record);
        let (ids, stored) = text.split_once('\n')?;
        let mut ids = ids.split(' ').map(CommitId::parse);
        let id = ids.next()?.ok()?;
        let parents = ids.collect::<Result<_, _>>().ok()?;
        let (header, message) = stored.split_once("\n\n").unwrap_or((stored.trim_end_matches('\n'), ""));
        let tree = header.lines().next()?.strip_prefix("tree ")?;
        let tree = TreeId::parse(tree).ok()?;
        let signature = |line: &str| line.starts_with("gpgsig ") || line.starts_with("gpgsig-sha256 ");
        let signed = header.lines().any(signature);
        let fault = fault(header, message).map(str::to_owned);
        let indented = message.strip_prefix("    ").unwrap_or(message);
        let claim = if may_claim(message) { stamp(&indented.replace("\n    ", "\n")) } else { Ok(None) };
        Some(Self { id, parents, tree, signed, fault, claim })
    }
}

/// What is wrong with a commit's form: the rules that `git fsck` has for commits, as far as
/// they can be seen from what Git could still read, and an empty message.
fn fault(header: &str, message: &str) -> Option<&'static str> {
    let mut lines =
        header.lines().skip_while(|line| line.starts_with("tree ") || line.starts_with("parent "));
    let mut person =
        |role: &str| lines.next().and_then(|line| line.strip_prefix(role)).is_some_and(is_person);
    if !person("author ") {
        return Some("its author line is not as Git writes one");
    }
    if !person("committer ") {
        return Some("its committer line is not as Git writes one");
    }
    if lines
        .any(|line| ["tree ", "parent ", "author ", "committer "].iter().any(|role| line.starts_with(role)))
    {
        return Some("its header repeats itself");
    }
    message.trim().is_empty().then_some("its message is empty")
}

/// `Name <address> seconds zone`.
fn is_person(line: &str) -> bool {
    let Some((name, rest)) = line.split_once('<') else { return false };
    let Some((address, when)) = rest.split_once("> ") else { return false };
    let Some((seconds, zone)) = when.split_once(' ') else { return false };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (name.is_empty() || name.ends_with(' '))
        && !name.contains('>')
        && !address.contains(['<', '>'])
        && digits(seconds)
        && (seconds == "0" || !seconds.starts_with('0'))
        && zone.len() == 5
        && zone.starts_with(['+', '-'])
        && digits(&zone[1..])
}

impl Repo {
    /// Git for reading what is here and nothing else: no replacement, no fetching. In a hook
    /// that judges a push, what was pushed counts as here.
    fn auditor<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.program().command(["--no-replace-objects"]);
        command.args(args).env("GIT_NO_LAZY_FETCH", "1");
        command
    }

    /// What the `tips` have and the `bases` have not. `tick` hears of each commit.
    ///
    /// # Errors
    /// [`GitError::Program`] if a commit is missing or cannot be read.
    pub fn history(
        &self,
        tips: &[&CommitId],
        bases: &[&CommitId],
        tick: &mut dyn FnMut(usize),
    ) -> Result<History, GitError> {
        let mut history = History::default();
        if tips.is_empty() {
            return Ok(history);
        }
        let mut input = String::new();
        tips.iter().for_each(|tip| input.push_str(&format!("{tip}\n")));
        bases.iter().for_each(|base| input.push_str(&format!("^{base}\n")));
        let mut command = self.auditor(["rev-list", "--header", "--parents", "--encoding=none", "--stdin"]);
        // Git would otherwise write each commit by itself.
        command.env("GIT_FLUSH", "0");
        let start = |source| GitError::Start { source };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = umask::users(|| command.spawn()).map_err(start)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let said = std::thread::scope(|scope| {
            scope.spawn(move || {
                // Git reads all of it before it prints; if it ends early its status tells why.
                let _ = stdin.map(|mut stdin| stdin.write_all(input.as_bytes()));
            });
            let said = scope.spawn(move || {
                let mut said = Vec::new();
                let _ = stderr.map(|mut stderr| stderr.read_to_end(&mut said));
                said
            });
            let mut records = stdout.map(|stdout| BufReader::with_capacity(1 << 16, stdout));
            let mut record = Vec::new();
            let unreadable = loop {
                record.clear();
                match records.as_mut().map(|records| records.read_until(0, &mut record)) {
                    None | Some(Ok(0)) => break None,
                    Some(Err(source)) => break Some(source),
                    Some(Ok(_)) => {}
                }
                let stored = record.strip_suffix(b"\0").unwrap_or(&record);
                // What cannot be parsed is missed later on as a commit that is not there.
                if let Some(commit) = StoredCommit::parse(stored) {
                    history.add(commit);
                    tick(history.commits.len());
                }
            };
            // Whatever else Git has to say must not keep it from ending.
            drop(records);
            (said.join().unwrap_or_default(), unreadable)
        });
        let status = child.wait().map_err(start)?;
        match said {
            (_, Some(source)) => Err(start(source)),
            (_, None) if status.success() => Ok(history),
            (stderr, None) => {
                let output = std::process::Output { status, stdout: Vec::new(), stderr };
                Err(Program::failure(&command, &output))
            }
        }
    }

    /// All refs below `prefix`, which ends in `/`, sorted by name, those that cannot be
    /// followed too.
    ///
    /// # Errors
    /// [`GitError::Library`] if refs cannot be listed.
    pub fn all_refs(&self, prefix: &str) -> Result<Vec<(String, RefValue)>, GitError> {
        // Escaped it is the name of no other ref: none has a backslash.
        let illegible = |name: &[u8]| {
            let reason = "its name is not UTF-8, so that of no thread".to_owned();
            (name.escape_ascii().to_string(), RefValue::Unusable(reason))
        };
        if let Some(tables) = self.reftable() {
            let value = |(name, value)| match value {
                Value::Id(id) => Some((name, RefValue::Id(id))),
                Value::Symbolic(_) => Some((name, RefValue::Unusable("it is a symbolic ref".to_owned()))),
                Value::Gone => None,
            };
            let legible = self.refs().below(self, prefix)?.into_iter().filter_map(value);
            let illegible = tables.illegible_below(prefix)?.into_iter().map(|name| illegible(&name));
            return Ok(legible.chain(illegible).collect());
        }
        let value = |(name, listed): (Vec<u8>, Listed)| {
            let name = match String::from_utf8(name) {
                Ok(name) => name,
                Err(name) => return illegible(name.as_bytes()),
            };
            let value = match listed {
                Listed::Id(id) => RefValue::Id(id),
                Listed::Symbolic(_) => RefValue::Unusable("it is a symbolic ref".to_owned()),
                Listed::Broken => {
                    RefValue::Unusable("its file holds no object's id, or cannot be read".to_owned())
                }
            };
            (name, value)
        };
        Ok(listing::below(self.common_dir(), prefix, self.id_size())?.into_iter().map(value).collect())
    }

    /// What the object `id` is here.
    #[must_use]
    pub fn presence(&self, id: &CommitId) -> Presence {
        let header = self.oid(id.as_str()).ok().and_then(|id| self.raw().odb().ok()?.read_header(id).ok());
        match header {
            Some((_, git2::ObjectType::Commit)) => Presence::Commit,
            Some((_, kind)) => Presence::Other(kind.str()),
            None => Presence::Missing,
        }
    }

    /// Whether objects were left out on purpose when this was cloned.
    ///
    /// # Errors
    /// [`GitError::Library`].
    pub fn is_partial(&self) -> Result<bool, GitError> {
        if self.config()?.get("extensions.partialClone")?.is_some() {
            return Ok(true);
        }
        for remote in self.raw().remotes()?.iter() {
            let Ok(Some(remote)) = remote else { continue };
            if self.config()?.bool(&format!("remote.{remote}.promisor"))?.unwrap_or(false) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// For each pair of a tree and a commit what is first found wrong with the tree. What the tree of
    /// the commit has is not looked at again: it is as good as that is.
    /// `tick` hears how many have been looked at.
    ///
    /// # Errors
    /// [`GitError::Library`] if the objects cannot be looked at.
    pub fn flaws_of_trees(
        &self,
        pairs: &[(&TreeId, &CommitId)],
        tick: &mut dyn FnMut(usize),
    ) -> Result<Vec<Option<Flaw>>, GitError> {
        let objects = Objects::of(self)?;
        let mut roots: HashMap<&CommitId, Option<git2::Oid>> = HashMap::new();
        let mut jobs = Vec::with_capacity(pairs.len());
        for (tree, known) in pairs {
            let known_oid = self.oid(known.as_str())?;
            let root = || self.raw().find_commit(known_oid).ok().map(|known| known.tree_id());
            let known = *roots.entry(known).or_insert_with(root);
            jobs.push((self.oid(tree.as_str())?, known));
        }
        Ok(complete::flaws(&objects, &jobs, tick))
    }

    /// Whether merging `tip` into `target`, which it left at `base` and nowhere else, is known to
    /// meet no conflict; if not, [`Self::merges`] tells.
    #[must_use]
    pub fn merges_plainly(&self, target: &CommitId, tip: &CommitId, base: &CommitId) -> bool {
        let plain = || {
            Ok::<_, GitError>(is_plain(
                self,
                self.oid(base.as_str())?,
                self.oid(target.as_str())?,
                self.oid(tip.as_str())?,
            ))
        };
        plain().unwrap_or(false)
    }

    /// What merging each of `tips` into `target` would run into, in their order; they share
    /// history with it. One Git process for all of them.
    ///
    /// # Errors
    /// [`GitError::Program`] if one of them cannot be merged for another reason than a
    /// conflict, such as an object that is not here.
    pub fn merges(&self, target: &CommitId, tips: &[&CommitId]) -> Result<Vec<Conflicts>, GitError> {
        if tips.is_empty() {
            return Ok(Vec::new());
        }
        let scratch = scratch_folder()?;
        let mut command = self.auditor(["-c", "core.fsync=none", &format!("--attr-source={target}")]);
        command.args(["merge-tree", "--write-tree", "--stdin", "--name-only", "-z", "--no-messages"]);
        self.write_objects_to(&mut command, scratch.path());
        let _aside = self.run_aside(&mut command)?;
        let input: String = tips.iter().map(|tip| format!("{target} {tip}\n")).collect();
        let output = Program::run(&mut command, Some(input.as_bytes()))?;
        let merges = parse_merges(&output);
        if merges.len() == tips.len() {
            return Ok(merges);
        }
        Err(GitError::Program {
            command: "merge-tree".to_owned(),
            status: "exit status: 0".to_owned(),
            stderr: format!("{} answers for {} merges", merges.len(), tips.len()),
        })
    }

    /// What the signature of `commit` is worth here.
    ///
    /// # Errors
    /// [`GitError::Start`].
    pub fn signature(&self, commit: &CommitId) -> Result<Signature, GitError> {
        let mut verify = self.auditor(["verify-commit", "--raw", commit.as_str()]);
        let verified = Program::output(&mut verify, None)?;
        if verified.status.success() {
            return Ok(Signature::Good);
        }
        let mut log = self.auditor(["log", "-1", "--no-show-signature", "--format=%G?", commit.as_str()]);
        let letter = Program::output(&mut log, None)?.stdout;
        let bad = match letter.trim_ascii() {
            b"B" => "its signature is bad",
            b"X" => "its signature has expired",
            b"Y" => "its signature is by a key that has expired",
            b"R" => "its signature is by a key that was revoked",
            b"G" | b"U" => "its signature is by a key that is not trusted",
            _ => {
                let said = String::from_utf8_lossy(&verified.stderr);
                let said = said.lines().map(str::trim).filter(|line| !line.is_empty());
                return Ok(Signature::Unchecked(said.collect::<Vec<_>>().join("; ")));
            }
        };
        Ok(Signature::Bad(bad.to_owned()))
    }

    /// For each of `commits` the paths that it touches and that none of `pathspecs`, as Git
    /// means them in the folder `cwd`, allows. A merge touches what it has otherwise than all
    /// its parents.
    ///
    /// # Errors
    /// [`GitError::Program`] for a pathspec that Git does not take, or a missing object.
    pub fn paths_outside(
        &self,
        commits: &[&CommitId],
        pathspecs: &[OsString],
        cwd: &Path,
    ) -> Result<HashMap<CommitId, Vec<Vec<u8>>>, GitError> {
        let all = self.touched(commits, &[], cwd)?;
        let mut allowed = self.touched(commits, pathspecs, cwd)?;
        let outside = all.into_iter().map(|(commit, paths)| {
            let allowed = allowed.remove(&commit).unwrap_or_default();
            (commit, paths.into_iter().filter(|path| !allowed.contains(path)).collect())
        });
        Ok(outside.collect())
    }

    /// What Git says of `pathspecs`, meant in the folder `cwd`, if it does not take them.
    ///
    /// # Errors
    /// [`GitError::Program`] if it fails for another reason.
    pub fn fault_of_pathspecs(&self, pathspecs: &[OsString], cwd: &Path) -> Result<Option<String>, GitError> {
        match self.touched(&[], pathspecs, cwd) {
            Err(GitError::Program { stderr, .. }) => {
                // What stops it without them too is none of theirs.
                self.touched(&[], &[], cwd)?;
                let said = stderr.lines().next().unwrap_or_default();
                Ok(Some(said.strip_prefix("fatal: ").unwrap_or(said).to_owned()))
            }
            taken => taken.map(|_| None),
        }
    }

    /// The paths that each of `commits` touches, those alone that `pathspecs` names if there
    /// are any.
    fn touched(
        &self,
        commits: &[&CommitId],
        pathspecs: &[OsString],
        cwd: &Path,
    ) -> Result<HashMap<CommitId, Vec<Vec<u8>>>, GitError> {
        let mut command = self.auditor(["diff-tree", "--stdin", "--root", "-r", "-c", "--name-status"]);
        // A checked-out `.gitmodules` would otherwise have a say in what is shown of a submodule.
        command.args(["-z", "--no-renames", "--always", "--ignore-submodules=none", "--"]).args(pathspecs);
        if !pathspecs.is_empty() {
            command.current_dir(cwd);
            hand_on_pathspecs(&mut command);
        }
        let input: String = commits.iter().map(|commit| format!("{commit}\n")).collect();
        Ok(parse_touched(&Program::run(&mut command, Some(input.as_bytes()))?))
    }
}

/// Reads `(<commit> NUL (<status> NUL <path> NUL)*)*`. No status is as long as an id, so a
/// path that looks like one is a path all the same.
fn parse_touched(output: &[u8]) -> HashMap<CommitId, Vec<Vec<u8>>> {
    let mut touched: HashMap<CommitId, Vec<Vec<u8>>> = HashMap::new();
    let mut paths = &mut Vec::new();
    let mut fields = output.split(|byte| *byte == 0);
    while let Some(field) = fields.next().filter(|field| !field.is_empty()) {
        match std::str::from_utf8(field).ok().and_then(|id| CommitId::parse(id).ok()) {
            Some(commit) => paths = touched.entry(commit).or_default(),
            None => paths.extend(fields.next().map(<[u8]>::to_vec)),
        }
    }
    touched
}

/// Reads `(<0 or 1> NUL <tree> NUL (<path> NUL)* NUL)*`: 1 is a clean merge.
fn parse_merges(output: &[u8]) -> Vec<Conflicts> {
    let mut merges = Vec::new();
    let mut fields = output.split(|byte| *byte == 0);
    while let Some(clean) = fields.next().filter(|field| !field.is_empty()) {
        let mut paths: Vec<Vec<u8>> =
            fields.by_ref().take_while(|field| !field.is_empty()).skip(1).map(<[u8]>::to_vec).collect();
        paths.sort_unstable();
        paths.dedup();
        merges.push(Conflicts { any: clean != b"1", paths });
    }
    merges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: char) -> CommitId {
        CommitId::parse(&digit.to_string().repeat(40)).expect("id")
    }

    #[test]
    fn a_path_that_looks_like_a_commit_is_a_path() {
        let (one, two) = (id('1'), id('2'));
        let output = format!("{one}\0A\0{two}\0MM\0b\0{two}\0D\0c\0");
        let touched = parse_touched(output.as_bytes());
        assert_eq!(touched[&one], [two.as_str().as_bytes().to_vec(), b"b".to_vec()]);
        assert_eq!(touched[&two], [b"c".to_vec()]);
    }

    #[test]
    fn merges_are_told_apart() {
        let merges = parse_merges(b"1\0tree\0\x000\0tree\0b\0a\0b\0\x001\0tree\0\0");
        let any: Vec<bool> = merges.iter().map(|merge| merge.any).collect();
        assert_eq!(any, [false, true, false]);
        assert_eq!(merges[1].paths, [b"a".to_vec(), b"b".to_vec()]);
    }

    #[test]
    fn a_person_is_written_as_git_writes_one() {
        for good in ["A U Thor <a@b> 1700000000 +0100", "<> 0 -0000", "A <> 1 +0000"] {
            assert!(is_person(good), "{good}");
        }
        for bad in ["A <a@b>", "A <a@b> 17 0100", "A <a@b 17 +0100", "A<a@b> 17 +0100", "A <a@b> 017 +0100"] {
            assert!(!is_person(bad), "{bad}");
        }
    }
}
