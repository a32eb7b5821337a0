//! Tokens for partner accounts, and the public keys that they are signed with.
//!
//! Owns HTTP Basic. It must not know how passwords are kept or tokens are signed.

use std::net::{IpAddr, Ipv4Addr};

use axum::extract::{Request, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use zeroize::Zeroizing;

use super::call::{add_query_problems, json_answer};
use super::error::{Problems, Refused};
use super::{Lms, schema};
use crate::http::context::{Peer, RequestId};
use crate::http::credential::of_scheme;
use crate::http::idempotency::respond;
use crate::http::query::Query;

#[derive(Serialize)]
struct TokenBody {
    token: String,
}

/// Ask for a bearer token
///
/// With the e-mail address and the password of a partner account, by HTTP Basic.
#[utoipa::path(get, path = "/v1/auth/token", operation_id = "getToken", tag = "Authorization", security(("basic" = [])),
    responses((status = 200, description = "A bearer token", body = schema::Token)))]
pub(super) async fn token(State(lms): State<Lms>, request: Request) -> Result<Response, Refused> {
    let (parts, _) = request.into_parts();
    let (email, password) =
        account(of_scheme(&parts.headers, "Basic")).ok_or_else(|| Refused::unauthenticated("Basic"))?;
    let peer = parts.extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
    let token = lms.authenticator.password(&email, &password, peer).await;
    let token = token.map_err(|error| Refused::credential(&error, "Basic", &RequestId::of_request(&parts)))?;
    let mut problems = Problems::default();
    add_query_problems(&Query::parse(parts.uri.query()), &mut problems);
    if !problems.is_empty() {
        return Err(Refused::invalid(&problems));
    }
    let body = serde_json::to_vec(&TokenBody { token }).expect("a token is text");
    Ok(respond(json_answer(body)))
}

/// The public keys of our tokens
///
/// A JSON Web Key Set (RFC 7517), readable without a credential.
#[utoipa::path(get, path = "/.well-known/jwks.json", operation_id = "getKeys", tag = "Authorization", security(()),
    responses((status = 200, description = "The keys", body = schema::KeySet)))]
pub(super) async fn jwks(State(lms): State<Lms>) -> Response {
    respond(json_answer(lms.authenticator.jwks().into_bytes()))
}

/// The e-mail address and password of a Basic credential (RFC 7617, in UTF-8).
fn account(credential: Option<&str>) -> Option<(Zeroizing<String>, Zeroizing<String>)> {
    let bytes = Zeroizing::new(STANDARD.decode(credential?).ok()?);
    let (email, password) = std::str::from_utf8(&bytes).ok()?.split_once(':')?;
    Some((Zeroizing::new(email.to_owned()), Zeroizing::new(password.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_may_hold_colons_and_other_scripts() {
        let read = |text: &str| account(Some(&STANDARD.encode(text)));
        let (email, password) = read("ada@example.com:pä:ss").unwrap();
        assert_eq!((email.as_str(), password.as_str()), ("ada@example.com", "pä:ss"));
        assert!(read("no colon").is_none());
        assert!(account(Some("***")).is_none());
        assert!(account(None).is_none());
    }
}
