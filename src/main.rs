//! The command `rootvol`.

fn main() {}
