//! Real nodes on real sockets and real RocksDB folders, in this process; what is asked of them goes over gRPC.

mod worker;

pub(crate) use worker::{MANIFEST, ROWS, ScriptedWorker};

use ferry_proto::v1;
use ferry_proto::v1::allocator_service_client::AllocatorServiceClient;
use ferry_proto::v1::cluster_service_client::ClusterServiceClient;
use ferry_proto::v1::job_service_client::JobServiceClient;
use ferry_proto::v1::segment_service_client::SegmentServiceClient;
use ferry_proto::v1::worker_service_client::WorkerServiceClient;
use ferry_server::config::Peers;
use ferry_server::{Config, Listeners, Server};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::transport::{Channel, Endpoint};

/// Longest time a test waits for a state before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Some nodes of one cluster.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    folder: TempDir,
}

/// One node; stopped ones keep their place.
pub(crate) struct Node {
    pub(crate) id: u64,
    pub(crate) channel: Channel,
    pub(crate) admin: String,
    server: Option<Server>,
}

impl Cluster {
    /// Starts nodes 1 to `count` and waits until one of them leads.
    pub(crate) async fn start(count: u64) -> Self {
        Self::start_with(count, |_| {}).await
    }

    /// The same with changes to every node's configuration.
    pub(crate) async fn start_with(count: u64, change: impl Fn(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut sockets = Vec::new();
        for id in 1..=count {
            sockets.push((id, listen().await, listen().await));
        }
        let peers: Peers =
            sockets.iter().map(|(id, client, _)| (*id, client.local_addr().unwrap().to_string())).collect();
        let mut nodes = Vec::new();
        for (id, client, admin) in sockets {
            let mut config = config(id, &peers, folder.path());
            change(&mut config);
            nodes.push(Node::start(config, client, admin).await);
        }
        let cluster = Self { nodes, folder };
        cluster.leader().await;
        cluster
    }

    /// A folder that goes away with the cluster.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The place of the node that leads, once one does.
    pub(crate) async fn leader(&self) -> usize {
        eventually("a leader", || async {
            for node in self.nodes.iter().filter(|node| node.server.is_some()) {
                let request = v1::GetStatusRequest { local_only: false };
                let Ok(status) = node.cluster().get_status(request).await else { continue };
                let leader_id = status.into_inner().leader_id;
                let place = self.nodes.iter().position(|node| node.id == leader_id && node.server.is_some());
                if place.is_some() {
                    return place;
                }
            }
            None
        })
        .await
    }

    /// The place of a node that follows.
    pub(crate) async fn follower(&self) -> usize {
        let leader = self.leader().await;
        (0..self.nodes.len()).find(|place| *place != leader && self.nodes[*place].server.is_some()).unwrap()
    }

    /// Stops one node.
    pub(crate) async fn stop(&mut self, place: usize) {
        self.nodes[place].server.take().unwrap().stop().await.unwrap();
    }

    /// Stops every node that runs.
    pub(crate) async fn stop_all(mut self) {
        for node in &mut self.nodes {
            if let Some(server) = node.server.take() {
                server.stop().await.unwrap();
            }
        }
    }
}

impl Node {
    async fn start(config: Config, client: TcpListener, admin: TcpListener) -> Self {
        let (id, address) = (config.id, client.local_addr().unwrap());
        let admin_address = admin.local_addr().unwrap().to_string();
        let server = Server::start_on(config, Listeners { client, admin }).await.unwrap();
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        Self { id, channel, admin: admin_address, server: Some(server) }
    }

    pub(crate) fn jobs(&self) -> JobServiceClient<Channel> {
        JobServiceClient::new(self.channel.clone())
    }

    pub(crate) fn segments(&self) -> SegmentServiceClient<Channel> {
        SegmentServiceClient::new(self.channel.clone())
    }

    pub(crate) fn ids(&self) -> AllocatorServiceClient<Channel> {
        AllocatorServiceClient::new(self.channel.clone())
    }

    pub(crate) fn workers(&self) -> WorkerServiceClient<Channel> {
        WorkerServiceClient::new(self.channel.clone())
    }

    pub(crate) fn cluster(&self) -> ClusterServiceClient<Channel> {
        ClusterServiceClient::new(self.channel.clone())
    }
}

fn config(id: u64, peers: &Peers, folder: &Path) -> Config {
    let mut config = Config {
        id,
        data_dir: folder.join(format!("node-{id}")),
        listen: peers.address(id).unwrap().to_owned(),
        peers: peers.clone(),
        ..Config::default()
    };
    // Tests share few cores: nodes must not elect for no reason.
    config.raft.heartbeat_interval = Duration::from_millis(100);
    config.raft.election_timeout_min = Duration::from_millis(500);
    config.raft.election_timeout_max = Duration::from_millis(1_000);
    config.limits.shutdown_timeout = Duration::from_secs(2);
    config
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Looks again and again until there is something, and fails by name when there is nothing for too long.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, look: impl Fn() -> F) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("waited too long for {what}"))
}

/// The snapshot that a real Milvus' data was described by.
pub(crate) fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshot/testdata/milvus-sample").canonicalize().unwrap()
}

/// The sample's segments.
pub(crate) const SAMPLE_SEGMENTS: [i64; 3] =
    [470_636_907_273_850_237, 470_636_907_274_050_255, 470_636_907_274_050_273];
/// The sample's only partition.
pub(crate) const SAMPLE_PARTITION: i64 = 470_636_907_273_650_227;
/// The key of the sample's metadata file.
pub(crate) const SAMPLE_METADATA: &str = "snapshots/470636907273650226/metadata/9001.json";

/// A good submit of a tree under `source`.
pub(crate) fn submit(source: &Path) -> v1::SubmitJobRequest {
    v1::SubmitJobRequest {
        name: "sample".into(),
        source: Some(v1::SnapshotRef { uri: ferry_objects::file_uri(source) }),
        target: Some(v1::TargetRef {
            uri: "file:///nowhere/target".into(),
            collection_id: 200,
            ..v1::TargetRef::default()
        }),
        ..v1::SubmitJobRequest::default()
    }
}

/// The header of an answer as a number.
pub(crate) fn header(metadata: &tonic::metadata::MetadataMap, name: &str) -> Option<u64> {
    metadata.get(name)?.to_str().ok()?.parse().ok()
}

/// The body of a plain GET over HTTP/1.1, with its status line's code.
pub(crate) async fn get(address: &str, path: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let code = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (code, body.to_owned())
}

/// A tree with the metadata of a snapshot of that many segments; its manifests are for workers to read.
pub(crate) fn large_snapshot(root: &Path, segments: i64) {
    let metadata = root.join("snapshots/8/metadata/9.json");
    std::fs::create_dir_all(metadata.parent().unwrap()).unwrap();
    let mut list = String::new();
    for id in 1..=segments {
        let comma = if id == 1 { "" } else { "," };
        write!(list, "{comma}\"snapshots/8/manifests/9/{id}.avro\"").unwrap();
    }
    let text = format!(
        "{{\"format_version\": 5, \"snapshot_info\": {{\"id\": \"9\", \"collection_id\": \"8\", \
         \"state\": \"SnapshotStateCommitted\"}}, \"collection\": {{}}, \"manifest_list\": [{list}]}}"
    );
    std::fs::write(metadata, text).unwrap();
}
