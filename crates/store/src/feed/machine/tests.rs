//! Every arrow of the feed's states, against a scripted port.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::*;

/// Short, so that a watch without a message is opened again at once; where it is too short nothing but a second opening follows.
const QUIET: Duration = Duration::from_secs(2);

/// Answers in the order they are to be given.
#[derive(Default)]
struct Script {
    lists: VecDeque<Result<Snapshot, Error>>,
    watches: VecDeque<Result<Vec<Message>, Error>>,
    opened_from: Vec<Revision>,
}

#[derive(Clone, Default)]
struct Scripted(Arc<Mutex<Script>>);

struct ScriptedWatch(VecDeque<Message>);

impl Port for Scripted {
    type Watch = ScriptedWatch;

    async fn list(&self, _: &KeyRange) -> Result<Snapshot, Error> {
        self.0
            .lock()
            .unwrap()
            .lists
            .pop_front()
            .expect("a list was asked for that the script lacks")
    }

    async fn open(&self, _: &KeyRange, from: Revision) -> Result<ScriptedWatch, Error> {
        let mut script = self.0.lock().unwrap();
        script.opened_from.push(from);
        let messages = script
            .watches
            .pop_front()
            .expect("a watch was opened that the script lacks")?;
        Ok(ScriptedWatch(messages.into()))
    }
}

impl Watch for ScriptedWatch {
    async fn message(&mut self) -> Message {
        match self.0.pop_front() {
            Some(message) => message,
            None => std::future::pending().await,
        }
    }
}

fn snapshot(revision: i64) -> Snapshot {
    Snapshot {
        revision: Revision(revision),
        entries: Vec::new(),
    }
}

fn events(revisions: &[i64]) -> Message {
    let events: Vec<Event> = revisions
        .iter()
        .map(|r| Event::Delete {
            key: Bytes::from_static(b"k"),
            revision: Revision(*r),
        })
        .collect();
    Message::Events(Batch {
        revision: Revision(*revisions.last().unwrap()),
        events,
    })
}

fn down() -> Error {
    Error::Unavailable {
        call: "test",
        message: "down".to_owned(),
    }
}

fn feed(
    lists: Vec<Result<Snapshot, Error>>,
    watches: Vec<Result<Vec<Message>, Error>>,
) -> (FeedMachine<Scripted>, Scripted) {
    let port = Scripted::default();
    *port.0.lock().unwrap() = Script {
        lists: lists.into(),
        watches: watches.into(),
        opened_from: Vec::new(),
    };
    (
        FeedMachine::listing(port.clone(), KeyRange::dm(), QUIET),
        port,
    )
}

async fn revisions(feed: &mut FeedMachine<Scripted>, items: usize) -> Vec<(bool, i64)> {
    let mut seen = Vec::new();
    for _ in 0..items {
        let item = feed.next().await;
        seen.push((matches!(item, FeedItem::Reset(_)), item.revision().0));
    }
    seen
}

#[tokio::test]
async fn watch_continues_right_after_the_list() {
    let (mut feed, port) = feed(vec![Ok(snapshot(7))], vec![Ok(vec![events(&[8, 8, 9])])]);
    assert_eq!(revisions(&mut feed, 2).await, [(true, 7), (false, 9)]);
    assert_eq!(port.0.lock().unwrap().opened_from, [Revision(8)]);
}

#[tokio::test]
async fn broken_watch_resumes_after_the_last_event() {
    let broken = vec![events(&[8]), Message::Broken("cut".to_owned())];
    let (mut feed, port) = feed(
        vec![Ok(snapshot(7))],
        vec![Ok(broken), Err(down()), Ok(vec![events(&[9])])],
    );
    assert_eq!(
        revisions(&mut feed, 3).await,
        [(true, 7), (false, 8), (false, 9)]
    );
    assert_eq!(
        port.0.lock().unwrap().opened_from,
        [Revision(8), Revision(9), Revision(9)]
    );
    assert_eq!(feed.failures(), 0);
}

#[tokio::test]
async fn compaction_starts_again_with_a_list() {
    let (mut feed, _) = feed(
        vec![Ok(snapshot(7)), Ok(snapshot(20))],
        vec![Ok(vec![Message::Compacted]), Ok(vec![events(&[21])])],
    );
    assert_eq!(
        revisions(&mut feed, 3).await,
        [(true, 7), (true, 20), (false, 21)]
    );
    assert_eq!(feed.health().borrow().stats.lists, 2);
}

#[tokio::test]
async fn events_that_come_again_are_dropped_and_counted() {
    let (mut feed, _) = feed(
        vec![Ok(snapshot(7))],
        vec![Ok(vec![events(&[6, 7]), events(&[7, 8]), events(&[8, 9])])],
    );
    assert_eq!(
        revisions(&mut feed, 3).await,
        [(true, 7), (false, 8), (false, 9)]
    );
    assert_eq!(feed.health().borrow().stats.stale_events, 4);
}

#[tokio::test]
async fn quiet_watch_is_opened_again() {
    let (mut feed, port) = feed(
        vec![Ok(snapshot(7))],
        vec![Ok(vec![]), Ok(vec![events(&[8])])],
    );
    assert_eq!(revisions(&mut feed, 2).await, [(true, 7), (false, 8)]);
    assert_eq!(
        port.0.lock().unwrap().opened_from,
        [Revision(8), Revision(8)]
    );
}

#[tokio::test]
async fn list_is_tried_until_etcd_answers_and_the_trouble_is_told() {
    let (mut feed, _) = feed(
        vec![Err(down()), Err(down()), Err(down()), Ok(snapshot(3))],
        vec![],
    );
    assert!(feed.step().await.is_none());
    assert!(
        feed.health()
            .borrow()
            .trouble
            .clone()
            .is_some_and(|t| t.contains("down"))
    );
    assert_eq!(revisions(&mut feed, 1).await, [(true, 3)]);
    assert!(feed.health().borrow().trouble.clone().is_none());
}

#[tokio::test]
async fn sign_of_life_yields_nothing() {
    let (mut feed, _) = feed(
        vec![Ok(snapshot(7))],
        vec![Ok(vec![Message::Alive, events(&[8])])],
    );
    assert_eq!(revisions(&mut feed, 2).await, [(true, 7), (false, 8)]);
}
