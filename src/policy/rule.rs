//! The checked form of a policy file: what it says, with everything that can be checked alone checked.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::ids::{Category, Direction, DomainId, Leg as Half, Normalize, PartnerId, RuleId, Shape, UpstreamId};
use crate::json::automaton::Otherwise;
use crate::json::path::Path;

use super::inside::Inside;
use super::route::Template;

/// One partner file.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The file as the user named it.
    pub file: Arc<str>,
    /// SHA-256 of the file's bytes, hex: what the record calls the policy.
    pub digest: Arc<str>,
    /// Who.
    pub partner: Partner,
    /// On what ground.
    pub agreement: Agreement,
    /// How the partner proves who it is.
    pub identify: Identify,
    /// How much.
    pub limits: Limits,
    /// What.
    pub routes: Vec<Route>,
    /// For messages: where the file says what.
    pub places: Places,
}

impl Policy {
    /// The upstreams that it names, each once, with a route that names it.
    pub fn upstreams(&self) -> BTreeMap<&UpstreamId, &Route> {
        // The first route of each: later ones do not replace it.
        self.routes.iter().rev().map(|route| (&route.upstream, route)).collect()
    }

    /// The files that it names, as written, with the place of each.
    pub fn files(&self) -> Vec<(&std::path::Path, &Place)> {
        let certificate = self.identify.client_certificate.as_ref();
        let ca = certificate.map(|certificate| (certificate.ca.as_path(), &self.places.client_certificate));
        let jwks = self.identify.jwt.as_ref().map(|jwt| (jwt.jwks.as_path(), &self.places.jwt));
        let rules = self.legs().flat_map(|on| on.leg.deep_rules()).map(|deep| deep.thing);
        let keys = rules.filter_map(|rule| match &rule.action {
            Action::Encrypt { to } => Some((to.as_path(), &rule.place)),
            _ => None,
        });
        ca.into_iter().chain(jwks).chain(keys).collect()
    }

    /// All legs that the file has, with their routes.
    pub fn legs(&self) -> impl Iterator<Item = LegOf<'_>> {
        self.routes.iter().flat_map(|route| {
            let on = move |half, leg, word| LegOf { route, half, leg, word };
            let error = route.error.as_ref().map(|leg| on(Half::Response, leg, "error"));
            let both = [on(Half::Request, &route.request, "request"), on(Half::Response, &route.response, "response")];
            both.into_iter().chain(error)
        })
    }
}

/// A leg and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct LegOf<'p> {
    /// Its route.
    pub route: &'p Route,
    /// Which half of the exchange.
    pub half: Half,
    /// Its rules.
    pub leg: &'p Leg,
    word: &'static str,
}

impl LegOf<'_> {
    /// Who calls.
    pub fn direction(&self) -> Direction {
        self.route.direction
    }

    /// Whether what crosses it leaves to the partner.
    pub fn discloses(&self) -> bool {
        self.half.discloses(self.route.direction)
    }

    /// `inbound.response` of `GET /v1/orders/{id}`
    pub fn name(&self) -> String {
        format!("`{}.{}` of `{}`", self.route.direction.as_str(), self.word, self.route.pattern)
    }
}

/// Where a file says what two files must not both say, and what time changes.
#[derive(Clone, Debug)]
pub struct Places {
    /// `partner.id`
    pub id: Place,
    /// `partner.hosts`
    pub hosts: Place,
    /// `partner.domain`
    pub domain: Place,
    /// `agreement.expires`
    pub expires: Place,
    /// `agreement.suspended`
    pub suspended: Place,
    /// `identify.client_certificate`
    pub client_certificate: Place,
    /// `identify.api_key`
    pub api_key: Place,
    /// `identify.jwt`
    pub jwt: Place,
}

/// `[partner]`
#[derive(Clone, Debug)]
pub struct Partner {
    /// Identity in records, metrics, settings.
    pub id: PartnerId,
    /// The legal entity that people are told about.
    pub name: String,
    /// ISO 3166-1 alpha-2.
    pub countries: Vec<String>,
    /// Why data is shared at all.
    pub purpose: String,
    /// The authorities by which our own callers reach this partner's API (outbound); lower case, without a default port.
    pub hosts: Vec<String>,
    /// The domain of its tokens: its own (named as the partner) unless the file says `domain = "…"`.
    pub domain: DomainId,
}

/// `[agreement]`
#[derive(Clone, Debug)]
pub struct Agreement {
    /// The contract's own name.
    pub reference: String,
    /// Nothing is shared after the end of that day, UTC. As (year, month, day).
    pub expires: Option<jiff::civil::Date>,
    /// Nothing is shared now.
    pub suspended: bool,
}

/// A kind of credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CredentialKind {
    /// A TLS client certificate.
    ClientCertificate,
    /// A key in a header.
    ApiKey,
    /// A JSON Web Token as bearer.
    Jwt,
}

