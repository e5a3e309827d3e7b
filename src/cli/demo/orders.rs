//! The demo's sample upstream: an order API with people who do not exist, and the courier's API beside it.
//!
//! Deterministic, so that what the README says of an order stays true. The bodies are spelt by hand and not by a JSON
//! library, because real ones are: escapes where none are needed, numbers that no `f64` holds. Start at [`Orders`].

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderValue, Method, Response, StatusCode, header};
use bytes::Bytes;
use tokio::sync::mpsc::UnboundedSender;

use crate::http::body::{Limits, Outgoing, Reader};
use crate::http::listener::{Call, Peer, Service};
use crate::http::pace::Pace;

/// How many orders there are.
const COUNT: usize = 12;
/// The number of the first.
const FIRST: usize = 1001;

const NAMES: [(&str, &str); 6] = [
    (r"Zo\u00eb Lindqvist", "zoe.lindqvist"),
    (r#"S\u00f8ren \"Sunny\" Kj\u00e6r"#, "soren.kjaer"),
    ("Aoife O'Neill", "aoife.oneill"),
    (r"Ma\u0142gorzata Wi\u015bniewska", "malgorzata"),
    ("Jürgen Groß", "juergen.gross"),
    (r"Mei-Ling Chan \/ \u9673", "meiling.chan"),
];
const PLACES: [(&str, &str, &str, &str); 4] = [
    ("Lindenallee 12", "10245", "Berlin", "DE"),
    (r"Kj\u00f8pmannsgata 3", "7013", "Trondheim", "NO"),
    (r"Rue de l\u2019\u00c9glise 8", "1050", "Ixelles", "BE"),
    ("Hauptstr. 77", "8001", "Zürich", "CH"),
];
const GOODS: [(&str, &str, &str, u32, &str); 5] = [
    ("SKU-TEA-01", "First Flush, 100 g", "groceries", 120, "14.90"),
    ("SKU-LMP-07", "Desk lamp", "home", 1850, "59.00"),
    ("SKU-BK-113", r"The Name of the Rose (\u2116 3)", "books", 640, "12.50"),
    ("SKU-RUN-42", "Running shoes", "sports", 780, "119.95"),
    ("SKU-MED-05", "Blood pressure monitor", "health", 410, "44.00"),
];

/// A whole order as our own API has it, or nothing.
#[must_use]
pub fn order(id: &str) -> Option<String> {
    let number: usize = id.strip_prefix("ord-2026-")?.parse().ok()?;
    let n = number.checked_sub(FIRST).filter(|n| *n < COUNT)?;
    let (name, mail) = pick(&NAMES, n)?;
    let (street, postcode, city, country) = pick(&PLACES, n)?;
    // No `f64` holds this number: it has to cross as text.
    let total =
        if n == 0 { "12345678901234567890.10".to_owned() } else { format!("{}.{:02}", 40 + n * 37, n * 7 % 100) };
    let mut items = String::new();
    for i in 0..=(n % 3) {
        let (sku, title, category, grams, price) = pick(&GOODS, n + i)?;
        let comma = if i == 0 { "" } else { "," };
        let _ = write!(
            items,
            "{comma}\n    {{\n      \"sku\": \"{sku}\",\n      \"title\": \"{title}\",\n      \"category\": \"{category}\",\n      \
             \"quantity\": {},\n      \"weight_grams\": {grams},\n      \"price\": {price},\n      \"cost\": {}.{:02}\n    }}",
            i + 1,
            3 + n,
            n * 13 % 100
        );
    }
    Some(format!(
        r#"{{
  "id": "{id}",
  "status": "packed",
  "placed_on": "2026-11-{:02}",
  "total": {total},
  "currency": "EUR",
  "customer": {{
    "id": "cus-{:05}",
    "name": "{name}",
    "email": "{mail}@mail.example",
    "phone": "+49 151 555 {:04}",
    "birth_date": "19{}-0{}-1{}"
  }},
  "delivery": {{
    "street": "{street}",
    "postcode": "{postcode}",
    "city": "{city}",
    "country": "{country}",
    "door_code": "{:04}"
  }},
  "items": [{items}
  ],
  "payment": {{
    "method": "card",
    "last_digits": "{:04}"
  }},
  "marketing": {{
    "campaign": "autumn-{}",
    "source": "newsletter",
    "consent": true
  }},
  "internal": {{
    "margin": 0.3{n},
    "fraud_score": 0.0{},
    "note": "asked twice for a discount"
  }}
}}
"#,
        1 + n,
        10_017 + n * 31,
        (n * 7919 + 117) % 10_000,
        60 + n * 3,
        1 + n % 9,
        n % 10,
        (n * 3571 + 4711) % 10_000,
        (n * 2711 + 1234) % 10_000,
        n % 3,
        n % 10,
    ))
}

