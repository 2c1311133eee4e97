//! Watch streams: each carries any number of watchers, and a queue of responses for its client.
//!
//! A watcher reads the log of changes from its own position on, so that nothing is lost while
//! deliveries are held back; and when the log it needs has been compacted meanwhile, it is
//! cancelled, as etcd does with a watcher that lags. One revision is never split.

use std::collections::{BTreeMap, VecDeque};

use dm_proto::etcdserverpb::watch_create_request::FilterType;
use dm_proto::etcdserverpb::watch_request::RequestUnion;
use dm_proto::etcdserverpb::{WatchCreateRequest, WatchResponse};
use dm_proto::mvccpb::Event;
use dm_proto::mvccpb::event::EventType;

use super::core::header;
use super::history::{Change, History};
use super::span::Span;

/// Most changes in one response about the past; the revision that reaches it is still whole.
const BATCH: usize = 1_000;

/// A stream's number within the model.
pub(crate) type StreamId = u64;

#[derive(Debug)]
struct Watcher {
    span: Span,
    next: i64,
    prev_kv: bool,
    no_puts: bool,
    no_deletes: bool,
}

#[derive(Debug, Default)]
struct Stream {
    watchers: BTreeMap<i64, Watcher>,
    queue: VecDeque<WatchResponse>,
    /// Notices are due as soon as deliveries are no longer held back.
    progress_due: usize,
}

/// All open streams.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    open: BTreeMap<StreamId, Stream>,
    next: StreamId,
    held: bool,
}

impl Streams {
    pub(crate) fn open(&mut self) -> StreamId {
        self.next += 1;
        self.open.insert(self.next, Stream::default());
        self.next
    }

    pub(crate) fn close(&mut self, id: StreamId) {
        self.open.remove(&id);
    }

    /// Number of watchers on all streams.
    pub(crate) fn watchers(&self) -> usize {
        self.open.values().map(|stream| stream.watchers.len()).sum()
    }

    /// Holds events and progress notices back, or lets them go.
    pub(crate) fn hold(&mut self, held: bool, history: &History) {
        self.held = held;
        self.pump(history);
    }

    /// Lets every watcher go on after what it has not been told, as old etcd versions do under load.
    pub(crate) fn lose(&mut self, history: &History) {
        let next = history.revision() + 1;
        let watchers = self
            .open
            .values_mut()
            .flat_map(|stream| stream.watchers.values_mut());
        watchers.for_each(|watcher| watcher.next = next);
    }

    /// Takes one request of a stream's client.
    pub(crate) fn request(&mut self, id: StreamId, request: RequestUnion, history: &History) {
        let Some(stream) = self.open.get_mut(&id) else {
            return;
        };
        match request {
            RequestUnion::CreateRequest(create) => stream.create(&create, history),
            RequestUnion::CancelRequest(cancel) => stream.cancel(cancel.watch_id, history),
            RequestUnion::ProgressRequest(_) => stream.progress_due += 1,
        }
        self.pump(history);
    }

    /// Queues what has happened since the last time, for every watcher of every stream.
    pub(crate) fn pump(&mut self, history: &History) {
        if !self.held {
            self.open
                .values_mut()
                .for_each(|stream| stream.pump(history));
        }
    }

    /// The responses waiting for a stream's client, in order.
    pub(crate) fn take(&mut self, id: StreamId) -> Vec<WatchResponse> {
        self.open
            .get_mut(&id)
            .map(|stream| stream.queue.drain(..).collect())
            .unwrap_or_default()
    }
}

