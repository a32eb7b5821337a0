//! The schema can be distributed by organization, and decides nothing by itself.

use sqlx::{Connection as _, PgConnection, Row as _};

use crate::support::{postgres_at, postgres_schema};

/// Tables that belong to no organization: they are found before one is known.
const GLOBAL: [&str; 4] = ["organizations", "api_keys", "partner_accounts", "_sqlx_migrations"];

async fn migrated() -> PgConnection {
    let url = postgres_schema().await;
    postgres_at(&url).await;
    PgConnection::connect(&url).await.unwrap()
}

async fn texts(connection: &mut PgConnection, sql: &'static str) -> Vec<String> {
    sqlx::query_scalar(sql).fetch_all(connection).await.unwrap()
}

#[tokio::test]
async fn the_organization_leads_every_key_and_index_of_what_belongs_to_it() {
    let mut connection = migrated().await;
    let rows = sqlx::query(
        "select t.relname::text, i.relname::text, a.attname::text, m.amname::text
         from pg_index x
         join pg_class t on t.oid = x.indrelid
         join pg_class i on i.oid = x.indexrelid
         join pg_am m on m.oid = i.relam
         left join pg_attribute a on a.attrelid = t.oid and a.attnum = x.indkey[0]
         where t.relnamespace = current_schema()::regnamespace",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert!(rows.len() > 10, "the schema has indexes");
    for row in &rows {
        let (table, index, first, method): (String, String, Option<String>, String) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        let leads = first.as_deref() == Some("organization_id");
        // The words of the search index begin with the organization's number themselves.
        assert!(leads || GLOBAL.contains(&&*table) || method == "gin", "{table}.{index} begins with {first:?}");
    }
    let tables = texts(
        &mut connection,
        "select relname::text from pg_class
        where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p')",
    )
    .await;
    for table in tables.iter().filter(|table| !GLOBAL.contains(&table.as_str())) {
        let has_key = rows.iter().any(|row| row.get::<String, _>(0) == *table);
        assert!(has_key, "{table} has a primary key");
    }
}

#[tokio::test]
async fn foreign_keys_begin_with_the_organization_and_do_nothing_by_themselves() {
    let mut connection = migrated().await;
    let rows = sqlx::query(
        "select c.conname::text, a.attname::text, c.confdeltype::text || c.confupdtype::text, c.condeferrable
         from pg_constraint c
         left join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
         where c.connamespace = current_schema()::regnamespace and c.contype = 'f'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert!(!rows.is_empty());
    for row in &rows {
        let name: String = row.get(0);
        assert_eq!(row.get::<String, _>(1), "organization_id", "{name}");
        assert_eq!(row.get::<String, _>(2), "aa", "{name} acts on its own");
        assert!(!row.get::<bool, _>(3), "{name} is deferrable");
    }
}

#[tokio::test]
async fn nothing_in_the_schema_computes_or_numbers_anything() {
    let mut connection = migrated().await;
    for (what, sql) in [
        (
            "default, identity or generated column",
            "select t.relname || '.' || a.attname from pg_attribute a
            join pg_class t on t.oid = a.attrelid
            where t.relnamespace = current_schema()::regnamespace and t.relkind in ('r', 'p') and a.attnum > 0
                and t.relname <> '_sqlx_migrations'
                and (a.atthasdef or a.attidentity <> '' or a.attgenerated <> '')",
        ),
        (
            "trigger",
            "select g.tgname::text from pg_trigger g join pg_class t on t.oid = g.tgrelid
            where t.relnamespace = current_schema()::regnamespace and not g.tgisinternal",
        ),
        (
            "sequence, view or rule",
            "select relname::text from pg_class
            where relnamespace = current_schema()::regnamespace and relkind not in ('r', 'p', 'i', 't')",
        ),
        (
            "enum, domain or range",
            "select typname::text from pg_type
            where typnamespace = current_schema()::regnamespace and typtype in ('e', 'd', 'r', 'm')",
        ),
        ("function", "select proname::text from pg_proc where pronamespace = current_schema()::regnamespace"),
        (
            "exclusion or deferrable constraint",
            "select conname::text from pg_constraint
            where connamespace = current_schema()::regnamespace and (contype in ('x', 't') or condeferrable)",
        ),
        (
            "instant without a zone, or 32-bit number",
            "select t.relname || '.' || a.attname from pg_attribute a
            join pg_class t on t.oid = a.attrelid
            where t.relnamespace = current_schema()::regnamespace and t.relkind in ('r', 'p') and a.attnum > 0
                and t.relname <> '_sqlx_migrations'
                and a.atttypid in ('timestamp'::regtype, 'integer'::regtype)",
        ),
    ] {
        let found = texts(&mut connection, sql).await;
        assert!(found.is_empty(), "{what}: {found:?}");
    }
}

#[tokio::test]
async fn text_that_is_compared_or_sorted_is_so_byte_for_byte() {
    let mut connection = migrated().await;
    let found = texts(
        &mut connection,
        "select t.relname || '.' || a.attname
        from pg_index x
        join pg_class t on t.oid = x.indrelid
        join pg_attribute a on a.attrelid = t.oid and a.attnum = any(x.indkey)
        join pg_collation l on l.oid = a.attcollation
        where t.relnamespace = current_schema()::regnamespace and l.collname <> 'C'",
    )
    .await;
    assert!(found.is_empty(), "{found:?}");
}

#[tokio::test]
async fn rows_that_no_customer_can_be_are_refused() {
    let url = postgres_schema().await;
    let stage = crate::support::Stage::over(postgres_at(&url).await);
    let organization = stage.organization().await;
    stage.create_named(organization, "Ada Lovelace").await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    for change in [
        "status = 'Closed'",
        "status = 'Active'",
        "status = 'pending'",
        "activated_on = date '2026-05-22'",
        "status = 'Active', activated_on = submitted_on - 1",
        "closure_reason_id = 1",
        "full_name = null",
        "first_name = 'Ada'",
        "full_name = null, first_name = 'Ada'",
        "full_name = null, last_name = 'Lovelace'",
        "client_type_id = 3",
        "version = 0",
        "updated_at = created_at - interval '1 second'",
        "open_loans = 1",
        "open_loans = -1",
    ] {
        let sql = sqlx::AssertSqlSafe(format!("update customers set {change}"));
        let refused = sqlx::query(sql).execute(&mut connection).await.expect_err(change);
        let state = refused.as_database_error().and_then(|error| error.code().map(String::from)).unwrap();
        assert!(state == "23514" || state == "23503", "{change}: {state}");
    }
}
