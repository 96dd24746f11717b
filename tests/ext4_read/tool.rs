//! Not a test of its own: says what is found in the image that `EXT4_READ` names.

#[test]
fn shows_an_image() {
    let Some(paths) = std::env::var_os("EXT4_READ") else { return };
    for path in paths.to_str().unwrap().split(':') {
        let begun = std::time::Instant::now();
        match crate::reading::read(std::path::Path::new(path)) {
            Ok(read) => {
                println!("{path}: {} nodes, {:?}", read.tree.node_count(), begun.elapsed());
                println!("  {:?} {:?}", read.notes, read.unreadable);
                for error in &read.damage {
                    println!("  damage: {error}");
                }
                for error in &read.findings {
                    println!("  finding: {error}");
                }
            }
            Err(error) => println!("{path}: {error}"),
        }
    }
}
