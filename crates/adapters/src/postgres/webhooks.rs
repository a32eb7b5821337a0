//! Webhook endpoints as rows: how they are found, and the arrays by which they are written. Must not know deliveries.

use custodia_domain::unit::WebhookChange;
use custodia_domain::webhook::{
    DisableCause, EndpointStatus, EventName, PayloadForm, PreviousSecret, WebhookDescription, WebhookEndpoint,
    WebhookId, WebhookSecret, WebhookSnapshot, WebhookUrl,
};
use custodia_domain::{OrganizationId, Sequence, Version};
use sqlx::PgConnection;
use sqlx::postgres::PgRow;

use super::columns::SqlInstant;
use super::customers::{ReadFailure, Reader};
use super::statements::Bound;

/// The columns of an endpoint, in the order in which [`endpoint`] reads them.
macro_rules! endpoint_columns {
    () => {
        "w.id, w.version, w.url, w.kinds, w.payload, w.description, w.secret, w.previous_secret, w.previous_until, \
         w.disabled_at, w.disabled_because, w.position, w.created_at, w.updated_at"
    };
}

const ENDPOINTS: &str = concat!(
    "select ",
    endpoint_columns!(),
    " from webhook_endpoints w where w.organization_id = $1 and w.deleted_at is null order by w.created_at, w.id"
);

const ENDPOINT: &str = concat!(
    "select ",
    endpoint_columns!(),
    " from webhook_endpoints w where w.organization_id = $1 and w.id = $2 and w.deleted_at is null"
);

/// The endpoints of an organization, by their creation, then by id.
pub(super) async fn endpoints(
    session: &mut PgConnection,
    organization: OrganizationId,
) -> Result<Vec<WebhookEndpoint>, ReadFailure> {
    let rows = sqlx::query(ENDPOINTS).bind(organization.get()).fetch_all(session).await?;
    rows.iter().map(|row| endpoint(organization, row)).collect()
}

/// One endpoint.
pub(super) async fn find(
    session: &mut PgConnection,
    organization: OrganizationId,
    id: WebhookId,
) -> Result<Option<WebhookEndpoint>, ReadFailure> {
    let found = sqlx::query(ENDPOINT).bind(organization.get()).bind(id.to_string()).fetch_optional(session).await?;
    found.map(|row| endpoint(organization, &row)).transpose()
}

/// The endpoint that a row holds, its columns being [`endpoint_columns`].
fn endpoint(organization: OrganizationId, row: &PgRow) -> Result<WebhookEndpoint, ReadFailure> {
    let read = Reader { row, table: "webhook_endpoints", id: organization.get() };
    let secret = |bytes: &[u8]| <[u8; 32]>::try_from(bytes).ok().map(WebhookSecret::from_bytes);
    let instant = |place| read.get::<Option<SqlInstant>>(place).map(|instant| instant.map(|instant| instant.0));
    let previous = match (read.optional(7, "previous_secret", secret)?, instant(8)?) {
        (Some(secret), Some(until)) => Some(PreviousSecret { secret, until }),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => return Err(read.corrupt("previous_until")),
    };
    let status = match (instant(9)?, read.optional(10, "disabled_because", DisableCause::from_label)?) {
        (None, None) => EndpointStatus::Enabled,
        (Some(since), Some(cause)) => EndpointStatus::Disabled { since, cause },
        (Some(_), None) | (None, Some(_)) => return Err(read.corrupt("disabled_because")),
    };
    let kinds = |names: Vec<String>| names.iter().map(|name| EventName::parse(name).ok()).collect();
    let state = WebhookSnapshot {
        organization,
        id: read.parsed(0, "id", |id| WebhookId::parse(id).ok())?,
        version: read.parsed(1, "version", |version| Version::parse(version).ok())?,
        url: read.parsed(2, "url", |url| WebhookUrl::parse(url).ok())?,
        kinds: read.parsed(3, "kinds", kinds)?,
        form: read.parsed(4, "payload", PayloadForm::from_label)?,
        description: read.optional(5, "description", |text| WebhookDescription::parse(text).ok())?,
        secret: read.parsed(6, "secret", secret)?,
        previous,
        status,
        position: Some(read.parsed(11, "position", |position| Sequence::parse(position).ok())?),
        created_at: read.get::<SqlInstant>(12)?.0,
        updated_at: read.get::<SqlInstant>(13)?.0,
    };
    WebhookEndpoint::rehydrate(state).map_err(|impossible| read.corrupt(impossible.0))
}

/// The arrays of endpoints, one element per endpoint; of a deleted one next to nothing is left.
#[derive(Default)]
pub(super) struct EndpointRows<'a> {
    id: Vec<String>,
    version: Vec<i64>,
    expected: Vec<i64>,
    url: Vec<&'a str>,
    kinds: Vec<String>,
    payload: Vec<&'static str>,
    description: Vec<Option<&'a str>>,
    secret: Vec<Option<&'a [u8]>>,
    previous_secret: Vec<Option<&'a [u8]>>,
    previous_until: Vec<Option<SqlInstant>>,
    disabled_at: Vec<Option<SqlInstant>>,
    disabled_because: Vec<Option<&'static str>>,
    changed_at: Vec<SqlInstant>,
    is_deleted: Vec<bool>,
}

impl<'a> EndpointRows<'a> {
    pub(super) fn of(changes: &'a [WebhookChange]) -> Self {
        let mut rows = Self::default();
        for change in changes {
            let state = change.after().map(WebhookEndpoint::snapshot);
            let previous = state.and_then(|state| state.previous.as_ref());
            let (since, cause) = match state.map(|state| state.status) {
                Some(EndpointStatus::Disabled { since, cause }) => (Some(SqlInstant(since)), Some(cause.label())),
                Some(EndpointStatus::Enabled) | None => (None, None),
            };
            let kinds: Vec<_> = state.iter().flat_map(|state| &state.kinds).map(|kind| kind.as_str()).collect();
            rows.id.push(change.id().to_string());
            rows.version.push(change.event().version.get());
            rows.expected.push(change.expects().map_or(0, Version::get));
            rows.url.push(state.map_or("", |state| state.url.as_str()));
            rows.kinds.push(kinds.join(","));
            rows.payload.push(state.map_or(PayloadForm::Thin, |state| state.form).label());
            rows.description.push(state.and_then(|state| state.description.as_ref().map(WebhookDescription::as_str)));
            rows.secret.push(state.map(|state| state.secret.bytes().as_slice()));
            rows.previous_secret.push(previous.map(|previous| previous.secret.bytes().as_slice()));
            rows.previous_until.push(previous.map(|previous| SqlInstant(previous.until)));
            rows.disabled_at.push(since);
            rows.disabled_because.push(cause);
            rows.changed_at.push(SqlInstant(change.event().at));
            rows.is_deleted.push(state.is_none());
        }
        rows
    }

    /// Binds `$21` to `$34`.
    pub(super) fn bind_to<'q>(&'q self, statement: Bound<'q>) -> Bound<'q> {
        statement
            .bind(&self.id)
            .bind(&self.version)
            .bind(&self.expected)
            .bind(&self.url)
            .bind(&self.kinds)
            .bind(&self.payload)
            .bind(&self.description)
            .bind(&self.secret)
            .bind(&self.previous_secret)
            .bind(&self.previous_until)
            .bind(&self.disabled_at)
            .bind(&self.disabled_because)
            .bind(&self.changed_at)
            .bind(&self.is_deleted)
    }
}
