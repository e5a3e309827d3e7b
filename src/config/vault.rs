//! `[vault]`: what keeps stored tokens.

use std::path::PathBuf;

use crate::vault::store::embedded;
use crate::vault::store::memo::Memo;
use crate::vault::store::open::{Kind, Settings};
use crate::vault::store::password::Password;

use super::check::{Reader, Section};

/// Keys of one kind of store.
const OF_ONE_KIND: [(&str, &str); 3] = [("cache", "embedded"), ("postgres", "postgres"), ("redis", "redis")];

/// See [`Reader::papers`].
pub(super) struct Papers {
    pub(super) plain: bool,
    pub(super) ca: Option<PathBuf>,
    pub(super) identity: Option<(PathBuf, PathBuf)>,
}

impl Papers {
    /// The keys of those that are given.
    pub(super) fn written(&self) -> impl Iterator<Item = &'static str> + use<> {
        [("ca", self.ca.is_some()), ("client_certificate", self.identity.is_some())]
            .into_iter()
            .filter_map(|(name, written)| written.then_some(name))
    }
}

impl Reader<'_> {
    /// Without the table there is no store, and policies that need one say so.
    pub(super) fn vault(&mut self, section: &Section<'_>) -> Option<Settings> {
        section.table?;
        let kind = self.text(section, "kind")?;
        for (name, of) in OF_ONE_KIND {
            if section.node(name).is_some() && kind != of {
                let help = format!("write `kind = \"{of}\"`, or leave it out");
                self.complain_with(section, name, format!("has no effect where the kind is `{kind}`"), help);
            }
        }
        let time = self.duration(section, "time");
        let kind = match kind.as_str() {
            "postgres" => self.postgres(section)?,
            "redis" => self.redis(section)?,
            _ => Kind::Embedded(self.embedded(section)),
        };
        Some(Settings { kind, time })
    }

    fn embedded(&mut self, section: &Section<'_>) -> embedded::Settings {
        embedded::Settings {
            folder: self.folder(section, "folder"),
            cache_bytes: self.number(section, "cache"),
            patience: self.duration(section, "wait"),
        }
    }

    /// The certificates of a connection to a server, and whether `danger_plain_text` stands there: together they make no sense.
    pub(super) fn papers(&mut self, section: &Section<'_>) -> Papers {
        let plain = self.flag(section, "danger_plain_text");
        let ca = self.path(section, "ca");
        if let Some(path) = &ca {
            self.authorities(section, "ca", path);
        }
        let shown = section.node("client_certificate").is_some();
        let identity = shown.then(|| self.pair(&section.below("client_certificate")));
        let papers = Papers { plain, ca, identity };
        for name in papers.written().filter(|_| plain) {
            self.complain_with(section, name, "has no effect without TLS", "leave `danger_plain_text` out");
        }
        papers
    }

    /// Of a server, if it wants one.
    pub(super) fn server_password(&mut self, section: &Section<'_>) -> Option<Password> {
        section.node("password")?;
        let (_, found, file) = self.secret(&section.below("password"))?;
        Some(file.map_or(Password::Here(found), Password::File))
    }

    /// Where it is remembered which store is on a server.
    pub(super) fn memo(&mut self, vault: &Section<'_>) -> Memo {
        Memo::new(&self.folder(vault, "folder"))
    }

    #[cfg(not(feature = "postgres"))]
    fn postgres(&mut self, vault: &Section<'_>) -> Option<Kind> {
        let help = "build it with the feature `postgres`, which is one of the default ones";
        self.complain_with(vault, "kind", "this program was built without `postgres`", help);
        None
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use crate::vault::store::postgres::address::Address;
    use crate::vault::store::postgres::{Settings, Tls};

    use super::super::check::{Reader, Section};
    use super::{Kind, Papers};

    impl Reader<'_> {
        pub(super) fn postgres(&mut self, vault: &Section<'_>) -> Option<Kind> {
            if vault.node("postgres").is_none() {
                let help = "write `[vault.postgres]` with `url`, such as `postgres://tidegate@db.internal/vault`";
                self.complain_with(vault, "kind", "is `postgres`, and nothing says where that is", help);
                return None;
            }
            let section = vault.below("postgres");
            let address = self.text(&section, "url").map(|url| Address::parse(&url));
            if let Some(Err(fault)) = &address {
                self.complain(&section, "url", *fault);
            }
            let address = address.and_then(Result::ok);
            let password = self.server_password(&section);
            let tls = self.protection(&section, address.as_ref());
            let (connections, connect) = (self.number(&section, "connections"), self.duration(&section, "connect"));
            let (time, patience) = (self.duration(vault, "time"), self.duration(vault, "wait"));
            let (address, memo) = (address?, Some(self.memo(vault)));
            Some(Kind::Postgres(Settings { address, password, tls, connections, connect, time, patience, memo }))
        }

        /// TLS, unless nobody else can read what is sent, or the settings say that it is not wanted.
        fn protection(&mut self, section: &Section<'_>, address: Option<&Address>) -> Tls {
            let papers = self.papers(section);
            let socket = address.is_some_and(Address::has_socket) && !papers.plain;
            for name in papers.written().filter(|_| socket) {
                self.complain_with(section, name, "has no effect on a socket", "name the host, or leave it out");
            }
            let far = address.is_none_or(Address::is_far);
            let wanted = !papers.plain && (far || papers.written().next().is_some());
            let Papers { ca, identity, .. } = papers;
            if wanted { Tls::Verified { ca, identity } } else { Tls::Off }
        }
    }
}
