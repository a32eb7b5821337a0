//! Requests a minute for each credential, where the deployment limits them.
//!
//! Owns the count, and the headers that tell a client where it stands. It must not know how a dialect words its 429: a dialect
//! calls [`admit`] once the credential and its scope are accepted, and answers the error like any other of the credential's.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use custodia_domain::OrganizationId;
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use http::{HeaderName, HeaderValue};

use super::auth::{AuthError, Principal};

/// The window of the quota in seconds.
const WINDOW: u64 = 60;
/// After how many requests the counts of credentials that rest are dropped.
const SWEEP: u32 = 10_000;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STANDING: HeaderName = HeaderName::from_static("ratelimit");

type Credential = (OrganizationId, Box<str>);
type Limiter = RateLimiter<Credential, DefaultKeyedStateStore<Credential>, DefaultClock, StateInformationMiddleware>;

tokio::task_local! {
    /// The request that runs on this task.
    static RUNNING: Running;
}

#[derive(Clone)]
struct Running {
    rate: Arc<Rate>,
    standing: Arc<Mutex<Option<Standing>>>,
}

struct Rate {
    quota: NonZeroU32,
    /// What every answer says of the quota.
    policy: HeaderValue,
    limiter: Limiter,
    clock: DefaultClock,
    seen: AtomicU32,
}

/// Where a credential stands after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    left: u32,
    /// Seconds until the whole quota is there again, or until one request is where none is left.
    until: u32,
}

/// Limits all routes of `router` to so many requests a minute and credential.
pub fn limited(router: Router, per_minute: NonZeroU32) -> Router {
    let rate = Rate {
        quota: per_minute,
        policy: header(&format!("\"default\";q={per_minute};w={WINDOW}")),
        limiter: RateLimiter::keyed(Quota::per_minute(per_minute)).with_middleware(),
        clock: DefaultClock::default(),
        seen: AtomicU32::new(0),
    };
    router.layer(from_fn_with_state(Arc::new(rate), around))
}

async fn around(State(rate): State<Arc<Rate>>, request: Request, next: Next) -> Response {
    let running = Running { rate: Arc::clone(&rate), standing: Arc::default() };
    let standing = Arc::clone(&running.standing);
    let mut response = RUNNING.scope(running, next.run(request)).await;
    let standing = *standing.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(Standing { left, until }) = standing {
        let headers = response.headers_mut();
        headers.insert(POLICY, rate.policy.clone());
        headers.insert(STANDING, header(&format!("\"default\";r={left};t={until}")));
    }
    response
}

fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("digits and quoted words fit into a header")
}

/// Counts one request of a credential that may do what it asks. Without a limit, or off a request's own task, it always may.
///
/// # Errors
/// [`AuthError::Throttled`] with the seconds until the next request is admitted.
pub fn admit(principal: &Principal) -> Result<(), AuthError> {
    RUNNING
        .try_with(|running| {
            let (standing, admitted) = running.rate.count(&(principal.organization, principal.credential.clone()));
            *running.standing.lock().unwrap_or_else(PoisonError::into_inner) = Some(standing);
            if admitted { Ok(()) } else { Err(AuthError::Throttled { retry_after: standing.until }) }
        })
        .unwrap_or(Ok(()))
}

impl Rate {
    fn count(&self, credential: &Credential) -> (Standing, bool) {
        if self.seen.fetch_add(1, Ordering::Relaxed) % SWEEP == SWEEP - 1 {
            self.limiter.retain_recent();
        }
        match self.limiter.check_key(credential) {
            Ok(state) => {
                let left = state.remaining_burst_capacity();
                let spent = u64::from(self.quota.get() - left.min(self.quota.get()));
                let until = (spent * WINDOW).div_ceil(u64::from(self.quota.get()));
                (Standing { left, until: u32::try_from(until).unwrap_or(u32::MAX) }, true)
            }
            Err(refused) => {
                (Standing { left: 0, until: whole_seconds(refused.wait_time_from(self.clock.now())) }, false)
            }
        }
    }
}

fn whole_seconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::routing::get;
    use custodia_domain::Actor;
    use custodia_domain::ports::Scope;
    use http::StatusCode;
    use tower::ServiceExt as _;

    fn principal(credential: &str) -> Principal {
        Principal {
            organization: OrganizationId::FIRST,
            actor: Actor::new(credential),
            scope: Scope::Write,
            credential: credential.into(),
        }
    }

    fn routes() -> Router {
        let handler = |request: Request| async move {
            let name = request.headers().get("x-name").and_then(|name| name.to_str().ok()).unwrap_or_default();
            match admit(&principal(name)) {
                Ok(()) => StatusCode::OK,
                Err(AuthError::Throttled { retry_after }) if (1..=30).contains(&retry_after) => {
                    StatusCode::TOO_MANY_REQUESTS
                }
                Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
            }
        };
        Router::new().route("/", get(handler)).route("/open", get(|| async {}))
    }

    async fn ask(router: &Router, path: &str, name: &str) -> Response {
        let request = Request::get(path).header("x-name", name).body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn each_credential_has_a_quota_of_its_own_and_is_told_where_it_stands() {
        let router = limited(routes(), NonZeroU32::new(2).unwrap());
        let first = ask(&router, "/", "key:1").await;
        assert_eq!(first.status(), 200);
        assert_eq!(first.headers()["ratelimit-policy"], "\"default\";q=2;w=60");
        assert_eq!(first.headers()["ratelimit"], "\"default\";r=1;t=30");
        assert_eq!(ask(&router, "/", "key:1").await.headers()["ratelimit"], "\"default\";r=0;t=60");
        let third = ask(&router, "/", "key:1").await;
        assert_eq!(third.status(), 429);
        assert_eq!(third.headers()["ratelimit"], "\"default\";r=0;t=30");
        assert_eq!(ask(&router, "/", "key:2").await.status(), 200);
    }

    #[tokio::test]
    async fn without_a_limit_or_a_credential_nothing_is_counted() {
        for router in [routes(), limited(routes(), NonZeroU32::new(1).unwrap())] {
            for _ in 0..3 {
                let open = ask(&router, "/open", "").await;
                assert_eq!(open.status(), 200);
                assert!(!open.headers().contains_key("ratelimit"));
            }
        }
        for _ in 0..3 {
            assert_eq!(ask(&routes(), "/", "key:1").await.status(), 200);
        }
    }
}
