//! The service as a process: its first start, its restart, its end, and what survives a kill.

use std::time::Duration;

use custodia_tests::{Answer, Backend, Options, Server, binary, both};
use reqwest::Method;
use serde_json::json;

both! {
    async fn the_probes_and_the_reference_need_no_credential(server: Server) {
        for path in ["/livez", "/readyz", "/metrics", "/openapi.json", "/docs"] {
            let answer = Answer::to(server.request(Method::GET, path)).await.unwrap().expect(200);
            assert!(!answer.text.is_empty() || path.ends_with('z'), "{path} is empty");
        }
    }

    async fn an_acknowledged_customer_survives_a_kill(mut server: Server) {
        let created = server.post("/v1/customers", json!({"externalId": "ext-1"})).await.expect(200);
        server.kill9();
        server.restart().await;
        let found = server.get("/v1/customers/external/ext-1").await.expect(200);
        assert_eq!(found.json, created.json);
        assert_eq!(found.header("etag"), Some("\"1\""));
    }

    async fn a_terminated_server_ends_with_success_and_starts_again(mut server: Server) {
        let _ = server.post("/v1/customers", json!({"externalId": "ext-1"})).await.expect(200);
        assert!(server.terminate().await.success(), "{}", server.written());
        server.restart().await;
        let _ = server.get("/v1/customers/external/ext-1").await.expect(200);
    }

    async fn readiness_goes_first_when_the_server_is_told_to_stop(mut server: Server) {
        server.signal("TERM");
        server.wait_ready(false, Duration::from_secs(2)).await;
        assert!(server.ended().await.success());
    }

    async fn no_credential_and_no_name_is_written_to_the_log(server: Server) {
        let body = json!({
            "officeId": 1, "fullname": "Zebediah Quillfeather", "emailAddress": "zq@example.com", "mobileNo": "+255711222333",
            "active": false, "externalId": "ext-1",
        });
        let _ = server.post("/v1/customers", body.clone()).await.expect(200);
        let _ = server.post("/v1/customers", body).await.expect(409);
        let refused = server.request(Method::GET, "/v1/customers").bearer_auth("not.a.token");
        let _ = Answer::to(refused).await.unwrap().expect(401);
        let keyed = server.request(Method::GET, "/external/v1/customers").header("x-api-key", server.api_key());
        let _ = Answer::to(keyed).await.unwrap().expect(200);
        let written = server.written();
        let secrets = [server.token(), server.api_key(), "not.a.token", "Quillfeather", "zq@example.com", "711222333"];
        for secret in secrets {
            assert!(!written.contains(secret), "the log has {secret}");
        }
    }

    async fn an_unknown_setting_is_refused_and_named(backend: Backend) {
        let options = Options::default().setting("CUSTODIA_LISTNE", "127.0.0.1:0");
        let error = format!("{:#}", Server::try_start(backend, options).await.unwrap_err());
        assert!(error.contains("CUSTODIA_LISTNE"), "{error}");
    }

    async fn organizations_do_not_see_each_other(server: Server) {
        let _ = server.post("/v1/customers", json!({"externalId": "ext-1"})).await.expect(200);
        let other = server.organization("Another Lender");
        let request = |path: &str| Answer::to(server.request(Method::GET, path).bearer_auth(&other.token));
        let hidden = request("/v1/customers/external/ext-1").await.unwrap().expect(404);
        let absent = request("/v1/customers/external/ext-2").await.unwrap().expect(404);
        assert_eq!(hidden.json, absent.json);
        assert_eq!(request("/v1/customers").await.unwrap().expect(200).json["total"], 0);
    }

    async fn the_partner_account_gets_a_token_that_works(server: Server) {
        let credentials = server.credentials();
        let login = |password: &str| {
            Answer::to(server.request(Method::GET, "/v1/auth/token").basic_auth(&credentials.email, Some(password)))
        };
        let _ = login("wrong").await.unwrap().expect(401);
        let answer = login(&credentials.password).await.unwrap().expect(200);
        let token = answer.json["token"].as_str().unwrap();
        let _ = Answer::to(server.request(Method::GET, "/v1/customers").bearer_auth(token)).await.unwrap().expect(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_start_on_an_empty_sqlite_database_prints_what_a_newcomer_needs() {
    let server = Server::start(Backend::Sqlite, Options::default().unprepared()).await;
    let written = server.written();
    let curl = written.lines().find(|line| line.trim_start().starts_with("curl ")).expect("a curl line").to_owned();
    let output = tokio::task::spawn_blocking(move || std::process::Command::new("bash").args(["-c", &curl]).output())
        .await
        .unwrap()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_signing_key_it_refuses_to_start_on_postgres_and_names_the_command() {
    let error = Server::try_start(Backend::Postgres, Options::default().unprepared()).await.unwrap_err();
    assert!(format!("{error:#}").contains("custodia keygen"), "{error:#}");
}

#[test]
fn help_lists_the_settings_and_the_verbs() {
    let folder = tempfile::tempdir().unwrap();
    let help = binary::printed(&[], folder.path(), &["--help"], "").unwrap();
    for word in ["CUSTODIA_LISTEN", "CUSTODIA_DATABASE_URL", "migrate", "organization", "api-key", "token", "keygen"] {
        assert!(help.contains(word), "--help does not mention {word}");
    }
}
