//! A TCP proxy on loopback that cuts, swallows and delays on demand.
//!
//! A black hole holds bytes back and lets them go when it is healed, as a network does whose lost
//! packets are sent again: no connection ever sees a gap.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{Error, Result};

/// Chunks on their way in one direction.
const IN_FLIGHT: usize = 64;
/// Bytes in one chunk.
const CHUNK: usize = 16 * 1024;

/// Which way bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From whoever connected to the proxy towards the target.
    ToTarget,
    /// From the target back.
    ToClient,
}

#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    hole_to_target: bool,
    hole_to_client: bool,
    delay: Duration,
    refusing: bool,
}

impl Weather {
    fn is_open(self, direction: Direction) -> bool {
        match direction {
            Direction::ToTarget => !self.hole_to_target,
            Direction::ToClient => !self.hole_to_client,
        }
    }
}

/// A running proxy; it and its connections go with the value.
#[derive(Debug)]
pub struct TcpProxy {
    port: u16,
    weather: watch::Sender<Weather>,
    cut: Arc<Mutex<CancellationToken>>,
    _running: DropGuard,
}

impl TcpProxy {
    /// Listens on a free loopback port and forwards to `target`, a host and port.
    pub async fn start(target: impl Into<String>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(Error::io("listen on loopback"))?;
        let port = listener
            .local_addr()
            .map_err(Error::io("ask for the port"))?
            .port();
        let weather = watch::Sender::new(Weather::default());
        let running = CancellationToken::new();
        let cut = Arc::new(Mutex::new(running.child_token()));
        let accept = accept(
            listener,
            target.into(),
            weather.subscribe(),
            Arc::clone(&cut),
        );
        tokio::spawn(running.clone().run_until_cancelled_owned(accept));
        Ok(Self {
            port,
            weather,
            cut,
            _running: running.drop_guard(),
        })
    }

    /// The port on 127.0.0.1 that forwards.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address that HTTP and gRPC clients are given.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Closes every open connection; new ones are welcome.
    pub fn cut(&self) {
        let mut cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *cut).cancel();
    }

    /// Closes every open connection and, while true, each new one as soon as it is made.
    pub fn refuse(&self, refusing: bool) {
        self.weather
            .send_modify(|weather| weather.refusing = refusing);
        if refusing {
            self.cut();
        }
    }

    /// Stops forwarding one way; connections stay open and say nothing.
    pub fn black_hole(&self, direction: Direction) {
        self.weather.send_modify(|weather| match direction {
            Direction::ToTarget => weather.hole_to_target = true,
            Direction::ToClient => weather.hole_to_client = true,
        });
    }

    /// Stops forwarding both ways.
    pub fn black_hole_both(&self) {
        self.black_hole(Direction::ToTarget);
        self.black_hole(Direction::ToClient);
    }

    /// Holds each chunk back for a time, each way; the throughput stays.
    pub fn delay(&self, delay: Duration) {
        self.weather.send_modify(|weather| weather.delay = delay);
    }

    /// Forwards everything at once again, beginning with what was held back.
    pub fn heal(&self) {
        self.weather.send_replace(Weather::default());
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.cut();
    }
}

async fn accept(
    listener: TcpListener,
    target: String,
    weather: watch::Receiver<Weather>,
    cut: Arc<Mutex<CancellationToken>>,
) {
    while let Ok((client, _)) = listener.accept().await {
        if weather.borrow().refusing {
            continue;
        }
        let cut = cut.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let connection = connect(client, target.clone(), weather.clone());
        tokio::spawn(cut.run_until_cancelled_owned(connection));
    }
}

