//! Settings of the units of a subtask: dump, load, sync and the validator. They are entries of the task file, and
//! all but the validator's lie flattened in a subtask's record.

use dm_errors::{Code, DmError};
use serde::{Deserialize, Deserializer, Serialize};

use crate::duration::GoDuration;
use crate::yaml::Map;

/// Settings of the full dump.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Mydumper {
    /// Only looked at for being empty.
    #[serde(default)]
    pub mydumper_path: String,
    /// Connections that read at once.
    #[serde(default)]
    pub threads: i64,
    /// Size of a file; a bare number is in MiB.
    #[serde(default)]
    pub chunk_filesize: String,
    /// Bytes of one statement; 0 for the unit's own choice.
    #[serde(default)]
    pub statement_size: u64,
    /// Rows of one statement; 0 for the unit's own choice.
    #[serde(default)]
    pub rows: u64,
    /// Condition on every table.
    #[serde(rename = "where", default)]
    pub where_: String,
    /// Times are read in the source's zone.
    #[serde(default)]
    pub skip_tz_utc: bool,
    /// More flags, separated by blanks.
    #[serde(default)]
    pub extra_args: String,
}

impl Default for Mydumper {
    fn default() -> Self {
        Self {
            mydumper_path: "./bin/mydumper".into(),
            threads: 4,
            chunk_filesize: "64".into(),
            statement_size: 0,
            rows: 0,
            where_: String::new(),
            skip_tz_utc: true,
            extra_args: String::new(),
        }
    }
}

impl Mydumper {
    pub(crate) fn read(map: &mut Map<'_>) -> Self {
        let mut own = Self::default();
        map.string("mydumper-path", &mut own.mydumper_path);
        map.int("threads", &mut own.threads);
        map.string("chunk-filesize", &mut own.chunk_filesize);
        map.int("statement-size", &mut own.statement_size);
        map.int("rows", &mut own.rows);
        map.string("where", &mut own.where_);
        map.bool("skip-tz-utc", &mut own.skip_tz_utc);
        map.string("extra-args", &mut own.extra_args);
        own
    }

    /// Bytes of one dump file.
    pub fn chunk_bytes(&self) -> Result<u64, DmError> {
        let text = if self.chunk_filesize.is_empty() {
            "64"
        } else {
            self.chunk_filesize.as_str()
        };
        let bytes = match text.parse::<u64>() {
            Ok(mebibytes) => mebibytes.checked_mul(1 << 20),
            Err(_) => parse_size(text),
        };
        bytes.ok_or_else(|| DmError::new(Code::CONFIG_INVALID_CHUNK_FILE_SIZE, &[&text]))
    }
}

/// `64M`, `1.5GiB`, `1024`: bytes with binary units.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim().to_lowercase();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let number: f64 = text[..digits].parse().ok()?;
    let shift = match text[digits..].trim() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return None,
    };
    let bytes = number * f64::from(2_i32.pow(10)).powi(shift / 10);
    (bytes < 9.2e18).then_some(bytes as u64)
}

/// Settings of the full load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Loader {
    /// Connections that write at once.
    #[serde(default)]
    pub pool_size: i64,
    /// Where the dump lies.
    #[serde(default)]
    pub dir: String,
    /// Scratch space of the physical import.
    #[serde(default)]
    pub sorting_dir_physical: String,
    /// `logical`, `physical` or `import-into`.
    #[serde(default)]
    pub import_mode: String,
    /// Deprecated and ignored.
    #[serde(default)]
    pub on_duplicate: String,
    /// `replace`, `error` or `ignore`.
    #[serde(default)]
    pub on_duplicate_logical: String,
    /// `none` or `manual`.
    #[serde(default)]
    pub on_duplicate_physical: String,
    /// Bytes.
    #[serde(default, deserialize_with = "size_or_int")]
    pub disk_quota_physical: i64,
    /// `required`, `optional` or `off`.
    #[serde(default)]
    pub checksum_physical: String,
    /// `required`, `optional` or `off`.
    #[serde(default)]
    pub analyze: String,
    /// Regions written at once by the physical import.
    #[serde(default)]
    pub range_concurrency: i64,
    /// Compression of the physical import.
    #[serde(default)]
    pub compress_kv_pairs: String,
    /// Address of the target's placement driver.
    #[serde(default)]
    pub pd_addr: String,
}

impl Default for Loader {
    fn default() -> Self {
        Self {
            pool_size: 16,
            dir: "./dumped_data".into(),
            sorting_dir_physical: String::new(),
            import_mode: "logical".into(),
            on_duplicate: String::new(),
            on_duplicate_logical: "replace".into(),
            on_duplicate_physical: String::new(),
            disk_quota_physical: 0,
            checksum_physical: String::new(),
            analyze: String::new(),
            range_concurrency: 0,
            compress_kv_pairs: String::new(),
            pd_addr: String::new(),
        }
    }
}

