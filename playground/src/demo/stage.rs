//! What the demo plays on: the cluster, the shards, the writers and the receiver of traces.

use dm_keyspace::Role;
use dm_testkit::otlp::Collector;

use super::Options;
use crate::migration::LIMIT;
use crate::orders::{self, Shard};
use crate::story::Story;
use crate::traces::Tee;
use crate::writers::Writers;
use crate::{Error, Playground, Result};

pub(super) struct Stage {
    pub(super) playground: Playground,
    pub(super) collector: Collector,
    pub(super) shards: Vec<Shard>,
    writers: Option<Writers>,
    _tee: Option<Tee>,
}

impl Stage {
    pub(super) async fn build(options: &Options, story: &mut Story) -> Result<Self> {
        story.chapter("Everything starts");
        let collector = Collector::start().await?;
        let tee = match &options.otlp {
            Some(url) => Some(Tee::start(&collector.endpoint(), url).await?),
            None => None,
        };
        let otlp = tee
            .as_ref()
            .map_or_else(|| collector.endpoint(), Tee::endpoint);
        let mut builder = Playground::builder()
            .sources(2)
            .workers(2)
            .replicas(2)
            .otlp(otlp);
        if let Some(dir) = &options.dir {
            builder = builder.dir(dir);
        }
        if let Some(dir) = &options.bin_dir {
            builder = builder.bin_dir(dir);
        }
        let mut playground = builder.start().await?;
        playground.wait_ready().await?;
        story.say("These processes run now, each with its own folder and log:");
        story.show(&inventory(&mut playground).await?);
        if let Some(url) = &options.otlp {
            story.say(&format!("Every process sends its spans to {url} as well."));
        }
        let shards = orders::shards(2, 2);
        orders::create(&playground, &shards).await?;
        let writers = Writers::start(&playground, &shards, options.rows, options.pace).await?;
        Ok(Self {
            playground,
            collector,
            shards,
            writers: Some(writers),
            _tee: tee,
        })
    }

    pub(super) fn writers(&self) -> Result<&Writers> {
        self.writers
            .as_ref()
            .ok_or_else(|| Error::Unexpected("the writers have been stopped".to_owned()))
    }

    pub(super) fn take_writers(&mut self) -> Result<Writers> {
        self.writers
            .take()
            .ok_or_else(|| Error::Unexpected("the writers have been stopped".to_owned()))
    }

    pub(super) async fn close(self, story: &mut Story) -> Result<()> {
        story.say("Now everything is stopped in order: workers, services, databases, etcd.");
        self.playground.stop().await?;
        story.say("Every process has ended.");
        Ok(())
    }
}

/// One line per process.
pub(crate) async fn inventory(playground: &mut Playground) -> Result<String> {
    let mut text = line(
        "etcd",
        playground.etcd().endpoint().trim_start_matches("http://"),
        "",
    );
    for server in playground.sources() {
        text += &line(
            server.name(),
            &format!("127.0.0.1:{}", server.port()),
            "MariaDB, has shards",
        );
    }
    let downstream = playground.downstream();
    text += &line(
        downstream.name(),
        &format!("127.0.0.1:{}", downstream.port()),
        "MariaDB, they are merged into it",
    );
    for role in Role::ALL {
        let leader = playground.wait_leader(role, LIMIT).await?;
        for (number, unit) in playground.replicas(role).iter().enumerate() {
            let part = if number == leader {
                "active"
            } else {
                "standby"
            };
            text += &line(
                unit.name(),
                unit.addr(),
                &format!("pid {}, {part}", unit.pid()),
            );
        }
    }
    for unit in playground.workers() {
        text += &line(unit.name(), unit.addr(), &format!("pid {}", unit.pid()));
    }
    Ok(text)
}

fn line(name: &str, addr: &str, part: &str) -> String {
    format!("{}\n", format!("{name:<14} {addr:<18} {part}").trim_end())
}
