//! A key service as its documentation has it: the transit engine, tokens and AppRole, over HTTP/1.1 on a port of this machine.
//!
//! What it answers where something is wrong was compared with OpenBao 2.7 (see `openbao`).

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use data_encoding::BASE64;
use serde_json::{Value, json};

pub(super) const ROLE: &str = "role-1";
pub(super) const ROLE_SECRET: &str = "canary-secret-id";
pub(super) const TOKEN: &str = "s.canary-token";

/// What goes wrong next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wrong {
    Status(u16),
    /// No answer.
    Hang,
    /// Hangs up without one.
    HangUp,
    Garbage,
    TooLong,
    /// Well-formed, and not what was asked for.
    Nonsense,
}

#[derive(Default)]
pub(super) struct State {
    /// By name: the versions of a key, and the least that decrypts.
    pub(super) keys: HashMap<String, (Vec<[u8; 32]>, usize)>,
    pub(super) tokens: HashSet<String>,
    pub(super) sealed: bool,
    /// Taken from the end.
    pub(super) wrong: Vec<Wrong>,
    /// Method and path of what was asked.
    pub(super) asked: Vec<String>,
    /// All that was sent, heads and bodies.
    pub(super) seen: String,
    logins: usize,
}

#[derive(Clone)]
pub(super) struct Fake {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) address: SocketAddr,
}

impl Fake {
    /// With a key `tidegate`, and [`TOKEN`].
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let fake = Self { state: Arc::default(), address };
        fake.rotate("tidegate");
        fake.state.lock().unwrap().tokens.insert(TOKEN.to_owned());
        let serving = fake.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let serving = serving.clone();
                std::thread::spawn(move || serving.serve(stream.unwrap()));
            }
        });
        fake
    }

    pub(super) fn rotate(&self, name: &str) {
        let mut key = [0; 32];
        getrandom::fill(&mut key).unwrap();
        self.state.lock().unwrap().keys.entry(name.to_owned()).or_insert((Vec::new(), 1)).0.push(key);
    }

    pub(super) fn go_wrong(&self, wrong: &[Wrong]) {
        let mut state = self.state.lock().unwrap();
        state.wrong = wrong.iter().rev().copied().collect();
        state.asked.clear();
    }

    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut writer = stream;
        while let Some(request) = Request::read(&mut reader) {
            let wrong = {
                let mut state = self.state.lock().unwrap();
                state.asked.push(format!("{} {}", request.method, request.path));
                state.seen.push_str(&request.text);
                state.wrong.pop()
            };
            let (status, body) = match wrong {
                None => self.answer(&request),
                Some(Wrong::Hang) => {
                    // Until the other side gives up.
                    let _ = reader.read(&mut [0]);
                    return;
                }
                Some(Wrong::HangUp) => return,
                Some(Wrong::Garbage) => {
                    let _ = writer.write_all(b"\x16\x03\x01 this is no HTTP\r\n\r\n");
                    return;
                }
                Some(Wrong::TooLong) => (200, json!({"data": {"ciphertext": "a".repeat(100_000)}})),
                Some(Wrong::Nonsense) => {
                    (200, json!({"data": {"ciphertext": "no", "plaintext": "bm8="}, "auth": null}))
                }
                Some(Wrong::Status(status)) => (status, errors("canary: what the service says")),
            };
            let body = body.to_string();
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            if writer.write_all(format!("{head}{body}").as_bytes()).is_err() {
                return;
            }
        }
    }

    fn answer(&self, request: &Request) -> (u16, Value) {
        let mut state = self.state.lock().unwrap();
        if state.sealed {
            return (503, errors("Vault is sealed"));
        }
        let segments: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
        match (request.method.as_str(), &segments[..]) {
            ("POST" | "PUT", ["v1", "auth", "approle", "login"]) => state.log_in(&request.body),
            _ if !request.header("x-vault-token").is_some_and(|token| state.tokens.contains(token)) => {
                (403, errors("permission denied"))
            }
            ("POST" | "PUT", ["v1", "transit", "encrypt", name]) => state.encrypt(name, &request.body),
            ("POST" | "PUT", ["v1", "transit", "decrypt", name]) => state.decrypt(name, &request.body),
            (_, ["v1", "transit", ..]) => (405, errors("unsupported operation")),
            _ => (404, errors("no handler for route")),
        }
    }
}

