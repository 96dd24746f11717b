//! What "robust" means here is written down as thirty numbered requirements; each has at least one test that carries its number in its
//! name, such as `r13_r15_names_and_links_stay_inside`. This test reads the sources and says which have none.
//!
//! 1 no panic on any input · 2 every command ends · 3 memory is bounded · 4 sums on input fields are checked · 5 limits · 6 no pipes or devices
//! by path · 7 nothing is lost silently · 8 names cannot control a terminal · 9 same input, same bytes · 10 to 13, 15 tars · 14 extraction ·
//! 16, 17 layers · 18 container images · 19 compressed input · 20 to 24 containers of disks · 25 partition tables · 26 FAT · 27 ext4 · 28 what is
//! written is sound to others · 29 outputs · 30 recipes and sources that change

#![allow(clippy::unwrap_used, reason = "a test: it may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn collect(folder: &Path, numbers: &mut BTreeSet<u32>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, numbers);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            for name in text.lines().filter_map(|line| line.trim_start().strip_prefix("fn r")) {
                // The parts in front: r13_r15_names…
                let parts = name.split('_').map(|part| part.strip_prefix('r').unwrap_or(part).parse::<u32>());
                numbers.extend(parts.map_while(Result::ok));
            }
        }
    }
}

#[test]
fn every_requirement_has_a_test_that_carries_its_number() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut numbers = BTreeSet::new();
    for folder in ["src", "tests"] {
        collect(&root.join(folder), &mut numbers);
    }
    let missing: Vec<u32> = (1..=30).filter(|number| !numbers.contains(number)).collect();
    assert!(missing.is_empty(), "requirements without a test: {missing:?}");
}
