//! A policy file as it is written: serde shapes with spans, nothing checked.
