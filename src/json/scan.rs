//! Strict incremental scanner: bytes to structure, with positions and limits.
