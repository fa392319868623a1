//! Puts the worker together and runs it: link, session, attempts and the admin address, all of which end with it.

use crate::attempt::Runner;
use crate::bandwidth::Bandwidths;
use crate::config::{Config, ConfigError};
use crate::copy::{Disks, PartsBudget};
use crate::leader::Leader;
use crate::metrics::Metrics;
use crate::session::Session;
use crate::{admin, link};
use ferry_objects::Stores;
use ferry_snapshot::Snapshots;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

/// Memory for the snapshots that are kept open: one of ten million segments takes 400 MB, one of 300,000 some 12.
const SNAPSHOTS_BYTES_MAX: u64 = 128 << 20;
/// Events of the link that the session has not taken yet.
const EVENTS_MAX: usize = 256;

/// Why a worker cannot run. Nothing that happens later ends it.
#[derive(Debug, Error)]
pub enum RunError {
    /// An option has a value that cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The admin address cannot be listened on.
    #[error("cannot listen on the admin address {address}: {source}; choose another `admin-listen`")]
    Admin {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// Two figures have one name: a bug.
    #[error("the figures cannot be registered: {0}; please report this")]
    Metrics(#[from] prometheus::Error),
}

/// Runs a worker until `shutdown` resolves: it finds the leader, copies what it is assigned, reports, and in the end gives
/// back what it has not finished.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
    config.check()?;
    let stores = Stores::with_named(&config.stores).map_err(ConfigError::Store)?;
    raise_open_files();
    let metrics = Arc::new(Metrics::new()?);
    metrics.slots.set(config.slots.into());
    let _admin = serve_admin(&config, &metrics).await?;
    let (channel_sender, channel) = watch::channel(None);
    let runner = Arc::new(Runner {
        snapshots: Snapshots::new(stores.with_silence_max(config.request_timeout), SNAPSHOTS_BYTES_MAX),
        leader: Leader::new(channel),
        bandwidths: Bandwidths::new(config.bandwidth_per_second.as_u64()),
        budget: PartsBudget::default(),
        disks: Disks::default(),
        metrics,
        request_timeout: config.request_timeout,
        late_writes: config.late_writes,
        files_at_once: config.files_per_task,
        read_back: config.read_back,
    });
    let (report_sender, reports) = mpsc::unbounded_channel();
    let (event_sender, events) = mpsc::channel(EVENTS_MAX);
    let session = Session::new(&config, runner, report_sender);
    let _link = AbortOnDropHandle::new(tokio::spawn(link::run(config.endpoints.clone(), event_sender, channel_sender)));
    tracing::info!(name = %config.name, slots = config.slots, "the worker is running");
    session.run(events, reports, shutdown).await;
    tracing::info!("the worker has ended");
    Ok(())
}

/// Many small files are open at once; systems allow far more than what a process begins with.
fn raise_open_files() {
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files cannot be raised; with many slots copies may fail for lack of them");
    }
}

async fn serve_admin(config: &Config, metrics: &Arc<Metrics>) -> Result<Option<AbortOnDropHandle<()>>, RunError> {
    let Some(address) = config.admin_listen else { return Ok(None) };
    let failed = |source| RunError::Admin { address, source };
    let listener = admin::listen(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    tracing::info!(address = %bound, "the admin address is served");
    Ok(Some(AbortOnDropHandle::new(tokio::spawn(admin::serve(listener, Arc::clone(metrics))))))
}
