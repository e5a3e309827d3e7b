//! The order and the two partners that most tests speak of.

/// An order as the upstream tells it: each value that a partner might see under a label of its own.
pub const ORDER: &str = r#"{
  "id": "<order>",
  "status": "<status>",
  "placed_on": "2026-03-14",
  "total": 12345678901234567890.10,
  "tax": 1.50e+2,
  "customer": {"id": "<customer>", "name": "Zo\u00eb \"Z\" <name> \/ \u0041", "email": "<email>", "phone": "<phone>", "birth_date": "<date>"},
  "items": [
    {"sku": "<sku.1>", "quantity": 2, "cost": <digits.1>, "category": "<category>"},
    {"sku": "<sku.2>", "quantity": 1, "cost": <digits.2>, "category": "<category>"}
  ],
  "margin": <digits>,
  "note": "<note>"
}"#;

/// A courier: name and goods in clear, the rest as tokens or not at all.
pub const COURIER: &str = r#"
[[inbound]]
match = "GET /v1/orders/{id}"
upstream = "orders"
[inbound.request]
query = ["expand"]
reveal = [{ capture = "id", is = "id.order" }]
[inbound.response]
subject = "$.customer.id"
keep = ["$['status', 'total', 'tax']", "$.items[*]['sku', 'quantity']"]
fields = [
  { path = "$.id", is = "id.order", do = "tokenize" },
  { path = "$.customer.id", is = "id.customer", do = "tokenize" },
  { path = "$.customer.email", is = "contact.email", do = "tokenize", as = "email" },
  { path = "$.customer.phone", is = "contact.phone", do = "mask", keep_last = 4 },
  { path = "$.customer.name", is = "name", do = "keep", reason = "printed on the label" },
]

[[inbound]]
match = "GET /v1/orders"
upstream = "orders"
[inbound.response]
fields = [{ path = "$.id", is = "id.order", do = "tokenize" }, { path = "$.customer.id", is = "id.customer", do = "tokenize" }]

[[inbound]]
match = "POST /v1/orders/{id}/events"
upstream = "orders"
[inbound.request]
reveal = [{ capture = "id", is = "id.order" }, { path = "$.customer_ref", is = "id.customer" }]
[inbound.response]
keep = ["$.status"]
"#;

/// What the courier may see of [`ORDER`].
pub const COURIER_SEES: &[&str] = &["status", "name", "sku.1", "sku.2"];

/// An advertising network: coarse facts, and a token for the customer.
pub const NETWORK: &str = r#"
[[inbound]]
match = "GET /v1/orders/{id}"
upstream = "orders"
[inbound.request]
reveal = [{ capture = "id", is = "id.order", plain = "pass" }]
[inbound.response]
keep = ["$.placed_on", "$.items[*].category"]
fields = [
  { path = "$.id", is = "id.order", do = "tokenize" },
  { path = "$.customer.id", is = "id.customer", do = "tokenize" },
  { path = "$.customer.email", is = "contact.email", do = "pseudonymize" },
  { path = "$.customer.birth_date", is = "demo.birth-date", do = "generalize", to = "year" },
]

[[inbound]]
match = "GET /v1/orders"
upstream = "orders"
[inbound.response]
fields = [{ path = "$.id", is = "id.order", do = "tokenize" }, { path = "$.customer.id", is = "id.customer", do = "tokenize" }]

[[inbound]]
match = "POST /v1/orders/{id}/events"
upstream = "orders"
[inbound.request]
reveal = [{ capture = "id", is = "id.order" }, { path = "$.customer_ref", is = "id.customer" }]
[inbound.response]
keep = ["$.status"]
"#;

/// What the network may see of [`ORDER`].
pub const NETWORK_SEES: &[&str] = &["category"];

/// A route that keeps one field of a small body.
pub const SMALL: &str = r#"
[[inbound]]
match = "GET /v1/small"
upstream = "orders"
[inbound.response]
keep = ["$.open"]
"#;

/// The body of [`SMALL`]: one value that leaves, one that does not.
pub const SMALL_BODY: &str = r#"{"open": "yes", "secret": "<secret>"}"#;
