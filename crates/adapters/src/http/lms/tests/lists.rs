//! `GET /v1/customers`: pages, walks, filters and the point lookup.

use serde_json::{Value, json};

use super::{Kit, Reply};

/// Five customers: 1 and 2 by the partner form (`b`, `a`), 3 Pending Élodie Brontë, 4 Active in office 2, 5 Closed.
async fn five() -> Kit {
    let kit = Kit::new().await;
    kit.partner("b").await;
    kit.partner("a").await;
    for body in [
        r#"{"officeId":1,"firstname":"Élodie","lastname":"Brontë","active":false,"submittedDate":"2026-01-03"}"#,
        r#"{"officeId":2,"fullname":"Coast Ltd","mobileNo":"+255 700-000","emailAddress":"Info@Coast.example","active":true,
            "activationDate":"2026-01-02"}"#,
        r#"{"officeId":2,"fullname":"Zed","active":true,"activationDate":"2026-01-04","externalId":"z"}"#,
    ] {
        kit.post("/v1/customers", body).await.ok();
    }
    let terms = r#"{"closureDate":"2026-05-25","closureReasonId":1}"#;
    kit.post("/v1/customers/5/close", terms).await.ok();
    kit
}

#[track_caller]
fn ids(reply: &Reply) -> Vec<String> {
    let body = reply.ok();
    body["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

/// Walks from the beginning to the end.
async fn walk(kit: &Kit, query: &str) -> Vec<String> {
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let reply = kit.get(&format!("/v1/customers?{query}&after={after}")).await;
        seen.extend(ids(&reply));
        match reply.json().get("next") {
            Some(next) => after = next.as_str().unwrap().to_owned(),
            None => return seen,
        }
        assert!(seen.len() < 100, "a walk that does not end");
    }
}

#[tokio::test]
async fn an_empty_list_is_a_page_without_items() {
    let kit = Kit::new().await;
    assert_eq!(kit.get("/v1/customers").await.text, r#"{"items":[],"total":0,"page":1,"rowsPerPage":10}"#);
}

#[tokio::test]
async fn a_page_holds_whole_customers_in_the_order_of_their_ids() {
    let kit = five().await;
    let reply = kit.get("/v1/customers?page=2&rows=2").await;
    assert_eq!(ids(&reply), ["3", "4"]);
    let body = reply.json();
    assert_eq!((&body["total"], &body["page"], &body["rowsPerPage"]), (&json!(5), &json!(2), &json!(2)));
    assert_eq!(body["items"][0], kit.get("/v1/customers/3").await.ok());
    assert_eq!(ids(&kit.get("/v1/customers").await), ["1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn a_page_past_the_end_is_empty() {
    let kit = five().await;
    for page in ["4", "9223372036854775807"] {
        let reply = kit.get(&format!("/v1/customers?rows=2&page={page}")).await;
        assert!(ids(&reply).is_empty());
        assert_eq!((reply.json()["total"].as_u64(), reply.json()["page"].to_string()), (Some(5), page.to_owned()));
    }
}

#[tokio::test]
async fn a_hundred_rows_are_the_most() {
    let kit = five().await;
    assert_eq!(kit.get("/v1/customers?rows=100").await.ok()["rowsPerPage"], 100);
    assert_eq!(
        kit.get("/v1/customers?rows=101").await.text,
        r#"{"code":"invalid_argument","message":"[{\"field\":\"page\",\"error\":\"rows value too large, must be less than 100\"}]"}"#
    );
}

#[tokio::test]
async fn problems_of_paging_have_the_field_page() {
    let kit = Kit::new().await;
    for (query, problem) in [
        ("page=0", "page: page value too small, must be larger than 0"),
        ("page=-1", "page: page value too small, must be larger than 0"),
        ("rows=0", "page: rows value too small, must be larger than 0"),
        ("rows=1000", "page: rows value too large, must be less than 100"),
        ("page=x", "page: page conversion: page is not a number"),
        ("page=", "page: page conversion: page is not a number"),
        ("page=1.5", "page: page conversion: page is not a number"),
        ("page=99999999999999999999", "page: page conversion: page is not a number"),
        ("rows=", "page: page conversion: rows is not a number"),
        ("rows=ten", "page: page conversion: rows is not a number"),
        ("after=&page=1", "page: must not be given beside after"),
        ("orderBy=name", "orderBy: must be id, displayName, submittedDate or activationDate"),
        ("orderBy=", "orderBy: must be id, displayName, submittedDate or activationDate"),
        ("sortOrder=asc", "sortOrder: must be ASC or DESC"),
        ("status=active", "status: must be Pending, Active or Closed"),
        ("officeId=0", "officeId: must be a positive integer"),
        ("officeId=x", "officeId: must be a positive integer"),
        ("officeId=", "officeId: must be a positive integer"),
        ("externalId=", "externalId: must not be empty"),
        ("externalId=%20a", "externalId: must not begin or end with white space"),
        ("externalId=%ff", "externalId: not valid UTF-8"),
        ("rows=5&rows=5", "rows: must be given once"),
        ("limit=5", "limit: unknown parameter"),
        ("after=AAAA", "after: is not a cursor of this list with these filters"),
    ] {
        assert_eq!(kit.get(&format!("/v1/customers?{query}")).await.problems(), [problem], "{query}");
    }
    let many = kit.get("/v1/customers?page=0&rows=x&orderBy=y&zz=1").await;
    assert_eq!(many.fields(), ["orderBy", "page", "page", "zz"]);
}

#[tokio::test]
async fn a_list_is_ordered_both_ways_and_ties_go_with_it() {
    let kit = five().await;
    for (order, ascending) in [
        ("id", ["1", "2", "3", "4", "5"]),
        ("displayName", ["2", "1", "4", "3", "5"]),
        ("submittedDate", ["4", "3", "5", "1", "2"]),
    ] {
        let up = ids(&kit.get(&format!("/v1/customers?orderBy={order}")).await);
        assert_eq!(up, ascending, "{order}");
        let mut down = ids(&kit.get(&format!("/v1/customers?orderBy={order}&sortOrder=DESC")).await);
        down.reverse();
        assert_eq!(down, ascending, "{order}");
    }
    let by_activation = |order| format!("/v1/customers?orderBy=activationDate&sortOrder={order}");
    assert_eq!(ids(&kit.get(&by_activation("ASC")).await), ["4", "5", "1", "2", "3"]);
    assert_eq!(ids(&kit.get(&by_activation("DESC")).await), ["2", "1", "5", "4", "3"]);
}

#[tokio::test]
async fn filters_narrow_the_list_and_its_total() {
    let kit = five().await;
    for (query, found) in [
        ("status=Pending", &["3"][..]),
        ("status=Closed", &["5"]),
        ("officeId=2", &["4", "5"]),
        ("officeId=2&status=Active", &["4"]),
        ("officeId=99", &[]),
        ("q=elodie", &["3"]),
        ("q=BRON+%C3%89LO", &["3"]),
        ("q=255", &["4"]),
        ("q=%2B255", &["4"]),
        ("q=info%40coast", &["4"]),
        ("q=00000000", &["1", "2", "3", "4", "5"]),
        ("q=oast", &[]),
        ("q=", &["1", "2", "3", "4", "5"]),
    ] {
        let reply = kit.get(&format!("/v1/customers?{query}")).await;
        assert_eq!(ids(&reply), found, "{query}");
        assert_eq!(reply.json()["total"], found.len(), "{query}");
    }
    assert_eq!(kit.get(&format!("/v1/customers?q={}", "x".repeat(257))).await.fields(), ["q"]);
    assert_eq!(kit.get("/v1/customers?q=a+b+c+d+e+f+g+h+i+j+k+l+m+n+o+p+q").await.fields(), ["q"]);
}

#[tokio::test]
async fn an_external_id_looks_up_one_customer_or_none() {
    let kit = five().await;
    let found = kit.get("/v1/customers?externalId=z").await;
    let item = kit.get("/v1/customers/5").await.text;
    assert_eq!(found.text, format!(r#"{{"items":[{item}],"total":1,"page":1,"rowsPerPage":10}}"#));
    let none = kit.get("/v1/customers?externalId=Z").await;
    assert_eq!(none.text, r#"{"items":[],"total":0,"page":1,"rowsPerPage":10}"#);
    assert!(ids(&kit.get("/v1/customers?externalId=z&status=Active").await).is_empty());
    assert_eq!(ids(&kit.get("/v1/customers?externalId=z&officeId=2&q=zed").await), ["5"]);
    let second = kit.get("/v1/customers?externalId=z&page=2&rows=1").await;
    assert_eq!((ids(&second).len(), &second.json()["total"]), (0, &json!(1)));
    let walked = kit.get("/v1/customers?externalId=z&after=").await;
    assert_eq!(walked.text, format!(r#"{{"items":[{item}],"rowsPerPage":10}}"#));
    let odd = kit.partner("a b/c&d").await;
    assert_eq!(kit.get("/v1/customers?externalId=a+b%2Fc%26d").await.ok()["items"][0], odd);
}

#[tokio::test]
async fn a_walk_returns_every_row_once_and_ends_without_a_cursor() {
    let kit = five().await;
    for order in ["id", "displayName", "submittedDate", "activationDate"] {
        for direction in ["ASC", "DESC"] {
            let query = format!("orderBy={order}&sortOrder={direction}");
            let page = ids(&kit.get(&format!("/v1/customers?{query}")).await);
            for rows in [1, 2, 5, 6] {
                assert_eq!(walk(&kit, &format!("{query}&rows={rows}")).await, page, "{query} {rows}");
            }
        }
    }
    assert_eq!(walk(&kit, "status=Active&rows=1").await, ["1", "2", "4"]);
    assert_eq!(walk(&kit, "q=0&rows=2").await.len(), 5);
}

#[tokio::test]
async fn the_envelope_of_a_walk_has_no_total_and_links_to_the_next_step() {
    let kit = five().await;
    let reply = kit.get("/v1/customers?after=&rows=4&status=Active&orderBy=displayName").await;
    let last = kit.get("/v1/customers?after=&rows=10").await;
    let members = |body: &Value| body.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(members(&last.ok()), ["items", "rowsPerPage"]);
    assert_eq!((last.header("link"), last.json()["rowsPerPage"].as_i64()), (None, Some(10)));
    assert!(reply.json().get("next").is_none(), "three are Active");
    let reply = kit.get("/v1/customers?after=&rows=2&status=Active&q=0").await;
    assert_eq!(members(&reply.ok()), ["items", "next", "rowsPerPage"]);
    let link = reply.header("link").unwrap();
    let target = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap();
    assert_eq!(ids(&kit.get(target).await), ["4"]);
}

#[tokio::test]
async fn a_cursor_keeps_its_order_and_belongs_to_its_filters_and_organization() {
    let kit = five().await;
    let first = kit.get("/v1/customers?after=&rows=2&orderBy=displayName&sortOrder=DESC").await.ok();
    let cursor = first["next"].as_str().unwrap();
    let onward = format!("/v1/customers?after={cursor}&rows=3");
    assert_eq!(ids(&kit.get(&onward).await), ["4", "1", "2"]);
    assert_eq!(ids(&kit.get(&format!("{onward}&orderBy=displayName&sortOrder=DESC")).await), ["4", "1", "2"]);
    assert_eq!(
        kit.get(&format!("{onward}&orderBy=id&sortOrder=ASC")).await.problems(),
        [
            "orderBy: differs from the order that the cursor keeps",
            "sortOrder: differs from the order that the cursor keeps",
        ]
    );
    for change in ["&status=Active", "&officeId=1", "&q=a", "&externalId=z"] {
        assert_eq!(kit.get(&format!("{onward}{change}")).await.fields(), ["after"], "{change}");
    }
    assert_eq!(kit.get(&format!("{onward}&page=1")).await.fields(), ["page"]);
    let foreign = kit.ask("GET", &onward, &[("Authorization", "Bearer foreign")], "").await;
    assert_eq!(foreign.fields(), ["after"]);
}

#[tokio::test]
async fn rows_that_come_and_go_during_a_walk_disturb_no_other() {
    let kit = five().await;
    let first = kit.get("/v1/customers?after=&rows=2").await.ok();
    kit.partner("new").await;
    assert_eq!(kit.delete("/v1/customers/3").await.status, 200);
    let cursor = first["next"].as_str().unwrap();
    assert_eq!(ids(&kit.get(&format!("/v1/customers?after={cursor}")).await), ["4", "5", "6"]);
}

#[tokio::test]
async fn a_list_holds_the_callers_organization_alone() {
    let kit = five().await;
    let foreign = kit.ask("GET", "/v1/customers", &[("Authorization", "Bearer foreign")], "").await;
    assert_eq!(foreign.text, r#"{"items":[],"total":0,"page":1,"rowsPerPage":10}"#);
    let point = kit.ask("GET", "/v1/customers?externalId=z", &[("Authorization", "Bearer foreign")], "").await;
    assert_eq!(point.ok()["total"], 0);
}
