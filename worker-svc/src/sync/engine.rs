//! The main stream: one event after the other, rows and position in one transaction.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use dm_store::Feed;
use mysql_async::Conn;
use tokio::time::Instant;

use super::follow::info_of;
use super::online::Copies;
use super::progress::{Decision, Progress};
use super::resync::next_redirect;
use super::tables::Structures;
use crate::binlog::event::{Event, GROUP_STANDALONE, Rows, RowsKind};
use crate::binlog::gtid::MariaGtids;
use crate::binlog::position::Position;
use crate::binlog::reader::DecodeError;
use crate::binlog::row;
use crate::binlog::stream::{Located, LogReader};
use crate::binlog::table_map::TableMap;
use crate::downstream::meta::Kind;
use crate::downstream::statement::{Shape, of_change};
use crate::downstream::target::Target;
use crate::downstream::writer::Writer;
use crate::downstream::{connection, keys};
use crate::error::{Error, Result, upstream};
use crate::names::TableName;
use crate::status::{OpenGroup, Unit};
use crate::unit::Context;
use crate::upstream;

/// Rows of several transactions are committed together up to this number.
const BATCH: u64 = 1000;
/// A position without rows is written down after this time of quiet,
const IDLE: Duration = Duration::from_secs(1);
/// or at the latest after this one.
const LATEST: Duration = Duration::from_secs(5);

/// Whether the stream stands between transactions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Inside {
    /// Between two groups of events.
    Nothing,
    /// The head of a group was read; a statement ends it unless it begins a transaction.
    Head,
    /// In a transaction.
    Transaction,
}

/// A table of the row events to come; nothing for tables that take no part.
#[derive(Clone, Debug)]
pub struct Mapped {
    /// Physical types.
    pub map: TableMap,
    /// The source table.
    pub table: TableName,
    /// Where it goes.
    pub target: TableName,
}

/// Replication of one source for one task.
#[derive(Debug)]
pub struct Engine {
    pub(super) unit: Context,
    pub(super) writer: Writer,
    pub(super) reader: LogReader,
    pub(super) progress: Progress,
    pub(super) structures: Structures,
    pub(super) redirects: Option<Feed>,
    targets: HashMap<TableName, Arc<Target>>,
    maps: HashMap<u64, Option<Arc<Mapped>>>,
    sequences: HashSet<TableName>,
    inside: Inside,
    gtids: MariaGtids,
    gtid: Option<(u32, u32, u64)>,
    rows: u64,
    dirty: bool,
    flushed: Instant,
    /// Judges rows by expression filters.
    pub(super) source: Option<Conn>,
    /// What the statement under way does to [`Progress::copies`]; it counts when the statement does.
    pub(super) copies: Option<Copies>,
}

impl Engine {
    /// Continues from what is written down.
    pub fn new(unit: Context, writer: Writer, progress: Progress, structures: Structures) -> Self {
        let from = progress.main.position.clone();
        let reader = LogReader::open(unit.from.clone(), unit.worker.to_string(), from);
        let gtids = progress.main.gtid.parse().unwrap_or_default();
        Self {
            unit,
            writer,
            reader,
            progress,
            structures,
            redirects: None,
            targets: HashMap::new(),
            maps: HashMap::new(),
            sequences: HashSet::new(),
            inside: Inside::Nothing,
            gtids,
            gtid: None,
            rows: 0,
            dirty: false,
            flushed: Instant::now(),
            source: None,
            copies: None,
        }
    }

