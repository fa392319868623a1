//! s3s-fs, S3 over a folder, in this process; it checks signatures and the time of each request.

use super::{Part, Plan, Server, folder};
use crate::process::free_address;
use ::s3s::auth::SimpleAuth;
use ::s3s::service::{S3Service, S3ServiceBuilder};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

const KEY_ID: &str = "ferry";
const SECRET: &str = "a secret of the tests";
/// Requests are short, and most of them wait for the disk.
const THREADS: usize = 2;

/// The threads that serve it; they end when it is dropped.
#[derive(Debug)]
pub(super) struct Serving(Option<Runtime>);

/// Starts one, empty.
///
/// # Panics
/// When it does not come up.
#[must_use]
pub fn start() -> Server {
    let folder = folder();
    let objects = folder.path().join("objects");
    std::fs::create_dir(&objects).expect("a folder can be made");
    let mut service = S3ServiceBuilder::new(FileSystem::new(&objects).expect("the folder is there"));
    service.set_auth(SimpleAuth::from_single(KEY_ID, SECRET));
    let address = free_address();
    let serving = Serving::start(&address, service.build());
    let plan = Plan {
        name: "s3s-fs 0.14.1",
        scheme: "s3",
        environment: &[
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", KEY_ID),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
        ],
        endpoint: ("AWS_ENDPOINT", ""),
        wrong_secret: Some(("AWS_SECRET_ACCESS_KEY", "of a stranger")),
        foreign: &["s3s", &format!("http://{address}"), KEY_ID, SECRET, &objects.to_string_lossy()],
        address,
    };
    plan.run(vec![Part::InProcess(serving)], folder)
}

impl Serving {
    fn start(address: &str, service: S3Service) -> Self {
        let mut threads = tokio::runtime::Builder::new_multi_thread();
        let runtime = threads.worker_threads(THREADS).enable_all().build().expect("threads can be started");
        let listener = std::net::TcpListener::bind(address).expect("a free address can be listened on");
        listener.set_nonblocking(true).expect("a listener can be asked not to wait");
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("the listener does not wait");
            while let Ok((client, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let served =
                        Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(client), service).await;
                    // Clients come and go, and tests cut their connections.
                    drop(served);
                });
            }
        });
        Self(Some(runtime))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // A runtime must not be waited for in a task of another one, where tests drop it.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
