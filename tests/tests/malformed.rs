//! What no client should send, to every path of every dialect: the answer is the dialect's refusal, never a fault of ours,
//! and nothing is written.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;

use custodia_tests::{Answer, Server, both};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

/// The greatest body that any path takes, and more.
const TWO_MEBIBYTES: usize = 2 << 20;
/// The most that the batch paths take is 4 MiB; beyond it no path reads.
const FIVE_MEBIBYTES: usize = 5 << 20;

/// A wire dialect by the prefix of its paths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Dialect {
    Lms,
    Crm,
    Publisher,
}

/// One documented operation, its path filled with values that nobody has.
#[derive(Debug)]
struct Operation {
    dialect: Dialect,
    method: Method,
    path: String,
    takes_body: bool,
}

/// What a client of every dialect sends along.
struct Caller<'a> {
    server: &'a Server,
    session: Option<String>,
    /// The session that the paths of one customer's own profile want.
    own_session: Option<String>,
}

impl Operation {
    /// Every operation that the service documents under the prefix of a dialect.
    async fn all(server: &Server) -> Vec<Self> {
        let document = Answer::to(server.request(Method::GET, "/openapi.json")).await.unwrap().expect(200).json;
        let mut all = Vec::new();
        for (template, item) in document["paths"].as_object().unwrap() {
            let Some(dialect) = Dialect::of(template) else { continue };
            for (method, operation) in item.as_object().unwrap() {
                let Ok(method) = Method::from_bytes(method.to_ascii_uppercase().as_bytes()) else { continue };
                if !is_method(&method) {
                    continue;
                }
                all.push(Self {
                    dialect,
                    method,
                    path: filled(template),
                    takes_body: operation.get("requestBody").is_some(),
                });
            }
        }
        all.sort_by(|left, right| left.path.cmp(&right.path));
        all
    }

    /// Those that read a JSON body.
    async fn with_body(server: &Server) -> Vec<Self> {
        Self::all(server).await.into_iter().filter(|operation| operation.takes_body).collect()
    }

    /// Whether it shows a customer its own profile.
    fn is_own(&self) -> bool {
        self.path.starts_with("/v2/customerProfile/")
    }

    /// The status that a refusal of the request's syntax has.
    fn invalid(&self) -> u16 {
        if self.dialect == Dialect::Crm { 422 } else { 400 }
    }
}

impl Dialect {
    fn of(path: &str) -> Option<Self> {
        [("/v1/", Self::Lms), ("/external/", Self::Crm), ("/v2/", Self::Publisher)]
            .into_iter()
            .find(|(prefix, _)| path.starts_with(prefix))
            .map(|(_, dialect)| dialect)
    }

    /// Whether a body is an error of this dialect.
    fn has_shape(self, body: &Value) -> bool {
        let members: BTreeSet<&str> = body.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let expected: &[&str] = match self {
            Self::Lms => &["code", "message"],
            Self::Crm => &["detail"],
            Self::Publisher => &["requestId", "status", "title", "type", "validationErrors"],
        };
        members.into_iter().eq(expected.iter().copied())
    }
}

impl<'a> Caller<'a> {
    /// Its customer `member` is one more that the organization has, where a profile is asked for.
    async fn of(server: &'a Server, operations: &[Operation]) -> Self {
        let publishes = operations.iter().any(|operation| operation.dialect == Dialect::Publisher);
        let session = if publishes { Some(server.publisher_session().await) } else { None };
        let own_session =
            if operations.iter().any(Operation::is_own) { Some(member_session(server).await) } else { None };
        Self { server, session, own_session }
    }

    fn request(&self, operation: &Operation, path: &str) -> RequestBuilder {
        let request = self.server.request(operation.method.clone(), path);
        let session = if operation.is_own() { &self.own_session } else { &self.session };
        match operation.path.as_str() {
            "/v1/auth/token" => {
                let account = self.server.credentials();
                return request.basic_auth(&account.email, Some(&account.password));
            }
            "/v2/session/startSession" => return request.header("x-api-key", self.server.api_key()),
            _ => {}
        }
        match (operation.dialect, session) {
            (Dialect::Lms, _) => request.bearer_auth(self.server.token()),
            (Dialect::Crm, _) => request.header("x-api-key", self.server.api_key()),
            (Dialect::Publisher, session) => {
                request.header("X-CDLX-Session-Token", session.as_deref().unwrap_or_default())
            }
        }
    }

