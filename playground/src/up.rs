//! A cluster that stays up, with what to try on it.

use std::future::Future;
use std::path::PathBuf;

use crate::demo::inventory;
use crate::orders::ShardMode;
use crate::story::Story;
use crate::{Playground, Result, orders};

/// What to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder to keep everything in; a temporary one by default.
    pub dir: Option<PathBuf>,
    /// Where the programs are, when not beside the running one.
    pub bin_dir: Option<PathBuf>,
    /// A collector that gets all spans.
    pub otlp: Option<String>,
    /// MariaDB servers to migrate from.
    pub sources: usize,
    /// Workers.
    pub workers: usize,
    /// Processes of each service.
    pub replicas: usize,
}

/// Starts a cluster, prints what there is and what to do with it, and ends it in order when `until` is done.
pub async fn run(
    options: Options,
    story: &mut Story,
    until: impl Future<Output = ()>,
) -> Result<()> {
    let mut until = std::pin::pin!(until);
    let started = tokio::select! {
        started = start(options) => started?,
        // Dropping the start ends what it had started.
        () = &mut until => return Ok(()),
    };
    let mut playground = started;
    story.say("Ready. What runs:");
    story.show(&inventory(&mut playground).await?);
    let shards = orders::shards(playground.sources().len(), 2);
    orders::create(&playground, &shards).await?;
    let sources = orders::write_source_files(&playground)?;
    let task = orders::write_task_file(&playground, ShardMode::Pessimistic)?;
    story.say("To try, in another terminal:");
    story.show(&examples(&playground, &sources, &task));
    story.say("Ctrl-C ends everything.");
    until.await;
    story.say("Stopping.");
    playground.stop().await
}

async fn start(options: Options) -> Result<Playground> {
    let mut builder = Playground::builder()
        .sources(options.sources)
        .workers(options.workers)
        .replicas(options.replicas);
    if let Some(dir) = options.dir {
        builder = builder.dir(dir);
    }
    if let Some(dir) = options.bin_dir {
        builder = builder.bin_dir(dir);
    }
    if let Some(url) = options.otlp {
        builder = builder.otlp(url);
    }
    let mut playground = builder.start().await?;
    playground.wait_ready().await?;
    Ok(playground)
}

fn examples(playground: &Playground, sources: &[PathBuf], task: &std::path::Path) -> String {
    let mut text = format!("export DM_MASTER_ADDR={}\n", playground.doors());
    let dmctl = playground.dmctl_program().program.display().to_string();
    text += &format!("{dmctl} list-member\n");
    for source in sources {
        text += &format!("{dmctl} operate-source create {}\n", source.display());
    }
    text += &format!(
        "{dmctl} start-task {}\n{dmctl} query-status {}\n",
        task.display(),
        orders::TASK
    );
    for server in playground.sources().iter().chain([playground.downstream()]) {
        text += &format!(
            "mariadb --host 127.0.0.1 --port {} --user dm --password={}   # {}\n",
            server.port(),
            server.password(),
            server.name()
        );
    }
    text += "Logs are in the folder of each process under ";
    text += &format!("{}\n", playground.root().display());
    text
}
