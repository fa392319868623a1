//! Real object stores on loopback, as `scripts/setup` installs them; the clouds' own clients look into them from outside.
//!
//! Each starts on an address of its own, is killed when its value is dropped, and shows its last lines when a test fails.

pub mod azurite;
pub mod bucket;
mod foreign;
pub mod gcs;
pub mod moto;
pub mod relay;
pub mod s3s;
pub mod seaweed;
pub mod tls;

use crate::PATIENCE;
use crate::process::free_address;
use foreign::{Foreign, Words};
use serde_json::json;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Lines of a server's log that a failed test shows.
const LAST_LINES: usize = 20;
/// Where each server has an object as soon as it takes any.
const READY_BUCKET: &str = "ready";

/// A variable of a process of Ferry.
pub type Variable = (String, String);

/// A store that runs until it is dropped.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    scheme: &'static str,
    /// Where processes of Ferry reach it.
    address: String,
    /// What those need beside the variable with the endpoint.
    environment: Vec<Variable>,
    /// The variable with the endpoint, and what comes behind the address there.
    endpoint: (&'static str, &'static str),
    /// A secret that it refuses, if it knows any.
    wrong_secret: Option<Variable>,
    foreign: Foreign,
    _parts: Vec<Part>,
    folder: TempDir,
}

/// What runs for a server until it is dropped.
#[derive(Debug)]
enum Part {
    Process(#[expect(dead_code, reason = "held for its end")] Program),
    InProcess(#[expect(dead_code, reason = "held for its end")] s3s::Serving),
}

impl Server {
    /// Its name and version.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The scheme of its URIs; a process of Ferry has one store for each of them.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        self.scheme
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The URI of a place in it.
    #[must_use]
    pub fn uri(&self, bucket: &str, prefix: &str) -> String {
        format!("{}://{bucket}/{prefix}", self.scheme)
    }

    /// What a process of Ferry needs in its environment to reach it.
    #[must_use]
    pub fn environment(&self) -> Vec<Variable> {
        self.environment_by(&self.address)
    }

    /// The same, by another address that leads to it.
    #[must_use]
    pub fn environment_by(&self, address: &str) -> Vec<Variable> {
        self.environment_by_url(&format!("http://{address}"))
    }

    /// The same, by a URL that leads to it or does not.
    #[must_use]
    pub fn environment_by_url(&self, url: &str) -> Vec<Variable> {
        let (name, behind) = self.endpoint;
        let endpoint = (name.to_owned(), format!("{url}{behind}"));
        self.environment.iter().cloned().chain([endpoint]).collect()
    }

    /// The same with a secret that it refuses; none if it takes every one.
    #[must_use]
    pub fn environment_of_a_stranger(&self) -> Option<Vec<Variable>> {
        let wrong = self.wrong_secret.clone()?;
        let right = self.environment().into_iter().filter(|(name, _)| *name != wrong.0).collect::<Vec<_>>();
        Some(right.into_iter().chain([wrong]).collect())
    }

    /// A shared credentials file of S3 with the same keys as in its environment, or a connection string of Azure.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn credentials_file(&self) -> PathBuf {
        self.write_credentials("credentials", &self.environment)
    }

    /// The same with a secret that it refuses; none if it takes every one.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn credentials_file_of_a_stranger(&self) -> Option<PathBuf> {
        Some(self.write_credentials("credentials-of-a-stranger", &self.environment_of_a_stranger()?))
    }

