//! Asks a TiDB cluster what a physical import depends on: its own tables tell of stores, regions and components, and
//! the etcd of its placement driver of backups and changefeeds. A target of another kind has no such tables, and the
//! checks say so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dm_store::{KeyRange, Options, Store as Etcd};
use dm_task::SubtaskConfig;
use dm_task::db::Security;

use super::ask::{Asker, cell};
use super::items::Items;
use super::physical::{Cluster, Mutex, Store};
use super::report::{Answer, Trouble};
use super::scope::TableName;
use dm_database::tls;

const LOG_TASKS: &str = "/tidb/br-stream/info/";
const CHANGEFEEDS: &str = "/tidb/cdc/";
const CHANGEFEED_INFO: &str = "/changefeed/info/";
/// A changefeed in one of these reads nothing any more.
const ENDED: [&str; 3] = ["finished", "failed", "removed"];
/// Replicas of a cluster that does not tell.
const USUAL_REPLICAS: u64 = 3;

/// Everything that the items ask for. The placement driver has until `limit` to answer.
pub(super) async fn ask(
    items: &Items,
    asker: &mut Asker,
    subtask: &SubtaskConfig,
    targets: &BTreeSet<&TableName>,
    limit: Duration,
) -> Cluster {
    let unasked = || Trouble::new("the cluster was not asked");
    let mut own = Cluster {
        stores: Err(unasked()),
        components: Err(unasked()),
        replicas: Ok(USUAL_REPLICAS),
        mutex: Err(unasked()),
        filled: BTreeMap::new(),
    };
    if items.has_any(&["empty_region", "region_distribution", "free_space"]) {
        own.stores = stores(asker).await;
    }
    if items.has_any(&["downstream_version", "downstream_mutex_features"]) {
        own.components = components(asker).await;
    }
    if items.has("free_space") && own.stores.is_ok() {
        own.replicas = replicas(asker).await;
    }
    if items.has("downstream_mutex_features") {
        own.mutex = match drivers(&own.components, &subtask.loader.pd_addr) {
            Ok(drivers) => mutex_within(limit, drivers, subtask.to.security.as_ref()).await,
            Err(trouble) => Err(trouble),
        };
    }
    if items.has_any(&["downstream_table_empty", "empty_region"]) {
        for table in targets {
            let rows = asker
                .rows_if_there(&format!("SELECT 1 FROM {table} LIMIT 1"))
                .await;
            let has_rows = rows.map(|rows| rows.is_some_and(|rows| !rows.is_empty()));
            own.filled.insert((*table).clone(), has_rows);
        }
    }
    own
}

async fn stores(asker: &mut Asker) -> Answer<Vec<Store>> {
    let empty = asker
        .rows(
            "SELECT P.STORE_ID, COUNT(DISTINCT P.REGION_ID) FROM INFORMATION_SCHEMA.TIKV_REGION_PEERS P \
             JOIN INFORMATION_SCHEMA.TIKV_REGION_STATUS R ON R.REGION_ID = P.REGION_ID \
             WHERE R.APPROXIMATE_SIZE <= 1 GROUP BY P.STORE_ID",
        )
        .await?;
    let number = |row: &mysql_async::Row, at| cell(row, at).parse::<u64>().unwrap_or(0);
    let empty: BTreeMap<u64, u64> = empty.iter().map(|r| (number(r, 0), number(r, 1))).collect();
    let rows = asker
        .rows(
            "SELECT STORE_ID, REGION_COUNT, CAPACITY, AVAILABLE, LABEL FROM INFORMATION_SCHEMA.TIKV_STORE_STATUS \
             WHERE STORE_STATE_NAME = 'Up'",
        )
        .await?;
    let rows = rows.iter().filter(|row| !cell(row, 4).contains("tiflash"));
    let store = |row: &mysql_async::Row| Store {
        id: number(row, 0),
        regions: number(row, 1),
        empty_regions: empty.get(&number(row, 0)).copied().unwrap_or(0),
        capacity: bytes(&cell(row, 2)),
        available: bytes(&cell(row, 3)),
    };
    Ok(rows.map(store).collect())
}

/// A size as the placement driver prints it, such as `1.968TiB`.
fn bytes(text: &str) -> u64 {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let shift = match unit.trim() {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        "PiB" => 50,
        "EiB" => 60,
        _ => 0,
    };
    // In thousandths, so that no fraction of a number is needed.
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction: String = fraction.chars().chain("000".chars()).take(3).collect();
    let thousandths = format!("{whole}{fraction}").parse::<u128>().unwrap_or(0);
    u64::try_from((thousandths << shift) / 1000).unwrap_or(u64::MAX)
}

async fn components(asker: &mut Asker) -> Answer<Vec<(String, String, String)>> {
    let rows = asker
        .rows("SELECT TYPE, INSTANCE, VERSION FROM INFORMATION_SCHEMA.CLUSTER_INFO")
        .await?;
    let row = |row: &mysql_async::Row| (cell(row, 0), cell(row, 1), cell(row, 2));
    Ok(rows.iter().map(row).collect())
}

async fn replicas(asker: &mut Asker) -> Answer<u64> {
    let rows = asker
        .rows("SHOW CONFIG WHERE TYPE = 'pd' AND NAME = 'replication.max-replicas'")
        .await?;
    let told = rows.first().and_then(|row| cell(row, 3).parse().ok());
    Ok(told.unwrap_or(USUAL_REPLICAS))
}

