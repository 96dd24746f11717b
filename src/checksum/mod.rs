//! Block checksums and their aggregate.
