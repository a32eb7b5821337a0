//! Webhook endpoints in SQLite: how they are written within a unit, and how they are read. Must not know deliveries.

use custodia_domain::ports::{CommitError, StoreError};
use custodia_domain::unit::WebhookChange;
use custodia_domain::webhook::{
    DisableCause, ENDPOINTS_LIMIT, EndpointStatus, EventName, PayloadForm, PreviousSecret, WebhookDescription,
    WebhookEndpoint, WebhookId, WebhookSecret, WebhookSnapshot, WebhookUrl,
};
use custodia_domain::{OrganizationId, Sequence, Timestamp, Unit, Version};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Sqlite, SqliteConnection};

use super::SqliteStore;
use super::error::store_error;
use super::rows::Fields;
use super::unit::Stop;

/// The columns of an endpoint, in the order in which [`endpoint`] reads them.
macro_rules! endpoint_columns {
    () => {
        "id, organization_id, version, url, kinds, payload, description, secret, previous_secret, previous_until, \
         disabled_at, disabled_because, position, created_at, updated_at"
    };
}

// An organization has at most so many endpoints; one that was deleted does not count.
const INSERT: &str = "insert into webhook_endpoints (organization_id, id, version, url, kinds, payload, description,
        secret, previous_secret, previous_until, disabled_at, disabled_because, updated_at, created_at, position)
    select ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?13, ?14
    where (select count(*) from webhook_endpoints where organization_id = ?1 and deleted_at is null) < ?15
    on conflict do nothing";
const UPDATE: &str = "update webhook_endpoints
    set version = ?3, url = ?4, kinds = ?5, payload = ?6, description = ?7, secret = ?8, previous_secret = ?9,
        previous_until = ?10, disabled_at = ?11, disabled_because = ?12, updated_at = ?13
    where organization_id = ?1 and id = ?2 and version = ?14 and deleted_at is null";
/// What is left of a deleted endpoint: no secret, no address.
const DELETE: &str = "update webhook_endpoints
    set version = ?3, url = '', kinds = '[]', description = null, secret = null, previous_secret = null,
        previous_until = null, disabled_at = null, disabled_because = null, updated_at = ?4, deleted_at = ?4
    where organization_id = ?1 and id = ?2 and version = ?5 and deleted_at is null";
const INSERT_LEASE: &str = "insert into webhook_leases (organization_id) values (?1) on conflict do nothing";
const SELECT_ALL: &str = concat!(
    "select ",
    endpoint_columns!(),
    " from webhook_endpoints where organization_id = ?1 and deleted_at is null order by created_at, id"
);
pub(super) const SELECT: &str = concat!(
    "select ",
    endpoint_columns!(),
    " from webhook_endpoints where organization_id = ?1 and id = ?2 and deleted_at is null"
);

/// Puts the state after a change in the place of the one before, if that is the one that the change expects. A new
/// endpoint's position is the sequence of the change's event.
pub(super) async fn keep(
    connection: &mut SqliteConnection,
    unit: &Unit,
    change: &WebhookChange,
    sequence: i64,
) -> Result<(), Stop> {
    if change.organization() != unit.organization {
        return Err(Stop::Failed(StoreError::Fault("an endpoint of another organization than its unit".into())));
    }
    let event = change.event();
    let expected = change.expects().map_or(0, Version::get);
    let written = match change.after().map(WebhookEndpoint::snapshot) {
        Some(state) if expected == 0 => {
            sqlx::query(INSERT_LEASE).bind(unit.organization.get()).execute(&mut *connection).await?;
            let limit = i64::try_from(ENDPOINTS_LIMIT).unwrap_or(i64::MAX);
            bind(INSERT, state).bind(sequence).bind(limit)
        }
        Some(state) => bind(UPDATE, state).bind(expected),
        None => sqlx::query(DELETE)
            .bind(unit.organization.get())
            .bind(change.id().to_string())
            .bind(event.version.get())
            .bind(event.at.microseconds())
            .bind(expected),
    };
    let written = written.execute(connection).await?;
    if written.rows_affected() == 1 { Ok(()) } else { Err(Stop::Refused(CommitError::RecordConflict)) }
}