    fn write_credentials(&self, name: &str, environment: &[Variable]) -> PathBuf {
        let of = |wanted: &str| {
            let found = environment.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.as_str()).unwrap_or_default()
        };
        let text = match self.scheme {
            "az" => format!("AccountKey={}\n", of("AZURE_STORAGE_ACCOUNT_KEY")),
            "gs" => of("GOOGLE_SERVICE_ACCOUNT_KEY").to_owned(),
            _ => {
                let (key_id, secret) = (of("AWS_ACCESS_KEY_ID"), of("AWS_SECRET_ACCESS_KEY"));
                format!("[default]\naws_access_key_id = {key_id}\naws_secret_access_key = {secret}\n")
            }
        };
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("a file can be written");
        path
    }

    /// What names it as the store NAME in settings, at an address that leads to it, with the credentials of this file.
    #[must_use]
    pub fn settings(&self, name: &str, url: &str, credentials: &Path) -> Vec<String> {
        let kind = match self.scheme {
            "az" => "azure",
            "gs" => "gcs",
            scheme => scheme,
        };
        let account = self.environment.iter().find(|(name, _)| name == "AZURE_STORAGE_ACCOUNT_NAME");
        let account = account.map(|(_, account)| ("account", account.clone()));
        let settings = [
            ("kind", kind.to_owned()),
            ("endpoint", format!("{url}{}", self.endpoint.1)),
            ("credentials-file", credentials.display().to_string()),
        ];
        settings.into_iter().chain(account).map(|(key, value)| format!("stores.{name}.{key}={value}")).collect()
    }

    /// Makes a bucket.
    ///
    /// # Panics
    /// When the store refuses.
    pub fn make_bucket(&self, name: &str) {
        self.foreign.ask(&json!({"call": "make_bucket", "bucket": name}));
    }

    /// The keys in a bucket that begin with a prefix, in order.
    ///
    /// # Panics
    /// When the store refuses.
    #[must_use]
    pub fn keys(&self, bucket: &str, prefix: &str) -> Vec<String> {
        self.foreign.keys(&json!({"call": "keys", "bucket": bucket, "prefix": prefix}))
    }

    /// The content of an object.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn object(&self, bucket: &str, key: &str) -> Vec<u8> {
        self.foreign.object(bucket, key)
    }

    /// Puts an object of one byte under each of these keys.
    ///
    /// # Panics
    /// When the store refuses.
    pub fn put_many(&self, bucket: &str, keys: &[String]) {
        self.foreign.ask(&json!({"call": "put_many", "bucket": bucket, "keys": keys}));
    }

    /// Puts a file under a key.
    ///
    /// # Panics
    /// When the store refuses.
    pub fn put_file(&self, bucket: &str, key: &str, file: &Path) {
        self.foreign.ask(&json!({"call": "put", "bucket": bucket, "key": key, "content": file}));
    }

    /// Moves an object to a storage class that has to be brought back before it can be read.
    ///
    /// # Panics
    /// When the store refuses.
    pub fn archive(&self, bucket: &str, key: &str) {
        self.foreign.ask(&json!({"call": "archive", "bucket": bucket, "key": key}));
    }

    /// The keys of uploads to a bucket that nobody has finished or aborted.
    ///
    /// # Panics
    /// When the store refuses.
    #[must_use]
    pub fn unfinished_uploads(&self, bucket: &str) -> Vec<String> {
        self.foreign.keys(&json!({"call": "uploads", "bucket": bucket}))
    }

    /// The storage class or access tier of an object; empty where it is the default. Servers of S3 and Azure tell.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn storage_class(&self, bucket: &str, key: &str) -> String {
        let class = self.foreign.ask(&json!({"call": "storage_class", "bucket": bucket, "key": key}));
        class.as_str().expect("a storage class").to_owned()
    }

    /// How many parts an object was made of; 1 when it was put as a whole. Only servers of S3 tell.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn parts(&self, bucket: &str, key: &str) -> u64 {
        let parts = self.foreign.ask(&json!({"call": "parts", "bucket": bucket, "key": key}));
        parts.as_u64().expect("a number of parts")
    }

    /// Waits until it takes objects, which some do long after they answer.
    fn wait_until_it_is_ready(&self) {
        let began = Instant::now();
        let content = tempfile::NamedTempFile::new().expect("a file can be made");
        let make = json!({"call": "make_bucket", "bucket": READY_BUCKET});
        let put = json!({"call": "put", "bucket": READY_BUCKET, "key": "object", "content": content.path()});
        while let Err(error) = self.foreign.try_ask(&put) {
            assert!(began.elapsed() < PATIENCE, "{} did not come up within {PATIENCE:?}: {error}", self.name);
            std::thread::sleep(Duration::from_millis(100));
            // Refused once it is there; the next put tells.
            let _ = self.foreign.try_ask(&make);
        }
    }
}

/// What a server is made of.
struct Plan<'a> {
    name: &'static str,
    scheme: &'static str,
    address: String,
    environment: &'a [(&'static str, &'static str)],
    endpoint: (&'static str, &'static str),
    wrong_secret: Option<(&'static str, &'static str)>,
    foreign: Words<'a>,
}

impl Plan<'_> {
    /// The server, once it takes objects.
    fn run(self, parts: Vec<Part>, folder: TempDir) -> Server {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let server = Server {
            name: self.name,
            scheme: self.scheme,
            address: self.address,
            environment: self.environment.iter().copied().map(owned).collect(),
            endpoint: self.endpoint,
            wrong_secret: self.wrong_secret.map(owned),
            foreign: Foreign::start(self.foreign),
            _parts: parts,
            folder,
        };
        server.wait_until_it_is_ready();
        server
    }
}

/// A process of a server.
#[derive(Debug)]
struct Program {
    process: Child,
    log: PathBuf,
}

impl Program {
    /// Starts it; what it prints goes to a file in the folder.
    fn start(command: &mut Command, folder: &Path, name: &str) -> Self {
        let log = folder.join(format!("{name}.log"));
        let open = || File::options().create(true).append(true).open(&log).expect("a log can be opened");
        let process = command
            .stdin(Stdio::null())
            .stdout(open())
            .stderr(open())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error}: run scripts/setup"));
        Self { process, log }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to stop.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let printed = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = printed.lines().collect();
            let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
            eprintln!("-- the last lines of {}:\n{}", self.log.display(), last.join("\n"));
        }
    }
}

/// Host and port of an address.
fn host_and_port(address: &str) -> (&str, &str) {
    address.rsplit_once(':').expect("an address has a port")
}

/// A free port; where a server takes host and port apart, the host is that of its main address.
fn free_port() -> String {
    host_and_port(&free_address()).1.to_owned()
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder can be made")
}
