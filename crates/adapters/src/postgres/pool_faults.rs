//! Two faults of the driver's pool, shown to be there without the guard of [`super::pool`] and to be gone with it.
//! Needs the server that `scripts/with-postgres` starts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use custodia_domain::ports::{CommitError, CustomerStore as _, Directory as _};
use custodia_domain::{Actor, Answer, Audit, Basis, Fingerprint, Receipt, ReceiptKey, RequestId, Timestamp, Unit};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::gathered::Gathered;
use super::pool::Sessions;
use super::{PostgresOptions, PostgresStore};

fn server() -> PgConnectOptions {
    #[expect(clippy::disallowed_methods, reason = "the tests' server is named by the environment")]
    let url = std::env::var("CUSTODIA_TEST_POSTGRES_URL")
        .expect("CUSTODIA_TEST_POSTGRES_URL names a PostgreSQL server: run `scripts/with-postgres cargo test`");
    super::pool::parse(&url).unwrap()
}

fn guarded(connect: PgConnectOptions) -> PgPool {
    let options =
        PostgresOptions { max_connections: 1, acquire_timeout: Duration::from_secs(4), ..PostgresOptions::default() };
    super::pool::pool(connect, &options)
}

fn unguarded(connect: PgConnectOptions) -> PgPool {
    PgPoolOptions::new().max_connections(1).acquire_timeout(Duration::from_secs(4)).connect_lazy_with(connect)
}

/// Begins transactions whose callers go away at all moments, and after each writes one row. Answers how many calls
/// were cut short and how many acknowledged rows nobody else can see; stops at the first such row.
async fn cut_begins_short(pool: PgPool, table: &str, rounds: u64) -> (u64, u64) {
    let mut observer = PgConnection::connect_with(&server()).await.unwrap();
    let create = format!("drop table if exists {table}; create table {table} (id bigint primary key)");
    sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut observer).await.unwrap();
    let insert = format!("insert into {table} values ($1)");
    let exists = format!("select exists (select 1 from {table} where id = $1)");
    let (mut cut, mut lost) = (0, 0);
    for round in 0..rounds {
        let deadline = Instant::now() + Duration::from_micros(round * 7_919 % 600);
        let work = async {
            if let Ok(transaction) = pool.begin().await {
                drop(transaction.rollback().await);
            }
        };
        let gone = async {
            while Instant::now() < deadline {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! { biased; () = gone => cut += 1, () = work => () }
        let row = i64::try_from(round).unwrap();
        let acknowledged = sqlx::query(AssertSqlSafe(insert.as_str())).bind(row).execute(&pool).await.is_ok();
        let is_there: bool =
            sqlx::query_scalar(AssertSqlSafe(exists.as_str())).bind(row).fetch_one(&mut observer).await.unwrap();
        if acknowledged && !is_there {
            lost += 1;
            break;
        }
    }
    pool.close().await;
    sqlx::raw_sql(AssertSqlSafe(format!("drop table {table}"))).execute(&mut observer).await.unwrap();
    (cut, lost)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_begin_cut_short_loses_no_later_write_as_it_does_without_the_guard() {
    let (_, lost) = cut_begins_short(unguarded(server()), "cut_unguarded", 20_000).await;
    assert_eq!(lost, 1, "the fault that the guard is for has gone: is the guard still needed?");
    let (cut, lost) = cut_begins_short(guarded(server()), "cut_guarded", 600).await;
    assert!(cut > 50, "only {cut} calls were cut short");
    assert_eq!(lost, 0);
}

/// Forwards to the server until it is told to fall silent; connections made afterwards are forwarded again.
async fn proxy(to: String) -> (SocketAddr, watch::Sender<u64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (silence, silenced) = watch::channel(0);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (to, mut silenced) = (to.clone(), silenced.clone());
            silenced.mark_unchanged();
            tokio::spawn(async move {
                let server = TcpStream::connect(&to).await.unwrap();
                let (client, server) = (Arc::new(client), Arc::new(server));
                tokio::select! {
                    () = forward(&client, &server) => return,
                    () = forward(&server, &client) => return,
                    _ = silenced.changed() => (),
                }
                // Neither side hears anything again, nor that the other one has gone.
                let _held = (client, server);
                std::future::pending::<()>().await;
            });
        }
    });
    (address, silence)
}

