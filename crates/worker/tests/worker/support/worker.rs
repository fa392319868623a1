//! A running worker.

use super::leader::{Node, patient};
use ferry_worker::{Config, RunError, run};
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

pub(crate) struct Worker {
    shutdown: oneshot::Sender<()>,
    running: AbortOnDropHandle<Result<(), RunError>>,
}

pub(crate) fn config(node: &Node) -> Config {
    Config { endpoints: vec![node.address.clone()], name: "worker".into(), ..Config::default() }
}

impl Worker {
    pub(crate) fn start(config: Config) -> Worker {
        let (shutdown, told) = oneshot::channel();
        let running = tokio::spawn(run(config, async move {
            // A test that drops its worker never tells it.
            if told.await.is_err() {
                std::future::pending::<()>().await;
            }
        }));
        Worker { shutdown, running: AbortOnDropHandle::new(running) }
    }

    /// Tells the worker to end.
    pub(crate) fn end(self) -> AbortOnDropHandle<Result<(), RunError>> {
        self.shutdown.send(()).expect("the worker runs");
        self.running
    }

    pub(crate) async fn ended(running: AbortOnDropHandle<Result<(), RunError>>) {
        patient(running).await.unwrap().unwrap();
    }
}
