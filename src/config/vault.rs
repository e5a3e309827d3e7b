//! `[vault]`: what keeps stored tokens.

use crate::vault::store::embedded;
use crate::vault::store::open::{Kind, Settings};

use super::check::{Reader, Section};

impl Reader<'_> {
    /// Without the table there is no store, and policies that need one say so.
    pub(super) fn vault(&mut self, section: &Section<'_>) -> Option<Settings> {
        section.table?;
        let _kind = self.text(section, "kind");
        let kind = Kind::Embedded(self.embedded(section));
        Some(Settings { kind, time: self.duration(section, "time") })
    }

    fn embedded(&mut self, section: &Section<'_>) -> embedded::Settings {
        embedded::Settings {
            folder: self.folder(section, "folder"),
            cache_bytes: self.number(section, "cache"),
            patience: self.duration(section, "wait"),
        }
    }
}
