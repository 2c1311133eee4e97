//! The main job as a story: shards of one table on two servers are merged into one table while rows keep being written, the table is altered
//! shard by shard, the coordinator is killed in the middle, and at the end everything is compared.

mod act;
mod optimistic;
mod stage;

use std::path::PathBuf;
use std::time::Duration;

use crate::Result;
use crate::orders::ShardMode;
use crate::story::Story;

pub(crate) use stage::inventory;

/// What the demo may be told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder to keep everything in; a temporary one by default.
    pub dir: Option<PathBuf>,
    /// Where the programs are, when not beside the running one.
    pub bin_dir: Option<PathBuf>,
    /// A collector that gets all spans as well.
    pub otlp: Option<String>,
    /// Rows in each shard at the beginning.
    pub rows: u64,
    /// Pause between two transactions on one shard.
    pub pace: Duration,
    /// Which of the two stories.
    pub mode: ShardMode,
}

impl Default for Options {
    /// A few hundred rows, then a transaction about every 15 milliseconds on each shard.
    fn default() -> Self {
        Self {
            dir: None,
            bin_dir: None,
            otlp: None,
            rows: 300,
            pace: Duration::from_millis(15),
            mode: ShardMode::Pessimistic,
        }
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The downstream is the merge of the sources.
    Equal,
    /// It is not; the story says where.
    Different,
}

/// Plays the whole demo.
pub async fn play(options: &Options, story: &mut Story) -> Result<Verdict> {
    match options.mode {
        ShardMode::Pessimistic => act::prologue(story),
        ShardMode::Optimistic => optimistic::prologue(story),
    }
    let mut stage = stage::Stage::build(options, story).await?;
    act::start_migration(&mut stage, story, options.mode).await?;
    match options.mode {
        ShardMode::Pessimistic => {
            act::alter_every_shard(&mut stage, story).await?;
            act::show_trace(&stage, story).await?;
            act::alter_and_kill(&mut stage, story).await?;
        }
        ShardMode::Optimistic => optimistic::play(&stage, story).await?,
    }
    let verdict = act::compare(&mut stage, story).await?;
    stage.close(story).await?;
    act::epilogue(story, verdict, options.mode);
    Ok(verdict)
}
