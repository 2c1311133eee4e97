//! Names, flags, defaults and the texts of refusals.

use super::*;

fn words(text: &str) -> Vec<String> {
    std::iter::once("dmctl")
        .chain(text.split_whitespace())
        .map(str::to_owned)
        .collect()
}

fn cli(text: &str) -> Cli {
    match parse(words(text)) {
        Parsed::Cli(cli) => *cli,
        other => panic!("{text}: {other:?}"),
    }
}

fn refused(text: &str) -> String {
    match parse(words(text)) {
        Parsed::Refused(error) => error.to_string(),
        other => panic!("{text}: {other:?}"),
    }
}

fn command(text: &str) -> Command {
    cli(text).command.unwrap()
}

#[test]
fn the_clap_definition_is_sound() {
    shaped(Cli::command()).debug_assert();
    shaped(Line::command()).debug_assert();
}

#[test]
fn flags_that_are_not_given_have_the_defaults_of_dm() {
    let start = StartTask {
        args: vec!["t.yaml".into()],
        remove_meta: false,
        start_time: String::new(),
    };
    assert_eq!(command("start-task t.yaml"), Command::StartTask(start));
    let Command::PauseTask(pause) = command("pause-task") else {
        panic!("not a pause");
    };
    assert_eq!(pause.batch_size, 5);
    let Command::UnlockDdlLock(unlock) = command("unlock-ddl-lock x") else {
        panic!("not an unlock");
    };
    assert_eq!(unlock.action, "skip");
    assert!(!unlock.force_remove && unlock.owner.is_empty());
    let globals = cli("list-member").globals;
    assert!(!globals.strict && globals.rpc_timeout.is_none());
}

#[test]
fn list_member_takes_long_and_short_flags() {
    let wanted = ListMember {
        args: vec![],
        leader: true,
        master: true,
        worker: true,
        name: vec!["a".into(), "b".into(), "c".into()],
    };
    for text in [
        "list-member -l -m -w -n a,b -n c",
        "list-member -lmw -n a,b,c",
        "list-member --leader --master --worker --name a --name b,c",
        "list-member --leader=true --master=true --worker=true --name=a,b --name=c",
    ] {
        assert_eq!(command(text), Command::ListMember(wanted.clone()), "{text}");
    }
}

#[test]
fn unlock_takes_long_and_short_flags() {
    let wanted = Unlock {
        args: vec!["t-`d`.`t`".into()],
        owner: "s1".into(),
        force_remove: true,
        action: "exec".into(),
        database: "d".into(),
        table: "t".into(),
    };
    for flags in [
        "-o s1 -f -a exec -d d -t t",
        "--owner s1 --force-remove --action exec --database d --table t",
    ] {
        let Command::ShardDdlLock(lock) =
            command(&format!("shard-ddl-lock unlock t-`d`.`t` {flags}"))
        else {
            panic!("not a lock");
        };
        assert_eq!(lock.action, Some(LockAction::Unlock(wanted.clone())));
        let hidden = command(&format!("unlock-ddl-lock t-`d`.`t` {flags}"));
        assert_eq!(hidden, Command::UnlockDdlLock(wanted.clone()));
    }
}

#[test]
fn operate_source_takes_files_a_worker_and_the_sample_flag() {
    let wanted = OperateSource {
        args: vec!["create".into(), "a.yaml".into(), "b.yaml".into()],
        worker: "w1".into(),
        print_sample_config: true,
    };
    for text in [
        "operate-source create a.yaml b.yaml -w w1 -p",
        "operate-source --worker w1 --print-sample-config create a.yaml b.yaml",
    ] {
        assert_eq!(command(text), Command::OperateSource(wanted.clone()));
    }
}

#[test]
fn sources_stand_before_or_behind_the_command() {
    for text in [
        "-s a,b query-status",
        "query-status --source a --source b",
        "query-status -s a -s b orders",
    ] {
        assert_eq!(cli(text).sources.source, ["a", "b"], "{text}");
    }
}

#[test]
fn global_flags_may_have_one_dash() {
    let globals = cli(
        "-master-addr h:1 -rpc-timeout=90s -config c -ssl-ca a -ssl-cert b -ssl-key=c list-member",
    )
    .globals;
    assert_eq!(globals.master_addr.as_deref(), Some("h:1"));
    assert_eq!(globals.rpc_timeout, Some(Duration::from_secs(90)));
    assert_eq!(globals.ssl_key, Some(PathBuf::from("c")));
    assert!(cli("-version").globals.version);
    assert!(cli("-V").globals.version);
    let behind = cli("list-member --master-addr h:2 --strict").globals;
    assert_eq!(behind.master_addr.as_deref(), Some("h:2"));
    assert!(behind.strict);
}

