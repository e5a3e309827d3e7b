//! `tidegate check`: parse, compile and lint the policies.
//!
//! Says everything that is wrong or unwise about a set of policy files, and changes nothing. With the settings it also knows the
//! upstreams, the files that policies name and the keys, which it looks at without making any; without them it runs anywhere. Start at [`run`].

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::clock::Clock;
use crate::config;
use crate::ids::UpstreamId;
use crate::keys;
use crate::policy::compile::{CompiledPolicy, compile};
use crate::policy::diagnostic::{Diagnostic, Severity};
use crate::policy::format::{self, Texts};
use crate::policy::{codes, held, lint, read};
use crate::vault::store::embedded::{OpenError, inspect};
use crate::vault::store::open;

use super::{Exit, SettingsArgs};

/// Largest policy file, as at start-up.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// What the command line says.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Policy files, or folders of them [default: the settings' folder, else `policies`]
    paths: Vec<PathBuf>,
    /// How complaints are written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The settings file: then upstreams and named files are checked too [default: `tidegate.toml` where no path is given]
    #[arg(short, long, visible_alias = "settings", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Warnings count as findings
    #[arg(long)]
    deny_warnings: bool,
    /// The day for which agreements are looked at
    #[arg(long, value_name = "YYYY-MM-DD")]
    today: Option<jiff::civil::Date>,
}

/// How complaints are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For persons
    Text,
    /// An array of objects
    Json,
    /// For code scanning
    Sarif,
    /// For GitHub's workflows
    Github,
}

/// Runs the command.
pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    let Ok(settings) = settings(&args, err) else { return Exit::Unusable };
    let paths = match (&settings, args.paths.is_empty()) {
        (_, false) => args.paths,
        (Some(settings), true) => vec![settings.policies.clone()],
        (None, true) => vec![PathBuf::from("policies")],
    };
    let Some(texts) = gather(&paths, err) else { return Exit::Unusable };
    let today = args.today.unwrap_or_else(today);
    let (found, policies) = check(&texts, settings.as_ref(), today);
    let written = match args.format {
        Format::Text => text(&found, &texts, policies),
        Format::Json => format::as_json(&found, &texts),
        Format::Sarif => format::as_sarif(&found, &texts),
        Format::Github => format::as_github(&found, &texts),
    };
    if out.write_all(written.as_bytes()).and_then(|()| out.flush()).is_err() {
        return Exit::Unusable;
    }
    let bar = if args.deny_warnings { Severity::Warning } else { Severity::Error };
    if found.iter().any(|diagnostic| diagnostic.severity >= bar) { Exit::Findings } else { Exit::Clean }
}

pub(super) fn today() -> jiff::civil::Date {
    let millis = i64::try_from(Clock::system().now().0).unwrap_or(i64::MAX);
    let now = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    jiff::tz::TimeZone::UTC.to_datetime(now).date()
}

fn settings(args: &Args, err: &mut dyn Write) -> Result<Option<config::Settings>, Exit> {
    let usual = Path::new("tidegate.toml");
    let config = match &args.config {
        Some(config) => config.clone(),
        None if args.paths.is_empty() && usual.is_file() => usual.to_owned(),
        None => return Ok(None),
    };
    SettingsArgs { config, set: Vec::new() }.load(err).map(Some)
}

/// The texts by name. `None` when something could not be read, which has been said then.
pub(super) fn gather(paths: &[PathBuf], err: &mut dyn Write) -> Option<Texts> {
    let mut texts = Texts::new();
    let mut whole = true;
    let mut complain = |path: &Path, why: &str| {
        whole = false;
        let _ = writeln!(err, "{}: {why}", path.display());
    };
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        match fs::read_dir(path) {
            Ok(entries) => {
                let inside = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
                // Folders beside a policy hold its samples.
                let before = files.len();
                files.extend(inside.filter(|p| p.extension().is_some_and(|end| end == "toml") && !p.is_dir()));
                if files.len() == before {
                    complain(path, "no policy file (`*.toml`) in there");
                }
            }
            Err(error) => complain(path, &format!("cannot be read: {}", error.kind())),
        }
    }
    for path in files {
        match fs::metadata(&path)
            .and_then(|meta| if meta.len() > FILE_BYTES_MAX { Ok(None) } else { fs::read(&path).map(Some) })
        {
            Ok(Some(bytes)) => match String::from_utf8(bytes) {
                Ok(text) => drop(texts.insert(path.display().to_string(), text)),
                Err(_) => complain(&path, "not UTF-8"),
            },
            Ok(None) => complain(&path, &format!("larger than {FILE_BYTES_MAX} bytes")),
            Err(error) => complain(&path, &format!("cannot be read: {}", error.kind())),
        }
    }
    whole.then_some(texts)
}

