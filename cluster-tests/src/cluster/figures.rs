//! What a node costs and tells: its metrics, and the most memory that a process ever had.

use super::Cluster;
use crate::process::Process;
use std::str::FromStr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

impl Cluster {
    /// One figure that a node tells Prometheus; none while it cannot be asked.
    pub async fn metric<T: FromStr>(&self, node: u64, name: &str) -> Option<T> {
        let log = std::fs::read_to_string(self.path(&format!("node-{node}.log"))).ok()?;
        // The newest start of the node.
        let (_, told) = log.rsplit_once("admin_address")?;
        let (_, told) = told.split_once("127.0.0.1:")?;
        let port: String = told.chars().take_while(char::is_ascii_digit).collect();
        let address = format!("127.0.0.1:{port}");
        let mut stream = TcpStream::connect(&address).await.ok()?;
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let value = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        value.trim().parse().ok()
    }

    /// The most memory that a running node ever had, in bytes.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn memory_peak_bytes(&self, node: u64) -> u64 {
        self.nodes[&node].memory_peak_bytes().expect("the node runs")
    }
}

impl Process {
    /// The most memory that it ever had, in bytes; none once it has ended.
    #[must_use]
    pub fn memory_peak_bytes(&self) -> Option<u64> {
        memory_peak_bytes(self.id())
    }
}

/// The most memory that a process ever had, in bytes; none when it is not there.
#[must_use]
pub fn memory_peak_bytes(process_id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process_id}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = peak.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1_024)
}
