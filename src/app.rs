//! Puts the parts together and runs them until told to stop.
