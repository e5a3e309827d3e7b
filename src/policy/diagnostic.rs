//! What is wrong with a policy file: code, place, message, help.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::codes;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Listed on every run, because somebody has to answer for it; never counted.
    Note,
    /// Worth a look; the file still loads.
    Warning,
    /// The file does not load.
    Error,
}

/// One complaint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable code, `P001` and on; all of them are in `docs/errors.md`.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The file as the user named it.
    pub file: Arc<str>,
    /// Byte range in the file.
    pub span: Range<usize>,
    /// What was found and what was wanted: lower case, no final stop.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// Line and column of the place, both from 1, in the file's text. Columns count characters.
    pub fn line_column(&self, text: &str) -> (usize, usize) {
        line_column(text, self.span.start)
    }

    /// As a person reads it, with an excerpt of the source; coloured if asked for.
    pub fn render(&self, text: &str, colour: bool) -> String {
        let level = match self.severity {
            Severity::Note => Level::NOTE,
            Severity::Warning => Level::WARNING,
            Severity::Error => Level::ERROR,
        };
        let excerpt = self.excerpt(text);
        let text = if self.code == codes::BAD_DIGEST { blank(text, &excerpt) } else { Cow::Borrowed(text) };
        let annotation = AnnotationKind::Primary.span(excerpt);
        let snippet = Snippet::source(text).path(self.file.as_ref()).annotation(annotation);
        let group = level.primary_title(self.message.as_str()).id(self.code).element(snippet);
        let group = match &self.help {
            Some(help) => group.element(Level::HELP.message(help.as_str())),
            None => group,
        };
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        renderer.decor_style(DecorStyle::Ascii).render(&[group])
    }

    /// The part of the span that is worth showing: in the text, between characters, on its first line.
    fn excerpt(&self, text: &str) -> Range<usize> {
        let floor = |at: usize| text.floor_char_boundary(at.min(text.len()));
        let (start, end) = (floor(self.span.start), floor(self.span.end));
        let shown = text.get(start..end).unwrap_or_default();
        let first = shown.lines().next().unwrap_or_default();
        start..start + first.trim_end().len()
    }
}

/// The text with stars instead of what may be a secret.
fn blank<'t>(text: &'t str, range: &Range<usize>) -> Cow<'t, str> {
    let (before, after) = (text.get(..range.start), text.get(range.end..));
    let stars = "*".repeat(range.len());
    Cow::Owned(format!("{}{stars}{}", before.unwrap_or_default(), after.unwrap_or_default()))
}

/// Line and column of a byte, both from 1; columns count characters.
pub fn line_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..text.floor_char_boundary(at.min(text.len()))).unwrap_or_default();
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    (line, before.get(start..).map_or(0, |text| text.chars().count()) + 1)
}
