//! Reading request bodies: media type, size and time.
//!
//! Owns the checks that come after the credential, so none of them runs in a middleware: extractors call them. It must not know
//! what a body means.

use axum::body::Body;
use axum::extract::Request;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt;
use hyper::body::Body as _;

use super::context::BodyPolicy;
use super::fault::{Fault, Place};

/// What the edge decided for this request: [`BodyPolicy`] from its extensions, or the default.
#[must_use]
pub fn policy(parts: &Parts) -> BodyPolicy {
    parts.extensions.get::<BodyPolicy>().copied().unwrap_or_default()
}

/// Reads the whole body of at most `limit` bytes, within the request's body deadline.
///
/// # Errors
/// [`Fault::PayloadTooLarge`] as soon as the announced or the received size passes the limit, [`Fault::BodyTimeout`] past the
/// deadline, [`Fault::BadRequest`] where the body breaks off.
pub async fn read_body(request: Request, limit: usize) -> Result<Bytes, Fault> {
    let (parts, body) = request.into_parts();
    let policy = BodyPolicy { limit, ..policy(&parts) };
    collect(body, policy).await
}

/// Reads the whole body under the request's own [`BodyPolicy`] and gives back the rest of the request with it.
///
/// # Errors
/// As [`read_body`]; the parts come back in either case, so that [`answer`](super::fault::answer) can be used.
pub async fn read_request(request: Request) -> (Parts, Result<Bytes, Fault>) {
    let (parts, body) = request.into_parts();
    let read = collect(body, policy(&parts)).await;
    (parts, read)
}

/// Reads a body under a policy.
///
/// # Errors
/// As [`read_body`].
pub async fn collect(body: Body, policy: BodyPolicy) -> Result<Bytes, Fault> {
    let announced = body.size_hint().lower();
    if announced > u64::try_from(policy.limit).unwrap_or(u64::MAX) {
        return Err(Fault::PayloadTooLarge);
    }
    tokio::time::timeout(policy.deadline, gather(body, policy.limit)).await.unwrap_or(Err(Fault::BodyTimeout))
}

async fn gather(mut body: Body, limit: usize) -> Result<Bytes, Fault> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Fault::BadRequest {
            place: Place::Body,
            name: "".into(),
            message: "the body could not be read".into(),
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if first.len() + rest.len() + data.len() > limit {
            return Err(Fault::PayloadTooLarge);
        }
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&data);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

/// Refuses a body that is not plain JSON: `application/json` with no charset but UTF-8, sent once, not compressed.
///
/// # Errors
/// [`Fault::UnsupportedMediaType`].
pub fn require_json(headers: &HeaderMap) -> Result<(), Fault> {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let plain = match (types.next(), types.next()) {
        (Some(one), None) => one.to_str().is_ok_and(is_json),
        _ => false,
    };
    let identity = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if plain && headers.get_all(CONTENT_ENCODING).iter().all(identity) {
        Ok(())
    } else {
        Err(Fault::UnsupportedMediaType)
    }
}

fn is_json(media_type: &str) -> bool {
    let mut pieces = media_type.split(';').map(str::trim);
    let essence = pieces.next().unwrap_or_default();
    essence.eq_ignore_ascii_case("application/json")
        && pieces.all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
                value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::time::Duration;

    fn chunks(sizes: &[usize]) -> Body {
        let sizes = sizes.to_vec();
        Body::from_stream(futures::stream::iter(
            sizes.into_iter().map(|n| Ok::<_, Infallible>(Bytes::from(vec![b'x'; n]))),
        ))
    }

    fn limited(limit: usize) -> BodyPolicy {
        BodyPolicy { limit, deadline: Duration::from_secs(5) }
    }

    #[tokio::test]
    async fn a_body_at_the_limit_is_read_and_one_past_it_refused() {
        assert_eq!(collect(Body::from(vec![0; 10]), limited(10)).await.unwrap().len(), 10);
        assert_eq!(collect(Body::from(vec![0; 11]), limited(10)).await, Err(Fault::PayloadTooLarge));
        assert_eq!(collect(chunks(&[4, 4, 2]), limited(10)).await.unwrap().len(), 10);
        assert_eq!(collect(chunks(&[4, 4, 3]), limited(10)).await, Err(Fault::PayloadTooLarge));
        assert_eq!(collect(Body::empty(), limited(0)).await.unwrap().len(), 0);
    }

    #[tokio::test]
    async fn a_body_that_does_not_arrive_is_given_up() {
        let never = Body::from_stream(futures::stream::pending::<Result<Bytes, Infallible>>());
        let policy = BodyPolicy { deadline: Duration::from_millis(5), ..limited(10) };
        assert_eq!(collect(never, policy).await, Err(Fault::BodyTimeout));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_a_bad_request() {
        let broken =
            Body::from_stream(futures::stream::iter([Ok(Bytes::from("a")), Err(std::io::Error::other("gone"))]));
        assert!(matches!(collect(broken, limited(10)).await, Err(Fault::BadRequest { place: Place::Body, .. })));
    }

    #[test]
    fn only_plain_json_in_utf8_is_taken() {
        let with = |name: http::HeaderName, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(name, HeaderValue::from_static(value));
            require_json(&headers)
        };
        for good in ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=\"utf-8\""] {
            assert_eq!(with(CONTENT_TYPE, good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "text/json",
            "application/jsonx",
            "application/xml",
            "application/json; charset=latin1",
            "application/json, text/plain",
        ] {
            assert_eq!(with(CONTENT_TYPE, bad), Err(Fault::UnsupportedMediaType), "{bad}");
        }
        assert_eq!(with(CONTENT_ENCODING, "identity"), Ok(()));
        assert_eq!(with(CONTENT_ENCODING, "gzip"), Err(Fault::UnsupportedMediaType));
        assert_eq!(require_json(&HeaderMap::new()), Err(Fault::UnsupportedMediaType));
    }
}
