//! Events: what a binlog consists of.

use super::reader::{DecodeError, Reader};
use super::table_map::TableMap;

/// One event, decoded as far as replication needs it.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The log goes on in another file.
    Rotate {
        /// Its name.
        file: String,
        /// Where in it.
        pos: u64,
    },
    /// A statement as text.
    Query(Query),
    /// The end of a transaction.
    Xid,
    /// Names a table for the row events that follow.
    TableMap(TableMap),
    /// Changed rows of one table.
    Rows(Rows),
    /// The start of a group of events on MariaDB.
    MariaGtid {
        /// Sequence number in its domain.
        sequence: u64,
        /// Domain.
        domain: u32,
        /// See [`GROUP_STANDALONE`].
        flags: u8,
    },
    /// The start of a group of events on MySQL.
    Gtid,
    /// The server is alive and has nothing to say.
    Heartbeat,
    /// Of no interest to replication.
    Other,
}

/// Flag of a MariaDB GTID event: the group is exactly the one event that follows.
pub const GROUP_STANDALONE: u8 = 0x01;

/// A statement and the session it ran in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// Default schema; empty when none.
    pub schema: String,
    /// The statement.
    pub text: String,
    /// sql_mode bits, if the event carries them.
    pub sql_mode: Option<u64>,
    /// Time zone of the session, if the event carries it.
    pub time_zone: Option<String>,
}

/// What happened to rows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RowsKind {
    /// New rows.
    Insert,
    /// Changed rows: before and after.
    Update,
    /// Removed rows.
    Delete,
}

/// Row images, not decoded: that takes the table's structure.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// Number that the last table map gave the table.
    pub table_id: u64,
    /// What happened.
    pub kind: RowsKind,
    /// Number of columns.
    pub columns: usize,
    /// Which columns the first image has.
    pub before: Vec<u8>,
    /// Which columns the second image of an update has; empty otherwise.
    pub after: Vec<u8>,
    /// The images.
    pub images: Vec<u8>,
}

/// The event may be ignored by those who do not know its type.
const FLAG_IGNORABLE: u16 = 0x80;

/// Decodes one event from its type, flags and body (without checksum).
pub fn decode(kind: u8, flags: u16, body: &[u8]) -> Result<Event, DecodeError> {
    let mut reader = Reader::new(body);
    match kind {
        2 => query(&mut reader).map(Event::Query),
        4 => {
            let pos = reader.le(8, "rotate")?;
            let file = String::from_utf8_lossy(reader.rest()).into_owned();
            Ok(Event::Rotate { file, pos })
        }
        16 => Ok(Event::Xid),
        19 => TableMap::decode(&mut reader).map(Event::TableMap),
        23..=25 => rows(kind - 23, false, &mut reader).map(Event::Rows),
        30..=32 => rows(kind - 30, true, &mut reader).map(Event::Rows),
        162 => {
            let sequence = reader.le(8, "gtid")?;
            let domain = u32::try_from(reader.le(4, "gtid")?)
                .map_err(|_| DecodeError::Short("gtid domain"))?;
            let flags = reader.u8("gtid")?;
            Ok(Event::MariaGtid {
                sequence,
                domain,
                flags,
            })
        }
        33 | 34 => Ok(Event::Gtid),
        27 | 41 => Ok(Event::Heartbeat),
        // Stop, intvar, format description, random and user variables, ignorable, rows query, previous GTIDs, annotated rows, binlog checkpoint and GTID list of MariaDB, and the payload head of MySQL, whose inner events arrive by themselves.
        3 | 5 | 13 | 14 | 15 | 28 | 29 | 35 | 40 | 160 | 161 | 163 => Ok(Event::Other),
        38 => Err(DecodeError::Unsupported(
            "XA transactions, whose rows are logged before it is known whether they stay"
                .to_owned(),
        )),
        39 => Err(DecodeError::Unsupported(
            "partial JSON updates; set binlog_row_value_options to the empty text".to_owned(),
        )),
        165..=171 => Err(DecodeError::Unsupported(
            "compressed events; set log_bin_compress to OFF".to_owned(),
        )),
        _ if flags & FLAG_IGNORABLE != 0 => Ok(Event::Other),
        other => Err(DecodeError::Unsupported(format!("event type {other}"))),
    }
}

