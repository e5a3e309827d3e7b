//! `tidegate vault export | import | migrate`: copies of what is stored, each verified.
//!
//! On the store of a program that is not running. Whatever cuts one of them off, run it again: it goes on. How a store is moved while
//! the program runs is `vault.to` in the settings. Start at [`run`].

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::config;
use crate::keys::{Key, KeyRing};
use crate::telemetry::Metrics;
use crate::vault::store::guard::Guard;
use crate::vault::store::open;
use crate::vault::transfer::archive::{self, Writer};
use crate::vault::transfer::{self, Error, Progress, Tally, marks};

use super::{Exit, SettingsArgs};

/// What `tidegate vault` is asked for.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Write all that is stored into a sealed file
    Export {
        /// The file; it is not written over
        file: PathBuf,
        /// Leave out what does not read, instead of ending with an error
        #[arg(long)]
        leave_damaged: bool,
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Put all that is in a sealed file into the store
    Import {
        /// The file
        file: PathBuf,
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Copy all that is stored into another store, which is empty
    Migrate {
        /// Settings whose `[vault]` is the other store
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        /// Leave out what does not read, instead of ending with an error
        #[arg(long)]
        leave_damaged: bool,
        #[command(flatten)]
        settings: SettingsArgs,
    },
}

/// Runs it.
pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    let done = match args.command {
        Command::Export { file, leave_damaged, settings } => {
            House::open(&settings, err).and_then(|house| house.export(&file, leave_damaged))
        }
        Command::Import { file, settings } => House::open(&settings, err).and_then(|house| house.import(&file)),
        Command::Migrate { to, leave_damaged, settings } => {
            House::open(&settings, err).and_then(|house| house.migrate(&to, leave_damaged))
        }
    };
    match done {
        Ok(said) => {
            let _ = writeln!(out, "{said}");
            Exit::Clean
        }
        Err(Stop::Said(exit)) => exit,
        Err(Stop::Say(text)) => {
            let _ = writeln!(err, "{text}");
            Exit::Unusable
        }
    }
}

/// Why it ends early.
enum Stop {
    Said(Exit),
    Say(String),
}

impl<E: std::error::Error> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Say(error.to_string())
    }
}

/// A store and the key of its archives.
struct House {
    runtime: tokio::runtime::Runtime,
    store: Guard,
    key: Key,
}

impl House {
    fn open(settings: &SettingsArgs, err: &mut dyn Write) -> Result<Self, Stop> {
        let settings = settings.load(err).map_err(Stop::Said)?;
        let Some(mut chosen) = settings.vault else {
            return Err(Stop::Say(format!(
                "nothing keeps tokens: there is no `[vault]` in `{}`",
                settings.file.display()
            )));
        };
        let key = KeyRing::open_source(&settings.keys)?.archives();
        chosen.wait_for_nothing();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let store = runtime.block_on(open::open(&chosen, Metrics::new().store()))?;
        Ok(Self { runtime, store, key })
    }

    fn export(&self, file: &Path, leave_damaged: bool) -> Result<String, Stop> {
        self.runtime.block_on(marks::look(&self.store))?;
        if file.exists() {
            return Err(Stop::Say(format!("`{}` is there already: name another file, or remove it", file.display())));
        }
        let part = PathBuf::from(format!("{}.part", file.display()));
        let (mut writer, mut after) = Writer::open(&part, &self.key)?;
        let bar = Bar::new("exported");
        while let Some((last, page)) = self.runtime.block_on(transfer::page(&self.store, after))? {
            writer.add(&page.entries)?;
            after = Some(last);
            bar.told(transfer::progress(page.entries.len(), &last));
        }
        let written = writer.finish()?;
        bar.ended();
        // What is on the disk, against all that is in the store now.
        let bar = Bar::new("read");
        let read = archive::read(&part, &self.key, |entries| {
            bar.of(&entries);
            Ok::<_, Error>(())
        })?;
        bar.ended();
        let bar = Bar::new("verified");
        let (kept, damaged) = self.runtime.block_on(transfer::tally(&self.store, &|progress| bar.told(progress)))?;
        bar.ended();
        if read != written || read != kept {
            return Err(Stop::Say(format!(
                "the archive and the store do not hold the same ({} and {} entries): something was forgotten or stored since this export was \
                 begun; stop the program, remove `{}`, and begin anew",
                read.entries,
                kept.entries,
                part.display()
            )));
        }
        let left = left_out(damaged, leave_damaged)?;
        std::fs::rename(&part, file)?;
        sync_folder(file)?;
        Ok(format!(
            "{} entries in `{}`, as in the store{left}; digest {}",
            read.entries,
            file.display(),
            hex(&read.digest)
        ))
    }

