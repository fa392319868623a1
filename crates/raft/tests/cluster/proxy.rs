//! A relay in front of a node, which can break a connection in the middle of what it carries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) address: String,
    cuts: Arc<AtomicU64>,
}

impl Proxy {
    /// Relays to `target`. The first connection that carries more than `cut_bytes` towards it is broken there.
    pub(crate) async fn start(target: String, cut_bytes: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self { address: listener.local_addr().unwrap().to_string(), cuts: Arc::default() };
        let relay = proxy.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(relay.clone().relay(near, target.clone(), cut_bytes));
            }
        });
        proxy
    }

    /// Connections broken so far.
    pub(crate) fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::SeqCst)
    }

    async fn relay(self, near: TcpStream, target: String, cut_bytes: u64) {
        let Ok(far) = TcpStream::connect(target).await else { return };
        let (mut near_in, mut near_out) = near.into_split();
        let (mut far_in, mut far_out) = far.into_split();
        let forth = async {
            let (mut buffer, mut carried) = (vec![0; 64 * 1024], 0);
            while let Ok(read @ 1..) = near_in.read(&mut buffer).await {
                carried += read as u64;
                let first =
                    carried > cut_bytes && self.cuts.compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst).is_ok();
                if first || far_out.write_all(&buffer[..read]).await.is_err() {
                    return;
                }
            }
        };
        let back = async {
            let _ = tokio::io::copy(&mut far_in, &mut near_out).await;
        };
        tokio::select! {
            () = forth => {}
            () = back => {}
        }
    }
}
