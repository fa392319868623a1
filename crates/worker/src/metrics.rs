//! The worker's figures for Prometheus: sums over everything it does, never a job or a task by name.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

/// Every figure of one worker.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    /// Attempts by how they ended.
    pub(crate) attempts: IntCounterVec,
    /// Bytes written or copied inside a store, tries that failed included.
    pub(crate) copied_bytes: IntCounter,
    /// Attempts that are running.
    pub(crate) running: IntGauge,
    /// Attempts that may run at once.
    pub(crate) slots: IntGauge,
    /// Whether a leader has welcomed the worker and its lease holds.
    pub(crate) ready: IntGauge,
    /// Sessions that were opened.
    pub(crate) sessions: IntCounter,
}

impl Metrics {
    /// Fails only when two figures have one name.
    pub(crate) fn new() -> prometheus::Result<Metrics> {
        let registry = Registry::new();
        let outcomes = Opts::new("ferry_worker_attempts_total", "Attempts that ended, by outcome.");
        let metrics = Metrics {
            attempts: IntCounterVec::new(outcomes, &["outcome"])?,
            copied_bytes: IntCounter::new("ferry_worker_copied_bytes_total", "Bytes copied, retries included.")?,
            running: IntGauge::new("ferry_worker_running_attempts", "Attempts that are running.")?,
            slots: IntGauge::new("ferry_worker_slots", "Attempts that may run at once.")?,
            ready: IntGauge::new("ferry_worker_ready", "1 while a leader knows the worker and its lease holds.")?,
            sessions: IntCounter::new("ferry_worker_sessions_total", "Sessions that a leader has welcomed.")?,
            registry,
        };
        metrics.registry.register(Box::new(metrics.attempts.clone()))?;
        metrics.registry.register(Box::new(metrics.copied_bytes.clone()))?;
        metrics.registry.register(Box::new(metrics.running.clone()))?;
        metrics.registry.register(Box::new(metrics.slots.clone()))?;
        metrics.registry.register(Box::new(metrics.ready.clone()))?;
        metrics.registry.register(Box::new(metrics.sessions.clone()))?;
        Ok(metrics)
    }

    /// Everything in Prometheus' text format.
    pub(crate) fn text(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}
