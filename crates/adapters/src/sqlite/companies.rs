//! Companies in SQLite: how they are written within a unit, and how they are read. Must not know customers.

use custodia_domain::company::{Company, CompanyDetails, CompanyId, CompanyName, CompanyStatus};
use custodia_domain::facets::FreeText;
use custodia_domain::ports::{CommitError, CompanyKey, StoreError};
use custodia_domain::unit::CompanyChange;
use custodia_domain::{CompanyNumber, OrganizationId, Unit};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::SqliteStore;
use super::error::store_error;
use super::rows::Fields;
use super::unit::Stop;

/// The columns of a company, in the order in which [`company`] reads them.
macro_rules! company_columns {
    () => {
        "number, organization_id, company_id, name, status, description, industry, website, phone, address"
    };
}

const INSERT: &str = "insert into companies (organization_id, number, company_id, name, status, description, industry,
        website, phone, address, created_at)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
    on conflict do nothing";
pub(super) const SELECT: &str = concat!(
    "select ",
    company_columns!(),
    " from companies where organization_id = ?1 and number in (select value from json_each(?2))",
    " union select ",
    company_columns!(),
    " from companies indexed by companies_public_id where organization_id = ?1 and company_id in (select value from json_each(?3))"
);
const SELECT_PAGE: &str = concat!(
    "select ",
    company_columns!(),
    " from companies where organization_id = ?1 order by number limit ?2 offset ?3"
);
const COUNT: &str = "select count(*) from companies where organization_id = ?1";

/// Adds the company, unless there is one of its number or id.
pub(super) async fn keep(connection: &mut SqliteConnection, unit: &Unit, change: &CompanyChange) -> Result<(), Stop> {
    let company = change.company();
    if company.organization != unit.organization {
        return Err(Stop::Failed(StoreError::Fault("a company of another organization than its unit".into())));
    }
    let details = &company.details;
    let text = |text: &Option<FreeText>| text.as_ref().map(|text| text.as_str().to_owned());
    let inserted = sqlx::query(INSERT)
        .bind(company.organization.get())
        .bind(company.number.get())
        .bind(company.id.as_str())
        .bind(details.name.as_str())
        .bind(details.status.label())
        .bind(text(&details.description))
        .bind(text(&details.industry))
        .bind(text(&details.website))
        .bind(text(&details.phone))
        .bind(text(&details.address))
        .bind(change.event().at.microseconds())
        .execute(connection)
        .await?;
    if inserted.rows_affected() == 0 { Err(Stop::Refused(CommitError::RecordConflict)) } else { Ok(()) }
}

/// The company of a row of [`company_columns`].
fn company(row: &SqliteRow) -> Result<Company, StoreError> {
    let mut fields = Fields::of(row, "companies", company_columns!());
    let number = fields.number(CompanyNumber::parse)?;
    Ok(Company {
        number,
        organization: fields.number(OrganizationId::parse)?,
        id: fields.text(CompanyId::parse)?,
        details: CompanyDetails {
            name: fields.text(CompanyName::parse)?,
            status: fields.text(|label| CompanyStatus::from_label(label).ok_or(()))?,
            description: fields.optional_text(FreeText::parse)?,
            industry: fields.optional_text(FreeText::parse)?,
            website: fields.optional_text(FreeText::parse)?,
            phone: fields.optional_text(FreeText::parse)?,
            address: fields.optional_text(FreeText::parse)?,
        },
    })
}

impl SqliteStore {
    pub(super) async fn find_companies(
        &self,
        organization: OrganizationId,
        keys: &[CompanyKey],
    ) -> Result<Vec<Option<Company>>, StoreError> {
        let (mut numbers, mut ids) = (Vec::new(), Vec::new());
        for key in keys {
            match key {
                CompanyKey::Number(number) => numbers.push(number.get()),
                CompanyKey::Id(id) => ids.push(id.as_str()),
            }
        }
        let numbers = serde_json::to_string(&numbers).expect("a list of numbers is JSON");
        let ids = serde_json::to_string(&ids).expect("a list of texts is JSON");
        let selected = sqlx::query(SELECT).bind(organization.get()).bind(numbers).bind(ids);
        let rows = selected.fetch_all(&self.readers).await.map_err(store_error)?;
        let found: Vec<Company> = rows.iter().map(company).collect::<Result<_, _>>()?;
        let find = |key: &CompanyKey| {
            let is_meant = |company: &&Company| match key {
                CompanyKey::Number(number) => company.number == *number,
                CompanyKey::Id(id) => company.id == *id,
            };
            found.iter().find(is_meant).cloned()
        };
        Ok(keys.iter().map(find).collect())
    }

    pub(super) async fn page_of_companies(
        &self,
        organization: OrganizationId,
        offset: u64,
        limit: u8,
    ) -> Result<(Vec<Company>, u64), StoreError> {
        let counted = sqlx::query(COUNT).bind(organization.get()).fetch_one(&self.readers).await;
        let count: i64 = counted.and_then(|row| row.try_get(0)).map_err(store_error)?;
        let selected = sqlx::query(SELECT_PAGE)
            .bind(organization.get())
            .bind(i64::from(limit))
            .bind(i64::try_from(offset).unwrap_or(i64::MAX));
        let rows = selected.fetch_all(&self.readers).await.map_err(store_error)?;
        let companies = rows.iter().map(company).collect::<Result<_, _>>()?;
        Ok((companies, u64::try_from(count).unwrap_or_default()))
    }
}