impl Stream {
    fn create(&mut self, create: &WatchCreateRequest, history: &History) {
        let head = Some(header(history.revision()));
        let created = WatchResponse {
            header: head,
            created: true,
            ..WatchResponse::default()
        };
        // etcd reads an empty key as the lowest one.
        let key = if create.key.is_empty() {
            &[0][..]
        } else {
            &create.key
        };
        let span = Span::new(key, &create.range_end);
        let wished = create.watch_id;
        let reason = match wished {
            _ if span.is_empty() => Some("mvcc: watcher range is empty"),
            id if id != 0 && self.watchers.contains_key(&id) => {
                Some("mvcc: duplicate watch ID provided on the WatchStream")
            }
            _ => None,
        };
        if let Some(reason) = reason {
            let cancel_reason = reason.to_owned();
            self.queue.push_back(WatchResponse {
                watch_id: -1,
                canceled: true,
                cancel_reason,
                ..created
            });
            return;
        }
        let id = if wished == 0 { self.fresh_id() } else { wished };
        self.watchers
            .insert(id, Watcher::new(create, span, history));
        self.queue.push_back(WatchResponse {
            watch_id: id,
            ..created
        });
    }

    fn fresh_id(&self) -> i64 {
        (0..)
            .find(|id| !self.watchers.contains_key(id))
            .unwrap_or(i64::MAX)
    }

    /// Says nothing about a watcher that it does not have.
    fn cancel(&mut self, id: i64, history: &History) {
        if self.watchers.remove(&id).is_some() {
            let head = Some(header(history.revision()));
            let cancelled = WatchResponse {
                header: head,
                watch_id: id,
                canceled: true,
                ..WatchResponse::default()
            };
            self.queue.push_back(cancelled);
        }
    }

    fn pump(&mut self, history: &History) {
        let queue = &mut self.queue;
        self.watchers
            .retain(|id, watcher| watcher.pump(*id, history, queue));
        for _ in 0..std::mem::take(&mut self.progress_due) {
            let head = Some(header(history.revision()));
            queue.push_back(WatchResponse {
                header: head,
                watch_id: -1,
                ..WatchResponse::default()
            });
        }
    }
}

impl Watcher {
    fn new(create: &WatchCreateRequest, span: Span, history: &History) -> Self {
        let start = create.start_revision;
        Self {
            span,
            next: if start > 0 {
                start
            } else {
                history.revision() + 1
            },
            prev_kv: create.prev_kv,
            no_puts: create.filters().any(|filter| filter == FilterType::Noput),
            no_deletes: create
                .filters()
                .any(|filter| filter == FilterType::Nodelete),
        }
    }

    /// Queues what is new; false when the watcher is cancelled because its past is gone.
    fn pump(&mut self, id: i64, history: &History, queue: &mut VecDeque<WatchResponse>) -> bool {
        let now = history.revision();
        if self.next <= now && self.next < history.compacted() {
            queue.push_back(WatchResponse {
                header: Some(header(now)),
                watch_id: id,
                canceled: true,
                compact_revision: history.compacted(),
                ..WatchResponse::default()
            });
            return false;
        }
        let mut events = Vec::new();
        for (revision, changes) in history.since(self.next) {
            events.extend(
                changes
                    .iter()
                    .filter_map(|change| self.event(history, revision, change)),
            );
            if events.len() >= BATCH {
                queue.push_back(response(id, now, std::mem::take(&mut events)));
            }
        }
        if !events.is_empty() {
            queue.push_back(response(id, now, events));
        }
        self.next = self.next.max(now + 1);
        true
    }

    fn event(&self, history: &History, revision: i64, change: &Change) -> Option<Event> {
        let key = &change.event.kv.as_ref()?.key;
        let filtered = match change.event.r#type() {
            EventType::Put => self.no_puts,
            EventType::Delete => self.no_deletes,
        };
        if filtered || !self.span.contains(key) {
            return None;
        }
        let prev_kv = if self.prev_kv {
            history.previous_of(revision, change)
        } else {
            None
        };
        Some(Event {
            prev_kv,
            ..change.event.clone()
        })
    }
}

fn response(watch_id: i64, revision: i64, events: Vec<Event>) -> WatchResponse {
    WatchResponse {
        header: Some(header(revision)),
        watch_id,
        events,
        ..WatchResponse::default()
    }
}
