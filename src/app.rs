//! The whole program, put together: settings in, a running proxy out.
//!
//! Nothing is decided here. Used by `tidegate run`, the demo, the benches and the tests alike. Start at [`App::start`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::admin::desk::Desk;
use crate::admin::{self, Admin};
use crate::clock::Clock;
use crate::config::{Facing, Settings};
use crate::http::listener::{self, Listener};
use crate::http::workers::Workers;
use crate::ids::{Direction, UpstreamId};
use crate::keys::{self, KeyRing};
use crate::ledger::{self, Ledger};
use crate::proxy::tag::Tagger;
use crate::proxy::upstream::Upstream;
use crate::proxy::{Door, Proxy};
use crate::registry::set::PolicySet;
use crate::registry::watch::{self, Watch};
use crate::registry::{self, Registry, Reload};
use crate::telemetry::Metrics;
use crate::vault::Vault;
use crate::vault::store::guard::Guard;
use crate::vault::store::open;
use crate::vault::stored::ask::Stored;
use crate::vault::stored::ends;

pub mod vault;

/// A running proxy. Dropped without [`App::stop`] it cuts its connections and leaves the record without the mark of an
/// orderly stop.
#[derive(Debug)]
pub struct App {
    settings: Settings,
    clock: Clock,
    metrics: Metrics,
    ledger: Ledger,
    registry: Arc<Registry>,
    proxy: Arc<Proxy>,
    listeners: Vec<(String, Listener)>,
    /// Dropped after the listeners, whose connections they serve.
    _workers: Arc<Workers>,
    admin: Option<Admin>,
    watch: Watch,
    /// Copies the vault to another store; ends with this.
    _copying: JoinSet<()>,
}

