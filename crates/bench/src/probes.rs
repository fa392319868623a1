//! What this machine itself takes for the parts that no durable write can do without: a sync and a round trip.

use crate::distribution::Distribution;
use crate::etcd::{self, api};
use api::kv_server::{Kv, KvServer};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

const SYNCS: usize = 300;
const SYNC_BYTES: usize = 4 << 10;
const ROUND_TRIPS: usize = 2_000;
/// Bytes that are sent with each.
pub(crate) const VALUE_BYTES: usize = 256;

/// Appends of 4 kB to a file in this folder, each with its fdatasync.
pub(crate) fn syncs(folder: &Path) -> anyhow::Result<Distribution> {
    let path = folder.join("probe");
    let mut file = File::create(&path)?;
    let mut took = Vec::new();
    for _ in 0..SYNCS {
        let began = Instant::now();
        file.write_all(&[1; SYNC_BYTES])?;
        file.sync_data()?;
        took.push(began.elapsed());
    }
    std::fs::remove_file(path)?;
    Ok(Distribution::of(took))
}

/// Calls over gRPC and the loopback, one at a time, of a service in this process that does nothing.
pub(crate) async fn round_trips() -> anyhow::Result<Distribution> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let serving = tonic::transport::Server::builder().tcp_nodelay(true).add_service(KvServer::new(Echo));
    let serving = tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
    let client = api::kv_client::KvClient::new(etcd::channel(&address)?);
    let mut took = Vec::new();
    for call in 0..ROUND_TRIPS {
        let began = Instant::now();
        etcd::put(client.clone(), format!("{call:020}"), vec![1; VALUE_BYTES]).await?;
        took.push(began.elapsed());
    }
    serving.abort();
    Ok(Distribution::of(took))
}

/// Answers every write at once, and nothing else.
struct Echo;

#[tonic::async_trait]
impl Kv for Echo {
    async fn put(&self, _: Request<api::PutRequest>) -> Result<Response<api::PutResponse>, Status> {
        Ok(Response::new(api::PutResponse::default()))
    }

    async fn range(&self, _: Request<api::RangeRequest>) -> Result<Response<api::RangeResponse>, Status> {
        Err(Status::unimplemented("only writes are measured"))
    }

    async fn txn(&self, _: Request<api::TxnRequest>) -> Result<Response<api::TxnResponse>, Status> {
        Err(Status::unimplemented("only writes are measured"))
    }
}
