//! Whether a server keeps what it is given: asked on each new connection, and each second while one is in use.
//!
//! A server that loses what it has acknowledged loses tokens that partners hold, and nobody notices until one comes back. So what would
//! lose them is refused: no log, a log that is synced later, eviction, a replica. Start at [`judge`].

use super::fault::{Fault, Unfit};
use super::settings::{Address, Durability, Settings};
use super::wire::{self, Reply};

/// What is known of a server that is fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// It is a node of a cluster.
    pub(super) clustered: bool,
    /// Replicas that are connected to it.
    pub(super) replicas: u32,
    /// Why nothing may be kept there.
    pub(super) unfit: Option<Unfit>,
}

/// Answers that the questions get; that of the mark comes behind them.
pub(super) const ANSWERS: usize = 2;

/// The questions.
pub(super) fn questions(out: &mut Vec<u8>) {
    wire::push(out, &[b"INFO"]);
    wire::push(out, &[b"CONFIG", b"GET", b"*appendfsync*"]);
}

/// What the answers say.
pub(super) fn judge(node: &Address, settings: &Settings, answers: &[Reply]) -> Result<Server, Fault> {
    let garbled = || Fault::Garbled { node: node.clone() };
    let [info, config] = answers else { return Err(garbled()) };
    let info = match info {
        Reply::Text(info) => String::from_utf8_lossy(info),
        Reply::Refused { code, .. } => return Err(refusal(node, code)),
        _ => return Err(garbled()),
    };
    let config = match config {
        Reply::List(pairs) => Some(pairs.as_slice()),
        Reply::Refused { .. } => None,
        _ => return Err(garbled()),
    };
    let field = |name: &str| {
        let of = |line: &str| line.strip_prefix(name)?.strip_prefix(':').map(|value| value.trim().to_owned());
        info.lines().find_map(of).unwrap_or_default()
    };
    if field("redis_mode") == "sentinel" {
        return Ok(Server { clustered: false, replicas: 0, unfit: Some(Unfit::Sentinel) });
    }
    if field("redis_version").is_empty() {
        return Err(garbled());
    }
    if field("loading") == "1" {
        return Err(Fault::NotNow { node: node.clone(), code: "LOADING".to_owned() });
    }
    let replicas = field("connected_slaves").parse().unwrap_or(0);
    let unfit = unfit(&field, config, settings);
    Ok(Server { clustered: field("cluster_enabled") == "1", replicas, unfit })
}

fn unfit(field: &dyn Fn(&str) -> String, config: Option<&[Reply]>, settings: &Settings) -> Option<Unfit> {
    if field("role") != "master" {
        return Some(Unfit::Replica);
    }
    if field("aof_enabled") != "1" {
        return Some(Unfit::NoLog);
    }
    if field("aof_last_write_status") != "ok" {
        return Some(Unfit::LogFails);
    }
    let policy = field("maxmemory_policy");
    if policy != "noeviction" {
        return Some(Unfit::Evicts(policy));
    }
    let replicas = field("connected_slaves").parse().unwrap_or(0);
    match settings.replicas {
        Some(want) if replicas < want => return Some(Unfit::TooFewReplicas { have: replicas, want }),
        _ => {}
    }
    synced(config, settings.durability)
}

/// Whether its log is synced before it answers.
fn synced(config: Option<&[Reply]>, durability: Durability) -> Option<Unfit> {
    if durability == Durability::Waited {
        return None;
    }
    let value = |name: &str| {
        let mut pairs = config?.as_chunks::<2>().0.iter();
        let [_, value] = pairs.find(|[key, _]| key.text() == Some(name.as_bytes()))?;
        value.text().map(|text| String::from_utf8_lossy(text).into_owned())
    };
    match (value("appendfsync"), value("no-appendfsync-on-rewrite")) {
        (Some(sync), _) if sync != "always" => Some(Unfit::SyncsLater(sync)),
        (Some(_), Some(off)) if off != "no" => Some(Unfit::NoSyncOnRewrite),
        (Some(_), Some(_)) => None,
        // What may not be seen is vouched for, or it is not.
        _ => (durability != Durability::Assured).then_some(Unfit::Closed),
    }
}

