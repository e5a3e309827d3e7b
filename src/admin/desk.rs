//! Who may have tokens turned back outside of traffic, and how: named, for a reason, not too many, with a second operator where
//! the settings ask for one, and in the record before a value is given.
//!
//! Not here: how it is asked over HTTP (`super::reveal`). Start at [`Desk::ask`].

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::ids::{Category, DomainId, Shape};
use crate::ledger::Ledger;
use crate::ledger::entry;
use crate::registry::Registry;
use crate::telemetry::meters::RevealMetrics;
use crate::vault::operator::{Back, Error as Untold};

/// Tokens of one act.
pub const TOKENS_MAX: usize = 200;
/// Longest token, in bytes: of a value of some 40,000 bytes.
const TOKEN_MAX: usize = 64 << 10;
/// Longest reason, in characters.
pub const REASON_MAX: usize = 500;
/// Requests that wait for a second operator.
const WAITING_MAX: usize = 100;
/// Over which the rate counts.
const HOUR: Duration = Duration::from_secs(3600);

/// Who may, and how.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// By name, the SHA-256 of the credential.
    pub operators: BTreeMap<String, [u8; 32]>,
    /// Tokens of one operator in an hour.
    pub rate: u32,
    /// Whether a second operator has to approve.
    pub two_operators: bool,
    /// Within which time it has to be approved, and then taken.
    pub within: Duration,
}

/// What somebody asks for.
pub struct Asked {
    /// Why.
    pub reason: String,
    /// Whose tokens: a partner's id, or a domain that no policy names any more.
    pub partner: String,
    /// Of which category.
    pub category: Category,
    /// Of which shape, where the tokens do not say.
    pub shape: Option<Shape>,
    /// The tokens.
    pub tokens: Vec<Zeroizing<String>>,
}

/// What came of asking.
pub enum Told {
    /// The values, in order.
    Values(Vec<Back>),
    /// A second operator has to approve.
    Waiting {
        /// The request.
        id: String,
        /// For so long.
        within: Duration,
    },
}

/// What a second operator is shown; no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Who asked.
    pub operator: String,
    /// Why.
    pub reason: String,
    /// Whose tokens.
    pub partner: String,
    /// Of which category.
    pub category: String,
    /// How many.
    pub tokens: usize,
}

/// Why nothing was told.
#[derive(Debug, thiserror::Error)]
pub enum No {
    /// An unknown operator, or another credential: which of them is not told.
    #[error("no such operator, or another credential")]
    Denied,
    /// Not in its form.
    #[error("{0}")]
    Form(String),
    /// Too many tokens in this hour.
    #[error("more tokens than `reveal.rate` lets one operator have in an hour")]
    Rate,
    /// No such request, or it is over, or another's.
    #[error("no such request, or its time is over")]
    Unknown,
    /// The one who asked cannot approve.
    #[error("another operator has to approve")]
    Own,
    /// Nobody has approved yet.
    #[error("no other operator has approved it yet")]
    Unapproved,
    /// Too many requests wait.
    #[error("too many requests wait for a second operator")]
    Full,
    /// The record cannot be written: then nothing is told.
    #[error("the record cannot be written")]
    Record,
    /// The keys or the store.
    #[error("{0}")]
    Untold(#[from] Untold),
}

struct Request {
    operator: String,
    asked: Arc<Asked>,
    /// By whom.
    approved: Option<String>,
    until: Duration,
}

#[derive(Default)]
struct State {
    waiting: HashMap<String, Request>,
    /// By operator: when so many tokens were asked for.
    spent: HashMap<String, VecDeque<(Duration, usize)>>,
}

/// See the module.
pub struct Desk {
    settings: Settings,
    registry: Arc<Registry>,
    ledger: Ledger,
    clock: Clock,
    meters: RevealMetrics,
    state: Mutex<State>,
}

impl Desk {
    /// With nobody waiting.
    #[must_use]
    pub fn new(
        settings: Settings,
        registry: Arc<Registry>,
        ledger: Ledger,
        clock: Clock,
        meters: RevealMetrics,
    ) -> Self {
        Self { settings, registry, ledger, clock, meters, state: Mutex::default() }
    }