    fn import(&self, file: &Path) -> Result<String, Stop> {
        // To its end before anything is changed: what is damaged, cut or another's is found now.
        let bar = Bar::new("read");
        let said = archive::read(file, &self.key, |entries| {
            bar.of(&entries);
            Ok::<_, Error>(())
        })?;
        bar.ended();
        let (bar, mut conflicts) = (Bar::new("imported"), 0);
        archive::read(file, &self.key, |entries| {
            for entries in entries.chunks(1000) {
                match self.runtime.block_on(transfer::put(&self.store, entries)) {
                    Err(Error::Conflicts(more)) => conflicts += more,
                    other => other?,
                }
            }
            bar.of(&entries);
            Ok::<_, Error>(())
        })?;
        bar.ended();
        let (bar, mut kept) = (Bar::new("verified"), Tally::default());
        archive::read(file, &self.key, |entries| {
            for entries in entries.chunks(1000) {
                kept.extend(self.runtime.block_on(transfer::as_copied(&self.store, entries))?);
            }
            bar.of(&entries);
            Ok::<_, Error>(())
        })?;
        bar.ended();
        if conflicts > 0 {
            return Err(Stop::Say(format!(
                "{conflicts} values had another token here already: the archive's tokens of these are not turned back; {} of {} entries are here",
                kept.entries, said.entries
            )));
        }
        if kept != said {
            return Err(Stop::Say(format!(
                "{} of {} entries are here as in the archive: run it again",
                kept.entries, said.entries
            )));
        }
        Ok(format!("{} entries of `{}` are in the store; digest {}", kept.entries, file.display(), hex(&kept.digest)))
    }

    fn migrate(&self, to: &Path, leave_damaged: bool) -> Result<String, Stop> {
        let mut other = config::other_vault(to).map_err(Stop::Say)?;
        other.wait_for_nothing();
        self.runtime.block_on(async {
            let (from, to) = (&self.store, &open::open(&other, Metrics::new().store()).await?);
            marks::look(from).await?;
            marks::begin(to).await?;
            let bar = Bar::new("copied");
            transfer::copy(from, to, &|progress| bar.told(progress)).await?;
            bar.ended();
            let bar = Bar::new("verified");
            let verified = transfer::verify(from, to, Duration::ZERO, &|progress| bar.told(progress)).await?;
            bar.ended();
            if verified.from != verified.to {
                return Err(Stop::Say(format!(
                    "the stores do not hold the same ({} and {} entries): run it again, while no program runs",
                    verified.from.entries, verified.to.entries
                )));
            }
            let left = left_out(verified.damaged, leave_damaged)?;
            marks::finish(to).await?;
            Ok(format!(
                "{} entries are in both stores{left}; digest {}. Change `[vault]` in the settings before the program is started again",
                verified.to.entries,
                hex(&verified.to.digest)
            ))
        })
    }
}

/// What is said of entries that do not read, where that is no reason to stop.
fn left_out(damaged: u64, leave: bool) -> Result<String, Stop> {
    match damaged {
        0 => Ok(String::new()),
        _ if leave => Ok(format!(", without {damaged} that do not read")),
        _ => Err(Error::Damaged(damaged).into()),
    }
}

fn hex(digest: &[u8; 32]) -> String {
    data_encoding::HEXLOWER.encode(digest)
}

/// Makes a new name durable.
fn sync_folder(file: &Path) -> std::io::Result<()> {
    let file = std::path::absolute(file)?;
    file.parent().map_or(Ok(()), |folder| std::fs::File::open(folder)?.sync_all())
}

/// A line on a terminal that says how far it has come; nothing where there is none.
struct Bar {
    what: &'static str,
    shown: bool,
    state: Mutex<(u64, Option<Instant>)>,
}

/// Between two lines.
const REDRAW: Duration = Duration::from_millis(100);
const WIDTH: usize = 30;

impl Bar {
    fn new(what: &'static str) -> Self {
        Self { what, shown: std::io::stderr().is_terminal(), state: Mutex::default() }
    }

    fn of(&self, entries: &[crate::vault::store::Entry]) {
        if let Some(last) = entries.last() {
            self.told(transfer::progress(entries.len(), &last.token));
        }
    }

    fn told(&self, progress: Progress) {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.0 += progress.entries;
        if self.shown && state.1.is_none_or(|at| at.elapsed() >= REDRAW) {
            state.1 = Some(Instant::now());
            let done = ((progress.share * WIDTH as f64) as usize).min(WIDTH);
            let bar = format!("{}{}", "=".repeat(done), " ".repeat(WIDTH - done));
            let _ = write!(
                std::io::stderr(),
                "\r{} [{bar}] {:3.0} % {} entries",
                self.what,
                progress.share * 100.0,
                state.0
            );
        }
    }

    fn ended(&self) {
        if self.shown {
            let _ = writeln!(std::io::stderr());
        }
    }
}
