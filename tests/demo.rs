//! The README's first command works.

use std::process::Command;

#[test]
fn the_demo_meets_its_own_expectations() {
    let demo = Command::new(env!("CARGO_BIN_EXE_stoxgate"))
        .arg("demo")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&demo.stdout);
    assert!(
        demo.status.success(),
        "{told}\n{}",
        String::from_utf8_lossy(&demo.stderr)
    );
    assert!(told.contains("expectations were met, in "), "{told}");
    assert!(!told.contains('✘'), "{told}");
}
