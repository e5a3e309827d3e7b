//! Logs and metrics: what operators see. Never a value, a path, a query.

/// How logs look and what is in them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `error`, `warn`, `info` (default), `debug`. Libraries are capped at `warn` in code: their debug logs carry data.
    pub level: tracing::Level,
    /// JSON Lines instead of text.
    pub json: bool,
}