    /// Replicates until something stops it; there is no other end.
    pub async fn run(mut self) -> Result<std::convert::Infallible> {
        self.unit.board.update(|f| {
            f.unit = Unit::Sync;
            f.started.get_or_insert_with(Instant::now);
        });
        self.show();
        self.check_filters()?;
        self.finish_open_group().await?;
        Box::pin(self.begin_optimistic()).await?;
        let cancel = self.unit.cancel.clone();
        let permit = self.unit.permit.clone();
        let ended = permit.ended();
        tokio::pin!(ended);
        loop {
            let idle = self.dirty && self.inside == Inside::Nothing;
            tokio::select! {
                biased;
                () = cancel.cancelled() => {
                    if self.inside == Inside::Nothing {
                        self.flush().await?;
                    }
                    return Err(Error::Cancelled);
                }
                () = &mut ended => return Err(Error::LeaseEnded),
                item = next_redirect(&mut self.redirects), if self.inside == Inside::Nothing => Box::pin(self.redirect(item)).await?,
                next = self.reader.next() => self.meet_event(next?).await?,
                () = tokio::time::sleep(IDLE), if idle => self.flush().await?,
            }
        }
    }

    /// Notes where it was, if it fails.
    async fn meet_event(&mut self, located: Located) -> Result<()> {
        let is_statement = matches!(located.event, Event::Query(_));
        let start = located.start.clone();
        let done = self.handle(located).await;
        self.note_failure(&done, &start, is_statement);
        done
    }

    /// For whoever wants to order something else for this place.
    pub(super) fn note_failure<T>(&self, done: &Result<T>, at: &Position, is_statement: bool) {
        if let Err(error) = done
            && !matches!(error, Error::Cancelled | Error::LeaseEnded)
        {
            let failed = Some((at.clone(), is_statement));
            self.unit.board.update(|f| f.failed = failed);
        }
    }

    async fn handle(&mut self, located: Located) -> Result<()> {
        let Located {
            start,
            end,
            timestamp,
            server_id,
            event,
        } = located;
        if timestamp > 0 {
            self.unit.board.update(|f| f.last_event = timestamp);
        }
        match event {
            Event::TableMap(map) => {
                let (id, mapped) = self.mapped(map);
                self.maps.insert(id, mapped);
            }
            Event::Rows(rows) => self.rows(rows, &start, &end).await?,
            Event::Xid => self.border(end).await?,
            Event::Query(query) => self.query(query, start, end, timestamp).await?,
            Event::MariaGtid {
                sequence,
                domain,
                flags,
            } => {
                self.gtid = Some((domain, server_id, sequence));
                self.inside = if flags & GROUP_STANDALONE == 0 {
                    Inside::Transaction
                } else {
                    Inside::Head
                };
            }
            Event::Gtid => self.inside = Inside::Head,
            Event::Rotate { .. } => {
                self.maps.clear();
                self.passed(end);
            }
            Event::Other => self.passed(end),
            Event::Heartbeat => {}
        }
        Ok(())
    }

    fn mapped(&self, map: TableMap) -> (u64, Option<Arc<Mapped>>) {
        let id = map.table_id;
        if !self.unit.rules.allows(&map.schema, &map.table) {
            return (id, None);
        }
        let table = TableName::new(map.schema.as_str(), map.table.as_str());
        let target = self.unit.rules.target(&table);
        (id, Some(Arc::new(Mapped { map, table, target })))
    }

    /// An event that belongs to no group is behind us.
    fn passed(&mut self, end: Position) {
        if self.inside == Inside::Nothing && end > self.progress.main.position {
            self.progress.main.position = end;
            self.dirty = true;
        }
    }

    /// A transaction has ended at `end`: all before it can be made permanent.
    pub(super) async fn border(&mut self, end: Position) -> Result<()> {
        self.reach(end);
        let waiting = self.rows > 0 && self.reader.is_drained();
        if waiting || self.rows >= BATCH || self.flushed.elapsed() >= LATEST {
            self.flush().await?;
        }
        Ok(())
    }

    /// Everything up to `end` counts as read.
    pub(super) fn reach(&mut self, end: Position) {
        self.inside = Inside::Nothing;
        if let Some((domain, server, sequence)) = self.gtid.take() {
            self.gtids.reach(domain, server, sequence);
            self.progress.main.gtid = self.gtids.to_string();
        }
        if let Some(copies) = self.copies.take() {
            self.progress.copies = copies;
        }
        self.progress.main.position = end;
        self.dirty = true;
    }

