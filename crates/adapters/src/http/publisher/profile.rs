//! The profile of a session's customer: its part in the programme, its accounts with their cards, and their portfolios.
//!
//! Owns that form: members in the order of the API's sample. It must not know how a customer was found.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use axum::response::Response;
use custodia_domain::account::{Account, AccountDetails, Card, CardKey};
use custodia_domain::facets::{Alert, Enrolment, Redemption};
use custodia_domain::ports::Portfolio;
use custodia_domain::registry::EnrolledView;
use custodia_domain::{ExternalId, Timestamp};
use serde::{Serialize, Serializer};

use super::call::OfCustomer;
use super::data::json_answer;
use super::error::Refused;
use super::{Publisher, schema};
use crate::http::idempotency::respond;

/// The unit of rewards of a portfolio that the organization has not listed.
const UNLISTED_UNIT: &str = "Cash";

/// Read the profile of the session's customer
#[utoipa::path(get, path = "/v2/customerProfile/getCustomerProfile", operation_id = "getCustomerProfile",
    tag = "Customer profile", responses((status = 200, description = "The customer", body = schema::CustomerProfile)))]
pub(super) async fn get(
    State(publisher): State<Publisher>,
    OfCustomer(call, customer): OfCustomer,
) -> Result<Response, Refused> {
    let (caller, ids, customer) = call.ready(Some(customer))?;
    let found = publisher.registry.enrolled(caller.organization, &customer).await;
    let view = found.map_err(|error| Refused::store(&error, &ids))?;
    let profile = view.as_ref().and_then(|view| Profile::of(view, &customer, &ids.shown));
    let profile = profile.ok_or_else(|| Refused::not_found(&ids))?;
    Ok(respond(json_answer(&profile)))
}

/// An instant in its RFC 3339 form.
struct At(Timestamp);

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Written as it goes onto the wire; documented as [`schema::CustomerProfile`].
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Profile<'a> {
    source_customer_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_parent_customer_id: Option<&'a str>,
    organization_id: &'a str,
    postal_code: &'a str,
    country: &'a str,
    customer_creation_date: At,
    enrollment_start_date: At,
    enrollment_end_date: Option<At>,
    enrollment_opt_in_status: &'static str,
    alert_opt_in_status: Vec<&'static str>,
    targeting_indicator: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    redemption_eligibility: Option<&'static str>,
    portfolios: Vec<PortfolioBody<'a>>,
    accounts: Vec<AccountBody<'a>>,
    request_id: &'a str,
}

impl<'a> Profile<'a> {
    /// `None` where the customer takes no part in the programme.
    fn of(view: &'a EnrolledView, id: &'a ExternalId, request_id: &'a str) -> Option<Self> {
        let enrolment: &Enrolment = view.customer.enrolment()?;
        Some(Self {
            source_customer_id: id.as_str(),
            source_parent_customer_id: enrolment.parent.as_ref().map(ExternalId::as_str),
            organization_id: enrolment.subsidiary.as_str(),
            postal_code: enrolment.postal_code.as_str(),
            country: enrolment.country.as_str(),
            customer_creation_date: At(enrolment.customer_since),
            enrollment_start_date: At(enrolment.starts),
            enrollment_end_date: enrolment.ends.map(At),
            enrollment_opt_in_status: enrolment.opt_in.label(),
            alert_opt_in_status: enrolment.alerts.iter().copied().map(Alert::label).collect(),
            targeting_indicator: enrolment.targeting.label(),
            redemption_eligibility: enrolment.redemption.map(Redemption::label),
            portfolios: portfolios(&view.accounts, &view.portfolios),
            accounts: view.accounts.iter().map(AccountBody::from).collect(),
            request_id,
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PortfolioBody<'a> {
    source_portfolio_id: &'a str,
    portfolio_name: &'a str,
    reward_currency_unit: &'a str,
}

/// The portfolios that the accounts name, by id; one that the organization has not listed is called by its id.
fn portfolios<'a>(accounts: &'a [Account], listed: &'a [Portfolio]) -> Vec<PortfolioBody<'a>> {
    let listed: BTreeMap<_, _> = listed.iter().map(|portfolio| (&portfolio.id, portfolio)).collect();
    let named: BTreeSet<_> = accounts.iter().map(|account| &account.details().portfolio).collect();
    let body = |id: &'a ExternalId| {
        let known = listed.get(id);
        PortfolioBody {
            source_portfolio_id: id.as_str(),
            portfolio_name: known.map_or(id.as_str(), |portfolio| &portfolio.name),
            reward_currency_unit: known.map_or(UNLISTED_UNIT, |portfolio| &portfolio.reward_unit),
        }
    };
    named.into_iter().map(body).collect()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AccountBody<'a> {
    source_account_id: &'a str,
    source_customer_ids: Vec<&'a str>,
    primary_source_customer_id: &'a str,
    status: &'static str,
    r#type: &'static str,
    source_portfolio_id: &'a str,
    account_open_date: At,
    account_close_date: Option<At>,
    cards: Vec<CardBody<'a>>,
}

impl<'a> From<&'a Account> for AccountBody<'a> {
    fn from(account: &'a Account) -> Self {
        let details: &AccountDetails = account.details();
        let others = details.holders.iter().filter(|holder| **holder != details.primary);
        Self {
            source_account_id: account.id().as_str(),
            source_customer_ids: [&details.primary].into_iter().chain(others).map(ExternalId::as_str).collect(),
            primary_source_customer_id: details.primary.as_str(),
            status: details.status.label(),
            r#type: details.kind.label(),
            source_portfolio_id: details.portfolio.as_str(),
            account_open_date: At(details.opened),
            account_close_date: details.closed.map(At),
            cards: account.cards().iter().map(|(key, card)| CardBody::of(account, key, card)).collect(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CardBody<'a> {
    source_account_id: &'a str,
    source_customer_id: &'a str,
    last4: &'a str,
    iin: &'a str,
    card_type: &'static str,
    status: &'static str,
    network_identifier: u8,
    open_date: At,
    close_date: Option<At>,
}

impl<'a> CardBody<'a> {
    fn of(account: &'a Account, key: &'a CardKey, card: &'a Card) -> Self {
        Self {
            source_account_id: account.id().as_str(),
            source_customer_id: key.holder.as_str(),
            last4: key.last4.as_str(),
            iin: card.iin.as_str(),
            card_type: card.kind.label(),
            status: card.status.label(),
            network_identifier: card.network.get(),
            open_date: At(card.opened),
            close_date: card.closed.map(At),
        }
    }
}
