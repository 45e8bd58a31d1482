//! Ahead, behind, fork and changed paths of many tips at once, against sets computed the slow
//! way and against Git itself, on histories made at random.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Write as _;
use std::process::Stdio;

use git_heddle::git::Repo;
use git_heddle::git::commits::Commits;
use git_heddle::git::diff::{changed, changed_among, counts};
use git_heddle::git::graph::{ahead, apart, behind};
use git_heddle::names::CommitId;
use support::Sandbox;

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

/// A history: the parents of each commit, by number, and the commits' ids.
struct History {
    sandbox: Sandbox,
    parents: Vec<BTreeSet<usize>>,
    ids: Vec<CommitId>,
}

impl History {
    /// A history of `size` commits, with merges and with roots of its own here and there;
    /// `date` tells when each was committed.
    fn random(seed: u64, size: usize, date: impl Fn(&mut Dice, usize) -> usize) -> Self {
        let sandbox = Sandbox::unborn();
        let mut dice = Dice(seed);
        let mut parents: Vec<BTreeSet<usize>> = Vec::new();
        let mut stream = String::new();
        for number in 0..size {
            let mut above = BTreeSet::new();
            if number > 0 && dice.roll(15) > 0 {
                above.insert(number - 1 - dice.roll(number.min(6)));
            }
            if !above.is_empty() && dice.roll(4) == 0 {
                above.insert(dice.roll(number));
            }
            let at = 1_700_000_000 + date(&mut dice, number);
            let who = format!("committer A <a@example.com> {at} +0000");
            stream += &format!("commit refs/made/c{number}\nmark :{}\n{who}\ndata 1\nx\n", number + 1);
            let words = ["from", "merge"];
            for (parent, word) in above.iter().zip(words) {
                stream += &format!("{word} :{}\n", parent + 1);
            }
            let file = format!("d{}/e{}/f{}", dice.roll(3), dice.roll(3), dice.roll(4));
            stream += &format!("M 100644 inline {file}\ndata 5\n{number:04}\n\n");
            parents.push(above);
        }
        let mut import = sandbox.program("git", &sandbox.root(), &["fast-import", "--quiet"]);
        let mut import = import.stdin(Stdio::piped()).spawn().expect("git");
        import.stdin.take().expect("stdin").write_all(stream.as_bytes()).expect("stream");
        assert!(import.wait().expect("git").success());
        let id = |number| {
            CommitId::parse(&sandbox.git(&["rev-parse", &format!("refs/made/c{number}")])).expect("an id")
        };
        let ids = (0..size).map(id).collect();
        Self { sandbox, parents, ids }
    }

    /// A commit and all that it comes from.
    fn ancestors(&self, of: usize) -> BTreeSet<usize> {
        let (mut found, mut open) = (BTreeSet::new(), vec![of]);
        while let Some(number) = open.pop() {
            if found.insert(number) {
                open.extend(&self.parents[number]);
            }
        }
        found
    }

    /// Compares what is told of every commit against every one of `targets`.
    fn check(&self, targets: &[usize]) {
        let repo = Repo::at(&self.sandbox.root()).expect("repository");
        let commits = Commits::new(&repo).expect("commits");
        let tips: HashSet<CommitId> = self.ids.iter().cloned().collect();
        for &target in targets {
            let (to, had) = (&self.ids[target], self.ancestors(target));
            let found = ahead(&commits, to, &tips).expect("ahead");
            let forks = found.values().filter_map(|ahead| ahead.fork.clone()).collect();
            let counted = behind(&commits, to, &forks).expect("behind");
            for (number, id) in self.ids.iter().enumerate() {
                let has = self.ancestors(number);
                let about = format!("{number} against {target}");
                assert_eq!(found[id].commits, has.difference(&had).count(), "{about}");
                let missing = match &found[id].fork {
                    Some(fork) => {
                        let bases = self.sandbox.git(&["merge-base", "--all", to.as_str(), id.as_str()]);
                        assert_eq!(bases, fork.as_str(), "{about}");
                        counted[fork]
                    }
                    None => apart(&repo, id, to).expect("apart").1,
                };
                assert_eq!(missing, had.difference(&has).count(), "{about}");
            }
        }
    }
}

#[test]
fn many_tips_at_once_are_counted_as_one_by_one() {
    for seed in 0..4 {
        let history = History::random(seed, 40, |_, number| number * 60);
        history.check(&[39, 31, 12]);
    }
}

#[test]
fn clocks_that_stand_still_or_go_wrong_change_no_count() {
    History::random(7, 40, |_, _| 0).check(&[39, 20]);
    History::random(8, 40, |dice, number| number * 60 + dice.roll(1200)).check(&[39, 20]);
    History::random(9, 30, |_, number| (40 - number) * 60).check(&[29, 15]);
}

