//! PostgreSQL fails over: two real servers, streaming replication, a promotion, and a proxy before them that leads to the one
//! that somebody takes for the primary. The service is not restarted, and nothing that it acknowledged is lost.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use custodia_tests::proof::Proof;
use custodia_tests::workload::{Ledger, Load, Place, writers};
use custodia_tests::{Answer, Backend, Cluster, Options, Proxy, Server};
use reqwest::Method;
use serde_json::json;

/// How soon the service is back behind the promotion.
const RECOVERED: Duration = Duration::from_secs(5);

struct Pair {
    primary: Cluster,
    standby: Cluster,
    proxy: Proxy,
    server: Server,
}

/// A service on a primary with a standby that has every commit before it is acknowledged.
async fn pair() -> Pair {
    let primary = Cluster::start("");
    let proxy = Proxy::before_postgres(&primary.address()).await;
    let options = Options::default().on(&primary.url()).by_way_of(proxy.address());
    let server = Server::start(Backend::Postgres, options).await;
    let standby = primary.standby();
    primary.run("alter system set synchronous_standby_names = '*'").await;
    primary.run("alter system set synchronous_commit = 'on'").await;
    primary.run("select pg_reload_conf()").await;
    standby.run("alter system set synchronous_standby_names = ''").await;
    Pair { primary, standby, proxy, server }
}

async fn keyed(server: &Server, key: &str) -> Answer {
    let request = server.request(Method::POST, "/v1/customers").bearer_auth(server.token());
    Answer::to(request.header("Idempotency-Key", key).json(&json!({"externalId": key}))).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a proof under trouble, by recipe: just faults"]
async fn a_read_only_node_serves_reads_refuses_writes_for_now_and_is_served_once_it_is_promoted() {
    let Pair { primary, standby, proxy, server } = pair().await;
    let _ = keyed(&server, "before").await.expect(200);
    proxy.lead_to(&standby.address());
    proxy.cut_all();
    server.wait_ready(false, Duration::from_secs(2)).await;
    for attempt in 0..5 {
        let refused = keyed(&server, &format!("during-{attempt}")).await;
        assert_eq!((refused.status, refused.json["code"].as_str()), (503, Some("unavailable")), "{}", refused.text);
        assert!(refused.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
    }
    let _ = server.get("/v1/customers/external/before").await.expect(200);
    primary.stop_immediately();
    standby.promote();
    let began = Instant::now();
    server.wait_ready(true, RECOVERED).await;
    let _ = keyed(&server, "during-0").await.expect(200);
    assert!(began.elapsed() < RECOVERED, "{:?}", began.elapsed());
    assert_eq!(server.total().await, 2, "what was refused was not written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a proof under trouble, by recipe: just faults"]
async fn a_primary_that_dies_under_load_is_followed_by_its_standby_without_a_loss() {
    let Pair { primary, standby, proxy, server } = pair().await;
    let ledger = Arc::new(Ledger::within(server.folder()));
    let mut proof = Proof::of(&standby.url());
    let load = Load::begin(&Place::of(&server).await, &ledger, writers());
    load.settled(100).await;
    primary.kill9();
    server.wait_ready(false, Duration::from_secs(2)).await;
    standby.promote();
    proxy.lead_to(&standby.address());
    let began = Instant::now();
    load.settled(load.count() + 50).await;
    assert!(began.elapsed() < RECOVERED, "it took {:?} to recover", began.elapsed());
    server.wait_ready(true, RECOVERED).await;
    let _ = load.end().await;
    proof.verify(&server, &ledger).await;
    assert!(proof.figures.acknowledged > 100, "{}", proof.figures);
}
