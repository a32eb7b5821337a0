//! The reference for people: one page of HTML made from the OpenAPI document, without scripts and without anything fetched from
//! elsewhere. It must not know any route; everything it says stands in the document.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// In the order in which they are shown.
const METHODS: [&str; 7] = ["get", "post", "put", "patch", "delete", "head", "options"];

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--soft:#8881}\
body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1rem 1.5rem 6rem}\
code,.path{font-family:ui-monospace,monospace;font-size:.93em}\
h1{margin-bottom:0}h2{margin-top:3rem;border-bottom:1px solid var(--line)}h3{margin:2rem 0 .3rem}h4{margin:1rem 0 .2rem}\
nav ul{columns:2;list-style:none;padding:0}nav li{break-inside:avoid}a{color:inherit}\
table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid var(--line);padding:.25rem .6rem .25rem 0;text-align:left;vertical-align:top}\
td p,th p{margin:0}.method{display:inline-block;min-width:4.2em;font-weight:700;font-size:.8em;text-transform:uppercase}\
.soft{opacity:.7}pre{background:var(--soft);padding:.7rem;overflow:auto}\
section{scroll-margin-top:1rem}\n";

/// The page, and the policy under which a browser may show it.
pub(super) struct Page {
    pub(super) html: String,
    pub(super) policy: String,
}

/// Renders the document.
pub(super) fn render(document: &Value) -> Page {
    let mut html = Html::default();
    let info = &document["info"];
    let title = text(info, "title");
    html.raw("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
    html.raw("<meta name=\"viewport\" content=\"width=device-width\"><title>");
    html.escaped(title);
    html.raw(" reference</title><style>");
    html.raw(STYLE);
    html.raw("</style></head><body><h1>");
    html.escaped(title);
    html.raw("</h1><p class=\"soft\">Version ");
    html.escaped(text(info, "version"));
    html.raw(" · <a href=\"/openapi.json\">OpenAPI document</a></p>");
    html.prose(text(info, "description"));
    let groups = groups(document);
    html.contents(&groups);
    for group in &groups {
        html.group(document, group);
    }
    html.schemas(&document["components"]["schemas"]);
    html.raw("</body></html>\n");
    let digest = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    Page { html: html.0, policy }
}

/// The operations of one tag.
struct Group<'d> {
    name: &'d str,
    description: &'d str,
    operations: Vec<Operation<'d>>,
}

struct Operation<'d> {
    method: &'static str,
    path: &'d str,
    item: &'d Value,
    value: &'d Value,
}

impl Operation<'_> {
    fn anchor(&self) -> String {
        let path: String = self.path.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        format!("{}{path}", self.method)
    }
}

fn groups(document: &Value) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (path, item) in members(&document["paths"]) {
        for method in METHODS {
            let value = &item[method];
            if value.is_null() {
                continue;
            }
            let name = value["tags"][0].as_str().unwrap_or("Other");
            let operation = Operation { method, path, item, value };
            match groups.iter_mut().find(|group| group.name == name) {
                Some(group) => group.operations.push(operation),
                None => groups.push(Group { name, description: "", operations: vec![operation] }),
            }
        }
    }
    let tags = document["tags"].as_array().map_or(&[][..], Vec::as_slice);
    let place = |name: &str| tags.iter().position(|tag| text(tag, "name") == name);
    for group in &mut groups {
        group.description = place(group.name).map_or("", |at| text(&tags[at], "description"));
    }
    // The operator's routes are declared first and read last.
    groups.sort_by_key(|group| match place(group.name) {
        Some(0) | None => usize::MAX,
        Some(at) => at,
    });
    groups
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter).map(|(name, value)| (name.as_str(), value))
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// What a `$ref` points to, by its name and itself.
fn resolved<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    value["$ref"].as_str().and_then(|at| document.pointer(at.trim_start_matches('#'))).unwrap_or(value)
}

#[derive(Default)]
struct Html(String);

impl Html {
    fn raw(&mut self, text: &str) {
        self.0.push_str(text);
    }

