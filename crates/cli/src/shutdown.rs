//! When to end: at SIGTERM or SIGINT, or when whoever started this process is gone.

use tokio::signal::unix::{SignalKind, signal};

/// Resolves when the process is asked to end.
pub(crate) async fn requested() {
    let name = match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        },
        _ => {
            tracing::warn!("signals cannot be handled here; only SIGKILL ends this process");
            return std::future::pending().await;
        }
    };
    tracing::info!(signal = name, "ending");
}

/// Resolves as [`requested`] does, and also at the end of stdin, if that is what the starter's life is tied to.
pub(crate) async fn requested_or_abandoned(with_stdin: bool) {
    if !with_stdin {
        return requested().await;
    }
    let (gone, abandoned) = tokio::sync::oneshot::channel();
    // A thread of its own: a read that blocks must not keep the runtime from ending.
    std::thread::spawn(move || {
        let end = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        tracing::info!(?end, "stdin is closed");
        let _ = gone.send(());
    });
    tokio::select! {
        () = requested() => {}
        _ = abandoned => {}
    }
}
