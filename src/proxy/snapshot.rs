//! A set of policies with what the proxy adds to it: limiters, upstreams, metrics.
//!
//! Made once a reload, so that an exchange looks nothing up by name. Start at [`Snapshot`].

use std::sync::Arc;

use ::http::{HeaderName, HeaderValue, header};

use crate::ids::RuleId;
use crate::ledger::entry::Disclosure;
use crate::policy::rule;
use crate::registry::set::{Partner, PolicySet, Route};
use crate::telemetry::Metrics;
use crate::telemetry::meters::{LegMetrics, RouteMetrics};

use super::limits::{Limiter, Limits};
use super::upstream::Upstream;

/// What one exchange sees from its beginning to its end.
#[derive(Debug)]
pub struct Snapshot {
    /// The policies.
    pub set: Arc<PolicySet>,
    /// Parallel to `set.partners`.
    pub partners: Vec<Arc<LivePartner>>,
    /// Where partners' credentials stand: these headers are never sent on.
    pub credentials: Vec<HeaderName>,
    /// The kinds of credential that any partner has, for those who bring none that is accepted.
    pub challenge: HeaderValue,
}

/// One partner with its limiter.
#[derive(Debug)]
pub struct LivePartner {
    /// Its policy.
    pub partner: Arc<Partner>,
    /// Its limits.
    pub limiter: Arc<Limiter>,
    /// Parallel to `partner.routes`.
    pub routes: Vec<Arc<LiveRoute>>,
}

/// One route with its upstream and its metrics.
#[derive(Debug)]
pub struct LiveRoute {
    /// Its rules.
    pub route: Arc<Route>,
    /// Where it goes.
    pub upstream: Arc<Upstream>,
    /// What the record says of each of its disclosures.
    pub disclosure: Arc<Disclosure>,
    /// How its exchanges end.
    pub metrics: Arc<RouteMetrics>,
    /// What its request leg does.
    pub request: Arc<LegMetrics>,
    /// What its response leg does.
    pub response: Arc<LegMetrics>,
    /// What its error leg does.
    pub error: Option<Arc<LegMetrics>>,
}

impl Snapshot {
    /// Puts it together. `upstream` finds one by name; a route without one (the registry refuses such a set) is left out
    /// and so answers as an unknown one.
    #[must_use]
    pub fn new(
        set: Arc<PolicySet>,
        limits: &Limits,
        metrics: &Metrics,
        upstream: impl Fn(&crate::ids::UpstreamId) -> Option<Arc<Upstream>>,
    ) -> Self {
        let limiters = limits.adopt(set.partners.iter().map(|partner| (&partner.id, &partner.limits)));
        let partners = set.partners.iter().zip(limiters).map(|(partner, limiter)| {
            let live = |route: &Arc<Route>| {
                let upstream = upstream(&route.upstream)?;
                let leg = |name, leg: &rule::Leg| metrics.leg(&partner.id, &route.pattern, name, rules(leg));
                let disclosure = Disclosure::new(&partner.id, &route.pattern, route.direction, &partner.digest);
                Some(Arc::new(LiveRoute {
                    upstream,
                    disclosure: Arc::new(disclosure),
                    metrics: metrics.route(Some(&partner.id), Some(&route.pattern), route.direction),
                    request: leg("request", &route.request.compiled.leg),
                    response: leg("response", &route.response.compiled.leg),
                    error: route.error.as_ref().map(|bound| leg("error", &bound.compiled.leg)),
                    route: Arc::clone(route),
                }))
            };
            let routes: Option<Vec<_>> = partner.routes.iter().map(live).collect();
            Arc::new(LivePartner { routes: routes.unwrap_or_default(), partner: Arc::clone(partner), limiter })
        });
        let partners = partners.collect();
        let mut credentials = set.index.key_headers().to_vec();
        credentials.push(header::AUTHORIZATION);
        let challenge = challenge(&set);
        Self { set, partners, credentials, challenge }
    }
}

/// `WWW-Authenticate` (RFC 9110, section 11.6.1): kinds only. In which header a key stands, and whose tokens are taken, would
/// tell a stranger of partners. Of the three words only `Bearer` is a registered scheme; there is none for the others.
fn challenge(set: &PolicySet) -> HeaderValue {
    let kinds = [
        ("Bearer", set.partners.iter().any(|partner| partner.jwt.is_some())),
        ("ApiKey", !set.index.key_headers().is_empty()),
        ("ClientCertificate", set.partners.iter().any(|partner| partner.certificate.is_some())),
    ];
    let accepted = kinds.iter().filter(|(_, accepted)| *accepted);
    let all: Vec<_> = accepted.map(|(kind, _)| format!("{kind} realm=\"tidegate\"")).collect();
    // A set that knows no credential at all has to name a scheme even so.
    HeaderValue::try_from(all.join(", ")).ok().filter(|value| !value.is_empty()).unwrap_or(BEARER)
}

const BEARER: HeaderValue = HeaderValue::from_static("Bearer realm=\"tidegate\"");

/// The rules of a leg, each with the word for what it does.
fn rules(leg: &rule::Leg) -> impl Iterator<Item = (RuleId, &'static str)> {
    let rules = leg.rules.iter().map(|rule| (rule.id.clone(), rule.action.name()));
    rules.chain(leg.reveals.iter().map(|reveal| (reveal.id.clone(), "reveal")))
}
