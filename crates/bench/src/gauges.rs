//! What a node takes of the machine and what it tells of itself: its memory, its folder, its metrics.

use anyhow::{Context, ensure};
use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use walkdir::WalkDir;

const MEBIBYTE: f64 = 1_048_576.0;
const KIBIBYTES_PER_MEBIBYTE: f64 = 1_024.0;
/// The unit of `st_blocks`, whatever the blocks of the file system are.
const BLOCK_BYTES: u64 = 512;
/// How long a node may take to tell its metrics.
const PATIENCE: Duration = Duration::from_secs(10);

/// Resident memory of a process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Memory {
    pub(crate) now_mebibytes: f64,
    /// The most since the process began, or since the peak was reset.
    pub(crate) peak_mebibytes: f64,
}

pub(crate) fn memory(process_id: u32) -> anyhow::Result<Memory> {
    let path = format!("/proc/{process_id}/status");
    let status = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    memory_in(&status).with_context(|| format!("{path} tells no memory: the process has ended"))
}

fn memory_in(status: &str) -> Option<Memory> {
    let mebibytes = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let kibibytes: f64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kibibytes / KIBIBYTES_PER_MEBIBYTE)
    };
    Some(Memory { now_mebibytes: mebibytes("VmRSS")?, peak_mebibytes: mebibytes("VmHWM")? })
}

/// Has the peak of a process begin anew: what it took for the job before does not count for the next one.
pub(crate) fn reset_memory_peak(process_id: u32) -> anyhow::Result<()> {
    let path = format!("/proc/{process_id}/clear_refs");
    std::fs::write(&path, "5").with_context(|| format!("{path} cannot be written, which resets the peak of the memory"))
}

/// What a folder takes of the disk. Files that vanish meanwhile do not count, and one with several names counts once,
/// as a checkpoint shares its files with the database.
pub(crate) fn disk_mebibytes(folder: &Path) -> anyhow::Result<f64> {
    let (mut seen, mut bytes) = (HashSet::new(), 0);
    for entry in WalkDir::new(folder).min_depth(1) {
        match entry.and_then(|entry| entry.metadata()) {
            Ok(metadata) if seen.insert(metadata.ino()) => bytes += metadata.blocks() * BLOCK_BYTES,
            Ok(_) => {}
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes as f64 / MEBIBYTE)
}

fn is_gone(error: &walkdir::Error) -> bool {
    error.depth() > 0 && error.io_error().is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// The metrics of a node at one moment.
pub(crate) struct Metrics {
    address: String,
    text: String,
}

impl Metrics {
    /// Asks the admin address of a node.
    pub(crate) async fn of(address: &str) -> anyhow::Result<Self> {
        let asked = tokio::time::timeout(PATIENCE, get(address)).await;
        let answer = asked.with_context(|| format!("{address} tells no metrics within {PATIENCE:?}"))?;
        let answer = answer.with_context(|| format!("{address} tells no metrics"))?;
        let (head, text) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        ensure!(head.split(' ').nth(1) == Some("200"), "{address} tells no metrics: {answer}");
        Ok(Self { address: address.to_owned(), text: text.to_owned() })
    }

    /// A metric without labels.
    pub(crate) fn value(&self, name: &str) -> anyhow::Result<f64> {
        value_in(&self.text, name).with_context(|| {
            format!(
                "{} does not tell {name}: the binary is older than this benchmark, or the node does not lead any more",
                self.address
            )
        })
    }
}

/// Asks by the version of HTTP whose answers are neither chunked nor followed by others.
async fn get(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn value_in(text: &str, name: &str) -> Option<f64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    value.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_mebibytes_and_an_ended_process_has_none() {
        let status = "Name:\tferry\nVmHWM:\t  204800 kB\nVmRSS:\t    1536 kB\nThreads:\t7\n";
        assert_eq!(memory_in(status), Some(Memory { now_mebibytes: 1.5, peak_mebibytes: 200.0 }));
        assert_eq!(memory_in("Name:\tferry\nState:\tZ (zombie)\n"), None);
        assert_eq!(memory_in("VmHWM:\t4 kB\nVmRSS:\tmany kB\n"), None);
    }

    #[test]
    fn a_metric_is_found_by_its_whole_name_and_comments_are_none() {
        let text = "# TYPE checks counter\nchecks_total 7\nchecks 2.5e-3\nchecks_by{state=\"idle\"} 3\nbroken ?\n";
        assert_eq!((value_in(text, "checks_total"), value_in(text, "checks")), (Some(7.0), Some(0.002_5)));
        assert_eq!((value_in(text, "checks_by"), value_in(text, "TYPE"), value_in(text, "broken")), (None, None, None));
    }

    #[tokio::test]
    async fn a_metric_that_is_not_told_is_named_with_who_does_not_tell_it() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            // A request that nobody has read would reset the connection.
            assert!(stream.read(&mut [0; 1_024]).await.expect("a request") > 0);
            stream.write_all(b"HTTP/1.0 200 OK\r\nserver: test\r\n\r\nchecks_total 7\n").await.expect("an answer");
        });
        let metrics = Metrics::of(&address).await.expect("metrics");
        serving.await.expect("it has answered");
        assert_eq!(metrics.value("checks_total").ok(), Some(7.0));
        let error = metrics.value("check_seconds_total").expect_err("that one is not there").to_string();
        assert!(error.starts_with(&format!("{address} does not tell check_seconds_total")), "{error}");
    }

    #[test]
    fn a_file_with_two_names_takes_the_disk_once() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("rows")).expect("a folder");
        let before = disk_mebibytes(folder.path()).expect("it can be read");
        std::fs::write(folder.path().join("rows/1"), vec![1; 1 << 20]).expect("a file");
        std::fs::hard_link(folder.path().join("rows/1"), folder.path().join("2")).expect("a second name");
        let taken = disk_mebibytes(folder.path()).expect("it can be read") - before;
        assert!((1.0..1.1).contains(&taken), "{taken}");
        assert!(disk_mebibytes(&folder.path().join("none")).is_err());
    }
}
