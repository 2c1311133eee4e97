//! How the states of subtasks become the state of a task.

use pb::{ProcessError, ProcessResult, RelayStatus, Stage, SubTaskStatus, UnitType};

use super::*;

fn errors() -> Option<ProcessResult> {
    Some(ProcessResult {
        errors: vec![ProcessError::default()],
        ..Default::default()
    })
}

fn subtask(stage: Stage) -> SubTaskStatus {
    SubTaskStatus {
        name: "t".into(),
        stage: stage.into(),
        unit: UnitType::Sync.into(),
        ..Default::default()
    }
}

fn entry(subtask: SubTaskStatus, relay: Option<RelayStatus>) -> pb::QueryStatusResponse {
    pb::QueryStatusResponse {
        result: true,
        source_status: Some(pb::SourceStatus {
            source: "s".into(),
            relay_status: relay,
            ..Default::default()
        }),
        sub_task_status: vec![subtask],
        ..Default::default()
    }
}

fn folded(sources: Vec<pb::QueryStatusResponse>) -> String {
    let answer = pb::QueryStatusListResponse {
        result: true,
        sources,
        ..Default::default()
    };
    Summary::of(&answer).tasks[0].task_status.clone()
}

fn stages(stages: &[Stage]) -> String {
    folded(
        stages
            .iter()
            .map(|stage| entry(subtask(*stage), None))
            .collect(),
    )
}

#[test]
fn one_stage_of_all_is_the_state() {
    assert_eq!(stages(&[Stage::Finished, Stage::Finished]), "Finished");
    assert_eq!(stages(&[Stage::Stopped]), "Stopped");
}

#[test]
fn a_pause_of_one_is_a_pause_of_all() {
    assert_eq!(stages(&[Stage::Running, Stage::Paused]), "Paused");
    assert_eq!(stages(&[Stage::Paused, Stage::Running]), "Paused");
}

#[test]
fn different_stages_are_running() {
    assert_eq!(stages(&[Stage::Finished, Stage::New]), "Running");
}

#[test]
fn an_error_of_one_is_the_state_whatever_follows() {
    let failed = SubTaskStatus {
        result: errors(),
        ..subtask(Stage::Paused)
    };
    let text =
        "Error - Some error occurred in subtask. Please run `query-status t` to get more details.";
    let paused = entry(subtask(Stage::Paused), None);
    assert_eq!(
        folded(vec![paused.clone(), entry(failed.clone(), None)]),
        text
    );
    assert_eq!(folded(vec![entry(failed, None), paused]), text);
}

#[test]
fn relay_that_stands_is_an_error_of_what_replicates() {
    let relay = |stage: Stage, result| {
        Some(RelayStatus {
            stage: stage.into(),
            result,
            ..Default::default()
        })
    };
    let text = |word| {
        format!("Error - Relay status is {word}. Please run `query-status t` to get more details.")
    };
    let running = subtask(Stage::Running);
    let with = |relay| folded(vec![entry(running.clone(), relay)]);
    assert_eq!(with(relay(Stage::Paused, None)), text("Paused"));
    assert_eq!(with(relay(Stage::Stopped, errors())), text("Error"));
    assert_eq!(with(relay(Stage::Running, None)), "Running");
    let loads = SubTaskStatus {
        unit: UnitType::Load.into(),
        ..running.clone()
    };
    let state = folded(vec![entry(loads, relay(Stage::Paused, None))]);
    assert_eq!(state, "Running");
}

#[test]
fn an_entry_without_a_source_is_borne() {
    let mut bare = entry(subtask(Stage::Running), None);
    bare.source_status = None;
    assert_eq!(folded(vec![bare]), "Running");
}
