//! Files, pipes and devices that images are written to.
