//! Limits, each at the limit and one past it, and what becomes of clients that take their time, all of the connections or more
//! than their share. What no database has a part in runs on SQLite alone.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::{Duration, Instant};

use custodia_tests::raw::RawConnection;
use custodia_tests::{Answer, Backend, Options, Server};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

/// How many idle connections the ordinary run opens; `just idle` opens ten thousand.
const IDLE: usize = 500;
/// What an idle connection may take of the server's memory: ten thousand stay below 200 MB.
const IDLE_BYTES: usize = 20_000;
/// What the allocator may hold besides.
const IDLE_SLACK: usize = 8 << 20;

async fn started(settings: &[(&str, &str)]) -> Server {
    let with = |options: Options, &(name, value): &(&str, &str)| options.setting(name, value);
    Server::start(Backend::Sqlite, settings.iter().fold(Options::default(), with)).await
}

async fn answered(request: RequestBuilder) -> Answer {
    Answer::to(request).await.expect("a running server answers")
}

/// A request of each dialect that makes something, with a body of that many bytes.
async fn makers(server: &Server, bytes: usize) -> Vec<(&'static str, RequestBuilder)> {
    let session = server.publisher_session().await;
    let padded = |mut body: String| {
        body.push_str(&" ".repeat(bytes - body.len()));
        body
    };
    let post = |path: &str| server.request(Method::POST, path).header("Content-Type", "application/json");
    let external = format!("sized-{bytes}");
    let enrolled = json!({"customers": [{"sourceCustomerId": format!("{external}-batch"), "organizationId": "north",
        "postalCode": "10115", "country": "DE", "customerCreationDate": "2026-01-05", "enrollmentStartDate": "2026-01-05",
        "enrollmentOptInStatus": "ACTIVE", "alertOptInStatus": ["ALL"], "targetingIndicator": "TARGET", "accounts": []}]});
    let person = r#"{"name":"Ada","email":"ada@example.com","source":"web"}"#;
    vec![
        (
            "/v1/customers",
            post("/v1/customers")
                .bearer_auth(server.token())
                .body(padded(format!("{{\"externalId\":\"{external}\"}}"))),
        ),
        (
            "/external/v1/customers",
            post("/external/v1/customers").header("x-api-key", server.api_key()).body(padded(person.to_owned())),
        ),
        (
            "/external/v1/customers/bulk",
            post("/external/v1/customers/bulk")
                .header("x-api-key", server.api_key())
                .body(padded(format!("{{\"customers\":[{person}]}}"))),
        ),
        (
            "/v2/data/customers",
            post("/v2/data/customers").header("X-CDLX-Session-Token", session).body(padded(enrolled.to_string())),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_of_the_limit_is_read_and_one_byte_more_is_413() {
    let server = started(&[("CUSTODIA_BODY_LIMIT", "2048")]).await;
    let is_batch = |path: &str| path.contains("/v2/") || path.ends_with("bulk");
    for (bytes, batches) in [(2_048, false), (2_049, false), (8_192, true), (8_193, true)] {
        for (path, request) in makers(&server, bytes).await {
            if is_batch(path) != batches {
                continue;
            }
            let answer = answered(request).await;
            let fits = bytes % 2 == 0;
            assert_eq!(answer.status < 300, fits, "{bytes} bytes to {path}: {} {}", answer.status, answer.text);
            assert!(fits || answer.status == 413, "{bytes} bytes to {path}: {} {}", answer.status, answer.text);
        }
    }
}

/// A `GET` whose head has exactly so many bytes, on a connection that is closed afterwards.
fn head_of(target: &str, bytes: usize) -> Vec<u8> {
    let before = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Padding: ");
    let padding = "a".repeat(bytes - before.len() - 4);
    format!("{before}{padding}\r\n\r\n").into_bytes()
}

fn target_of(bytes: usize) -> String {
    let before = "/livez?x=";
    format!("{before}{}", "a".repeat(bytes - before.len()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_and_a_target_of_the_limit_are_read_and_one_byte_more_is_refused() {
    let usual = started(&[]).await;
    let own = started(&[("CUSTODIA_HEADER_LIMIT", "4096"), ("CUSTODIA_URI_LIMIT", "1024")]).await;
    for (server, head, target) in [(&usual, 16 << 10, 8 << 10), (&own, 4 << 10, 1 << 10)] {
        let status = async |bytes: Vec<u8>| server.raw(&bytes).await.expect("an answer").status;
        assert_eq!(status(head_of("/livez", head)).await, 200);
        assert_eq!(status(head_of("/livez", head + 1)).await, 431);
        assert_ne!(status(head_of(&target_of(target), target + 100)).await, 414);
        assert_eq!(status(head_of(&target_of(target + 1), target + 101)).await, 414);
    }
}

/// A batch of so many customers of the intake.
fn people(count: usize) -> Value {
    let person = json!({"name": "Ada", "email": "ada@example.com", "source": "web"});
    json!({"customers": vec![person; count]})
}

fn enrolled(customers: usize, accounts: usize, holders: usize) -> Value {
    let account = |number: usize| {
        let mut all: Vec<String> = (1..holders).map(|other| format!("holder-{other}")).collect();
        all.push("member-0".to_owned());
        json!({"sourceAccountId": format!("account-{number}"), "sourceCustomerIds": all, "status": "OPEN", "type": "DDA",
            "primarySourceCustomerId": "member-0", "sourcePortfolioId": "rewards", "accountOpenDate": "2026-01-05"})
    };
    let customer = |number: usize| {
        let accounts: Vec<Value> = (0..if number == 0 { accounts } else { 0 }).map(account).collect();
        json!({"sourceCustomerId": format!("member-{number}"), "organizationId": "north", "postalCode": "10115",
            "country": "DE", "customerCreationDate": "2026-01-05", "enrollmentStartDate": "2026-01-05",
            "enrollmentOptInStatus": "ACTIVE", "alertOptInStatus": ["ALL"], "targetingIndicator": "TARGET",
            "accounts": accounts})
    };
    json!({"customers": (0..customers).map(customer).collect::<Vec<_>>()})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_lists_pages_and_batches_are_taken_at_their_limit_and_refused_one_past_it() {
    let server = started(&[]).await;
    let session = server.publisher_session().await;
    let lms = |method: Method, path: String| server.request(method, &path).bearer_auth(server.token());
    let page = |path: &str| lms(Method::GET, path.to_owned());
    let crm = |body: Value| {
        server.request(Method::POST, "/external/v1/customers/bulk").header("x-api-key", server.api_key()).json(&body)
    };
    let publisher = |body: Value| {
        server.request(Method::POST, "/v2/data/customers").header("X-CDLX-Session-Token", &session).json(&body)
    };
    let named =
        |length: usize| lms(Method::POST, "/v1/customers".into()).json(&json!({"externalId": "x".repeat(length)}));
    let intake = |size: usize| {
        let path = format!("/external/v1/customers?page_size={size}");
        server.request(Method::GET, &path).header("x-api-key", server.api_key())
    };
    let cases: Vec<(&str, RequestBuilder, u16)> = vec![
        ("an external id of 128", named(128), 200),
        ("an external id of 129", named(129), 400),
        ("a page of 100", page("/v1/customers?rows=100"), 200),
        ("a page of 101", page("/v1/customers?rows=101"), 400),
        ("500 events", page("/v1/events?limit=500"), 200),
        ("501 events", page("/v1/events?limit=501"), 400),
        ("a search of 256", page(&format!("/v1/customers?q={}", "q".repeat(256))), 200),
        ("a search of 257", page(&format!("/v1/customers?q={}", "q".repeat(257))), 400),
        ("an intake page of 100", intake(100), 200),
        ("an intake page of 101", intake(101), 422),
        ("a batch of 100", crm(people(100)), 201),
        ("a batch of 101", crm(people(101)), 422),
        ("a batch of 0", crm(people(0)), 422),
        ("51 customers", publisher(enrolled(51, 0, 1)), 400),
        ("50 customers", publisher(enrolled(50, 0, 1)), 200),
    ];
    for (what, request, status) in cases {
        let answer = answered(request).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text);
    }
    let replaced = |body: Value| {
        server.request(Method::PUT, "/v2/data/customers").header("X-CDLX-Session-Token", &session).json(&body)
    };
    for (what, body, status) in [
        ("201 accounts", enrolled(1, 201, 1), 400),
        ("200 accounts", enrolled(1, 200, 1), 200),
        ("201 holders", enrolled(1, 1, 201), 400),
        ("200 holders", enrolled(1, 1, 200), 200),
    ] {
        let answer = answered(replaced(body)).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text);
    }
}

/// What a gauge of the server stands at.
async fn gauge(server: &Server, name: &str) -> usize {
    let text = answered(server.request(Method::GET, "/metrics")).await.expect(200).text;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).expect("the gauge is there");
    value.parse().unwrap()
}

async fn open_connections(server: &Server) -> usize {
    gauge(server, "http_connections_open").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_heads_slow_bodies_and_readers_that_never_read_are_cut() {
    let deadlines =
        ["CUSTODIA_HEAD_DEADLINE", "CUSTODIA_BODY_DEADLINE", "CUSTODIA_WRITE_DEADLINE", "CUSTODIA_IDLE_DEADLINE"];
    let server = started(&deadlines.map(|name| (name, "1s"))).await;
    let patience = Duration::from_secs(20);
    let mut silent = server.connect().await;
    let mut half_head = server.connect().await;
    half_head.send(b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.unwrap();
    let mut slow_body = server.connect().await;
    let head = format!(
        "POST /v1/customers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: \
        application/json\r\nContent-Length: 100\r\n\r\n{{",
        server.token()
    );
    slow_body.send(head.as_bytes()).await.unwrap();
    let mut idle = server.connect().await;
    idle.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(idle.answer().await.unwrap().unwrap().status, 200);
    // More than the buffers of both sockets hold: the server has to wait for a reader that never comes.
    let mut deaf = server.connect().await;
    let _ = deaf.send(&b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100)).await;
    assert_eq!(slow_body.answer().await.unwrap().unwrap().status, 408);
    for (what, connection) in [("silent", &mut silent), ("half a head", &mut half_head), ("idle", &mut idle)] {
        assert!(connection.is_closed_within(patience).await, "{what}");
    }
    let began = Instant::now();
    // The one that asks is open itself.
    while open_connections(&server).await > 1 {
        assert!(began.elapsed() < patience, "the reader that never reads is still connected");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(deaf);
}

#[allow(clippy::disallowed_methods, reason = "the recipe for ten thousand says so by a variable")]
fn wanted_idle() -> usize {
    std::env::var("CUSTODIA_TEST_IDLE_CONNECTIONS").map_or(IDLE, |count| count.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_take_little_memory() {
    let count = wanted_idle();
    let server = started(&[("CUSTODIA_HEAD_DEADLINE", "600s"), ("CUSTODIA_IDLE_DEADLINE", "600s")]).await;
    let _ = server.get("/v1/customers").await.expect(200);
    let before = server.memory();
    let mut connections: Vec<RawConnection> = Vec::with_capacity(count);
    for number in 0..count {
        let mut connection = server.connect().await;
        // Every other one has had an answer.
        if number % 2 == 0 {
            connection.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            assert_eq!(connection.answer().await.unwrap().unwrap().status, 200);
        }
        connections.push(connection);
    }
    let began = Instant::now();
    while open_connections(&server).await <= count {
        assert!(began.elapsed() < Duration::from_secs(30), "not every connection was taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let grown = server.memory().saturating_sub(before);
    println!("{count} idle connections: {} KiB more, {} KiB in all", grown / 1024, server.memory() / 1024);
    assert!(grown < count * IDLE_BYTES + IDLE_SLACK, "{count} idle connections took {grown} bytes");
    let began = Instant::now();
    let _ = server.get("/v1/customers").await.expect(200);
    assert!(began.elapsed() < Duration::from_secs(2), "the others are served as before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_too_many_is_shed_at_once_and_told_to_come_back() {
    let server = started(&[("CUSTODIA_MAX_IN_FLIGHT", "4"), ("CUSTODIA_BODY_DEADLINE", "60s")]).await;
    let session = server.publisher_session().await;
    let head = format!(
        "POST /v1/customers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: \
        application/json\r\nContent-Length: 100\r\n\r\n",
        server.token()
    );
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut connection = server.connect().await;
        connection.send(head.as_bytes()).await.unwrap();
        held.push(connection);
    }
    let list = || server.request(Method::GET, "/v1/customers").bearer_auth(server.token());
    let began = Instant::now();
    // The one that asks is in flight itself.
    while gauge(&server, "http_requests_in_flight").await < 5 {
        assert!(began.elapsed() < Duration::from_secs(20), "four requests are in flight");
    }
    let _ = answered(list()).await.expect(503);
    for (path, member) in
        [("/v1/customers", "code"), ("/external/v1/customers", "detail"), ("/v2/data/customers", "type")]
    {
        let request = server.request(Method::PUT, path).header("X-CDLX-Session-Token", &session);
        let answer = answered(request.bearer_auth(server.token())).await.expect(503);
        assert!(answer.json[member].is_string() && answer.header("retry-after").is_some(), "{path}: {}", answer.text);
    }
    for probe in ["/livez", "/readyz", "/metrics"] {
        let _ = answered(server.request(Method::GET, probe)).await.expect(200);
    }
    assert!(!server.written().contains("request failed"), "what is shed is no fault: {}", server.written());
    drop(held);
    let began = Instant::now();
    while answered(list()).await.status != 200 {
        assert!(began.elapsed() < Duration::from_secs(20), "nothing is in flight any more");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_quota_of_a_credential_is_told_and_kept_in_every_dialect() {
    let server = started(&[("CUSTODIA_RATE_LIMIT", "3")]).await;
    let document = server.request(Method::GET, "/openapi.json");
    let document = answered(document).await.expect(200).json;
    let organization = server.credentials().organization.as_str();
    for (path, member) in
        [("/v1/customers", "code"), ("/external/v1/customers", "detail"), ("/v2/data/accounts", "type")]
    {
        let key = server.cli(&["api-key", "create", "--organization", organization, "--name", member], "");
        let ask = async || match member {
            "code" => answered(server.request(Method::GET, path).bearer_auth(&key)).await,
            "detail" => answered(server.request(Method::GET, path).header("x-api-key", &key)).await,
            _ => {
                let start = server.request(Method::POST, "/v2/session/startSession").header("x-api-key", &key);
                answered(start.json(&json!({"scopes": ["api:institution"]}))).await
            }
        };
        for left in [2, 1, 0] {
            let answer = ask().await.expect(200);
            assert_eq!(answer.header("ratelimit-policy"), Some("\"default\";q=3;w=60"), "{path}");
            assert!(answer.header("ratelimit").unwrap().starts_with(&format!("\"default\";r={left};t=")), "{path}");
        }
        let refused = ask().await.expect(429);
        let again: u32 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=20).contains(&again), "{again}");
        assert_eq!(refused.header("ratelimit"), Some(format!("\"default\";r=0;t={again}").as_str()));
        assert!(refused.json[member].is_string(), "{}", refused.text);
        let method = if path.starts_with("/v2") { "put" } else { "get" };
        let told = document["paths"][path][method]["responses"]["429"]["$ref"].as_str().expect("it is documented");
        let headers = &document.pointer(&told[1..]).unwrap()["headers"];
        for name in ["Retry-After", "RateLimit", "RateLimit-Policy"] {
            assert!(headers[name].is_object(), "{path}: {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_logins_are_limited_for_the_address_that_a_trusted_proxy_names() {
    let login = |server: &Server, forwarded: &str, password: &str| {
        let email = server.credentials().email.clone();
        server
            .request(Method::GET, "/v1/auth/token")
            .basic_auth(email, Some(password))
            .header("X-Forwarded-For", forwarded)
    };
    let limit = ("CUSTODIA_LOGIN_FAILURES", "2");
    let proxied = started(&[limit, ("CUSTODIA_TRUSTED_PROXIES", "127.0.0.0/8,::1")]).await;
    let direct = started(&[limit]).await;
    for server in [&proxied, &direct] {
        for _ in 0..2 {
            let _ = answered(login(server, "192.0.2.1", "wrong")).await.expect(401);
        }
        let right = server.credentials().password.clone();
        let limited = answered(login(server, "192.0.2.1", &right)).await.expect(429);
        assert!((1..=61).contains(&limited.header("retry-after").unwrap().parse::<u32>().unwrap()));
        assert_eq!(limited.json["code"], "resource_exhausted");
        // A client may write what it likes before what the proxy adds; without a trusted proxy nothing of it counts.
        let forged = answered(login(server, "192.0.2.7, 192.0.2.1", &right)).await;
        assert_eq!(forged.status, 429, "{}", forged.text);
        let other = answered(login(server, "192.0.2.1, 192.0.2.7", &right)).await;
        assert_eq!(other.status, if std::ptr::eq(server, &raw const proxied) { 200 } else { 429 }, "{}", other.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_with_two_meanings_are_refused_and_nothing_is_smuggled() {
    let server = started(&[]).await;
    let hidden = format!("GET /v1/customers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n", server.token());
    let chunked = format!("0\r\n\r\n{hidden}");
    let length = hidden.len();
    let cases = [
        ("CL and TE", format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}", chunked.len())),
        ("TE and CL", format!("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{chunked}")),
        ("two CLs", format!("Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{hidden}")),
        ("two equal CLs", format!("Content-Length: {length}\r\nContent-Length: {length}\r\n\r\n{hidden}")),
        ("a list of CLs", format!("Content-Length: 0, {length}\r\n\r\n{hidden}")),
        ("a signed CL", format!("Content-Length: +0\r\n\r\n{hidden}")),
        ("a CL that is none", format!("Content-Length: 0x0\r\n\r\n{hidden}")),
        ("a CL beyond all bounds", format!("Content-Length: 99999999999999999999999\r\n\r\n{hidden}")),
        ("a folded line", format!("X-Folded: a\r\n Transfer-Encoding: chunked\r\n\r\n{chunked}")),
        ("a bare LF", format!("X-Bare: a\nTransfer-Encoding: chunked\r\n\r\n{chunked}")),
        ("a bare CR", format!("X-Bare: a\rTransfer-Encoding: chunked\r\n\r\n{chunked}")),
        ("a head that ends bare", format!("Content-Length: 0\n\n{hidden}")),
        ("a space before the colon", format!("Transfer-Encoding : chunked\r\n\r\n{chunked}")),
        ("another coding", format!("Transfer-Encoding: xchunked\r\n\r\n{chunked}")),
        ("a coding after chunked", format!("Transfer-Encoding: chunked, identity\r\n\r\n{chunked}")),
        ("two TEs", format!("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n{chunked}")),
        ("a NUL", format!("X-Nul: a\0b\r\nContent-Length: 0\r\n\r\n{hidden}")),
        ("a chunk that ends bare", format!("Transfer-Encoding: chunked\r\n\r\n0\n\n{hidden}")),
        ("a chunk extension with LF", format!("Transfer-Encoding: chunked\r\n\r\n0;a\nb\r\n\r\n{hidden}")),
        (
            "a chunk size beyond all bounds",
            format!("Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n\r\n{hidden}"),
        ),
        ("a signed chunk size", format!("Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n{hidden}")),
    ];
    for (what, rest) in cases {
        for path in ["/v1/customers", "/external/v1/customers", "/v2/data/customers"] {
            let mut connection = server.connect().await;
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
                Content-Type: application/json\r\n",
                server.token()
            );
            let _ = connection.send(format!("{head}{rest}").as_bytes()).await;
            let mut statuses = Vec::new();
            while let Some(answer) = connection.answer().await.unwrap() {
                statuses.push(answer.status);
            }
            assert!(statuses.len() == 1 && (400..500).contains(&statuses[0]), "{what} to {path}: {statuses:?}");
        }
    }
    let old = format!("POST /v1/customers HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}");
    let old = server.raw(old.as_bytes()).await;
    assert!(old.is_none_or(|answer| (400..500).contains(&answer.status)), "HTTP/1.0 knows no chunks");
    assert_eq!(server.total().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_kept_by_nobody_and_taken_for_nothing_else() {
    let server = started(&[]).await;
    for operation in custodia_tests::endpoints::operations() {
        let target = operation.target(&operation.samples[0]);
        for request in [server.request(operation.method.clone(), &target), server.request(Method::OPTIONS, &target)] {
            let answer = answered(request.bearer_auth(server.token())).await;
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{target}");
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{target}");
            assert!(answer.header("server").is_none() && answer.header("x-powered-by").is_none(), "{target}");
        }
    }
    let page = answered(server.request(Method::GET, "/docs")).await.expect(200);
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
}
