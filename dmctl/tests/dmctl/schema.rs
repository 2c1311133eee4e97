//! binlog-schema and operate-schema.

use dm_proto::pb;
use pb::SchemaOp;

use crate::server::{Files, Master, done};

const TABLE: &str = "CREATE TABLE `t` (`a` INT)";

fn request(op: SchemaOp) -> pb::OperateSchemaRequest {
    pb::OperateSchemaRequest {
        op: op.into(),
        task: "orders".into(),
        sources: vec!["a".into()],
        database: "d".into(),
        table: "t".into(),
        ..Default::default()
    }
}

fn set() -> pb::OperateSchemaRequest {
    pb::OperateSchemaRequest {
        flush: true,
        sync: true,
        ..request(SchemaOp::SetSchema)
    }
}

async fn master() -> Master {
    let master = Master::start().await;
    let mut source = done("a", "w1");
    source.msg = TABLE.into();
    let answer = pb::OperateSchemaResponse {
        result: true,
        sources: vec![source],
        ..Default::default()
    };
    master.answers("OperateSchema", &answer);
    master
}

#[tokio::test]
async fn structures_are_shown_replaced_and_removed() {
    let (master, files) = (master().await, Files::new());
    let file = files.with("t.sql", TABLE);
    let wanted = r#"{
    "result": true,
    "msg": "",
    "sources": [
        {
            "result": true,
            "msg": "CREATE TABLE `t` (`a` INT)",
            "source": "a",
            "worker": "w1"
        }
    ]
}
"#;
    let from_file = pb::OperateSchemaRequest {
        schema: TABLE.into(),
        ..set()
    };
    let unsaved = pb::OperateSchemaRequest {
        flush: false,
        sync: false,
        ..from_file.clone()
    };
    let from_source = pb::OperateSchemaRequest {
        from_source: true,
        ..set()
    };
    let from_target = pb::OperateSchemaRequest {
        from_target: true,
        ..set()
    };
    for (line, sent) in [
        ("list orders d t", request(SchemaOp::GetSchema)),
        ("delete orders d t", request(SchemaOp::RemoveSchema)),
        ("update orders d t FILE", from_file.clone()),
        ("update orders d t FILE --flush --sync=true", from_file),
        ("update orders d t FILE --flush=false --sync=false", unsaved),
        ("update orders d t --from-source", from_source),
        ("update orders d t --from-target", from_target),
    ] {
        let line = line.replace("FILE", &file);
        let args: Vec<&str> = line.split(' ').collect();
        let ended = master
            .run(&[&["binlog-schema", "-s", "a"], &args[..]].concat())
            .await;
        assert_eq!(
            (ended.code, ended.out.as_str()),
            (0, wanted),
            "{line}: {ended:?}"
        );
        let last: pb::OperateSchemaRequest = master.calls().last().unwrap().message();
        assert_eq!(last, sent, "{line}");
    }
}

#[tokio::test]
async fn the_older_name_sends_the_same() {
    let (master, files) = (master().await, Files::new());
    let file = files.with("t.sql", TABLE);
    let always = |op| pb::OperateSchemaRequest {
        flush: true,
        sync: true,
        ..request(op)
    };
    let from_file = pb::OperateSchemaRequest {
        schema: TABLE.into(),
        ..set()
    };
    for (args, sent) in [
        (&["get", "orders"][..], always(SchemaOp::GetSchema)),
        (&["remove", "orders"], always(SchemaOp::RemoveSchema)),
        (&["set", "orders", &file], from_file),
    ] {
        let table = ["-s", "a", "-d", "d", "--table", "t"];
        let ended = master
            .run(&[&["operate-schema"], args, &table].concat())
            .await;
        assert!(ended.out.starts_with("{\n"), "{ended:?}");
        let last: pb::OperateSchemaRequest = master.calls().last().unwrap().message();
        assert_eq!(last, sent, "{args:?}");
    }
    let get = [
        "operate-schema",
        "get",
        "t",
        "-s",
        "a",
        "-d",
        "d",
        "-t",
        "t",
    ];
    let ended = master.run(&[&get[..], &["/no/such"]].concat()).await;
    assert_eq!(ended.code, 0);
    let warning = "[warn] the schema file is not used by get and remove\n{";
    assert!(ended.out.starts_with(warning), "{}", ended.out);
}

#[tokio::test]
async fn missing_arguments_are_answered_with_the_help() {
    let master = Master::start().await;
    for line in [
        "binlog-schema",
        "binlog-schema list orders d",
        "binlog-schema delete",
        "binlog-schema update orders d",
        "binlog-schema update orders d t",
        "binlog-schema update orders d --from-source",
    ] {
        let args: Vec<&str> = line.split(' ').collect();
        let ended = master.run(&args).await;
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{line}");
        assert!(ended.out.contains("\nUsage:\n  dmctl binlog-schema "));
    }
    assert!(master.calls().is_empty());
}

#[tokio::test]
async fn what_contradicts_itself_or_is_missing_is_named() {
    let master = Master::start().await;
    for (line, text) in [
        (
            "binlog-schema update o d t --from-source --from-target",
            "from-source and from-target can not be used together",
        ),
        (
            "binlog-schema update o d t x.sql --from-target",
            "can not set schema-file when use from-source or from-target",
        ),
        (
            "operate-schema make o",
            "invalid operate 'make' on schema, expected get, set or remove",
        ),
        (
            "operate-schema set o",
            "must sepcify schema file for 'set' operation",
        ),
        (
            "operate-schema get o -d d -t t",
            "must specify at least one source (`-s` / `--source`)",
        ),
        ("operate-schema get o -s a -t t", "must specify 'database'"),
        ("operate-schema get o -s a -d d", "must specify 'table'"),
        ("operate-schema get", "please check output to see error"),
    ] {
        let args: Vec<&str> = line.split(' ').collect();
        let ended = master.run(&args).await;
        let wanted = format!("Error: {text}\n");
        assert_eq!((ended.code, ended.err), (1, wanted), "{line}");
    }
    let update = ["binlog-schema", "update", "o", "d", "t", "/no/such"];
    let ended = master.run(&update).await;
    assert!(
        ended
            .err
            .starts_with("Error: error in get file content: /no/such: ")
    );
    assert!(master.calls().is_empty());
}
