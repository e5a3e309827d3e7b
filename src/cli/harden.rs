//! What the process asks of the system so that its memory is seen by nobody else.
//!
//! Asked for, not promised: whoever is root on the machine can read everything, and so can whoever copies a virtual machine's
//! memory. Start at [`no_core`] and [`lock_memory`].

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, dumpable_behavior, getrlimit, set_dumpable_behavior, setrlimit,
};

/// What was had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hardened {
    /// The system writes no memory to a file when the process dies, and lets no other process of the same user look into it.
    pub no_core: bool,
    /// Memory is not swapped out.
    pub locked: bool,
}

/// For every command: no core dump, and no debugger of the same user. Whether the system says so afterwards.
pub fn no_core() -> bool {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let limited = setrlimit(Resource::Core, none).is_ok() && getrlimit(Resource::Core).current == Some(0);
    let closed = set_dumpable_behavior(DumpableBehavior::NotDumpable).is_ok();
    limited && closed && dumpable_behavior().is_ok_and(|is| is == DumpableBehavior::NotDumpable)
}

/// For the running program: what it touches of its memory is not swapped out. Only where the system sets no limit to that: under one,
/// memory that is asked for later would not be given.
pub fn lock_memory() -> bool {
    getrlimit(Resource::Memlock).current.is_none()
        && mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT).is_ok()
}
