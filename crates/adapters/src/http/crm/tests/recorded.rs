//! What a stock `FastAPI` service answers to wrong requests, and what we answer. Recorded by `record_422.py`.

use super::*;

/// The recorded answer without the inputs that ours leaves out; those it may leave out are tested where it is decided.
fn without_hidden_inputs(recorded: &Value, ours: &Value) -> Value {
    let mut expected = recorded.clone();
    let (Some(entries), Some(ours)) =
        (expected.get_mut("detail").and_then(Value::as_array_mut), ours["detail"].as_array())
    else {
        return expected;
    };
    for (entry, _) in entries.iter_mut().zip(ours).filter(|(_, own)| own.get("input").is_none()) {
        entry.as_object_mut().unwrap().remove("input");
    }
    expected
}

#[tokio::test]
async fn wrong_requests_are_answered_as_pydantic_answers_them() {
    let recorded: Value = serde_json::from_str(include_str!("recorded_422.json")).unwrap();
    let kit = Kit::new().await;
    kit.elsewhere(None).await;
    let cases = recorded["cases"].as_array().unwrap();
    assert!(cases.len() > 300, "the record is there");
    let mut different = Vec::new();
    let mut shown = 0;
    for case in cases {
        let (method, path) = (case["method"].as_str().unwrap(), case["path"].as_str().unwrap());
        let body = case["body"].as_str();
        let media: &[_] = if body.is_some() { &[("content-type", "application/json")] } else { &[] };
        let path: String = path.split('１').collect::<Vec<_>>().join("%EF%BC%91");
        let reply = kit.ask(method, &path, media, body.unwrap_or_default()).await;
        let answer: Value = serde_json::from_str(&reply.text).unwrap_or_default();
        let expected = without_hidden_inputs(&case["answer"], &answer);
        shown += answer["detail"].as_array().into_iter().flatten().filter(|entry| entry.get("input").is_some()).count();
        if u64::from(reply.status) != case["status"] || (!expected.is_null() && answer != expected) {
            different.push(format!("{method} {path} {body:?}\n  theirs {expected}\n  ours {} {answer}", reply.status));
        }
    }
    assert!(shown > 50, "what tells nothing of anybody is repeated: {shown}");
    assert!(different.is_empty(), "{} of {}:\n{}", different.len(), cases.len(), different.join("\n"));
}
