//! A long line before a server: every byte takes its time each way, no connection has more on the way than a window, and
//! all can be cut at once. Kernels that could delay packets themselves are rare where benchmarks run.

use crate::process::free_addresses;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

const BLOCK_BYTES: usize = 64 << 10;
/// What one connection has on the way at most, as the send buffer of a Linux server is by default.
pub(super) const WINDOW_BYTES: usize = 4 << 20;

/// The line; it ends when the value is dropped.
pub(super) struct Relay {
    pub(super) address: String,
    line: Arc<Line>,
    accepting: JoinHandle<()>,
}

struct Line {
    upstream: String,
    delay: Duration,
    /// Bytes from the server.
    down: AtomicU64,
    cut_at: AtomicU64,
    /// Counts the cuts.
    cuts: watch::Sender<u64>,
}

impl Relay {
    pub(super) async fn start(upstream: &str, delay: Duration) -> anyhow::Result<Self> {
        let address = free_addresses(1)?.remove(0);
        let listener = TcpListener::bind(&address).await?;
        let line = Arc::new(Line {
            upstream: upstream.to_owned(),
            delay,
            down: AtomicU64::new(0),
            cut_at: AtomicU64::new(u64::MAX),
            cuts: watch::Sender::new(0),
        });
        let accepted = Arc::clone(&line);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&accepted).carry(client));
            }
        });
        Ok(Self { address, line, accepting })
    }

    /// Counts anew what comes from the server.
    pub(super) fn reset(&self) {
        self.line.down.store(0, Ordering::Relaxed);
    }

    /// What came from the server since then.
    pub(super) fn down_bytes(&self) -> u64 {
        self.line.down.load(Ordering::Relaxed)
    }

    /// Cuts every connection once, when so many bytes have come.
    pub(super) fn cut_at(&self, bytes: u64) {
        self.line.cut_at.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn was_cut(&self) -> bool {
        self.line.cut_at.load(Ordering::Relaxed) == u64::MAX
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
        self.line.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Line {
    async fn carry(self: Arc<Self>, client: TcpStream) {
        let mut cut = self.cuts.subscribe();
        let carried = async {
            // The handshake of a connection goes there and back once.
            tokio::time::sleep(2 * self.delay).await;
            let server = TcpStream::connect(&self.upstream).await?;
            server.set_nodelay(true)?;
            client.set_nodelay(true)?;
            let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
            tokio::join!(self.pass(from_client, to_server, false), self.pass(from_server, to_client, true));
            Ok::<_, std::io::Error>(())
        };
        // What either end does not take any more is for the other to notice.
        tokio::select! {
            _ = carried => {}
            _ = cut.changed() => {}
        }
    }

    async fn pass(&self, from: OwnedReadHalf, to: OwnedWriteHalf, is_down: bool) {
        let (sender, receiver) = mpsc::channel(WINDOW_BYTES / BLOCK_BYTES);
        let _ = tokio::join!(self.take(from, sender, is_down), deliver(to, receiver));
    }

    async fn take(
        &self,
        mut from: OwnedReadHalf,
        sender: mpsc::Sender<(Instant, Bytes)>,
        is_down: bool,
    ) -> anyhow::Result<()> {
        let (mut on_the_way, mut in_window) = (VecDeque::new(), 0);
        let mut buffer = BytesMut::new();
        loop {
            while in_window + BLOCK_BYTES > WINDOW_BYTES {
                let Some((acknowledged_at, count)) = on_the_way.pop_front() else { break };
                tokio::time::sleep_until(acknowledged_at).await;
                in_window -= count;
            }
            buffer.reserve(BLOCK_BYTES);
            let count = from.read_buf(&mut buffer).await?;
            if count == 0 {
                return Ok(());
            }
            let now = Instant::now();
            while on_the_way.front().is_some_and(|(acknowledged_at, _)| *acknowledged_at <= now) {
                in_window -= on_the_way.pop_front().map_or(0, |(_, count)| count);
            }
            on_the_way.push_back((now + 2 * self.delay, count));
            in_window += count;
            sender.send((now + self.delay, buffer.split().freeze())).await?;
            if is_down {
                self.came(count as u64);
            }
        }
    }

    fn came(&self, count: u64) {
        let down = self.down.fetch_add(count, Ordering::Relaxed) + count;
        let cut_at = self.cut_at.load(Ordering::Relaxed);
        if down >= cut_at && self.cut_at.swap(u64::MAX, Ordering::Relaxed) != u64::MAX {
            self.cuts.send_modify(|cuts| *cuts += 1);
        }
    }
}

async fn deliver(mut to: OwnedWriteHalf, mut receiver: mpsc::Receiver<(Instant, Bytes)>) -> std::io::Result<()> {
    while let Some((at, block)) = receiver.recv().await {
        tokio::time::sleep_until(at).await;
        to.write_all(&block).await?;
    }
    to.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_millis(20);

    /// A server that answers everything with what it was sent.
    async fn echo() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        address
    }

    #[tokio::test]
    async fn bytes_come_back_as_they_were_sent_and_not_before_their_time() {
        let relay = Relay::start(&echo().await, DELAY).await.expect("a relay");
        let mut stream = TcpStream::connect(&relay.address).await.expect("a connection");
        let began = Instant::now();
        stream.write_all(b"there and back").await.expect("it is taken");
        let mut answer = [0; 14];
        stream.read_exact(&mut answer).await.expect("an answer");
        assert_eq!((&answer, relay.down_bytes()), (b"there and back", 14));
        assert!(began.elapsed() >= 4 * DELAY, "the handshake and the bytes go there and back");
    }

    #[tokio::test]
    async fn all_connections_are_cut_once_when_enough_has_come() {
        let relay = Relay::start(&echo().await, DELAY).await.expect("a relay");
        relay.cut_at(4);
        for is_cut in [true, false] {
            let mut stream = TcpStream::connect(&relay.address).await.expect("a connection");
            stream.write_all(b"four").await.expect("it is taken");
            let mut answer = Vec::new();
            stream.shutdown().await.expect("it ends");
            let read = stream.read_to_end(&mut answer).await;
            let got_all = read.is_ok() && answer == b"four";
            assert_eq!((got_all, relay.was_cut()), (!is_cut, true));
        }
    }
}