    /// Turns tokens back, or lets them wait for a second operator.
    ///
    /// # Errors
    /// See [`No`].
    pub async fn ask(&self, operator: &str, credential: &str, asked: Asked) -> Result<Told, No> {
        self.counted(async {
            self.admit(operator, credential)?;
            check(&asked)?;
            // Before anything of it is written down: what stands there may be no partner's name at all.
            self.domain(&asked.partner)?;
            self.spend(operator, asked.tokens.len())?;
            let asked = Arc::new(asked);
            if !self.settings.two_operators {
                return self.tell(&asked, operator, None, None).await.map(Told::Values);
            }
            let id = self.wait(operator, &asked)?;
            if let Err(no) = self.record("asked", &asked, Some(&id), operator, None).await {
                // Of what is in no record nobody may approve anything.
                self.state().waiting.remove(&id);
                return Err(no);
            }
            self.meters.count("asked");
            Ok(Told::Waiting { id, within: self.settings.within })
        })
        .await
    }

    /// What a request wants.
    ///
    /// # Errors
    /// See [`No`].
    pub async fn show(&self, operator: &str, credential: &str, id: &str) -> Result<Shown, No> {
        self.counted(async {
            self.admit(operator, credential)?;
            let mut state = self.state();
            let request = self.request(&mut state, id)?;
            let Asked { reason, partner, category, tokens, .. } = &*request.asked;
            Ok(Shown {
                operator: request.operator.clone(),
                reason: reason.clone(),
                partner: partner.clone(),
                category: category.as_str().to_owned(),
                tokens: tokens.len(),
            })
        })
        .await
    }

    /// Approves the request of another operator, who has the same time again to take what it asked for.
    ///
    /// # Errors
    /// See [`No`].
    pub async fn approve(&self, operator: &str, credential: &str, id: &str) -> Result<(), No> {
        self.counted(async {
            self.admit(operator, credential)?;
            let (asked, by) = {
                let mut state = self.state();
                let request = self.request(&mut state, id)?;
                if request.operator == operator {
                    return Err(No::Own);
                }
                (Arc::clone(&request.asked), request.operator.clone())
            };
            self.record("approved", &asked, Some(id), &by, Some(operator)).await?;
            let mut state = self.state();
            let request = self.request(&mut state, id)?;
            request.approved.get_or_insert_with(|| operator.to_owned());
            request.until = self.clock.steady() + self.settings.within;
            self.meters.count("approved");
            Ok(())
        })
        .await
    }

    /// Takes what was asked for and approved, once.
    ///
    /// # Errors
    /// See [`No`].
    pub async fn take(&self, operator: &str, credential: &str, id: &str) -> Result<Told, No> {
        self.counted(async {
            self.admit(operator, credential)?;
            let request = {
                let mut state = self.state();
                let request = self.request(&mut state, id)?;
                if request.operator != operator {
                    return Err(No::Unknown);
                }
                if request.approved.is_none() {
                    return Err(No::Unapproved);
                }
                state.waiting.remove(id).ok_or(No::Unknown)?
            };
            let approver = request.approved.as_deref();
            self.tell(&request.asked, operator, Some(id), approver).await.map(Told::Values)
        })
        .await
    }

    /// Records the act, durably, and only then turns anything back.
    async fn tell(
        &self,
        asked: &Arc<Asked>,
        operator: &str,
        id: Option<&str>,
        approver: Option<&str>,
    ) -> Result<Vec<Back>, No> {
        let vault = self.registry.vault().clone();
        let domain = self.domain(&asked.partner)?;
        let (by, wanted) = (vault.clone(), Arc::clone(asked));
        let back = tokio::task::spawn_blocking(move || by.back(&domain, &wanted.category, wanted.shape)).await;
        let back = back.map_err(|_| No::Unknown)?.map_err(Untold::from)?;
        self.record("revealed", asked, id, operator, approver).await?;
        let told = vault.turn_back(&back, &asked.tokens, self.clock.now()).await?;
        self.meters.count("revealed");
        Ok(told)
    }

    /// The domain of a partner's tokens; without a policy of that name, the name is the domain's.
    fn domain(&self, partner: &str) -> Result<DomainId, No> {
        let set = self.registry.current();
        let known = set.partners.iter().find(|known| known.id.as_str() == partner).map(|known| known.domain.clone());
        let nobody = || No::Form(format!("there is no partner `{}`", partner.escape_default()));
        known.or_else(|| DomainId::parse(partner)).ok_or_else(nobody)
    }

