//! Secrets wrapped by a key service: the transit engine of OpenBao or HashiCorp Vault.
//!
//! The root key never comes to us: a secret is sent to be encrypted, and what came of it is sent to be decrypted. What is
//! encrypted has the secret's name and epoch before it, so that one secret's file cannot take another's place, whatever kind
//! of key the engine has. Nothing that the service says is repeated: only its status, in our own words. Start at [`Settings`].

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ::http::{HeaderMap, HeaderValue, Method};
use data_encoding::BASE64;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::http::client::{self, Answer, Client, Failure};
use crate::http::pem;
use crate::secret::Secret;

use super::fault::{Fault, Service};
use super::folder::Wrapping;
use super::{Epoch, KEY_LEN, Key};

/// Where the service is, and as whom we come.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `https://bao.internal:8200`; a path before `/v1` may be in it.
    pub url: ::http::Uri,
    /// PEM of its authority; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// Where the engine is mounted: `transit`.
    pub mount: String,
    /// The key's name in it.
    pub key: String,
    /// The namespace, where the service has such.
    pub namespace: Option<String>,
    /// As whom.
    pub login: Login,
    /// Longest time for one act, all tries together.
    pub timeout: Duration,
}

/// As whom we come.
#[derive(Clone, Debug)]
pub enum Login {
    /// With a token.
    Token(Credential),
    /// With a role, for which a token is given.
    AppRole {
        /// Where the method is mounted: `approle`.
        mount: String,
        /// The role.
        role: String,
        /// The role's secret.
        secret: Credential,
    },
}

/// Where a credential is.
#[derive(Clone, Debug)]
pub enum Credential {
    /// Here.
    Here(Secret<String>),
    /// In a file that only we may read; read again when it is refused, because an agent may have renewed it.
    File(PathBuf),
}

/// Tries for one act, the first among them.
const TRIES: u32 = 4;
/// The wait before the second try; doubled each time.
const PAUSE: Duration = Duration::from_millis(50);
/// Longest time for one try: a service that hangs leaves time for another.
const TRY: Duration = Duration::from_secs(2);
const CONNECT: Duration = Duration::from_secs(1);
/// Our longest secret comes back in under 1 KiB; a token with its policies in some more.
const ANSWER_BYTES: usize = 64 << 10;
/// A wrapped secret is under 200 characters with every kind of key that there is.
const WRAPPED_MAX: usize = 2048;
const CONTEXT: &str = "tidegate/1 domain secret";

/// Wraps by a key service.
pub(super) struct Transit {
    settings: Settings,
    client: Client,
    /// What we were given for our role, or read from our file.
    token: Mutex<Option<Secret<String>>>,
}

impl fmt::Debug for Transit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transit")
            .field("url", &self.settings.url)
            .field("key", &self.settings.key)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Reply<T> {
    data: T,
}

#[derive(Deserialize)]
struct Encrypted {
    ciphertext: String,
}

#[derive(Deserialize)]
struct Decrypted<'a> {
    #[serde(borrow)]
    plaintext: Cow<'a, str>,
}

#[derive(Deserialize)]
struct LoggedIn<'a> {
    #[serde(borrow)]
    auth: Auth<'a>,
}

#[derive(Deserialize)]
struct Auth<'a> {
    // Base64 and tokens need no escape, so that this is no copy.
    #[serde(borrow)]
    client_token: Cow<'a, str>,
}

impl Transit {
    pub(super) fn new(settings: Settings) -> Result<Self, Fault> {
        let client = Client::new(client::Settings {
            url: settings.url.clone(),
            ca: settings.ca.clone(),
            connect: CONNECT.min(settings.timeout),
            answer_bytes: ANSWER_BYTES,
        });
        let client = client.map_err(|message| Fault::Service(Service::Settings(message)))?;
        Ok(Self { settings, client, token: Mutex::default() })
    }

