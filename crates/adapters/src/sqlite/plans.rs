//! Tests of how SQLite goes about the statements of the records beside customers: none reads a whole organization.

use custodia_domain::OrganizationId;
use custodia_domain::loan::LoanStatus;
use custodia_domain::ports::{CustomerFilter, CustomerQuery, Direction, LoanQuery, LoanSort, SortKey, Window};
use custodia_domain::{CompanyNumber, CustomerId, facets::Source};
use sqlx::{Execute as _, Row as _};

use super::{SqliteOptions, SqliteStore, accounts, companies, customers, deliveries, list, loans, unit, webhooks};

async fn steps(store: &SqliteStore, statement: &str) -> Vec<String> {
    let sql = sqlx::AssertSqlSafe(format!("explain query plan {statement}"));
    let plan = sqlx::query(sql).fetch_all(&store.readers).await.unwrap();
    plan.iter().map(|step| step.get::<String, _>(3)).collect()
}

async fn open() -> (tempfile::TempDir, SqliteStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(SqliteOptions::at(folder.path().join("test.db"))).await.unwrap();
    (folder, store)
}

#[tokio::test]
async fn whoever_asks_by_a_key_is_answered_from_its_index() {
    let (_folder, store) = open().await;
    for statement in [
        customers::SELECT_BY_EXTERNAL_ID,
        customers::SELECT_EVENTS_OF_CUSTOMER,
        customers::SELECT_HISTORY,
        unit::ERASE_EVENTS,
        accounts::SELECT_HELD,
        companies::SELECT,
        loans::SELECT,
        loans::SELECT_TOTALS,
        webhooks::SELECT,
    ] {
        let steps = steps(&store, statement).await;
        assert!(!steps.iter().any(|step| step.ends_with("(organization_id=?)")), "{statement}: {steps:?}");
    }
}

#[tokio::test]
async fn deliveries_are_found_by_their_endpoint_and_what_is_asked_of_them() {
    let (_folder, store) = open().await;
    for (statement, keys) in [
        (
            deliveries::SELECT_CLAIMABLE,
            &[
                "PRIMARY KEY (organization_id=?)",
                "webhook_deliveries_due (organization_id=? AND endpoint_id=? AND at<?)",
            ][..],
        ),
        (
            deliveries::ENQUEUE,
            &[
                "(organization_id=? AND stream=? AND sequence>? AND sequence<?)",
                "webhook_deliveries_by_lane (organization_id=? AND endpoint_id=? AND lane=?)",
            ],
        ),
        (deliveries::SELECT_REACHED, &["(organization_id=? AND stream=? AND sequence>?)"]),
        (deliveries::SELECT_HEADS, &["webhook_deliveries_due (organization_id=? AND endpoint_id=? AND at<?)"]),
        (deliveries::SETTLE, &["(organization_id=? AND endpoint_id=? AND sequence=?)"]),
        (
            deliveries::PROMOTE,
            &[
                "(organization_id=? AND endpoint_id=? AND sequence=?)",
                "webhook_deliveries_by_lane (organization_id=? AND endpoint_id=? AND lane=?)",
            ],
        ),
        (deliveries::DEMOTE, &["webhook_deliveries_by_lane (organization_id=? AND endpoint_id=? AND lane=?)"]),
        (deliveries::SELECT_PAGE, &["PRIMARY KEY (organization_id=? AND endpoint_id=? AND sequence<?)"]),
        (
            deliveries::SELECT_PAGE_OF_STATE,
            &["webhook_deliveries_by_state (organization_id=? AND endpoint_id=? AND state=? AND sequence<?)"],
        ),
        (deliveries::PURGE_OVER, &["webhook_deliveries_over (organization_id=? AND at<?)"]),
        (deliveries::PURGE_DELETED, &["(organization_id=? AND endpoint_id=?)"]),
    ] {
        let steps = steps(&store, statement).await;
        for key in keys {
            assert!(steps.iter().any(|step| step.contains(key)), "{key}: {statement}: {steps:#?}");
        }
    }
}

#[tokio::test]
async fn lists_of_loans_walk_along_an_index_or_sort_those_of_one_customer() {
    let (_folder, store) = open().await;
    for sort in [LoanSort::Id, LoanSort::Principal, LoanSort::ExpectedDisbursement] {
        for direction in [Direction::Ascending, Direction::Descending] {
            for (customer, status) in
                [(None, None), (None, Some(LoanStatus::Active)), (Some(CustomerId::FIRST), Some(LoanStatus::Active))]
            {
                let organization = OrganizationId::FIRST;
                let query = LoanQuery { organization, customer, status, sort, direction, offset: 0, limit: 20 };
                let steps = steps(&store, loans::page(&query).build().sql().as_str()).await;
                let sorts = steps.iter().any(|step| step.contains("ORDER BY"));
                match customer {
                    Some(_) => assert!(steps[0].contains("AND customer_id=?"), "{query:?} {steps:?}"),
                    None => assert!(!sorts, "{query:?} {steps:?}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn lists_of_customers_by_facets_and_instants_walk_along_an_index() {
    let (_folder, store) = open().await;
    let open = CustomerFilter::default;
    let filters = [
        open(),
        CustomerFilter { active: Some(true), ..open() },
        CustomerFilter { source: Source::parse("web").ok(), ..open() },
        CustomerFilter { company: CompanyNumber::parse(1).ok(), ..open() },
        CustomerFilter { active: Some(false), company: CompanyNumber::parse(1).ok(), ..open() },
    ];
    for sort in [SortKey::Id, SortKey::CreatedAt, SortKey::UpdatedAt, SortKey::Email] {
        for direction in [Direction::Ascending, Direction::Descending] {
            for filter in filters.clone() {
                let organization = OrganizationId::FIRST;
                let is_open = filter.is_open();
                let window = Window::After(None);
                let query = CustomerQuery { organization, filter, sort, direction, window, limit: 20 };
                let statement = list::rows(&query).unwrap().remove(0).build().sql();
                let steps = steps(&store, statement.as_str()).await;
                assert_eq!(steps.len(), 1, "{query:?} {steps:?}");
                let expected = match sort {
                    SortKey::Id if is_open => "USING PRIMARY KEY",
                    SortKey::Id => "AND ",
                    SortKey::CreatedAt => "customers_by_creation",
                    SortKey::UpdatedAt => "customers_by_change",
                    _ => "customers_by_email",
                };
                assert!(steps[0].contains(expected), "{query:?} {steps:?}");
            }
        }
    }
}