/// The identity of the n-th order.
#[must_use]
pub fn id(n: usize) -> String {
    format!("ord-2026-{}", FIRST + n)
}

fn pick<T: Copy>(all: &[T], n: usize) -> Option<T> {
    all.get(n % all.len().max(1)).copied()
}

fn list() -> String {
    let one = |n| {
        format!(
            "    {{\"id\": \"{}\", \"status\": \"packed\", \"customer_id\": \"cus-{:05}\"}}",
            id(n),
            10_017 + n * 31
        )
    };
    let all: Vec<_> = (0..COUNT).map(one).collect();
    format!("{{\n  \"orders\": [\n{}\n  ],\n  \"page\": 1\n}}\n", all.join(",\n"))
}

/// Answers as the order API and the courier's API would, and tells what it was asked.
#[derive(Debug)]
pub struct Orders {
    asked: UnboundedSender<String>,
}

impl Orders {
    /// What it is asked goes to `asked`, a line each.
    #[must_use]
    pub fn new(asked: UnboundedSender<String>) -> Self {
        Self { asked }
    }
}

impl Service for Orders {
    async fn call(&self, _: Arc<Peer>, request: Call) -> Response<Outgoing> {
        let (parts, body) = request.into_parts();
        let pace = Pace { idle: Duration::from_secs(5), total: Duration::from_secs(60), rate: 1024 };
        let limits = Limits { body_bytes: 1 << 20, ratio: 100, pace };
        let mut reader = Reader::new(body, &[], limits);
        let mut received = Vec::new();
        while let Ok(Some(chunk)) = reader.next().await {
            received.extend_from_slice(&chunk);
        }
        let text = String::from_utf8_lossy(&received);
        let whose = if parts.uri.path() == "/shipments" { "Parcelo's API" } else { "our API" };
        let line = format!("{whose} was asked: {} {} {text}", parts.method, parts.uri.path());
        let _ = self.asked.send(line.trim_end().to_owned());
        let segments: Vec<_> = parts.uri.path().trim_matches('/').split('/').collect();
        match (&parts.method, segments.as_slice()) {
            (&Method::GET, ["v1", "orders"]) => json(StatusCode::OK, list()),
            (&Method::GET, ["v1", "orders", id]) => match order(id) {
                Some(order) => json(StatusCode::OK, order),
                None => json(StatusCode::NOT_FOUND, "{\"error\": \"no such order\"}\n".to_owned()),
            },
            (&Method::POST, ["v1", "orders", id, "events"]) => {
                let answer =
                    format!("{{\n  \"accepted\": true,\n  \"order\": \"{id}\",\n  \"handled_by\": \"intern-7\"\n}}\n");
                json(StatusCode::ACCEPTED, answer)
            }
            // Here the courier answers, with what it was given.
            (&Method::POST, ["shipments"]) => {
                let sent: serde_json::Value = serde_json::from_slice(&received).unwrap_or_default();
                let back = serde_json::json!({
                    "shipment": "PRC-000815", "order_ref": sent.get("order_ref"), "customer_ref": sent.get("customer_ref"),
                });
                json(StatusCode::CREATED, format!("{back:#}\n"))
            }
            _ => json(StatusCode::NOT_FOUND, "{\"error\": \"not found\"}\n".to_owned()),
        }
    }
}

fn json(status: StatusCode, text: String) -> Response<Outgoing> {
    let mut response = Response::new(Outgoing::full(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_is_json_and_has_the_number_that_no_float_holds() {
        for n in 0..COUNT {
            let text = order(&id(n)).unwrap();
            let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
            assert_eq!(value["id"], id(n).as_str());
            assert_eq!(value["items"].as_array().unwrap().len(), 1 + n % 3);
        }
        assert!(order(&id(0)).unwrap().contains("12345678901234567890.10"));
        assert_eq!(order("ord-2026-1000"), None);
        assert_eq!(order(&id(COUNT)), None);
        assert!(serde_json::from_str::<serde_json::Value>(&list()).is_ok());
    }
}
