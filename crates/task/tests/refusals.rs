//! Every code that the description of task and source files names comes from some file, and every file that is refused gets a
//! code that is named there.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};

use dm_errors::DmError;
use dm_keyspace::SourceId;
use dm_task::{SourceConfig, TaskConfig};

const DOCUMENT: &str = include_str!("../../../docs/tasks.md");

/// What only a server can tell: no connection, no GTIDs, tables that two routes match.
const OF_SERVERS: [u32; 3] = [10001, 26007, 11043];

const TASK: &str = "\
name: t
task-mode: all
target-database: {host: h, port: 4000, user: u, password: \"\"}
mysql-instances:
  - source-id: s1
";

/// Replaced in the task: what, by what.
type Edit = (&'static str, &'static str);

/// After the first instance.
const fn more(text: &'static str) -> Edit {
    ("s1\n", text)
}

const SETTINGS: &[(u32, &[Edit])] = &[
    (
        20015,
        &[more("s1\n    mydumper: {}\n    mydumper-config-name: x\n")],
    ),
    (
        20016,
        &[more("s1\n    loader: {}\n    loader-config-name: x\n")],
    ),
    (
        20017,
        &[more("s1\n    syncer: {}\n    syncer-config-name: x\n")],
    ),
    (20027, &[more("s1\n    mydumper-config-name: x\n")]),
    (20028, &[more("s1\n    mydumper: {mydumper-path: \"\"}\n")]),
    (20029, &[more("s1\n    loader-config-name: x\n")]),
    (20030, &[more("s1\n    syncer-config-name: x\n")]),
    (20047, &[more("s1\n    mydumper: {chunk-filesize: x}\n")]),
    (20053, &[more("s1\n    loader: {import-mode: x}\n")]),
    (
        20054,
        &[more("s1\n    loader: {on-duplicate-logical: x}\n")],
    ),
    (
        20055,
        &[more(
            "s1\n    validator-config-name: v\nvalidators: {v: {mode: x}}\n",
        )],
    ),
    (20056, &[more("s1\n    validator-config-name: x\n")]),
    (20058, &[more("s1\n    loader: {dir: \"s3://b ad/%zz\"}\n")]),
    (
        20059,
        &[more(
            "s1\n    loader: {dir: \"s3://b/d\", import-mode: loader}\n",
        )],
    ),
    (20060, &[more("s1\n    syncer: {safe-mode-duration: x}\n")]),
    (
        20061,
        &[more(
            "s1\n    syncer: {safe-mode: true, safe-mode-duration: 0s}\n",
        )],
    ),
    (
        20062,
        &[more("s1\n    loader: {on-duplicate-physical: x}\n")],
    ),
    (20063, &[more("s1\n    loader: {checksum-physical: x}\n")]),
    (20065, &[more("s1\n    loader: {analyze: x}\n")]),
    (
        20068,
        &[more(
            "s1\n    loader: {import-mode: import-into, dir: \"s3://b/d\"}\n  - source-id: s2\n",
        )],
    ),
    (
        20068,
        &[more(
            "s1\n    loader: {import-mode: import-into, dir: \"s3://b/d\"}\nshard-mode: pessimistic\n",
        )],
    ),
    (
        20069,
        &[more("s1\n    loader: {import-mode: import-into}\n")],
    ),
    (
        20070,
        &[
            (
                "password: \"\"",
                "password: \"\", session: {foreign_key_checks: 1}",
            ),
            more("s1\n    syncer: {compact: true}\n"),
        ],
    ),
    (
        20070,
        &[
            (
                "password: \"\"",
                "password: \"\", session: {FOREIGN_KEY_CHECKS: \"'ON'\"}",
            ),
            more("s1\n    syncer: {multiple-rows: true}\n"),
        ],
    ),
];

const RULES: &[(u32, &[Edit])] = &[
    (20023, &[more("s1\n    route-rules: [x]\n")]),
    (20024, &[more("s1\n    filter-rules: [x]\n")]),
    (20026, &[more("s1\n    block-allow-list: x\n")]),
    (
        20032,
        &[more(
            "s1\n    route-rules: [r, r]\nroutes: {r: {schema-pattern: a, target-schema: b}}\n",
        )],
    ),
    (
        20037,
        &[more(
            "s1\n    filter-rules: [f]\nfilters: {f: {schema-pattern: a, action: x}}\n",
        )],
    ),
    (
        20038,
        &[more("s1\nfilters: {f: {schema-pattern: a, action: Do}}\n")],
    ),
    (
        20039,
        &[more(
            "s1\n    expression-filters: [e]\nexpression-filter: {e: {schema: s, table: t, insert-value-expr: a, delete-value-expr: b}}\n",
        )],
    ),
    (20040, &[more("s1\n    expression-filters: [x]\n")]),
    (
        20041,
        &[more(
            "s1\n    expression-filters: [e]\nexpression-filter: {e: {schema: s, table: t, insert-value-expr: a >}}\n",
        )],
    ),
    (
        20042,
        &[more(
            "s1\n    expression-filters: [e]\nexpression-filter: {e: {schema: s}}\n",
        )],
    ),
    (
        20044,
        &[more(
            "s1\n    block-allow-list: l\nblock-allow-list: {l: {do-dbs: [\"\"]}}\n",
        )],
    ),
    (
        20045,
        &[more(
            "s1\n    route-rules: [r]\nroutes: {r: {schema-pattern: a}}\n",
        )],
    ),
];

const WHOLE: &[(u32, &[Edit])] = &[
    (20001, &[more("s1\nignore-checking-items: [x]\n")]),
    (20003, &[more("s1\nx: y\n")]),
    (20005, &[("source-id: s1", "meta: {binlog-name: b}")]),
    (20007, &[more("s1\nonline-ddl-scheme: x\n")]),
    (20008, &[more("s1\ntimezone: SYSTEM\n")]),
    (20011, &[more("s1\n    meta: {binlog-pos: 4}\n")]),
    (20012, &[("  - source-id: s1\n", "  -\n")]),
    (
        20013,
        &[(
            "mysql-instances:\n  - source-id: s1\n",
            "mysql-instances: []\n",
        )],
    ),
    (20014, &[more("s1\n  - source-id: s1\n")]),
    (20019, &[("name: t\n", "")]),
    (20020, &[("task-mode: all\n", "")]),
    (20020, &[("task-mode: all", "task-mode: All")]),
    (
        20021,
        &[(
            "target-database: {host: h, port: 4000, user: u, password: \"\"}\n",
            "",
        )],
    ),
    (20031, &[("s1", "s9")]),
    (20033, &[more("s1\nshard-mode: x\n")]),
    (20048, &[more("s1\nshadow-table-rules: [x]\n")]),
    (20048, &[more("s1\ntrash-table-rules: [\"(\"]\n")]),
    (20052, &[more("s1\ncollation_compatible: x\n")]),
    (20064, &[more("s1\ncolumn-mappings: {x: {}}\n")]),
    (20066, &[more("s1\nstrict-optimistic-shard-mode: true\n")]),
];

const SOURCES: &[(u32, &str)] = &[
    (20003, "source-id: s\nx: y\n"),
    (
        20037,
        "source-id: s\nfilters: [{schema-pattern: a, action: x}]\n",
    ),
    (20043, "source-id: s\nchecker: {backoff-max: 10ms}\n"),
    (40005, "enable: true\n"),
    (40006, "source-id: an-id-of-thirty-three-characters-\n"),
    (40007, "source-id: s\nrelay-binlog-name: x\n"),
    (11010, "source-id: s\nflavor: oracle\n"),
];

fn split(text: &str) -> Result<(), DmError> {
    let source = |id: &str| {
        let text = format!("source-id: {id}\nfrom: {{host: h, port: 1, user: u}}\n");
        (
            SourceId::from(id),
            SourceConfig::from_yaml("", &text).unwrap(),
        )
    };
    let sources: BTreeMap<SourceId, SourceConfig> = ["s1", "s2"].map(source).into();
    TaskConfig::from_yaml("task.yaml", text)?
        .split(&sources)
        .map(drop)
}

fn edited(edits: &[Edit]) -> String {
    edits.iter().fold(TASK.to_owned(), |text, (find, replace)| {
        assert!(text.contains(find), "{find}");
        text.replacen(find, replace, 1)
    })
}

/// The codes that the document names for files, before it comes to the checks of servers.
fn documented() -> BTreeSet<u32> {
    let (files, _) = DOCUMENT.split_once("## Prechecks").unwrap();
    let numbers = files.split(|c: char| !c.is_ascii_digit());
    let codes = numbers.filter(|number| number.len() == 5);
    codes.map(|code| code.parse().unwrap()).collect()
}

#[test]
fn every_code_that_is_documented_for_files_comes_from_one_and_the_others_are_documented() {
    assert!(split(TASK).is_ok());
    let mut seen = BTreeSet::from(OF_SERVERS);
    for (code, edits) in WHOLE.iter().chain(RULES).chain(SETTINGS) {
        let text = edited(edits);
        let found = split(&text).map_err(|error| error.code().number());
        assert_eq!(found, Err(*code), "{text}");
        seen.insert(*code);
    }
    for (code, text) in SOURCES {
        let found = SourceConfig::from_yaml("source.yaml", text);
        let found = found.map(drop).map_err(|error| error.code().number());
        assert_eq!(found, Err(*code), "{text}");
        seen.insert(*code);
    }
    let documented = documented();
    let untried: Vec<_> = documented.difference(&seen).collect();
    let untold: Vec<_> = seen.difference(&documented).collect();
    assert!(
        untried.is_empty() && untold.is_empty(),
        "documented and not tried: {untried:?}; tried and not documented: {untold:?}"
    );
}
