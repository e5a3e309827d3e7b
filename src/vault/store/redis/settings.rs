//! Where the servers are, as whom we come, and what is demanded of them.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::super::memo::Memo;
use super::super::password::Password;

/// A store on a server, or on a cluster.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to begin: the server and what may take its place, or some nodes of the cluster.
    pub nodes: Vec<Address>,
    /// TLS; `None`: in clear.
    pub tls: Option<Tls>,
    /// As whom; `None`: as the server's default user.
    pub login: Option<String>,
    /// With which password.
    pub password: Option<Password>,
    /// What all keys begin with, so that one server can have several stores.
    pub prefix: String,
    /// When something counts as kept.
    pub durability: Durability,
    /// Replicas that must have something too before it counts as kept; `None`: not decided, which is refused where there are replicas.
    pub replicas: Option<u32>,
    /// Longest time for one call, all tries together.
    pub time: Duration,
    /// How long opening waits for a server that is not there yet, or for a primary.
    pub patience: Duration,
    /// Where it is remembered which store this is; `None`: nowhere.
    pub memo: Option<Memo>,
}

impl Settings {
    /// What it is called where it is remembered.
    pub(super) fn place(&self) -> String {
        let mut nodes: Vec<_> = self.nodes.iter().map(Address::to_string).collect();
        nodes.sort();
        format!("redis {} {}", nodes.join(","), self.prefix)
    }
}

/// Where a server is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// A name or an address, an IPv6 one without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// Whom to believe, and what to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM of its authority; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// PEM of our certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// When something counts as kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The server syncs its log before it answers: `appendfsync always`, which is looked for.
    Always,
    /// The server is asked after each write to say when it has synced: `WAITAOF`, of Redis 7.2 and Valkey.
    Waited,
    /// As `Always`, but the server does not let us look: whoever writes this vouches for it.
    Assured,
}

impl Address {
    /// From `host:port`, as servers write it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Some(Self { host: host.to_owned(), port: port.parse().ok()? })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What the settings' URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// The servers.
    pub nodes: Vec<Address>,
    /// As whom.
    pub login: Option<String>,
    /// TLS is wanted, even to this machine.
    pub is_secure: bool,
}

impl Url {
    /// From `redis://USER@HOST:PORT,HOST:PORT`, or `rediss://…`; without a port it is 6379.
    ///
    /// # Errors
    /// What is wrong with it; not the text itself, which may have a password in it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (is_secure, rest) = match (text.strip_prefix("redis://"), text.strip_prefix("rediss://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err("must begin with `redis://` or `rediss://`"),
        };
        let (login, hosts) = rest.rsplit_once('@').map_or((None, rest), |(login, hosts)| (Some(login), hosts));
        if login.is_some_and(|login| login.contains(':')) {
            return Err("has a password in it: give it as `password`");
        }
        let login = login.filter(|login| !login.is_empty()).map(str::to_owned);
        let hosts = hosts.strip_suffix('/').unwrap_or(hosts);
        if hosts.contains(['/', '?', '#']) {
            return Err("has more than servers in it: a store is in database 0, and the rest has keys of its own");
        }
        let nodes = hosts.split(',').map(Address::with_default_port).collect::<Option<Vec<_>>>();
        let nodes = nodes.ok_or("names a server that is none: `redis://HOST:PORT,HOST:PORT`")?;
        Ok(Self { nodes, login, is_secure })
    }

    /// Whether what is sent leaves this machine, for one server at least.
    #[must_use]
    pub fn is_far(&self) -> bool {
        let is_near = |node: &Address| {
            let ip = node.host.parse().map(|ip: std::net::IpAddr| ip.to_canonical().is_loopback());
            ip.unwrap_or_else(|_| node.host.eq_ignore_ascii_case("localhost"))
        };
        !self.nodes.iter().all(is_near)
    }
}

impl Address {
    fn with_default_port(text: &str) -> Option<Self> {
        let has_port = text.rsplit_once(':').is_some_and(|(host, _)| !host.contains(':') || host.ends_with(']'));
        let address = if has_port { Self::parse(text)? } else { Self::parse(&format!("{text}:6379"))? };
        let is_name = |host: &str| !host.is_empty() && !host.contains(['[', ']', ' ', '%']);
        is_name(&address.host).then_some(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_servers_and_who_we_are() {
        let check = |text: &str, login: Option<&str>, nodes: &[&str], is_secure, is_far| {
            let url = Url::parse(text).unwrap();
            let shown: Vec<_> = url.nodes.iter().map(Address::to_string).collect();
            assert_eq!((url.login.as_deref(), url.is_secure, url.is_far()), (login, is_secure, is_far), "{text}");
            assert_eq!(shown, nodes, "{text}");
        };
        check("redis://127.0.0.1", None, &["127.0.0.1:6379"], false, false);
        check("redis://[::1]:7/", None, &["[::1]:7"], false, false);
        check("redis://[::1]", None, &["[::1]:6379"], false, false);
        check("rediss://tidegate@localhost:7", Some("tidegate"), &["localhost:7"], true, false);
        check("redis://a.internal:1,b.internal", None, &["a.internal:1", "b.internal:6379"], false, true);
        check("redis://127.0.0.1,10.0.0.1", None, &["127.0.0.1:6379", "10.0.0.1:6379"], false, true);
    }

    #[test]
    fn what_is_no_such_url_is_told_without_repeating_it() {
        let check = |text: &str, part: &str| {
            let error = Url::parse(text).unwrap_err();
            assert!(error.contains(part) && !error.contains("sesame"), "{error}");
        };
        check("http://a", "must begin with");
        check("redis://u:sesame@a", "has a password in it");
        check("redis://:sesame@a", "has a password in it");
        check("redis://a/1", "database 0");
        for text in ["redis://", "redis://a,,b", "redis://a:x", "redis://a:99999"] {
            check(text, "names a server that is none");
        }
    }
}
