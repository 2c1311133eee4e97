//! The side of the optimist, played by a test.

use dm_keyspace::optimism::{
    ConflictStage, Info, InfoKey, Operation, OperationKey, SourceTables, SourceTablesKey,
};
use dm_store::{KeyRange, KeyValue};
use dm_testkit::{wait_for, wait_until};

use crate::harness::{LIMIT, SOURCE, Site, TASK};

pub(crate) fn info_key(table: &str) -> String {
    InfoKey {
        task: TASK.into(),
        source: SOURCE.into(),
        schema: "shop".to_owned(),
        table: table.to_owned(),
    }
    .encode()
}

fn operation_key(table: &str) -> String {
    OperationKey {
        task: TASK.into(),
        source: SOURCE.into(),
        schema: "shop".to_owned(),
        table: table.to_owned(),
    }
    .encode()
}

/// An info and how often it was put.
struct Reported {
    info: Info,
    version: i64,
}

impl Site {
    pub(crate) async fn kv(&self, key: String) -> Option<KeyValue> {
        self.store.get(key).await.unwrap()
    }

    pub(crate) async fn present(&self, table: &str) -> Option<Operation> {
        let kv = self.kv(operation_key(table)).await?;
        Some(Operation::from_bytes(&kv.value).unwrap())
    }

    /// Waits for the `nth` put of the info of a table.
    pub(crate) async fn reported(&self, table: &str, nth: i64) -> Info {
        let found = wait_for(LIMIT, "the worker reports a DDL", || async {
            let kv = self.kv(info_key(table)).await?;
            (kv.version >= nth).then(|| Reported {
                info: Info::from_bytes(&kv.value).unwrap(),
                version: kv.version,
            })
        })
        .await
        .unwrap();
        assert_eq!(found.version, nth);
        found.info
    }

    pub(crate) async fn tell(&self, info: &Info, stage: ConflictStage, ddls: Option<Vec<String>>) {
        let operation = Operation {
            id: info.lock_id(),
            task: info.task.clone(),
            source: info.source.clone(),
            up_schema: info.up_schema.clone(),
            up_table: info.up_table.clone(),
            ddls,
            conflict_message: match stage {
                ConflictStage::None | ConflictStage::Resolved => String::new(),
                _ => "they disagree".to_owned(),
            },
            conflict_stage: stage,
            cols: Some(Vec::new()),
            ..Operation::default()
        };
        let key = operation.key().encode();
        self.store
            .put(key, operation.to_bytes(), None)
            .await
            .unwrap();
    }

    /// Accepts what was reported, and waits for the end.
    pub(crate) async fn accept(&self, info: &Info) {
        self.tell(info, ConflictStage::None, info.ddls.clone())
            .await;
        self.carried_out(&info.up_table).await;
    }

    pub(crate) async fn carried_out(&self, table: &str) {
        wait_until(LIMIT, "the worker is done", || async {
            self.present(table).await.is_some_and(|o| o.done)
        })
        .await
        .unwrap();
    }

    pub(crate) async fn redirect(&self, info: &Info) {
        self.tell(info, ConflictStage::Resolved, None).await;
    }

    /// The round is over for all tables.
    pub(crate) async fn forget(&self) {
        for prefix in [
            InfoKey::prefix_of_task(&TASK.into()),
            OperationKey::prefix_of_task(&TASK.into()),
        ] {
            self.store.delete(KeyRange::prefix(prefix)).await.unwrap();
        }
    }

    pub(crate) async fn ids(&self, expected: &[&str]) {
        let found = wait_until(LIMIT, "rows of the downstream", || async {
            self.down_ids().await == expected
        })
        .await;
        assert!(
            found.is_ok(),
            "{:?} instead of {expected:?}",
            self.down_ids().await
        );
    }

    pub(crate) async fn down_ids(&self) -> Vec<String> {
        let rows = self.down.query("SELECT id FROM merged.t ORDER BY id").await;
        rows.unwrap().into_iter().flatten().flatten().collect()
    }

    pub(crate) async fn listed(&self) -> Vec<String> {
        let key = SourceTablesKey {
            task: TASK.into(),
            source: SOURCE.into(),
        };
        let Some(kv) = self.kv(key.encode()).await else {
            return Vec::new();
        };
        let tables = SourceTables::from_bytes(&kv.value).unwrap();
        let all = tables
            .routes()
            .map(|r| format!("{}.{}<-{}.{}", r.0, r.1, r.2, r.3));
        all.collect()
    }

    pub(crate) async fn lists(&self, expected: &[&str]) {
        wait_until(LIMIT, "the listed tables", || async {
            self.listed().await == expected
        })
        .await
        .unwrap();
    }
}
