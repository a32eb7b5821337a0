//! The database under measurement, what is in it before, and the yardstick: the same work by `pgbench`, one prepared statement
//! for each transaction.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use crate::process;
use crate::table::Beside;

/// How many rows one statement seeds.
const SEEDED_AT_ONCE: u32 = 50_000;

/// `$1` to `$2` are the numbers of the customers.
const SEED_CUSTOMERS: &str = "
    insert into customers (organization_id, id, version, external_id, office_id, status, submitted_on, activated_on,
        first_name, last_name, sort_name, mobile_no, email, created_at, updated_at, search, open_loans, loan_count)
    select 1, i, 1, 'seed-' || i, 1, 'Active', date '2026-01-05', date '2026-01-05', 'First' || i % 1000,
        'Surname' || i, 'first' || i % 1000 || ' surname' || i, '2557' || lpad(i::text, 8, '0'),
        'user' || i || '@example.com', timestamptz '2026-01-05 08:00Z' + i * interval '1 second',
        timestamptz '2026-01-05 08:00Z' + i * interval '1 second',
        array_to_tsvector(array['1/first' || i % 1000, '1/surname' || i, '1/2557' || lpad(i::text, 8, '0'),
            '1/user' || i || '@example.com', '1/' || lpad(i::text, 9, '0')]), 0, 0
    from generate_series($1::bigint, $2::bigint) i";

const SEED_EVENTS: &str = "
    insert into customer_events (organization_id, stream, sequence, customer_id, version, kind, external_id, at, actor,
        request_id, changed)
    select 1, 0, i, i, 1, 'customer.created', 'seed-' || i, timestamptz '2026-01-05 08:00Z', 'token-bench', 'seed', '[]'
    from generate_series($1::bigint, $2::bigint) i";

const COUNT: &str = "
    update organizations set next_customer_id = $1 + 1, next_sequence = $1, customer_count = $1 where id = 1";

/// Tables with no index but the keys that any register of customers with a log needs, and no counter that all writers move.
const YARDSTICKS: &str = "
    drop schema if exists yardstick cascade;
    create schema yardstick;
    create sequence yardstick.numbers cache 100;
    create table yardstick.customers (organization_id bigint not null, id bigint not null, version bigint not null,
        external_id text collate \"C\" not null, status text not null, submitted_on date not null, activated_on date not null,
        created_at timestamptz not null, updated_at timestamptz not null,
        primary key (organization_id, id), unique (organization_id, external_id));
    create table yardstick.accounts (organization_id bigint not null, id text collate \"C\" not null, holder text not null,
        status text not null, opened_at timestamptz not null, primary key (organization_id, id));
    create table yardstick.cards (organization_id bigint not null, account_id text collate \"C\" not null,
        last4 text not null, status text not null, opened_at timestamptz not null,
        primary key (organization_id, account_id, last4));
    create table yardstick.events (organization_id bigint not null, sequence bigint not null, customer_id bigint not null,
        version bigint not null, kind text not null, external_id text not null, at timestamptz not null, actor text not null,
        request_id text not null, changed json not null, primary key (organization_id, sequence));";

/// What `pgbench` does beside a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Yardstick {
    /// A customer and its event.
    Create,
    /// The service's own row of a customer, by number.
    Get,
    /// The same, by external id.
    External,
    /// Fifty of them, behind a number.
    List,
    /// Fifty customers, each with an account, a card and an event.
    Batch,
    /// The same into the service's own tables, with all their indexes and all that it writes there: what is left for it.
    OwnBatch,
}

