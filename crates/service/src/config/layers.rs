//! The layers below the flags, made into the flags' defaults.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::Error;
use super::file::{self, Value};

/// Where a value came from, as complaints print it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origin {
    /// Nobody gave one.
    Default,
    /// The file of `--config`.
    File {
        /// As given to `--config`.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// The variable of this name.
    Environment(String),
    /// The command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// The origin of every key that was given anywhere.
#[derive(Clone, Debug, Default)]
pub struct Origins(BTreeMap<String, Origin>);

impl Origins {
    /// [`Origin::Default`] for a key that nobody gave.
    pub fn of(&self, key: &str) -> Origin {
        self.0.get(key).cloned().unwrap_or(Origin::Default)
    }
}

pub(super) struct Layered {
    pub(super) matches: ArgMatches,
    pub(super) origins: Origins,
}

pub(super) fn apply(
    mut command: Command,
    args: &[OsString],
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Layered, Error> {
    // Value parsers and actions are known only after `build`, but arguments can be changed only before it.
    let mut built = command.clone();
    built.build();
    let mut lower = BTreeMap::new();
    if let Some(path) = config_path(&command, args, &environment) {
        read_file(&built, &path, &mut lower)?;
    }
    read_environment(&built, environment, &mut lower)?;

    let mut origins = Origins::default();
    for (key, given) in lower {
        command = command.mut_arg(&given.id, |arg| {
            arg.required(false).default_values(given.values)
        });
        origins.0.insert(key, given.origin);
    }
    let keys: Vec<(String, String)> = settings(&built)
        .map(|a| (a.get_id().to_string(), key_of(a)))
        .collect();
    let matches = command.try_get_matches_from(args).map_err(Error::Usage)?;
    for (id, key) in keys {
        if matches.value_source(&id) == Some(ValueSource::CommandLine) {
            origins
                .0
                .insert(key.clone(), Origin::Flag(format!("--{key}")));
        }
    }
    Ok(Layered { matches, origins })
}

/// A value of the file or of the environment, on its way to become a flag's default.
struct Given {
    id: String,
    values: Vec<String>,
    origin: Origin,
}

/// The arguments that are settings: all with a long name, except those that only make sense on a command line.
fn settings(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|a| {
        a.get_long().is_some() && !matches!(a.get_id().as_str(), "help" | "version" | "config")
    })
}

fn key_of(arg: &Arg) -> String {
    arg.get_long().unwrap_or_default().to_owned()
}

fn variable_of(key: &str) -> String {
    format!("DM_{}", key.to_uppercase().replace('-', "_"))
}

/// `--config` has to be known before the other flags can be parsed, since the file gives them their defaults. What is wrong with
/// the other flags is none of this function's business.
fn config_path(
    command: &Command,
    args: &[OsString],
    environment: &impl Fn(&str) -> Option<String>,
) -> Option<PathBuf> {
    let lenient = command.clone().ignore_errors(true);
    let given = lenient
        .try_get_matches_from(args)
        .ok()
        .and_then(|m| m.try_get_one::<PathBuf>("config").ok().flatten().cloned());
    given.or_else(|| environment("DM_CONFIG").map(PathBuf::from))
}

fn read_file(
    command: &Command,
    path: &Path,
    into: &mut BTreeMap<String, Given>,
) -> Result<(), Error> {
    for entry in file::read(path)? {
        let Some(arg) = find(command, &entry.key) else {
            let mut allowed: Vec<String> = settings(command)
                .filter(|a| !a.is_hide_set())
                .map(key_of)
                .collect();
            allowed.sort();
            return Err(Error::UnknownKey {
                path: path.to_owned(),
                line: entry.line,
                key: entry.key,
                allowed,
            });
        };
        let origin = Origin::File {
            path: path.to_owned(),
            line: entry.line,
        };
        let values = texts(arg, entry.value).map_err(|reason| Error::Invalid {
            origin: origin.clone(),
            key: entry.key.clone(),
            reason,
        })?;
        insert(arg, values, origin, into)?;
    }
    Ok(())
}

fn read_environment(
    command: &Command,
    environment: impl Fn(&str) -> Option<String>,
    into: &mut BTreeMap<String, Given>,
) -> Result<(), Error> {
    for arg in settings(command) {
        let name = variable_of(&key_of(arg));
        if let Some(value) = environment(&name) {
            insert(arg, vec![value], Origin::Environment(name), into)?;
        }
    }
    Ok(())
}

fn insert(
    arg: &Arg,
    values: Vec<String>,
    origin: Origin,
    into: &mut BTreeMap<String, Given>,
) -> Result<(), Error> {
    let key = key_of(arg);
    try_values(arg, &values).map_err(|reason| Error::Invalid {
        origin: origin.clone(),
        key: key.clone(),
        reason,
    })?;
    into.insert(
        key,
        Given {
            id: arg.get_id().to_string(),
            values,
            origin,
        },
    );
    Ok(())
}

/// By the long name or one of its aliases.
fn find<'a>(command: &'a Command, key: &str) -> Option<&'a Arg> {
    settings(command).find(|a| {
        a.get_long() == Some(key)
            || a.get_all_aliases()
                .is_some_and(|names| names.contains(&key))
    })
}

