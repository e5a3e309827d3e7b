//! Logs: to standard error, as text or as JSON Lines.
//!
//! Only what Tidegate itself says follows the level; libraries are capped at `warn` in code and no environment variable
//! is read, because the debug logs of HTTP libraries carry paths and headers. Start at [`subscriber`].

use std::io::{IsTerminal, stderr};

use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::Settings;

/// Behind [`super::init`].
pub(super) fn init(settings: &Settings) {
    let colours = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let _ = subscriber(settings, stderr, colours).try_init();
}

/// What [`super::init`] sets up, with another place to write to.
pub fn subscriber<W>(settings: &Settings, writer: W, colours: bool) -> impl Subscriber + Send + Sync + use<W>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let libraries = settings.level.min(Level::WARN);
    let targets = Targets::new().with_default(libraries).with_target("tidegate", settings.level);
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    let layer = if settings.json {
        layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    } else {
        layer.with_ansi(colours).boxed()
    };
    tracing_subscriber::registry().with(targets).with(layer)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: Level, json: bool, what: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = subscriber(&Settings { level, json }, move || writer.clone(), false);
        tracing::subscriber::with_default(subscriber, what);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn libraries_are_capped_at_warn_whatever_the_level_is() {
        let text = logged(Level::TRACE, false, || {
            for_each_library();
            tracing::trace!(target: "tidegate::proxy", "ours");
        });
        assert!(text.contains("ours") && text.contains("loud"), "{text}");
        assert!(!text.contains("quiet"), "{text}");
        let text = logged(Level::ERROR, false, for_each_library);
        assert_eq!(text, "");
    }

    fn for_each_library() {
        tracing::info!(target: "hyper", "quiet");
        tracing::debug!(target: "h2::codec", "quiet");
        tracing::info!(target: "rustls::conn", "quiet");
        tracing::info!(target: "tokio", "quiet");
        tracing::info!(target: "notify", "quiet");
        tracing::warn!(target: "hyper", "loud");
    }

    #[test]
    fn json_logs_are_one_object_to_a_line() {
        let text = logged(Level::INFO, true, || {
            tracing::warn!(target: "tidegate::proxy", code = "vault_unavailable", elapsed_ms = 512, "exchange refused");
        });
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(line["code"], "vault_unavailable");
        assert_eq!(line["elapsed_ms"], 512);
        assert_eq!(line["message"], "exchange refused");
        assert_eq!(line["level"], "WARN");
    }
}