/// Fifty customers, each with an account, a card and three events, as the service writes them.
const OWN_BATCH: &str = "
    with moved as (update organizations o set next_sequence = o.next_sequence + 150,
            next_customer_id = o.next_customer_id + 50, customer_count = o.customer_count + 50
        where o.id = 1 returning o.next_sequence - 150 as sequence, o.next_customer_id - 50 as number),
    new as (select moved.sequence, moved.number + i - 1 as id, i, 'y-' || :base || '-' || i as external_id,
            timestamptz '2026-05-22' as at from moved cross join generate_series(1, 50) i),
    made as (insert into customers (organization_id, id, version, external_id, office_id, status, submitted_on,
            activated_on, sort_name, created_at, updated_at, search, facets, open_loans, loan_count)
        select 1, id, 1, external_id, 1, 'Active', date '2026-01-05', date '2026-01-05', external_id || ' customer', at, at,
            array_to_tsvector(array['1/' || lpad(id::text, 9, '0'), '1/customer', '1/y', '1/' || i, '1/' || :base,
                '1/' || external_id]),
            '{\"subsidiaryId\": \"north\",\"postalCode\": \"10115\",\"countryCode\": \"DE\",
            \"customerCreationDate\": \"2026-01-05T08:00:00Z\",\"enrollmentStartDate\": \"2026-01-05T08:00:00Z\",
            \"enrollmentOptInStatus\": \"ACTIVE\",\"alertOptInStatus\": [\"ALL\"],\"targetingIndicator\": \"TARGET\"}', 0, 0
        from new),
    opened as (insert into accounts (organization_id, id, version, primary_holder, status, kind, portfolio, opened_at, cards,
            updated_at)
        select 1, 'a-' || external_id, 1, external_id, 'OPEN', 'CRD', 'p-1', at,
            '[{\"holder\": \"' || external_id || '\",\"last4\": \"4242\",\"iin\": \"424242\",\"kind\": \"CREDIT\",
            \"status\": \"OPEN\",\"network\": 4,\"opened\": 1767600000000000}]', at
        from new),
    held as (insert into account_holders (organization_id, holder, account_id)
        select 1, external_id, 'a-' || external_id from new),
    told as (insert into customer_events (organization_id, stream, sequence, subject, customer_id, version, kind,
            external_id, at, actor, request_id, changed)
        select 1, 0, sequence + i, null, id, 1, 'customer.created', external_id, at, 'token-bench', '0123456789abcdef',
            ('{\"externalId\": {\"to\": \"' || external_id || '\"},\"status\": {\"to\": \"Active\"},\"officeId\": {\"to\": 1},
            \"submittedDate\": {\"to\": \"2026-01-05\"},\"activationDate\": {\"to\": \"2026-01-05\"},
            \"subsidiaryId\": {\"to\": \"north\"},\"postalCode\": {\"to\": \"10115\"},\"countryCode\": {\"to\": \"DE\"},
            \"customerCreationDate\": {\"to\": \"2026-01-05T08:00:00Z\"},
            \"enrollmentStartDate\": {\"to\": \"2026-01-05T08:00:00Z\"},\"enrollmentOptInStatus\": {\"to\": \"ACTIVE\"},
            \"alertOptInStatus\": {\"to\": [\"ALL\"]},\"targetingIndicator\": {\"to\": \"TARGET\"}}')::json
        from new
        union all
        select 1, 0, sequence + 49 + 2 * i, 'a-' || external_id, null, 1, 'account.created', external_id, at, 'token-bench',
            '0123456789abcdef',
            ('{\"sourceCustomerIds\": {\"to\": [\"' || external_id || '\"]},\"primarySourceCustomerId\": {\"to\": \"'
            || external_id || '\"},\"status\": {\"to\": \"OPEN\"},\"type\": {\"to\": \"CRD\"},
            \"sourcePortfolioId\": {\"to\": \"p-1\"},\"accountOpenDate\": {\"to\": \"2026-01-05T08:00:00Z\"}}')::json
        from new
        union all
        select 1, 0, sequence + 50 + 2 * i, 'a-' || external_id, null, 1, 'card.created', external_id, at, 'token-bench',
            '0123456789abcdef',
            ('{\"sourceCustomerId\": {\"to\": \"' || external_id || '\"},\"last4\": {\"to\": \"4242\"},
            \"iin\": {\"to\": \"424242\"},\"cardType\": {\"to\": \"CREDIT\"},\"status\": {\"to\": \"OPEN\"},
            \"networkIdentifier\": {\"to\": 4},\"openDate\": {\"to\": \"2026-01-05T08:00:00Z\"}}')::json
        from new)
    select count(*) from new;";

/// A customer's columns as the service reads them.
const COLUMNS: &str = "c.organization_id, c.id, c.version, c.external_id, c.office_id, c.status, c.submitted_on, \
     c.activated_on, c.closed_on, c.closure_reason_id, c.first_name, c.middle_name, c.last_name, c.full_name, c.mobile_no, \
     c.email, c.born_on, c.gender_id, c.client_type_id, c.legal_form_id, c.created_at, c.updated_at, c.facets::text, \
     c.open_loans, c.loan_count";

const VALUES: &str = "1, made.id, 1, 'customer.created', made.external_id, made.created_at, 'token-bench', \
     '0123456789abcdef', '{\"externalId\":{\"to\":\"x\"},\"status\":{\"to\":\"Active\"}}'";

impl Yardstick {
    fn script(self, rows: u32) -> String {
        let made = |source: &str| {
            format!(
                "with made as (insert into yardstick.customers (organization_id, id, version, external_id, status, submitted_on, \
                 activated_on, created_at, updated_at) select 1, nextval('yardstick.numbers'), 1, 'y-' || :base || '-' || i, \
                 'Active', date '2026-05-22', date '2026-05-22', timestamptz '2026-05-22', \
                 timestamptz '2026-05-22' from {source} returning id, external_id, created_at)"
            )
        };
        let told = format!(
            "insert into yardstick.events (organization_id, sequence, customer_id, version, kind, external_id, at, actor, \
             request_id, changed) select 1, nextval('yardstick.numbers'), {} from made",
            VALUES.trim_start_matches("1, ")
        );
        let base = "\\set base random(1, 9000000000000000000)\n";
        let random = format!("\\set id random(1, {rows})\n");
        let select = format!("select {COLUMNS} from customers c where c.organization_id = 1");
        match self {
            Self::Create => format!("{base}{} {told};\n", made("generate_series(1, 1) i")),
            Self::Get => format!("{random}{select} and c.id = :id;\n"),
            Self::External => format!("{random}{select} and c.external_id = 'seed-' || :id;\n"),
            Self::List => format!("{random}{select} and c.id > :id order by c.id limit 50;\n"),
            Self::Batch => format!(
                "{base}{}, accounts as (insert into yardstick.accounts (organization_id, id, holder, status, opened_at) \
                 select 1, 'a-' || made.external_id, made.external_id, 'OPEN', made.created_at from made), \
                 cards as (insert into yardstick.cards (organization_id, account_id, last4, status, opened_at) \
                 select 1, 'a-' || made.external_id, '4242', 'OPEN', made.created_at from made) {told};\n",
                made("generate_series(1, 50) i")
            ),
            // A script of pgbench ends a statement at its semicolon, wherever its lines do.
            Self::OwnBatch => format!("{base}{OWN_BATCH}\n"),
        }
    }
}

/// A database of the private server.
pub struct Database {
    url: String,
    server: u32,
    folder: tempfile::TempDir,
}

impl Database {
    /// A fresh one of that name.
    ///
    /// # Errors
    /// There is no private server: `scripts/with-postgres` starts one.
    pub async fn create(name: &str) -> anyhow::Result<Self> {
        let maintenance = setting("CUSTODIA_TEST_POSTGRES_URL")?;
        let server =
            setting("CUSTODIA_TEST_POSTGRES_PID")?.parse().context("CUSTODIA_TEST_POSTGRES_PID is no number")?;
        let mut connection = PgConnection::connect(&maintenance).await.context("the database does not answer")?;
        let fsync: String = sqlx::query_scalar("show fsync").fetch_one(&mut connection).await?;
        ensure!(fsync == "on", "the server does not sync: start it by `scripts/with-postgres --durable`");
        connection.execute(AssertSqlSafe(format!("drop database if exists {name} with (force)"))).await?;
        connection.execute(AssertSqlSafe(format!("create database {name}"))).await?;
        connection.close().await?;
        let (authority, _) = maintenance.rsplit_once('/').context("the server's URL names no database")?;
        Ok(Self { url: format!("{authority}/{name}"), server, folder: tempfile::tempdir()? })
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Puts so many customers with their events into the migrated schema.
    ///
    /// # Errors
    /// The database does not take them.
    pub async fn seed(&self, rows: u32) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&self.url).await?;
        let mut from = 1;
        while from <= rows {
            let to = rows.min(from + SEEDED_AT_ONCE - 1);
            for statement in [SEED_CUSTOMERS, SEED_EVENTS] {
                sqlx::query(statement).bind(i64::from(from)).bind(i64::from(to)).execute(&mut connection).await?;
            }
            if rows > SEEDED_AT_ONCE * 10 {
                eprintln!("  {to} of {rows}");
            }
            from = to + 1;
        }
        sqlx::query(COUNT).bind(i64::from(rows)).execute(&mut connection).await?;
        connection.execute("vacuum (analyze) customers").await?;
        connection.execute("vacuum (analyze) customer_events").await?;
        Ok(connection.close().await?)
    }

    /// Makes the tables of the yardsticks, and the scripts of `pgbench`.
    ///
    /// # Errors
    /// The database does not take them.
    pub async fn prepare_yardsticks(&self, rows: u32) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&self.url).await?;
        connection.execute(sqlx::raw_sql(YARDSTICKS)).await?;
        connection.close().await?;
        let inserts = [Yardstick::Create, Yardstick::Batch, Yardstick::OwnBatch];
        for yardstick in inserts.into_iter().chain([Yardstick::Get, Yardstick::External, Yardstick::List]) {
            std::fs::write(self.script(yardstick), yardstick.script(rows))?;
        }
        Ok(())
    }

    fn script(&self, yardstick: Yardstick) -> PathBuf {
        self.folder.path().join(format!("{yardstick:?}.sql"))
    }

    /// Writes out what the last measurement left to write.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn settle(&self) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&self.url).await?;
        connection.execute("checkpoint").await?;
        Ok(connection.close().await?)
    }

    /// The processor time of the server and all its sessions.
    ///
    /// # Errors
    /// It has ended.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        process::cpu_of_family(self.server)
    }

    /// Runs the yardstick over so many connections.
    ///
    /// # Errors
    /// `pgbench` is not there, or does not say what it does.
    pub fn pgbench(&self, yardstick: Yardstick, connections: u32, seconds: u32) -> anyhow::Result<Beside> {
        let before = self.cpu()?;
        let logs = self.folder.path().join("transactions");
        let output = Command::new(pgbench_path())
            .args(["--no-vacuum", "--protocol=prepared", "--log", "--sampling-rate=0.1"])
            .arg(format!("--log-prefix={}", logs.display()))
            .args(["--client", &connections.to_string(), "--jobs", &connections.min(2).to_string()])
            .args(["--time", &seconds.to_string()])
            .arg("--file")
            .arg(self.script(yardstick))
            .arg(&self.url)
            .output()
            .context("pgbench cannot be started")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let said = |label: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(label))?;
            line.trim_start_matches([' ', '=', ':']).split_whitespace().next()?.parse::<f64>().ok()
        };
        let heard = said("tps").zip(said("number of transactions actually processed"));
        let (per_second, transactions) =
            heard.with_context(|| format!("pgbench said: {text}{}", String::from_utf8_lossy(&output.stderr)))?;
        let cpu = self.cpu()?.saturating_sub(before).as_secs_f64() * 1e6 / transactions.max(1.0);
        Ok(Beside { per_second, p50_ms: self.median_of_logs()?, cpu })
    }

    /// The median of the logged transactions, in milliseconds; the logs are removed.
    fn median_of_logs(&self) -> anyhow::Result<f64> {
        let mut latencies: Vec<f64> = Vec::new();
        for entry in std::fs::read_dir(self.folder.path())? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("transactions.")) {
                let log = std::fs::read_to_string(&path)?;
                latencies.extend(log.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<f64>().ok()));
                std::fs::remove_file(path)?;
            }
        }
        latencies.sort_by(f64::total_cmp);
        Ok(latencies.get(latencies.len() / 2).copied().unwrap_or_default() / 1e3)
    }
}

fn setting(name: &str) -> anyhow::Result<String> {
    #[expect(clippy::disallowed_methods, reason = "the private server is named by the environment")]
    std::env::var(name).with_context(|| format!("{name} is not set: start the benchmark by `just bench`"))
}

/// Debian keeps it beside the server, out of `PATH`.
fn pgbench_path() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.map(|version| version.path().join("bin/pgbench")).filter(|path| path.exists()).max();
    newest.unwrap_or_else(|| PathBuf::from("pgbench"))
}
