//! Who calls, what for, how often: everything that is decided before a byte of the body is read.
//!
//! Cheapest first: the head must be readable in one way, then every credential must name one and the same partner, then the
//! agreement must stand, then path and query must be in their one form and lead to a route, then the quota. Start at
//! [`admit`]; the proof that all this was done is an [`Admitted`].

use std::sync::Arc;

use ::http::request::Parts;
use ::http::{Version, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::OwnedSemaphorePermit;

use crate::clock::Time;
use crate::http::body::Keep;
use crate::http::listener::Peer;
use crate::ids::Direction;
use crate::policy::route::{Matched, NormalPath, QueryPair, TargetError, parse_query};
use crate::policy::rule::CredentialKind;
use crate::registry::jwt;
use crate::verdict::Refusal;

use super::exchange::Exchange;
use super::headers;
use super::limits::Permit;
use super::snapshot::{LivePartner, LiveRoute, Snapshot};

/// An exchange that may go on.
#[derive(Debug)]
pub struct Admitted {
    /// Who is on the far side.
    pub partner: Arc<LivePartner>,
    /// What for.
    pub route: Arc<LiveRoute>,
    /// What stood at the route's captures, decoded.
    pub captures: Vec<(String, String)>,
    /// The query's pairs, all of them.
    pub query: Vec<QueryPair>,
}

/// What an exchange takes up.
#[derive(Debug)]
struct Place {
    _process: OwnedSemaphorePermit,
    _partner: Permit,
}

impl Keep for Place {}

/// Decides. What becomes known on the way (partner, route) is told to the exchange at once, so that its log line and its
/// metrics have it even if the next step refuses. `place`: the one in the process.
///
/// # Errors
/// The first reason against it.
pub fn admit(
    snapshot: &Snapshot,
    peer: &Peer,
    head: &Parts,
    place: OwnedSemaphorePermit,
    exchange: &mut Exchange,
) -> Result<Admitted, Refusal> {
    let now = exchange.now;
    let authority = authority(head)?;
    if !headers::singletons(&head.headers) {
        // Two credentials of one kind are told apart from other doubled fields.
        let twice = head.headers.get_all(header::AUTHORIZATION).iter().nth(1).is_some();
        return Err(if twice { Refusal::CredentialsDisagree } else { Refusal::RequestMalformed });
    }
    let number = match exchange.direction {
        Direction::Inbound => identify(snapshot, peer, head, now)?,
        Direction::Outbound => {
            let authority = authority.map(|authority| normal_authority(authority, peer.secure));
            authority.and_then(|authority| snapshot.set.index.host(&authority)).ok_or(Refusal::RouteUnknown)?
        }
    };
    let partner = snapshot.partners.get(number).ok_or(Refusal::CredentialWrong)?;
    exchange.partner = Some(Arc::clone(partner));
    if partner.partner.suspended {
        return Err(Refusal::AgreementSuspended);
    }
    if partner.partner.expires.is_some_and(|end| now >= end) {
        return Err(Refusal::AgreementExpired);
    }
    let path = NormalPath::parse(head.uri.path()).map_err(|_| Refusal::PathNotNormal)?;
    let router = match exchange.direction {
        Direction::Inbound => &partner.partner.inbound,
        Direction::Outbound => &partner.partner.outbound,
    };
    let (route, captures) = match router.find(head.method.as_str(), &path) {
        Matched::Route { index, captures } => (partner.routes.get(index).ok_or(Refusal::RouteUnknown)?, captures),
        Matched::Method { allow } => return Err(Refusal::MethodNotAllowed { allow }),
        Matched::None => return Err(Refusal::RouteUnknown),
    };
    exchange.route = Some(Arc::clone(route));
    let query = match head.uri.query() {
        Some(raw) => parse_query(raw).map_err(|error| match error {
            TargetError::Path => Refusal::PathNotNormal,
            TargetError::Query => Refusal::QueryMalformed,
        })?,
        None => Vec::new(),
    };
    // Quota is spent before the body is read: a partner over quota must not be able to make us buffer.
    let permit = partner.limiter.enter()?;
    exchange.hold = Some(Arc::new(Place { _process: place, _partner: permit }));
    Ok(Admitted { partner: Arc::clone(partner), route: Arc::clone(route), captures, query })
}

/// The one authority of a request. `Host` and the target's own must agree; all but HTTP/1.0 must have one.
fn authority(head: &Parts) -> Result<Option<&str>, Refusal> {
    let mut fields = head.headers.get_all(header::HOST).iter();
    let host = match (fields.next(), fields.next()) {
        (None, _) => None,
        (Some(host), None) => Some(host.to_str().map_err(|_| Refusal::RequestMalformed)?),
        (Some(_), Some(_)) => return Err(Refusal::RequestMalformed),
    };
    let target = head.uri.authority().map(::http::uri::Authority::as_str);
    let disagree = matches!((host, target), (Some(host), Some(target)) if !host.eq_ignore_ascii_case(target));
    if disagree || (host.or(target).is_none() && head.version >= Version::HTTP_11) {
        return Err(Refusal::RequestMalformed);
    }
    match host.or(target) {
        // A name with a user before it is two names.
        Some(name) if name.is_empty() || name.bytes().any(|b| !b.is_ascii_graphic() || b"@/?#\\,".contains(&b)) => {
            Err(Refusal::RequestMalformed)
        }
        name => Ok(name),
    }
}

/// As policies write it: lower case, without the default port.
fn normal_authority(authority: &str, secure: bool) -> String {
    let lower = authority.to_ascii_lowercase();
    let port = if secure { ":443" } else { ":80" };
    lower.strip_suffix(port).map_or(lower.clone(), str::to_owned)
}

/// Every credential that is presented must verify, and all must name one partner.
fn identify(snapshot: &Snapshot, peer: &Peer, head: &Parts, now: Time) -> Result<usize, Refusal> {
    let mut found = Found::default();
    if let Some(number) = by_key(snapshot, head)? {
        found.add(CredentialKind::ApiKey, number)?;
    }
    if let Some(number) = by_certificate(snapshot, peer, now)? {
        found.add(CredentialKind::ClientCertificate, number)?;
    }
    // Dearest last: a signature to check.
    if let Some(number) = by_token(snapshot, head, now)? {
        found.add(CredentialKind::Jwt, number)?;
    }
    let number = found.partner.ok_or(Refusal::CredentialMissing)?;
    let require = snapshot.set.partners.get(number).map_or(&[][..], |partner| &partner.require);
    if require.iter().all(|kind| found.kinds.contains(&Some(*kind))) {
        Ok(number)
    } else {
        Err(Refusal::CredentialIncomplete)
    }
}

#[derive(Default)]
struct Found {
    partner: Option<usize>,
    kinds: [Option<CredentialKind>; 3],
}

impl Found {
    fn add(&mut self, kind: CredentialKind, number: usize) -> Result<(), Refusal> {
        if self.partner.is_some_and(|known| known != number) {
            return Err(Refusal::CredentialsDisagree);
        }
        self.partner = Some(number);
        if let Some(slot) = self.kinds.iter_mut().find(|slot| slot.is_none()) {
            *slot = Some(kind);
        }
        Ok(())
    }
}

fn by_key(snapshot: &Snapshot, head: &Parts) -> Result<Option<usize>, Refusal> {
    let index = &snapshot.set.index;
    let mut presented = None;
    for (number, name) in index.key_headers().iter().enumerate() {
        for value in head.headers.get_all(name) {
            // Two keys, in one header or in two that different policies name, are one kind twice.
            if presented.replace((number, value)).is_some() {
                return Err(Refusal::CredentialsDisagree);
            }
        }
    }
    let Some((header, value)) = presented else { return Ok(None) };
    let digest: [u8; 32] = Sha256::digest(value.as_bytes()).into();
    // The table is searched by the digest, of which a guess tells nothing about any key; what is found is compared in
    // constant time all the same.
    match index.key(header, digest) {
        Some((partner, known)) if bool::from(known.ct_eq(&digest)) => Ok(Some(partner)),
        _ => Err(Refusal::CredentialWrong),
    }
}

fn by_certificate(snapshot: &Snapshot, peer: &Peer, now: Time) -> Result<Option<usize>, Refusal> {
    let Some(identity) = &peer.identity else { return Ok(None) };
    let mut named = None;
    for number in snapshot.set.index.names(identity) {
        let certificate = snapshot.set.partners.get(number).and_then(|partner| partner.certificate.as_ref());
        let Some((name, trust)) = certificate else { continue };
        // The listener believed it under the union of all authorities; here it has to be under this partner's own.
        if identity.matches(name) && identity.trusted_by(trust, now) {
            if named.is_some_and(|known| known != number) {
                return Err(Refusal::CredentialsDisagree);
            }
            named = Some(number);
        }
    }
    named.map(Some).ok_or(Refusal::CredentialWrong)
}

fn by_token(snapshot: &Snapshot, head: &Parts, now: Time) -> Result<Option<usize>, Refusal> {
    // Where a policy takes its key from `authorization`, that was looked at already.
    if snapshot.set.index.key_headers().contains(&header::AUTHORIZATION) {
        return Ok(None);
    }
    let Some(value) = head.headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let token = value.to_str().ok().and_then(bearer).ok_or(Refusal::CredentialWrong)?;
    let claimed = jwt::Claimed::read(token).ok_or(Refusal::CredentialWrong)?;
    let issuer = claimed.issuer().ok_or(Refusal::CredentialWrong)?;
    let mut named = None;
    for number in snapshot.set.index.issuer(issuer) {
        let verifier = snapshot.set.partners.get(*number).and_then(|partner| partner.jwt.as_ref());
        if verifier.is_some_and(|verifier| verifier.verify(token, &claimed, now)) {
            if named.is_some() {
                return Err(Refusal::CredentialsDisagree);
            }
            named = Some(*number);
        }
    }
    named.map(Some).ok_or(Refusal::CredentialWrong)
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim_start_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && !token.contains(' ')).then_some(token)
}
