//! The wiring: which dialects there are, over which use cases and credentials. It must not know what a route does.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use custodia_adapters::arrivals::{AnnouncedStore, Arrivals};
use custodia_adapters::directory_cache::CachedDirectory;
use custodia_adapters::http::auth::Authenticator;
use custodia_adapters::http::crm::{self, Crm};
use custodia_adapters::http::cursor::CursorKey;
use custodia_adapters::http::lms::{self, Lms};
use custodia_adapters::http::openapi::{Documented, assemble};
use custodia_adapters::http::publisher::{self, Publisher};
use custodia_adapters::http::rate;
use custodia_adapters::identity::{Identity, IdentityParts};
use custodia_adapters::ids::BlockIds;
use custodia_adapters::tokens::{OutsideKeys, Passwords, SigningKeys, generate_key};
use custodia_adapters::webhooks::{HttpSender, Outbound};
use custodia_domain::ports::{Clock, IdSource};
use custodia_domain::registry::{Ports, Registry};

use crate::config::Config;
use crate::stores::Stores;

/// What the routes are wired to.
pub struct Parts<'s> {
    pub stores: &'s Stores,
    pub signing: Arc<SigningKeys>,
    pub registry: Registry,
    pub arrivals: Arc<Arrivals>,
    pub outbound: Outbound,
}

/// The use cases over those stores; their commits are told to `arrivals`.
pub fn registry(config: &Config, stores: &Stores, ids: Arc<dyn IdSource>, arrivals: &Arc<Arrivals>) -> Registry {
    Registry::new(Ports {
        customers: Arc::new(AnnouncedStore::new(Arc::clone(&stores.customers), Arc::clone(arrivals))),
        directory: Arc::new(CachedDirectory::new(Arc::clone(&stores.directory))),
        accounts: Arc::clone(&stores.accounts),
        loans: Arc::clone(&stores.loans),
        scores: Arc::clone(&stores.scores),
        webhooks: Arc::clone(&stores.webhooks),
        clock: Arc::new(config.clock.clone()),
        ids,
    })
    .with_deepest_page(config.deepest_page)
}

/// How this deployment calls endpoints of webhooks.
pub fn outbound(config: &Config) -> Outbound {
    let insecure = config.webhook_insecure;
    Outbound { courier: Arc::new(HttpSender::new(insecure)), insecure }
}

/// The routes of every dialect with their document. They are not wrapped yet.
///
/// # Errors
/// The outside issuer cannot be set up.
pub fn api(config: &Config, parts: Parts<'_>) -> anyhow::Result<Documented> {
    let outside = config.outside.clone().map(OutsideKeys::new).transpose().context("--jwks-url")?;
    let clock: Arc<dyn Clock> = Arc::new(config.clock.clone());
    // Half of the processors: logins must not keep everybody else from working.
    let at_once = std::thread::available_parallelism().map_or(1, |processors| processors.get().div_ceil(2));
    let cursors = CursorKey::new(parts.signing.derive("custodia cursors"));
    let identity = Identity::new(IdentityParts {
        clock: Arc::clone(&clock),
        directory: Arc::clone(&parts.stores.directory),
        credentials: Arc::clone(&parts.stores.credentials),
        signing: parts.signing,
        outside,
        passwords: Passwords::new(at_once),
        login_failures: config.login_failures,
    });
    let identity = Arc::new(identity);
    let authenticator: Arc<dyn Authenticator> = Arc::clone(&identity) as _;
    let Parts { registry, arrivals, outbound, .. } = parts;
    let lms = Lms::new(registry.clone(), Arc::clone(&authenticator), cursors, arrivals, outbound);
    let mut documented = assemble([
        lms::router(lms),
        crm::router(Crm::new(registry.clone(), Arc::clone(&authenticator))),
        publisher::router(Publisher::new(registry, authenticator, identity)),
    ]);
    if let Some(per_minute) = config.rate_limit {
        documented.router = rate::limited(documented.router, per_minute);
    }
    Ok(documented)
}

/// The document alone, which depends neither on settings nor on data.
///
/// # Errors
/// Never: the default settings hold.
pub fn document() -> anyhow::Result<String> {
    let config = Config::default()?;
    Ok(api(&config, in_memory(&config, &Stores::memory())?)?.document)
}

