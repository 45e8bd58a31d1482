//! Making a commit of a tree: message, trailers, signature.

use std::process::Command;

use super::ident::{Identities, identities, is_text_to_git};
use super::program::Program;
use super::repo::commit_id;
use super::trailer_block::{Parts, parts, scissors};
use super::write_tree::may_write;
use super::{GitError, Repo};
use crate::names::{CommitId, TreeId};

/// `message` with `trailers` in the block of trailers that it ends with, if it does, else in a
/// paragraph of their own: where `git interpret-trailers` would put them. A value's line breaks
/// become spaces, so that no value can add a trailer.
#[must_use]
pub fn with_trailers(message: &str, trailers: &[(&str, String)]) -> String {
    let message = format!("{}\n", message.trim());
    let mut ours = String::new();
    for (key, value) in trailers {
        let value: String = value.split(|c: char| c.is_control()).collect::<Vec<_>>().join(" ");
        ours.push_str(&format!("{key}: {value}\n"));
    }
    let Parts { above, block, .. } = parts(&message);
    let with = |end: usize, gap: &str| {
        let (text, ignored) = (message[..end].trim_end(), message[end..].trim());
        let below = if ignored.is_empty() { String::new() } else { format!("\n{ignored}\n") };
        format!("{text}\n{gap}{ours}{below}")
    };
    let made = with(above.len() + block.len(), if block.is_empty() { "\n" } else { "" });
    if parts(&made).block.ends_with(&ours) {
        return made;
    }
    // A message that Git would ignore throughout (comments, conflicts) has that for its title.
    with(scissors(&message), "\n")
}

/// Commits `tree` on `parents`: author and committer are whom Git would name. Signed where
/// `commit.gpgSign` says so, which `git commit-tree` does not look at. The user's git makes the
/// commit where it has to sign, or where only it knows who commits.
///
/// # Errors
/// [`GitError::Program`] with what Git says, such as that `user.name` is missing.
pub fn commit(
    repo: &Repo,
    tree: &TreeId,
    parents: &[&CommitId],
    message: &str,
) -> Result<CommitId, GitError> {
    let signs = repo.config()?.bool("commit.gpgSign")?.unwrap_or(false);
    if !signs && let Some(commit) = commit_here(repo, tree, parents, message)? {
        return Ok(commit);
    }
    // Our message is UTF-8, whatever `i18n.commitEncoding` says: Git would put that label on
    // it and not convert anything.
    let mut args = vec!["-c", "i18n.commitEncoding=UTF-8", "commit-tree", "-F", "-"];
    args.extend(parents.iter().flat_map(|parent| ["-p", parent.as_str()]));
    if signs {
        args.push("-S");
    }
    args.push(tree.as_str());
    commit_by(&mut repo.program().command(args), message.as_bytes())
}

/// The commit that `git commit-tree` would make without a signature; `None` where only Git can
/// tell what it would be.
fn commit_here(
    repo: &Repo,
    tree: &TreeId,
    parents: &[&CommitId],
    message: &str,
) -> Result<Option<CommitId>, GitError> {
    if !may_write(repo)? || !is_text_to_git(message) || message.is_empty() {
        return Ok(None);
    }
    let Some(Identities { author, committer }) = identities(repo.config()?, |name| std::env::var_os(name))?
    else {
        return Ok(None);
    };
    let mut text = format!("tree {tree}\n");
    for parent in parents {
        text.push_str(&format!("parent {parent}\n"));
    }
    let end = if message.ends_with('\n') { "" } else { "\n" };
    text.push_str(&format!("author {author}\ncommitter {committer}\n\n{message}{end}"));
    let id = repo.raw().odb()?.write(git2::ObjectType::Commit, text.as_bytes())?;
    Ok(Some(commit_id(id)))
}

/// Commits `tree` on `parent` as `original` was committed: its author, its author's date, its
/// message. Committer and signature are the user's, as after a rebase.
///
/// # Errors
/// As [`commit`].
pub fn commit_again(
    repo: &Repo,
    original: &CommitId,
    tree: &TreeId,
    parent: &CommitId,
) -> Result<CommitId, GitError> {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let original = repo.raw().find_commit(repo.oid(original.as_str())?)?;
    let encoding = original.message_encoding().ok().flatten().unwrap_or("UTF-8");
    let encoding = format!("i18n.commitEncoding={encoding}");
    let mut args = vec!["-c", &encoding, "commit-tree", "-F", "-", "-p", parent.as_str()];
    if repo.config()?.bool("commit.gpgSign")?.unwrap_or(false) {
        args.push("-S");
    }
    args.push(tree.as_str());
    let author = original.author();
    let date = format!("@{}", raw_date(author.when()));
    let mut command = repo.program().command(args);
    command
        .env("GIT_AUTHOR_NAME", OsStr::from_bytes(author.name_bytes()))
        .env("GIT_AUTHOR_EMAIL", OsStr::from_bytes(author.email_bytes()))
        .env("GIT_AUTHOR_DATE", date);
    commit_by(&mut command, original.message_raw_bytes())
}

/// A date as Git stores it: seconds since 1970 and the offset from UTC.
pub(in crate::git) fn raw_date(when: git2::Time) -> String {
    let (offset, sign) = (when.offset_minutes().abs(), if when.offset_minutes() < 0 { '-' } else { '+' });
    format!("{} {sign}{:02}{:02}", when.seconds(), offset / 60, offset % 60)
}

/// The commit that `git commit-tree` makes.
fn commit_by(command: &mut Command, message: &[u8]) -> Result<CommitId, GitError> {
    let output = Program::run(command, Some(message))?;
    let id = String::from_utf8_lossy(&output).trim().to_owned();
    CommitId::parse(&id).map_err(|_| GitError::Program {
        command: "commit-tree".to_owned(),
        status: "exit status: 0".to_owned(),
        stderr: format!("it printed no commit: {id}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailers_join_a_block_that_is_there() {
        let trailers = [("Heddle-Thread", "fix".to_owned())];
        assert_eq!(with_trailers("Fix it\n", &trailers), "Fix it\n\nHeddle-Thread: fix\n");
        let signed = "Fix it\n\nBody.\n\nSigned-off-by: A <a@b>";
        assert_eq!(with_trailers(signed, &trailers), format!("{signed}\nHeddle-Thread: fix\n"));
        assert_eq!(with_trailers("feat: it", &trailers), "feat: it\n\nHeddle-Thread: fix\n");
    }

    #[test]
    fn a_value_cannot_add_a_trailer() {
        let text = with_trailers("x", &[("Heddle-Agent", "a\nHeddle-Thread: b".to_owned())]);
        assert_eq!(text, "x\n\nHeddle-Agent: a Heddle-Thread: b\n");
    }
}
