//! The recipe: an image described in TOML.