    /// Sends what the engine does to a JSON text, logs in where that is needed, and tries again where that may help.
    fn act(&self, act: &'static str, body: &Zeroizing<String>) -> Result<Answer, Fault> {
        let Settings { mount, key, timeout, .. } = &self.settings;
        let path = format!("/v1/{mount}/{act}/{key}");
        let deadline = Instant::now() + *timeout;
        let mut renewed = false;
        for tried in 1.. {
            let outcome = self.try_to(&path, body, deadline, &mut renewed);
            match outcome {
                // It may have run out: once with a new one.
                Err(Failed::RunOut) => continue,
                Err(Failed::ForGood(fault)) => return Err(fault),
                Ok(answer) if !worth_another_try(answer.status) => return Ok(answer),
                outcome => {
                    let pause = PAUSE * 2u32.saturating_pow(tried - 1);
                    if tried >= TRIES || deadline.saturating_duration_since(Instant::now()) <= pause {
                        return outcome.map_err(Failed::fault);
                    }
                    std::thread::sleep(pause);
                }
            }
        }
        Err(Fault::Service(Service::Slow))
    }

    /// One try, the login included. `renewed`: whether what we come with was got for this act.
    fn try_to(
        &self,
        path: &str,
        body: &Zeroizing<String>,
        deadline: Instant,
        renewed: &mut bool,
    ) -> Result<Answer, Failed> {
        let (token, fresh) = self.token(deadline)?;
        *renewed |= fresh;
        let answer = self.send(path, Some(&token), body, left(deadline)).map_err(Failed::Sent)?;
        if answer.status == 403 && !*renewed {
            *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
            return Err(Failed::RunOut);
        }
        Ok(answer)
    }

    fn send(
        &self,
        path: &str,
        token: Option<&Secret<String>>,
        body: &Zeroizing<String>,
        limit: Duration,
    ) -> Result<Answer, Failure> {
        let mut headers = HeaderMap::new();
        // Asked for by the service where it is configured so, against requests that were forged by a page.
        headers.insert("x-vault-request", HeaderValue::from_static("true"));
        if let Some(token) = token {
            let mut token = HeaderValue::from_str(token.expose_secret()).map_err(|_| Failure::Broken)?;
            token.set_sensitive(true);
            headers.insert("x-vault-token", token);
        }
        if let Some(namespace) = &self.settings.namespace {
            let namespace = HeaderValue::from_str(namespace).map_err(|_| Failure::Broken)?;
            headers.insert("x-vault-namespace", namespace);
        }
        self.client.send(Method::POST, path, headers, Zeroizing::new(body.as_bytes().to_vec()), limit)
    }

    /// What we come with, and whether it was got just now.
    fn token(&self, deadline: Instant) -> Result<(Secret<String>, bool), Failed> {
        let known = || self.token.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = &*known() {
            return Ok((token.clone(), false));
        }
        // Not under the lock: a service that hangs keeps nobody but the one who asks it.
        let fresh = match &self.settings.login {
            Login::Token(credential) => credential.read().map_err(Failed::ForGood)?,
            Login::AppRole { mount, role, secret } => {
                let secret = secret.read().map_err(Failed::ForGood)?;
                self.log_in(mount, role, &secret, deadline)?
            }
        };
        *known() = Some(fresh.clone());
        Ok((fresh, true))
    }

    fn log_in(
        &self,
        mount: &str,
        role: &str,
        secret: &Secret<String>,
        deadline: Instant,
    ) -> Result<Secret<String>, Failed> {
        let secret = json(secret.expose_secret()).map_err(Failed::ForGood)?;
        let role = json(role).map_err(Failed::ForGood)?;
        let body = Zeroizing::new(format!("{{\"role_id\":{},\"secret_id\":{}}}", *role, *secret));
        let answer =
            self.send(&format!("/v1/auth/{mount}/login"), None, &body, left(deadline)).map_err(Failed::Sent)?;
        match answer.status {
            200 => {}
            // Which of them it is depends on the version.
            400 | 401 | 403 => return Err(Failed::ForGood(Fault::Service(Service::Login))),
            status if worth_another_try(status) => return Err(Failed::ForNow(status)),
            status => return Err(Failed::ForGood(Fault::Service(Service::of(status)))),
        }
        let LoggedIn { auth } = parse(&answer).map_err(Failed::ForGood)?;
        Ok(Secret::new(auth.client_token.to_string()))
    }
}

/// Why a try has come to nothing.
enum Failed {
    /// What we come with is not taken any more.
    RunOut,
    /// No answer.
    Sent(Failure),
    /// A login that may go through a moment later.
    ForNow(u16),
    /// Another try is of no use.
    ForGood(Fault),
}

