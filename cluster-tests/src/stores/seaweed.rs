//! SeaweedFS, a production server that speaks S3 and checks signatures once it has an identity.

use super::foreign::program;
use super::{Part, Plan, Program, Server, folder, free_port, host_and_port};
use crate::process::free_address;
use std::process::Command;

const KEY_ID: &str = "ferry";
const SECRET: &str = "a secret of the tests";
const IDENTITIES: &str = r#"{"identities": [{
    "name": "ferry",
    "credentials": [{"accessKey": "ferry", "secretKey": "a secret of the tests"}],
    "actions": ["Admin", "Read", "Write", "List", "Tagging"]
}]}"#;

/// Starts one, empty.
///
/// # Panics
/// When it is not installed, or does not come up.
#[must_use]
pub fn start() -> Server {
    let folder = folder();
    let identities = folder.path().join("identities.json");
    std::fs::write(&identities, IDENTITIES).expect("a file can be written");
    let address = free_address();
    let (host, s3_port) = host_and_port(&address);
    let mut command = Command::new(program("weed"));
    command.args(["server", "-filer", "-s3", "-master.telemetry=false"]);
    command.args([format!("-ip={host}"), format!("-ip.bind={host}"), format!("-s3.port={s3_port}")]);
    command.arg(format!("-s3.config={}", identities.display()));
    // It would serve other protocols at fixed ports.
    command.args(["-s3.port.iceberg=0", "-s3.port.lance=0"]);
    command.args(["-volume.max=50", "-master.volumeSizeLimitMB=64"]);
    command.arg(format!("-dir={}", folder.path().display()));
    for part in ["master", "volume", "filer"] {
        command.arg(format!("-{part}.port={}", free_port()));
        command.arg(format!("-{part}.port.grpc={}", free_port()));
    }
    command.arg(format!("-s3.port.grpc={}", free_port()));
    let weed = Program::start(&mut command, folder.path(), "weed");
    let plan = Plan {
        name: "SeaweedFS 4.48",
        scheme: "s3",
        environment: &[
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", KEY_ID),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
        ],
        endpoint: ("AWS_ENDPOINT", ""),
        wrong_secret: Some(("AWS_SECRET_ACCESS_KEY", "of a stranger")),
        foreign: &["s3", &format!("http://{address}"), KEY_ID, SECRET],
        address,
    };
    plan.run(vec![Part::Process(weed)], folder)
}