/// `[identify]`
#[derive(Clone, Debug, Default)]
pub struct Identify {
    /// `client_certificate`
    pub client_certificate: Option<ClientCertificate>,
    /// `api_key`
    pub api_key: Option<ApiKey>,
    /// `jwt`
    pub jwt: Option<Jwt>,
    /// Kinds that are demanded together. Empty: any one.
    pub require: Vec<CredentialKind>,
}

/// A client certificate that is the partner's.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// A DNS or URI subject alternative name; a leading `*.` stands for one label.
    pub san: String,
    /// PEM file of the partner's own authority, as written in the policy.
    pub ca: PathBuf,
}

/// An API key, known by its digest.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// Header name, lower case.
    pub header: String,
    /// SHA-256 of each accepted key.
    pub sha256: Vec<[u8; 32]>,
}

/// A JSON Web Token (RFC 7519) as `Authorization: Bearer`.
#[derive(Clone, Debug)]
pub struct Jwt {
    /// `iss`
    pub issuer: String,
    /// `aud`
    pub audience: String,
    /// Accepted `alg`, asymmetric only: `ES256 ES384 RS256 PS256 EdDSA` and kin.
    pub algorithms: Vec<String>,
    /// Further claims and their exact values.
    pub claims: BTreeMap<String, String>,
    /// File of the key set (RFC 7517), as written in the policy.
    pub jwks: PathBuf,
}

/// `[limits]`
#[derive(Clone, Debug)]
pub struct Limits {
    /// Requests per period.
    pub rate: Option<Rate>,
    /// Requests at once above the rate. Default: the rate's count.
    pub burst: Option<NonZeroU32>,
    /// Exchanges at the same time.
    pub concurrent: Option<NonZeroU32>,
    /// Different tokens that are turned back in an hour.
    pub reveal: Option<NonZeroU32>,
    /// Different persons whose data leaves in an hour.
    pub subjects: Option<NonZeroU32>,
    /// Bytes of one body, un-coded. `None`: the setting's.
    pub body_bytes: Option<u64>,
    /// Up to this size nothing leaves before the whole body has passed. Default 1 MiB.
    pub atomic_bytes: u64,
    /// Longest value that is held to be transformed. Default 64 KiB.
    pub value_bytes: usize,
    /// Longest element that is held to decide a rule. Default 1 MiB.
    pub element_bytes: usize,
    /// Leaves of one body that may be transformed.
    pub leaves: u64,
    /// Bytes by which rules may make one body longer.
    pub growth_bytes: u64,
}

/// `"200/s"`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU32,
    /// In how long: a second, a minute or an hour.
    pub per: Duration,
}

/// `[[inbound]]` or `[[outbound]]`
#[derive(Clone, Debug)]
pub struct Route {
    /// Who calls.
    pub direction: Direction,
    /// As written: `GET /v1/orders/{id}`. What records and metrics call the route.
    pub pattern: Arc<str>,
    /// Upper-case method names; never `HEAD` beside `GET`, which implies it.
    pub methods: Vec<String>,
    /// The path.
    pub template: Template,
    /// Where it goes.
    pub upstream: UpstreamId,
    /// The request's rules.
    pub request: Leg,
    /// The response's rules.
    pub response: Leg,
    /// The rules for responses with an error status (4xx, 5xx). `None`: status and our own problem document only.
    pub error: Option<Leg>,
    /// For messages: where it stands.
    pub place: Place,
}

/// Where in the policy file something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as the user named it.
    pub file: Arc<str>,
    /// Byte range in it.
    pub span: std::ops::Range<usize>,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

/// What the body of a leg is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// `application/json` and `+json`.
    Json,
    /// Lines of JSON: each is a document of its own.
    Ndjson,
    /// Events (WHATWG HTML, section 9.2): the data of each is a document of its own.
    Sse,
    /// Pairs of names and values (WHATWG URL, section 5).
    Form,
    /// Parts (RFC 7578).
    Multipart,
    /// No body at all.
    None,
    /// Bytes that pass unread; lists the reason that the policy gives.
    Opaque {
        /// Why.
        reason: String,
    },
}

impl BodyKind {
    /// Whether it is made of JSON documents, so that paths lead somewhere.
    #[must_use]
    pub fn has_paths(&self) -> bool {
        matches!(self, Self::Json | Self::Ndjson | Self::Sse)
    }

    /// Whether it is read at all.
    #[must_use]
    pub fn is_read(&self) -> bool {
        !matches!(self, Self::None | Self::Opaque { .. })
    }

    /// Whether it is made of documents that pass one by one, as soon as each is whole.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        matches!(self, Self::Ndjson | Self::Sse)
    }
}

/// One leg of a route.
#[derive(Clone, Debug)]
pub struct Leg {
    /// What the body is.
    pub body: BodyKind,
    /// For unlisted leaves: `drop` on a disclosing leg, `keep` on a receiving one, unless written.
    pub default: Otherwise,
    /// In the order of the file; the `keep = […]` shorthand becomes rules too.
    pub rules: Vec<Rule>,
    /// Only on receiving legs.
    pub reveals: Vec<Reveal>,
    /// Query parameters that pass (request legs).
    pub query: Vec<String>,
    /// Headers that pass beside the default list, lower case.
    pub headers: Vec<String>,
    /// Whether the default list of headers passes.
    pub default_headers: bool,
    /// Names of events that pass; `None` where the file does not say.
    pub events: Option<Vec<String>>,
    /// Data of events that is no JSON and passes as it is.
    pub literals: Vec<String>,
    /// Whose data this is.
    pub subject: Option<Path>,
}

