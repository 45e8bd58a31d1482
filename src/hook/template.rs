//! Hooks in the template that `git init` and `git clone` copy into new repositories
//! (`init.templateDir`). Only the user's own template is written to: Git's own belongs to the
//! system, and what is not configured is for the user to choose.
//!
//! A template is no repository, so there is no lock; each hook is replaced whole, and two
//! installers write the same.

use std::path::PathBuf;

use super::Side;
use super::files::{self, HookFile};
use super::install::{Change, Report, Way};
use crate::error::Error;
use crate::git::hooks::{GitVersion, template_folder};
use crate::store::atomic_file::Durability;

/// Puts ours into the template.
///
/// # Errors
/// [`Error::Refused`] if there is none.
pub fn install() -> Result<Report, Error> {
    each(|file| Ok(vec![(file.path(), file.put()?)]))
}

/// Takes ours out of the template.
///
/// # Errors
/// As [`install`].
pub fn uninstall() -> Result<Report, Error> {
    each(|file| Ok(file.take_out()?))
}

fn each(
    mut work: impl FnMut(HookFile<'_>) -> Result<Vec<(PathBuf, files::Done)>, Error>,
) -> Result<Report, Error> {
    let git = GitVersion::ask()?;
    let Some(template) = template_folder()? else {
        return Err(Error::Refused {
            message: "no template for new repositories is configured".to_owned(),
            hint: Some(
                "name a folder: git config --global init.templateDir ~/.config/git/template".to_owned(),
            ),
        });
    };
    let folder = template.join("hooks");
    let mut changes = Vec::new();
    for event in Side::Client.events() {
        let file = HookFile { folder: &folder, event, durability: Durability::PowerLoss };
        let done = work(file)?;
        changes.extend(done.into_iter().map(|(path, done)| Change { event, path, done }));
    }
    Ok(Report { git, way: Way::Files, changes, warnings: Vec::new() })
}
