//! From what is wanted of a disk to where everything lies.
