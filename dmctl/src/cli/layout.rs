//! How usage and help look: as DM's, which clap's own do not.

use clap::{Arg, ArgAction, CommandFactory};

use super::Line;

/// Path of each command and what its usage line says after it. A command without a line has only others below it.
pub(super) const USES: [(&str, &str); 49] = [
    (
        "start-task",
        "[-s source ...] [--remove-meta] <config-file>",
    ),
    ("check-task", "<config-file> [--error count] [--warn count]"),
    ("stop-task", "[-s source ...] [task-name | task-file]"),
    ("pause-task", "[-s source ...] [task-name | task-file]"),
    ("resume-task", "[-s source ...] [task-name | task-file]"),
    (
        "query-status",
        "[-s source ...] [task-name | task-file] [--more]",
    ),
    (
        "operate-source",
        "<operate-type> [config-file ...] [-w worker] [--print-sample-config]",
    ),
    ("transfer-source", "<source-id> <worker-id>"),
    ("start-relay", "<-s source-id>"),
    ("stop-relay", "<-s source-id>"),
    ("pause-relay", "<-s source ...>"),
    ("resume-relay", "<-s source ...>"),
    (
        "purge-relay",
        "<-s source> <-f filename> [--sub-dir directory]",
    ),
    ("shard-ddl-lock", "[task]"),
    ("shard-ddl-lock unlock", "<lock-id>"),
    ("show-ddl-locks", "[-s source ...] [task-name | task-file]"),
    ("unlock-ddl-lock", "<lock-ID>"),
    ("binlog skip", "<task-name>"),
    (
        "binlog replace",
        "<task-name> <replace-sql1> <replace-sql2>...",
    ),
    (
        "binlog inject",
        "<task-name> <inject-sql1> <inject-sql2>...",
    ),
    ("binlog revert", "<task-name>"),
    ("binlog list", "<task-name>"),
    (
        "handle-error",
        "<task-name | task-file> [-s source ...] [-b binlog-pos] <skip/replace/revert> [replace-sql1;replace-sql2;]",
    ),
    ("binlog-schema list", "<task-name> <database> <table>"),
    (
        "binlog-schema update",
        "<task-name> <database> <table> [schema-file]",
    ),
    ("binlog-schema delete", "<task-name> <database> <table>"),
    (
        "operate-schema",
        "<operate-type> <-s source ...> <task-name | task-file> <-d database> <-t table> [schema-file] [--flush] [--sync]",
    ),
    ("validation start", "[--all-task] [task-name]"),
    ("validation stop", "[--all-task] [task-name]"),
    ("validation update", "[task-name]"),
    ("validation status", "[--table-stage stage] <task-name>"),
    ("validation show-error", "[--error error-state] <task-name>"),
    ("validation ignore-error", MARK_USE),
    ("validation resolve-error", MARK_USE),
    ("validation clear-error", MARK_USE),
    ("config task", "[task-name]"),
    ("config source", "[source-name]"),
    ("config master", "[master-name]"),
    ("config worker", "[worker-name]"),
    ("config task-template", "[task-name]"),
    ("config export", ""),
    ("config import", ""),
    (
        "get-config",
        "<task | master | worker | source> <name> [--file filename]",
    ),
    ("get-task-config", "<name> [--file filename]"),
    ("encrypt", "<plain-text>"),
    (
        "list-member",
        "[--leader] [--master] [--worker] [--name master-name/worker-name ...]",
    ),
    (
        "offline-member",
        "<--master/--worker> <--name master-name/worker-name>",
    ),
    ("operate-leader", "<operate-type>"),
    ("transfer-leader", "<role> <member-name>"),
];

const MARK_USE: &str = "<task-name> <error-id|--all>";

const GROUP_HELP: &str = "{about}\n\nUsage:\n  {usage}\n\nAvailable Commands:\n{subcommands}\n\nFlags:\n{options}\n\nUse \"dmctl [command] --help\" for more information about a command.";
const COMMAND_HELP: &str = "{about}\n\nUsage:\n  {usage}\n\nFlags:\n{options}";

/// The usage text of a command, as it stands above the error about wrong arguments.
pub fn usage(path: &[&str]) -> String {
    let help = help(path);
    let usage = help.find("Usage:").map_or("", |at| &help[at..]);
    usage.to_owned()
}

/// The whole help text of a command, which is the answer of some to a wrong number of arguments.
pub fn help(path: &[&str]) -> String {
    let mut root = shaped(Line::command());
    root.build();
    let mut command = &mut root;
    for name in path {
        command = match command.find_subcommand_mut(name) {
            Some(command) => command,
            None => return String::new(),
        };
    }
    command.render_help().to_string().trim_end().to_owned()
}

/// Derived commands do not know DM's layout of help, nor that a switch may be written `--more=false`.
pub(super) fn shaped(root: clap::Command) -> clap::Command {
    let root = root
        .help_template(GROUP_HELP)
        .override_usage("dmctl [command] [flags]")
        .mut_args(switchable);
    below(root, "")
}

/// The same for the commands below the one at `parent`.
fn below(command: clap::Command, parent: &str) -> clap::Command {
    let names: Vec<String> = command
        .get_subcommands()
        .map(|below| below.get_name().to_owned())
        .collect();
    names.into_iter().fold(command, |command, name| {
        let path = format!("{parent} {name}").trim_start().to_owned();
        command.mut_subcommand(name, |command| {
            let use_line = USES.iter().find(|(known, _)| *known == path);
            let command = command.mut_args(switchable);
            let command = match use_line {
                Some((_, words)) => command
                    .help_template(COMMAND_HELP)
                    .override_usage(use_of(&path, words)),
                None => command
                    .help_template(GROUP_HELP)
                    .override_usage(format!("dmctl {path} [command]")),
            };
            below(command, &path)
        })
    })
}

fn use_of(path: &str, words: &str) -> String {
    if words.is_empty() {
        format!("dmctl {path} [flags]")
    } else {
        format!("dmctl {path} {words} [flags]")
    }
}

fn switchable(arg: Arg) -> Arg {
    if !matches!(arg.get_action(), ArgAction::SetTrue) {
        return arg;
    }
    arg.action(ArgAction::Set)
        .value_parser(clap::builder::BoolishValueParser::new())
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .default_value("false")
        .value_name("bool")
        .hide_default_value(true)
        .hide_possible_values(true)
}
