//! Tokens that stand for a session: signed with our own keys, for one hour, and for nothing else. Must not know HTTP.
//!
//! They have an audience, which a bearer token of ours never has, and lack the role, which it needs: neither can be taken
//! for the other.

use custodia_domain::ports::Scope;
use custodia_domain::{ExternalId, OrganizationId, Timestamp};
use serde::Serialize;

use super::signing::SigningKeys;
use super::verify::{LONGEST, Parts, instant, is_subject, organization_of, scope_of, seconds};

/// Who a session's token is for.
const AUDIENCE: &str = "custodia:session";
/// Seconds that a session lives.
const LIFE: i64 = 3_600;
/// The word for a session that may send the institution's data.
const INSTITUTION: &str = "api:institution";
/// The word for a session that may read one customer's profile.
const CUSTOMER: &str = "api:customer";

/// What a session's token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionGrant {
    /// The tenant.
    pub organization: OrganizationId,
    /// The credential that started it, such as `key:3`; never a secret.
    pub subject: String,
    /// What that credential may do.
    pub access: Scope,
    /// Whether it may send the institution's data.
    pub institution: bool,
    /// The customer whose profile it may read.
    pub customer: Option<ExternalId>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionClaims<'a> {
    iss: &'a str,
    aud: &'static str,
    sub: &'a str,
    iat: i64,
    exp: i64,
    org: i64,
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    access: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_customer_id: Option<&'a str>,
}

impl SigningKeys {
    /// A token for a session that begins now.
    #[must_use]
    pub fn issue_session(&self, grant: &SessionGrant, now: Timestamp) -> String {
        let words = [(grant.institution, INSTITUTION), (grant.customer.is_some(), CUSTOMER)];
        let words: Vec<_> = words.into_iter().filter(|(there, _)| *there).map(|(_, word)| word).collect();
        let iat = seconds(now);
        let claims = SessionClaims {
            iss: self.issuer(),
            aud: AUDIENCE,
            sub: &grant.subject,
            iat,
            exp: iat.saturating_add(LIFE),
            org: grant.organization.get(),
            scope: words.join(" "),
            access: (grant.access == Scope::Read).then_some("read"),
            source_customer_id: grant.customer.as_ref().map(ExternalId::as_str),
        };
        self.sign(&claims)
    }

    /// What a genuine session's token says while its hour lasts; `None` for everything else.
    #[must_use]
    pub fn session(&self, token: &str, now: Timestamp) -> Option<SessionGrant> {
        if token.len() > LONGEST {
            return None;
        }
        let parts = Parts::split(token)?;
        if !parts.is_signed_by(self.find(&parts.key_id)?) {
            return None;
        }
        let claims = parts.claims()?;
        let text = |name: &str| claims.get(name)?.as_str();
        let now = seconds(now);
        let in_force = instant(claims.get("iat")?)? <= now && now < instant(claims.get("exp")?)?;
        if !(in_force && text("iss")? == self.issuer() && text("aud")? == AUDIENCE) {
            return None;
        }
        let words: Vec<_> = text("scope")?.split(' ').collect();
        let customer = words.contains(&CUSTOMER).then(|| text("sourceCustomerId"));
        let customer = match customer {
            Some(id) => Some(ExternalId::parse(id?).ok()?),
            None => None,
        };
        Some(SessionGrant {
            organization: organization_of(claims.get("org")?)?,
            subject: text("sub").filter(|text| is_subject(text))?.to_owned(),
            access: scope_of(claims.get("access"))?,
            institution: words.contains(&INSTITUTION),
            customer,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::{Grant, Verifier, generate_key};
    use std::sync::Arc;
    use std::time::Duration;

    const NOW: i64 = 1_800_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_microseconds(seconds * 1_000_000).unwrap()
    }

    fn keys() -> Arc<SigningKeys> {
        Arc::new(SigningKeys::from_pem(&generate_key(), "custodia", Duration::from_hours(9)).unwrap())
    }

    fn grant(institution: bool, customer: Option<&str>) -> SessionGrant {
        SessionGrant {
            organization: OrganizationId::parse(7).unwrap(),
            subject: "key:3".to_owned(),
            access: Scope::Write,
            institution,
            customer: customer.map(|id| ExternalId::parse(id).unwrap()),
        }
    }

    #[test]
    fn a_session_is_recognised_for_one_hour() {
        let keys = keys();
        let read_only = SessionGrant { access: Scope::Read, ..grant(false, Some("ä/1")) };
        for grant in [grant(true, None), grant(false, Some("ada")), grant(true, Some("ada")), read_only] {
            let token = keys.issue_session(&grant, at(NOW));
            assert_eq!(keys.session(&token, at(NOW)), Some(grant.clone()));
            assert_eq!(keys.session(&token, at(NOW + 3_599)), Some(grant));
            assert_eq!(keys.session(&token, at(NOW + 3_600)), None);
        }
    }

    #[tokio::test]
    async fn neither_kind_of_token_is_taken_for_the_other() {
        let keys = keys();
        let bearer = Grant { organization: OrganizationId::FIRST, subject: "cli".to_owned(), scope: Scope::Write };
        assert_eq!(keys.session(&keys.issue(&bearer, at(NOW)), at(NOW)), None);
        let session = keys.issue_session(&grant(true, None), at(NOW));
        assert!(Verifier::new(Arc::clone(&keys), None).verify(&session, at(NOW)).await.is_err());
    }

    #[test]
    fn a_session_of_another_key_or_with_a_changed_letter_is_none() {
        let keys = keys();
        let token = keys.issue_session(&grant(true, None), at(NOW));
        assert_eq!(self::keys().session(&token, at(NOW)), None);
        for changed in [token.replacen('.', "..", 1), token[1..].to_owned(), format!("{token}A"), String::new()] {
            assert_eq!(keys.session(&changed, at(NOW)), None);
        }
        assert_eq!(keys.session(&"a.b.".repeat(4_000), at(NOW)), None);
    }
}
