//! The text of an error, byte for byte, as clients read it.

use dm_errors::{Class, Code, DmError, List, Scope};

#[test]
fn message_and_workaround_follow_the_bracket() {
    let error = DmError::new(Code::MASTER_LOCK_NOT_FOUND, &[&"t1-`db`.`tb`"]);
    assert_eq!(
        error.to_string(),
        "[code=38019:class=dm-master:scope=internal:level=high], Message: lock with ID t1-`db`.`tb` not found, \
         Workaround: Please use show-ddl-locks command to see lock id."
    );
}

#[test]
fn a_list_prints_in_brackets_with_blanks() {
    let error = DmError::new(
        Code::SCHEDULER_SUB_TASK_EXIST,
        &[&"t1", &List(&["mysql-01"])],
    );
    assert_eq!(
        error.to_string(),
        "[code=46014:class=scheduler:scope=internal:level=medium], Message: subtasks with name t1 for sources \
         [mysql-01] already exist, Workaround: Please use `query-status` command to see tasks."
    );
}

#[test]
fn the_class_and_scope_can_be_those_of_the_place() {
    let error = DmError::new(Code::DB_DRIVER_ERROR, &[])
        .scope(Scope::Downstream)
        .class(Class::DmMaster)
        .cause("dial tcp 10.0.0.1:4000: connect: connection refused");
    assert_eq!(
        error.to_string(),
        "[code=10001:class=dm-master:scope=downstream:level=high], Message: database driver error, RawCause: dial \
         tcp 10.0.0.1:4000: connect: connection refused, Workaround: Please check the database connection and the \
         database config in configuration file."
    );
    let task = DmError::new(Code::CONFIG_NEED_UNIQUE_TASK_NAME, &[]).class(Class::DmMaster);
    assert_eq!(
        task.to_string(),
        "[code=20019:class=dm-master:scope=internal:level=medium], Message: must specify a unique task name, \
         Workaround: Please check the `name` config in task configuration file."
    );
}

#[test]
fn empty_parts_are_left_out() {
    let bare = DmError::new(Code::MASTER_GET_WORKER_CFG_EXTRACTOR, &[])
        .message("")
        .workaround("");
    assert_eq!(
        bare.to_string(),
        format!(
            "[code={}:class=dm-master:scope=internal:level=high]",
            bare.code()
        )
    );
    assert_eq!(
        bare.cause("why").to_string(),
        "[code=38027:class=dm-master:scope=internal:level=high], RawCause: why"
    );
}

#[test]
fn only_the_innermost_cause_is_kept() {
    let inner = DmError::new(Code::CONFIG_YAML_TRANSFORM, &[&"inner"]);
    let outer = DmError::new(Code::CONFIG_YAML_TRANSFORM, &[&"outer"]);
    assert_eq!(outer.clone().caused_by(&inner).raw_cause(), "inner");
    assert_eq!(
        outer.caused_by(&inner.cause("yaml: line 1")).raw_cause(),
        "yaml: line 1"
    );
}

#[test]
fn an_annotation_goes_before_the_message() {
    let error = DmError::new(Code::CONFIG_EMPTY_SOURCE_ID, &[]).annotate("mysql-instance: 0th");
    assert_eq!(
        error.message_text(),
        "mysql-instance: 0th: empty source-id not valid"
    );
}

#[test]
fn an_error_without_a_code_is_50000() {
    assert_eq!(
        DmError::uncoded("boom").to_string(),
        "[code=50000:class=not-set:scope=not-set:level=high], Message: boom"
    );
}
