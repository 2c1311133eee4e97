//! The MariaDB servers: those to migrate from, and the one to migrate into.

use std::path::Path;

use dm_testkit::mariadb::{self, MariaDb, Options};
use futures::future::try_join_all;

use crate::{Error, Result};

/// The replication id of the downstream, out of the way of those of the sources.
const DOWNSTREAM_ID: u32 = 100;

/// Starts them all on copies of one data folder.
pub(crate) async fn start(root: &Path, sources: usize) -> Result<(Vec<MariaDb>, MariaDb)> {
    let template = root.join("mariadb-template");
    mariadb::make_template(&template).await?;
    let start = |name: String, server_id: u32| {
        let options = Options {
            template: Some(template.clone()),
            own_group: true,
            ..Options::new(server_id)
        };
        let dir = root.join(&name);
        async move { Ok::<_, Error>(MariaDb::start(&name, dir, options).await?) }
    };
    let sources = (1..)
        .take(sources)
        .map(|id| start(format!("source-{id}"), id));
    let sources = try_join_all(sources);
    tokio::try_join!(sources, start("downstream".to_owned(), DOWNSTREAM_ID))
}