    async fn record(
        &self,
        act: &'static str,
        asked: &Asked,
        request: Option<&str>,
        operator: &str,
        approver: Option<&str>,
    ) -> Result<(), No> {
        let entry = entry::Reveal {
            time: self.clock.now(),
            act,
            request: request.map(str::to_owned),
            operator: operator.to_owned(),
            approver: approver.map(str::to_owned),
            reason: asked.reason.clone(),
            partner: asked.partner.clone(),
            category: asked.category.as_str().to_owned(),
            shape: asked.shape.map(Shape::name),
            tokens: asked.tokens.iter().map(|token| HEXLOWER.encode(&Sha256::digest(token.as_bytes()))).collect(),
        };
        tracing::warn!(
            target: "tidegate",
            act,
            operator,
            approver,
            request,
            partner = asked.partner,
            category = asked.category.as_str(),
            tokens = asked.tokens.len(),
            "an operator has tokens turned back"
        );
        self.ledger.reveal(&entry).await.map_err(|_| No::Record)
    }

    /// Whether it is this operator. It takes the same for one that is not there.
    fn admit(&self, operator: &str, credential: &str) -> Result<(), No> {
        let known = self.settings.operators.get(operator);
        let shown: [u8; 32] = Sha256::digest(credential.as_bytes()).into();
        let same = bool::from(known.unwrap_or(&[0; 32]).ct_eq(&shown));
        if same && known.is_some() { Ok(()) } else { Err(No::Denied) }
    }

    fn spend(&self, operator: &str, tokens: usize) -> Result<(), No> {
        let now = self.clock.steady();
        let mut state = self.state();
        let spent = state.spent.entry(operator.to_owned()).or_default();
        while spent.front().is_some_and(|(at, _)| now.saturating_sub(*at) >= HOUR) {
            spent.pop_front();
        }
        let sum: usize = spent.iter().map(|(_, count)| count).sum();
        if sum.saturating_add(tokens) > self.settings.rate as usize {
            return Err(No::Rate);
        }
        spent.push_back((now, tokens));
        Ok(())
    }

    fn wait(&self, operator: &str, asked: &Arc<Asked>) -> Result<String, No> {
        let mut random = [0; 10];
        getrandom::fill(&mut random).map_err(|_| No::Full)?;
        let id = BASE32_NOPAD.encode(&random);
        let now = self.clock.steady();
        let mut state = self.state();
        state.waiting.retain(|_, request| request.until > now);
        if state.waiting.len() >= WAITING_MAX {
            return Err(No::Full);
        }
        let request = Request {
            operator: operator.to_owned(),
            asked: Arc::clone(asked),
            approved: None,
            until: now + self.settings.within,
        };
        state.waiting.insert(id.clone(), request);
        Ok(id)
    }

    /// A request whose time is not over.
    fn request<'s>(&self, state: &'s mut State, id: &str) -> Result<&'s mut Request, No> {
        let now = self.clock.steady();
        state.waiting.get_mut(id).filter(|request| request.until > now).ok_or(No::Unknown)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what was denied.
    async fn counted<T>(&self, act: impl Future<Output = Result<T, No>>) -> Result<T, No> {
        let done = act.await;
        match &done {
            Err(No::Denied) => {
                self.meters.count("denied");
                tracing::warn!(target: "tidegate", "somebody who is no operator, or has another credential, asked for tokens to be turned back");
            }
            Err(No::Rate) => self.meters.count("limited"),
            _ => {}
        }
        done
    }
}

fn check(asked: &Asked) -> Result<(), No> {
    let form = |text: String| Err(No::Form(text));
    let reason = asked.reason.trim();
    if reason.is_empty() || reason.chars().count() > REASON_MAX || reason.chars().any(char::is_control) {
        return form(format!("`reason` has to say why, in at most {REASON_MAX} characters of one line"));
    }
    match asked.tokens.len() {
        0 => form("no tokens: write them on standard input, one a line".to_owned()),
        1..=TOKENS_MAX if asked.tokens.iter().all(|token| token.len() <= TOKEN_MAX) => Ok(()),
        1..=TOKENS_MAX => form(format!("a token of more than {TOKEN_MAX} bytes")),
        many => form(format!("{many} tokens are more than {TOKENS_MAX} at once")),
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("operators", &self.settings.operators.len()).finish_non_exhaustive()
    }
}