impl Loader {
    pub(crate) fn read(map: &mut Map<'_>) -> Self {
        let mut own = Self::default();
        map.int("pool-size", &mut own.pool_size);
        map.string("dir", &mut own.dir);
        map.string("sorting-dir-physical", &mut own.sorting_dir_physical);
        map.string("import-mode", &mut own.import_mode);
        map.string("on-duplicate", &mut own.on_duplicate);
        map.string("on-duplicate-logical", &mut own.on_duplicate_logical);
        map.string("on-duplicate-physical", &mut own.on_duplicate_physical);
        map.parsed(
            "disk-quota-physical",
            &mut own.disk_quota_physical,
            |text| {
                size_as_int(text).ok_or_else(|| {
                    format!("invalid size {text:?}, expected a form such as 1024 or 10G")
                })
            },
        );
        map.string("checksum-physical", &mut own.checksum_physical);
        map.string("analyze", &mut own.analyze);
        map.int("range-concurrency", &mut own.range_concurrency);
        map.string("compress-kv-pairs", &mut own.compress_kv_pairs);
        map.string("pd-addr", &mut own.pd_addr);
        own
    }

    /// Fills what is empty and refuses values outside their lists.
    pub(crate) fn adjust(&mut self) -> Result<(), DmError> {
        self.import_mode = match self.import_mode.to_lowercase().as_str() {
            "" | "sql" | "loader" => "logical".into(),
            mode => mode.to_owned(),
        };
        if self.pool_size == 0 {
            self.pool_size = 16;
        }
        choose(
            &mut self.import_mode,
            &["logical", "physical", "import-into"],
            Code::CONFIG_INVALID_LOAD_MODE,
        )?;
        let on_duplicate = &["replace", "error", "ignore"];
        choose(
            &mut self.on_duplicate_logical,
            on_duplicate,
            Code::CONFIG_INVALID_DUPLICATE_RESOLUTION,
        )?;
        let physical = Code::CONFIG_INVALID_PHYSICAL_DUPLICATE_RESOLUTION;
        choose(
            &mut self.on_duplicate_physical,
            &["none", "manual"],
            physical,
        )?;
        let required = &["required", "optional", "off"];
        choose(
            &mut self.checksum_physical,
            required,
            Code::CONFIG_INVALID_PHYSICAL_CHECKSUM,
        )?;
        choose(
            &mut self.analyze,
            &["optional", "required", "off"],
            Code::CONFIG_INVALID_LOAD_ANALYZE,
        )
    }
}

/// Lower-cases the value, takes the first choice when it is empty, and refuses what is no choice.
fn choose(value: &mut String, choices: &[&str], code: Code) -> Result<(), DmError> {
    let lower = value.to_lowercase();
    match lower.as_str() {
        "" => choices[0].clone_into(value),
        known if choices.contains(&known) => *value = lower,
        _ => return Err(DmError::new(code, &[value])),
    }
    Ok(())
}

fn size_as_int(text: &str) -> Option<i64> {
    parse_size(text).and_then(|bytes| i64::try_from(bytes).ok())
}

fn size_or_int<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Int(i64),
        Text(String),
    }
    match Either::deserialize(deserializer)? {
        Either::Int(bytes) => Ok(bytes),
        Either::Text(text) => size_as_int(&text)
            .ok_or_else(|| serde::de::Error::custom(format!("invalid size {text:?}"))),
    }
}

/// Settings of the replication from the binlog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Syncer {
    /// Not used in a cluster.
    #[serde(default)]
    pub meta_file: String,
    /// Connections that write at once.
    #[serde(default)]
    pub worker_count: i64,
    /// Row changes in one transaction.
    #[serde(default)]
    pub batch: i64,
    /// Row changes waiting for each connection.
    #[serde(default)]
    pub queue_size: i64,
    /// Seconds between two checkpoints.
    #[serde(default)]
    pub checkpoint_flush_interval: i64,
    /// Changes of one row are merged before they are written.
    #[serde(default)]
    pub compact: bool,
    /// Changes of several rows go into one statement.
    #[serde(default)]
    pub multiple_rows: bool,
    /// Deprecated.
    #[serde(default)]
    pub max_retry: i64,
    /// Deprecated.
    #[serde(default)]
    pub auto_fix_gtid: bool,
    /// Taken from the source by the worker.
    #[serde(default)]
    pub enable_gtid: bool,
    /// Deprecated.
    #[serde(default)]
    pub disable_detect: bool,
    /// Row changes are written so that they can be repeated.
    #[serde(default)]
    pub safe_mode: bool,
    /// How long after a start row changes are written so; a Go duration.
    #[serde(default)]
    pub safe_mode_duration: String,
    /// Deprecated.
    #[serde(default)]
    pub enable_ansi_quotes: bool,
}

impl Default for Syncer {
    fn default() -> Self {
        Self {
            meta_file: String::new(),
            worker_count: 16,
            batch: 100,
            queue_size: 1024,
            checkpoint_flush_interval: 30,
            compact: false,
            multiple_rows: false,
            max_retry: 0,
            auto_fix_gtid: false,
            enable_gtid: false,
            disable_detect: false,
            safe_mode: false,
            safe_mode_duration: "60s".into(),
            enable_ansi_quotes: false,
        }
    }
}

