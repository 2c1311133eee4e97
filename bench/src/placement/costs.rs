//! What one event costs the schedulers: the same work for each, so that what is left to differ is the number of sources.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use dm_keyspace::WorkerName;
use dm_store::{Feed, Revision};

use super::bounds::put_after;
use super::{LIMIT, Stage, sign_of_life};
use crate::Result;
use crate::cpu::Cpu;
use crate::error::within;

/// Workers that give signs of life, however many there are: several signs of one worker that arrive together are one
/// piece of work, so with more workers there would be more of it.
const SIGNING: usize = 100;
/// Workers that start anew at a time.
const ROUND: usize = 100;

impl Stage {
    /// Time and processor time of one event among all sources that calls for nothing: a worker's sign of life, put again
    /// as it is.
    pub(super) async fn cost(&mut self, events: usize) -> Result<(Duration, Duration)> {
        let schedulers = self.schedulers();
        let workers: Vec<_> = self.workers().collect();
        let signing: Vec<_> = spread(&workers, SIGNING).collect();
        let signs = (0..events).map(|number| sign_of_life(signing[number % signing.len()], 0));
        let signs: Vec<_> = signs.collect();
        self.caught_up(Revision::ZERO).await?;
        let (began, before) = (Instant::now(), Cpu::used(&schedulers)?);
        let last = self.world.load(signs).await?;
        self.caught_up(last).await?;
        let cpu = Cpu::used(&schedulers)?.since(before).services;
        Ok((began.elapsed(), one_of(events, cpu)))
    }

    /// Processor time of a worker that starts anew and gets its bound again. They come by rounds, each worker once in a
    /// round and all of them in turn, so that each costs a decision and a write of its own.
    pub(super) async fn restarts(&mut self, feed: &mut Feed, restarts: usize) -> Result<Duration> {
        let schedulers = self.schedulers();
        let workers = self.bounds.workers();
        self.caught_up(Revision::ZERO).await?;
        let before = Cpu::used(&schedulers)?;
        let mut done = 0;
        while done < restarts {
            let size = ROUND.min(workers.len()).min(restarts - done);
            let round = (done..done + size).map(|number| &workers[number % workers.len()]);
            let mut waiting: BTreeSet<WorkerName> = round.cloned().collect();
            done += size;
            let since = u64::try_from(done).unwrap_or(u64::MAX);
            let signs: Vec<_> = waiting.iter().map(|w| sign_of_life(w, since)).collect();
            let signed = self.world.load(signs).await?;
            let bounds = &mut self.bounds;
            let put_again = async {
                while !waiting.is_empty() {
                    let item = feed.next().await;
                    for worker in put_after(signed, &item) {
                        waiting.remove(&worker);
                    }
                    bounds.fold(item)?;
                }
                Ok(())
            };
            within(LIMIT, || "the bounds are put again".to_owned(), put_again).await?;
        }
        self.caught_up(Revision::ZERO).await?;
        let cpu = Cpu::used(&schedulers)?.since(before).services;
        Ok(one_of(restarts, cpu))
    }
}

/// So many of them, from all over the list.
fn spread<T>(all: &[T], wanted: usize) -> impl Iterator<Item = &T> {
    let wanted = wanted.clamp(1, all.len().max(1));
    let places = (0..wanted).map(move |number| number * all.len() / wanted);
    places.filter_map(|place| all.get(place))
}

fn one_of(number: usize, time: Duration) -> Duration {
    time / u32::try_from(number.max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_are_wanted_come_from_all_over_the_list() {
        let all: Vec<usize> = (0..1_001).collect();
        let some: Vec<usize> = spread(&all, 4).copied().collect();
        assert_eq!(some, [0, 250, 500, 750]);
        assert_eq!(spread(&all[..3], 100).count(), 3);
        assert_eq!(spread(&all[..0], 100).count(), 0);
    }
}
