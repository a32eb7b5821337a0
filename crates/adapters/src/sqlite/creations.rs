//! Units that only create customers, many of them by one statement for each table. Owns which units may share
//! statements, and how those that cannot are found; must not know what a unit is refused for, which writing it alone
//! tells.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;
use std::sync::LazyLock;

use custodia_domain::ports::Committed;
use custodia_domain::{Customer, CustomerChange, ExternalId, OrganizationId, Sequence, Unit, search};
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Row as _, Sqlite, SqliteConnection};

use super::unit::{Line, MOVE_COUNTERS, bind_customer, bind_event, bind_receipt};

const CUSTOMERS: &str = "customers (organization_id, id, version, external_id, office_id, status, submitted_on,
    activated_on, closed_on, closure_reason_id, first_name, middle_name, last_name, full_name, sort_name, mobile_no,
    email, born_on, gender_id, client_type_id, legal_form_id, source, company_id, facets, created_at, updated_at)";
const EVENTS: &str = "customer_events (organization_id, stream, sequence, subject, customer_id, version, kind,
    external_id, at, actor, request_id, idempotency_key, reason, changed)";
const RECEIPTS: &str = "receipts (organization_id, key, fingerprint, at, status, headers, body)";
const WORDS: &str = "customer_words (organization_id, word, customer_id)";
/// Which of the given customers and receipts cannot be inserted beside what is there.
const SELECT_MISFITS: &str = "select value ->> 0 from json_each(?1) where
    exists (select 1 from customers where organization_id = value ->> 1 and id = value ->> 2)
    or exists (select 1 from customers where organization_id = value ->> 1 and external_id = value ->> 3)
    or not exists (select 1 from offices where organization_id = value ->> 1 and id = value ->> 4)
    or exists (select 1 from customer_events
        where organization_id = value ->> 1 and customer_id = value ->> 2 and subject is null)
    or exists (select 1 from receipts where organization_id = value ->> 1 and key = unhex(value ->> 5))";

/// The texts of an insertion: for many rows, and for few.
struct Insertion {
    many: String,
    few: String,
    most: usize,
}

/// How many rows the shorter text of an insertion takes.
const FEW: usize = 4;

impl Insertion {
    /// An insertion of up to so many rows a time. What is not bound is null, so that rows whose first column is null
    /// are none.
    fn into(table: &str, most: usize) -> Self {
        let columns = table.split(',').count();
        let text = |rows: usize| {
            let row = format!("({})", vec!["?"; columns].join(","));
            let mut text = format!("insert into {table} select ");
            for column in 1..=columns {
                let comma = if column == 1 { "" } else { ", " };
                write!(text, "{comma}column{column}").expect("a text takes what is written");
            }
            write!(text, " from (values {}) where column1 is not null", vec![row; rows].join(","))
                .expect("a text takes what is written");
            text
        };
        Self { many: text(most), few: text(FEW), most }
    }

    /// Inserts every row.
    async fn run<'q, R>(
        &'static self,
        connection: &mut SqliteConnection,
        rows: &'q [R],
        bind: impl Fn(Statement<'q>, &'q R) -> Statement<'q>,
    ) -> Result<(), sqlx::Error> {
        for rows in rows.chunks(self.most) {
            let text = if rows.len() <= FEW { self.few.as_str() } else { self.many.as_str() };
            let mut statement = sqlx::query(text);
            for row in rows {
                statement = bind(statement, row);
            }
            statement.execute(&mut *connection).await?;
        }
        Ok(())
    }
}

type Statement<'q> = Query<'q, Sqlite, SqliteArguments>;

static INSERT_CUSTOMERS: LazyLock<Insertion> = LazyLock::new(|| Insertion::into(CUSTOMERS, 32));
static INSERT_EVENTS: LazyLock<Insertion> = LazyLock::new(|| Insertion::into(EVENTS, 32));
static INSERT_RECEIPTS: LazyLock<Insertion> = LazyLock::new(|| Insertion::into(RECEIPTS, 32));
static INSERT_WORDS: LazyLock<Insertion> = LazyLock::new(|| Insertion::into(WORDS, 128));

/// Whether the unit does nothing but create customers of its own organization.
pub(super) fn is_creation(unit: &Unit) -> bool {
    let Unit {
        organization,
        at: _,
        audit: _,
        customers,
        accounts,
        companies,
        loans,
        scores,
        webhooks,
        basis,
        receipt: _,
    } = unit;
    let is_pure = basis.is_empty()
        && accounts.is_empty()
        && companies.is_empty()
        && loans.is_empty()
        && scores.is_empty()
        && webhooks.is_empty()
        && !customers.is_empty();
    is_pure
        && customers.iter().all(|change| {
            change.expects().is_none() && change.after().is_some_and(|after| after.organization() == *organization)
        })
}

