//! Arguments that are defined when they are needed.
//!
//! To define all options of all commands takes longer than most commands take, and touches
//! memory that nothing else does. Of a command line only those along its own words are needed;
//! where everything is asked for, [`clap::Command::build`] has everything defined.

use std::ops::Deref;

use clap::{ArgMatches, Command, Error, FromArgMatches};

/// The arguments `T` of a command, or the commands `T` below it, which its definition has once
/// that is needed, and then what all commands have in common.
#[derive(Debug)]
pub struct Late<T>(T);

impl<T> Late<T> {
    /// What was given.
    #[must_use]
    pub fn given(self) -> T {
        self.0
    }
}

impl<T> Deref for Late<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: clap::Args> clap::Args for Late<T> {
    fn augment_args(command: Command) -> Command {
        command.defer(|command| complete(command, T::augment_args))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<T: clap::Subcommand> clap::Subcommand for Late<T> {
    fn augment_subcommands(command: Command) -> Command {
        command.defer(|command| complete(command, T::augment_subcommands))
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        T::has_subcommand(name)
    }
}

impl<T: FromArgMatches> FromArgMatches for Late<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        T::from_arg_matches(matches).map(Self)
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, Error> {
        T::from_arg_matches_mut(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }

    fn update_from_arg_matches_mut(&mut self, matches: &mut ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches_mut(matches)
    }
}

/// Has `define` add what `command` has for itself, keeping what its table says that it is about.
fn complete(command: Command, define: impl FnOnce(Command) -> Command) -> Command {
    let about = command.get_about().cloned().unwrap_or_default();
    super::with_globals(define(command).about(about))
}
