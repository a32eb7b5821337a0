//! Organizations and their reference data in SQLite.

use async_trait::async_trait;
use custodia_domain::company::Company;
use custodia_domain::ports::{AddError, CompanyKey, Directory, Office, Offices, Portfolio, StoreError};
use custodia_domain::{ClosureReasonId, ExternalId, OfficeId, OfficeName, OrganizationId, Timestamp};
use sqlx::{Row as _, SqliteConnection};

use super::SqliteStore;
use super::error::{is_foreign_key_violation, store_error};
use super::rows::Fields;
use crate::HEAD_OFFICE;

const INSERT_ORGANIZATION: &str = "insert into organizations
        (id, name, default_office_id, next_customer_id, next_company_id, next_loan_id, next_sequence, customer_count,
            created_at)
    select coalesce(max(id), 0) + 1, ?1, 1, 1, 1, 1, 1, 0, ?2 from organizations
    returning id";
const INSERT_FIRST_OFFICE: &str = "insert into offices (organization_id, id, name, created_at) values (?1, 1, ?2, ?3)";
const SELECT_ORGANIZATIONS: &str = "select id, name from organizations order by id";
const INSERT_OFFICE: &str = "insert into offices (organization_id, id, name, created_at)
    select ?1, coalesce(max(id), 0) + 1, ?2, ?3 from offices where organization_id = ?1
    on conflict (organization_id, name) do nothing
    returning id";
// At least one row for an organization that exists: it always has office 1.
const SELECT_OFFICES: &str = "select offices.id, offices.name, organizations.default_office_id
    from organizations join offices on offices.organization_id = organizations.id
    where organizations.id = ?1
    order by offices.id";
const SET_DEFAULT_OFFICE: &str = "update organizations set default_office_id = ?2
    where id = ?1 and exists (select 1 from offices where organization_id = ?1 and id = ?2)";
const INSERT_CLOSURE_REASON: &str = "insert into closure_reasons (organization_id, code, label, created_at)
    values (?1, ?2, ?3, ?4)
    on conflict (organization_id, code) do nothing";
const SELECT_CLOSURE_REASONS: &str = "select code, label from closure_reasons where organization_id = ?1 order by code";
const INSERT_PORTFOLIO: &str = "insert into portfolios (organization_id, id, name, reward_unit, created_at)
    values (?1, ?2, ?3, ?4, ?5)
    on conflict (organization_id, id) do nothing";
const SELECT_PORTFOLIOS: &str = "select id, name, reward_unit from portfolios where organization_id = ?1 order by id";

#[async_trait]
impl Directory for SqliteStore {
    async fn add_organization(&self, name: &str, at: Timestamp) -> Result<OrganizationId, StoreError> {
        let name = name.to_owned();
        let id = self
            .write(move |connection| {
                Box::pin(async move { add_organization(connection, &name, at).await.map(Ok).map_err(store_error) })
            })
            .await?;
        OrganizationId::parse(id).map_err(|_| StoreError::Corrupt { table: "organizations", column: "id", id })
    }

    async fn organizations(&self) -> Result<Vec<(OrganizationId, String)>, StoreError> {
        let rows = sqlx::query(SELECT_ORGANIZATIONS).fetch_all(&self.readers).await.map_err(store_error)?;
        let organization = |row| {
            let mut fields = Fields::of(row, "organizations", "id, name");
            Ok((fields.number(OrganizationId::parse)?, fields.raw()?))
        };
        rows.iter().map(organization).collect()
    }

    async fn add_office(
        &self,
        organization: OrganizationId,
        name: &OfficeName,
        at: Timestamp,
    ) -> Result<OfficeId, AddError> {
        let name = name.as_str().to_owned();
        let id: i64 = self
            .add(move |connection| {
                Box::pin(async move {
                    let insert = sqlx::query(INSERT_OFFICE).bind(organization.get()).bind(name);
                    let inserted = insert.bind(at.microseconds()).fetch_optional(connection).await;
                    inserted?.map(|row| row.try_get(0)).transpose()
                })
            })
            .await?;
        OfficeId::parse(id).map_err(|_| StoreError::Corrupt { table: "offices", column: "id", id }.into())
    }

