//! What is allowed and still worth a warning, within a file and across files.

use super::compile::CompiledPolicy;
use super::diagnostic::Diagnostic;

/// Looks over a whole set. Errors too: two files with one partner id, one API key, one outbound host; an oracle across legs.
/// `today` in UTC.
pub fn lint(set: &[CompiledPolicy], today: jiff::civil::Date) -> Vec<Diagnostic> {
    let _ = (set, today);
    todo!()
}
