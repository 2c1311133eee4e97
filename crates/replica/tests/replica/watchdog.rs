//! A leader whose loop hangs lets its lease run out, although the task that renews it is well.

use std::time::Duration;

use dm_replica::Settings;
use dm_testkit::memory::{Clock, MemoryEtcd, Options};
use tokio::runtime::Runtime;

use super::{ASK, Alive, Echo, Running, answered, stand_in_line};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hung_leader_deposes_itself_and_comes_back_as_a_follower() {
    let time = Options {
        clock: Clock::Tokio,
        ..Options::default()
    };
    let etcd = MemoryEtcd::start_with(&time).await.unwrap();
    let (x, y) = (Alive::new(), Alive::new());
    let short = |settings| Settings {
        lease_ttl: Duration::from_secs(2),
        ..settings
    };
    let machine = Echo::default();
    let stuck = machine.stuck.clone();
    // A thread of a runtime that hangs may be the one that would have waited for its sockets: this one has a runtime of its own, as in a process of
    // its own, which hangs with nothing but itself. A runtime cannot be dropped by a task; it ends with the test.
    let own: &'static Runtime = Box::leak(Box::new(Runtime::new().unwrap()));
    let (endpoint, addr) = (etcd.endpoint(), x.addr());
    let started =
        async move { Running::start_machine(&endpoint, "a", &addr, short, machine).await };
    let mut a = own.spawn(started).await.unwrap();
    a.leads().await;
    let mut b = Running::start_with(&etcd.endpoint(), "b", &y.addr(), short).await;
    b.follows("a").await;
    stand_in_line(&etcd, 2).await;
    // The next event holds the loop; its port still accepts, so that only the lease can end its term.
    let (hold, held) = std::sync::mpsc::sync_channel::<()>(0);
    let (locked, is_locked) = tokio::sync::oneshot::channel();
    let holder = std::thread::spawn(move || {
        let guard = stuck.lock();
        locked.send(()).unwrap();
        let _released = held.recv();
        drop(guard);
    });
    is_locked.await.unwrap();
    etcd.put(format!("{ASK}1"), "one");
    b.leads().await;
    assert_eq!(answered(&b.handle, "1").await, b"one");
    drop(hold);
    a.follows("b").await;
    assert_eq!(answered(&a.handle, "1").await, b"one");
    holder.join().unwrap();
}
