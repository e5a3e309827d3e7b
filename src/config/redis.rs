//! `[vault.redis]`: a store on Redis or Valkey.

use crate::vault::store::open::Kind;
use crate::vault::store::redis::settings::{Durability, Settings, Tls, Url};

use super::check::{Reader, Section};
use super::vault::Papers;

impl Reader<'_> {
    pub(super) fn redis(&mut self, vault: &Section<'_>) -> Option<Kind> {
        if vault.node("redis").is_none() {
            let help = "write `[vault.redis]` with `url`, such as `redis://tidegate@redis.internal:6379`";
            self.complain_with(vault, "kind", "is `redis`, and nothing says where that is", help);
            return None;
        }
        let section = vault.below("redis");
        let url = self.text(&section, "url").map(|url| Url::parse(&url));
        if let Some(Err(fault)) = &url {
            self.complain(&section, "url", *fault);
        }
        let url = url.and_then(Result::ok);
        let password = self.server_password(&section);
        if password.is_none() && url.as_ref().is_some_and(|url| url.login.is_some()) {
            let help = "write `password = { file = \"PATH\" }` or `{ env = \"NAME\" }`, or leave the user out";
            self.complain_with(&section, "url", "names a user, and there is no password for it", help);
        }
        let tls = self.redis_tls(&section, url.as_ref());
        let durability = match self.text(&section, "durability").as_deref() {
            Some("waited") => Durability::Waited,
            Some("assured") => Durability::Assured,
            _ => Durability::Always,
        };
        let replicas = section.node("replicas").is_some().then(|| self.number(&section, "replicas"));
        let prefix = self.text(&section, "prefix").unwrap_or_default();
        let (time, patience) = (self.duration(vault, "time"), self.duration(vault, "wait"));
        let Url { nodes, login, .. } = url?;
        let memo = Some(self.memo(vault));
        Some(Kind::Redis(Settings { nodes, tls, login, password, prefix, durability, replicas, time, patience, memo }))
    }

    /// TLS, unless nobody else can read what is sent, or the settings say that it is not wanted.
    fn redis_tls(&mut self, section: &Section<'_>, url: Option<&Url>) -> Option<Tls> {
        let papers = self.papers(section);
        let is_secure = url.is_none_or(|url| url.is_secure || url.is_far());
        let wanted = !papers.plain && (is_secure || papers.written().next().is_some());
        let Papers { ca, identity, .. } = papers;
        wanted.then_some(Tls { ca, identity })
    }
}
