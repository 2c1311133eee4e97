//! Reading again what a shard DDL held back: the same log from the first table's DDL to the last one's, for one target only.

use std::collections::HashMap;

use super::engine::{Engine, Mapped};
use super::progress::Decision;
use crate::binlog::event::{Event, Rows};
use crate::binlog::position::Position;
use crate::binlog::stream::{Located, LogReader};
use crate::error::Result;
use crate::names::TableName;
use crate::shard::group::Phase;
use crate::unit::steps::Step;

/// Rows are committed after this number of events.
const BATCH: usize = 500;

impl Engine {
    /// Applies the rows that the first DDL of a target's group held back, from `at` to where the main stream stands.
    pub(super) async fn replay(&mut self, target: &TableName, at: Position) -> Result<()> {
        let until = self.progress.main.position.clone();
        let mut reader = LogReader::open(
            self.unit.from.clone(),
            self.unit.worker.to_string(),
            at.clone(),
        );
        let mut maps: HashMap<u64, Option<Mapped>> = HashMap::new();
        let mut place = at;
        let mut events = 0;
        let unit = self.unit.clone();
        while place < until {
            let Located {
                start, end, event, ..
            } = unit.guarded(reader.next()).await?;
            if end > until {
                break;
            }
            match event {
                Event::TableMap(map) => {
                    let table = TableName::new(map.schema.as_str(), map.table.as_str());
                    let group = self.progress.groups.get(target);
                    let ours = group.is_some_and(|g| g.replays(&table).is_some());
                    let id = map.table_id;
                    let mapped = ours.then(|| Mapped {
                        map,
                        target: unit.rules.target(&table),
                        table,
                    });
                    maps.insert(id, mapped);
                }
                Event::Rows(rows) => {
                    if let Some(Some(mapped)) = maps.get(&rows.table_id) {
                        self.again(target, &rows, mapped, (&start, &end)).await?;
                        events += 1;
                    }
                }
                Event::Xid if events >= BATCH => {
                    self.replayed_to(target, end.clone()).await?;
                    events = 0;
                }
                Event::Rotate { .. } => maps.clear(),
                _ => {}
            }
            place = end;
        }
        Ok(())
    }

    async fn again(
        &mut self,
        target: &TableName,
        rows: &Rows,
        mapped: &Mapped,
        (start, end): (&Position, &Position),
    ) -> Result<()> {
        let Decision::Apply { safe } = self.progress.after_load(&mapped.table, end) else {
            return Ok(());
        };
        let group = self.progress.groups.get(target);
        let structure = group
            .and_then(|g| g.replayed(&mapped.table, start, end))
            .cloned();
        match structure {
            Some(structure) => self.apply(rows, mapped, &structure, safe, start).await,
            None => Ok(()),
        }
    }

    async fn replayed_to(&mut self, target: &TableName, at: Position) -> Result<()> {
        if let Some(group) = self.progress.groups.get_mut(target) {
            group.phase = Phase::Replaying { at };
        }
        self.flush().await?;
        self.unit.steps.reach(Step::PartReplayed).await;
        Ok(())
    }
}
