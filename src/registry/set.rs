//! All partners' policies, bound and indexed: what one exchange sees from its beginning to its end.
//!
//! Never changes; a reload makes another one. Start at [`PolicySet`].

use std::collections::HashMap;
use std::sync::Arc;

use ::http::HeaderName;
use jiff::civil::Date;

use crate::clock::Time;
use crate::crossing::bind::BoundLeg;
use crate::crossing::head::PathTemplate;
use crate::http::trust::{Identity, Trust};
use crate::ids::{Direction, DomainId, PartnerId, UpstreamId};
use crate::policy::route::Router;
use crate::policy::rule::{self, CredentialKind};

use super::jwt::Verifier;

/// All policies, under one digest.
#[derive(Debug, Default)]
pub struct PolicySet {
    /// SHA-256 over all files, hex.
    pub digest: Arc<str>,
    /// In the order of their files.
    pub partners: Vec<Arc<Partner>>,
    /// Who is who.
    pub index: Index,
}

/// One partner, ready for traffic.
#[derive(Debug)]
pub struct Partner {
    /// Identity in records, metrics, settings.
    pub id: PartnerId,
    /// The domain of its tokens.
    pub domain: DomainId,
    /// The policy file's digest, hex: what the record calls the policy.
    pub digest: Arc<str>,
    /// From then on nothing is shared.
    pub expires: Option<Time>,
    /// Nothing is shared now.
    pub suspended: bool,
    /// How much.
    pub limits: rule::Limits,
    /// Kinds of credential that are demanded together.
    pub require: Vec<CredentialKind>,
    /// The name that its client certificate bears, and the authority that must have signed it.
    pub certificate: Option<(String, Trust)>,
    /// How its tokens are checked.
    pub jwt: Option<Verifier>,
    /// The partner calls us.
    pub inbound: Router,
    /// We call the partner.
    pub outbound: Router,
    /// Both directions; the routers' indices point here.
    pub routes: Vec<Arc<Route>>,
}

/// One route, ready for traffic.
#[derive(Debug)]
pub struct Route {
    /// As written: what records and metrics call the route.
    pub pattern: Arc<str>,
    /// Who calls.
    pub direction: Direction,
    /// Where it goes.
    pub upstream: UpstreamId,
    /// How its path is written.
    pub path: PathTemplate,
    /// The request's rules.
    pub request: Arc<BoundLeg>,
    /// The response's rules.
    pub response: Arc<BoundLeg>,
    /// The rules for responses with an error status.
    pub error: Option<Arc<BoundLeg>>,
}

/// Who is who: every question is one look-up, however many partners there are.
#[derive(Debug, Default)]
pub struct Index {
    hosts: HashMap<String, usize>,
    key_headers: Vec<HeaderName>,
    keys: HashMap<(usize, [u8; 32]), usize>,
    names: HashMap<String, Vec<usize>>,
    issuers: HashMap<String, Vec<usize>>,
}

/// The moment after the end of that day, UTC.
pub(super) fn end_of_day(date: Date) -> Option<Time> {
    let next = date.tomorrow().ok()?;
    let midnight = jiff::tz::TimeZone::UTC.to_timestamp(next.at(0, 0, 0, 0)).ok()?;
    u64::try_from(midnight.as_millisecond()).ok().map(Time)
}

impl Index {
    /// Adds the partner with number `partner`. Two that claim one host or one key are the lint's to refuse.
    pub(super) fn add(&mut self, partner: usize, hosts: &[String], identify: &rule::Identify) -> Result<(), String> {
        for host in hosts {
            if self.hosts.insert(host.clone(), partner).is_some() {
                return Err(format!("host `{host}` is claimed by two partners"));
            }
        }
        if let Some(key) = &identify.api_key {
            let name: HeaderName =
                key.header.parse().map_err(|_| format!("`{}` is no header name", key.header.escape_debug()))?;
            let header = match self.key_headers.iter().position(|known| *known == name) {
                Some(header) => header,
                None => {
                    self.key_headers.push(name);
                    self.key_headers.len() - 1
                }
            };
            for digest in &key.sha256 {
                if self.keys.insert((header, *digest), partner).is_some_and(|other| other != partner) {
                    return Err("an API key is claimed by two partners".to_owned());
                }
            }
        }
        if let Some(certificate) = &identify.client_certificate {
            self.names.entry(certificate.san.to_ascii_lowercase()).or_default().push(partner);
        }
        if let Some(jwt) = &identify.jwt {
            self.issuers.entry(jwt.issuer.clone()).or_default().push(partner);
        }
        Ok(())
    }

    /// Whose host this authority is (lower case, without a default port).
    #[must_use]
    pub fn host(&self, authority: &str) -> Option<usize> {
        self.hosts.get(authority).copied()
    }

    /// The headers in which any partner sends its key.
    #[must_use]
    pub fn key_headers(&self) -> &[HeaderName] {
        &self.key_headers
    }

    /// Whose key has this digest, in the header with this number; with the digest as the policy has it, to be compared in
    /// constant time.
    #[must_use]
    pub fn key(&self, header: usize, digest: [u8; 32]) -> Option<(usize, &[u8; 32])> {
        self.keys.get_key_value(&(header, digest)).map(|((_, known), partner)| (*partner, known))
    }

    /// Partners whose certificate bears one of these names.
    pub fn names<'a>(&'a self, identity: &'a Identity) -> impl Iterator<Item = usize> + 'a {
        let by_wildcard = |name: &str| {
            let (_, parent) = name.split_once('.')?;
            self.names.get(&format!("*.{parent}"))
        };
        let found = identity.sans.iter().flat_map(move |name| {
            let exact = self.names.get(&name.to_ascii_lowercase());
            exact.into_iter().chain(by_wildcard(&name.to_ascii_lowercase()))
        });
        found.flatten().copied()
    }

    /// Partners whose tokens come from this issuer.
    #[must_use]
    pub fn issuer(&self, issuer: &str) -> &[usize] {
        self.issuers.get(issuer).map_or(&[], Vec::as_slice)
    }
}