/// The fault that a refusal is.
pub(super) fn refusal(node: &Address, code: &str) -> Fault {
    let (node, code) = (node.clone(), code.to_owned());
    if super::fault::passes(&code) { Fault::NotNow { node, code } } else { Fault::Refused { node, code } }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const INFO: &str = "# Server\r\nredis_version:7.0.15\r\nloading:0\r\naof_enabled:1\r\naof_last_write_status:ok\r\n\
        maxmemory_policy:noeviction\r\nrole:master\r\nconnected_slaves:1\r\ncluster_enabled:0\r\n";

    fn settings(durability: Durability, replicas: Option<u32>) -> Settings {
        let time = Duration::from_secs(1);
        let (nodes, prefix) = (vec![], "tidegate".to_owned());
        Settings {
            nodes,
            tls: None,
            login: None,
            password: None,
            prefix,
            durability,
            replicas,
            time,
            patience: time,
            memo: None,
        }
    }

    fn config(sync: &str, off: &str) -> Reply {
        let text = |text: &str| Reply::Text(text.into());
        Reply::List(vec![text("no-appendfsync-on-rewrite"), text(off), text("appendfsync"), text(sync)])
    }

    fn judged(settings: &Settings, change: (&str, &str), config: Reply) -> Result<Server, Fault> {
        let node = Address { host: "h".into(), port: 1 };
        judge(&node, settings, &[Reply::Text(INFO.replace(change.0, change.1).into()), config])
    }

    #[test]
    fn what_would_lose_tokens_is_found() {
        let check = |change, (sync, off), expected: Option<Unfit>| {
            let found = judged(&settings(Durability::Always, Some(0)), change, config(sync, off)).unwrap();
            assert_eq!(found.unfit, expected, "{change:?} {sync} {off}");
        };
        let good = ("always", "no");
        check(("", ""), good, None);
        check(("aof_enabled:1", "aof_enabled:0"), good, Some(Unfit::NoLog));
        check(("role:master", "role:slave"), good, Some(Unfit::Replica));
        check(("status:ok", "status:err"), good, Some(Unfit::LogFails));
        for policy in ["allkeys-lru", "volatile-ttl"] {
            check(("noeviction", policy), good, Some(Unfit::Evicts(policy.to_owned())));
        }
        check(("", ""), ("everysec", "no"), Some(Unfit::SyncsLater("everysec".to_owned())));
        check(("", ""), ("always", "yes"), Some(Unfit::NoSyncOnRewrite));
    }

    #[test]
    fn what_may_not_be_seen_is_refused_unless_somebody_vouches_for_it() {
        let closed = || Reply::Refused { code: "NOPERM".into(), to: None };
        let unfit = |durability, config| judged(&settings(durability, Some(1)), ("", ""), config).unwrap().unfit;
        assert_eq!(unfit(Durability::Always, closed()), Some(Unfit::Closed));
        assert_eq!(unfit(Durability::Assured, closed()), None);
        assert_eq!(unfit(Durability::Always, Reply::List(vec![])), Some(Unfit::Closed));
        let later = Some(Unfit::SyncsLater("no".to_owned()));
        assert_eq!(unfit(Durability::Assured, config("no", "no")), later, "what can be seen counts");
        assert_eq!(unfit(Durability::Waited, closed()), None);
    }

    #[test]
    fn replicas_are_counted() {
        let too_few = judged(&settings(Durability::Always, Some(2)), ("", ""), config("always", "no")).unwrap();
        assert_eq!((too_few.replicas, too_few.unfit), (1, Some(Unfit::TooFewReplicas { have: 1, want: 2 })));
    }

    #[test]
    fn what_starts_is_waited_for_and_what_is_no_such_server_is_told() {
        let always = settings(Durability::Always, None);
        let loading = judged(&always, ("loading:0", "loading:1"), config("always", "no")).unwrap_err();
        assert!(loading.passes());
        let other = judged(&always, ("redis_version", "x"), config("always", "no")).unwrap_err();
        assert!(matches!(other, Fault::Garbled { .. }));
    }
}