impl Syncer {
    pub(crate) fn read(map: &mut Map<'_>) -> Self {
        let mut own = Self::default();
        map.string("meta-file", &mut own.meta_file);
        map.int("worker-count", &mut own.worker_count);
        map.int("batch", &mut own.batch);
        map.int("queue-size", &mut own.queue_size);
        map.int(
            "checkpoint-flush-interval",
            &mut own.checkpoint_flush_interval,
        );
        map.bool("compact", &mut own.compact);
        map.bool("multiple-rows", &mut own.multiple_rows);
        map.int("max-retry", &mut own.max_retry);
        map.bool("auto-fix-gtid", &mut own.auto_fix_gtid);
        map.bool("enable-gtid", &mut own.enable_gtid);
        map.bool("disable-detect", &mut own.disable_detect);
        map.bool("safe-mode", &mut own.safe_mode);
        map.string("safe-mode-duration", &mut own.safe_mode_duration);
        map.bool("enable-ansi-quotes", &mut own.enable_ansi_quotes);
        own
    }

    /// Fills what is empty and checks the duration of safe mode.
    pub(crate) fn adjust(&mut self) -> Result<(), DmError> {
        if self.queue_size == 0 {
            self.queue_size = 1024;
        }
        if self.checkpoint_flush_interval == 0 {
            self.checkpoint_flush_interval = 30;
        }
        if self.safe_mode_duration.is_empty() {
            let twice = self.checkpoint_flush_interval.saturating_mul(2);
            self.safe_mode_duration = format!("{twice}s");
        }
        let duration: GoDuration = self.safe_mode_duration.parse().map_err(|error| {
            DmError::new(
                Code::CONFIG_INVALID_SAFE_MODE_DURATION,
                &[&self.safe_mode_duration, &error],
            )
        })?;
        if self.safe_mode && duration.is_zero() {
            return Err(DmError::new(
                Code::CONFIG_CONFICT_SAFE_MODE_DURATION_AND_SAFE_MODE,
                &[],
            ));
        }
        Ok(())
    }
}

/// Settings of the continuous comparison of source and target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Validator {
    /// `none`, `fast` or `full`.
    pub mode: String,
    /// Rows compared at once.
    pub worker_count: i64,
    /// Between two looks at waiting rows.
    pub validate_interval: GoDuration,
    /// Between two looks at the unit's own state.
    pub check_interval: GoDuration,
    /// How long a row may differ before it counts as an error.
    pub row_error_delay: GoDuration,
    /// Between two writes of the validator's progress.
    pub meta_flush_interval: GoDuration,
    /// Rows asked for in one query.
    pub batch_query_size: i64,
    /// Bytes of rows that may wait; a size such as `500m`.
    pub max_pending_row_size: String,
    /// Rows that may wait.
    pub max_pending_row_count: i64,
    /// Where validation begins; set by the command that starts it, never in a file.
    pub start_time: String,
}

impl Validator {
    pub(crate) fn read(map: &mut Map<'_>) -> Self {
        let mut own = Self::default();
        map.string("mode", &mut own.mode);
        map.int("worker-count", &mut own.worker_count);
        map.parsed("validate-interval", &mut own.validate_interval, str::parse);
        map.parsed("check-interval", &mut own.check_interval, str::parse);
        map.parsed("row-error-delay", &mut own.row_error_delay, str::parse);
        map.parsed(
            "meta-flush-interval",
            &mut own.meta_flush_interval,
            str::parse,
        );
        map.int("batch-query-size", &mut own.batch_query_size);
        map.string("max-pending-row-size", &mut own.max_pending_row_size);
        map.int("max-pending-row-count", &mut own.max_pending_row_count);
        own
    }

    /// Fills what is empty and refuses an unknown mode or size.
    pub(crate) fn adjust(&mut self) -> Result<(), DmError> {
        match self.mode.as_str() {
            "" => self.mode = "none".into(),
            "none" | "fast" | "full" => {}
            other => {
                return Err(DmError::new(Code::CONFIG_VALIDATION_MODE, &[])
                    .cause(format!("`{other}` is no mode")));
            }
        }
        for (slot, seconds) in [
            (&mut self.validate_interval, 10),
            (&mut self.check_interval, 5),
            (&mut self.row_error_delay, 1800),
            (&mut self.meta_flush_interval, 300),
        ] {
            if slot.is_zero() {
                *slot = GoDuration::from_secs(seconds);
            }
        }
        if self.worker_count <= 0 {
            self.worker_count = 4;
        }
        for (slot, value) in [
            (&mut self.batch_query_size, 100),
            (&mut self.max_pending_row_count, i64::from(i32::MAX)),
        ] {
            if *slot == 0 {
                *slot = value;
            }
        }
        if self.max_pending_row_size.is_empty() {
            self.max_pending_row_size = "500m".into();
        }
        match parse_size(&self.max_pending_row_size) {
            Some(_) => Ok(()),
            None => Err(DmError::uncoded(format!(
                "invalid size: '{}'",
                self.max_pending_row_size
            ))),
        }
    }
}

/// Settings that are tried out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Experimental {
    /// Checkpoints are written beside the replication instead of between its transactions.
    pub async_checkpoint_flush: bool,
}