fn in_memory<'s>(config: &Config, stores: &'s Stores) -> anyhow::Result<Parts<'s>> {
    let signing = Arc::new(SigningKeys::from_pem(&generate_key(), "custodia", Duration::from_hours(1))?);
    let (ids, arrivals) = (Arc::new(BlockIds::new(Arc::clone(&stores.customers))), Arc::default());
    let registry = registry(config, stores, ids, &arrivals);
    Ok(Parts { stores, signing, registry, arrivals, outbound: outbound(config) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use serde_json::Value;
    use std::collections::BTreeSet;
    use tower::ServiceExt as _;

    const METHODS: [&str; 7] = ["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS"];

    fn whole() -> (custodia_adapters::http::Router, Value) {
        let stores = Stores::memory();
        let config = Config::default().unwrap();
        let documented = api(&config, in_memory(&config, &stores).unwrap()).unwrap();
        (documented.router, serde_json::from_str(&documented.document).unwrap())
    }

    /// The paths that a router knows, as its `Debug` names them: there is no other way to ask.
    fn paths(router: &custodia_adapters::http::Router) -> BTreeSet<String> {
        let shown = format!("{router:?}");
        let path = |part: &str| Some(part.split_once("): \"")?.1.split_once('"')?.0.to_owned());
        let routes = shown.split("fallback_router").next().unwrap();
        routes.split("RouteId(").filter_map(path).collect()
    }

    #[test]
    fn the_committed_document_is_the_one_that_is_served() {
        let committed = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json"));
        assert!(committed.unwrap() == document().unwrap(), "docs/openapi.json is out of date: run `just openapi`");
    }

    #[test]
    fn every_operation_with_a_json_body_shows_an_example_of_it() {
        let (_, document) = whole();
        let shows = |shown: &Value| shown.get("example").or_else(|| shown.get("examples")).is_some();
        let mut bodies = 0;
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let Some(body) = operation.pointer("/requestBody/content/application~1json") else { continue };
                let named = body["schema"]["$ref"].as_str().and_then(|name| document.pointer(&name[1..]));
                bodies += 1;
                assert!(shows(body) || shows(&body["schema"]) || named.is_some_and(shows), "{method} {path}");
            }
        }
        assert!(bodies > 10, "{bodies}");
    }

    #[test]
    fn every_route_is_documented_and_every_documented_path_is_a_route() {
        let (router, document) = whole();
        let documented: BTreeSet<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
        // Mounted where the operator wants them.
        let probes = ["/livez", "/readyz", "/metrics"].map(str::to_owned);
        let mut routes = paths(&router);
        assert!(routes.len() > 5, "{routes:?}");
        routes.extend(probes);
        assert_eq!(routes, documented);
    }

    /// Whether the document has the method under that path, or under a template that the path is an instance of: a
    /// word that is a route of its own may also be an id.
    fn is_documented(document: &serde_json::Value, path: &str, method: &str) -> bool {
        let is_instance = |template: &str| {
            let same = |(one, other): (&str, &str)| one == other || one.starts_with('{');
            template.split('/').count() == path.split('/').count() && template.split('/').zip(path.split('/')).all(same)
        };
        let paths = document["paths"].as_object().unwrap();
        paths.iter().any(|(template, item)| is_instance(template) && !item[method].is_null())
    }

    #[tokio::test]
    async fn every_method_of_a_route_is_documented_and_every_documented_method_is_there() {
        let (router, document) = whole();
        for path in paths(&router) {
            for method in METHODS {
                let target = path.replace(['{', '}'], "");
                let request = Request::builder().method(method).uri(&target).body(String::new()).unwrap();
                let there = router.clone().oneshot(request).await.unwrap().status() != 405;
                let name = if method == "HEAD" { "get".to_owned() } else { method.to_lowercase() };
                let listed = !document["paths"][&path][&name].is_null();
                assert!(there || !listed, "{method} {path} is documented and not there");
                assert!(
                    !there || is_documented(&document, &path, &name),
                    "{method} {path} is there and not documented"
                );
            }
        }
    }

    #[tokio::test]
    async fn a_route_that_asks_for_no_credential_is_declared_so() {
        let (router, document) = whole();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap().iter().filter(|(method, _)| *method != "parameters") {
                let target = path.replace(['{', '}'], "");
                let request =
                    Request::builder().method(method.to_uppercase().as_str()).uri(&target).body(String::new()).unwrap();
                let status = router.clone().oneshot(request).await.unwrap().status();
                let open = operation["security"]
                    .as_array()
                    .is_some_and(|all| all.iter().all(|one| *one == serde_json::json!({})));
                let probe = ["/livez", "/readyz", "/metrics"].contains(&path.as_str());
                assert!(operation["security"].is_array(), "{method} {path} declares nothing");
                assert!(probe || open != (status == 401), "{method} {path} is open: {open}, and answers {status}");
            }
        }
    }
}