/// Where a rule looks.
#[derive(Clone, Debug, PartialEq)]
pub enum Locator {
    /// In the JSON body.
    Path(Path),
    /// A query parameter.
    Query(String),
    /// A header, lower case.
    Header(String),
    /// A `{name}` of the route.
    Capture(String),
    /// A cookie.
    Cookie(String),
    /// A line of an event: `id` or `comment`.
    Event(String),
    /// A field of a form, by its decoded name.
    Form(String),
    /// A part, by its name.
    Part(String),
    /// In a part that is a JSON document.
    InPart {
        /// The part's name.
        part: String,
        /// In it.
        path: Path,
    },
}

impl Locator {
    /// Whether it leads into a JSON document.
    #[must_use]
    pub fn is_path(&self) -> bool {
        matches!(self, Self::Path(_) | Self::InPart { .. })
    }

    /// Whether it is marked by the framing, and not by a program, that a rule's place is there.
    #[must_use]
    pub fn is_asked_for(&self) -> bool {
        matches!(self, Self::Form(_) | Self::Part(_) | Self::InPart { .. })
    }

    /// Whether it leads into a body that can be asked whether it is there.
    #[must_use]
    pub fn is_in_body(&self) -> bool {
        self.is_path() || matches!(self, Self::Form(_) | Self::Part(_))
    }
}

/// Where, what, what kind, why.
#[derive(Clone, Debug)]
pub struct Rule {
    /// In records; unique in its leg.
    pub id: RuleId,
    /// Where.
    pub locator: Locator,
    /// Places taken out.
    pub except: Vec<Path>,
    /// What.
    pub action: Action,
    /// What kind of data.
    pub category: Option<Category>,
    /// What is done to a value before it is tokenized or hashed.
    pub normalize: Option<Normalize>,
    /// Why.
    pub reason: Option<String>,
    /// A body in which it matches nothing is refused.
    pub must: bool,
    /// Where it stands.
    pub place: Place,
}

/// `reveal`: a token of this partner is turned back here.
#[derive(Clone, Debug)]
pub struct Reveal {
    /// In records; unique in its leg, beside the rules.
    pub id: RuleId,
    /// Where.
    pub locator: Locator,
    /// The category under which the token was issued.
    pub category: Category,
    /// The shape under which it was issued, where the token does not say it itself.
    pub shape: Option<Shape>,
    /// What a value that is no such token gets.
    pub plain: Plain,
    /// Where it stands.
    pub place: Place,
}

/// What a value at a revealed place that is no token gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain {
    /// A refusal.
    Refuse,
    /// It stays as it is.
    Pass,
}

/// `tokenize` with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// How the token looks: opaque, as an address, or as a UUID.
    pub shape: Shape,
    /// Each value gets a token of its own, which ends after so long.
    pub once: Option<Duration>,
}

/// What a rule does. The order of the variants is the order of strictness, laxest first.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Bytes as they were.
    Keep {
        /// Containers too.
        whole: bool,
    },
    /// What the rules inside the string say.
    Inside(Inside),
    /// A fixed run of `*`.
    Mask(Mask),
    /// Coarser.
    Generalize(Generalize),
    /// Sealed to the partner's public key: a JWK file (RFC 7517), as written in the policy. Leaves a JWE (RFC 7516), compact.
    Encrypt {
        /// The file.
        to: PathBuf,
    },
    /// A stand-in that we alone can turn back.
    Tokenize(Shape),
    /// A stand-in whose value is kept in the store.
    Store(Kept),
    /// A keyed hash.
    Pseudonymize,
    /// This JSON value.
    Replace {
        /// Its bytes.
        with: Arc<[u8]>,
    },
    /// `null`.
    Null,
    /// Nothing.
    Drop,
}

/// `mask`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mask {
    /// Grapheme clusters kept at the start.
    pub keep_first: usize,
    /// Grapheme clusters kept at the end.
    pub keep_last: usize,
    /// As many `*` as clusters were masked, instead of a fixed run.
    pub same_length: bool,
}

/// `generalize`, `to`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generalize {
    /// A date's year.
    Year,
    /// A date's year and month.
    Month,
    /// `age-band:10`: from an age or a date of birth; `30-39`.
    AgeBand(u32),
    /// `prefix:3`: the first grapheme clusters.
    Prefix(usize),
    /// `ip-net`: IPv4 to /24, IPv6 to /48.
    IpNet,
    /// `bucket:100`: a number's bucket, by its lower end.
    Bucket(u64),
    /// `geo:1km`: a coordinate in decimal degrees to a grid of about so many metres.
    Geo(u32),
}
