//! Files that are wrong: the error names what, where and what is allowed, and nothing is written.

use std::path::PathBuf;

use dm_store::{KeyRange, Options, Store};
use e2e::Environment;
use playground::orders::ShardMode;
use playground::{Playground, migration, orders};

/// A mistake, and what the answer must name.
struct Mistake {
    what: &'static str,
    /// Part of the right text, and what stands there instead.
    replace: (&'static str, &'static str),
    /// Code, line, key, and what is allowed there.
    named: &'static [&'static str],
}

/// The file, as every error that lies in its text names it.
const FILE: &str = "/mistake.yaml: ";

const TASK_MISTAKES: [Mistake; 8] = [
    Mistake {
        what: "an unknown key",
        replace: ("shard-mode: pessimistic", "shard-mod: pessimistic"),
        named: &[
            FILE,
            "code=20003",
            "line 4: field shard-mod not found",
            "(allowed: name, task-mode, is-sharding, shard-mode,",
        ],
    },
    Mistake {
        what: "a wrong type",
        replace: ("task-mode: all", "task-mode: [all]"),
        named: &[
            FILE,
            "code=20003",
            "line 3: cannot unmarshal !!seq into string (key task-mode)",
        ],
    },
    Mistake {
        what: "a wrong value",
        replace: ("task-mode: all", "task-mode: some"),
        named: &[
            FILE,
            "code=20020",
            "line 3: key `task-mode`: allowed are full, incremental, all, dump, load",
        ],
    },
    Mistake {
        what: "a missing required key",
        replace: ("task-mode: all\n", ""),
        // There is no line to name.
        named: &[
            FILE,
            "code=20020",
            "key `task-mode`: allowed are full, incremental, all, dump, load",
        ],
    },
    Mistake {
        what: "a source that nobody knows",
        replace: ("source-id: mysql-01", "source-id: mysql-99"),
        named: &[
            FILE,
            "code=20031",
            "mysql-99",
            "line 14: key `mysql-instances[0].source-id`: known sources: [mysql-01]",
        ],
    },
    Mistake {
        what: "a source twice",
        replace: ("routes:", "  - source-id: mysql-01\nroutes:"),
        named: &[
            FILE,
            "code=20014",
            "mysql-01",
            "line 17: key `mysql-instances[1].source-id`: each source is allowed once",
        ],
    },
    Mistake {
        what: "a bad route pattern",
        replace: ("schema-pattern: \"shop_*\"", "schema-pattern: \"~[\""),
        named: &[
            FILE,
            "code=20045",
            "line 18: key `routes.databases`",
            "are allowed",
            "~[ not valid",
        ],
    },
    Mistake {
        what: "a route that nobody defined",
        replace: ("route-rules: [databases, shards]", "route-rules: [nowhere]"),
        named: &[
            FILE,
            "code=20023",
            "nowhere",
            "line 15: key `mysql-instances[0].route-rules`: defined are databases, shards",
        ],
    },
];

const SOURCE_MISTAKES: [Mistake; 3] = [
    Mistake {
        what: "an unknown key",
        replace: ("from:", "server-idd: 5\nfrom:"),
        named: &[
            FILE,
            "code=20003",
            "line 2: field server-idd not found",
            "(allowed: enable, enable-gtid,",
            ", server-id, ",
        ],
    },
    Mistake {
        what: "a wrong type",
        replace: ("from:", "server-id: many\nfrom:"),
        named: &[
            FILE,
            "code=20003",
            "line 2: cannot unmarshal !!str `many` into u32 (key server-id)",
        ],
    },
    Mistake {
        what: "a source that is there already",
        replace: ("source-id:", "source-id:"),
        // Nothing in the file is wrong.
        named: &[
            "code=46007",
            "source config with ID mysql-01 already exists",
        ],
    },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_with_a_mistake_is_refused_by_name_and_writes_nothing() {
    let builder = Playground::builder().sources(1).workers(1).replicas(1);
    let mut env = Environment::start(builder).await.unwrap();
    let files = orders::write_source_files(&env.playground).unwrap();
    migration::create_source(&env.playground, &files[0])
        .await
        .unwrap()
        .success()
        .unwrap();
    let store = Store::connect(&Options {
        endpoints: vec![env.playground.etcd().endpoint()],
        ..Options::default()
    })
    .await
    .unwrap();
    let before = records(&store).await;

    let task = orders::task_file(1, env.playground.downstream(), ShardMode::Pessimistic);
    for mistake in &TASK_MISTAKES {
        refused(&env, &task, mistake, "start-task").await;
        assert_eq!(records(&store).await, before, "{}", mistake.what);
    }
    let source = orders::source_file(0, env.playground.mariadb(0));
    for mistake in &SOURCE_MISTAKES {
        refused(&env, &source, mistake, "operate-source").await;
        assert_eq!(records(&store).await, before, "{}", mistake.what);
    }
    env.playground.stop().await.unwrap();
}

/// Runs the command on the file with the mistake in it.
async fn refused(env: &Environment, right: &str, mistake: &Mistake, command: &str) {
    let (from, to) = mistake.replace;
    assert!(right.contains(from), "{from} is not in the file");
    let file: PathBuf = env.playground.root().join("mistake.yaml");
    std::fs::write(&file, right.replacen(from, to, 1)).unwrap();
    let output = match command {
        "start-task" => migration::start_task(&env.playground, &file).await,
        _ => migration::create_source(&env.playground, &file).await,
    };
    let output = output.unwrap();
    assert!(
        !output.is_success(),
        "{} was accepted: {output:?}",
        mistake.what
    );
    let said = format!("{}{}", output.stdout, output.stderr);
    for part in mistake.named {
        assert!(
            said.contains(part),
            "{}: {part:?} is not named in: {said}",
            mistake.what
        );
    }
}

/// Every key with the revision of its last change.
async fn records(store: &Store) -> Vec<(String, i64)> {
    let snapshot = store.snapshot(&KeyRange::dm()).await.unwrap();
    let keys = snapshot.entries.iter().map(|entry| {
        (
            String::from_utf8_lossy(&entry.key).into_owned(),
            entry.mod_revision.0,
        )
    });
    keys.collect()
}
