//! The integrator's guide does what it says: its commands run, its clients outlast faults, its verifiers tell the genuine from
//! the forged.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use custodia_tests::outage::Outage;
use custodia_tests::receiver::{Received, Receiver};
use custodia_tests::{Answer, Options, Server, both, tour};
use reqwest::Method;
use serde_json::{Value, json};
use standardwebhooks::Webhook;

fn guide() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/INTEGRATING.md")).unwrap()
}

/// The block of that language and name.
fn snippet(info: &str) -> String {
    let found: Vec<_> = tour::blocks(&guide()).into_iter().filter(|block| block.info == info).collect();
    assert_eq!(found.len(), 1, "the guide has one block {info:?}");
    found.into_iter().next().unwrap().text
}

/// Runs a script to its end: its interpreter reads it from a file, and JSON from standard input.
fn run(interpreter: &str, folder: &Path, script: &str, input: &Value) -> Output {
    let file = folder.join(format!("script-{interpreter}"));
    fs::write(&file, script).unwrap();
    let mut child = Command::new(interpreter)
        .arg(&file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A script that has ended already reads nothing.
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.to_string().as_bytes());
    child.wait_with_output().unwrap()
}

/// The one line of JSON that a script prints.
fn printed(interpreter: &str, folder: &Path, script: &str, input: &Value) -> Value {
    let output = run(interpreter, folder, script, input);
    assert!(output.status.success(), "{interpreter}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Whether a program is there; the languages of the guide are not needed to build or run anything else.
fn is_installed(program: &str) -> bool {
    // openssl alone has its own way to be asked.
    let question = if program == "openssl" { "version" } else { "--version" };
    let asked = Command::new(program).arg(question).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let there = asked.is_ok_and(|status| status.success());
    if !there {
        eprintln!("{program} is not installed: the guide's blocks in its language are not run");
    }
    there
}

/// How many requests were answered with that status.
async fn answered(server: &Server, status: u16) -> u64 {
    let metrics = Answer::to(server.request(Method::GET, "/metrics")).await.unwrap().expect(200).text;
    let wanted = format!("status=\"{status}\"");
    let lines = metrics.lines().filter(|line| line.starts_with("http_requests_total{") && line.contains(&wanted));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// Every way the guide has to verify a message: the interpreter, and a program that reads cases from standard input and prints
/// whether each is genuine.
fn verifiers() -> Vec<(&'static str, String)> {
    let python = "
import json, sys
print(json.dumps([
    is_genuine(case['secret'], case['headers'], base64.b64decode(case['body'])) for case in json.load(sys.stdin)
]))
";
    let node = "
const cases = JSON.parse(require('node:fs').readFileSync(0));
console.log(JSON.stringify(
  cases.map(({ secret, headers, body }) => isGenuine(secret, headers, Buffer.from(body, 'base64')))));
";
    let all = [("python3", snippet("python verify") + python), ("node", snippet("js verify") + node)];
    all.into_iter().filter(|(interpreter, _)| is_installed(interpreter)).collect()
}

/// What each of the guide's verifiers, the one in the shell included, says of each case.
fn verdicts(folder: &Path, cases: &[Value]) -> Vec<(&'static str, Vec<bool>)> {
    let mut all = Vec::new();
    for (interpreter, script) in verifiers() {
        let told = printed(interpreter, folder, &script, &json!(cases));
        all.push((interpreter, told.as_array().unwrap().iter().map(|one| one.as_bool().unwrap()).collect()));
    }
    if is_installed("openssl") {
        let told = cases.iter().map(|case| shell_verdict(folder, case)).collect();
        all.push(("bash", told));
    }
    all
}

fn shell_verdict(folder: &Path, case: &Value) -> bool {
    fs::write(folder.join("body"), STANDARD.decode(case["body"].as_str().unwrap()).unwrap()).unwrap();
    let script = snippet("sh verify") + "\nif is_genuine \"$@\"; then echo genuine; else echo forged; fi\n";
    let header = |name: &str| case["headers"][name].as_str().unwrap();
    let output = Command::new("bash")
        .args(["-c", &script, "verify", case["secret"].as_str().unwrap(), header("webhook-id")])
        .args([header("webhook-timestamp"), header("webhook-signature")])
        .arg(folder.join("body"))
        .output()
        .unwrap();
    match String::from_utf8(output.stdout).unwrap().trim() {
        "genuine" => true,
        "forged" => false,
        other => panic!("{other}{}", String::from_utf8_lossy(&output.stderr)),
    }
}

fn header<'r>(received: &'r Received, name: &str) -> &'r str {
    received.headers[name].to_str().unwrap()
}

fn secret(byte: u8) -> String {
    format!("whsec_{}", STANDARD.encode([byte; 32]))
}

/// A message as it is received, and the secret that its receiver has.
fn message(secret: &str, timestamp: &str, signature: &str, body: &[u8]) -> Value {
    json!({"secret": secret, "body": STANDARD.encode(body), "headers": {
        "webhook-id": "evt_1_7", "webhook-timestamp": timestamp, "webhook-signature": signature,
    }})
}

#[test]
fn each_verifier_believes_a_genuine_message_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let body = "{\"type\":\"customer.created\",\"data\":{\"externalId\":\"ünï\"}}\n".as_bytes();
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let signed = |byte: u8, at: i64| Webhook::new(&secret(byte)).unwrap().sign("evt_1_7", at, body).unwrap();
    let (ours, other) = (signed(7, now), signed(8, now));
    let case = |signature: &str| message(&secret(7), &now.to_string(), signature, body);
    let genuine = [
        case(&ours),
        case(&format!("{other} {ours}")),
        case(&format!("{ours} {other}")),
        case(&format!("v1a,AAAA {ours}")),
        message(&secret(8), &now.to_string(), &format!("{ours} {other}"), body),
        message(&secret(7), &(now - 60).to_string(), &signed(7, now - 60), body),
    ];
    let old = now - 301;
    let mut another_id = case(&ours);
    another_id["headers"]["webhook-id"] = json!("evt_1_8");
    let forged = [
        case(&other),
        case(""),
        case("v1,"),
        case(ours.trim_start_matches("v1,")),
        case(&ours.replace("v1,", "v1a,")),
        case(&ours[..ours.len() - 1]),
        case(&format!("{ours}x")),
        message(&secret(7), &now.to_string(), &ours, b"{}"),
        message(&secret(7), &now.to_string(), &ours, &body[..body.len() - 1]),
        message(&secret(7), &(now + 1).to_string(), &ours, body),
        message(&secret(7), &old.to_string(), &signed(7, old), body),
        message(&secret(7), &(now + 400).to_string(), &signed(7, now + 400), body),
        message(&secret(7), "", &ours, body),
        message(&secret(7), "now", &ours, body),
        another_id,
    ];
    let all = verdicts(folder.path(), &[&genuine[..], &forged].concat());
    assert!(!all.is_empty(), "none of the guide's languages is installed");
    for (interpreter, told) in all {
        for (place, genuine_told) in told.iter().enumerate() {
            assert_eq!(*genuine_told, place < genuine.len(), "{interpreter}: case {place}");
        }
    }
}

