//! Whom Git would name as author and committer, told without asking it.
//!
//! Git takes them from the environment, from configuration, and failing those from the
//! system; it trims and drops what it takes for dirt, and reads dates in dozens of forms.
//! Here is only what leaves no doubt; where there is any, the answer is `None`, and the git
//! program has to be asked.

use super::GitError;
use super::commit::raw_date;
use super::config::Config;

/// Author and committer, as they stand in a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identities {
    pub(super) author: String,
    pub(super) committer: String,
}

/// Whom `git commit-tree` would name with this configuration and environment; `None` where
/// only Git itself can tell, or would refuse.
///
/// # Errors
/// [`GitError`] for configuration that cannot be read.
pub(super) fn identities(
    config: &Config,
    variable: impl Fn(&str) -> Option<std::ffi::OsString>,
) -> Result<Option<Identities>, GitError> {
    let now = git2::Signature::now("now", "now")?.when();
    let one = |who: &str, section: &str| -> Result<Option<String>, GitError> {
        let field = |name: &str| -> Result<Option<String>, GitError> {
            if let Some(given) = variable(&format!("GIT_{who}_{}", name.to_uppercase())) {
                return Ok(given.into_string().ok().filter(|text| is_clean(text)));
            }
            for section in [section, "user"] {
                let value = config.get(&format!("{section}.{name}"))?.filter(|value| !value.text.is_empty());
                if let Some(value) = value {
                    // What a key without a value is read as, and what Git refuses here.
                    let told = value.text != "true" && is_clean(&value.text);
                    return Ok(told.then_some(value.text));
                }
            }
            Ok(None)
        };
        let date = match variable(&format!("GIT_{who}_DATE")) {
            Some(given) if !given.is_empty() => given.to_str().and_then(date),
            _ => Some(raw_date(now)),
        };
        let (name, email) = (field("name")?, field("email")?);
        Ok(name.zip(email).zip(date).map(|((name, email), date)| format!("{name} <{email}> {date}")))
    };
    let (author, committer) = (one("AUTHOR", "author")?, one("COMMITTER", "committer")?);
    Ok(author.zip(committer).map(|(author, committer)| Identities { author, committer }))
}

/// Whether Git would take `text` into an identity as it is. What it trims differs from version
/// to version; nothing that any of them trims is clean.
fn is_clean(text: &str) -> bool {
    let dirt = |c: char| c <= ' ' || ".,:;<>\"\\'".contains(c);
    !text.is_empty()
        && !text.starts_with(dirt)
        && !text.ends_with(dirt)
        && !text.contains(|c: char| c.is_control() || "<>".contains(c))
        && is_text_to_git(text)
}

/// Whether Git takes `text` for UTF-8: it does not if there are code points in it that are no
/// characters, and then takes all of it for Latin-1. Neither is what a lossy reading left.
pub(super) fn is_text_to_git(text: &str) -> bool {
    !text.contains(|c: char| {
        let point = u32::from(c);
        c == '\0'
            || c == char::REPLACEMENT_CHARACTER
            || (0xfdd0..=0xfdef).contains(&point)
            || point & 0xfffe == 0xfffe
    })
}

/// A date in one of the forms that every Git reads alike, as it stands in a commit:
/// `@SECONDS ±HHMM`, the same without `@` from nine digits on, `YYYY-MM-DDTHH:MM:SS` with `Z` or
/// an offset.
fn date(text: &str) -> Option<String> {
    if let Some(raw) = raw(text.strip_prefix('@').unwrap_or(text), text.starts_with('@')) {
        return Some(raw);
    }
    let time = text.get(..19).filter(|time| time.as_bytes()[10] == b'T' && !time.ends_with("60"))?;
    let offset = if &text[19..] == "Z" { "+0000" } else { &text[19..] };
    let offset = Offset::parse(offset)?;
    let local = chrono::NaiveDateTime::parse_from_str(time, "%Y-%m-%dT%H:%M:%S").ok()?.and_utc();
    let seconds = local.timestamp() - 60 * i64::from(offset.0);
    // Git knows no time before 1970, and guesses at years that are far away.
    let near = (100_000_000..4_102_444_800).contains(&seconds);
    near.then(|| raw_date(git2::Time::new(seconds, offset.0)))
}

fn raw(text: &str, marked: bool) -> Option<String> {
    let (digits, offset) = text.split_once(' ')?;
    if digits.is_empty() || digits.len() > 10 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = digits.parse().ok()?;
    let offset = Offset::parse(offset)?;
    (marked || seconds >= 100_000_000).then(|| raw_date(git2::Time::new(seconds, offset.0)))
}

/// Minutes east of Greenwich.
struct Offset(i32);

