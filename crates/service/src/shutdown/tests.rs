//! The order of the end, and what the end of a task means.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::*;
use crate::config::{Nothing, Settings};
use crate::server::App;

fn settings() -> Settings<Nothing> {
    let args = [
        "test",
        "--listen",
        "127.0.0.1:0",
        "--shutdown-timeout",
        "2s",
        "--drain-timeout",
        "1s",
    ];
    crate::config::load("test-svc", 0, args.map(Into::into), |_| None).unwrap()
}

#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<&'static str>>>);

impl Diary {
    fn note(&self, what: &'static str) {
        self.0.lock().unwrap().push(what);
    }
    fn read(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }
}

/// Notes that it was dropped.
struct Dropped(Diary, &'static str);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.note(self.1);
    }
}

async fn run<F, Fut>(until: impl Future<Output = ()>, body: F) -> Result<(), Failure>
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let limit = Duration::from_secs(20);
    let run = crate::run("test-svc", settings(), listener, until, |_, ctx| body(ctx));
    tokio::time::timeout(limit, run)
        .await
        .expect("the service must end")
}

#[tokio::test]
async fn a_process_ends_in_order() {
    let diary = Diary::default();
    let notes = diary.clone();
    let (serving, is_serving) = oneshot::channel::<()>();
    let until = async { is_serving.await.unwrap() };
    run(until, |ctx| async move {
        let dropped = Dropped(notes.clone(), "loop stopped");
        ctx.spawn("loop", OnExit::Fatal, async move {
            let _dropped = dropped;
            std::future::pending::<()>().await;
        });
        for hook in ["resigned", "lease revoked"] {
            let notes = notes.clone();
            ctx.on_stop(hook, async move { notes.note(hook) });
        }
        let (readiness, stopping, at_stop) =
            (ctx.readiness().clone(), ctx.stopping(), notes.clone());
        ctx.spawn("watch", OnExit::Log, async move {
            stopping.cancelled().await;
            at_stop.note("asked to stop");
            drop(readiness);
        });
        serving.send(()).unwrap();
        ctx.serve(App::new()).await?;
        assert_eq!(ctx.readiness().reasons(), ["process: stopping"]);
        Ok(())
    })
    .await
    .unwrap();
    let read = diary.read();
    let at = |what| {
        read.iter()
            .position(|w| *w == what)
            .unwrap_or_else(|| panic!("no {what} in {read:?}"))
    };
    assert!(at("asked to stop") < at("resigned"), "{read:?}");
    assert!(at("resigned") < at("lease revoked"), "{read:?}");
    assert!(at("lease revoked") < at("loop stopped"), "{read:?}");
}

#[tokio::test]
async fn a_fatal_task_takes_the_process_down() {
    for (task, expected) in [
        (Err("disk full"), "task feed ended: disk full"),
        (
            Ok(()),
            "task feed ended: without an error, before it was asked to",
        ),
    ] {
        let failure = run(std::future::pending(), |ctx| async move {
            ctx.spawn("feed", OnExit::Fatal, async move { task });
            ctx.serve(App::new()).await
        })
        .await
        .unwrap_err();
        assert_eq!(failure.to_string(), expected);
    }
}

#[tokio::test]
async fn a_panic_is_an_end_like_any_other() {
    let failure = run(std::future::pending(), |ctx| async move {
        ctx.spawn("feed", OnExit::Fatal, async {
            assert!(std::hint::black_box(false), "a panic that the test wants");
        });
        ctx.serve(App::new()).await
    })
    .await
    .unwrap_err();
    assert_eq!(failure.to_string(), "task feed ended: panicked");
}

#[tokio::test]
async fn a_task_that_is_only_logged_takes_nothing_down() {
    let (ended, has_ended) = oneshot::channel::<()>();
    run(async { has_ended.await.unwrap() }, |ctx| async move {
        ctx.spawn("probe", OnExit::Log, async move {
            ended.send(()).unwrap();
            Err::<(), _>("no answer")
        });
        ctx.serve(App::new()).await
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_failed_start_is_the_failure() {
    let failure = run(std::future::pending(), |_| async { Err("no store".into()) })
        .await
        .unwrap_err();
    assert_eq!(failure.to_string(), "no store");
}

#[tokio::test]
async fn a_hook_that_hangs_does_not_hold_the_process_for_ever() {
    run(std::future::ready(()), |ctx| async move {
        ctx.on_stop("hang", std::future::pending());
        ctx.serve(App::new()).await
    })
    .await
    .unwrap();
}
