//! S3 servers on loopback: SeaweedFS, one process for each endpoint, with an identity whose signatures are checked.

use super::peer::Rclone;
use crate::process::{Process, free_addresses};
use anyhow::{Context, ensure};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

pub(super) const KEY_ID: &str = "ferry";
pub(super) const SECRET: &str = "secret of the benchmark";
/// How long a server may take to come up.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(200);

/// One server.
pub(super) struct Server {
    pub(super) address: String,
    master: String,
    _process: Process,
}

impl Server {
    fn start(weed: &Path, name: &str, folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder)?;
        let identities = serde_json::json!({ "identities": [{
            "name": "ferry",
            "credentials": [{ "accessKey": KEY_ID, "secretKey": SECRET }],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }] });
        std::fs::write(folder.join("identities.json"), identities.to_string())?;
        let addresses = free_addresses(8)?;
        let (host, s3_port) = addresses[0].rsplit_once(':').context("an address has a port")?;
        let mut ports = addresses[1..].iter().filter_map(|address| address.rsplit_once(':').map(|(_, port)| port));
        let mut port = || ports.next().context("an address has a port");
        let mut command = Command::new(weed);
        command.args(["server", "-filer", "-s3", "-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]);
        command.args([format!("-ip={host}"), format!("-ip.bind={host}"), format!("-s3.port={s3_port}")]);
        command.arg(format!("-s3.config={}", folder.join("identities.json").display()));
        command.args(["-volume.max=200", "-master.volumeSizeLimitMB=1024", &format!("-dir={}", folder.display())]);
        let master_port = port()?;
        command.arg(format!("-master.port={master_port}"));
        command.arg(format!("-master.port.grpc={}", port()?));
        for part in ["volume", "filer"] {
            command.arg(format!("-{part}.port={}", port()?));
            command.arg(format!("-{part}.port.grpc={}", port()?));
        }
        command.arg(format!("-s3.port.grpc={}", port()?));
        let process = Process::start(&mut command, &folder.join("weed.log"))?;
        Ok(Self { address: addresses[0].clone(), master: format!("{host}:{master_port}"), _process: process })
    }

    /// Has it free the space of what was deleted, so that the disk does not fill up from case to case.
    fn vacuum(&self) -> anyhow::Result<()> {
        let mut stream = TcpStream::connect(&self.master)?;
        stream.write_all(b"GET /vol/vacuum?garbageThreshold=0.01 HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.0 200"), "no space was freed: {answer}");
        Ok(())
    }
}

/// Two endpoints: `left` has the buckets `first` and `second`, `right` has `third`.
pub(super) struct Pair {
    pub(super) left: Server,
    pub(super) right: Server,
    credentials: PathBuf,
}

impl Pair {
    /// Starts both and waits until they take objects.
    pub(super) fn start(weed: &Path, rclone: &Path, folder: &Path) -> anyhow::Result<Self> {
        let left = Server::start(weed, "left", folder)?;
        let right = Server::start(weed, "right", folder)?;
        let credentials = folder.join("credentials");
        std::fs::write(
            &credentials,
            format!("[default]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n"),
        )?;
        let pair = Self { left, right, credentials };
        let rclone = Rclone::new(rclone, Some(&pair));
        for bucket in ["left:first", "left:second", "right:third"] {
            let began = Instant::now();
            while let Err(error) = rclone.make(bucket) {
                ensure!(began.elapsed() < PATIENCE, "{bucket} was not made within {PATIENCE:?}: {error}");
                std::thread::sleep(POLL);
            }
        }
        Ok(pair)
    }

    /// What nodes and workers are told of both.
    pub(super) fn settings(&self) -> Vec<String> {
        self.settings_by(&self.left.address)
    }

    /// The same, by another address that leads to `left`.
    pub(super) fn settings_by(&self, left: &str) -> Vec<String> {
        let setting = |name: &str, address: &str, serves: &str| {
            [
                format!("stores.{name}.kind=s3"),
                format!("stores.{name}.serves=[{serves}]"),
                format!("stores.{name}.endpoint=http://{address}"),
                format!("stores.{name}.credentials-file={}", self.credentials.display()),
            ]
        };
        let settings = setting("left", left, "\"s3://first\", \"s3://second\"").into_iter();
        settings.chain(setting("right", &self.right.address, "\"s3://third\"")).collect()
    }

    pub(super) fn vacuum(&self) -> anyhow::Result<()> {
        self.left.vacuum()?;
        self.right.vacuum()
    }
}
