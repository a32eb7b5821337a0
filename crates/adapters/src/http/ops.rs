//! Probes and metrics, for the operator's tools.
//!
//! Owns `/livez`, `/readyz` and `/metrics`, which need no credential and may be served on the main listener or on one of their
//! own. It must not know what readiness depends on: it is given a probe.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::future::BoxFuture;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use super::layers::REQUEST_SECONDS;

/// How long the readiness probe may take before the service counts as not ready.
const PROBE_DEADLINE: Duration = Duration::from_millis(1500);

/// How often recorded values are folded into their histograms.
const UPKEEP: Duration = Duration::from_secs(5);

/// Bucket bounds of request durations, in seconds.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.035, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

/// Asks whether the service can do its work now, mostly whether the database answers.
pub type ReadinessProbe = Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

/// Tells the probes that the service is about to stop. Clones share the flag.
#[derive(Debug, Clone, Default)]
pub struct Draining(Arc<AtomicBool>);

impl Draining {
    /// From now on `/readyz` answers 503, so that no new work is sent here.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the service is about to stop.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// What the operator's routes need.
#[derive(Clone)]
pub struct Ops {
    /// Whether the service can do its work.
    pub ready: ReadinessProbe,
    /// Whether it is about to stop.
    pub draining: Draining,
    /// Where the recorded metrics are read; see [`install_metrics`].
    pub metrics: PrometheusHandle,
}

impl fmt::Debug for Ops {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Ops").field("draining", &self.draining).finish_non_exhaustive()
    }
}

/// The routes `/livez`, `/readyz` and `/metrics`. Merge them into the main router before [`wrap`](super::wrap), or wrap and serve
/// them on a listener of their own.
pub fn router(ops: Ops) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render))
        .with_state(ops)
}

async fn readyz(State(ops): State<Ops>) -> (StatusCode, &'static str) {
    if ops.draining.has_begun() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    if tokio::time::timeout(PROBE_DEADLINE, (ops.ready)()).await.unwrap_or(false) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

async fn render(State(ops): State<Ops>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], ops.metrics.render()).into_response()
}

/// Makes the process-wide recorder of metrics and gives the handle by which `/metrics` reads them. Call it once, before anything
/// is recorded, and run [`upkeep`] beside the service.
///
/// # Errors
/// [`BuildError`] where a recorder is installed already.
pub fn install_metrics() -> Result<PrometheusHandle, BuildError> {
    builder()?.install_recorder()
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new().set_buckets_for_metric(Matcher::Full(REQUEST_SECONDS.to_owned()), &SECONDS)
}

/// Keeps the recorder's memory bounded while nobody reads `/metrics`. Never returns.
pub async fn upkeep(metrics: PrometheusHandle) {
    let mut beat = tokio::time::interval(UPKEEP);
    loop {
        beat.tick().await;
        metrics.run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{HttpLimits, wrap};
    use axum::body::Body;
    use futures::FutureExt;
    use http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    fn ops(ready: ReadinessProbe) -> (Ops, Router) {
        let metrics = builder().unwrap().build_recorder().handle();
        let ops = Ops { ready, draining: Draining::default(), metrics };
        let router = wrap(router(ops.clone()), &HttpLimits::default());
        (ops, router)
    }

    async fn status(router: &Router, uri: &str) -> u16 {
        let request = Request::get(uri).body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap().status().as_u16()
    }

    #[tokio::test]
    async fn readiness_follows_the_probe_and_the_drain_while_liveness_does_not() {
        let healthy = Arc::new(AtomicBool::new(true));
        let probed = healthy.clone();
        let (ops, router) = ops(Arc::new(move || {
            let healthy = probed.load(Ordering::Relaxed);
            async move { healthy }.boxed()
        }));
        assert_eq!(status(&router, "/readyz").await, 200);
        healthy.store(false, Ordering::Relaxed);
        assert_eq!(status(&router, "/readyz").await, 503);
        assert_eq!(status(&router, "/livez").await, 200);
        healthy.store(true, Ordering::Relaxed);
        ops.draining.begin();
        assert_eq!(status(&router, "/readyz").await, 503);
        assert_eq!(status(&router, "/livez").await, 200);
    }

    #[tokio::test]
    async fn a_probe_that_hangs_counts_as_not_ready_within_two_seconds() {
        let (_, router) = ops(Arc::new(|| std::future::pending().boxed()));
        let asked = tokio::time::timeout(Duration::from_secs(2), status(&router, "/readyz"));
        assert_eq!(asked.await.unwrap(), 503);
    }

    #[test]
    fn requests_are_counted_by_route_template_and_never_by_path() {
        let recorder = builder().unwrap().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let routes = Router::new().route("/v1/things/{id}", get(|| async { "ok" }));
                let routes = wrap(routes, &HttpLimits::default());
                assert_eq!(status(&routes, "/v1/things/secret-1?q=secret-2").await, 200);
                assert_eq!(status(&routes, "/secret-3").await, 404);
            });
        });
        let text = handle.render();
        assert!(text.contains(r#"http_requests_total{method="GET",route="/v1/things/{id}",status="200"} 1"#), "{text}");
        assert!(text.contains(r#"http_requests_total{method="GET",route="unmatched",status="404"} 1"#), "{text}");
        assert!(text.contains("http_request_duration_seconds_bucket"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }

    #[tokio::test]
    async fn metrics_are_served_as_prometheus_text() {
        let (_, router) = ops(Arc::new(|| async { true }.boxed()));
        let response = router.oneshot(Request::get("/metrics").body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.headers()[CONTENT_TYPE], "text/plain; version=0.0.4; charset=utf-8");
        response.into_body().collect().await.unwrap();
    }
}