    fn escaped(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                other => self.0.push(other),
            }
        }
    }

    fn code(&mut self, text: &str) {
        self.raw("<code>");
        self.escaped(text);
        self.raw("</code>");
    }

    /// Paragraphs, in which backticks mark code.
    fn prose(&mut self, text: &str) {
        for paragraph in text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
            self.raw("<p>");
            for (at, part) in paragraph.split('`').enumerate() {
                if at % 2 == 1 { self.code(part) } else { self.escaped(part) }
            }
            self.raw("</p>");
        }
    }

    fn contents(&mut self, groups: &[Group<'_>]) {
        self.raw("<nav>");
        for group in groups {
            self.raw("<h4>");
            self.escaped(group.name);
            self.raw("</h4><ul>");
            for operation in &group.operations {
                let _ = write!(
                    self.0,
                    "<li><a href=\"#{}\"><span class=\"method\">{}</span> ",
                    operation.anchor(),
                    operation.method
                );
                self.code(operation.path);
                self.raw("</a></li>");
            }
            self.raw("</ul>");
        }
        self.raw("</nav>");
    }

    fn group(&mut self, document: &Value, group: &Group<'_>) {
        self.raw("<h2>");
        self.escaped(group.name);
        self.raw("</h2>");
        self.prose(group.description);
        for operation in &group.operations {
            self.operation(document, operation);
        }
    }

    fn operation(&mut self, document: &Value, operation: &Operation<'_>) {
        let _ = write!(
            self.0,
            "<section id=\"{}\"><h3><span class=\"method\">{}</span> ",
            operation.anchor(),
            operation.method
        );
        self.code(operation.path);
        self.raw("</h3>");
        self.prose(text(operation.value, "summary"));
        self.prose(text(operation.value, "description"));
        self.credential(operation.value);
        self.parameters(document, operation);
        let body = resolved(document, &operation.value["requestBody"]);
        if !body.is_null() {
            self.raw("<h4>Body</h4>");
            self.prose(text(body, "description"));
            self.content(&body["content"]);
        }
        self.raw("<h4>Answers</h4><table>");
        for (status, response) in members(&operation.value["responses"]) {
            let response = resolved(document, response);
            self.raw("<tr><th>");
            self.escaped(status);
            self.raw("</th><td>");
            self.prose(text(response, "description"));
            self.content(&response["content"]);
            self.headers(document, &response["headers"]);
            self.raw("</td></tr>");
        }
        self.raw("</table></section>");
    }

    fn credential(&mut self, operation: &Value) {
        let names: Vec<&str> = items(&operation["security"]).flat_map(members).map(|(name, _)| name).collect();
        self.raw("<p class=\"soft\">Credential: ");
        self.escaped(&if names.is_empty() { "none".to_owned() } else { names.join(" or ") });
        self.raw("</p>");
    }

    fn parameters(&mut self, document: &Value, operation: &Operation<'_>) {
        let all: Vec<&Value> =
            items(&operation.item["parameters"]).chain(items(&operation.value["parameters"])).collect();
        if all.is_empty() {
            return;
        }
        self.raw("<h4>Parameters</h4><table>");
        for parameter in all {
            let parameter = resolved(document, parameter);
            self.raw("<tr><th>");
            self.code(text(parameter, "name"));
            self.raw("</th><td class=\"soft\">");
            self.escaped(text(parameter, "in"));
            self.raw(if parameter["required"] == true { ", required" } else { "" });
            self.raw("</td><td>");
            self.kind(&parameter["schema"]);
            self.prose(text(parameter, "description"));
            self.raw("</td></tr>");
        }
        self.raw("</table>");
    }

    fn headers(&mut self, document: &Value, headers: &Value) {
        let names: Vec<&str> = members(headers).map(|(name, _)| name).collect();
        if !names.is_empty() {
            self.raw("<p class=\"soft\">Headers: ");
            for (at, name) in names.iter().enumerate() {
                self.raw(if at == 0 { "" } else { ", " });
                let header = resolved(document, &headers[*name]);
                self.raw("<span title=\"");
                self.escaped(text(header, "description"));
                self.raw("\">");
                self.code(name);
                self.raw("</span>");
            }
            self.raw("</p>");
        }
    }

    fn content(&mut self, content: &Value) {
        for (media, shape) in members(content) {
            self.raw("<p><span class=\"soft\">");
            self.escaped(media);
            self.raw("</span> ");
            self.kind(&shape["schema"]);
            self.raw("</p>");
            self.properties(&shape["schema"]);
            self.example(&shape["example"]);
            for (_, example) in members(&shape["examples"]) {
                self.prose(text(example, "summary"));
                self.example(&example["value"]);
            }
        }
    }

    fn example(&mut self, example: &Value) {
        if !example.is_null() {
            self.raw("<pre>");
            self.escaped(&format!("{example:#}"));
            self.raw("</pre>");
        }
    }

    /// What a value looks like, in a few words.
    fn kind(&mut self, schema: &Value) {
        if let Some(name) = schema["$ref"].as_str().and_then(|at| at.rsplit('/').next()) {
            self.raw("<a href=\"#schema-");
            self.escaped(name);
            self.raw("\">");
            self.code(name);
            self.raw("</a>");
            return;
        }
        for word in ["oneOf", "anyOf", "allOf"] {
            for (at, part) in items(&schema[word]).enumerate() {
                self.raw(match (at, word) {
                    (0, _) => "",
                    (_, "allOf") => " and ",
                    _ => " or ",
                });
                self.kind(part);
            }
        }
        match &schema["type"] {
            Value::String(name) => self.escaped(name),
            Value::Array(names) => {
                let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
                self.escaped(&names.join(" or "));
            }
            _ => {}
        }
        if !schema["items"].is_null() {
            self.raw(" of ");
            self.kind(&schema["items"]);
        }
        self.bounds(schema);
    }

    fn bounds(&mut self, schema: &Value) {
        let named = [
            ("format", ""),
            ("const", "always "),
            ("minLength", "at least "),
            ("maxLength", "at most "),
            ("minimum", "from "),
            ("maximum", "to "),
            ("minItems", "at least "),
            ("maxItems", "at most "),
            ("pattern", "like "),
            ("default", "default "),
        ];
        for (name, words) in named {
            if !schema[name].is_null() {
                self.raw(", ");
                self.raw(words);
                self.code(&plain(&schema[name]));
            }
        }
        let values: Vec<String> = items(&schema["enum"]).map(plain).collect();
        if !values.is_empty() {
            self.raw(": ");
            self.code(&values.join(" | "));
        }
    }

    fn properties(&mut self, schema: &Value) {
        if members(&schema["properties"]).next().is_none() {
            return;
        }
        let required: Vec<&str> = items(&schema["required"]).filter_map(Value::as_str).collect();
        self.raw("<table>");
        for (name, property) in members(&schema["properties"]) {
            self.raw("<tr><th>");
            self.code(name);
            self.raw("</th><td>");
            self.kind(property);
            self.raw(if required.contains(&name) { ", required" } else { "" });
            self.prose(text(property, "description"));
            self.raw("</td></tr>");
        }
        self.raw("</table>");
    }

    fn schemas(&mut self, schemas: &Value) {
        if members(schemas).next().is_none() {
            return;
        }
        self.raw("<h2>Schemas</h2>");
        for (name, schema) in members(schemas) {
            self.raw("<section id=\"schema-");
            self.escaped(name);
            self.raw("\"><h3>");
            self.code(name);
            self.raw("</h3>");
            self.prose(text(schema, "description"));
            self.raw("<p>");
            self.kind(schema);
            self.raw("</p>");
            self.properties(schema);
            for part in ["oneOf", "anyOf", "allOf"].into_iter().flat_map(|word| items(&schema[word])) {
                self.properties(part);
            }
            self.example(&schema["example"]);
            self.raw("</section>");
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document() -> Value {
        json!({
            "info": {"title": "A <b>", "version": "1", "description": "One `code`.\n\nTwo."},
            "tags": [{"name": "Operation"}, {"name": "Pets", "description": "All of them"}],
            "paths": {
                "/livez": {"get": {"tags": ["Operation"], "responses": {"200": {"description": "Yes"}}}},
                "/pets/{id}": {"get": {
                    "tags": ["Pets"], "summary": "One pet", "security": [{"bearer": []}],
                    "parameters": [{"name": "id", "in": "path", "required": true, "schema": {"type": "integer", "minimum": 1}}],
                    "responses": {"200": {"$ref": "#/components/responses/Pet"}},
                }},
            },
            "components": {
                "schemas": {"Pet": {"type": "object", "required": ["name"], "properties": {
                    "name": {"type": ["string", "null"], "description": "<script>alert(1)</script>"},
                }}},
                "responses": {"Pet": {"description": "The pet", "content": {"application/json": {
                    "schema": {"$ref": "#/components/schemas/Pet"}, "example": {"name": "Tom"},
                }}}},
            },
        })
    }

    #[test]
    fn every_operation_parameter_answer_and_schema_is_shown() {
        let html = render(&document()).html;
        for part in [
            "<code>/pets/{id}</code>",
            "One pet",
            "Credential: bearer",
            "Credential: none",
            "path, required",
            "from <code>1</code>",
            "The pet",
            "href=\"#schema-Pet\"",
            "id=\"schema-Pet\"",
            "string or null, required",
            "&quot;Tom&quot;",
            "<p>One <code>code</code>.</p><p>Two.</p>",
            "All of them",
        ] {
            assert!(html.contains(part), "{part} is missing in {html}");
        }
        assert!(html.find("All of them").unwrap() < html.find("<h2>Operation").unwrap(), "the operator comes last");
    }

    #[test]
    fn nothing_of_the_document_becomes_markup() {
        let page = render(&document());
        assert!(!page.html.contains("<script") && page.html.contains("A &lt;b&gt;"));
        assert!(page.policy.contains(&STANDARD.encode(Sha256::digest(STYLE.as_bytes()))));
    }
}