/// Writes as many of the units as fit beside each other and what is there, in a savepoint; `None` stands at those that
/// have to be tried alone.
///
/// # Errors
/// The transaction is lost.
pub(super) async fn keep(
    connection: &mut SqliteConnection,
    units: &[&Unit],
) -> Result<Vec<Option<Committed>>, sqlx::Error> {
    let mut out: BTreeSet<usize> = repetitions(units);
    // The first attempt finds out whether any does not fit, the second leaves those out.
    for is_first in [true, false] {
        let fit: Vec<&Unit> =
            units.iter().enumerate().filter(|(at, _)| !out.contains(at)).map(|(_, unit)| *unit).collect();
        if fit.is_empty() {
            break;
        }
        sqlx::query("savepoint creations").execute(&mut *connection).await?;
        let written = insert(connection, &fit).await;
        if written.is_err() {
            // Fails where SQLite has rolled the whole transaction back by itself, as it may on a full disk.
            sqlx::query("rollback to creations").execute(&mut *connection).await?;
        }
        sqlx::query("release creations").execute(&mut *connection).await?;
        if let Ok(committed) = written {
            let mut committed = committed.into_iter();
            return Ok((0..units.len()).map(|at| if out.contains(&at) { None } else { committed.next() }).collect());
        }
        if !is_first {
            break;
        }
        let misfits = misfits(connection, units).await?;
        if misfits.is_empty() {
            break;
        }
        out.extend(misfits);
    }
    Ok(vec![None; units.len()])
}

fn created(unit: &Unit) -> impl Iterator<Item = &Customer> {
    unit.customers.iter().filter_map(|change| change.after())
}

/// The units that want what an earlier one takes.
fn repetitions(units: &[&Unit]) -> BTreeSet<usize> {
    let (mut numbers, mut external_ids, mut keys) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut repeats = |unit: &Unit| {
        let mut repeats = unit.receipt.as_ref().is_some_and(|receipt| !keys.insert((unit.organization, receipt.key)));
        for customer in created(unit) {
            repeats |= !numbers.insert((unit.organization, customer.id()));
            repeats |= customer.external_id().is_some_and(|id| !external_ids.insert((unit.organization, id.clone())));
        }
        repeats
    };
    units.iter().enumerate().filter(|(_, unit)| repeats(unit)).map(|(at, _)| at).collect()
}

/// The units that do not fit beside what is there.
async fn misfits(connection: &mut SqliteConnection, units: &[&Unit]) -> Result<BTreeSet<usize>, sqlx::Error> {
    let mut wanted = Vec::new();
    for (at, unit) in units.iter().enumerate() {
        let key = unit.receipt.as_ref().map(|receipt| hex::encode(receipt.key.0));
        for customer in created(unit) {
            let (organization, external_id) = (unit.organization.get(), customer.external_id().map(ExternalId::as_str));
            wanted.push((at, organization, customer.id().get(), external_id, customer.office().get(), key.clone()));
        }
    }
    let wanted = serde_json::to_string(&wanted).expect("numbers and texts are JSON");
    let rows = sqlx::query(SELECT_MISFITS).bind(wanted).fetch_all(connection).await?;
    rows.iter().map(|row| row.try_get::<i64, _>(0).map(|at| usize::try_from(at).unwrap_or(usize::MAX))).collect()
}

/// Writes the units table by table.
async fn insert(connection: &mut SqliteConnection, units: &[&Unit]) -> Result<Vec<Committed>, sqlx::Error> {
    let mut next = move_counters(connection, units).await?;
    let receipts: Vec<_> = units.iter().filter_map(|unit| Some((unit.organization, unit.receipt.as_ref()?))).collect();
    INSERT_RECEIPTS
        .run(connection, &receipts, |statement, (organization, receipt)| {
            bind_receipt(statement, *organization, receipt)
        })
        .await?;
    let customers: Vec<&Customer> = units.iter().flat_map(|unit| created(unit)).collect();
    INSERT_CUSTOMERS.run(connection, &customers, |statement, customer| bind_customer(statement, customer)).await?;
    let mut words = Vec::with_capacity(customers.len() * 8);
    for customer in &customers {
        let found_by = search::words_of(customer).into_iter();
        words.extend(found_by.map(|word| (customer.organization().get(), word, customer.id().get())));
    }
    // In the order of their table: neighbours share pages.
    words.sort_unstable();
    INSERT_WORDS
        .run(connection, &words, |statement, (organization, word, id)| {
            statement.bind(organization).bind(word.as_str()).bind(id)
        })
        .await?;
    let mut committed = Vec::with_capacity(units.len());
    let mut events = Vec::with_capacity(customers.len());
    for unit in units {
        let next = next.get_mut(&unit.organization).ok_or(sqlx::Error::RowNotFound)?;
        for event in unit.customers.iter().flat_map(CustomerChange::events) {
            events.push((*unit, *next, event));
            *next += 1;
        }
        committed.push(Committed { last_sequence: Sequence::parse(*next - 1).ok() });
    }
    INSERT_EVENTS
        .run(connection, &events, |statement, (unit, sequence, event)| {
            bind_event(statement, unit, *sequence, Line::of_customer(event))
        })
        .await?;
    Ok(committed)
}

/// Takes the sequences of each organization's units and counts their customers; answers the first sequences.
async fn move_counters(
    connection: &mut SqliteConnection,
    units: &[&Unit],
) -> Result<BTreeMap<OrganizationId, i64>, sqlx::Error> {
    let mut counts: BTreeMap<OrganizationId, (i64, i64)> = BTreeMap::new();
    let count = |count: usize| i64::try_from(count).expect("units hold fewer than 2^63 changes");
    for unit in units {
        let (events, customers) = counts.entry(unit.organization).or_default();
        *events += count(unit.customers.iter().map(|change| change.events().len()).sum());
        *customers += count(unit.customers.len());
    }
    let mut first = BTreeMap::new();
    for (organization, (events, customers)) in counts {
        let moved = sqlx::query(MOVE_COUNTERS).bind(organization.get()).bind(events).bind(customers);
        first.insert(organization, moved.fetch_one(&mut *connection).await?.try_get(0)?);
    }
    Ok(first)
}
