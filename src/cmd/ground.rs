//! What every command that works on a repository begins with.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::agent::Actor;
use crate::cli::Settings;
use crate::context::Context;
use crate::error::Error;
use crate::git::{GitError, Repo};
use crate::names::SessionId;
use crate::ops::acting::Claim;
use crate::output::hints::Narrator;
use crate::output::text::Style;
use crate::output::{self, Format, Stdout};
use crate::session::SessionError;
use crate::session::token::Token;

/// What is longer is no token.
const TOKEN_MAX: u64 = 64 << 10;

/// A command at work: its ground and where its words go.
pub struct Ground<'a> {
    /// The ground of the operation.
    pub context: &'a Context<'a>,
    /// The form of the output.
    pub format: Format,
    /// The global options.
    pub settings: &'a Settings,
    /// Where data goes.
    pub out: &'a mut Stdout,
    /// Where narration goes.
    pub narrator: &'a Narrator<'a>,
    /// Whether a person looks at standard output.
    pub terminal: bool,
}

impl Ground<'_> {
    /// How text is to look.
    ///
    /// # Errors
    /// [`GitError::BadConfig`].
    pub fn style(&self) -> Result<Style, Error> {
        let configured = self.context.repo.config()?.get("color.ui")?.map(|value| value.text);
        Ok(Style {
            color: output::colored(self.settings.color, configured.as_deref(), self.terminal),
            width: output::width(self.terminal),
            now: self.context.platform.now().wall,
        })
    }

    /// Prints `document`, or `text` made of it where a person asked.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn print<T: serde::Serialize>(
        &mut self,
        document: &T,
        text: impl FnOnce(&T, &Style) -> String,
    ) -> Result<(), Error> {
        match self.format {
            Format::Json => self.out.json(document),
            Format::Text => {
                let text = text(document, &self.style()?);
                self.out.text(&text)
            }
        }
        .map_err(Error::Output)
    }
}

/// Goes where `-C` says and opens the repository that Git would use there.
///
/// # Errors
/// [`GitError::Unusable`] for a folder that is not there; as [`Repo::open`].
pub fn open(settings: &Settings) -> Result<Repo, Error> {
    for folder in &settings.directories {
        // Git's rule: an empty one means "here".
        if folder.as_os_str().is_empty() {
            continue;
        }
        std::env::set_current_dir(folder).map_err(|error| GitError::Unusable {
            path: folder.clone(),
            reason: format!("cannot change to it: {error}"),
        })?;
    }
    let start = settings.repo.clone().unwrap_or_else(|| PathBuf::from("."));
    let repo = Repo::open(&start)?;
    repo.share()?;
    Ok(repo)
}

/// On whose behalf a command acts: flags first, then the environment.
///
/// # Errors
/// [`SessionError::NotNamed`], [`SessionError::TokenUnusable`].
pub fn claim(actor: &Actor) -> Result<Claim, Error> {
    let session = actor.session.clone().or_else(|| environment("HEDDLE_SESSION"));
    let session = session.filter(|id| !id.is_empty()).ok_or(SessionError::NotNamed)?;
    let token = match &actor.token_file {
        Some(file) => Some(token_from(file)?),
        None => match environment("HEDDLE_TOKEN") {
            None => None,
            Some(text) => Some(Token::given(&text).ok_or_else(|| SessionError::TokenUnusable {
                from: "HEDDLE_TOKEN".to_owned(),
                reason: "it is empty".to_owned(),
            })?),
        },
    };
    Ok(Claim { session: SessionId::parse(&session)?, token })
}

/// As [`claim`], where a session need not be named.
///
/// # Errors
/// As [`claim`], but for [`SessionError::NotNamed`].
pub fn claim_if_any(actor: &Actor) -> Result<Option<Claim>, Error> {
    match claim(actor) {
        Err(Error::Session(SessionError::NotNamed)) => Ok(None),
        claim => claim.map(Some),
    }
}

/// A variable of the environment. What is not UTF-8 is not taken for absent: with what stands in
/// for it, it is no session's id, no token that was given out, and nobody's voucher.
#[must_use]
pub fn environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// Reads a token from a file or a pipe, `-` being standard input, and no more than a token can have.
///
/// # Errors
/// [`SessionError::TokenUnusable`].
pub fn token_from(file: &Path) -> Result<Token, Error> {
    let unusable = |reason: String| {
        Error::from(SessionError::TokenUnusable { from: file.display().to_string(), reason })
    };
    let mut bytes = Vec::new();
    let read = open_text(file).and_then(|text| text.take(TOKEN_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|error| unusable(error.to_string()))?;
    if bytes.len() as u64 > TOKEN_MAX {
        return Err(unusable(format!("it is longer than {TOKEN_MAX} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|_| unusable("it is not UTF-8".to_owned()))?;
    Token::given(&text).ok_or_else(|| unusable("it is empty".to_owned()))
}

/// Reads a file as text, `-` being standard input.
///
/// # Errors
/// As the system says.
pub fn read_text(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    open_text(file)?.read_to_string(&mut text)?;
    Ok(text)
}

/// Opens a file to be read, `-` being standard input.
fn open_text(file: &Path) -> std::io::Result<Box<dyn Read>> {
    Ok(if file == Path::new("-") { Box::new(std::io::stdin()) } else { Box::new(File::open(file)?) })
}