#[test]
fn commits_are_read_as_git_reads_them_however_they_are_written() {
    let sandbox = Sandbox::new();
    let (tree, parent) = (sandbox.git(&["rev-parse", "HEAD^{tree}"]), sandbox.git(&["rev-parse", "HEAD"]));
    let made = |head: &str, committer: &str, more: &str| {
        let text = format!("tree {tree}\n{head}author A <a> 1 +0000\ncommitter {committer}\n{more}\nx\n");
        let args = ["hash-object", "-wt", "commit", "--literally", "--stdin"];
        let mut program = sandbox.program("git", &sandbox.root(), &args);
        let mut made = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("git");
        made.stdin.take().expect("stdin").write_all(text.as_bytes()).expect("commit");
        let id = made.wait_with_output().expect("git").stdout;
        CommitId::parse(String::from_utf8_lossy(&id).trim()).expect("an id")
    };
    let one = format!("parent {parent}\n");
    let all = [
        made("", "A <a> 1700000001 +0000", ""),
        made(&one, " <> 1700000002 -1130", "encoding latin-1\n"),
        made(&one, "A > B < <a@b> 1700000003 +0000", "gpgsig -----BEGIN\n committer C <c> 7 +0000\n"),
        made(&one.repeat(2), "A <a> 0 +0000", ""),
    ];
    let repo = Repo::at(&sandbox.root()).expect("repository");
    let commits = Commits::new(&repo).expect("commits");
    for commit in &all {
        let time = sandbox.git(&["log", "-1", "--format=%ct", commit.as_str()]);
        assert_eq!(commits.committed_at(commit).expect("read").to_string(), time, "{commit}");
    }
    let tips: HashSet<CommitId> = all.iter().cloned().collect();
    let found = ahead(&commits, &CommitId::parse(&parent).expect("an id"), &tips).expect("ahead");
    assert!(all.iter().all(|commit| found[commit].commits == 1), "{found:?}");
    assert!(all[1..].iter().all(|commit| found[commit].fork.is_some()), "{found:?}");
    let tree = CommitId::parse(&tree).expect("an id");
    assert!(commits.committed_at(&tree).is_err(), "a tree is no commit");
}

/// Checks that the paths that differ are those that Git lists; how many there are.
fn assert_listed(sandbox: &Sandbox, repo: &Repo, from: &CommitId, to: &CommitId) -> usize {
    let git = |args: &[&str]| sandbox.git(args);
    let listed = git(&["diff-tree", "-r", "--no-renames", "--name-only", from.as_str(), to.as_str()]);
    let tree = |commit: &CommitId| repo.resolve(commit.as_str()).expect("commit").tree;
    let mut changes: Vec<Vec<u8>> =
        changed(repo, &tree(from), &tree(to)).expect("trees").into_iter().map(|change| change.path).collect();
    changes.sort();
    let mut listed: Vec<&[u8]> = listed.lines().map(str::as_bytes).collect();
    listed.sort();
    assert_eq!(changes, listed, "{from} {to}");
    // Asked for all the files that there are, and for every other one.
    let files = [from, to].map(|commit| git(&["ls-tree", "-r", "--name-only", commit.as_str()]));
    let files: BTreeSet<&[u8]> = files.iter().flat_map(|files| files.lines()).map(str::as_bytes).collect();
    for step in [1, 2] {
        let wanted: Vec<&[u8]> = files.iter().step_by(step).copied().collect();
        let expected: Vec<&[u8]> = listed.iter().filter(|path| wanted.contains(path)).copied().collect();
        assert_eq!(changed_among(repo, &wanted, from, to).expect("trees"), expected, "{from} {to}");
    }
    listed.len()
}

#[test]
fn changed_paths_are_counted_as_git_lists_them() {
    // As many as are worth more than one worker.
    let history = History::random(3, 130, |_, number| number * 60);
    let repo = Repo::at(&history.sandbox.root()).expect("repository");
    let commits = Commits::new(&repo).expect("commits");
    commits.read(&history.ids.iter().collect::<Vec<_>>());
    let pairs = (0..130).step_by(2).flat_map(|from| [(from, 129), (129, from), (from, (from * 7) % 130)]);
    let pairs: Vec<_> = pairs.map(|(from, to)| (&history.ids[from], &history.ids[to])).collect();
    let mut counted = BTreeMap::new();
    for (count, (from, to)) in counts(&commits, &pairs).into_iter().zip(pairs) {
        assert_eq!(count, Some(assert_listed(&history.sandbox, &repo, from, to)), "{from} {to}");
        *counted.entry(count).or_insert(0) += 1;
    }
    assert!(counted.len() > 3, "{counted:?}");
}

#[test]
fn a_file_that_becomes_a_folder_is_two_paths() {
    let sandbox = Sandbox::new();
    let before = CommitId::parse(&sandbox.git(&["rev-parse", "HEAD"])).expect("an id");
    sandbox.git(&["rm", "--quiet", "first"]);
    std::fs::create_dir(sandbox.root().join("first")).expect("folder");
    // Sorted between the file and the folder.
    std::fs::write(sandbox.root().join("first.txt"), "x\n").expect("write");
    let after = sandbox.commit("first/below");
    sandbox.git(&["update-index", "--chmod=+x", "first/below"]);
    sandbox.git(&["add", "first.txt"]);
    sandbox.git(&["commit", "--quiet", "--message", "mode"]);
    let (after, last) = (CommitId::parse(&after).expect("an id"), sandbox.git(&["rev-parse", "HEAD"]));
    let last = CommitId::parse(&last).expect("an id");
    let repo = Repo::at(&sandbox.root()).expect("repository");
    let commits = Commits::new(&repo).expect("commits");
    for (from, to) in [(&before, &after), (&after, &last), (&last, &before)] {
        assert_listed(&sandbox, &repo, from, to);
    }
    let counted = counts(&commits, &[(&before, &after), (&after, &last), (&last, &before)]);
    assert_eq!(counted, [Some(2), Some(2), Some(3)]);
}
