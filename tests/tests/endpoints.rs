//! Every operation, one after the other: that it is there, whom it lets in, and that no organization sees another one.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use custodia_tests::endpoints::{Credential, Dialect, Operation, PLACEHOLDERS, Sample, Scope, is_of, operations};
use custodia_tests::{Answer, Credentials, Server, binary, both};
use reqwest::Method;
use serde_json::{Value, json};

/// What each placeholder of a sample stands for.
type Names = BTreeMap<&'static str, String>;
type Header = (&'static str, String);

const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

async fn ask(server: &Server, method: &Method, target: &str, headers: &[Header], body: &str) -> Answer {
    let mut request = server.request(method.clone(), target).header("x-request-id", "one-and-the-same");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    if !body.is_empty() {
        request = request.header("content-type", "application/json").body(body.to_owned());
    }
    Answer::to(request).await.expect("a running server answers")
}

fn filled(template: &str, names: &Names) -> String {
    names.iter().fold(template.to_owned(), |text, (id, name)| text.replace(id, name))
}

async fn call(server: &Server, operation: &Operation, sample: &Sample, names: &Names, headers: &[Header]) -> Answer {
    let target = filled(&operation.target(sample), names);
    ask(server, &operation.method, &target, headers, &filled(sample.body, names)).await
}

/// Names of records that no organization has.
fn absent(number: usize) -> Names {
    Names::from([
        ("<customer>", format!("nobody-{number:03}")),
        ("<customer-number>", "999".to_owned()),
        ("<account>", format!("noacct-{number:03}")),
        ("<loan>", format!("noloan-{number:03}")),
        ("<loan-number>", "999".to_owned()),
        ("<company>", format!("CMP-00000{number:03}")),
        ("<company-number>", "999".to_owned()),
        ("<office>", "9".to_owned()),
        ("<webhook>", format!("we_{number:032x}")),
        ("<new>", format!("newone-{number:03}")),
    ])
}

/// Every kind of proof of one organization.
struct Proofs {
    bearer: Header,
    basic: Header,
    api_key: Header,
    institution: Header,
    /// Of the customer `member`, who has an account.
    customer: Header,
}

impl Proofs {
    async fn of(server: &Server, credentials: &Credentials) -> Self {
        let api_key = ("x-api-key", credentials.api_key.clone());
        let institution = session(server, &api_key, json!({"scopes": ["api:institution"]})).await;
        let enrolled = operations().into_iter().find(|it| it.path == "/v2/data/customers").expect("it is listed");
        let names = named(&[("<customer>", "member"), ("<account>", "member-account")]);
        let headers = std::slice::from_ref(&institution);
        let _ = call(server, &enrolled, &enrolled.samples[0], &names, headers).await.expect(200);
        let wanted = json!({"scopes": ["api:customer"], "sourceCustomerId": "member"});
        let customer = session(server, &api_key, wanted).await;
        let login = format!("{}:{}", credentials.email, credentials.password);
        let basic = base64::engine::general_purpose::STANDARD.encode(login);
        Self {
            bearer: ("authorization", format!("Bearer {}", credentials.token)),
            basic: ("authorization", format!("Basic {basic}")),
            api_key,
            institution,
            customer,
        }
    }

    fn headers(&self, operation: &Operation) -> Vec<Header> {
        match operation.credential {
            Credential::None => Vec::new(),
            Credential::Basic => vec![self.basic.clone()],
            Credential::Bearer => vec![self.bearer.clone()],
            Credential::ApiKey => vec![self.api_key.clone()],
            Credential::Institution => vec![self.institution.clone()],
            Credential::Customer => vec![self.customer.clone()],
        }
    }
}

fn named(names: &[(&'static str, &str)]) -> Names {
    names.iter().map(|(id, name)| (*id, (*name).to_owned())).collect()
}

async fn session(server: &Server, proof: &Header, wanted: Value) -> Header {
    let path = "/v2/session/startSession";
    let answer = ask(server, &Method::POST, path, std::slice::from_ref(proof), &wanted.to_string()).await.expect(200);
    ("x-cdlx-session-token", answer.json["sessionToken"].as_str().unwrap().to_owned())
}

/// That a refusal has this status and the form of its dialect.
#[track_caller]
fn refused(answer: &Answer, dialect: Dialect, status: u16, what: &str) {
    assert_eq!(answer.status, status, "{what}: {}", answer.text);
    assert!(answer.header("x-request-id").is_some(), "{what}");
    let members: BTreeSet<&str> = answer.json.as_object().unwrap().keys().map(String::as_str).collect();
    match dialect {
        Dialect::Lms => {
            let code = match status {
                401 => "unauthenticated",
                403 => "permission_denied",
                404 => "not_found",
                _ => "unimplemented",
            };
            assert_eq!(answer.json["code"], code, "{what}");
            assert_eq!(members, BTreeSet::from(["code", "message"]), "{what}");
        }
        Dialect::Crm => {
            assert!(answer.json["detail"].is_string(), "{what}");
            assert_eq!(members, BTreeSet::from(["detail"]), "{what}");
            if status == 401 {
                assert_eq!(answer.json["detail"], "Unauthorized - API Key required.", "{what}");
            }
        }
        Dialect::Publisher => {
            let (kind, title) = match status {
                401 => ("SessionValidationException", "Session expired or invalid"),
                403 => ("AccessDeniedException", "Access denied"),
                404 => ("ResourceNotFoundException", "Resource not found"),
                _ => ("MethodNotAllowedException", "Method not allowed"),
            };
            assert_eq!((&answer.json["type"], &answer.json["title"]), (&json!(kind), &json!(title)), "{what}");
            assert_eq!(answer.json["status"], status, "{what}");
            assert!(answer.json["validationErrors"].is_array() && answer.json["requestId"].is_string(), "{what}");
            assert_eq!(members.len(), 5, "{what}");
        }
    }
}

/// A token of the same claims with another head, and no signature or that of the first.
fn forged(token: &str, head: &Value, signature: &str) -> String {
    let claims = token.split('.').nth(1).unwrap();
    format!("{}.{claims}.{signature}", URL_SAFE_NO_PAD.encode(head.to_string()))
}

/// Tokens that must not be believed, made from one that is.
fn not_believed(token: &str, of_another_key: &str) -> Vec<String> {
    let signature = token.rsplit('.').next().unwrap();
    let (signed, _) = token.rsplit_once('.').unwrap();
    vec![
        "garbage".to_owned(),
        "a.b.c".to_owned(),
        token[..token.len() - 6].to_owned(),
        format!("{signed}."),
        forged(token, &json!({"alg": "none", "typ": "JWT"}), ""),
        forged(token, &json!({"alg": "none", "typ": "JWT"}), signature),
        forged(token, &json!({"alg": "HS256", "typ": "JWT", "kid": "../../etc/passwd"}), signature),
        of_another_key.to_owned(),
    ]
}

/// Every set of headers that proves nothing to the operation.
fn no_proofs(operation: &Operation, proofs: &Proofs, of_another_key: &str) -> Vec<Vec<Header>> {
    let token = |(_, value): &Header| value.trim_start_matches("Bearer ").to_owned();
    let (bearer, key, of_session) = (token(&proofs.bearer), token(&proofs.api_key), token(&proofs.institution));
    let bearers =
        |tokens: Vec<String>| tokens.into_iter().map(|token| vec![("authorization", format!("Bearer {token}"))]);
    let mut all = vec![Vec::new(), vec![("authorization", format!("Token {bearer}"))]];
    match operation.credential {
        Credential::None => all.clear(),
        Credential::Basic => {
            all.push(vec![proofs.bearer.clone()]);
            all.push(vec![("authorization", "Basic !!!".to_owned())]);
            all.push(vec![("authorization", "Basic bm9ib2R5QGV4YW1wbGUuY29tOndyb25n".to_owned())]);
        }
        Credential::Bearer => {
            all.push(vec![proofs.basic.clone()]);
            all.push(vec![proofs.api_key.clone()]);
            all.extend(bearers(not_believed(&bearer, of_another_key)));
            all.extend(bearers(vec![String::new(), of_session]));
        }
        Credential::ApiKey => {
            all.push(vec![proofs.basic.clone()]);
            all.extend(bearers(not_believed(&bearer, of_another_key)));
            let keys = [String::new(), "garbage".to_owned(), key[..key.len() - 1].to_owned(), format!("Bearer {key}")];
            all.extend(keys.map(|key| vec![("x-api-key", key)]));
            // Where a key is sent, it alone counts.
            all.push(vec![("x-api-key", "garbage".to_owned()), proofs.bearer.clone()]);
        }
        Credential::Institution | Credential::Customer => {
            all.extend([vec![proofs.bearer.clone()], vec![proofs.api_key.clone()]]);
            let tokens = not_believed(&of_session, of_another_key).into_iter().chain([bearer, key]);
            all.extend(tokens.map(|token| vec![("x-cdlx-session-token", token)]));
        }
    }
    all
}

/// A token for the same organization, signed with a key that the server does not know.
fn token_of_another_key(server: &Server) -> String {
    let _ = server.cli(&["keygen", "--file", "another.pem"], "");
    let mut settings = server.settings().to_vec();
    let key = server.folder().join("another.pem").display().to_string();
    settings.retain(|(name, _)| name != "CUSTODIA_SIGNING_KEY_FILE");
    settings.push(("CUSTODIA_SIGNING_KEY_FILE".to_owned(), key));
    let organization = &server.credentials().organization;
    binary::printed(&settings, server.folder(), &["token", "--organization", organization], "").unwrap()
}

/// A record of every kind in one organization, all known by the same number to the tests.
async fn family(server: &Server, proofs: &Proofs, name: &str) -> Names {
    let mut names = named(&[("<office>", "1")]);
    for (id, kind) in [("<customer>", "person"), ("<account>", "accent"), ("<loan>", "borrow"), ("<new>", "newish")] {
        names.insert(id, format!("{kind}-{name}"));
    }
    let all = operations();
    let listed = |method: Method, path: &str| all.iter().find(|it| it.method == method && it.path == path).unwrap();
    let run = async |method: Method, path: &str, names: &Names| {
        let operation = listed(method, path);
        call(server, operation, &operation.samples[0], names, &proofs.headers(operation)).await
    };
    let _ = run(Method::POST, "/v2/data/customers", &names).await.expect(200);
    let seen = run(Method::GET, "/v1/customers/external/{customer_external_id}", &names).await.expect(200);
    names.insert("<customer-number>", seen.json["id"].as_str().unwrap().to_owned());
    let loan = run(Method::PUT, "/v1/loans/external/{loan_external_id}", &names).await.expect(200);
    names.insert("<loan-number>", loan.json["id"].as_str().unwrap().to_owned());
    let _ = run(Method::PUT, "/v1/credit-scores/{externalId}", &names).await.expect(200);
    let webhook = run(Method::POST, "/v1/webhook-endpoints", &names).await.expect(200);
    names.insert("<webhook>", webhook.json["id"].as_str().unwrap().to_owned());
    let company = run(Method::POST, "/external/v1/customer/company/create", &names).await.expect(201);
    names.insert("<company>", company.json["company_id"].as_str().unwrap().to_owned());
    names.insert("<company-number>", company.json["id"].to_string());
    names
}

/// Everything that the family's own organization reads of it.
async fn seen(server: &Server, proofs: &Proofs, names: &Names) -> Vec<String> {
    let mut seen = Vec::new();
    for target in [
        "/v1/customers/external/<customer>",
        "/v1/loans/external/<loan>",
        "/v1/credit-scorecard/<customer>",
        "/v1/webhook-endpoints/<webhook>",
    ] {
        let headers = std::slice::from_ref(&proofs.bearer);
        seen.push(ask(server, &Method::GET, &filled(target, names), headers, "").await.expect(200).text);
    }
    for target in ["/external/v1/customers/<customer>", "/external/v1/customer/company/<company>"] {
        let headers = std::slice::from_ref(&proofs.api_key);
        seen.push(ask(server, &Method::GET, &filled(target, names), headers, "").await.expect(200).text);
    }
    let wanted = json!({"scopes": ["api:customer"], "sourceCustomerId": names["<customer>"]});
    let session = session(server, &proofs.api_key, wanted).await;
    let profile = ask(server, &Method::GET, "/v2/customerProfile/getCustomerProfile", &[session], "").await.expect(200);
    let mut profile = profile.json;
    profile.as_object_mut().unwrap().remove("requestId");
    seen.push(profile.to_string());
    seen
}

/// An answer as it compares with one to another name: without the time, and with the placeholder where the name is echoed.
/// What a success has made is numbered and dated: those members are left out.
fn comparable(answer: &Answer, names: &Names) -> (u16, Vec<(String, String)>, String) {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(members) => {
                members.retain(|name, _| {
                    ![
                        "id",
                        "accountNo",
                        "customer_id",
                        "time_created",
                        "time_updated",
                        "sessionToken",
                        "secret",
                        "createdAt",
                        "updatedAt",
                    ]
                    .contains(&name.as_str())
                });
                members.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let is_success = answer.status < 300 && !answer.json.is_null();
    let headers = answer.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let volatile = if is_success { ["date", "content-length"].as_slice() } else { &["date"] };
    let headers = headers.filter(|(name, _)| !volatile.contains(&name.as_str())).collect();
    let mut text = answer.text.clone();
    if is_success {
        let mut value = answer.json.clone();
        strip(&mut value);
        text = value.to_string();
    }
    for (id, name) in names.iter().filter(|(_, name)| name.len() > 5) {
        text = text.replace(name, id);
    }
    (answer.status, headers, text)
}

/// A second organization with so many records that its later numbers are none of the first's.
async fn neighbour(server: &Server) -> Proofs {
    let credentials = server.organization("Neighbour");
    let _ = server.cli(&["office", "create", "--organization", &credentials.organization, "Branch"], "");
    let proofs = Proofs::of(server, &credentials).await;
    let headers = std::slice::from_ref(&proofs.api_key);
    let people: Vec<_> = (0..100).map(|_| json!({"name": "P", "email": "p@example.com", "source": "web"})).collect();
    let body = json!({"customers": people}).to_string();
    let _ = ask(server, &Method::POST, "/external/v1/customers/bulk", headers, &body).await.expect(201);
    let companies: Vec<_> = (0..100).map(|_| json!({"company_name": "C", "company_status": "active"})).collect();
    let body = json!({"companies": companies}).to_string();
    let _ = ask(server, &Method::POST, "/external/v1/customer/company/bulk-create", headers, &body).await.expect(200);
    let body = json!({"customerExternalId": "member", "status": "Approved", "principal": 1, "currencyCode": "TZS"})
        .to_string();
    for number in 0..100 {
        let target = format!("/v1/loans/external/earlier-{number}");
        let headers = std::slice::from_ref(&proofs.bearer);
        let _ = ask(server, &Method::PUT, &target, headers, &body).await.expect(200);
    }
    proofs
}

both! {
    async fn the_table_lists_what_the_document_lists_and_the_service_serves(server: Server) {
        let document = server.get("/openapi.json").await.expect(200).json;
        let mut documented = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys().filter(|name| *name != "parameters") {
                documented.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
        let table: Vec<String> = operations().iter().map(|it| format!("{} {}", it.method, it.path)).collect();
        let listed: BTreeSet<String> = table.iter().cloned().collect();
        assert_eq!(listed.len(), table.len(), "an operation is listed twice");
        let missing: Vec<_> = documented.difference(&listed).collect();
        let gone: Vec<_> = listed.difference(&documented).collect();
        assert!(missing.is_empty() && gone.is_empty(), "not in the table: {missing:?}; not in the document: {gone:?}");
        for operation in operations() {
            for sample in operation.samples {
                let answer = call(&server, &operation, sample, &absent(0), &[]).await;
                let expected = if operation.credential == Credential::None { 200 } else { 401 };
                assert_eq!(answer.status, expected, "{} {}: {}", operation.method, sample.target, answer.text);
            }
        }
    }

    async fn nobody_is_let_in_without_a_credential_that_holds(server: Server) {
        let proofs = Proofs::of(&server, server.credentials()).await;
        let of_another_key = token_of_another_key(&server);
        for operation in operations() {
            for headers in no_proofs(&operation, &proofs, &of_another_key) {
                let what = format!("{} {} with {headers:?}", operation.method, operation.path);
                let answer = call(&server, &operation, &operation.samples[0], &absent(0), &headers).await;
                refused(&answer, operation.dialect, 401, &what);
                let challenge = answer.header("www-authenticate").unwrap_or_default();
                let scheme = if operation.credential == Credential::Basic { "Basic" } else { "Bearer" };
                assert!(operation.dialect != Dialect::Lms || challenge.starts_with(scheme), "{what}: {challenge}");
            }
        }
    }

    async fn a_credential_that_may_read_reads_and_changes_nothing(server: Server) {
        let organization = server.credentials().organization.as_str();
        let make = |verb: &[&str]| server.cli(&[verb, &["--organization", organization, "--scope", "read"]].concat(), "");
        let mut proofs = Proofs::of(&server, server.credentials()).await;
        proofs.bearer.1 = format!("Bearer {}", make(&["token"]));
        proofs.api_key.1 = make(&["api-key", "create", "--name", "reader"]);
        proofs.institution = session(&server, &proofs.api_key, json!({"scopes": ["api:institution"]})).await;
        let wanted = json!({"scopes": ["api:customer"], "sourceCustomerId": "member"});
        proofs.customer = session(&server, &proofs.api_key, wanted).await;
        for operation in operations() {
            for sample in operation.samples {
                let what = format!("{} {}", operation.method, sample.target);
                let answer = call(&server, &operation, sample, &absent(0), &proofs.headers(&operation)).await;
                match operation.scope {
                    Scope::Write => refused(&answer, operation.dialect, 403, &what),
                    Scope::Read => assert!([200, 404].contains(&answer.status), "{what}: {}", answer.text),
                }
            }
        }
        assert_eq!(server.get("/v1/customers").await.expect(200).json["total"], 1);
    }

    async fn a_session_is_good_for_its_own_scope_alone(server: Server) {
        let proofs = Proofs::of(&server, server.credentials()).await;
        for operation in operations() {
            let session = match operation.credential {
                Credential::Institution => proofs.customer.clone(),
                Credential::Customer => proofs.institution.clone(),
                Credential::None | Credential::Basic | Credential::Bearer | Credential::ApiKey => continue,
            };
            let answer = call(&server, &operation, &operation.samples[0], &absent(0), &[session]).await;
            refused(&answer, operation.dialect, 403, &operation.path);
        }
    }

    async fn another_method_is_told_which_ones_there_are(server: Server) {
        let all = operations();
        for operation in &all {
            let target = filled(&operation.target(&operation.samples[0]), &absent(0));
            let path = target.split('?').next().unwrap();
            let methods = |rows: &dyn Fn(&&Operation) -> bool| -> BTreeSet<&str> {
                all.iter().filter(rows).map(|it| it.method.as_str()).collect()
            };
            // A path without a placeholder may be one of a template's too: a customer may be called `bulk`.
            let (own, there) = (methods(&|it| it.path == operation.path), methods(&|it| is_of(path, &it.path)));
            for method in METHODS.into_iter().filter(|method| !there.contains(method)) {
                let answer = ask(&server, &method.parse().unwrap(), path, &[], "").await;
                let what = format!("{method} {path}");
                refused(&answer, operation.dialect, 405, &what);
                let allowed = answer.header("allow").unwrap_or_default();
                let allowed: BTreeSet<&str> =
                    allowed.split(',').map(str::trim).filter(|method| *method != "HEAD").collect();
                assert!(allowed.is_superset(&own) && allowed.is_subset(&there), "{what}: {allowed:?}");
            }
        }
    }

    async fn a_path_that_is_nearly_one_is_none(server: Server) {
        let proofs = Proofs::of(&server, server.credentials()).await;
        let all = operations();
        for operation in &all {
            let target = filled(&operation.target(&operation.samples[0]), &absent(0));
            let path = target.split('?').next().unwrap();
            let (before, last) = path.rsplit_once('/').unwrap();
            let shouted = |index: usize| {
                let mut parts: Vec<String> = path.split('/').map(str::to_owned).collect();
                let template = operation.path.split('/').nth(index).unwrap();
                parts[index] = if template.starts_with('{') { String::new() } else { parts[index].to_uppercase() };
                parts.join("/")
            };
            let mut near = vec![
                format!("{path}/"),
                format!("/{path}"),
                format!("{before}//{last}"),
                format!("{path}//"),
                format!("{path};a=b/x"),
                format!("/{}%2f{last}", before.trim_start_matches('/')),
                format!("{path}/../{last}/more"),
            ];
            near.extend((1..path.split('/').count()).map(shouted));
            for near in near {
                // An HTTP client takes dots out of a path before it sends it.
                let sent = reqwest::Url::parse(&server.url(&near)).unwrap().path().to_owned();
                if all.iter().any(|it| is_of(&sent, &it.path)) {
                    continue;
                }
                let answer = ask(&server, &operation.method, &near, &proofs.headers(operation), "").await;
                assert_eq!(answer.status, 404, "{} {near}: {}", operation.method, answer.text);
            }
        }
    }

    async fn what_another_organization_has_answers_like_what_nobody_has(server: Server) {
        let ours = Proofs::of(&server, server.credentials()).await;
        let own = family(&server, &ours, "our-own").await;
        let theirs = neighbour(&server).await;
        let mut number = 0;
        for operation in operations() {
            for sample in operation.samples {
                let ids: Vec<&str> = sample.ids().collect();
                let mut choices: Vec<Vec<&str>> = ids.iter().map(|id| vec![*id]).collect();
                choices.extend((ids.len() > 1).then(|| ids.clone()));
                for chosen in choices {
                    number += 1;
                    let what = format!("{} {} {}, {chosen:?}", operation.method, operation.target(sample), sample.body);
                    let mut foreign = family(&server, &theirs, &format!("{number:03}")).await;
                    foreign.insert("<office>", "2".to_owned());
                    let before = seen(&server, &theirs, &foreign).await;
                    let none = absent(number);
                    let of = |names: &Names| {
                        let mut all = own.clone();
                        all.insert("<new>", names["<new>"].clone());
                        all.extend(chosen.iter().map(|id| (PLACEHOLDERS[index(id)], names[id].clone())));
                        all
                    };
                    let headers = ours.headers(&operation);
                    let (foreign_names, none_names) = (of(&foreign), of(&none));
                    let one = call(&server, &operation, sample, &foreign_names, &headers).await;
                    let other = call(&server, &operation, sample, &none_names, &headers).await;
                    assert_eq!(comparable(&one, &foreign_names), comparable(&other, &none_names), "{what}");
                    assert_eq!(seen(&server, &theirs, &foreign).await, before, "{what}");
                    if chosen.len() == ids.len() {
                        let headers = theirs.headers(&operation);
                        let answer = call(&server, &operation, sample, &foreign, &headers).await;
                        assert!(answer.status < 300 || answer.status == 409, "{what}: its owner has {}", answer.text);
                    }
                    // An organization may have 50 of them, and there are more rounds than that.
                    let webhook = filled("/v1/webhook-endpoints/<webhook>", &foreign);
                    let bearer = std::slice::from_ref(&theirs.bearer);
                    let _ = ask(&server, &Method::DELETE, &webhook, bearer, "").await;
                }
            }
        }
    }

    async fn no_list_shows_or_counts_what_another_organization_has(server: Server) {
        let ours = Proofs::of(&server, server.credentials()).await;
        let theirs = Proofs::of(&server, &server.organization("Neighbour")).await;
        let _ = family(&server, &theirs, "theirs").await;
        let body = json!({"name": "Zebra", "email": "zebra@example.com", "source": "zoo", "whatsapp_number": "255700000001"});
        let key = std::slice::from_ref(&theirs.api_key);
        let _ = ask(&server, &Method::POST, "/external/v1/customers", key, &body.to_string()).await.expect(201);
        let bearer = std::slice::from_ref(&ours.bearer);
        for query in ["", "?after=", "?status=Active", "?q=member", "?orderBy=displayName&sortOrder=DESC", "?officeId=1"] {
            let listed = ask(&server, &Method::GET, &format!("/v1/customers{query}"), bearer, "").await.expect(200).json;
            assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{query}: {listed}");
            assert_eq!(listed["items"][0]["externalId"], "member", "{query}");
            assert!(query == "?after=" || listed["total"] == 1, "{query}: {listed}");
        }
        for query in ["?q=zebra", "?q=255700000001", "?externalId=person-theirs", "?q=person"] {
            let listed = ask(&server, &Method::GET, &format!("/v1/customers{query}"), bearer, "").await.expect(200).json;
            assert_eq!((&listed["items"], &listed["total"]), (&json!([]), &json!(0)), "{query}");
        }
        for query in ["", "?status=approved", "?orderBy=principal"] {
            let listed = ask(&server, &Method::GET, &format!("/v1/loans{query}"), bearer, "").await.expect(200).json;
            assert_eq!((&listed["items"], &listed["total"]), (&json!([]), &json!(0)), "{query}");
        }
        let key = std::slice::from_ref(&ours.api_key);
        for (query, count) in [("", 1), ("?is_active=true", 1), ("?search=zebra", 0), ("?source=zoo", 0), ("?search=person", 0)] {
            let target = format!("/external/v1/customers{query}");
            let listed = ask(&server, &Method::GET, &target, key, "").await.expect(200).json;
            assert_eq!((listed["data"].as_array().unwrap().len(), &listed["total"]), (count, &json!(count)), "{query}");
        }
        let listed = ask(&server, &Method::GET, "/external/v1/customer/company", key, "").await.expect(200).json;
        assert_eq!((&listed["data"], &listed["total"]), (&json!([]), &json!(0)));
    }

    async fn the_same_names_are_free_in_every_organization(server: Server) {
        let ours = Proofs::of(&server, server.credentials()).await;
        let theirs = Proofs::of(&server, &server.organization("Neighbour")).await;
        let (one, other) = (family(&server, &ours, "twin").await, family(&server, &theirs, "twin").await);
        assert_eq!(one["<customer>"], other["<customer>"]);
        let before = seen(&server, &theirs, &other).await;
        let changes = [
            (Method::PUT, "/v1/customers/external/<customer>", r#"{"fullname":"Our Twin"}"#, &ours.bearer),
            (Method::PUT, "/v1/credit-scores/<customer>", r#"{"grade":"A","score":1,"limit":5}"#, &ours.bearer),
            (
                Method::PUT,
                "/v1/loans/external/<loan>",
                r#"{"customerExternalId":"<customer>","status":"Active","principal":7,"currencyCode":"USD"}"#,
                &ours.bearer,
            ),
            (
                Method::PUT,
                "/v2/data/accounts",
                r#"{"accounts":[{"sourceAccountId":"<account>","status":"DISPUTE"}]}"#,
                &ours.institution,
            ),
        ];
        for (method, target, body, proof) in changes {
            let headers = std::slice::from_ref(proof);
            let _ = ask(&server, &method, &filled(target, &one), headers, &filled(body, &one)).await.expect(200);
        }
        assert_eq!(seen(&server, &theirs, &other).await, before, "a change of ours is theirs");
        let changed = seen(&server, &ours, &one).await;
        assert!(changed.iter().zip(&before).all(|(ours, theirs)| ours != theirs), "{changed:?}");
    }

    async fn a_cursor_is_refused_in_another_organization(server: Server) {
        let neighbour = server.organization("Neighbour");
        for credentials in [server.credentials(), &neighbour] {
            for name in ["a", "b", "c"] {
                let request = server.request(Method::POST, "/v1/customers").bearer_auth(&credentials.token);
                let _ = Answer::to(request.json(&json!({"externalId": name}))).await.unwrap().expect(200);
            }
        }
        let first = server.get("/v1/customers?rows=1&after=").await.expect(200);
        let cursor = first.json["next"].as_str().unwrap().to_owned();
        let target = format!("/v1/customers?rows=1&after={cursor}");
        let _ = server.get(&target).await.expect(200);
        let proof = [("authorization", format!("Bearer {}", neighbour.token))];
        let refused = ask(&server, &Method::GET, &target, &proof, "").await.expect(400);
        let garbage = ask(&server, &Method::GET, "/v1/customers?rows=1&after=AAAA", &proof, "").await.expect(400);
        assert_eq!(refused.text, garbage.text);
    }

    async fn an_idempotency_key_is_remembered_for_its_organization_alone(server: Server) {
        let ours = Proofs::of(&server, server.credentials()).await;
        let theirs = Proofs::of(&server, &server.organization("Neighbour")).await;
        let names = named(&[("<customer>", "keyed"), ("<account>", "keyed-account"), ("<new>", "keyed-new")]);
        let crm = r#"{"name":"Ada","email":"ada@example.com","source":"web"}"#;
        let lms = r#"{"externalId":"keyed-lms"}"#;
        let publisher = operations().into_iter().find(|it| it.path == "/v2/data/customers").unwrap().samples[0];
        let publisher = filled(publisher.body, &names);
        for (target, body, status, of) in [
            ("/v1/customers", lms, 200, (&ours.bearer, &theirs.bearer)),
            ("/external/v1/customers", crm, 201, (&ours.api_key, &theirs.api_key)),
            ("/v2/data/customers", publisher.as_str(), 200, (&ours.institution, &theirs.institution)),
        ] {
            let send = async |proof: &Header| {
                let headers = [proof.clone(), ("idempotency-key", "\"the-same-key\"".to_owned())];
                ask(&server, &Method::POST, target, &headers, body).await.expect(status)
            };
            let first = send(of.0).await;
            let replayed = send(of.0).await;
            assert_eq!((replayed.header("idempotent-replayed"), &replayed.text), (Some("true"), &first.text), "{target}");
            assert_eq!(send(of.1).await.header("idempotent-replayed"), None, "{target}");
        }
        for proof in [&ours.bearer, &theirs.bearer] {
            let headers = std::slice::from_ref(proof);
            let listed = ask(&server, &Method::GET, "/v1/customers", headers, "").await.expect(200);
            assert_eq!(listed.json["total"], 4, "its member and one of each dialect");
        }
    }
}

fn index(id: &str) -> usize {
    PLACEHOLDERS.iter().position(|it| *it == id).expect("a sample bears only those")
}
