//! Figures in the form of the protocol.

use dm_proto::pb;
use dm_proto::pb::sub_task_status::Status;

use crate::binlog::gtid::MariaGtids;
use crate::binlog::position::Location;
use crate::status::{Figures, OpenGroup, Unit};
use crate::subtask::View;

/// The status of one subtask; `master` is where the source's log ends, if it could be asked.
pub(super) fn of(view: &View, master: Option<&Location>) -> pb::SubTaskStatus {
    let told = view.told();
    let figures = view.board.read();
    let (unit, status) = match figures.unit {
        Unit::None => (pb::UnitType::InvalidUnit, None),
        Unit::Load => (pb::UnitType::Load, Some(Status::Load(load(&figures)))),
        Unit::Sync => (
            pb::UnitType::Sync,
            Some(Status::Sync(sync(&figures, master))),
        ),
    };
    let told_result = told.is_canceled || !told.errors.is_empty();
    pb::SubTaskStatus {
        name: view.task.to_string(),
        stage: told.stage.into(),
        unit: unit.into(),
        result: told_result.then(|| pb::ProcessResult {
            is_canceled: told.is_canceled,
            errors: told.errors.clone(),
            detail: Vec::new(),
        }),
        unresolved_ddl_lock_id: figures.lock.clone(),
        status,
        validation: None,
    }
}

fn load(figures: &Figures) -> pb::LoadStatus {
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let (tables, done) = figures.tables;
    // Tables are certain, bytes are the server's estimate: within a table the estimate moves the figure.
    let hundredths = match tables {
        0 => 0,
        _ => (done * 10_000 / tables).min(10_000),
    };
    pb::LoadStatus {
        finished_bytes: number(figures.bytes.1),
        total_bytes: number(figures.bytes.0.max(figures.bytes.1)),
        progress: format!("{}.{:02} %", hundredths / 100, hundredths % 100),
        meta_binlog: figures.snapshot.position.to_string(),
        meta_binlog_gtid: figures.snapshot.gtid.clone(),
        bps: 0,
    }
}

fn sync(figures: &Figures, master: Option<&Location>) -> pb::SyncStatus {
    let (total, recent) = figures.rates();
    let rows = i64::try_from(figures.rows).unwrap_or(i64::MAX);
    let (owner, conflict) = figures.conflict.clone().unwrap_or_default();
    let synced =
        master.is_some_and(|m| is_synced(&figures.applied, m)) && figures.groups.is_empty();
    pb::SyncStatus {
        total_events: rows,
        total_tps: total,
        recent_tps: recent,
        master_binlog: master.map(|m| m.position.to_string()).unwrap_or_default(),
        master_binlog_gtid: master.map(|m| m.gtid.clone()).unwrap_or_default(),
        syncer_binlog: figures.applied.position.to_string(),
        syncer_binlog_gtid: figures.applied.gtid.clone(),
        blocking_dd_ls: figures.blocking.clone(),
        unresolved_groups: figures.groups.iter().map(group).collect(),
        synced,
        binlog_type: "remote".to_owned(),
        seconds_behind_master: if synced { 0 } else { behind(figures) },
        block_ddl_owner: owner,
        conflict_msg: conflict,
        total_rows: rows,
        total_rps: total,
        recent_rps: recent,
        ..pb::SyncStatus::default()
    }
}

/// At the end of the log by position; positions differ where the log ends in events that say nothing, so equal GTID sets count, too.
fn is_synced(applied: &Location, master: &Location) -> bool {
    let sets = applied
        .gtid
        .parse::<MariaGtids>()
        .ok()
        .zip(master.gtid.parse::<MariaGtids>().ok());
    applied.position >= master.position
        || sets.is_some_and(|(a, m)| !applied.gtid.is_empty() && a.same_as(&m))
}

fn behind(figures: &Figures) -> i64 {
    let now = dm_service::clock::Clock::system().unix().as_secs();
    match figures.last_event {
        0 => 0,
        last => i64::try_from(now.saturating_sub(u64::from(last))).unwrap_or(i64::MAX),
    }
}

fn group(group: &OpenGroup) -> pb::ShardingGroup {
    pb::ShardingGroup {
        target: group.target.clone(),
        dd_ls: group.ddls.clone(),
        first_location: group.first.clone(),
        synced: group.synced.clone(),
        unsynced: group.unsynced.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::position::Position;

    fn location(pos: u64, gtid: &str) -> Location {
        Location {
            position: Position::new("b.000001", pos),
            gtid: gtid.to_owned(),
        }
    }

    #[test]
    fn synced_is_told_by_position_or_by_equal_gtid_sets() {
        assert!(is_synced(&location(10, ""), &location(10, "")));
        assert!(!is_synced(&location(9, ""), &location(10, "")));
        assert!(is_synced(&location(9, "0-1-5"), &location(10, "0-2-5")));
        assert!(!is_synced(&location(9, "0-1-4"), &location(10, "0-1-5")));
    }
}
