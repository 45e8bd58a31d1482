//! Refs among those of threads that no thread has: plain Git makes any.

use crate::context::Context;
use crate::git::GitError;
use crate::git::audit::RefValue;
use crate::names::ThreadName;

/// Such a ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// Its name, escaped where it is not UTF-8.
    pub refname: String,
    /// Why it is no thread's.
    pub why: String,
}

/// Those below `prefix`, which ends in `/`, and what follows it in the names of threads' refs.
///
/// # Errors
/// [`GitError::Library`] if refs cannot be listed.
pub fn strays(context: &Context<'_>, prefix: &str) -> Result<Vec<Stray>, GitError> {
    let all = context.repo.all_refs(prefix)?.into_iter();
    let stray = all.filter_map(|(refname, value)| {
        let why = match value {
            RefValue::Unusable(why) => why,
            RefValue::Id(_) => ThreadName::parse(&refname[prefix.len()..]).err()?.to_string(),
        };
        Some(Stray { refname, why })
    });
    Ok(stray.collect())
}
