//! Tokens that must not be believed, to every operation, over the wire; and the log of all of it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use custodia_tests::endpoints::{Credential, operations};
use custodia_tests::{Answer, Backend, Options, Server, binary};
use jsonwebtoken::{Algorithm, EncodingKey};
use reqwest::Method;
use serde_json::{Value, json};

/// What is signed with: the server's own key, and one of the attacker's.
struct Keys {
    own: EncodingKey,
    id: String,
    public: String,
    foreign: EncodingKey,
}

fn read_key(path: &std::path::Path) -> EncodingKey {
    EncodingKey::from_ed_pem(&std::fs::read(path).unwrap()).unwrap()
}

impl Keys {
    async fn of(server: &Server) -> Self {
        let _ = server.cli(&["keygen", "--file", "another.pem"], "");
        let settings = server.settings().iter();
        let path = settings.rev().find(|(name, _)| name == "CUSTODIA_SIGNING_KEY_FILE").map(|(_, path)| path).unwrap();
        let published =
            Answer::to(server.request(Method::GET, "/.well-known/jwks.json")).await.unwrap().expect(200).json;
        let text = |name: &str| published["keys"][0][name].as_str().unwrap().to_owned();
        Self {
            own: read_key(path.as_ref()),
            id: text("kid"),
            public: text("x"),
            foreign: read_key(&server.folder().join("another.pem")),
        }
    }
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A token with exactly that head and those claims.
fn signed(head: &Value, claims: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    let text = format!("{}.{}", encoded(head), encoded(claims));
    let signature = jsonwebtoken::crypto::sign(text.as_bytes(), key, algorithm).unwrap();
    format!("{text}.{signature}")
}

fn with(value: &Value, name: &str, member: impl Into<Value>) -> Value {
    let mut changed = value.clone();
    changed[name] = member.into();
    changed
}

fn without(value: &Value, name: &str) -> Value {
    let mut changed = value.clone();
    changed.as_object_mut().unwrap().remove(name);
    changed
}

fn claims_of(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[allow(clippy::disallowed_methods, reason = "tokens are judged by the real time")]
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// Claims that a genuine key has signed and that are good for nothing.
fn bad_claims(claims: &Value) -> Vec<(&'static str, Value)> {
    vec![
        ("expired", with(claims, "exp", now() - 1)),
        ("expired now", with(claims, "exp", now())),
        ("without an end", without(claims, "exp")),
        ("with an end in words", with(claims, "exp", "never")),
        ("with an end as text", with(claims, "exp", (now() + 3_600).to_string())),
        ("with no end", with(claims, "exp", Value::Null)),
        ("not yet valid", with(claims, "nbf", now() + 3_600)),
        ("valid from a text on", with(claims, "nbf", "now")),
        ("of another issuer", with(claims, "iss", "https://issuer.invalid")),
        ("of our issuer among others", with(claims, "iss", json!(["custodia"]))),
        ("without an issuer", without(claims, "iss")),
        ("for another audience", with(claims, "aud", "another-service")),
        ("for sessions", with(claims, "aud", "custodia:session")),
        ("without a subject", without(claims, "sub")),
        ("of nobody", with(claims, "sub", "")),
        ("without a role", without(claims, "roles")),
        ("with another role", with(claims, "roles", json!(["USER"]))),
        ("with the role as text", with(claims, "roles", "ADMIN")),
        ("without an organization", without(claims, "org")),
        ("of an organization that is not there", with(claims, "org", 999_999)),
        ("of a negative organization", with(claims, "org", -1)),
        ("of an organization by name", with(claims, "org", "1 or 1=1")),
    ]
}

/// Tokens of good claims under heads and keys that must not count.
fn bad_heads(claims: &Value, keys: &Keys) -> Vec<(String, String)> {
    let head = json!({"alg": "EdDSA", "typ": "JWT", "kid": keys.id});
    let own = |head: &Value| signed(head, claims, &keys.own, Algorithm::EdDSA);
    let foreign = |head: &Value| signed(head, claims, &keys.foreign, Algorithm::EdDSA);
    let mut all = vec![
        ("signed by a stranger".to_owned(), foreign(&head)),
        ("without a key's name".to_owned(), own(&without(&head, "kid"))),
        ("with a key's name as a list".to_owned(), own(&with(&head, "kid", json!([keys.id])))),
    ];
    let stranger = json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"});
    for (name, member) in [
        ("jwk", stranger.clone()),
        ("jku", json!("http://127.0.0.1:1/jwks")),
        ("x5u", json!("http://127.0.0.1:1/x5u")),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["b64"])),
        ("zip", json!("DEF")),
    ] {
        all.push((format!("with {name}"), own(&with(&head, name, member.clone()))));
        all.push((format!("with {name}, signed by a stranger"), foreign(&with(&head, name, member))));
    }
    for kid in
        ["unknown", "", "../../../../dev/null", "' or 1=1 --", "http://127.0.0.1:1/key", "\u{0}", &"k".repeat(5_000)]
    {
        let shown: String = kid.chars().take(12).collect();
        all.push((format!("with the key {shown:?}"), own(&with(&head, "kid", kid))));
    }
    for none in ["none", "None", "NONE", "nOnE", ""] {
        let bare = format!("{}.{}.", encoded(&with(&head, "alg", none)), encoded(claims));
        all.push((format!("with the algorithm {none:?}"), bare));
        all.push((format!("with the algorithm {none:?} and a signature"), own(&with(&head, "alg", none))));
    }
    // The published key as a shared secret, in each form that a careless verifier may have it.
    let raw = URL_SAFE_NO_PAD.decode(&keys.public).unwrap();
    let spki = [b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00".as_slice(), &raw].concat();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(&spki));
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": keys.public}).to_string();
    for secret in [raw, spki, pem.into_bytes(), keys.public.clone().into_bytes(), jwk.into_bytes(), Vec::new()] {
        let head = with(&head, "alg", "HS256");
        let token = signed(&head, claims, &EncodingKey::from_secret(&secret), Algorithm::HS256);
        all.push((format!("with HS256 and {} public bytes", secret.len()), token));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_operation_believes_a_token_that_is_not_in_force_not_for_us_or_not_ours() {
    let options = Options::default().setting("CUSTODIA_LOG_LEVEL", "debug");
    let server = Server::start(Backend::Sqlite, options).await;
    let keys = Keys::of(&server).await;
    let claims = claims_of(server.token());
    let head = json!({"alg": "EdDSA", "typ": "JWT", "kid": keys.id});
    let mut tokens: Vec<(String, String)> = bad_claims(&claims)
        .into_iter()
        .map(|(what, claims)| (what.to_owned(), signed(&head, &claims, &keys.own, Algorithm::EdDSA)))
        .collect();
    tokens.extend(bad_heads(&claims, &keys));
    let good = signed(&head, &claims, &keys.own, Algorithm::EdDSA);
    let list = |token: &str| Answer::to(server.request(Method::GET, "/v1/customers").bearer_auth(token));
    let _ = list(&good).await.unwrap().expect(200);
    let mut refusals = 0;
    let mut tried = Vec::new();
    for (number, operation) in operations().iter().enumerate() {
        let header = match operation.credential {
            Credential::None | Credential::Basic => continue,
            Credential::Bearer | Credential::ApiKey => "authorization",
            Credential::Institution | Credential::Customer => "x-cdlx-session-token",
        };
        let target = operation.target(&operation.samples[0]).replace(['<', '>'], "");
        // Every token to one operation of each credential, and to a quarter of the others.
        let is_first = !tried.contains(&operation.credential);
        tried.push(operation.credential);
        for (_, (what, token)) in tokens.iter().enumerate().filter(|(at, _)| is_first || (at + number) % 4 == 0) {
            let value = if header == "authorization" { format!("Bearer {token}") } else { token.clone() };
            let request = server.request(operation.method.clone(), &target).header(header, value);
            let answer = Answer::to(request).await.unwrap();
            assert_eq!(answer.status, 401, "{what} to {} {target}: {}", operation.method, answer.text);
            assert!(!answer.text.contains(&token[..token.len().min(40)]), "{what} to {target}: {}", answer.text);
            refusals += 1;
        }
    }
    assert!(refusals > 500, "{refusals}");
    let written = server.written();
    for (what, token) in tokens.iter().chain([&("good".to_owned(), good)]) {
        for part in token.split('.').filter(|part| part.len() > 40) {
            assert!(!written.contains(part), "the log has a part of the token {what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_ends_when_its_life_is_over_and_a_key_when_it_is_revoked() {
    let server = Server::start(Backend::Sqlite, Options::default()).await;
    let organization = server.credentials().organization.as_str();
    let mut settings = server.settings().to_vec();
    settings.push(("CUSTODIA_TOKEN_LIFE".to_owned(), "2s".to_owned()));
    let token = binary::printed(&settings, server.folder(), &["token", "--organization", organization], "").unwrap();
    let key = server.cli(&["api-key", "create", "--organization", organization, "--name", "short"], "");
    let status = async |credential: &str| {
        let request = server.request(Method::GET, "/v1/customers").bearer_auth(credential);
        Answer::to(request).await.unwrap().status
    };
    assert_eq!(status(&key).await, 200);
    let listed = server.cli(&["api-key", "list", "--organization", organization], "");
    let line = listed.lines().find(|line| line.contains("short")).unwrap_or_else(|| panic!("{listed}"));
    let id = line.split_whitespace().next().unwrap();
    let _ = server.cli(&["api-key", "revoke", "--organization", organization, id], "");
    let began = std::time::Instant::now();
    for credential in [&token, &key] {
        while status(credential).await == 200 {
            assert!(began.elapsed().as_secs() < 30, "it is accepted for ever");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert_eq!(status(credential).await, 401);
    }
}
