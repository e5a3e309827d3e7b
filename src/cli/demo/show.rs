//! How the demo looks: `curl` lines, and a body before and after in colours.
//!
//! What is shown is what `curl` got: the line that is printed is the line that was run. Start at [`Curl`].

use std::io::{self, Write};
use std::process::Stdio;

const KEPT: &str = "\x1b[32m";
const CHANGED: &str = "\x1b[33m";
const DROPPED: &str = "\x1b[31;2m";
/// For headings.
pub const BOLD: &str = "\x1b[1m";
/// For what is beside the point.
pub const DIM: &str = "\x1b[2m";
/// Ends a colour.
pub const PLAIN: &str = "\x1b[0m";

/// A `curl` command line.
#[derive(Clone, Debug, Default)]
pub struct Curl(Vec<String>);

impl Curl {
    /// With these arguments behind `curl -sS`.
    #[must_use]
    pub fn new(args: &[&str]) -> Self {
        Self(args.iter().map(|arg| (*arg).to_owned()).collect())
    }

    /// With arguments more.
    #[must_use]
    pub fn and(mut self, args: &[&str]) -> Self {
        self.0.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// Ready to paste into a shell.
    #[must_use]
    pub fn line(&self) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
        let quoted = self
            .0
            .iter()
            .map(|arg| if arg.chars().all(plain) { arg.clone() } else { format!("'{}'", arg.replace('\'', r"'\''")) });
        format!("curl -sS {}", quoted.collect::<Vec<_>>().join(" "))
    }

    /// Runs it; what it printed.
    ///
    /// # Errors
    /// A sentence: there is no `curl`, or it did not get an answer.
    pub async fn run(&self) -> Result<String, String> {
        let mut command = std::process::Command::new("curl");
        command.arg("-sS").args(["--max-time", "20"]).args(&self.0).stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output()).await.map_err(|error| error.to_string())?;
        let output = output.map_err(|error| format!("cannot run `curl`: {error}"))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }
}

/// What became of a line of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Kept,
    Changed,
    Dropped,
}

/// Lines of the document before, each with its fate. Both documents have one member in a line.
fn fates<'a>(before: &'a str, after: &str) -> Vec<(Fate, &'a str)> {
    let bare = |line: &str| line.trim().trim_end_matches(',').to_owned();
    let name = |line: &str| line.trim().split("\": ").next().map(ToOwned::to_owned);
    let after: Vec<_> = after.lines().filter(|line| !line.trim().is_empty()).collect();
    let (mut rest, mut depth, mut fates) = (after.as_slice(), 0_usize, Vec::new());
    for line in before.lines() {
        let opens = line.ends_with(['{', '[']);
        let closes = bare(line).starts_with(['}', ']']);
        let fate = match rest.split_first() {
            // Inside of what was dropped whole.
            _ if depth > 0 => Fate::Dropped,
            Some((first, others)) if bare(first) == bare(line) => {
                rest = others;
                Fate::Kept
            }
            Some((first, others)) if line.contains("\": ") && name(first) == name(line) => {
                rest = others;
                Fate::Changed
            }
            _ => Fate::Dropped,
        };
        if fate == Fate::Dropped {
            depth = (depth + usize::from(opens)).saturating_sub(usize::from(closes));
        }
        fates.push((fate, line));
    }
    fates
}

/// Prints the document before, each line in the colour of its fate.
///
/// # Errors
/// Of the writer.
pub fn before(out: &mut dyn Write, before: &str, after: &str) -> io::Result<()> {
    for (fate, line) in fates(before, after) {
        let (colour, sign) = match fate {
            Fate::Kept => (KEPT, ' '),
            Fate::Changed => (CHANGED, '~'),
            Fate::Dropped => (DROPPED, '-'),
        };
        writeln!(out, "  {colour}{sign} {line}{PLAIN}")?;
    }
    Ok(())
}

/// Prints the document after.
///
/// # Errors
/// Of the writer.
pub fn after(out: &mut dyn Write, before: &str, after: &str) -> io::Result<()> {
    let bare = |line: &str| line.trim().trim_end_matches(',').to_owned();
    let known: Vec<_> = before.lines().map(bare).collect();
    for line in after.lines().filter(|line| !line.trim().is_empty()) {
        let colour = if known.contains(&bare(line)) { KEPT } else { CHANGED };
        writeln!(out, "    {colour}{line}{PLAIN}")?;
    }
    Ok(())
}

/// Prints what the colours mean.
///
/// # Errors
/// Of the writer.
pub fn legend(out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "  {KEPT}green{PLAIN}: leaves as it is   {CHANGED}~ yellow{PLAIN}: leaves changed   {DROPPED}- red{PLAIN}: does not leave"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_kept_changed_or_dropped() {
        let before = "{\n  \"id\": \"1\",\n  \"pay\": {\n    \"id\": 2\n  },\n  \"open\": 3,\n  \"gone\": 4\n}";
        let after = "{\n  \"id\": \"tk1_x\",\n  \"open\": 3\n}";
        let found: Vec<_> = fates(before, after).into_iter().map(|(fate, _)| fate).collect();
        use Fate::{Changed, Dropped, Kept};
        assert_eq!(found, [Kept, Changed, Dropped, Dropped, Dropped, Kept, Dropped, Kept]);
    }

    #[test]
    fn a_line_can_be_pasted() {
        let curl = Curl::new(&["-H", "x-api-key: a'b"]).and(&["https://localhost:1/v1/orders?page=1"]);
        assert_eq!(curl.line(), r"curl -sS -H 'x-api-key: a'\''b' 'https://localhost:1/v1/orders?page=1'");
    }
}
