//! Where a server is: hosts, user and database, from a URL without secrets. Start at [`Address::parse`].

use std::fmt;
use std::path::PathBuf;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// Hosts, user and database.
#[derive(Clone)]
pub struct Address {
    /// One for each host; with all but password, protection and limits.
    pub(super) hosts: Vec<One>,
}

/// One host.
#[derive(Clone)]
pub(super) struct One {
    /// As it is shown.
    pub(super) shown: String,
    pub(super) config: Config,
    /// Whether what is sent there leaves this machine.
    pub(super) is_far: bool,
}

impl Address {
    /// From `postgres://USER@HOST:PORT,HOST:PORT/DATABASE`; a host that is a folder, percent-encoded, is that of a socket.
    ///
    /// # Errors
    /// What is wrong with it; not the text itself, which may have a password in it.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
        let rest = rest.ok_or("must begin with `postgres://`")?;
        if url.contains(['?', '#']) {
            return Err("has a query or fragment: what they would say has keys of its own");
        }
        let (user, hosts) = rest.split_once('@').ok_or("has no user: `postgres://USER@HOST/DATABASE`")?;
        if user.contains(':') {
            return Err("has a password in it: give it as `password`");
        }
        if hosts.split(['/', ',']).next().unwrap_or_default().is_empty() {
            return Err("has no host");
        }
        let all: Config = url.parse().map_err(|_| "not a URL of PostgreSQL")?;
        if all.get_user().unwrap_or_default().is_empty() {
            return Err("has no user: `postgres://USER@HOST/DATABASE`");
        }
        if all.get_dbname().unwrap_or_default().is_empty() {
            return Err("names no database: `postgres://USER@HOST/DATABASE`");
        }
        let ports = all.get_ports();
        let port = |at: usize| ports.get(at).or(ports.first()).copied().unwrap_or(5432);
        let hosts = all.get_hosts().iter().enumerate();
        Ok(Self { hosts: hosts.map(|(at, host)| One::new(&all, host, port(at))).collect() })
    }

    /// What it is called where it is remembered.
    pub(super) fn place(&self) -> String {
        let mut hosts: Vec<_> = self.hosts.iter().map(|host| host.shown.as_str()).collect();
        hosts.sort_unstable();
        let database = self.hosts.first().and_then(|host| host.config.get_dbname()).unwrap_or_default();
        format!("postgres {} {database}", hosts.join(","))
    }

    /// Whether what is sent leaves this machine, for one host at least.
    #[must_use]
    pub fn is_far(&self) -> bool {
        self.hosts.iter().any(|host| host.is_far)
    }

    /// Whether a host is a socket's folder, over which no TLS is spoken.
    #[must_use]
    pub fn has_socket(&self) -> bool {
        self.hosts.iter().any(|host| matches!(host.config.get_hosts(), [Host::Unix(_)]))
    }
}

impl One {
    fn new(all: &Config, host: &Host, port: u16) -> Self {
        let mut config = Config::new();
        config.user(all.get_user().unwrap_or_default()).dbname(all.get_dbname().unwrap_or_default());
        config.application_name("tidegate").port(port);
        match host {
            Host::Tcp(name) => {
                config.host(name);
                let ip = name.parse().map(|ip: std::net::IpAddr| ip.to_canonical().is_loopback());
                let is_far = !ip.unwrap_or_else(|_| name.eq_ignore_ascii_case("localhost"));
                Self { shown: format!("{name}:{port}"), config, is_far }
            }
            Host::Unix(folder) => {
                config.host_path(folder);
                Self { shown: socket(folder.clone(), port), config, is_far: false }
            }
        }
    }
}

fn socket(folder: PathBuf, port: u16) -> String {
    folder.join(format!(".s.PGSQL.{port}")).display().to_string()
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.hosts.iter().map(|host| &host.shown)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> String {
        format!("{:?} {}", Address::parse(url).unwrap(), Address::parse(url).unwrap().is_far())
    }

    #[test]
    fn hosts_have_their_ports_and_are_far_or_not() {
        assert_eq!(shown("postgres://tidegate@db.internal/vault"), r#"["db.internal:5432"] true"#);
        assert_eq!(shown("postgresql://t@a:5433,b:5434/v"), r#"["a:5433", "b:5434"] true"#);
        assert_eq!(shown("postgres://t@localhost,b/v"), r#"["localhost:5432", "b:5432"] true"#);
        assert_eq!(shown("postgres://t@LOCALHOST/v"), r#"["LOCALHOST:5432"] false"#);
        assert_eq!(shown("postgres://t@127.0.0.1:1,[::1]:2/v"), r#"["127.0.0.1:1", "::1:2"] false"#);
        assert_eq!(shown("postgres://t@%2Frun%2Fpostgresql/v"), r#"["/run/postgresql/.s.PGSQL.5432"] false"#);
        assert!(Address::parse("postgres://t@%2Frun/v").unwrap().has_socket());
        assert!(!Address::parse("postgres://t@run/v").unwrap().has_socket());
    }

    #[test]
    fn what_is_wrong_is_said_without_the_text() {
        for (url, expected) in [
            ("db.internal/vault", "must begin with"),
            ("mysql://t@a/v", "must begin with"),
            ("postgres://t:canary@a/v", "give it as `password`"),
            ("postgres://t@a/v?password=canary", "has a query"),
            ("postgres://a/v", "has no user"),
            ("postgres://@a/v", "has no user"),
            ("postgres://t@/v", "has no host"),
            ("postgres://t@a", "names no database"),
            ("postgres://t@a/", "names no database"),
            ("postgres://t@a:port/v", "not a URL"),
        ] {
            let error = Address::parse(url).map(drop).unwrap_err();
            assert!(error.contains(expected) && !error.contains("canary"), "{url}: {error}");
        }
    }
}
