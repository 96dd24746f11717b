//! Containers of disk images.