async fn connect(client: TcpStream, target: String, weather: watch::Receiver<Weather>) {
    // A target that refuses closes the client's connection, as far as a proxy can tell it.
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    if client
        .set_nodelay(true)
        .and_then(|()| server.set_nodelay(true))
        .is_err()
    {
        return;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::join!(
        forward(from_client, to_server, Direction::ToTarget, weather.clone()),
        forward(from_server, to_client, Direction::ToClient, weather),
    );
}

/// Carries one direction until its end, and passes the end on.
async fn forward(
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    direction: Direction,
    weather: watch::Receiver<Weather>,
) {
    let (line, waiting) = mpsc::channel(IN_FLIGHT);
    tokio::join!(
        take(from, line, weather.clone()),
        deliver(waiting, to, direction, weather)
    );
}

async fn take(
    mut from: OwnedReadHalf,
    line: mpsc::Sender<(Instant, Vec<u8>)>,
    weather: watch::Receiver<Weather>,
) {
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            () = line.closed() => return,
        };
        let Ok(size @ 1..) = read else { return };
        let due = Instant::now() + weather.borrow().delay;
        let chunk = buffer.get(..size).unwrap_or_default().to_vec();
        if line.send((due, chunk)).await.is_err() {
            return;
        }
    }
}

async fn deliver(
    mut waiting: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut to: OwnedWriteHalf,
    direction: Direction,
    mut weather: watch::Receiver<Weather>,
) {
    while let Some((due, chunk)) = waiting.recv().await {
        sleep_until(due).await;
        let open = weather
            .wait_for(|weather| weather.is_open(direction))
            .await
            .is_ok();
        if !open || to.write_all(&chunk).await.is_err() {
            return;
        }
    }
    // The end of the stream is held back like everything else.
    if weather
        .wait_for(|weather| weather.is_open(direction))
        .await
        .is_ok()
    {
        let _gone = to.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);
    /// Long enough for loopback, short enough for a test that expects nothing.
    const SILENCE: Duration = Duration::from_millis(100);

    /// A proxy in front of a server that sends back what it gets, and a connection to it.
    async fn echo() -> (TcpProxy, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.into_split();
                    tokio::io::copy(&mut from, &mut to).await.unwrap();
                });
            }
        });
        let proxy = TcpProxy::start(target).await.unwrap();
        let client = TcpStream::connect(("127.0.0.1", proxy.port()))
            .await
            .unwrap();
        (proxy, client)
    }

    async fn say(client: &mut TcpStream, word: &[u8; 2]) {
        client.write_all(word).await.unwrap();
    }

    async fn hear(client: &mut TcpStream) -> [u8; 2] {
        let mut word = [0; 2];
        timeout(LIMIT, client.read_exact(&mut word))
            .await
            .unwrap()
            .unwrap();
        word
    }

    #[tokio::test]
    async fn bytes_pass_both_ways() {
        let (_proxy, mut client) = echo().await;
        say(&mut client, b"hi").await;
        assert_eq!(&hear(&mut client).await, b"hi");
    }

    #[tokio::test]
    async fn a_cut_closes_what_is_open_and_lets_new_connections_in() {
        let (proxy, mut client) = echo().await;
        say(&mut client, b"hi").await;
        hear(&mut client).await;
        proxy.cut();
        let mut rest = Vec::new();
        let ended = timeout(LIMIT, client.read_to_end(&mut rest)).await.unwrap();
        assert!(ended.is_err() || rest.is_empty());
        let mut again = TcpStream::connect(("127.0.0.1", proxy.port()))
            .await
            .unwrap();
        say(&mut again, b"yo").await;
        assert_eq!(&hear(&mut again).await, b"yo");
    }

    #[tokio::test]
    async fn a_black_hole_swallows_until_healed() {
        for direction in [Direction::ToTarget, Direction::ToClient] {
            let (proxy, mut client) = echo().await;
            say(&mut client, b"hi").await;
            hear(&mut client).await;
            proxy.black_hole(direction);
            say(&mut client, b"yo").await;
            assert!(timeout(SILENCE, client.peek(&mut [0])).await.is_err());
            proxy.heal();
            assert_eq!(&hear(&mut client).await, b"yo");
        }
    }

    #[tokio::test]
    async fn a_delay_holds_back_each_way() {
        let (proxy, mut client) = echo().await;
        proxy.delay(SILENCE);
        let sent = Instant::now();
        say(&mut client, b"hi").await;
        hear(&mut client).await;
        assert!(sent.elapsed() >= 2 * SILENCE);
    }
}
