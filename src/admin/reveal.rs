//! The operator's reveal over HTTP: `POST /reveal`, and `/reveal/show`, `/reveal/approve`, `/reveal/take` for two operators.
//!
//! JSON in, JSON out. The credential is in the body, so that no page in a browser can send it for somebody, and is nowhere logged.
//! Start at `answer`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::ids::{Category, Shape};
use crate::vault::operator::Back;

use super::desk::{Asked, Desk, No, Told};

/// Bytes of a request: more than as many tokens as there may be, in most cases.
const BODY_MAX: usize = 1 << 20;
/// For a request's body.
const BODY_TIME: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    operator: String,
    credential: Zeroizing<String>,
    reason: Option<String>,
    partner: Option<String>,
    category: Option<String>,
    #[serde(rename = "as")]
    shape: Option<String>,
    tokens: Option<Vec<Zeroizing<String>>>,
    request: Option<String>,
}

/// Whether this is one of ours.
pub(super) fn is_path(path: &str) -> bool {
    ["/reveal", "/reveal/show", "/reveal/approve", "/reveal/take"].contains(&path)
}

/// Answers a `POST`.
pub(super) async fn answer(request: Request<Incoming>, desk: &Arc<Desk>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    match asked(request).await {
        Ok(wanted) => match act(&path, wanted, desk).await {
            Ok(told) => told,
            Err(no) => refuse(&no),
        },
        Err(no) => refuse(&no),
    }
}

async fn asked(request: Request<Incoming>) -> Result<Wanted, No> {
    let wrong = |text: &str| No::Form(text.to_owned());
    // A form of a page in a browser cannot say so.
    if request.headers().get(CONTENT_TYPE).is_none_or(|kind| kind != "application/json") {
        return Err(wrong("`content-type: application/json` is wanted"));
    }
    let body = tokio::time::timeout(BODY_TIME, Limited::new(request.into_body(), BODY_MAX).collect()).await;
    let body = body.ok().and_then(Result::ok).ok_or_else(|| wrong("the body did not come in time, or is too long"))?;
    let bytes = Zeroizing::new(body.to_bytes().to_vec());
    // The reader's own text may quote what it read.
    serde_json::from_slice(&bytes).map_err(|_| {
        wrong("an object is wanted with `operator`, `credential`, and `reason`, `partner`, `category`, `tokens` or `request`")
    })
}

async fn act(path: &str, wanted: Wanted, desk: &Arc<Desk>) -> Result<Response<Full<Bytes>>, No> {
    let Wanted { operator, credential, reason, partner, category, shape, tokens, request } = wanted;
    let missing = |name: &str| No::Form(format!("`{name}` is missing"));
    if path != "/reveal" {
        let id = request.ok_or_else(|| missing("request"))?;
        return Ok(match path {
            "/reveal/show" => {
                let shown = desk.show(&operator, &credential, &id).await?;
                let super::desk::Shown { operator, reason, partner, category, tokens } = shown;
                let shown = json!({"operator": operator, "reason": reason, "partner": partner, "category": category, "tokens": tokens});
                respond(StatusCode::OK, &shown)
            }
            "/reveal/approve" => {
                desk.approve(&operator, &credential, &id).await?;
                respond(StatusCode::OK, &json!({"approved": id}))
            }
            _ => told(desk.take(&operator, &credential, &id).await?),
        });
    }
    let category = category.ok_or_else(|| missing("category"))?;
    let category = Category::parse(&category).ok_or_else(|| No::Form("`category` is none".to_owned()))?;
    let shape = match shape.as_deref() {
        None => None,
        Some(name) => Some(shape_of(name).ok_or_else(|| No::Form("`as` is no shape of a token".to_owned()))?),
    };
    let asked = Asked {
        reason: reason.ok_or_else(|| missing("reason"))?,
        partner: partner.ok_or_else(|| missing("partner"))?,
        category,
        shape,
        tokens: tokens.ok_or_else(|| missing("tokens"))?,
    };
    Ok(told(desk.ask(&operator, &credential, asked).await?))
}

fn shape_of(name: &str) -> Option<Shape> {
    use Shape as S;
    let all = [S::Opaque, S::Email, S::Uuid, S::Digits, S::Alnum, S::Card, S::Iban, S::Date];
    all.into_iter().find(|shape| shape.name() == name)
}

fn told(told: Told) -> Response<Full<Bytes>> {
    match told {
        Told::Waiting { id, within } => {
            respond(StatusCode::ACCEPTED, &json!({"request": id, "within_seconds": within.as_secs()}))
        }
        Told::Values(values) => {
            // Spelt into one buffer that is wiped; a tree of values would leave copies behind.
            let mut text = Zeroizing::new(String::with_capacity(values.len() * 256 + 64));
            text.push_str("{\"results\":[");
            for (at, back) in values.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                let (name, said) = match back {
                    Back::Value(value) => ("value", value.as_str()),
                    Back::Gone => ("gone", "it was erased, or has ended"),
                    Back::Never(why) => ("never", *why),
                    Back::NotOurs => ("unknown", "no token of this partner and category, or it was changed"),
                };
                let said = Zeroizing::new(Value::from(said).to_string());
                text.push_str("{\"");
                text.push_str(name);
                text.push_str("\":");
                text.push_str(&said);
                text.push('}');
            }
            text.push_str("]}\n");
            response(StatusCode::OK, Bytes::from_owner(Wiped(text)))
        }
    }
}

/// A text that is wiped when it has been sent.
struct Wiped(Zeroizing<String>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

fn refuse(no: &No) -> Response<Full<Bytes>> {
    let status = match no {
        No::Denied => StatusCode::FORBIDDEN,
        No::Form(_) => StatusCode::BAD_REQUEST,
        No::Rate | No::Full => StatusCode::TOO_MANY_REQUESTS,
        No::Unknown => StatusCode::NOT_FOUND,
        No::Own | No::Unapproved => StatusCode::CONFLICT,
        No::Record | No::Untold(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    respond(status, &json!({"error": no.to_string()}))
}

fn respond(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    response(status, Bytes::from(format!("{body}\n")))
}

fn response(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