    /// Whether a statement stands in a transaction whose end is still to come.
    pub(super) fn in_transaction(&self) -> bool {
        self.inside == Inside::Transaction
    }

    pub(super) fn begin(&mut self) {
        self.inside = Inside::Transaction;
    }

    /// Writes rows, position and structures in one transaction.
    pub(super) async fn flush(&mut self) -> Result<()> {
        self.progress.prune();
        let records = self.writer.records();
        let mut all = self.structures.unsaved(records);
        let pinned = self.progress.pinned();
        let points = self.unit.is_optimistic().then_some(&pinned);
        all.extend(self.structures.unsaved_infos(records, points));
        all.push(records.put(Kind::Progress, "", &self.progress));
        all.push(records.put_global(&pinned));
        self.writer.commit(all).await?;
        let main = &self.progress.main.position;
        let first = self.progress.held.first_start().unwrap_or(main);
        self.unit.exceptions.passed(first.min(main));
        self.structures.written();
        self.dirty = false;
        self.flushed = Instant::now();
        let rows = std::mem::take(&mut self.rows);
        self.unit.board.update(|f| f.count_rows(rows));
        self.show();
        Ok(())
    }

    /// There is something to write down.
    pub(super) fn touch(&mut self) {
        self.dirty = true;
    }

    /// Puts the state where the status is read from.
    fn show(&self) {
        let open = |(target, group): (&TableName, &crate::shard::group::Group)| {
            let (synced, unsynced) = group.synced();
            let text = |tables: Vec<&TableName>| tables.iter().map(ToString::to_string).collect();
            OpenGroup {
                target: target.to_string(),
                ddls: group
                    .items
                    .first()
                    .map(|i| i.ddls.clone())
                    .unwrap_or_default(),
                first: group
                    .first_start()
                    .map(|p| format!("position: {p}, gtid-set: "))
                    .unwrap_or_default(),
                synced: text(synced),
                unsynced: text(unsynced),
            }
        };
        let groups = self.progress.groups.iter();
        let groups = groups
            .filter(|(_, g)| g.is_unresolved())
            .map(open)
            .chain(self.waiting())
            .collect();
        let applied = self.progress.main.clone();
        self.unit.board.update(|f| {
            f.applied = applied;
            f.groups = groups;
        });
    }

    /// Tables that wait to be redirected, by their target.
    fn waiting(&self) -> Vec<OpenGroup> {
        let held = &self.progress.held;
        let read_again = held.again.iter().flat_map(|again| again.tables.iter());
        let waiting = held.tables.iter().map(|(table, hold)| (table, &hold.from));
        let mut groups: BTreeMap<TableName, OpenGroup> = BTreeMap::new();
        for (table, from) in waiting.chain(read_again) {
            let target = self.unit.rules.target(table);
            let group = groups.entry(target.clone()).or_insert_with(|| OpenGroup {
                target: target.to_string(),
                first: format!("position: {from}, gtid-set: "),
                ..OpenGroup::default()
            });
            group.unsynced.push(table.to_string());
        }
        groups.into_values().collect()
    }

    async fn rows(&mut self, rows: Rows, start: &Position, end: &Position) -> Result<()> {
        let Some(mapped) = self.maps.get(&rows.table_id) else {
            return Err(Error::Event {
                at: start.clone(),
                source: DecodeError::Mismatch(
                    "rows of a table that was not named before".to_owned(),
                ),
            });
        };
        let Some(mapped) = mapped.clone() else {
            return Ok(());
        };
        let Decision::Apply { safe } = self.progress.decide(&mapped.table, &mapped.target, end)
        else {
            return Ok(());
        };
        if self.sequences.contains(&mapped.table) {
            return Ok(());
        }
        self.know(&mapped.table, &mapped.target).await?;
        let Some(structure) = self.structures.get(&mapped.table).cloned() else {
            return Ok(());
        };
        self.apply(&rows, &mapped, &structure, safe, start).await
    }