fn rows(kind: u8, extra: bool, reader: &mut Reader<'_>) -> Result<Rows, DecodeError> {
    let kind = match kind {
        0 => RowsKind::Insert,
        1 => RowsKind::Update,
        _ => RowsKind::Delete,
    };
    let table_id = reader.le(6, "rows")?;
    reader.take(2, "rows flags")?;
    if extra {
        let len = reader.le(2, "rows extra data")?;
        // The length counts its own two bytes.
        let len = usize::try_from(len.saturating_sub(2)).unwrap_or_default();
        reader.take(len, "rows extra data")?;
    }
    let columns = reader.length("number of columns")?;
    let bitmap = columns.div_ceil(8);
    let before = reader.take(bitmap, "columns present")?.to_vec();
    let after = match kind {
        RowsKind::Update => reader.take(bitmap, "columns present")?.to_vec(),
        RowsKind::Insert | RowsKind::Delete => Vec::new(),
    };
    Ok(Rows {
        table_id,
        kind,
        columns,
        before,
        after,
        images: reader.rest().to_vec(),
    })
}

fn query(reader: &mut Reader<'_>) -> Result<Query, DecodeError> {
    reader.take(8, "query head")?;
    let schema_len = usize::from(reader.u8("query head")?);
    reader.take(2, "query head")?;
    let status_len = usize::try_from(reader.le(2, "query head")?).unwrap_or_default();
    let status = reader.take(status_len, "query status")?;
    let schema = reader.take(schema_len, "query schema")?;
    reader.take(1, "query schema")?;
    let mut query = Query {
        schema: String::from_utf8_lossy(schema).into_owned(),
        text: String::from_utf8_lossy(reader.rest()).into_owned(),
        ..Query::default()
    };
    // The block may hold codes of which not even the length is known; what was read before one counts.
    let _ = status_variables(status, &mut query);
    Ok(query)
}

fn status_variables(status: &[u8], query: &mut Query) -> Result<(), DecodeError> {
    let mut reader = Reader::new(status);
    while !reader.is_empty() {
        match reader.u8("status code")? {
            0 => {
                reader.take(4, "flags")?;
            }
            1 => query.sql_mode = Some(reader.le(8, "sql_mode")?),
            3 => {
                reader.take(4, "auto increment")?;
            }
            4 => {
                reader.take(6, "charset")?;
            }
            5 => {
                let len = usize::from(reader.u8("time zone")?);
                let zone = reader.take(len, "time zone")?;
                query.time_zone = Some(String::from_utf8_lossy(zone).into_owned());
            }
            6 => {
                let len = usize::from(reader.u8("catalog")?);
                reader.take(len, "catalog")?;
            }
            7 | 8 => {
                reader.take(2, "number")?;
            }
            9 => {
                reader.take(8, "map")?;
            }
            128 => {
                reader.take(3, "microseconds")?;
            }
            _ => return Ok(()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_query_carries_its_session() {
        let mut body = vec![0; 8];
        body.push(2);
        body.extend([0, 0]);
        let status = [
            0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 0, 0, 0, 0, 6, 3, b's', b't', b'd', 5, 3, b'U', b'T',
            b'C', 200, 9,
        ];
        body.extend([u8::try_from(status.len()).unwrap(), 0]);
        body.extend(status);
        body.extend(b"db\0ALTER TABLE t FORCE");
        let Ok(Event::Query(query)) = decode(2, 0, &body) else {
            panic!("no query")
        };
        assert_eq!(query.schema, "db");
        assert_eq!(query.text, "ALTER TABLE t FORCE");
        assert_eq!(query.sql_mode, Some(4));
        assert_eq!(query.time_zone.as_deref(), Some("UTC"));
    }

    #[test]
    fn an_unknown_event_is_an_error_unless_it_may_be_ignored() {
        assert!(decode(99, 0, &[]).is_err());
        assert_eq!(decode(99, FLAG_IGNORABLE, &[]), Ok(Event::Other));
        for compressed in 165..=171 {
            assert!(decode(compressed, FLAG_IGNORABLE, &[]).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(kind: u8, body in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = decode(kind, 0, &body);
        }
    }
}
