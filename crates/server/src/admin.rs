//! The admin address: metrics, liveness and readiness over plain HTTP.

use crate::node::Node;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::fmt::Write as _;
use std::sync::Arc;

/// A node may answer reads this many entries behind what it knows to be committed and still count as ready.
const LAG_ENTRIES_MAX: u64 = 1_000;

/// The routes of the admin address.
pub(crate) fn routes(node: Arc<Node>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(node)
}

async fn metrics(State(node): State<Arc<Node>>) -> Response {
    match node.render_metrics() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn ready(State(node): State<Arc<Node>>, RawQuery(query): RawQuery) -> Response {
    let checks = checks(&node);
    let failed = checks.iter().any(|check| check.problem.is_some());
    let code = if failed { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let verbose = query.is_some_and(|query| query.split('&').any(|part| part == "verbose" || part == "verbose=1"));
    let mut text = String::new();
    for check in &checks {
        match &check.problem {
            Some(problem) => _ = writeln!(text, "[-]{} failed: {problem}", check.name),
            None if verbose => _ = writeln!(text, "[+]{} ok: {}", check.name, check.fact),
            None => {}
        }
    }
    text.push_str(if failed { "not ready\n" } else { "ok\n" });
    (code, text).into_response()
}

struct Check {
    name: &'static str,
    fact: String,
    problem: Option<String>,
}

fn checks(node: &Node) -> [Check; 2] {
    let leader = node.raft.leader();
    let figures = node.raft_figures();
    let behind = figures.committed_index.saturating_sub(figures.applied_index);
    [
        Check {
            name: "leader",
            fact: leader.as_ref().map(|(id, _)| format!("node {id} leads")).unwrap_or_default(),
            problem: (leader.is_none() || !node.reads.is_fresh())
                .then(|| "no leader answers: see whether most nodes run (`ferry cluster status`)".to_owned()),
        },
        Check {
            name: "rows",
            fact: format!("{behind} entries behind"),
            problem: (behind > LAG_ENTRIES_MAX).then(|| format!("{behind} entries are still to be applied: wait")),
        },
    ]
}