async fn forward(from: &TcpStream, to: &TcpStream) {
    let mut buffer = [0; 8_192];
    loop {
        if from.readable().await.is_err() {
            return;
        }
        match from.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                let mut left = &buffer[..count];
                while !left.is_empty() {
                    if to.writable().await.is_err() {
                        return;
                    }
                    match to.try_write(left) {
                        Ok(written) => left = &left[written..],
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => (),
                        Err(_) => return,
                    }
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => (),
            Err(_) => return,
        }
    }
}

/// Drops a call whose peer has fallen silent, and asks the pool for its one connection again.
async fn acquire_after_silence(make: fn(PgConnectOptions) -> PgPool) -> bool {
    let direct = server();
    let (address, silence) = proxy(format!("{}:{}", direct.get_host(), direct.get_port())).await;
    let pool = make(direct.host(&address.ip().to_string()).port(address.port()));
    let mut session = pool.acquire().await.unwrap();
    silence.send_replace(1);
    let unanswered = sqlx::query("select 1").execute(&mut *session);
    assert!(tokio::time::timeout(Duration::from_millis(100), unanswered).await.is_err());
    drop(session);
    let acquired = pool.acquire().await.is_ok();
    drop(tokio::time::timeout(Duration::from_secs(1), pool.close()).await);
    acquired
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_peer_costs_no_connection_as_it_does_without_the_guard() {
    let (without, with) = tokio::join!(acquire_after_silence(unguarded), acquire_after_silence(guarded));
    assert!(!without, "the fault that the guard is for has gone: is the guard still needed?");
    assert!(with);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_falls_silent_under_a_commit_leaves_the_outcome_unknown_and_the_next_one_works() {
    let direct = server();
    let (address, silence) = proxy(format!("{}:{}", direct.get_host(), direct.get_port())).await;
    let through = direct.clone().host(&address.ip().to_string()).port(address.port());
    let schema = format!("silence_{}", std::process::id());
    let mut observer = PgConnection::connect_with(&direct).await.unwrap();
    let create = format!("drop schema if exists {schema} cascade; create schema {schema}");
    sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut observer).await.unwrap();
    let options = PostgresOptions {
        max_connections: 1,
        acquire_timeout: Duration::from_secs(10),
        statement_timeout: Duration::from_secs(2),
        ..PostgresOptions::default()
    };
    let connect = through.options([("search_path", schema.as_str())]);
    let sessions = Sessions::new(super::pool::pool(connect.clone(), &options), &options);
    let tasks = TaskTracker::new();
    let gathered = Gathered::new(&sessions, &tasks);
    let store = PostgresStore { sessions, connect, tasks, gathered };
    store.migrate().await.unwrap();
    let at = Timestamp::from_microseconds(0).unwrap();
    let organization = store.add_organization("Lender", at).await.unwrap();
    let receipt = |byte| Unit {
        organization,
        at,
        audit: Audit {
            actor: Actor::new("key:1"),
            request_id: RequestId::parse("r").unwrap(),
            idempotency_key: None,
            reason: None,
        },
        customers: Vec::new(),
        accounts: Vec::new(),
        companies: Vec::new(),
        loans: Vec::new(),
        scores: Vec::new(),
        webhooks: Vec::new(),
        basis: Basis::default(),
        receipt: Some(Receipt {
            key: ReceiptKey([byte; 32]),
            fingerprint: Fingerprint([byte; 32]),
            at,
            answer: Answer { status: 404, headers: Vec::new(), body: Vec::new() },
        }),
    };
    store.commit(vec![receipt(1)]).await.remove(0).unwrap();
    // The statement is known to be under way: it waits for a lock.
    let lock = format!("begin; select id from {schema}.organizations for update");
    sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut observer).await.unwrap();
    let committing = {
        let (store, unit) = (store.clone(), receipt(2));
        tokio::spawn(async move { store.commit(vec![unit]).await.remove(0) })
    };
    let waits =
        "select exists (select 1 from pg_stat_activity a where pg_backend_pid() = any(pg_blocking_pids(a.pid)))";
    while !sqlx::query_scalar::<_, bool>(waits).fetch_one(&mut observer).await.unwrap() {
        tokio::task::yield_now().await;
    }
    silence.send_replace(1);
    let verdict = committing.await.unwrap();
    sqlx::raw_sql("rollback").execute(&mut observer).await.unwrap();
    assert!(matches!(verdict, Err(CommitError::Unknown(_))), "{verdict:?}");
    store.commit(vec![receipt(3)]).await.remove(0).unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("drop schema {schema} cascade"))).execute(&mut observer).await.unwrap();
}
