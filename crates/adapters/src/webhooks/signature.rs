//! Signatures of messages: `v1,<base64 of HMAC-SHA256 over id.timestamp.body>`, one for each secret that holds.
//!
//! Owns their form and that of a secret as its owner sees it. It must not know what a message says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use custodia_domain::webhook::WebhookSecret;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// A secret as its owner is shown it, once: `whsec_` and the base64 of its bytes.
#[must_use]
pub fn secret_text(secret: &WebhookSecret) -> Zeroizing<String> {
    Zeroizing::new(format!("whsec_{}", STANDARD.encode(secret.bytes())))
}

/// The value of `webhook-signature`: a signature by each secret, separated by spaces. `timestamp` is in seconds.
#[must_use]
pub fn sign<'a>(secrets: impl IntoIterator<Item = &'a WebhookSecret>, id: &str, timestamp: i64, body: &[u8]) -> String {
    let head = format!("{id}.{timestamp}.");
    let signature = |secret: &WebhookSecret| {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.bytes()).expect("HMAC takes a key of any length");
        mac.update(head.as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    };
    secrets.into_iter().map(signature).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use custodia_domain::Timestamp;
    use http::{HeaderMap, HeaderValue};
    use standardwebhooks::Webhook;

    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn a_signature_is_the_one_of_the_specifications_example() {
        // The example of the Standard Webhooks specification.
        let bytes = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let webhook = Webhook::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        let theirs = webhook.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body).unwrap();
        assert_eq!(theirs, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        // Ours are 32 bytes long; that the same bytes sign the same is shown below.
        assert_eq!(bytes.len(), 24);
    }

    #[test]
    fn another_implementation_accepts_each_of_two_signatures_and_no_other_body() {
        let (present, previous) = (WebhookSecret::from_bytes([7; 32]), WebhookSecret::from_bytes([8; 32]));
        let now: Timestamp = custodia_domain::ports::Clock::now(&SystemClock::utc()).at;
        let timestamp = now.microseconds() / 1_000_000;
        let body = r#"{"type":"customer.created","data":{"externalId":"ünï"}}"#.as_bytes();
        let signature = sign([&present, &previous], "evt_1_7", timestamp, body);
        assert_eq!(signature.split(' ').count(), 2);
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", HeaderValue::from_static("evt_1_7"));
        headers.insert("webhook-timestamp", HeaderValue::from(timestamp));
        headers.insert("webhook-signature", HeaderValue::from_str(&signature).unwrap());
        for secret in [&present, &previous] {
            let webhook = Webhook::new(&secret_text(secret)).unwrap();
            webhook.verify(body, &headers).unwrap();
            assert!(webhook.verify(b"{}", &headers).is_err());
        }
        let stranger = Webhook::new(&secret_text(&WebhookSecret::from_bytes([9; 32]))).unwrap();
        assert!(stranger.verify(body, &headers).is_err());
    }

    #[test]
    fn a_secret_is_shown_as_its_specification_says() {
        let text = secret_text(&WebhookSecret::from_bytes([0; 32]));
        assert_eq!(*text, "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    }
}
