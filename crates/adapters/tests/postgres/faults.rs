//! What the store answers when the server does not do its part.

use std::time::Duration;

use custodia_adapters::postgres::{ConnectError, PostgresOptions, PostgresStore};
use custodia_domain::ports::{CommitError, CustomerStore, Directory, StoreError};
use sqlx::{Connection as _, PgConnection};

use crate::support::{Stage, at, by_id, call_at, changed, created, named, number, postgres_at, postgres_schema, unit};

async fn open(url: &str, options: PostgresOptions) -> Stage {
    Stage::over(PostgresStore::connect(url, options).await.unwrap())
}

/// Waits until a session waits for a lock of the observer's, and answers its process id.
async fn wait_for_waiter(observer: &mut PgConnection) -> i32 {
    loop {
        let waiter: Option<i32> = sqlx::query_scalar(
            "select a.pid from pg_stat_activity a where pg_backend_pid() = any(pg_blocking_pids(a.pid))",
        )
        .fetch_optional(&mut *observer)
        .await
        .unwrap();
        if let Some(pid) = waiter {
            return pid;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_is_held_too_long_makes_the_store_unavailable_and_leaves_nothing() {
    let url = postgres_schema().await;
    postgres_at(&url).await;
    let stage = open(&url, PostgresOptions { lock_timeout: Duration::from_millis(50), ..Default::default() }).await;
    let organization = stage.organization().await;
    let mut other = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("begin; select id from organizations for update").execute(&mut other).await.unwrap();
    let units = vec![
        unit(organization, vec![created(organization, number(1), named("Ada")).1]),
        unit(
            organization,
            vec![created(organization, number(2), named("Bo")).1, created(organization, number(3), named("Cy")).1],
        ),
    ];
    for verdict in stage.store.commit(units).await {
        assert!(matches!(verdict, Err(CommitError::Store(StoreError::Unavailable(_)))), "{verdict:?}");
    }
    sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
    assert_eq!(stage.feed(organization).await.len(), 0);
    stage.commit(unit(organization, vec![created(organization, number(1), named("Ada")).1])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_ends_under_a_statement_leaves_the_outcome_unknown() {
    let url = postgres_schema().await;
    let stage = Stage::over(postgres_at(&url).await);
    let organization = stage.organization().await;
    let mut other = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("begin; select id from organizations for update").execute(&mut other).await.unwrap();
    let store = stage.customers();
    let change = created(organization, number(1), named("Ada")).1;
    let commit = tokio::spawn(async move { store.commit(vec![unit(organization, vec![change])]).await });
    let pid = wait_for_waiter(&mut other).await;
    sqlx::query("select pg_terminate_backend($1)").bind(pid).execute(&mut other).await.unwrap();
    let verdict = commit.await.unwrap().remove(0);
    assert!(matches!(verdict, Err(CommitError::Unknown(_))), "{verdict:?}");
    sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
    // The next caller meets a new session.
    assert_eq!(stage.find(organization, number(1)).await, None);
    stage.commit(unit(organization, vec![created(organization, number(1), named("Ada")).1])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_outlive_the_sessions_that_the_server_ended() {
    let url = postgres_schema().await;
    let stage = Stage::over(postgres_at(&url).await);
    let organization = stage.organization().await;
    let ada = stage.create_named(organization, "Ada").await;
    let mut other = PgConnection::connect(&url).await.unwrap();
    for _ in 0..5 {
        // The URL names the schema twice: as the search path, and as the application's name.
        let schema = url.rsplit('=').next().unwrap().to_owned();
        let pids: Vec<i32> = sqlx::query_scalar(
            "select pid from pg_stat_activity where application_name = $1 and pid <> pg_backend_pid() and backend_type = 'client backend'",
        )
        .bind(&schema)
        .fetch_all(&mut other)
        .await
        .unwrap();
        assert!(!pids.is_empty());
        for pid in pids {
            sqlx::query("select pg_terminate_backend($1)").bind(pid).execute(&mut other).await.unwrap();
        }
        let found = stage.store.find(&[by_id(organization, ada.id())]).await.unwrap();
        assert_eq!(found, [Some(ada.clone())]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_enqueued_and_settled_outlives_the_sessions_that_the_server_ended() {
    let url = postgres_schema().await;
    let stage = Stage::over(postgres_at(&url).await);
    let organization = stage.organization().await;
    let endpoint = crate::webhooks::hook(&stage, organization).await;
    stage.create_named(organization, "Ada").await;
    assert_eq!(stage.store.claim(1, at(0), at(9), 1, &[]).await.unwrap(), [organization]);
    let mut other = PgConnection::connect(&url).await.unwrap();
    for enqueues in [true, false] {
        sqlx::raw_sql("begin; select owner from webhook_leases for update").execute(&mut other).await.unwrap();
        let store = stage.webhooks();
        let call = tokio::spawn(async move {
            if enqueues {
                return !store.enqueue(organization, 1, at(1), 10).await.unwrap();
            }
            let settlement = crate::webhooks::delivered(endpoint, 2);
            store.settle(organization, 1, &[settlement, settlement]).await.unwrap() == [true, false]
        });
        let pid = wait_for_waiter(&mut other).await;
        sqlx::query("select pg_terminate_backend($1)").bind(pid).execute(&mut other).await.unwrap();
        // It is done again on another session, whether the lock is still held then or not.
        sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
        assert!(call.await.unwrap(), "enqueues: {enqueues}");
        let due = stage.store.due(organization, at(1), 10, 10).await.unwrap();
        assert_eq!(due.len(), usize::from(enqueues));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_database_is_not_ready_and_takes_no_writes() {
    let url = format!("{}&options[default_transaction_read_only]=on", {
        let url = postgres_schema().await;
        let stage = Stage::over(postgres_at(&url).await);
        stage.organization().await;
        url
    });
    let stage = open(&url, PostgresOptions::default()).await;
    let organization = stage.store.organizations().await.unwrap()[0].0;
    assert!(matches!(stage.store.check().await, Err(StoreError::Unavailable(_))));
    let verdict = stage.commit(unit(organization, vec![created(organization, number(1), named("Ada")).1])).await;
    assert!(matches!(verdict, Err(CommitError::Store(StoreError::Unavailable(_)))), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_stored_fails_alone() {
    let url = postgres_schema().await;
    let stage = Stage::over(postgres_at(&url).await);
    let organization = stage.organization().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("alter table customers add constraint no_bo check (full_name <> 'Bo')")
        .execute(&mut connection)
        .await
        .unwrap();
    let units = ["Ada", "Bo", "Cy"].into_iter().zip(1..);
    let units = units.map(|(name, id)| unit(organization, vec![created(organization, number(id), named(name)).1]));
    let verdicts = stage.store.commit(units.collect()).await;
    let stored: Vec<bool> = verdicts.iter().map(Result::is_ok).collect();
    assert_eq!(stored, [true, false, true]);
    let error = format!("{:?}", verdicts[1]);
    assert!(error.contains("no_bo") && !error.contains("Bo"), "{error}");
    assert_eq!(stage.total(organization).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_waits_for_the_calls_of_callers_that_went_away() {
    let url = postgres_schema().await;
    let store = postgres_at(&url).await;
    let organization = store.add_organization("Lender", at(0)).await.unwrap();
    let mut other = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("begin; select id from organizations for update").execute(&mut other).await.unwrap();
    let caller = {
        let store = store.clone();
        let (_, change) = created(organization, number(1), named("Ada"));
        tokio::spawn(async move { store.commit(vec![unit(organization, vec![change])]).await })
    };
    wait_for_waiter(&mut other).await;
    caller.abort();
    let closing = tokio::spawn(async move { store.close().await });
    sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
    closing.await.unwrap();
    let stage = Stage::over(postgres_at(&url).await);
    let ada = stage.find(organization, number(1)).await.expect("the commit was finished");
    let change = changed(ada, call_at("555"));
    stage.commit(unit(organization, vec![change])).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_as_such() {
    let options = PostgresOptions { acquire_timeout: Duration::from_secs(1), ..Default::default() };
    let error = PostgresStore::connect("postgres://u:secret@127.0.0.1:1/db", options).await.expect_err("no server");
    assert!(matches!(error, ConnectError::Unreachable(_)));
    assert!(!format!("{error} {error:?}").contains("secret"));
}