    /// Sends a body to the operation, and checks that it is refused as the dialect does.
    async fn is_refused(&self, operation: &Operation, media_type: &str, body: Vec<u8>, status: u16, what: &str) {
        let request = self.request(operation, &operation.path).header("Content-Type", media_type).body(body);
        let answer = Answer::to(request).await.expect("a running server answers");
        refused(operation, &answer, &[status], what);
    }
}

async fn member_session(server: &Server) -> String {
    let enrolled = json!({"customers": [{
        "sourceCustomerId": "member", "organizationId": "north", "postalCode": "10115", "country": "DE",
        "customerCreationDate": "2026-01-05T08:00:00Z", "enrollmentStartDate": "2026-01-05T08:00:00Z",
        "enrollmentOptInStatus": "ACTIVE", "alertOptInStatus": ["ALL"], "targetingIndicator": "TARGET",
        "accounts": [{"sourceAccountId": "account", "sourceCustomerIds": ["member"], "primarySourceCustomerId": "member",
            "status": "OPEN", "type": "SAV", "sourcePortfolioId": "rewards", "accountOpenDate": "2026-01-05T08:00:00Z"}],
    }]});
    let request = server.request(Method::POST, "/v2/data/customers");
    let request = request.header("X-CDLX-Session-Token", server.publisher_session().await).json(&enrolled);
    let _ = Answer::to(request).await.unwrap().expect(200);
    let wanted = json!({"scopes": ["api:customer"], "sourceCustomerId": "member"});
    let request = server.request(Method::POST, "/v2/session/startSession").header("x-api-key", server.api_key());
    let started = Answer::to(request.json(&wanted)).await.unwrap().expect(200);
    started.json["sessionToken"].as_str().expect("a session has a token").to_owned()
}

#[track_caller]
fn refused(operation: &Operation, answer: &Answer, statuses: &[u16], what: &str) {
    let Operation { dialect, method, path, .. } = operation;
    assert!(statuses.contains(&answer.status), "{what} to {method} {path}: {} {}", answer.status, answer.text);
    assert!(dialect.has_shape(&answer.json), "{what} to {method} {path}: {}", answer.text);
    assert!(answer.header("x-request-id").is_some(), "{what} to {method} {path}");
    if *dialect == Dialect::Lms && [400, 413, 415].contains(&answer.status) {
        let _ = answer.problems();
    }
}