impl Offset {
    /// Reads `±HHMM` where there is such a place.
    fn parse(text: &str) -> Option<Self> {
        let (sign, digits) = text.split_at_checked(1)?;
        if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (hours, minutes): (i32, i32) = (digits[..2].parse().ok()?, digits[2..].parse().ok()?);
        let offset = (hours <= 14 && minutes < 60).then_some(hours * 60 + minutes)?;
        match sign {
            "+" => Some(Self(offset)),
            "-" => Some(Self(-offset)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::process::Command;

    use super::*;
    use crate::git::program::Program;

    /// What Git says, if it does not refuse.
    fn said(folder: &std::path::Path, variables: &HashMap<String, String>, which: &str) -> Option<String> {
        let mut git = Command::new("git");
        git.current_dir(folder).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        // A home without configuration and a host without a name: only what we give counts.
        git.env("HOME", folder).env("GIT_CONFIG_NOSYSTEM", "1").envs(variables);
        let output = git.args(["var", which]).output().expect("git");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    fn told(folder: &std::path::Path, variables: &HashMap<String, String>) -> Option<Identities> {
        let files = git2::Config::open(&folder.join(".git/config")).expect("configuration");
        let program = Program::new(&folder.join(".git"), None, false);
        let no_system = |name: &str| (name == "GIT_CONFIG_NOSYSTEM").then(|| "1".into());
        let config = Config::within(&files, program, no_system).expect("config");
        identities(&config, |name| variables.get(name).map(Into::into)).expect("identities")
    }

    fn repository(settings: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("folder");
        git2::Repository::init(folder.path()).expect("repository");
        let mut config = git2::Config::open(&folder.path().join(".git/config")).expect("configuration");
        for (key, value) in settings {
            config.set_str(key, value).expect("set");
        }
        folder
    }

    const NAMES: [&str; 10] =
        ["Ada", "A. B", "Jr.", " spaced ", "", "<x>", "é ü", "a\u{7}b", "x\u{fffe}y", "true"];

    #[test]
    fn names_and_addresses_are_git_s_or_none() {
        let mut sure = 0;
        for (at, name) in NAMES.iter().enumerate() {
            let other = NAMES[(at + 6) % NAMES.len()];
            let settings: &[&[(&str, &str)]] = &[
                &[],
                &[("user.name", name), ("user.email", "a@b")],
                &[
                    ("user.name", "U"),
                    ("user.email", "u@b"),
                    ("author.name", name),
                    ("committer.email", other),
                ],
                &[("author.name", name), ("author.email", "a@b"), ("user.useConfigOnly", "true")],
            ];
            for settings in settings {
                let folder = repository(settings);
                for given in [&[][..], &["AUTHOR_NAME"][..], &["AUTHOR_NAME", "COMMITTER_EMAIL"][..]] {
                    let mut variables: HashMap<String, String> =
                        given.iter().map(|key| (format!("GIT_{key}"), other.to_owned())).collect();
                    for who in ["AUTHOR", "COMMITTER"] {
                        variables.insert(format!("GIT_{who}_DATE"), "@1700000000 +0130".to_owned());
                    }
                    let Some(ours) = told(folder.path(), &variables) else { continue };
                    sure += 1;
                    let about = format!("{settings:?} {variables:?}");
                    let git = |which| said(folder.path(), &variables, which);
                    assert_eq!(git("GIT_AUTHOR_IDENT").as_ref(), Some(&ours.author), "{about}");
                    assert_eq!(git("GIT_COMMITTER_IDENT").as_ref(), Some(&ours.committer), "{about}");
                }
            }
        }
        assert!(sure > 10, "{sure}");
    }

    #[test]
    fn dates_are_git_s_or_none() {
        let folder = repository(&[("user.name", "A"), ("user.email", "a@b")]);
        let (mut sure, mut unsure) = (0, 0);
        for date in [
            "@0 +0000",
            "@1700000000 -0730",
            "1700000000 +1400",
            "99999999 +0000",
            "@12345678901 +0000",
            "@1700000000 +0060",
            "@1700000000 -0000",
            "@1700000000",
            "@1700000000 +100",
            "2026-01-02T03:04:05Z",
            "2026-01-02T03:04:05-0330",
            "2026-02-30T03:04:05Z",
            "2026-01-02T03:04:60Z",
            "1969-01-02T03:04:05Z",
            "2026-01-02T03:04:05",
            "2026-01-02 03:04:05Z",
            "Fri, 2 Jan 2026 03:04:05 +0100",
            "yesterday",
            "nonsense",
        ] {
            let variables = HashMap::from([("GIT_COMMITTER_DATE".to_owned(), date.to_owned())]);
            match told(folder.path(), &variables) {
                Some(ours) => {
                    let git = said(folder.path(), &variables, "GIT_COMMITTER_IDENT");
                    assert_eq!(git, Some(ours.committer), "{date}");
                    sure += 1;
                }
                None => unsure += 1,
            }
        }
        assert!(sure >= 6 && unsure >= 6, "{sure} {unsure}");
    }

    #[test]
    fn an_empty_date_is_now() {
        let folder = repository(&[("user.name", "A"), ("user.email", "a@b")]);
        let variables = HashMap::from([("GIT_AUTHOR_DATE".to_owned(), String::new())]);
        let seconds = |ident: &str| ident.rsplit(' ').nth(1).and_then(|text| text.parse::<i64>().ok());
        let before = said(folder.path(), &variables, "GIT_AUTHOR_IDENT").as_deref().and_then(seconds);
        let ours = told(folder.path(), &variables).expect("identities").author;
        let after = said(folder.path(), &variables, "GIT_AUTHOR_IDENT").expect("an identity");
        assert!(before <= seconds(&ours) && seconds(&ours) <= seconds(&after), "{before:?} {ours} {after}");
        assert_eq!(ours.rsplit(' ').next(), after.rsplit(' ').next());
    }
}