/// All complaints, by file and place, and how many policies are usable.
fn check(texts: &Texts, settings: Option<&config::Settings>, today: jiff::civil::Date) -> (Vec<Diagnostic>, usize) {
    let mut found = Vec::new();
    let mut set: Vec<CompiledPolicy> = Vec::new();
    for (name, text) in texts {
        let (policy, complaints) = read(name, text);
        found.extend(complaints);
        match policy.map(compile) {
            Some(Ok(compiled)) => set.push(compiled),
            Some(Err(complaints)) => found.extend(complaints),
            None => {}
        }
    }
    found.extend(lint::lint(&set, today));
    found.extend(set.iter().flat_map(held::notes));
    if let Some(settings) = settings {
        against(settings, &set, &mut found);
        found.extend(keys::source::inspect(&settings.keys).iter().map(of_keys));
        found.extend(of_store(settings));
    }
    found.sort_by(|a, b| (&a.file, a.span.start, a.code).cmp(&(&b.file, b.span.start, b.code)));
    let broken: BTreeSet<&str> =
        found.iter().filter(|d| d.severity == Severity::Error).map(|d| d.file.as_ref()).collect();
    let usable = texts.keys().filter(|name| !broken.contains(name.as_str())).count();
    (found, usable)
}

/// What is wrong with the keys, at no place in a policy.
fn of_keys(error: &keys::Error) -> Diagnostic {
    Diagnostic {
        code: codes::KEYS_WRONG,
        severity: Severity::Error,
        file: error.place.display().to_string().into(),
        span: 0..0,
        message: error.fault.to_string(),
        help: None,
    }
}

/// What is wrong with an embedded store, as far as can be seen without opening it; and with the settings of the one that it is moved to.
fn of_store(settings: &config::Settings) -> Vec<Diagnostic> {
    let wrong = |file: &Path, message: String| Diagnostic {
        code: codes::STORE_WRONG,
        severity: Severity::Error,
        file: file.display().to_string().into(),
        span: 0..0,
        message,
        help: None,
    };
    let mut found = Vec::new();
    if let Some(open::Kind::Embedded(embedded)) = settings.vault.as_ref().map(|vault| &vault.kind) {
        let of = |error: OpenError| wrong(&embedded.folder, error.to_string());
        found.extend(inspect::inspect(&embedded.folder).into_iter().map(of));
    }
    if let Some(file) = &settings.vault_to {
        found.extend(config::other_vault(file).err().map(|error| wrong(file, format!("`vault.to`: {error}"))));
    }
    found
}

/// What only the settings tell: upstreams, and where named files are.
fn against(settings: &config::Settings, set: &[CompiledPolicy], found: &mut Vec<Diagnostic>) {
    let base = settings.file.parent().unwrap_or(Path::new(""));
    for policy in set.iter().map(|compiled| &compiled.policy) {
        for (upstream, route) in policy.upstreams() {
            if !settings.upstreams.contains_key(upstream) {
                let known: Vec<&str> = settings.upstreams.keys().map(UpstreamId::as_str).collect();
                found.push(Diagnostic {
                    code: codes::UPSTREAM_UNKNOWN,
                    severity: Severity::Error,
                    file: policy.file.clone(),
                    span: route.place.span.clone(),
                    message: format!("route `{}`: upstream `{upstream}` is not in the settings", route.pattern),
                    help: Some(crate::policy::source::near(upstream.as_str(), &known, "upstreams")),
                });
            }
        }
        for (named, place) in policy.files() {
            if let Err(error) = fs::File::open(base.join(named)) {
                found.push(Diagnostic {
                    code: codes::FILE_UNREADABLE,
                    severity: Severity::Error,
                    file: policy.file.clone(),
                    span: place.span.clone(),
                    message: format!("file `{}` cannot be read: {}", named.display(), error.kind()),
                    help: Some("paths are relative to the settings file's folder".into()),
                });
            }
        }
    }
}

/// Coloured always: the command's streams take the colours out where nobody sees them.
fn text(found: &[Diagnostic], texts: &Texts, usable: usize) -> String {
    let mut written = String::new();
    for diagnostic in found {
        let source = texts.get(&*diagnostic.file).map_or("", String::as_str);
        written.push_str(&diagnostic.render(source, true));
        written.push_str("\n\n");
    }
    let count = |severity: Severity| found.iter().filter(|d| d.severity == severity).count();
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let ways = [(Severity::Error, "error"), (Severity::Warning, "warning"), (Severity::Note, "note")];
    let counts: Vec<String> = ways
        .iter()
        .map(|(severity, word)| (count(*severity), word))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| plural(count, word))
        .collect();
    let all = texts.len();
    let noun = if all == 1 { "policy" } else { "policies" };
    let counts = if counts.is_empty() { "nothing to complain of".to_owned() } else { counts.join(", ") };
    written.push_str(&format!("{usable} of {all} {noun} usable: {counts}\n"));
    written
}
