//! The two keys about sharding, and the results of a check.

use super::*;

fn contradicts(text: &str, shard_mode: &str, is_sharding: bool) -> bool {
    let mut config = TaskConfig::default();
    config.shard_mode = shard_mode.into();
    config.is_sharding = is_sharding;
    is_contradictory(text, &config)
}

#[test]
fn no_shards_and_a_shard_mode_contradict_each_other() {
    let text = "name: t\nis-sharding: false # old\nshard-mode: pessimistic\n";
    assert!(contradicts(text, "pessimistic", false));
    let text = "is-sharding: true\nshard-mode: \"\"\n";
    assert!(contradicts(text, "pessimistic", true));
}

#[test]
fn what_agrees_or_is_not_said_is_no_contradiction() {
    assert!(!contradicts(
        "is-sharding: true\nshard-mode: optimistic\n",
        "optimistic",
        true
    ));
    assert!(!contradicts("is-sharding: true\n", "pessimistic", true));
    assert!(!contradicts(
        "shard-mode: optimistic\n",
        "optimistic",
        false
    ));
    assert!(!contradicts(
        "is-sharding: false\nshard-mode: ''\n",
        "",
        false
    ));
    assert!(!contradicts("  is-sharding: false\n", "pessimistic", false));
}

#[test]
fn the_results_of_a_failed_check_are_printed_as_they_are() {
    let answer = pb::StartTaskResponse {
        msg: "no".into(),
        check_result: "Message: fail to check synchronization configuration with type: check was failed, please see detail\ndetail: {\n\t\t\"results\": []\n\t}".into(),
        ..Default::default()
    };
    let wanted = "{
    \"result\": false,
    \"msg\": \"no\",
    \"sources\": [
    ],
    \"checkResult\": \"Message: fail to check synchronization configuration with type: check was failed, please see detail
   \tdetail: {
\t\t\"results\": []
\t}\"
}";
    assert_eq!(shown(&answer, |answer| &mut answer.check_result), wanted);
}

#[test]
fn other_results_stay_json() {
    let answer = pb::StartTaskResponse {
        result: true,
        check_result: "pre-check is passed.\n".into(),
        ..Default::default()
    };
    let printed = shown(&answer, |answer| &mut answer.check_result);
    assert!(printed.ends_with("\"checkResult\": \"pre-check is passed.\\n\"\n}"));
}
