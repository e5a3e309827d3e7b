//! `tidegate run`: the proxy, until it is told to stop.

use std::io::Write;

use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::clock::Clock;
use crate::config::Settings;
use crate::telemetry;

use super::harden::{self, Hardened};
use super::{Exit, SettingsArgs};

/// What the command line says.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Runs the command: SIGTERM and SIGINT drain and end it, SIGHUP reloads.
pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    let settings = match args.settings.load(err) {
        Ok(settings) => settings,
        Err(exit) => return exit,
    };
    telemetry::init(&settings.telemetry);
    let Hardened { no_core, locked } = Hardened { no_core: harden::no_core(), locked: harden::lock_memory() };
    if no_core {
        tracing::info!(target: "tidegate", no_core, locked, "memory is closed to others");
    } else {
        tracing::warn!(target: "tidegate", no_core, locked, "the system does not close memory to others");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = writeln!(err, "no threads to run on: {}", error.kind());
            return Exit::Unusable;
        }
    };
    let (exit, began) = runtime.block_on(serve(settings, out, err));
    if !began {
        // What a start that was cut off waits for (a store that another process has) is not waited for.
        runtime.shutdown_background();
    }
    exit
}

/// How it ended, and whether it had begun.
async fn serve(settings: Settings, out: &mut dyn Write, err: &mut dyn Write) -> (Exit, bool) {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()));
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = signals else {
        let _ = writeln!(err, "the system gives no signals");
        return (Exit::Unusable, false);
    };
    let started = tokio::select! {
        started = App::start(settings, Clock::system()) => started,
        _ = terminate.recv() => return cut_off(),
        _ = interrupt.recv() => return cut_off(),
    };
    let app = match started {
        Ok(app) => app,
        Err(error) => {
            complain(&error, err);
            return (Exit::Unusable, false);
        }
    };
    for (name, address) in app.addresses() {
        let _ = writeln!(out, "{name}: listening on {address}");
    }
    if let Some(address) = app.admin_address() {
        let _ = writeln!(out, "admin: listening on {address}");
    }
    let _ = out.flush();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            // What came of it is in the log.
            _ = hangup.recv() => drop(app.reload().await),
        }
    }
    tracing::info!(target: "tidegate", "draining");
    let orderly = tokio::select! {
        orderly = app.stop() => orderly,
        // Whoever asks twice does not want to wait.
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
    };
    tracing::info!(target: "tidegate", orderly, "stopped");
    (if orderly { Exit::Clean } else { Exit::Findings }, true)
}

fn cut_off() -> (Exit, bool) {
    tracing::info!(target: "tidegate", "stopped before it had started");
    (Exit::Clean, false)
}

/// Complaints about policies one in a line, everything else as it is.
fn complain(error: &crate::app::Error, err: &mut dyn Write) {
    let crate::app::Error::Policies(policies) = error else {
        let _ = writeln!(err, "{error}");
        return;
    };
    for complaint in &policies.0 {
        let _ = writeln!(err, "{complaint}");
        if let Some(help) = &complaint.help {
            let _ = writeln!(err, "  help: {help}");
        }
    }
}
