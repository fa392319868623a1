//! Moto, which speaks S3 as the cloud does in many details, and takes any credentials.

use super::foreign::program;
use super::{Part, Plan, Program, Server, folder, host_and_port};
use crate::process::free_address;
use std::process::Command;

/// Starts one, empty.
///
/// # Panics
/// When it is not installed, or does not come up.
#[must_use]
pub fn start() -> Server {
    let folder = folder();
    let address = free_address();
    let (host, port) = host_and_port(&address);
    let mut command = Command::new(program("moto_server"));
    let moto = Program::start(command.args(["-H", host, "-p", port]), folder.path(), "moto");
    let plan = Plan {
        name: "moto 5.2.5",
        scheme: "s3",
        environment: &[
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "any"),
            ("AWS_SECRET_ACCESS_KEY", "any"),
        ],
        endpoint: ("AWS_ENDPOINT", ""),
        wrong_secret: None,
        foreign: &["s3", &format!("http://{address}"), "any", "any"],
        address,
    };
    plan.run(vec![Part::Process(moto)], folder)
}