impl Failed {
    fn fault(self) -> Fault {
        match self {
            Self::RunOut => Fault::Service(Service::Denied),
            Self::Sent(failure) => fault(failure),
            Self::ForNow(status) => Fault::Service(Service::of(status)),
            Self::ForGood(fault) => fault,
        }
    }
}

/// The time for a try.
fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).min(TRY)
}

impl Credential {
    fn read(&self) -> Result<Secret<String>, Fault> {
        match self {
            Self::Here(secret) => Ok(secret.clone()),
            Self::File(path) => match pem::secret_text(path) {
                Ok(text) => Ok(Secret::new(text.to_string())),
                Err(message) => Err(Fault::Service(Service::Settings(message))),
            },
        }
    }
}

impl Wrapping for Transit {
    fn version(&self) -> &'static str {
        "transit-v1"
    }

    fn wrap(&self, name: &str, epoch: Epoch, key: &Key) -> Result<String, Fault> {
        let mut plain = Zeroizing::new(Vec::with_capacity(256));
        plain.extend_from_slice(context(name, epoch).as_bytes());
        plain.extend_from_slice(key.expose_secret());
        let plain = Zeroizing::new(BASE64.encode(&plain));
        let answer = self.act("encrypt", &Zeroizing::new(format!("{{\"plaintext\":\"{}\"}}", *plain)))?;
        if answer.status == 400 {
            return Err(Fault::Service(Service::NotWrapped));
        }
        let Reply { data: Encrypted { ciphertext } } = accept(&answer)?;
        if is_wrapped(&ciphertext) { Ok(ciphertext) } else { Err(Fault::Service(Service::Broken)) }
    }

    fn unwrap(&self, name: &str, epoch: Epoch, wrapped: &str) -> Result<Key, Fault> {
        if !is_wrapped(wrapped) {
            return Err(Fault::Garbled("domain secret"));
        }
        let answer = self.act("decrypt", &Zeroizing::new(format!("{{\"ciphertext\":{}}}", *json(wrapped)?)))?;
        if answer.status == 400 {
            return Err(Fault::Service(Service::NotUnwrapped));
        }
        let Reply { data: Decrypted { plaintext } } = accept(&answer)?;
        let plain = BASE64.decode(plaintext.as_bytes()).map_err(|_| Fault::Service(Service::Broken))?;
        let plain = Zeroizing::new(plain);
        let secret = plain.strip_prefix(context(name, epoch).as_bytes()).ok_or(Fault::Foreign)?;
        let mut key = Key::new([0; KEY_LEN]);
        if secret.len() != KEY_LEN {
            return Err(Fault::Foreign);
        }
        key.expose_secret_mut().copy_from_slice(secret);
        Ok(key)
    }
}

/// What stands before a secret. A name has no line ends.
fn context(name: &str, epoch: Epoch) -> String {
    format!("{CONTEXT}\n{name}\n{epoch}\n")
}

/// `vault:v1:…`, as both services write it.
fn is_wrapped(text: &str) -> bool {
    let version = text.strip_prefix("vault:v").and_then(|rest| rest.split_once(':'));
    text.len() <= WRAPPED_MAX
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && version.is_some_and(|(version, rest)| version.parse::<u32>().is_ok() && !rest.is_empty())
}

fn json(text: &str) -> Result<Zeroizing<String>, Fault> {
    serde_json::to_string(text).map(Zeroizing::new).map_err(|_| Fault::Service(Service::Broken))
}

fn accept<'a, T: Deserialize<'a>>(answer: &'a Answer) -> Result<T, Fault> {
    if answer.status == 200 { parse(answer) } else { Err(Fault::Service(Service::of(answer.status))) }
}

fn parse<'a, T: Deserialize<'a>>(answer: &'a Answer) -> Result<T, Fault> {
    // The reader's own text may quote what it read.
    serde_json::from_slice(&answer.body).map_err(|_| Fault::Service(Service::Broken))
}

/// Sealed, starting, electing a leader, behind a proxy that lost it, asked too often, or not told yet of what was written.
fn worth_another_try(status: u16) -> bool {
    matches!(status, 412 | 429 | 500 | 502 | 503 | 504)
}

fn fault(failure: Failure) -> Fault {
    Fault::Service(match failure {
        Failure::Unreachable => Service::Unreachable,
        Failure::Slow => Service::Slow,
        Failure::Broken => Service::Broken,
    })
}
