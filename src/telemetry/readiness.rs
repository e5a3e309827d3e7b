//! What `/readyz` tells: whether this process should be sent exchanges.
//!
//! Set where the facts are made, read by the admin listener. Holds counts and times, never what a complaint says: the
//! log has that. Start at [`Readiness::checks`].

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::clock::Time;

/// Shared by everyone who knows a reason not to be ready.
#[derive(Debug, Default)]
pub struct Readiness(ArcSwap<State>);

#[derive(Clone, Debug, Default)]
struct State {
    policies: Option<Loaded>,
    failed: Option<Failed>,
    draining: bool,
}

#[derive(Clone, Debug)]
struct Loaded {
    digest: Arc<str>,
    partners: usize,
    at: Time,
}

/// The first failure since the last set that loaded, and the newest count.
#[derive(Clone, Copy, Debug)]
struct Failed {
    complaints: usize,
    since: Time,
}

/// One line of `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// `policies`, `ledger`, `draining`, `vault`.
    pub name: &'static str,
    /// Whether it stands in the way of being ready.
    pub ok: bool,
    /// For a person.
    pub says: String,
}

impl Readiness {
    /// A set of policies is in force.
    pub(super) fn policies_loaded(&self, digest: &str, partners: usize, at: Time) {
        let loaded = Loaded { digest: digest.into(), partners, at };
        self.change(|state| (state.policies, state.failed) = (Some(loaded.clone()), None));
    }

    /// A set of policies did not compile.
    pub(super) fn policies_failed(&self, complaints: usize, now: Time) {
        self.change(|state| {
            let since = state.failed.map_or(now, |failed| failed.since);
            state.failed = Some(Failed { complaints, since });
        });
    }

    /// The process is going down: no new exchanges, please.
    pub fn drain(&self) {
        self.change(|state| state.draining = true);
    }

    /// Whether the process is going down.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.0.load().draining
    }

    /// Everything that was asked. A reload that failed does not make the process unready: the old set is in force, and
    /// every replica would go at once.
    #[must_use]
    pub fn checks(&self, ledger_healthy: bool, store: Option<Result<(), String>>) -> Vec<Check> {
        let state = self.0.load();
        let mut says = match &state.policies {
            None => "none loaded".to_owned(),
            Some(Loaded { digest, partners, at }) => format!("{partners} partners, set {digest}, loaded {at}"),
        };
        if let Some(Failed { complaints, since }) = state.failed {
            says += &format!("; reload failed since {since} with {complaints} complaints (see the log)");
        }
        let ledger = if ledger_healthy { "written" } else { "cannot be written: nothing is shared" };
        let draining = if state.draining { "going down" } else { "no" };
        let mut checks = vec![
            Check { name: "policies", ok: state.policies.is_some(), says },
            Check { name: "ledger", ok: ledger_healthy, says: ledger.to_owned() },
            Check { name: "draining", ok: !state.draining, says: draining.to_owned() },
        ];
        // Not in the way of being ready: what needs no stored token goes on, and replicas that share a store would all go at once.
        checks.extend(store.map(|store| {
            let says = match store {
                Ok(()) => "written".to_owned(),
                Err(cause) => format!("away: exchanges that need stored tokens are refused: {cause}"),
            };
            Check { name: "vault", ok: true, says }
        }));
        checks
    }

    fn change(&self, change: impl Fn(&mut State)) {
        self.0.rcu(|state| {
            let mut state = State::clone(state);
            change(&mut state);
            state
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(readiness: &Readiness, ledger: bool, expected: [(&str, bool, &str); 3]) {
        let found = readiness.checks(ledger, None);
        let found: Vec<_> = found.iter().map(|check| (check.name, check.ok, check.says.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_process_is_ready_with_policies_a_record_and_no_end_in_sight() {
        let readiness = Readiness::default();
        let (written, no) = (("ledger", true, "written"), ("draining", true, "no"));
        check(&readiness, true, [("policies", false, "none loaded"), written, no]);
        readiness.policies_loaded("ab", 2, Time(0));
        let loaded = "2 partners, set ab, loaded 1970-01-01T00:00:00.000Z";
        check(&readiness, true, [("policies", true, loaded), written, no]);
        let unwritable = ("ledger", false, "cannot be written: nothing is shared");
        check(&readiness, false, [("policies", true, loaded), unwritable, no]);
        readiness.drain();
        check(&readiness, true, [("policies", true, loaded), written, ("draining", false, "going down")]);
    }

    #[test]
    fn a_store_that_is_away_is_told_and_leaves_the_process_ready() {
        let last = |store| Readiness::default().checks(true, Some(store)).pop().unwrap();
        let ok = Check { name: "vault", ok: true, says: "written".to_owned() };
        assert_eq!(last(Ok(())), ok);
        let says = "away: exchanges that need stored tokens are refused: health: no".to_owned();
        assert_eq!(last(Err("health: no".to_owned())), Check { says, ..ok });
    }

    #[test]
    fn a_reload_that_failed_is_told_until_one_succeeds_and_leaves_the_process_ready() {
        let readiness = Readiness::default();
        readiness.policies_loaded("ab", 2, Time(0));
        readiness.policies_failed(3, Time(1000));
        readiness.policies_failed(1, Time(2000));
        let found = readiness.checks(true, None).remove(0);
        assert!(found.ok);
        assert!(found.says.ends_with("reload failed since 1970-01-01T00:00:01.000Z with 1 complaints (see the log)"));
        readiness.policies_loaded("cd", 2, Time(3000));
        assert!(!readiness.checks(true, None).remove(0).says.contains("failed"));
    }
}
