//! What is wrong with a policy file: code, place, message, help.

use std::ops::Range;
use std::sync::Arc;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
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
        let _ = text;
        todo!()
    }
    /// As a person reads it, with an excerpt of the source; coloured if asked for.
    pub fn render(&self, text: &str, colour: bool) -> String {
        let _ = (text, colour);
        todo!()
    }
}
