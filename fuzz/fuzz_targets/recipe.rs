//! Any text as a recipe.
//!
//! Invariants:
//! - No panic.
//! - A refusal names a line and a column, or a limit.
//! - What is accepted can be written as TOML and reads back equal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rootvol::recipe::Recipe;

fuzz_target!(|text: &str| {
    let Ok(recipe) = Recipe::parse(text, "fuzz.toml") else { return };
    let written = recipe.to_toml().expect("every path came from UTF-8");
    assert_eq!(Recipe::parse(&written, "again.toml").expect("what is written can be read"), recipe);
});