    async fn offices(&self, organization: OrganizationId) -> Result<Option<Offices>, StoreError> {
        let selected = sqlx::query(SELECT_OFFICES).bind(organization.get());
        let rows = selected.fetch_all(&self.readers).await.map_err(store_error)?;
        let mut default = None;
        let mut all = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut fields = Fields::of(row, "offices", "id, name, default_office_id");
            all.push(Office { id: fields.number(OfficeId::parse)?, name: fields.text(OfficeName::parse)? });
            default = Some(fields.number(OfficeId::parse)?);
        }
        Ok(default.map(|default| Offices { default, all }))
    }

    async fn set_default_office(&self, organization: OrganizationId, office: OfficeId) -> Result<bool, StoreError> {
        self.write(move |connection| {
            Box::pin(async move {
                let set = sqlx::query(SET_DEFAULT_OFFICE).bind(organization.get()).bind(office.get());
                Ok(Ok(set.execute(connection).await.map_err(store_error)?.rows_affected() == 1))
            })
        })
        .await
    }

    async fn add_closure_reason(
        &self,
        organization: OrganizationId,
        reason: ClosureReasonId,
        label: &str,
        at: Timestamp,
    ) -> Result<(), AddError> {
        let label = label.to_owned();
        self.add(move |connection| {
            Box::pin(async move {
                let insert = sqlx::query(INSERT_CLOSURE_REASON).bind(organization.get()).bind(reason.get());
                let inserted = insert.bind(label).bind(at.microseconds()).execute(connection).await?;
                Ok((inserted.rows_affected() == 1).then_some(()))
            })
        })
        .await
    }

    async fn closure_reasons(
        &self,
        organization: OrganizationId,
    ) -> Result<Vec<(ClosureReasonId, String)>, StoreError> {
        let selected = sqlx::query(SELECT_CLOSURE_REASONS).bind(organization.get());
        let rows = selected.fetch_all(&self.readers).await.map_err(store_error)?;
        let reason = |row| {
            let mut fields = Fields::of(row, "closure_reasons", "code, label");
            Ok((fields.number(ClosureReasonId::parse)?, fields.raw()?))
        };
        rows.iter().map(reason).collect()
    }

    async fn companies(
        &self,
        organization: OrganizationId,
        keys: &[CompanyKey],
    ) -> Result<Vec<Option<Company>>, StoreError> {
        self.find_companies(organization, keys).await
    }

    async fn list_companies(
        &self,
        organization: OrganizationId,
        offset: u64,
        limit: u8,
    ) -> Result<(Vec<Company>, u64), StoreError> {
        self.page_of_companies(organization, offset, limit).await
    }

    async fn add_portfolio(
        &self,
        organization: OrganizationId,
        portfolio: &Portfolio,
        at: Timestamp,
    ) -> Result<(), AddError> {
        let portfolio = portfolio.clone();
        self.add(move |connection| {
            Box::pin(async move {
                let Portfolio { id, name, reward_unit } = &portfolio;
                let insert = sqlx::query(INSERT_PORTFOLIO).bind(organization.get()).bind(id.as_str());
                let insert = insert.bind(&**name).bind(&**reward_unit).bind(at.microseconds());
                Ok((insert.execute(connection).await?.rows_affected() == 1).then_some(()))
            })
        })
        .await
    }

    async fn portfolios(&self, organization: OrganizationId) -> Result<Vec<Portfolio>, StoreError> {
        let selected = sqlx::query(SELECT_PORTFOLIOS).bind(organization.get());
        let rows = selected.fetch_all(&self.readers).await.map_err(store_error)?;
        let portfolio = |row| {
            let mut fields = Fields::of(row, "portfolios", "id, name, reward_unit");
            let id = fields.text(ExternalId::parse)?;
            let (name, reward_unit) = (fields.raw::<&str>()?.into(), fields.raw::<&str>()?.into());
            Ok(Portfolio { id, name, reward_unit })
        };
        rows.iter().map(portfolio).collect()
    }
}

async fn add_organization(connection: &mut SqliteConnection, name: &str, at: Timestamp) -> Result<i64, sqlx::Error> {
    let insert = sqlx::query(INSERT_ORGANIZATION).bind(name).bind(at.microseconds());
    let id: i64 = insert.fetch_one(&mut *connection).await?.try_get(0)?;
    let office = sqlx::query(INSERT_FIRST_OFFICE).bind(id).bind(HEAD_OFFICE).bind(at.microseconds());
    office.execute(connection).await?;
    Ok(id)
}

impl SqliteStore {
    /// Has an insertion done that yields nothing where there is such a record already, and violates a foreign key
    /// where there is no such organization.
    pub(super) async fn add<T, F>(&self, insert: F) -> Result<T, AddError>
    where
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> futures::future::BoxFuture<'c, Result<Option<T>, sqlx::Error>>
            + Send
            + 'static,
        T: Send + 'static,
    {
        let verdict = self
            .writer
            .run(move |connection| {
                Box::pin(async move {
                    match insert(connection).await {
                        Ok(Some(added)) => Ok(Ok(added)),
                        Ok(None) => Ok(Err(AddError::Taken)),
                        Err(error) if is_foreign_key_violation(&error) => Ok(Err(AddError::NoOrganization)),
                        Err(error) => Err(store_error(error)),
                    }
                })
            })
            .await;
        verdict.map_err(|error| AddError::Store(error.into()))?
    }
}
