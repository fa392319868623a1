//! TLS before a server, under a certificate that no system knows.

use super::foreign::python;
use super::{Program, folder};
use crate::process::free_address;
use crate::{PATIENCE, repository};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A listener that runs until it is dropped.
#[derive(Debug)]
pub struct Tls {
    address: String,
    _process: Program,
    folder: TempDir,
}

impl Tls {
    /// Before the server at this address.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start(upstream: &str) -> Self {
        let (folder, address) = (folder(), free_address());
        let mut command = Command::new(python());
        command.arg(repository().join("cluster-tests/src/stores/tls.py")).args([&address, upstream]).arg(folder.path());
        let process = Program::start(&mut command, folder.path(), "tls");
        let began = Instant::now();
        while TcpStream::connect(&address).is_err() {
            assert!(began.elapsed() < PATIENCE, "TLS before {upstream} did not come up within {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { address, _process: process, folder }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its certificate, which vouches for itself.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }
}
