//! Complaints for machines: JSON, SARIF and GitHub's workflow commands. For persons: [`Diagnostic::render`].

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::codes;
use super::diagnostic::{Diagnostic, Severity, line_column};

/// The texts of the files, by name.
pub type Texts = BTreeMap<String, String>;

impl Severity {
    /// The word in every format.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

struct Position {
    line: usize,
    column: usize,
    end_line: usize,
    end_column: usize,
}

fn position(diagnostic: &Diagnostic, texts: &Texts) -> Position {
    let text = texts.get(&*diagnostic.file).map_or("", String::as_str);
    let (line, column) = line_column(text, diagnostic.span.start);
    let (end_line, end_column) = line_column(text, diagnostic.span.end.max(diagnostic.span.start));
    Position { line, column, end_line, end_column }
}

/// An array with an object for each.
pub fn as_json(diagnostics: &[Diagnostic], texts: &Texts) -> String {
    let items = diagnostics.iter().map(|diagnostic| {
        let at = position(diagnostic, texts);
        json!({
            "code": diagnostic.code,
            "severity": diagnostic.severity.as_str(),
            "file": &*diagnostic.file,
            "line": at.line,
            "column": at.column,
            "end_line": at.end_line,
            "end_column": at.end_column,
            "message": diagnostic.message,
            "help": diagnostic.help,
        })
    });
    format!("{:#}\n", Value::Array(items.collect()))
}

/// SARIF 2.1.0, for code scanning.
pub fn as_sarif(diagnostics: &[Diagnostic], texts: &Texts) -> String {
    let used: BTreeSet<&str> = diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
    let rules = codes::ALL
        .iter()
        .filter(|(code, _)| used.contains(code))
        .map(|(code, title)| json!({ "id": code, "shortDescription": { "text": title } }));
    let results = diagnostics.iter().map(|diagnostic| {
        let at = position(diagnostic, texts);
        let text = match &diagnostic.help {
            Some(help) => format!("{}\n{help}", diagnostic.message),
            None => diagnostic.message.clone(),
        };
        json!({
            "ruleId": diagnostic.code,
            "level": diagnostic.severity.as_str(),
            "message": { "text": text },
            "locations": [{ "physicalLocation": {
                "artifactLocation": { "uri": diagnostic.file.replace('\\', "/") },
                "region": {
                    "startLine": at.line,
                    "startColumn": at.column,
                    "endLine": at.end_line,
                    "endColumn": at.end_column,
                },
            }}],
        })
    });
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "tidegate",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": results.collect::<Vec<_>>(),
        }],
    });
    format!("{log:#}\n")
}

/// A workflow command a line, so that complaints appear beside the change.
pub fn as_github(diagnostics: &[Diagnostic], texts: &Texts) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics {
        let at = position(diagnostic, texts);
        let command = if diagnostic.severity == Severity::Note { "notice" } else { diagnostic.severity.as_str() };
        let help = diagnostic.help.as_ref().map(|help| format!("\nhelp: {help}")).unwrap_or_default();
        out.push_str(&format!(
            "::{command} file={},line={},endLine={},col={},title={}::{}\n",
            github_property(&diagnostic.file),
            at.line,
            at.end_line,
            at.column,
            diagnostic.code,
            github_data(&format!("{}{help}", diagnostic.message)),
        ));
    }
    out
}

fn github_data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn github_property(text: &str) -> String {
    github_data(text).replace(':', "%3A").replace(',', "%2C")
}
