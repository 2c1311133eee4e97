//! The worker's life: join, be alive, serve the source that it is bound to; when the lease is lost, drop everything and begin anew.

use std::time::Duration;

use dm_errors::{Code, DmError};
use dm_keyspace::{Bound, BoundKey, JoinTime, SourceId, WorkerName};
use dm_store::{Event, FeedItem, KeyRange, KeyValue, Revision, Store};
use dm_task::secret::SecretKey;
use tokio_util::sync::CancellationToken;

use crate::cast::Cast;
use crate::error::{Error, Result};
use crate::session::Session;
use crate::shard::coordinator::Coordinator;
use crate::source::{self, Source};
use crate::subtask::Surroundings;
use crate::unit::steps::Steps;

/// Before a new session after a lost one.
const PAUSE: Duration = Duration::from_secs(1);

/// A worker that has joined.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Its name.
    pub name: WorkerName,
    /// etcd, through the masters.
    pub store: Store,
    /// How long its lease lives.
    pub ttl: Duration,
    /// The cluster's key, if it encrypts passwords.
    pub secret: Option<SecretKey>,
    /// What it tells about itself.
    pub cast: Cast,
}

impl Worker {
    /// One session after the other, until `stop`. `joined` gives the time of each, `changed` hears whether there is one.
    pub async fn run(
        &self,
        stop: CancellationToken,
        joined: impl Fn() -> JoinTime,
        changed: impl Fn(std::result::Result<(), String>),
    ) {
        while !stop.is_cancelled() {
            let opened = tokio::select! {
                () = stop.cancelled() => return,
                opened = Session::open(&self.store, &self.name, joined(), self.ttl) => opened,
            };
            match opened {
                Ok(session) => {
                    tracing::info!(worker = %self.name, ttl = ?self.ttl, "alive");
                    changed(Ok(()));
                    self.session(session, &stop, &changed).await;
                }
                Err(error) => {
                    changed(Err(format!("etcd: {error}")));
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Serves while the session lasts. A stop that is asked for lets the subtasks finish before the lease is given back; a lost lease lets nothing finish.
    async fn session(
        &self,
        session: Session,
        stop: &CancellationToken,
        changed: &impl Fn(std::result::Result<(), String>),
    ) {
        let mut bound = Bounding::new(self, &session);
        tokio::select! {
            biased;
            // Told before anything else: giving up may take its time.
            why = session.keep() => changed(Err(format!("session lost, everything stops: {why}"))),
            () = stop.cancelled() => {
                tokio::select! {
                    _ = session.keep() => {}
                    () = bound.close() => {}
                }
            }
            () = bound.follow() => {}
        }
        drop(bound);
        self.cast.clear();
        session.close().await;
    }
}

/// The source of this worker as its bound says.
struct Bounding<'a> {
    worker: &'a Worker,
    session: &'a Session,
    source: Option<Source>,
}

impl<'a> Bounding<'a> {
    fn new(worker: &'a Worker, session: &'a Session) -> Self {
        Self {
            worker,
            session,
            source: None,
        }
    }

    /// Follows the bound and, while there is one, the stages of its source. Does not end.
    async fn follow(&mut self) {
        let key = BoundKey {
            worker: self.worker.name.clone(),
        };
        let store = self.worker.store.clone();
        let mut bounds = store.feed(KeyRange::key(key.encode()));
        let mut stages: Option<(SourceId, dm_store::Feed)> = None;
        loop {
            let serves = self.source.as_ref().map(|s| s.id().clone());
            if serves.as_ref() != stages.as_ref().map(|(id, _)| id) {
                let range = self.source.as_ref().map(Source::stages);
                stages = serves.zip(range.map(|r| store.feed(r)));
            }
            let staged = async {
                match &mut stages {
                    Some((_, feed)) => feed.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                item = bounds.next() => {
                    self.bound(item).await;
                    // The same source bound anew is another source to those who follow it.
                    if self.source.is_none() {
                        stages = None;
                    }
                }
                item = staged => if let Some(source) = &mut self.source {
                    source.follow(item).await;
                },
            }
        }
    }

    async fn bound(&mut self, item: FeedItem) {
        match item {
            FeedItem::Reset(snapshot) => match snapshot.entries.first() {
                Some(kv) => {
                    // What happened in between is lost: another source means that ours was taken away.
                    let other = Bound::from_bytes(&kv.value).is_ok_and(|bound| {
                        self.source
                            .as_ref()
                            .is_some_and(|s| *s.id() != bound.source)
                    });
                    if other {
                        self.close().await;
                    }
                    self.put(kv).await;
                }
                None => self.close().await,
            },
            FeedItem::Batch(batch) => {
                for event in batch.events {
                    match event {
                        Event::Put(kv) => self.put(&kv).await,
                        Event::Delete { .. } => self.close().await,
                    }
                }
            }
        }
    }

    async fn put(&mut self, kv: &KeyValue) {
        if let Err(error) = self.try_put(kv).await {
            tracing::error!(error = %error.to_dm(), "bound not followed");
            self.worker.cast.set_error(error.to_process_error());
        }
    }

    async fn try_put(&mut self, kv: &KeyValue) -> Result<()> {
        let bound = Bound::from_bytes(&kv.value)
            .map_err(|e| DmError::uncoded(format!("bound of this worker: {e}")))?;
        match &self.source {
            Some(source) if *source.id() == bound.source => Ok(()),
            Some(source) => Err(Error::Coded(DmError::new(
                Code::WORKER_ALREADY_START,
                &[&self.worker.name, source.id(), &bound.source],
            ))),
            None => self.start(bound.source, kv.mod_revision).await,
        }
    }

    async fn start(&mut self, id: SourceId, at: Revision) -> Result<()> {
        let worker = self.worker;
        let config = source::config(&worker.store, &id, at, worker.secret.as_ref()).await?;
        tracing::info!(source = %id, revision = %at, "source bound");
        worker.cast.set_source(id.clone(), config.from.clone());
        if config.enable_relay {
            tracing::warn!(source = %id, "relay is not supported: the log is read from the source");
        }
        let surroundings = Surroundings {
            worker: worker.name.clone(),
            source: id,
            from: config.from,
            case_sensitive: config.case_sensitive,
            filters: config.filters.unwrap_or_default(),
            auto_resume: config.checker.check_enable,
            bound_revision: at.0,
            store: worker.store.clone(),
            permit: self.session.permit.clone(),
            coordinator: Coordinator::new(
                worker.store.clone(),
                &worker.name,
                self.session.alive_since,
            ),
            steps: Steps::default(),
        };
        let source = Source::new(surroundings, worker.secret.clone(), worker.cast.clone());
        self.source = Some(source);
        Ok(())
    }

    async fn close(&mut self) {
        if let Some(source) = self.source.take() {
            let id = source.id().clone();
            source.close().await;
            tracing::info!(source = %id, "source given up");
        }
        self.worker.cast.clear();
    }
}
