//! `[keys]`: where secrets are, and who wraps them.

use std::path::PathBuf;

use crate::http::pem;
use crate::keys::source::{Settings, Source};
use crate::keys::transit::{self, Credential, Login};
use crate::secret::Secret;

use super::{Reader, Section};

const CREDENTIAL_HELP: &str =
    "a credential is never written in the settings: `{ env = \"NAME\" }` or `{ file = \"PATH\" }`";

impl Reader<'_> {
    pub(super) fn keys(&mut self, section: &Section<'_>) -> Settings {
        let folder = self.folder(section, "folder");
        let source = self.text(section, "source").unwrap_or_default();
        for (name, of) in [("root_env", "environment"), ("transit", "transit")] {
            if section.node(name).is_some() && source != of {
                let help = format!("write `source = \"{of}\"`, or leave it out");
                self.complain_with(section, name, format!("has no effect where the source is `{source}`"), help);
            }
        }
        let root = match source.as_str() {
            "environment" => self.root_of_environment(section),
            "transit" => self.transit(section),
            _ => Source::Folder,
        };
        Settings { folder, root }
    }

    /// Whether it is a root key is found when it is used: a command that needs no keys runs without.
    fn root_of_environment(&mut self, section: &Section<'_>) -> Source {
        let variable = self.text(section, "root_env").unwrap_or_default();
        let value = self.environment.get(&variable).filter(|value| !value.trim().is_empty());
        let value = Secret::new(value.cloned().unwrap_or_default());
        if value.expose_secret().is_empty() && !variable.is_empty() {
            let help = "it holds the root key: 64 hex digits, such as `openssl rand -hex 32` makes";
            self.complain_with(section, "root_env", format!("the variable `{variable}` is not set"), help);
        }
        Source::Environment { variable, value }
    }

    fn transit(&mut self, keys: &Section<'_>) -> Source {
        if keys.node("transit").is_none() {
            let help = "write `[keys.transit]` with `url`, `key`, and `token` or `approle`";
            self.complain_with(keys, "source", "is `transit`, and nothing says where that is", help);
            return Source::Folder;
        }
        let section = keys.below("transit");
        let url = self.url(&section);
        let ca = self.path(&section, "ca");
        if let Some(path) = &ca {
            self.authorities(&section, "ca", path);
        }
        let local = url.host().is_some_and(|host| {
            let host = host.trim_matches(['[', ']']);
            host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.to_canonical().is_loopback())
        });
        if url.scheme_str() == Some("http") {
            if ca.is_some() {
                self.complain_with(&section, "ca", "has no effect on `http`", "write the `url` with `https`");
            }
            if !local {
                let message = "secrets would cross the network for all to read";
                self.complain_with(
                    &section,
                    "url",
                    message,
                    "write it with `https`; `http` is for an agent on this machine",
                );
            }
        }
        let (mount, namespace) = (self.segments(&section, "mount"), self.text(&section, "namespace"));
        Source::Transit(Box::new(transit::Settings {
            url,
            ca,
            mount,
            key: self.text(&section, "key").unwrap_or_default(),
            namespace,
            login: self.login(&section),
            timeout: self.duration(&section, "timeout"),
        }))
    }

    /// A path of the service without a slash at either end, in which nothing has to be escaped.
    fn segments(&mut self, section: &Section<'_>, name: &str) -> String {
        let text = self.text(section, name).unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !text.is_empty()
            && !text.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && part.chars().all(plain))
        {
            self.complain(
                section,
                name,
                "expected a path of `a-z`, `0-9`, `-`, `_`, `.` between single slashes, such as `transit`",
            );
        }
        text
    }

    fn login(&mut self, section: &Section<'_>) -> Login {
        let (token, role) = (section.node("token").is_some(), section.node("approle").is_some());
        if token == role {
            self.complain_with(section, "", "expected either `token` or `approle`", CREDENTIAL_HELP);
        }
        if !role {
            let credential = token.then(|| self.credential(&section.below("token"))).flatten();
            return Login::Token(credential.unwrap_or_else(|| Credential::Here(Secret::new(String::new()))));
        }
        let section = section.below("approle");
        let secret = self.credential(&section.below("secret_id"));
        Login::AppRole {
            mount: self.segments(&section, "mount"),
            role: self.text(&section, "role_id").unwrap_or_default(),
            secret: secret.unwrap_or_else(|| Credential::Here(Secret::new(String::new()))),
        }
    }

    fn credential(&mut self, section: &Section<'_>) -> Option<Credential> {
        let (name, found, file) = self.secret(section)?;
        if ::http::HeaderValue::from_str(found.expose_secret()).is_err() {
            self.complain(section, name, "what it holds cannot be in a header");
            return None;
        }
        Some(file.map_or(Credential::Here(found), Credential::File))
    }

    /// What a variable or a file holds, by the key that names it. Never says anything of the value.
    pub(in crate::config) fn secret(
        &mut self,
        section: &Section<'_>,
    ) -> Option<(&'static str, Secret<String>, Option<PathBuf>)> {
        let (variable, file): (_, Option<PathBuf>) = (self.text(section, "env"), self.path(section, "file"));
        let (name, found) = match (&variable, &file) {
            (Some(variable), None) => match self.environment.get(variable) {
                Some(value) => ("env", Secret::new(value.trim_end_matches(['\r', '\n']).to_owned())),
                None => {
                    self.complain(section, "env", format!("the variable `{variable}` is not set"));
                    return None;
                }
            },
            (None, Some(path)) => match pem::secret_text(path) {
                Ok(text) => ("file", Secret::new(text.to_string())),
                Err(error) => {
                    self.complain(section, "file", error);
                    return None;
                }
            },
            _ => {
                self.complain_with(section, "", "expected either `env` or `file`", CREDENTIAL_HELP);
                return None;
            }
        };
        if found.expose_secret().is_empty() {
            self.complain(section, name, "what it holds is empty");
            return None;
        }
        Some((name, found, file))
    }
}
