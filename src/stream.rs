//! The one loop that fills, hashes, encodes and writes blocks.
