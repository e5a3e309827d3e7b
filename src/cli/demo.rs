//! `tidegate demo`: a sample upstream, two partners and the proxy on one machine.

use std::io::Write;

use super::Exit;

/// What the command line says.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    let _ = (args, out, err);
    todo!()
}