    /// Sees to it that a table has a structure. One that the log has not told, such as a table that came with an unreadable statement, is
    /// asked for: right unless it was changed meanwhile, which the number of columns would show.
    async fn know(&mut self, table: &TableName, target: &TableName) -> Result<()> {
        if self.structures.get(table).is_some() {
            return Ok(());
        }
        let mut conn = connection::reader(&self.unit.from)
            .await
            .map_err(upstream("connect"))?;
        if upstream::is_sequence(&mut conn, table).await? {
            tracing::warn!(%table, "a sequence: its steps are not replicated");
            self.sequences.insert(table.clone());
            return Ok(());
        }
        let described = upstream::describe(&mut conn, table).await?.ok_or_else(|| {
            dm_errors::DmError::new(dm_errors::Code::SYNCER_DOWNSTREAM_TABLE_NOT_FOUND, &[table])
                .message(format!("structure of source table {table} is not known"))
        })?;
        tracing::warn!(%table, "structure not tracked: the present one is taken");
        if let Some(info) = info_of(&self.unit, &mut conn, table, &described).await? {
            self.structures.set_info(table.clone(), info);
        }
        self.structures.set(table.clone(), described.structure);
        if self.unit.is_pessimistic() {
            self.progress
                .groups
                .entry(target.clone())
                .or_default()
                .join(table)?;
        }
        Ok(())
    }

    /// Turns row images into statements of the open transaction.
    pub(super) async fn apply(
        &mut self,
        rows: &Rows,
        mapped: &Mapped,
        structure: &dm_schema::Table,
        safe: bool,
        at: &Position,
    ) -> Result<()> {
        let kind = match rows.kind {
            RowsKind::Insert => "insert",
            RowsKind::Update => "update",
            RowsKind::Delete => "delete",
        };
        if !self.unit.rules.lets_through(&mapped.table, kind, None)? {
            return Ok(());
        }
        let mut changes =
            row::changes(rows, &mapped.map, structure).map_err(|source| Error::Event {
                at: at.clone(),
                source,
            })?;
        if !self.unit.rules.filters().of(&mapped.table).is_empty() {
            changes = Box::pin(self.sieve(changes, &mapped.table, structure)).await?;
        }
        let safe = (safe || self.unit.config.syncer.safe_mode) && keys::has_key(structure);
        let target = match rows.kind {
            // Its structure matters only where rows have to be found.
            RowsKind::Insert if self.unit.is_optimistic() && !safe => Arc::default(),
            _ => self.target(&mapped.target).await?,
        };
        let shape = Shape {
            name: &mapped.target,
            target: &target,
            source: structure,
            // Without a key downstream nothing would be put in the place of anything.
            safe: safe && keys::has_key(&target.structure),
        };
        self.rows += u64::try_from(changes.len()).unwrap_or_default();
        for change in &changes {
            self.writer.add(of_change(change, &shape)).await?;
        }
        Ok(())
    }

    /// A downstream table: read once and again after each DDL; in optimistic mode for each transaction, since other sources change it at any time.
    async fn target(&mut self, name: &TableName) -> Result<Arc<Target>> {
        if self.unit.is_optimistic() {
            // Apart from the frame of the events, as the rest of what is rarely done.
            return Box::pin(self.writer.hold_still(name)).await;
        }
        if let Some(target) = self.targets.get(name) {
            return Ok(target.clone());
        }
        let target = Box::pin(self.writer.hold_still(name)).await?;
        self.targets.insert(name.clone(), target.clone());
        Ok(target)
    }

    /// The downstream's structure has changed.
    pub(super) fn forget_targets(&mut self) {
        self.targets.clear();
    }
}
