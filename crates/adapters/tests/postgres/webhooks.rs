//! Webhooks as rows that others than the store may look at, or break.

use custodia_domain::OrganizationId;
use custodia_domain::Sequence;
use custodia_domain::Unit;
use custodia_domain::unit::WebhookChange;
use custodia_domain::webhook::{
    Attempt, DeliveryState, NewWebhook, PayloadForm, Settlement, WebhookEndpoint, WebhookId, WebhookSecret, WebhookUrl,
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::support::{Stage, at, moment, postgres_at, postgres_schema, unit};

/// A new endpoint for every event.
pub async fn hook(stage: &Stage, organization: OrganizationId) -> WebhookId {
    let new = NewWebhook {
        url: WebhookUrl::parse("https://example.com/secret-path").unwrap(),
        kinds: [].into(),
        form: PayloadForm::Full,
        description: None,
    };
    let (id, secret) = (WebhookId::from_random(1), WebhookSecret::from_bytes([9; 32]));
    let (endpoint, event) = WebhookEndpoint::create(organization, id, secret, new, moment(1));
    let webhooks = vec![WebhookChange::kept(endpoint, event)];
    stage.commit(Unit { webhooks, ..unit(organization, Vec::new()) }).await.unwrap();
    id
}

/// The first attempt of a delivery, which the endpoint took.
pub fn delivered(endpoint: WebhookId, number: i64) -> Settlement {
    Settlement {
        endpoint,
        sequence: Sequence::parse(number).unwrap(),
        attempts_before: 0,
        attempt: Attempt { at: at(1), duration_ms: 1, status: Some(200), failure: None },
        next: DeliveryState::Delivered { at: at(2) },
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_no_endpoint_and_no_delivery_can_be_are_refused() {
    let url = postgres_schema().await;
    let stage = Stage::over(postgres_at(&url).await);
    let organization = stage.organization().await;
    hook(&stage, organization).await;
    stage.create_named(organization, "Ada").await;
    stage.store.claim(1, at(0), at(9), 1, &[]).await.unwrap();
    stage.store.enqueue(organization, 1, at(1), 10).await.unwrap();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    for (table, change) in [
        ("webhook_endpoints", "version = 0"),
        ("webhook_endpoints", "position = 0"),
        ("webhook_endpoints", "payload = 'fat'"),
        ("webhook_endpoints", "secret = null"),
        ("webhook_endpoints", "secret = 'short'"),
        ("webhook_endpoints", "deleted_at = updated_at"),
        ("webhook_endpoints", "previous_secret = secret"),
        ("webhook_endpoints", "previous_until = updated_at"),
        ("webhook_endpoints", "disabled_at = updated_at"),
        ("webhook_endpoints", "disabled_because = 'gone'"),
        ("webhook_endpoints", "updated_at = created_at - interval '1 second'"),
        ("webhook_deliveries", "state = 'lost'"),
        ("webhook_deliveries", "state = 'parked'"),
        ("webhook_deliveries", "attempts = -1"),
        ("webhook_deliveries", "endpoint_id = 'we_0'"),
        ("webhook_leases", "owner = 'short'"),
        ("webhook_leases", "ends_at = null"),
    ] {
        let sql = AssertSqlSafe(format!("update {table} set {change}"));
        let refused = sqlx::query(sql).execute(&mut connection).await.expect_err(change);
        let state = refused.as_database_error().and_then(|error| error.code().map(String::from)).unwrap();
        assert!(state == "23514" || state == "23503", "{table}: {change}: {state}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_endpoint_leaves_neither_its_secret_nor_its_address() {
    let url = postgres_schema().await;
    let stage = Stage::over(postgres_at(&url).await);
    let organization = stage.organization().await;
    let id = hook(&stage, organization).await;
    let endpoint = stage.store.endpoint(organization, id).await.unwrap().unwrap();
    let webhooks = vec![WebhookChange::gone(endpoint, moment(2))];
    stage.commit(Unit { webhooks, ..unit(organization, Vec::new()) }).await.unwrap();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let left: (String, Option<Vec<u8>>) =
        sqlx::query_as("select url, secret from webhook_endpoints").fetch_one(&mut connection).await.unwrap();
    assert_eq!(left, (String::new(), None));
    stage.store.purge_deliveries(at(0), 1).await.unwrap();
    let count: i64 =
        sqlx::query_scalar("select count(*) from webhook_endpoints").fetch_one(&mut connection).await.unwrap();
    assert_eq!(count, 0, "nothing is delivered to it any more");
}