#[test]
fn refusals_say_what_is_wrong() {
    assert_eq!(
        refused("no-such"),
        "unknown command \"no-such\" for \"dmctl\""
    );
    assert_eq!(refused("list-member --what"), "unknown flag: --what");
    assert_eq!(
        refused("list-member -x"),
        "unknown shorthand flag: 'x' in -x"
    );
    assert_eq!(
        refused("list-member --name"),
        "flag needs an argument: --name"
    );
    let timeout = refused("--rpc-timeout 5 list-member");
    assert!(
        timeout.starts_with("invalid argument \"5\" for \"--rpc-timeout\" flag: time: "),
        "{timeout}"
    );
    assert!(timeout.contains("10s"), "{timeout}");
    assert!(refused("--rpc-timeout 0s list-member").contains("not longer than nothing"));
    assert!(refused("pause-task --batch-size 0").contains("--batch-size"));
}

#[test]
fn an_unknown_command_is_pointed_to_the_help() {
    let Parsed::Refused(error) = parse(words("no-such")) else {
        panic!("was taken");
    };
    assert_eq!(error.hint(), Some("Run 'dmctl --help' for usage."));
}

#[test]
fn usage_lines_are_those_of_dm() {
    for (path, line) in [
        (
            &["start-task"][..],
            "  dmctl start-task [-s source ...] [--remove-meta] <config-file> [flags]",
        ),
        (
            &["pause-task"],
            "  dmctl pause-task [-s source ...] [task-name | task-file] [flags]",
        ),
        (
            &["query-status"],
            "  dmctl query-status [-s source ...] [task-name | task-file] [--more] [flags]",
        ),
        (
            &["operate-leader"],
            "  dmctl operate-leader <operate-type> [flags]",
        ),
        (&["shard-ddl-lock"], "  dmctl shard-ddl-lock [task] [flags]"),
        (
            &["shard-ddl-lock", "unlock"],
            "  dmctl shard-ddl-lock unlock <lock-id> [flags]",
        ),
        (
            &["binlog", "replace"],
            "  dmctl binlog replace <task-name> <replace-sql1> <replace-sql2>... [flags]",
        ),
        (&["binlog"], "  dmctl binlog [command]"),
        (
            &["list-member"],
            "  dmctl list-member [--leader] [--master] [--worker] [--name master-name/worker-name ...] [flags]",
        ),
    ] {
        let usage = usage(path);
        let mut lines = usage.lines();
        assert_eq!(lines.next(), Some("Usage:"));
        assert_eq!(lines.next(), Some(line));
        assert!(usage.contains("--source"), "{usage}");
    }
}

#[test]
fn every_use_line_is_of_a_command() {
    for (path, words) in layout::USES {
        let path: Vec<&str> = path.split(' ').collect();
        let line = format!("Usage:\n  dmctl {} {words}", path.join(" "));
        let usage = usage(&path);
        assert!(usage.starts_with(line.trim_end()), "{path:?}: {usage}");
    }
}

#[test]
fn a_command_knows_the_words_that_made_it() {
    for (path, _) in layout::USES {
        assert_eq!(command(path).words(), path);
    }
}

#[test]
fn help_lists_commands_without_the_old_names() {
    let Parsed::Help(text) = parse(words("--help")) else {
        panic!("no help");
    };
    let hidden = [
        "show-ddl-locks",
        "unlock-ddl-lock",
        "handle-error",
        "operate-schema",
        "get-config",
        "get-task-config",
    ];
    for (path, _) in layout::USES {
        let name = path.split(' ').next().unwrap();
        let is_listed = text.contains(&format!("\n  {name} "));
        assert_eq!(is_listed, !hidden.contains(&name), "{name} in\n{text}");
    }
}

#[test]
fn connection_flags_are_not_for_lines() {
    let line = |text: &str| parse_line(&words(text)[1..]);
    assert!(matches!(line("list-member -l -s a"), Parsed::Cli(_)));
    assert!(matches!(
        line("list-member --master-addr a:1"),
        Parsed::Refused(_)
    ));
}