both! {
    async fn every_command_of_the_guide_succeeds(server: Server) {
        let blocks: Vec<_> = tour::blocks(&guide()).into_iter().filter(|block| block.info == "sh").collect();
        assert!(blocks.len() >= 3, "the guide has only {} blocks", blocks.len());
        // One shell runs them all, so that a later one finds what an earlier one has set.
        let mut script = "set -euo pipefail\n".to_owned();
        for block in &blocks {
            script.push_str("echo \"INTEGRATING.md:");
            script.push_str(&block.line.to_string());
            script.push_str("\" >&2\n");
            script.push_str(&block.text);
        }
        let (base, token, key) = (server.url(""), server.token().to_owned(), server.api_key().to_owned());
        let output = tokio::task::spawn_blocking(move || {
            let mut shell = Command::new("bash");
            shell.args(["-c", &script]).envs([("BASE", base), ("TOKEN", token), ("KEY", key)]).output().unwrap()
        })
        .await
        .unwrap();
        assert!(
            output.status.success(),
            "the last block named here failed:\n{}{}",
            String::from_utf8_lossy(&output.stderr),
            String::from_utf8_lossy(&output.stdout)
        );
    }

    async fn the_clients_retry_outlasts_a_database_that_is_away(server: Server) {
        if !is_installed("python3") {
            return;
        }
        let script = snippet("python retry") + "
import sys
case = json.load(sys.stdin)
print(json.dumps(send('POST', case['url'], {'externalId': 'ext-1'}, 'key-1', case['token'])))
print(json.dumps(send('POST', case['url'], {'externalId': 'ext-1'}, 'key-2', case['token'])), file=sys.stderr)
";
        let outage = Outage::begin(&server).await;
        let input = json!({"url": server.url("/v1/customers"), "token": server.token()});
        let folder = server.folder().to_owned();
        let client = tokio::task::spawn_blocking(move || run("python3", &folder, &script, &input));
        let deadline = Instant::now() + Duration::from_mins(1);
        while answered(&server, 503).await == 0 {
            assert!(Instant::now() < deadline && !client.is_finished(), "the client was not told to come again");
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        outage.end().await;
        let output = client.await.unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let first: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&first[0], &first[1]["version"]), (&json!(200), &json!(1)));
        let second: Value = serde_json::from_str(&errors).unwrap();
        assert_eq!((&second[0], &second[1]["code"]), (&json!(409), &json!("aborted")), "a refusal is not repeated");
        assert_eq!(server.total().await, 1);
    }

    async fn the_reader_of_the_feed_sees_every_event_once_and_in_order(server: Server) {
        if !is_installed("python3") {
            return;
        }
        for number in 0..3 {
            let _ = server.post("/v1/customers", json!({"externalId": format!("ext-{number}")})).await.expect(200);
        }
        let script = snippet("python follow") + "
import sys
case = json.load(sys.stdin)
found, kept = [], ''
for turn in range(10):
    if len(found) >= 5:
        break
    # Each turn is a new start from the cursor that was kept, as after a crash.
    events, kept = next(pages(case['base'], case['token'], kept))
    found += events
print(json.dumps(found))
";
        let input = json!({"base": server.url(""), "token": server.token()});
        let folder = server.folder().to_owned();
        let client = tokio::task::spawn_blocking(move || printed("python3", &folder, &script, &input));
        let _ = server.put("/v1/customers/external/ext-0", json!({"mobileNo": "1"})).await.expect(200);
        let close = json!({"closureDate": custodia_tests::day(0), "closureReasonId": 1});
        let _ = server.post("/v1/customers/external/ext-1/close", close).await.expect(200);
        let found = client.await.unwrap();
        let told: Vec<String> = found.as_array().unwrap().iter()
            .map(|event| format!("{} {} {}", event["type"].as_str().unwrap(), event["externalId"].as_str().unwrap(), event["version"]))
            .collect();
        assert_eq!(told, ["customer.created ext-0 1", "customer.created ext-1 1", "customer.created ext-2 1",
            "customer.updated ext-0 2", "customer.closed ext-1 2"]);
        let ids: BTreeSet<&str> = found.as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), 5);
    }

    async fn what_is_really_sent_is_believed_by_each_verifier_before_and_after_a_rotation(backend: Backend) {
        let server = Server::start(backend, Options::default().setting("CUSTODIA_WEBHOOK_INSECURE", "true")).await;
        let receiver = Receiver::willing().await;
        let _ = server.post("/v1/customers", json!({"externalId": "ext-0"})).await.expect(200);
        let blocks: Vec<_> = tour::blocks(&guide()).into_iter().filter(|block| block.info == "sh hooks").collect();
        let texts: Vec<_> = blocks.into_iter().map(|block| block.text).collect();
        let script = format!("set -euo pipefail\n{}\necho; echo \"$SECRET $NEW_SECRET\"\n", texts.concat());
        let (base, token, hook) = (server.url(""), server.token().to_owned(), receiver.url("/hooks"));
        let shell = tokio::task::spawn_blocking(move || {
            Command::new("bash").args(["-c", &script]).envs([("BASE", base), ("TOKEN", token), ("HOOK", hook)]).output().unwrap()
        });
        let output = shell.await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let printed = String::from_utf8(output.stdout).unwrap();
        let told: Vec<&str> = printed.lines().last().unwrap().split(' ').collect();
        let [secret, new_secret] = told[..] else { panic!("{printed}") };
        let _ = server.post("/v1/customers", json!({"externalId": "ext-1"})).await.expect(200);
        // What was before the endpoint comes by the replay; the order is kept for each customer, not among them.
        let mut taken = receiver.taken(3).await;
        taken.sort_by(|one, other| one.customer().cmp(other.customer()));
        let [ping, replayed, after] = &taken[..] else { panic!("{taken:?}") };
        let types = [ping, replayed, after].map(|received| received.json["type"].clone());
        assert_eq!(types, ["webhook.ping", "customer.created", "customer.created"]);
        assert_eq!((replayed.customer(), after.customer()), ("ext-0", "ext-1"));
        assert_eq!(header(after, "webhook-signature").split(' ').count(), 2, "both secrets sign");

        let case = |received: &Received, secret: &str| {
            let sent = ["webhook-id", "webhook-timestamp", "webhook-signature"].map(|name| (name, header(received, name)));
            json!({"secret": secret, "body": STANDARD.encode(&received.body), "headers": BTreeMap::from(sent)})
        };
        let mut forged = case(after, secret);
        forged["body"] = json!(STANDARD.encode([&after.body[..], b" "].concat()));
        let cases = [case(ping, secret), case(after, secret), case(after, new_secret), case(ping, new_secret), forged];
        let folder = server.folder().to_owned();
        let all = tokio::task::spawn_blocking(move || verdicts(&folder, &cases)).await.unwrap();
        for (interpreter, told) in all {
            assert_eq!(told, [true, true, true, false, false], "{interpreter}");
        }
    }
}