/// Binds `?1` to `?13`.
fn bind<'q>(statement: &'static str, state: &'q WebhookSnapshot) -> sqlx::query::Query<'q, Sqlite, SqliteArguments> {
    let kinds: Vec<_> = state.kinds.iter().map(|kind| kind.as_str()).collect();
    let (since, cause) = match state.status {
        EndpointStatus::Enabled => (None, None),
        EndpointStatus::Disabled { since, cause } => (Some(since.microseconds()), Some(cause.label())),
    };
    sqlx::query(statement)
        .bind(state.organization.get())
        .bind(state.id.to_string())
        .bind(state.version.get())
        .bind(state.url.as_str())
        .bind(serde_json::to_string(&kinds).expect("a list of texts is JSON"))
        .bind(state.form.label())
        .bind(state.description.as_ref().map(WebhookDescription::as_str))
        .bind(state.secret.bytes().as_slice())
        .bind(state.previous.as_ref().map(|previous| previous.secret.bytes().as_slice()))
        .bind(state.previous.as_ref().map(|previous| previous.until.microseconds()))
        .bind(since)
        .bind(cause)
        .bind(state.updated_at.microseconds())
}

/// The endpoint of a row of [`endpoint_columns`].
fn endpoint(row: &SqliteRow) -> Result<WebhookEndpoint, StoreError> {
    let mut fields = Fields::of(row, "webhook_endpoints", endpoint_columns!());
    let id = fields.text(WebhookId::parse)?;
    let organization = fields.number(OrganizationId::parse)?;
    let version = fields.number(Version::parse)?;
    let url = fields.text(WebhookUrl::parse)?;
    let kinds = fields.text(|text| {
        let names: Vec<String> = serde_json::from_str(text).map_err(drop)?;
        names.iter().map(|name| EventName::parse(name).map_err(drop)).collect()
    })?;
    let form = fields.text(|label| PayloadForm::from_label(label).ok_or(()))?;
    let description = fields.optional_text(WebhookDescription::parse)?;
    let secret = WebhookSecret::from_bytes(fields.hash()?);
    let previous: Option<&[u8]> = fields.raw()?;
    let previous = match (previous, fields.optional_number(Timestamp::from_microseconds)?) {
        (Some(bytes), Some(until)) => {
            let bytes = bytes.try_into().map_err(|_| fields.corrupt_by("previous_secret"))?;
            Some(PreviousSecret { secret: WebhookSecret::from_bytes(bytes), until })
        }
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => return Err(fields.corrupt_by("previous_until")),
    };
    let since = fields.optional_number(Timestamp::from_microseconds)?;
    let cause = fields.optional_text(|label| DisableCause::from_label(label).ok_or(()))?;
    let status = match (since, cause) {
        (None, None) => EndpointStatus::Enabled,
        (Some(since), Some(cause)) => EndpointStatus::Disabled { since, cause },
        (Some(_), None) | (None, Some(_)) => return Err(fields.corrupt_by("disabled_because")),
    };
    let state = WebhookSnapshot {
        organization,
        id,
        url,
        kinds,
        form,
        description,
        secret,
        previous,
        status,
        version,
        position: Some(fields.number(Sequence::parse)?),
        created_at: fields.number(Timestamp::from_microseconds)?,
        updated_at: fields.number(Timestamp::from_microseconds)?,
    };
    WebhookEndpoint::rehydrate(state).map_err(|impossible| fields.corrupt_by(impossible.0))
}

impl SqliteStore {
    pub(super) async fn find_endpoints(
        &self,
        organization: OrganizationId,
    ) -> Result<Vec<WebhookEndpoint>, StoreError> {
        let selected = sqlx::query(SELECT_ALL).bind(organization.get());
        let rows = selected.fetch_all(&self.readers).await.map_err(store_error)?;
        rows.iter().map(endpoint).collect()
    }

    pub(super) async fn find_endpoint(
        &self,
        organization: OrganizationId,
        id: WebhookId,
    ) -> Result<Option<WebhookEndpoint>, StoreError> {
        let selected = sqlx::query(SELECT).bind(organization.get()).bind(id.to_string());
        let row = selected.fetch_optional(&self.readers).await.map_err(store_error)?;
        row.map(|row| endpoint(&row)).transpose()
    }
}
