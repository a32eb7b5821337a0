//! Every operation of the service, as one table: how it is called, who may call it, and which of its parts name records.
//!
//! Owns the table alone. It must not know what an operation answers: the tests that go over it do.

use reqwest::Method;

/// The words in which a path's errors are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `/v1`, and everything that is of no dialect.
    Lms,
    /// `/external/v1`, once and twice.
    Crm,
    /// `/v2`.
    Publisher,
}

/// What a caller has to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// Nothing.
    None,
    /// The e-mail address and password of a partner account.
    Basic,
    /// `Authorization: Bearer`.
    Bearer,
    /// `x-api-key`, or a bearer token.
    ApiKey,
    /// A publisher session of the institution.
    Institution,
    /// A publisher session of one customer.
    Customer,
}

/// What the credential has to allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A credential that may only read is enough.
    Read,
    /// A credential that may only read is refused.
    Write,
}

/// One call of an operation, with placeholders where records are named: a placeholder of [`PLACEHOLDERS`] stands for a
/// record that has to be there, or may be; `<new>` for a name that nothing has yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Path and query.
    pub target: &'static str,
    /// The JSON body; empty for none.
    pub body: &'static str,
}

/// What a sample may name: customers, accounts, loans, companies, offices and webhook endpoints, by external id or by number.
pub const PLACEHOLDERS: [&str; 9] = [
    "<customer>",
    "<customer-number>",
    "<account>",
    "<loan>",
    "<loan-number>",
    "<company>",
    "<company-number>",
    "<office>",
    "<webhook>",
];

impl Sample {
    /// The placeholders that it bears.
    pub fn ids(&self) -> impl Iterator<Item = &'static str> {
        let Self { target, body } = *self;
        PLACEHOLDERS.into_iter().filter(move |id| target.contains(id) || body.contains(id))
    }
}

/// One operation.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Its method.
    pub method: Method,
    /// Its path as the document names it.
    pub path: String,
    /// The part of the path before that of the samples; empty but for the second prefix of `crm`.
    pub prefix: &'static str,
    /// Whose words its errors are told in.
    pub dialect: Dialect,
    /// What its caller has to show.
    pub credential: Credential,
    /// What that has to allow.
    pub scope: Scope,
    /// How it is called; at least one, and one for every way to name a record.
    pub samples: &'static [Sample],
}

impl Operation {
    /// The path and query of a sample, prefix included.
    #[must_use]
    pub fn target(&self, sample: &Sample) -> String {
        format!("{}{}", self.prefix, sample.target)
    }
}

/// Whether a path is one of a template's, `{...}` standing for a segment that is not empty.
#[must_use]
pub fn is_of(path: &str, template: &str) -> bool {
    let (path, template): (Vec<_>, Vec<_>) = (path.split('/').collect(), template.split('/').collect());
    let same = |(path, template): (&&str, &&str)| {
        if template.starts_with('{') { !path.is_empty() } else { path == template }
    };
    path.len() == template.len() && path.iter().zip(&template).all(same)
}

/// Every operation of every dialect.
#[must_use]
pub fn operations() -> Vec<Operation> {
    let rows = |prefix: &'static str, rows: &[Row]| -> Vec<Operation> {
        let operation = |&(method, path, dialect, credential, scope, samples): &Row| Operation {
            method: method.parse().expect("the table names methods"),
            path: format!("{prefix}{path}"),
            prefix,
            dialect,
            credential,
            scope,
            samples,
        };
        rows.iter().map(operation).collect()
    };
    [rows("", OPEN), rows("", LMS), rows("", CRM), rows("/external/v1", CRM), rows("", PUBLISHER)].concat()
}