fn errors(text: &str) -> Value {
    json!({"errors": [text]})
}

impl State {
    fn log_in(&mut self, body: &Value) -> (u16, Value) {
        if body["role_id"] != ROLE || body["secret_id"] != ROLE_SECRET {
            return (400, errors("invalid role or secret ID"));
        }
        self.logins += 1;
        let token = format!("s.canary-of-role-{}", self.logins);
        self.tokens.insert(token.clone());
        (
            200,
            json!({"auth": {"client_token": token, "lease_duration": 1200, "renewable": true, "policies": ["default"]}}),
        )
    }

    fn encrypt(&mut self, name: &str, body: &Value) -> (u16, Value) {
        let Some((versions, _)) = self.keys.get(name) else { return (403, errors("permission denied")) };
        let plain = body["plaintext"].as_str().and_then(|text| BASE64.decode(text.as_bytes()).ok());
        let Some(mut bytes) = plain else { return (400, errors("failed to base64-decode plaintext")) };
        let mut nonce = [0; 12];
        getrandom::fill(&mut nonce).unwrap();
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &versions[versions.len() - 1]).unwrap());
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut bytes).unwrap();
        let text = format!("vault:v{}:{}", versions.len(), BASE64.encode(&[&nonce[..], &bytes].concat()));
        (200, json!({"data": {"ciphertext": text, "key_version": versions.len()}}))
    }

    fn decrypt(&mut self, name: &str, body: &Value) -> (u16, Value) {
        let Some((versions, least)) = self.keys.get(name) else { return (400, errors("encryption key not found")) };
        let text = body["ciphertext"].as_str().unwrap_or_default();
        let parts = text.strip_prefix("vault:v").and_then(|rest| rest.split_once(':'));
        let Some((version, sealed)) = parts.and_then(|(v, rest)| Some((v.parse::<usize>().ok()?, rest))) else {
            return (400, errors("invalid ciphertext: no prefix"));
        };
        if version < *least {
            return (400, errors("ciphertext or signature version is disallowed by policy (too old)"));
        }
        let Some(key) = versions.get(version.wrapping_sub(1)) else {
            return (400, errors("invalid ciphertext: version is too new"));
        };
        let Some(mut bytes) = BASE64.decode(sealed.as_bytes()).ok().filter(|bytes| bytes.len() > 28) else {
            return (400, errors("invalid ciphertext: could not decode base64"));
        };
        let mut rest = bytes.split_off(12);
        let nonce = Nonce::try_assume_unique_for_key(&bytes).unwrap();
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap());
        match key.open_in_place(nonce, Aad::empty(), &mut rest) {
            Ok(plain) => (200, json!({"data": {"plaintext": BASE64.encode(plain)}})),
            Err(_) => (400, errors("invalid ciphertext: unable to decrypt")),
        }
    }
}

struct Request {
    method: String,
    path: String,
    headers: HashMap<String, String>,
    body: Value,
    text: String,
}

impl Request {
    fn read(reader: &mut impl BufRead) -> Option<Self> {
        let mut text = String::new();
        while !text.ends_with("\r\n\r\n") {
            if reader.read_line(&mut text).ok()? == 0 {
                return None;
            }
        }
        let mut lines = text.lines();
        let mut first = lines.next()?.split(' ').map(str::to_owned);
        let (method, path) = (first.next()?, first.next()?);
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers: HashMap<String, String> =
            headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        let mut body = vec![0; headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)];
        reader.read_exact(&mut body).ok()?;
        text.push_str(std::str::from_utf8(&body).ok()?);
        Some(Self { method, path, headers, body: serde_json::from_slice(&body).unwrap_or_default(), text })
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}