/// Where the etcd of the placement driver is: as the task says, else as the cluster does.
fn drivers(components: &Answer<Vec<(String, String, String)>>, given: &str) -> Answer<Vec<String>> {
    if !given.is_empty() {
        return Ok(given
            .split(',')
            .map(|addr| addr.trim().to_owned())
            .collect());
    }
    let components = components.as_ref().map_err(Clone::clone)?;
    let drivers = components.iter().filter(|(kind, _, _)| kind == "pd");
    let drivers: Vec<String> = drivers.map(|(_, address, _)| address.clone()).collect();
    match drivers.is_empty() {
        true => Err(Trouble::new(
            "the target does not tell of any placement driver",
        )),
        false => Ok(drivers),
    }
}

async fn mutex_within(
    limit: Duration,
    endpoints: Vec<String>,
    security: Option<&Security>,
) -> Answer<Mutex> {
    let silent = |_| {
        Trouble::new(format!(
            "placement driver of the target: no answer within {limit:?}"
        ))
    };
    let asked = tokio::time::timeout(limit, mutex(endpoints, security));
    asked.await.map_err(silent)?
}

async fn mutex(endpoints: Vec<String>, security: Option<&Security>) -> Answer<Mutex> {
    let material = match security {
        Some(security) => tls::load(security)
            .await
            .map_err(|error| Trouble::new(format!("placement driver of the target: {error}")))?,
        None => None,
    };
    let options = Options {
        endpoints,
        tls_content: material.map(tls::Material::into_content),
        ..Options::default()
    };
    let failed =
        |error: dm_store::Error| Trouble::new(format!("placement driver of the target: {error}"));
    let etcd = Etcd::connect(&options).await.map_err(failed)?;
    let log_tasks = etcd
        .snapshot(&KeyRange::prefix(LOG_TASKS))
        .await
        .map_err(failed)?;
    let changefeeds = etcd
        .snapshot(&KeyRange::prefix(CHANGEFEEDS))
        .await
        .map_err(failed)?;
    let name = |kv: &dm_store::KeyValue| {
        let key = String::from_utf8_lossy(&kv.key).into_owned();
        key.strip_prefix(LOG_TASKS).map(str::to_owned)
    };
    Ok(Mutex {
        log_tasks: log_tasks.entries.iter().filter_map(name).collect(),
        changefeeds: changefeeds.entries.iter().filter_map(changefeed).collect(),
    })
}

/// The name of a changefeed that may still read.
fn changefeed(kv: &dm_store::KeyValue) -> Option<String> {
    let key = String::from_utf8_lossy(&kv.key).into_owned();
    let (_, name) = key.split_once(CHANGEFEED_INFO)?;
    let info: serde_json::Value = serde_json::from_slice(&kv.value).unwrap_or_default();
    let state = info["state"].as_str().unwrap_or_default();
    (!ENDED.contains(&state)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use dm_testkit::memory::MemoryEtcd;

    use super::*;

    #[test]
    fn sizes_are_read_in_every_unit() {
        for (text, expected) in [
            ("1.5KiB", 1536),
            ("2GiB", 2 << 30),
            ("100", 100),
            ("0.5TiB", 1 << 39),
            ("", 0),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn the_drivers_are_those_of_the_task_or_of_the_cluster() {
        let pd = ("pd".to_owned(), "h:2379".to_owned(), "7.5.0".to_owned());
        assert_eq!(
            drivers(&Ok(vec![pd.clone()]), "a:1, b:2").unwrap(),
            ["a:1", "b:2"]
        );
        assert_eq!(drivers(&Ok(vec![pd]), "").unwrap(), ["h:2379"]);
        assert!(drivers(&Ok(Vec::new()), "").is_err());
    }

    #[tokio::test]
    async fn certificates_that_do_not_load_are_no_plain_text() {
        let etcd = MemoryEtcd::start().await.unwrap();
        let security = Security {
            ssl_ca_base64: "***".into(),
            ..Security::default()
        };
        let trouble = mutex(vec![etcd.endpoint()], Some(&security)).await;
        let text = trouble.unwrap_err().text;
        assert!(text.contains("ssl-ca: no base64"), "{text}");
        assert_eq!(etcd.count("Range"), 0);
    }

    #[tokio::test]
    async fn a_driver_that_is_silent_is_waited_for_no_longer_than_the_limit() {
        // It takes connections and says nothing.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        let limit = Duration::from_millis(50);
        let trouble = mutex_within(limit, vec![endpoint], None).await;
        assert_eq!(
            trouble.unwrap_err().text,
            "placement driver of the target: no answer within 50ms"
        );
    }

    #[tokio::test]
    async fn backups_and_changefeeds_that_run_are_found() {
        let etcd = MemoryEtcd::start().await.unwrap();
        etcd.put("/tidb/br-stream/info/backup1", "{}");
        etcd.put(
            "/tidb/cdc/default/default/changefeed/info/live",
            r#"{"state":"normal"}"#,
        );
        etcd.put(
            "/tidb/cdc/default/default/changefeed/info/done",
            r#"{"state":"finished"}"#,
        );
        etcd.put("/tidb/cdc/default/default/changefeed/status/live", "{}");
        let found = mutex(vec![etcd.endpoint()], None).await.unwrap();
        assert_eq!(found.log_tasks, ["backup1"]);
        assert_eq!(found.changefeeds, ["live"]);
    }
}