type Row = (&'static str, &'static str, Dialect, Credential, Scope, &'static [Sample]);

const fn at(target: &'static str) -> Sample {
    Sample { target, body: "" }
}

const fn with(target: &'static str, body: &'static str) -> Sample {
    Sample { target, body }
}

use self::Dialect::{Crm, Lms, Publisher};
use self::Scope::{Read, Write};
use Credential::{ApiKey, Basic, Bearer, Customer, Institution};

const OPEN: &[Row] = &[
    ("GET", "/livez", Lms, Credential::None, Read, &[at("/livez")]),
    ("GET", "/readyz", Lms, Credential::None, Read, &[at("/readyz")]),
    ("GET", "/metrics", Lms, Credential::None, Read, &[at("/metrics")]),
    ("GET", "/openapi.json", Lms, Credential::None, Read, &[at("/openapi.json")]),
    ("GET", "/docs", Lms, Credential::None, Read, &[at("/docs")]),
    ("GET", "/.well-known/jwks.json", Lms, Credential::None, Read, &[at("/.well-known/jwks.json")]),
];

const LMS: &[Row] = &[
    ("GET", "/v1/auth/token", Lms, Basic, Read, &[at("/v1/auth/token")]),
    (
        "POST",
        "/v1/customers",
        Lms,
        Bearer,
        Write,
        &[
            with("/v1/customers", r#"{"externalId":"<new>"}"#),
            with("/v1/customers", r#"{"officeId":<office>,"firstname":"Ada","lastname":"Lovelace","active":false}"#),
        ],
    ),
    (
        "GET",
        "/v1/customers",
        Lms,
        Bearer,
        Read,
        &[
            at("/v1/customers?externalId=<customer>"),
            at("/v1/customers?officeId=<office>"),
            at("/v1/customers?officeId=<office>&after="),
        ],
    ),
    (
        "GET",
        "/v1/customers/{customer_id}",
        Lms,
        Bearer,
        Read,
        &[
            at("/v1/customers/<customer-number>"),
            at("/v1/customers/<customer-number>?asOf=1"),
            at("/v1/customers/<customer-number>?include=allowedTransitions"),
        ],
    ),
    ("GET", "/v1/customers/{customer_id}/history", Lms, Bearer, Read, &[at("/v1/customers/<customer-number>/history")]),
    (
        "PUT",
        "/v1/customers/{customer_id}",
        Lms,
        Bearer,
        Write,
        &[with("/v1/customers/<customer-number>", r#"{"mobileNo":"255700000001"}"#)],
    ),
    ("DELETE", "/v1/customers/{customer_id}", Lms, Bearer, Write, &[at("/v1/customers/<customer-number>")]),
    (
        "POST",
        "/v1/customers/{customer_id}/activate",
        Lms,
        Bearer,
        Write,
        &[with("/v1/customers/<customer-number>/activate", r#"{"activationDate":"2026-01-05"}"#)],
    ),
    (
        "POST",
        "/v1/customers/{customer_id}/close",
        Lms,
        Bearer,
        Write,
        &[with("/v1/customers/<customer-number>/close", r#"{"closureDate":"2030-01-05","closureReasonId":1}"#)],
    ),
    (
        "GET",
        "/v1/customers/external/{customer_external_id}",
        Lms,
        Bearer,
        Read,
        &[
            at("/v1/customers/external/<customer>"),
            at("/v1/customers/external/<customer>?asOf=1"),
            at("/v1/customers/external/<customer>?include=allowedTransitions"),
        ],
    ),
    (
        "GET",
        "/v1/customers/external/{customer_external_id}/history",
        Lms,
        Bearer,
        Read,
        &[at("/v1/customers/external/<customer>/history")],
    ),
    (
        "PUT",
        "/v1/customers/external/{customer_external_id}",
        Lms,
        Bearer,
        Write,
        &[with("/v1/customers/external/<customer>", r#"{"mobileNo":"255700000001"}"#)],
    ),
    (
        "DELETE",
        "/v1/customers/external/{customer_external_id}",
        Lms,
        Bearer,
        Write,
        &[at("/v1/customers/external/<customer>")],
    ),
    (
        "POST",
        "/v1/customers/external/{customer_external_id}/activate",
        Lms,
        Bearer,
        Write,
        &[with("/v1/customers/external/<customer>/activate", r#"{"activationDate":"2026-01-05"}"#)],
    ),
    (
        "POST",
        "/v1/customers/external/{customer_external_id}/close",
        Lms,
        Bearer,
        Write,
        &[with("/v1/customers/external/<customer>/close", r#"{"closureDate":"2030-01-05","closureReasonId":1}"#)],
    ),
    (
        "GET",
        "/v1/loans",
        Lms,
        Bearer,
        Read,
        &[at("/v1/loans?customerId=<customer-number>"), at("/v1/loans?customerExternalId=<customer>")],
    ),
    ("GET", "/v1/loans/{loan_id}", Lms, Bearer, Read, &[at("/v1/loans/<loan-number>")]),
    ("GET", "/v1/loans/external/{loan_external_id}", Lms, Bearer, Read, &[at("/v1/loans/external/<loan>")]),
    (
        "PUT",
        "/v1/loans/external/{loan_external_id}",
        Lms,
        Bearer,
        Write,
        &[
            with(
                "/v1/loans/external/<loan>",
                r#"{"customerExternalId":"<customer>","status":"Approved","principal":100,"currencyCode":"TZS"}"#,
            ),
            with(
                "/v1/loans/external/<loan>",
                r#"{"customerId":"<customer-number>","status":"Approved","principal":100,"currencyCode":"TZS"}"#,
            ),
        ],
    ),
    (
        "GET",
        "/v1/events",
        Lms,
        Bearer,
        Read,
        &[at("/v1/events?limit=10"), at("/v1/events?types=customer.created&customerId=<customer-number>")],
    ),
    (
        "POST",
        "/v1/webhook-endpoints",
        Lms,
        Bearer,
        Write,
        &[with("/v1/webhook-endpoints", r#"{"url":"https://hooks.invalid/","types":["customer.created"]}"#)],
    ),
    ("GET", "/v1/webhook-endpoints", Lms, Bearer, Read, &[at("/v1/webhook-endpoints")]),
    ("GET", "/v1/webhook-endpoints/{endpoint_id}", Lms, Bearer, Read, &[at("/v1/webhook-endpoints/<webhook>")]),
    (
        "PATCH",
        "/v1/webhook-endpoints/{endpoint_id}",
        Lms,
        Bearer,
        Write,
        &[with("/v1/webhook-endpoints/<webhook>", r#"{"payload":"full"}"#)],
    ),
    ("DELETE", "/v1/webhook-endpoints/{endpoint_id}", Lms, Bearer, Write, &[at("/v1/webhook-endpoints/<webhook>")]),
    (
        "POST",
        "/v1/webhook-endpoints/{endpoint_id}/rotate",
        Lms,
        Bearer,
        Write,
        &[with("/v1/webhook-endpoints/<webhook>/rotate", r#"{"overlapSeconds":60}"#)],
    ),
    (
        "POST",
        "/v1/webhook-endpoints/{endpoint_id}/ping",
        Lms,
        Bearer,
        Write,
        &[with("/v1/webhook-endpoints/<webhook>/ping", "{}")],
    ),
    (
        "POST",
        "/v1/webhook-endpoints/{endpoint_id}/replay",
        Lms,
        Bearer,
        Write,
        &[with("/v1/webhook-endpoints/<webhook>/replay", r#"{"from":1}"#)],
    ),
    (
        "GET",
        "/v1/webhook-endpoints/{endpoint_id}/deliveries",
        Lms,
        Bearer,
        Read,
        &[at("/v1/webhook-endpoints/<webhook>/deliveries?state=pending&limit=5")],
    ),
    ("GET", "/v1/credit-scorecard/{externalId}", Lms, Bearer, Read, &[at("/v1/credit-scorecard/<customer>")]),
    (
        "PUT",
        "/v1/credit-scores/{externalId}",
        Lms,
        Bearer,
        Write,
        &[with("/v1/credit-scores/<customer>", r#"{"grade":"B","score":500,"limit":1000}"#)],
    ),
];

/// Once under `/external/v1`, and once more under that twice.
const CRM: &[Row] = &[
    (
        "POST",
        "/external/v1/customers",
        Crm,
        ApiKey,
        Write,
        &[with(
            "/external/v1/customers",
            r#"{"name":"Ada","email":"ada@example.com","source":"web","company_id":"<company>"}"#,
        )],
    ),
    (
        "POST",
        "/external/v1/customers/bulk",
        Crm,
        ApiKey,
        Write,
        &[with(
            "/external/v1/customers/bulk",
            r#"{"customers":[{"name":"Ada","email":"ada@example.com","source":"web","company_id":"<company>"}]}"#,
        )],
    ),
    (
        "GET",
        "/external/v1/customers",
        Crm,
        ApiKey,
        Read,
        &[
            at("/external/v1/customers?company_id=<company>"),
            at("/external/v1/customers?company_id=<company-number>"),
            at("/external/v1/customers?search=<customer>"),
        ],
    ),
    (
        "GET",
        "/external/v1/customers/{customer_id}",
        Crm,
        ApiKey,
        Read,
        &[at("/external/v1/customers/<customer>"), at("/external/v1/customers/<customer-number>")],
    ),
    (
        "PATCH",
        "/external/v1/customers/{customer_id}",
        Crm,
        ApiKey,
        Write,
        &[
            with("/external/v1/customers/<customer>", r#"{"city":"Accra"}"#),
            with("/external/v1/customers/<customer-number>", r#"{"city":"Accra"}"#),
            with("/external/v1/customers/<customer>", r#"{"company_id":"<company>"}"#),
        ],
    ),
    (
        "DELETE",
        "/external/v1/customers/{customer_id}",
        Crm,
        ApiKey,
        Write,
        &[at("/external/v1/customers/<customer>"), at("/external/v1/customers/<customer-number>")],
    ),
    (
        "POST",
        "/external/v1/customer/company/create",
        Crm,
        ApiKey,
        Write,
        &[with("/external/v1/customer/company/create", r#"{"company_name":"Acme","company_status":"active"}"#)],
    ),
    (
        "POST",
        "/external/v1/customer/company/bulk-create",
        Crm,
        ApiKey,
        Write,
        &[with(
            "/external/v1/customer/company/bulk-create",
            r#"{"companies":[{"company_name":"Acme","company_status":"active"}]}"#,
        )],
    ),
    ("GET", "/external/v1/customer/company", Crm, ApiKey, Read, &[at("/external/v1/customer/company")]),
    (
        "GET",
        "/external/v1/customer/company/{company_id}",
        Crm,
        ApiKey,
        Read,
        &[at("/external/v1/customer/company/<company>"), at("/external/v1/customer/company/<company-number>")],
    ),
];

const ENROLLED: &str = r#"{"customers":[{"sourceCustomerId":"<customer>","organizationId":"50004",
    "postalCode":"78753","country":"US","customerCreationDate":"2017-01-01T08:00:00Z",
    "enrollmentStartDate":"2023-01-01T08:00:00Z","enrollmentOptInStatus":"ACTIVE","alertOptInStatus":["ALL"],
    "targetingIndicator":"TARGET","accounts":[{"sourceAccountId":"<account>","sourceCustomerIds":["<customer>"],
    "primarySourceCustomerId":"<customer>","status":"OPEN","type":"DDA","sourcePortfolioId":"rewards",
    "accountOpenDate":"2018-05-12T20:30:00Z"}]}]}"#;

const ACCOUNTS: &str = r#"{"accounts":[{"sourceAccountId":"<account>","sourceCustomerIds":["<customer>"],
    "primarySourceCustomerId":"<customer>","status":"OPEN","type":"DDA","sourcePortfolioId":"rewards",
    "accountOpenDate":"2018-05-12T20:30:00Z"}]}"#;

const CARDS: &str = r#"{"cards":[{"sourceAccountId":"<account>","sourceCustomerId":"<customer>","last4":"7777",
    "iin":"123456","cardType":"DEBIT","status":"OPEN","networkIdentifier":3,"openDate":"2023-01-01T08:00:00Z"}]}"#;

const PUBLISHER: &[Row] = &[
    (
        "POST",
        "/v2/session/startSession",
        Publisher,
        ApiKey,
        Read,
        &[with("/v2/session/startSession", r#"{"scopes":["api:customer"],"sourceCustomerId":"<customer>"}"#)],
    ),
    ("POST", "/v2/data/customers", Publisher, Institution, Write, &[with("/v2/data/customers", ENROLLED)]),
    ("PUT", "/v2/data/customers", Publisher, Institution, Write, &[with("/v2/data/customers", ENROLLED)]),
    ("PUT", "/v2/data/accounts", Publisher, Institution, Write, &[with("/v2/data/accounts", ACCOUNTS)]),
    (
        "PUT",
        "/v2/data/customers/{sourceCustomerId}/accounts",
        Publisher,
        Institution,
        Write,
        &[with("/v2/data/customers/<customer>/accounts", ACCOUNTS)],
    ),
    (
        "PUT",
        "/v2/data/customers/{sourceCustomerId}/accounts/{sourceAccountId}/cards",
        Publisher,
        Institution,
        Write,
        &[with("/v2/data/customers/<customer>/accounts/<account>/cards", CARDS)],
    ),
    (
        "GET",
        "/v2/customerProfile/getCustomerProfile",
        Publisher,
        Customer,
        Read,
        &[at("/v2/customerProfile/getCustomerProfile")],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_of_its_path_and_names_nothing_unknown() {
        for operation in operations() {
            assert!(!operation.samples.is_empty(), "{} {}", operation.method, operation.path);
            for sample in operation.samples {
                let target = operation.target(sample);
                let path = target.split('?').next().unwrap();
                assert!(is_of(path, &operation.path), "{target} is not of {}", operation.path);
                let all = format!("{target} {}", sample.body);
                let known = PLACEHOLDERS.iter().chain(&["<new>"]).fold(all, |all, id| all.replace(id, ""));
                assert!(!known.contains('<'), "{known}");
            }
        }
    }
}