/// The TOML type must be the setting's own: a string is not taken for a number, nor the other way round.
/// Settings with a parser of their own (durations, choices) take strings and integers, and judge the text.
fn texts(arg: &Arg, value: Value) -> Result<Vec<String>, String> {
    let expected = expected_kind(arg);
    match (expected, value) {
        ("a string" | "text", Value::Text(text)) => Ok(vec![text]),
        ("text" | "an integer", Value::Integer(number)) => Ok(vec![number]),
        ("a boolean", Value::Boolean(value)) => Ok(vec![value.to_string()]),
        ("a list of strings", Value::List(items)) => Ok(items),
        ("a list of strings", Value::Text(text)) => Ok(vec![text]),
        (expected, found) => {
            let expected = if expected == "text" {
                "a string"
            } else {
                expected
            };
            Err(format!("is {}, must be {expected}", found.kind()))
        }
    }
}

fn expected_kind(arg: &Arg) -> &'static str {
    let parsed = arg.get_value_parser().type_id();
    let is = |types: &[TypeId]| types.iter().any(|t| parsed == *t);
    if matches!(arg.get_action(), ArgAction::Append) {
        "a list of strings"
    } else if is(&[TypeId::of::<bool>()]) {
        "a boolean"
    } else if is(&[
        TypeId::of::<u16>(),
        TypeId::of::<u32>(),
        TypeId::of::<u64>(),
        TypeId::of::<i64>(),
        TypeId::of::<usize>(),
    ]) {
        "an integer"
    } else if is(&[TypeId::of::<String>(), TypeId::of::<PathBuf>()]) {
        "a string"
    } else {
        "text"
    }
}

/// Runs the flag's own parser over the values, alone, so that what it says is about this key and this origin.
fn try_values(arg: &Arg, values: &[String]) -> Result<(), String> {
    let mut alone = arg.clone().required(false);
    if matches!(arg.get_action(), ArgAction::SetTrue | ArgAction::SetFalse) {
        alone = alone.action(ArgAction::Set).num_args(1);
    }
    let key = key_of(arg);
    let args =
        std::iter::once("check".to_owned()).chain(values.iter().map(|v| format!("--{key}={v}")));
    let command = Command::new("check").disable_help_flag(true).arg(alone);
    match command.try_get_matches_from(args) {
        Ok(_) => Ok(()),
        Err(e) => Err(reason_of(&e)),
    }
}

/// Clap's message is for a command line; what is wanted is the parser's own sentence, or its list of choices.
fn reason_of(error: &clap::Error) -> String {
    if let Some(source) = std::error::Error::source(error) {
        return source.to_string();
    }
    let text = error.to_string();
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|l| !l.starts_with("For more information") && !l.starts_with("Usage"))
        .filter(|l| !l.is_empty())
        .collect();
    lines.join(" ").trim_start_matches("error: ").to_owned()
}
