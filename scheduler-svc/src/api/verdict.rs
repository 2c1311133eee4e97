//! Whether a worker's answer shows what it was told to do. Pure.

use dm_errors::{Code, DmError};
use dm_proto::pb;
use dm_proto::pb::sub_task_status::Status;

/// What a worker is waited for.
#[derive(Clone, Debug)]
pub(super) enum Expected {
    /// The subtask of this task is in this stage.
    Stage { task: String, stage: pb::Stage },
    /// There is no subtask of this task.
    Gone { task: String },
    /// The worker serves the source.
    Bound,
    /// The worker does not serve the source.
    Unbound,
    /// Its relay is in this stage.
    RelayStage(pb::Stage),
    /// It pulls relay log.
    RelayOn,
    /// It pulls none.
    RelayOff,
}

impl Expected {
    /// The task to ask about; empty asks for the source.
    pub(super) fn task(&self) -> &str {
        match self {
            Self::Stage { task, .. } | Self::Gone { task } => task,
            _ => "",
        }
    }

    /// None: ask again. Otherwise whether it is as expected, and what there is to say.
    pub(super) fn judge(
        &self,
        source: &str,
        answer: &pb::QueryStatusResponse,
    ) -> Option<(bool, String)> {
        let served = answer.source_status.as_ref();
        let serves = served.is_some_and(|s| s.source == source);
        match self {
            Self::Stage { task, stage } => judge_stage(task, *stage, &answer.sub_task_status),
            Self::Gone { task } => is_gone(task, &answer.sub_task_status).then(success),
            // A source in trouble is bound all the same; the trouble is told.
            Self::Bound => {
                serves.then(|| (true, errors_text(served.and_then(|s| s.result.as_ref()))))
            }
            Self::Unbound => (!serves).then(success),
            Self::RelayStage(_) | Self::RelayOn | Self::RelayOff => {
                let relay = served.and_then(|s| s.relay_status.as_ref());
                self.judge_relay(relay)
            }
        }
    }
}

impl Expected {
    fn judge_relay(&self, relay: Option<&pb::RelayStatus>) -> Option<(bool, String)> {
        let Some(relay) = relay else {
            return match self {
                Self::RelayOff => Some(success()),
                Self::RelayStage(_) => {
                    let text = "relay is disabled for this source";
                    let error = DmError::new(Code::MASTER_OPER_RESP_NOT_SUCCESS, &[&text]);
                    Some((false, error.to_string()))
                }
                _ => None,
            };
        };
        let wanted = match self {
            Self::RelayStage(stage) => *stage,
            Self::RelayOff => pb::Stage::Stopped,
            _ => pb::Stage::Running,
        };
        let errors = errors_text(relay.result.as_ref());
        match errors.is_empty() {
            false => Some((false, errors)),
            true => (relay.stage() == wanted).then(success),
        }
    }
}

fn success() -> (bool, String) {
    (true, String::new())
}

fn judge_stage(
    task: &str,
    wanted: pb::Stage,
    subtasks: &[pb::SubTaskStatus],
) -> Option<(bool, String)> {
    let [subtask] = subtasks else { return None };
    if subtask.name != task {
        return None;
    }
    let stage = subtask.stage();
    let matches = stage == wanted || (wanted == pb::Stage::Running && stage == pb::Stage::Finished);
    let errors = errors_text(subtask.result.as_ref());
    (matches || !errors.is_empty()).then_some((matches, errors))
}

fn is_gone(task: &str, subtasks: &[pb::SubTaskStatus]) -> bool {
    match subtasks {
        [] => true,
        [only] => {
            matches!(&only.status, Some(Status::Msg(text)) if *text == format!("no sub task with name {task} has started"))
        }
        _ => false,
    }
}

/// 38032 with the worker's errors; empty without any.
fn errors_text(result: Option<&pb::ProcessResult>) -> String {
    let errors = result.map_or(&[][..], |r| &r.errors);
    if errors.is_empty() {
        return String::new();
    }
    let list = errors.iter().map(compact).collect::<Vec<_>>().join(", ");
    DmError::new(Code::MASTER_OPER_RESP_NOT_SUCCESS, &[&list]).to_string()
}

