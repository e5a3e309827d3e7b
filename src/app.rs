//! The whole program, put together: settings in, a running proxy out.
//!
//! Nothing is decided here. Used by `tidegate run`, the demo, the benches and the tests alike. Start at [`App::start`].

use std::net::SocketAddr;

use crate::clock::Clock;
use crate::config::Settings;

/// A running proxy.
#[derive(Debug)]
pub struct App {}

/// Why the program does not start, or why a reload was not done. For the operator: says what was found and what was wanted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Placeholder for the parts' own errors.
    #[error("{0}")]
    Unusable(String),
}

impl App {
    /// Builds every part, begins to listen. Does not set up logging (that is the process's), so that many can run in one process.
    pub async fn start(settings: Settings, clock: Clock) -> Result<Self, Error> {
        let _ = (settings, clock);
        todo!()
    }
    /// Where a listener listens, by its name in the settings.
    pub fn address(&self, listener: &str) -> Option<SocketAddr> {
        let _ = listener;
        todo!()
    }
    /// Where `/metrics`, `/livez` and `/readyz` are.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        todo!()
    }
    /// Reads the policies again, as SIGHUP and a change in their folder do. On an error the old set stays in force.
    pub async fn reload(&self) -> Result<(), Error> {
        todo!()
    }
    /// Drains: no new connections, open exchanges end (within the setting's time), the record is closed. True if all ended by themselves.
    pub async fn stop(self) -> bool {
        todo!()
    }
}
