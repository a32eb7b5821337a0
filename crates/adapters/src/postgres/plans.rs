//! That statements find their rows by their keys: those that read even where their plans were made while the tables
//! were empty. Needs the server that `scripts/with-postgres` starts.

use std::fmt::Write as _;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{PostgresOptions, accounts, customers, deliveries, events, loans, migrate, pool, records, statements};

/// A statement, and the keys by which it finds rows: index and columns.
type Keyed = (&'static str, &'static [&'static str]);

const READS: &[Keyed] = &[
    (customers::FIND_IDS, &["customers_pkey: organization_id, id"]),
    (customers::FIND_EXTERNAL_IDS, &["customers_external_id_key: organization_id, external_id"]),
    (events::RECEIPTS, &["receipts_pkey: organization_id, key"]),
    (events::LAST_SEQUENCES, &["customer_events_pkey: organization_id, stream"]),
    (
        statements::JUDGE,
        &["customers_pkey: organization_id, id", "customers_external_id_key: organization_id, external_id"],
    ),
    (statements::CHANGED, &["customers_pkey: organization_id, id", "accounts_pkey: organization_id, id"]),
    (
        accounts::MEET,
        &[
            "customers_external_id_key: organization_id, external_id",
            "accounts_pkey: organization_id, id",
            "account_holders_pkey: organization_id, holder",
        ],
    ),
    (accounts::ACCOUNTS, &["accounts_pkey: organization_id, id"]),
    (accounts::HELD, &["account_holders_pkey: organization_id, holder", "accounts_pkey: organization_id, id"]),
    (loans::LOANS, &["loans_pkey: organization_id, id", "loans_external_id_key: organization_id, external_id"]),
    (loans::TOTALS, &["loans_customer_idx: organization_id, customer_id"]),
    (loans::SCORES, &["credit_scores_pkey: organization_id, external_id"]),
    (
        deliveries::DUE,
        &[
            "webhook_endpoints_pkey: organization_id",
            "webhook_deliveries_due_idx: organization_id, endpoint_id",
            "customer_events_pkey: organization_id, stream, sequence",
        ],
    ),
    (deliveries::NEXT_DUE, &["webhook_deliveries_due_idx: organization_id, endpoint_id"]),
    (
        deliveries::DELIVERIES,
        &[
            "webhook_deliveries_pkey: organization_id, endpoint_id",
            "customer_events_pkey: organization_id, stream, sequence",
        ],
    ),
    (deliveries::LOG, &["webhook_attempts_pkey: organization_id, endpoint_id, sequence"]),
    (
        deliveries::CLAIMABLE,
        &["webhook_endpoints_pkey: organization_id", "webhook_deliveries_due_idx: organization_id, endpoint_id"],
    ),
];

/// Writes that look their rows up as reads do, and write over what is found.
const OVERWRITES: &[Keyed] = &[
    (
        deliveries::ENQUEUE,
        &["customer_events_pkey: organization_id, stream", "webhook_deliveries_lane_idx: organization_id, lane"],
    ),
    (
        deliveries::SETTLE,
        &[
            "webhook_deliveries_pkey: organization_id, endpoint_id, sequence",
            "webhook_endpoints_pkey: organization_id, id",
            "webhook_attempts_pkey: organization_id, endpoint_id, sequence",
        ],
    ),
    (deliveries::PROMOTE, &["webhook_deliveries_lane_idx: organization_id, lane"]),
    (deliveries::DEMOTE, &["webhook_deliveries_lane_idx: organization_id, lane"]),
];

/// Those whose rows are found by their keys once the server knows that there are many; a page of one state among them.
const WRITES: &[Keyed] = &[
    (deliveries::DELIVERIES_OF_STATE, &["webhook_deliveries_state_idx: organization_id, endpoint_id, state"]),
    (statements::CHANGE, &["customers_pkey: organization_id, id"]),
    (
        statements::REMOVE,
        &["customers_pkey: organization_id, id", "customer_events_version_key: organization_id, customer_id"],
    ),
    (
        records::HOLD,
        &["accounts_pkey: organization_id, id", "account_holders_account_idx: organization_id, account_id"],
    ),
    (records::LEND, &["customers_pkey: organization_id, id", "loans_external_id_key: organization_id, external_id"]),
    (records::HOOK, &["webhook_endpoints_pkey: organization_id, id"]),
    (deliveries::CLAIM, &["webhook_leases_pkey: organization_id"]),
    (deliveries::REPLAY, &["customer_events_pkey: organization_id, stream"]),
    (
        deliveries::PURGE,
        &[
            "webhook_deliveries_over_idx: organization_id",
            "webhook_deliveries_pkey: organization_id, endpoint_id, sequence",
            "webhook_attempts_pkey: organization_id, endpoint_id, sequence",
        ],
    ),
];

/// As many rows as a store has written when it first has them counted, or fewer.
const SOME_ROWS: &str = "
    insert into organizations (id, name, default_office_id, next_customer_id, next_company_id, next_loan_id,
        next_sequence, customer_count, created_at) values (1, 'Lender', 1, 1, 1, 1, 0, 0, now());
    insert into offices (organization_id, id, name, created_at) values (1, 1, 'Head Office', now());
    insert into customers (organization_id, id, version, office_id, status, submitted_on, full_name, sort_name,
        open_loans, loan_count, created_at, updated_at, search)
        select 1, g, 1, 1, 'Pending', date '2026-05-22', 'Ada', 'ada', 0, 0, now(), now(), ''
        from generate_series(1, 150) g;
    insert into customer_events (organization_id, stream, sequence, customer_id, version, kind, at, actor, request_id,
        changed) select 1, 0, g, g, 1, 'customer.created', now(), 'key:1', 'r', '{}' from generate_series(1, 150) g;
    insert into accounts (organization_id, id, version, primary_holder, status, kind, portfolio, opened_at, cards,
        updated_at)
        select 1, g::text, 1, 'c' || g, 'OPEN', 'SAV', 'gold', now(), '[]', now() from generate_series(1, 150) g;
    insert into account_holders (organization_id, holder, account_id)
        select 1, 'c' || g, g::text from generate_series(1, 150) g;
    insert into loans (organization_id, id, external_id, customer_id, version, status, principal, position, updated_at)
        select 1, g, g::text, g, 1, 'Active', 1, '{}', now() from generate_series(1, 150) g;
    insert into webhook_endpoints (organization_id, id, version, url, kinds, payload, secret, position, created_at,
        updated_at)
        select 1, 'we_' || g, 1, '', '{}', 'thin', repeat('a', 32)::bytea, 1, now(), now() from generate_series(1, 5) g;
    insert into webhook_leases (organization_id) values (1);
    insert into webhook_deliveries (organization_id, endpoint_id, sequence, lane, state, at, attempts, is_head)
        select 1, 'we_' || e, g, 'we_' || e || ' c' || g, case when g % 2 = 0 then 'pending' else 'delivered' end, now(), 0, g % 2 = 0
        from generate_series(1, 5) e, generate_series(1, 150) g;
    insert into webhook_attempts (organization_id, endpoint_id, sequence, number, at, duration_ms)
        select 1, 'we_' || e, g, 1, now(), 1 from generate_series(1, 5) e, generate_series(1, 150) g;
    analyze customers, customer_events, accounts, account_holders, loans, webhook_endpoints, webhook_leases,
        webhook_deliveries, webhook_attempts";

/// An empty schema, and a session as the store's are.
async fn session(name: &str) -> PgConnection {
    #[expect(clippy::disallowed_methods, reason = "the tests' server is named by the environment")]
    let url = std::env::var("CUSTODIA_TEST_POSTGRES_URL")
        .expect("CUSTODIA_TEST_POSTGRES_URL names a PostgreSQL server: run `scripts/with-postgres cargo test`");
    let options = pool::parse(&url).unwrap();
    let name = format!("plans_{name}_{}", std::process::id());
    let mut session = PgConnection::connect_with(&options).await.unwrap();
    let fresh = format!("drop schema if exists {name} cascade; create schema {name}");
    sqlx::raw_sql(AssertSqlSafe(fresh)).execute(&mut session).await.unwrap();
    let options = options.options([("search_path", name)]);
    migrate::run(&options).await.unwrap();
    let mut session = PgConnection::connect_with(&options).await.unwrap();
    let setup = pool::session_setup(&PostgresOptions::default());
    sqlx::raw_sql(AssertSqlSafe(setup)).execute(&mut session).await.unwrap();
    session
}

/// The greatest number of a parameter.
fn parameters(sql: &str) -> usize {
    let number = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    sql.split('$').skip(1).filter_map(|rest| rest[..number(rest)].parse().ok()).max().unwrap_or(0)
}

async fn plan(session: &mut PgConnection, sql: &str) -> String {
    let prepare = format!("deallocate all; prepare asked as {sql}");
    sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut *session).await.unwrap();
    let nulls = vec!["null"; parameters(sql)].join(", ");
    let explain = format!("explain (costs off) execute asked({nulls})");
    let lines: Vec<String> =
        sqlx::query_scalar(AssertSqlSafe(explain)).persistent(false).fetch_all(session).await.unwrap();
    lines.join("\n")
}

/// Whether the plan looks rows up in that index by values of all those columns.
fn looks_up(plan: &str, key: &str) -> bool {
    let (index, columns) = key.split_once(": ").unwrap();
    let mut lines = plan.lines();
    while let Some(line) = lines.next() {
        let names = line.split_whitespace().any(|word| word == index);
        if names && line.contains("Scan") {
            let condition = lines.clone().next().unwrap_or_default();
            if columns.split(", ").all(|column| condition.contains(&format!("({column} = "))) {
                return true;
            }
        }
    }
    false
}

async fn check(session: &mut PgConnection, statements: &[Keyed]) {
    let mut astray = String::new();
    for (sql, keys) in statements {
        let plan = plan(session, sql).await;
        for key in keys.iter().filter(|key| !looks_up(&plan, key)) {
            let _ = writeln!(astray, "{key}\n{sql}\n{plan}\n");
        }
    }
    assert!(astray.is_empty(), "{astray}");
}

#[tokio::test]
async fn what_is_read_by_its_key_is_so_before_there_is_any_row() {
    let mut session = session("empty").await;
    check(&mut session, READS).await;
    check(&mut session, OVERWRITES).await;
}

#[tokio::test]
async fn what_is_written_by_its_key_is_so_once_rows_are_counted() {
    let mut session = session("counted").await;
    sqlx::raw_sql(SOME_ROWS).execute(&mut session).await.unwrap();
    check(&mut session, WRITES).await;
    check(&mut session, READS).await;
    check(&mut session, OVERWRITES).await;
}