/// Why the program does not start, or why a reload was not done. For the operator: says what was found and what was wanted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The keys.
    #[error(transparent)]
    Keys(#[from] keys::Error),
    /// The vault's store.
    #[error(transparent)]
    Store(#[from] open::OpenError),
    /// The record.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// The policies.
    #[error(transparent)]
    Policies(#[from] registry::Error),
    /// The policies, on a reload: the old ones are still in force.
    #[error("{0}")]
    Reload(Arc<registry::Error>),
    /// A listener.
    #[error(transparent)]
    Listener(#[from] listener::Error),
    /// The admin listener.
    #[error(transparent)]
    Admin(#[from] admin::Error),
    /// An upstream.
    #[error("upstream `{name}`: {message}")]
    Upstream {
        /// Which.
        name: UpstreamId,
        /// What is wrong with it.
        message: String,
    },
    /// The system lacks what we need.
    #[error("{0}")]
    System(String),
}

impl App {
    /// Builds every part, begins to listen. Does not set up logging (that is the process's), so that many can run in one process.
    ///
    /// # Errors
    /// The first part that cannot be built; nothing is left running then.
    pub async fn start(settings: Settings, clock: Clock) -> Result<Self, Error> {
        let metrics = Metrics::new();
        let (store, copying) = vault::open(&settings, &metrics).await?;
        if let Some(store) = &store {
            tokio::spawn(ends::forget_ended(Arc::downgrade(store), clock.clone()));
        }
        let (registry, tagger) = {
            let (settings, store, clock) = (settings.clone(), store.clone(), clock.clone());
            // Reads and, for domains that are new, writes files.
            let opened = tokio::task::spawn_blocking(move || open_registry(&settings, store, clock)).await;
            let opened = opened.map_err(|_| Error::System("reading the policies was cut off".to_owned()))?;
            opened.map(|(registry, tagger)| (Arc::new(registry), tagger))?
        };
        let upstreams = upstreams(&settings, &metrics)?;
        let (ledger, report) = Ledger::start_measured(settings.ledger.clone(), clock.clone(), metrics.ledger())?;
        tell_of_the_last_run(&report);
        let (set, bounds) = (registry.current(), (settings.body, settings.capacity));
        let (ledgers, counts) = (ledger.clone(), metrics.clone());
        let proxy = Proxy::new(Arc::clone(&set), upstreams, bounds, tagger, ledgers, counts, clock.clone());
        let proxy = Arc::new(proxy);
        loaded(&metrics, &set, &clock);
        let watch = {
            let (proxy, metrics, clock) = (Arc::clone(&proxy), metrics.clone(), clock.clone());
            let live = Arc::clone(&registry);
            watch::watch(Arc::clone(&registry), move |reloaded| {
                adopt(&proxy, &live, &metrics, &clock, reloaded.err().as_deref());
            })
        };
        let workers = Workers::start(settings.threads)
            .map_err(|error| Error::System(format!("no threads to serve on: {}", error.kind())))?;
        let mut listeners = Vec::with_capacity(settings.listeners.len());
        for one in &settings.listeners {
            let direction = match one.facing {
                Facing::Partner => Direction::Inbound,
                Facing::Inside => Direction::Outbound,
            };
            let door = Arc::new(Door::new(Arc::clone(&proxy), direction));
            let meters = metrics.listener(&one.listener.name);
            let threads = Some(Arc::clone(&workers));
            let listener = Listener::start_measured(one.listener.clone(), door, meters, threads).await?;
            tracing::info!(target: "tidegate", listener = one.listener.name, address = %listener.address(), "listening");
            listeners.push((one.listener.name.clone(), listener));
        }
        let admin = match settings.admin {
            Some(address) => {
                let desk = desk(&settings, &registry, &ledger, &clock, &metrics);
                Some(Admin::start(address, metrics.clone(), ledger.clone(), store, desk).await?)
            }
            None => None,
        };
        if let Some(admin) = &admin {
            tracing::info!(target: "tidegate", listener = "admin", address = %admin.address(), "listening");
        }
        Ok(Self {
            settings,
            clock,
            metrics,
            ledger,
            registry,
            proxy,
            listeners,
            _workers: workers,
            admin,
            watch,
            _copying: copying,
        })
    }

    /// Where a listener listens, by its name in the settings.
    #[must_use]
    pub fn address(&self, listener: &str) -> Option<SocketAddr> {
        self.listeners.iter().find(|(name, _)| name == listener).map(|(_, listener)| listener.address())
    }

    /// Where all of them listen, by name, in the order of the settings.
    pub fn addresses(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.listeners.iter().map(|(name, listener)| (name.as_str(), listener.address()))
    }

    /// Where `/metrics`, `/livez` and `/readyz` are.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Admin::address)
    }

    /// Reads the policies again, as a change in their folder does, and the certificates of listeners and upstreams. On an error the old ones
    /// stay in force.
    ///
    /// # Errors
    /// What is wrong with the policies or the certificates.
    pub async fn reload(&self) -> Result<(), Error> {
        let registry = Arc::clone(&self.registry);
        let reloaded = tokio::task::spawn_blocking(move || registry.reload()).await;
        let reloaded = reloaded.map_err(|_| Error::System("reading the policies was cut off".to_owned()))?;
        let policies = match reloaded {
            Ok(Reload::Unchanged) => Ok(()),
            Ok(Reload::Changed(_)) => {
                adopt(&self.proxy, &self.registry, &self.metrics, &self.clock, None);
                Ok(())
            }
            Err(error) => {
                adopt(&self.proxy, &self.registry, &self.metrics, &self.clock, Some(&error));
                Err(Error::Reload(error))
            }
        };
        let mut certificates = Ok(());
        // Each listener by itself: a bad certificate of one keeps no other from a good one.
        for (name, listener) in &self.listeners {
            if let Err(error) = listener.reload() {
                tracing::error!(target: "tidegate", listener = name, cause = %error, "certificates not reloaded: the old ones stay");
                certificates = certificates.and(Err(error.into()));
            }
        }
        policies.and(certificates).and(self.renew_upstreams())
    }

    /// Reads authorities and client certificates towards the upstreams again: where they have changed, new exchanges use the new ones,
    /// over new connections.
    fn renew_upstreams(&self) -> Result<(), Error> {
        let mut new = BTreeMap::new();
        let mut wrong = Ok(());
        for (name, upstream) in self.proxy.upstreams() {
            match upstream.renewed() {
                Ok(None) => {}
                Ok(Some(upstream)) => drop(new.insert(name, Arc::new(upstream))),
                Err(message) => {
                    tracing::error!(target: "tidegate", upstream = %name, cause = message, "certificates not reloaded: the old ones stay");
                    wrong = wrong.and(Err(Error::Upstream { name, message }));
                }
            }
        }
        if !new.is_empty() {
            self.proxy.renew(new, || self.registry.current());
        }
        wrong
    }

    /// Drains: no new connections, open exchanges end (within the setting's time), the record is closed. True if all ended by themselves.
    pub async fn stop(self) -> bool {
        let Self { settings, metrics, ledger, proxy, listeners, admin, watch, .. } = self;
        drop(watch);
        metrics.readiness().drain();
        // Requests that are on the wire already are served: their connections end behind them.
        let draining = listeners.into_iter().map(|(_, listener)| tokio::spawn(listener.drain(settings.drain)));
        let mut all = true;
        for drained in draining.collect::<Vec<_>>() {
            all &= drained.await.unwrap_or(false);
        }
        proxy.drain();
        // An exchange lives a little longer than its connection: what it has to record is recorded before the record closes.
        all &= settled(&metrics).await;
        ledger.stop().await;
        drop(admin);
        all
    }
}

/// Waits until no exchange is in flight: their connections are gone already, so that this is a matter of milliseconds.
async fn settled(metrics: &Metrics) -> bool {
    let mut waits = 0_u32;
    while metrics.in_flight() > 0 && waits < 100 {
        waits += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    metrics.in_flight() == 0
}

fn open_registry(settings: &Settings, store: Option<Arc<Guard>>, clock: Clock) -> Result<(Registry, Tagger), Error> {
    let keys = Arc::new(KeyRing::open_source(&settings.keys)?);
    let tagger = Tagger::new(keys.tags().expose_secret());
    let mut vault = Vault::new(keys);
    if let (Some(store), Some(chosen)) = (store, &settings.vault) {
        // The guard's own limit comes first, so that it hears of what was too slow.
        vault = vault.with_store(Stored::new(store, chosen.time.saturating_add(Duration::from_secs(1))));
    }
    let base = settings.file.parent().map_or_else(PathBuf::new, PathBuf::from);
    let names = settings.upstreams.keys().cloned().collect();
    let settings = registry::Settings { folder: settings.policies.clone(), base, upstreams: names };
    Ok((Registry::open(settings, vault, clock)?, tagger))
}

/// Where operators have tokens turned back, if the settings let them.
fn desk(
    settings: &Settings,
    registry: &Arc<Registry>,
    ledger: &Ledger,
    clock: &Clock,
    metrics: &Metrics,
) -> Option<Arc<Desk>> {
    let reveal = settings.reveal.clone()?;
    Some(Arc::new(Desk::new(reveal, Arc::clone(registry), ledger.clone(), clock.clone(), metrics.reveals())))
}

fn upstreams(settings: &Settings, metrics: &Metrics) -> Result<BTreeMap<UpstreamId, Arc<Upstream>>, Error> {
    let mut upstreams = BTreeMap::new();
    for (name, one) in &settings.upstreams {
        let upstream = Upstream::new(one.clone(), metrics.upstream(name))
            .map_err(|message| Error::Upstream { name: name.clone(), message })?;
        upstreams.insert(name.clone(), Arc::new(upstream));
    }
    Ok(upstreams)
}

/// What start-up found in the record.
fn tell_of_the_last_run(report: &ledger::Report) {
    if *report != ledger::Report::default() {
        tracing::warn!(
            target: "tidegate",
            torn_bytes = report.torn_bytes,
            unclosed = report.unclosed,
            maybe_lost = report.maybe_lost,
            "the record was mended: the last stop was not an orderly one"
        );
    }
}

/// What came of a reload, put into force and told.
fn adopt(proxy: &Proxy, registry: &Registry, metrics: &Metrics, clock: &Clock, error: Option<&registry::Error>) {
    match error {
        None => {
            let set = proxy.adopt(|| registry.current());
            loaded(metrics, &set, clock);
        }
        Some(error) => {
            metrics.policies_failed(error.0.len(), clock.now());
            for complaint in &error.0 {
                tracing::error!(
                    target: "tidegate",
                    place = complaint.place,
                    code = complaint.code,
                    what = complaint.message,
                    "policies not loaded: the old ones stay in force"
                );
            }
        }
    }
}

fn loaded(metrics: &Metrics, set: &PolicySet, clock: &Clock) {
    metrics.policies_loaded(&set.digest, set.partners.len(), clock.now());
    tracing::info!(target: "tidegate", partners = set.partners.len(), digest = &*set.digest, "policies loaded");
}

#[cfg(test)]
mod tests;
