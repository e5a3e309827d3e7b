//! `[reveal]`: operators who may have tokens turned back outside of traffic.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use data_encoding::HEXLOWER_PERMISSIVE;

use crate::admin::desk::Settings;
use crate::ids::UpstreamId;

use super::check::{Reader, Section, is_loopback};

impl Reader<'_> {
    /// Without the table nobody may.
    pub(super) fn reveal(&mut self, section: &Section<'_>, admin: Option<SocketAddr>) -> Option<Settings> {
        section.table?;
        match admin {
            None => {
                let help = "add `[admin]` with an `address`";
                self.complain_with(section, "", "is asked for by the admin listener, and there is none", help);
            }
            Some(address) if !is_loopback(address) => {
                let help = "let `admin.address` be on loopback, or leave `[reveal]` out";
                let message = "would let credentials and values cross the network for all to read: the admin listener is open to other machines";
                self.complain_with(section, "", message, help);
            }
            Some(_) => {}
        }
        let mut operators = BTreeMap::new();
        for (name, operator) in section.named("operator") {
            if UpstreamId::parse(name).is_none() {
                let message = "a name is 1 to 128 of `a-z`, `0-9`, `-`, `_` and `.`, beginning with a letter or digit";
                self.complain(&operator, "", message);
            }
            let text = self.text(&operator, "sha256").unwrap_or_default();
            let digest = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
            match digest.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()) {
                Some(digest) if operators.values().any(|known| *known == digest) => {
                    let help = "give each operator a credential of their own: `tidegate token credential` makes one";
                    self.complain_with(&operator, "sha256", "is another operator's, too", help);
                }
                Some(digest) => drop(operators.insert(name.to_owned(), digest)),
                None if text.is_empty() => {}
                None => {
                    let help = "`tidegate token credential` makes a credential and prints both; the credential itself does not belong in this file";
                    self.complain_with(&operator, "sha256", "expected 64 hexadecimal digits", help);
                }
            }
        }
        let two_operators = self.flag(section, "two_operators");
        let wanted = if two_operators { 2 } else { 1 };
        if section.named("operator").len() < wanted {
            let message = if two_operators {
                "lets nobody: two operators are needed, and there are fewer"
            } else {
                "lets nobody: there is no operator"
            };
            self.complain_with(section, "", message, "add `[reveal.operator.NAME]` with `sha256`");
        }
        let within = self.duration(section, "within");
        Some(Settings { operators, rate: self.number(section, "rate"), two_operators, within })
    }
}
