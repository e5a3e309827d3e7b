//! How `tidegate.toml` looks: serde shapes, nothing checked.
