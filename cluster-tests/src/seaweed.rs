//! A SeaweedFS on loopback, an object store that speaks S3. `scripts/setup` installs it; it takes anonymous requests, so
//! that a plain connection is enough to look into it from outside.

use crate::process::free_address;
use crate::{PATIENCE, repository};
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Runs until it is dropped.
#[derive(Debug)]
pub struct Seaweed {
    process: Child,
    address: String,
    _folder: TempDir,
}

impl Seaweed {
    /// Starts one, empty, and waits until it takes objects.
    ///
    /// # Panics
    /// When it is not installed, or does not come up.
    #[must_use]
    pub fn start() -> Self {
        let program = repository().join(".venv/bin/weed");
        assert!(program.is_file(), "{} is missing: run scripts/setup, which installs it", program.display());
        let folder = tempfile::tempdir().expect("a folder can be made");
        let address = free_address();
        let (host, s3_port) = address.rsplit_once(':').expect("an address has a port");
        let mut command = Command::new(program);
        command.args(["server", "-filer", "-s3", "-master.telemetry=false"]);
        command.args([format!("-ip={host}"), format!("-ip.bind={host}"), format!("-s3.port={s3_port}")]);
        // It would serve other protocols at fixed ports.
        command.args(["-s3.port.iceberg=0", "-s3.port.lance=0"]);
        command.args(["-volume.max=50", "-master.volumeSizeLimitMB=64"]);
        command.arg(format!("-dir={}", folder.path().display()));
        for part in ["master", "volume", "filer"] {
            command.arg(format!("-{part}.port={}", port(&free_address())));
            command.arg(format!("-{part}.port.grpc={}", port(&free_address())));
        }
        command.arg(format!("-s3.port.grpc={}", port(&free_address())));
        let log = || File::options().create(true).append(true).open(folder.path().join("log")).expect("a log");
        let process = command.stdin(Stdio::null()).stdout(log()).stderr(log()).spawn().expect("weed can be started");
        let seaweed = Self { process, address, _folder: folder };
        let began = Instant::now();
        // It answers some time before it has a place for objects.
        while !seaweed.takes_objects() {
            assert!(began.elapsed() < PATIENCE, "SeaweedFS did not come up within {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
        seaweed
    }

    fn takes_objects(&self) -> bool {
        let made = self.try_request("PUT", "/ready", b"").is_some_and(|(status, _)| [200, 409].contains(&status));
        made && self.try_request("PUT", "/ready/object", b"1").is_some_and(|(status, _)| status == 200)
    }

    /// Its host and port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What a process of Ferry needs in its environment to reach it.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let endpoint = format!("http://{}", self.address);
        let variables = [
            ("AWS_ENDPOINT", endpoint.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "any"),
            ("AWS_SECRET_ACCESS_KEY", "any"),
        ];
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    /// Makes a bucket.
    ///
    /// # Panics
    /// When the store refuses.
    pub fn make_bucket(&self, name: &str) {
        let (status, said) = self.try_request("PUT", &format!("/{name}"), b"").expect("the store answers");
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&said));
    }

    /// The keys in a bucket that begin with a prefix, in order.
    ///
    /// # Panics
    /// When the store refuses, or has more than one page of them.
    #[must_use]
    pub fn keys(&self, bucket: &str, prefix: &str) -> Vec<String> {
        let (status, listed) =
            self.try_request("GET", &format!("/{bucket}?list-type=2&prefix={prefix}"), b"").expect("the store answers");
        let listed = String::from_utf8_lossy(&listed).into_owned();
        assert_eq!(status, 200, "{listed}");
        assert!(listed.contains("<IsTruncated>false</IsTruncated>"), "more than a page: {listed}");
        let keys = listed.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>"));
        let mut keys: Vec<String> = keys.map(|(key, _)| key.to_owned()).collect();
        keys.sort();
        keys
    }

    /// How many parts an object was made of, which its tag tells; 1 when it was put as a whole.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn parts(&self, bucket: &str, key: &str) -> usize {
        let (_, listed) =
            self.try_request("GET", &format!("/{bucket}?list-type=2&prefix={key}"), b"").expect("the store answers");
        let listed = String::from_utf8_lossy(&listed).into_owned();
        let tag = listed.split("<ETag>").nth(1).and_then(|rest| rest.split("</ETag>").next()).expect("a tag");
        tag.replace("&quot;", "")
            .replace("&#34;", "")
            .trim_matches('"')
            .split_once('-')
            .map_or(1, |(_, parts)| parts.parse().expect("a number of parts"))
    }

    /// The content of an object.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn object(&self, bucket: &str, key: &str) -> Vec<u8> {
        let (status, content) = self.try_request("GET", &format!("/{bucket}/{key}"), b"").expect("the store answers");
        assert_eq!(status, 200, "{bucket}/{key}");
        content
    }

    /// Uploads to a bucket that nobody has finished or aborted.
    ///
    /// # Panics
    /// When the store refuses.
    #[must_use]
    pub fn unfinished_uploads(&self, bucket: &str) -> usize {
        let (status, listed) = self.try_request("GET", &format!("/{bucket}?uploads"), b"").expect("the store answers");
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&listed));
        String::from_utf8_lossy(&listed).matches("<Upload>").count()
    }

    /// Status and body of one request; HTTP 1.0, whose answers have no chunks.
    fn try_request(&self, method: &str, path: &str, body: &[u8]) -> Option<(u16, Vec<u8>)> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        let head =
            format!("{method} {path} HTTP/1.0\r\nHost: {}\r\nContent-Length: {}\r\n\r\n", self.address, body.len());
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(body).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
        let status = std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()?;
        Some((status, answer.split_off(end + 4)))
    }
}

impl Drop for Seaweed {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to stop.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn port(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(_, port)| port)
}