fn is_method(method: &Method) -> bool {
    [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(method)
}

/// A path whose parameters nobody has.
fn filled(template: &str) -> String {
    let mut segments = Vec::new();
    for segment in template.split('/') {
        let is_parameter = segment.starts_with('{');
        let is_number = is_parameter && segment.contains("id") && !segment.contains("external");
        segments.push(if is_number {
            "987654"
        } else if is_parameter {
            "nobody"
        } else {
            segment
        });
    }
    segments.join("/")
}

fn nested(depth: usize) -> Vec<u8> {
    let body = format!("{{\"externalId\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    body.into_bytes()
}

/// Bodies that are no JSON document by the strict rules.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        ("an empty body", text("")),
        ("white space", text(" \r\n")),
        ("a cut object", text(r#"{"externalId":"ext-1""#)),
        ("single quotes", text("{'externalId':'ext-1'}")),
        ("a trailing comma", text(r#"{"externalId":"ext-1",}"#)),
        ("a comment", text(r#"{"externalId":"ext-1"/**/}"#)),
        ("NaN", text(r#"{"externalId":NaN}"#)),
        ("a byte order mark", text("\u{feff}{\"externalId\":\"ext-1\"}")),
        ("a duplicate key", text(r#"{"externalId":"ext-1","externalId":"ext-2"}"#)),
        ("a duplicate key in disguise", text(r#"{"externalId":"ext-1","external\u0049d":"ext-1"}"#)),
        ("a duplicate key within", text(r#"{"externalId":{"a":1,"a":1}}"#)),
        ("a second document", text(r#"{"externalId":"ext-1"}{"externalId":"ext-2"}"#)),
        ("trailing data", text(r#"{"externalId":"ext-1"} x"#)),
        ("invalid UTF-8", b"{\"externalId\":\"ext-\xff\"}".to_vec()),
        ("an overlong encoding", b"{\"externalId\":\"\xc0\xaf\"}".to_vec()),
        ("half a surrogate pair", text(r#"{"externalId":"\ud800"}"#)),
        ("NUL in a string", text(r#"{"externalId":"ext\u0000-1"}"#)),
        ("NUL in a key", text(r#"{"externalId\u0000":"ext-1"}"#)),
        ("a bare NUL", b"{\"externalId\":\"ext-1\"}\0".to_vec()),
        ("a number out of range", text(r#"{"externalId":1e999}"#)),
        ("nesting of 40", nested(40)),
        ("nesting of 100000", nested(100_000)),
        ("nothing but brackets", "[".repeat(50_000).into_bytes()),
    ]
}

both! {
    async fn a_body_that_is_no_json_document_is_refused_and_writes_nothing(server: Server) {
        let _ = server.post("/v1/customers", json!({"externalId": "before"})).await.expect(200);
        let operations = Operation::with_body(&server).await;
        let listed = |path: &str| operations.iter().any(|operation| operation.path == path);
        assert!(operations.len() >= 5 && listed("/v2/session/startSession"), "{operations:?}");
        let caller = Caller::of(&server, &operations).await;
        for operation in &operations {
            for (what, body) in malformed() {
                caller.is_refused(operation, "application/json", body, operation.invalid(), what).await;
            }
        }
        assert_eq!(server.total().await, 1);
    }

    async fn a_document_is_read_down_to_a_nesting_of_32_and_no_deeper(server: Server) {
        let operations = Operation::with_body(&server).await;
        let caller = Caller::of(&server, &operations).await;
        let dialects: BTreeSet<_> = operations.iter().map(|operation| format!("{:?}", operation.dialect)).collect();
        assert_eq!(dialects.len(), 3, "{dialects:?}");
        for operation in &operations {
            for (depth, is_read) in [(32, true), (33, false)] {
                let request = caller.request(operation, &operation.path).header("Content-Type", "application/json");
                let answer = Answer::to(request.body(nested(depth))).await.expect("a running server answers");
                // What is read is refused for what it holds, and the refusal names the member.
                refused(operation, &answer, &[operation.invalid()], "a nested body");
                assert_eq!(answer.text.contains("deeper than 32"), !is_read, "{operation:?} {depth}: {}", answer.text);
                assert_eq!(answer.text.contains("externalId"), is_read, "{operation:?} {depth}: {}", answer.text);
            }
        }
        assert_eq!(server.total().await, 0);
    }

    async fn a_body_of_another_shape_or_with_unknown_fields_is_refused_and_writes_nothing(server: Server) {
        let operations = Operation::with_body(&server).await;
        let caller = Caller::of(&server, &operations).await;
        for operation in &operations {
            for body in ["null", "true", "7", "\"text\"", r#"{"favouriteColour":"red"}"#, r#"{"favouriteColour":null}"#] {
                caller.is_refused(operation, "application/json", body.into(), operation.invalid(), body).await;
            }
            let many: Vec<String> = (0..5_000).map(|number| format!("\"unknown{number}\":{number}")).collect();
            let many = format!("{{{}}}", many.join(",")).into_bytes();
            caller.is_refused(operation, "application/json", many, operation.invalid(), "5000 unknown fields").await;
        }
        assert_eq!(server.total().await, 0);
    }

    async fn a_mistyped_field_beside_good_ones_creates_nothing_and_is_named(server: Server) {
        let body = json!({"externalId": "ext-1", "officeId": 1, "fullname": "Ada", "active": false, "mobileno": "1"});
        let told = server.post("/v1/customers", body).await.expect(400).problems();
        assert_eq!(told, ["mobileno: unknown field"]);
        assert_eq!(server.total().await, 0);
    }

    async fn a_body_too_large_is_413_and_writes_nothing(server: Server) {
        let operations = Operation::with_body(&server).await;
        let caller = Caller::of(&server, &operations).await;
        for operation in &operations {
            // The batch paths take 4 MiB: there the same body is a refusal of its syntax or its fields.
            let padded = format!("{{\"externalId\":\"{}\"}}", "x".repeat(TWO_MEBIBYTES)).into_bytes();
            let request = caller.request(operation, &operation.path).header("Content-Type", "application/json");
            let answer = Answer::to(request.body(padded)).await.expect("a running server answers");
            let statuses: &[u16] = match operation.dialect {
                Dialect::Lms => &[413],
                Dialect::Crm | Dialect::Publisher => &[413, operation.invalid()],
            };
            refused(operation, &answer, statuses, "2 MiB");
            let larger = vec![b' '; FIVE_MEBIBYTES];
            caller.is_refused(operation, "application/json", larger, 413, "5 MiB").await;
        }
        assert_eq!(server.total().await, 0);
    }

    async fn a_body_of_two_mebibytes_in_chunks_is_413_too(server: Server) {
        let mut connection = server.connect().await;
        let head = format!("POST /v1/customers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: \
            application/json\r\nTransfer-Encoding: chunked\r\n\r\n", server.token());
        connection.send(head.as_bytes()).await.unwrap();
        let chunk = [format!("{:x}\r\n", 64 << 10).into_bytes(), vec![b' '; 64 << 10], b"\r\n".to_vec()].concat();
        for _ in 0..TWO_MEBIBYTES / (64 << 10) {
            connection.send(&chunk).await.unwrap();
        }
        let refused = connection.answer().await.unwrap().unwrap().expect(413);
        assert_eq!(refused.problems(), ["body: the request body is too large"]);
        assert_eq!(server.total().await, 0);
    }

    async fn another_media_type_is_415_and_writes_nothing(server: Server) {
        let operations = Operation::with_body(&server).await;
        let caller = Caller::of(&server, &operations).await;
        let body = br#"{"externalId":"ext-1"}"#;
        for operation in &operations {
            for media_type in ["text/plain", "application/xml", "multipart/form-data; boundary=x", "application/jsonx",
                "application/json; charset=utf-16"]
            {
                caller.is_refused(operation, media_type, body.to_vec(), 415, media_type).await;
            }
            let bare = caller.request(operation, &operation.path).body(body.to_vec());
            refused(operation, &Answer::to(bare).await.unwrap(), &[415], "no media type");
            let packed = caller.request(operation, &operation.path).header("Content-Type", "application/json");
            let packed = packed.header("Content-Encoding", "gzip").body(body.to_vec());
            refused(operation, &Answer::to(packed).await.unwrap(), &[415], "a compressed body");
        }
        assert_eq!(server.total().await, 0);
    }

    async fn a_method_that_a_path_does_not_know_is_405_with_those_it_knows(server: Server) {
        let operations = Operation::all(&server).await;
        let caller = Caller::of(&server, &operations).await;
        let before = server.total().await;
        for operation in &operations {
            for method in ["BREW", "TRACE", "PROPFIND", "get"] {
                let method = Method::from_bytes(method.as_bytes()).unwrap();
                let asked = Operation { method: method.clone(), path: operation.path.clone(), ..*operation };
                let answer = Answer::to(caller.request(&asked, &asked.path)).await.unwrap();
                refused(&asked, &answer, &[405], "an unknown method");
                let allow: Vec<&str> = answer.header("allow").expect("Allow").split(',').map(str::trim).collect();
                assert!(allow.contains(&operation.method.as_str()), "{method} {}: {allow:?}", operation.path);
            }
        }
        assert_eq!(server.total().await, before);
    }

    async fn an_unknown_or_undecodable_parameter_is_refused_and_writes_nothing(server: Server) {
        let operations = Operation::all(&server).await;
        let caller = Caller::of(&server, &operations).await;
        let before = server.total().await;
        for operation in &operations {
            for query in ["favouriteColour=red", "favouriteColour", "x=%FF", "x=%00", "%zz=1", "x=%"] {
                let path = format!("{}?{query}", operation.path);
                let mut request = caller.request(operation, &path);
                if operation.takes_body {
                    request = request.header("Content-Type", "application/json").body(r#"{"externalId":"ext-1"}"#);
                }
                let answer = Answer::to(request).await.unwrap();
                refused(operation, &answer, &[operation.invalid()], query);
            }
        }
        assert_eq!(server.total().await, before);
    }

    async fn bytes_that_are_no_request_are_answered_or_cut_and_the_service_goes_on(server: Server) {
        for bytes in [
            b"\x00\x01\x02\x03\r\n\r\n".as_slice(),
            b"GET /v1/customers\r\n\r\n",
            b"GET /v1/customers HTTP/9.9\r\nHost: x\r\n\r\n",
            b"GET /v1/customers\xff HTTP/1.1\r\nHost: x\r\n\r\n",
            b"POST /v1/customers HTTP/1.1\r\nHost: x\r\nContent-Length: nine\r\n\r\n",
            b"POST /v1/customers HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
            b"POST /v1/customers HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        ] {
            let mut connection = server.connect().await;
            let _ = connection.send(bytes).await;
            // The TLS greeting alone ends in no line: there the connection is hung up, not waited for.
            if bytes.windows(2).any(|pair| pair == b"\r\n")
                && let Some(answer) = connection.answer().await.expect("HTTP/1.1 or an end")
            {
                assert!((400..500).contains(&answer.status) || answer.status == 505, "{}: {}", answer.status, answer.text);
            }
        }
        assert_eq!(server.total().await, 0);
    }
}