/// Protobuf's one-line text form, in which DM shows a worker's error.
fn compact(error: &pb::ProcessError) -> String {
    let number = Some(error.err_code)
        .filter(|code| *code != 0)
        .map(|code| format!("ErrCode:{code} "));
    let texts = [
        ("ErrClass", &error.err_class),
        ("ErrScope", &error.err_scope),
        ("ErrLevel", &error.err_level),
        ("Message", &error.message),
        ("RawCause", &error.raw_cause),
        ("Workaround", &error.workaround),
    ];
    let texts = texts.into_iter().filter(|(_, text)| !text.is_empty());
    number
        .into_iter()
        .chain(texts.map(|(name, text)| format!("{name}:\"{}\" ", escaped(text))))
        .collect()
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' '..=b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("\\{other:03o}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subtask(stage: pb::Stage, message: &str) -> pb::SubTaskStatus {
        let error = pb::ProcessError {
            err_code: 10006,
            message: message.into(),
            ..Default::default()
        };
        let result = (!message.is_empty()).then(|| pb::ProcessResult {
            errors: vec![error],
            ..Default::default()
        });
        pb::SubTaskStatus {
            name: "t".into(),
            stage: stage.into(),
            result,
            ..Default::default()
        }
    }

    fn answer(subtasks: Vec<pb::SubTaskStatus>) -> pb::QueryStatusResponse {
        let source_status = Some(pb::SourceStatus {
            source: "s1".into(),
            worker: "w1".into(),
            ..Default::default()
        });
        pb::QueryStatusResponse {
            result: true,
            source_status,
            sub_task_status: subtasks,
            ..Default::default()
        }
    }

    fn running() -> Expected {
        Expected::Stage {
            task: "t".into(),
            stage: pb::Stage::Running,
        }
    }

    #[test]
    fn running_is_reached_by_a_running_or_finished_subtask() {
        for stage in [pb::Stage::Running, pb::Stage::Finished] {
            assert_eq!(
                running().judge("s1", &answer(vec![subtask(stage, "")])),
                Some(success())
            );
        }
        for subtasks in [
            vec![],
            vec![subtask(pb::Stage::New, "")],
            vec![subtask(pb::Stage::Running, ""); 2],
        ] {
            assert_eq!(running().judge("s1", &answer(subtasks)), None);
        }
    }

    #[test]
    fn an_error_of_the_subtask_ends_the_wait() {
        let (result, text) = running()
            .judge(
                "s1",
                &answer(vec![subtask(pb::Stage::Paused, "a \"b\"\né")]),
            )
            .unwrap();
        assert!(!result);
        assert_eq!(
            text,
            "[code=38032:class=dm-master:scope=internal:level=high], Message: some error occurs in dm-worker: \
             ErrCode:10006 Message:\"a \\\"b\\\"\\n\\303\\251\" , Workaround: Please execute `query-status` to check status."
        );
        let (result, _) = running()
            .judge("s1", &answer(vec![subtask(pb::Stage::Running, "late")]))
            .unwrap();
        assert!(result);
    }

    #[test]
    fn a_subtask_is_gone_when_the_worker_does_not_know_it() {
        let gone = Expected::Gone { task: "t".into() };
        let unknown = Status::Msg("no sub task with name t has started".into());
        assert_eq!(gone.judge("s1", &answer(vec![])), Some(success()));
        let status = pb::SubTaskStatus {
            name: "t".into(),
            status: Some(unknown),
            ..Default::default()
        };
        assert_eq!(gone.judge("s1", &answer(vec![status])), Some(success()));
        assert_eq!(
            gone.judge("s1", &answer(vec![subtask(pb::Stage::Running, "")])),
            None
        );
    }

    #[test]
    fn a_relay_is_judged_by_its_stage_and_by_whether_there_is_one() {
        let relay = |stage: Option<pb::Stage>, message: &str| {
            let mut answer = answer(vec![]);
            let result = subtask(pb::Stage::Running, message).result;
            let relay = |stage: pb::Stage| pb::RelayStatus {
                stage: stage.into(),
                result,
                ..Default::default()
            };
            let status = answer.source_status.as_mut().unwrap();
            status.relay_status = stage.map(relay);
            answer
        };
        let paused = Expected::RelayStage(pb::Stage::Paused);
        let (on, off) = (Expected::RelayOn, Expected::RelayOff);
        let judge = |expected: &Expected, stage, message: &str| {
            expected.judge("s1", &relay(stage, message))
        };
        let text = |judged: Option<(bool, String)>| {
            let (is_good, text) = judged.unwrap();
            assert!(!is_good, "{text}");
            text
        };
        let disabled = text(judge(&paused, None, ""));
        assert!(
            disabled.contains(
                "[code=38032:class=dm-master:scope=internal:level=high], Message: some error occurs in dm-worker: \
                 relay is disabled for this source, "
            ),
            "{disabled}"
        );
        assert_eq!(judge(&on, None, ""), None);
        assert_eq!(judge(&off, None, ""), Some(success()));
        for (expected, reached) in [
            (&paused, pb::Stage::Paused),
            (&on, pb::Stage::Running),
            (&off, pb::Stage::Stopped),
        ] {
            assert_eq!(judge(expected, Some(reached), ""), Some(success()));
            assert_eq!(judge(expected, Some(pb::Stage::New), ""), None);
            let failed = text(judge(expected, Some(reached), "broken"));
            assert!(failed.contains("Message:\"broken\""), "{failed}");
        }
    }

    #[test]
    fn a_source_is_bound_where_the_worker_says_so() {
        assert_eq!(
            Expected::Bound.judge("s1", &answer(vec![])),
            Some(success())
        );
        assert_eq!(Expected::Bound.judge("s2", &answer(vec![])), None);
        assert_eq!(
            Expected::Unbound.judge("s2", &answer(vec![])),
            Some(success())
        );
        assert_eq!(Expected::Unbound.judge("s1", &answer(vec![])), None);
        // What is wrong with the source is told, and it is bound all the same.
        let mut troubled = answer(vec![]);
        let status = troubled.source_status.as_mut().unwrap();
        status.result = subtask(pb::Stage::Running, "broken").result;
        let (is_good, text) = Expected::Bound.judge("s1", &troubled).unwrap();
        assert!(is_good && text.starts_with("[code=38032:"), "{text}");
    }
}
