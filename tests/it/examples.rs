//! The set-ups in `examples/`: each is checked, started and used as its README says.

use std::fs;
use std::path::Path;

use crate::program::Place;
use crate::tour::{Tour, blocks, copy, has};

/// Set-ups that `tests/clients` runs, because they need a browser.
const ELSEWHERE: &[&str] = &["dashboard"];

/// The set-up with programs in other languages.
const CLIENT: &str = "client";

fn has_client() -> bool {
    let websocket = ["--experimental-websocket", "-e", "if (!globalThis.WebSocket) process.exit(1)"];
    has("python3", &["--version"]) && has("node", &websocket)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_example_does_what_its_readme_says() {
    if !has("curl", &["--version"]) {
        return;
    }
    let mut seen = 0;
    for entry in fs::read_dir("examples").expect("examples") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if ELSEWHERE.contains(&name.as_str()) {
            continue;
        }
        if name == CLIENT && !has_client() {
            continue;
        }
        replay(&name, &path).await;
        seen += 1;
    }
    assert!(seen >= 3, "only {seen} examples");
}

async fn replay(name: &str, path: &Path) {
    let place = Place::new(&format!("example-{name}"));
    copy(path, &place.0);
    let readme = fs::read_to_string(path.join("README.md")).expect("an example has a README");
    let blocks = blocks(&readme);
    let start = blocks.iter().find(|block| block.language == "sh").expect("how it is started");
    let mut tour = Tour::begin(place, &format!("\n{}", start.text));
    let mut replayed = 0;
    for block in &blocks {
        replayed += usize::from(tour.replay(block).await);
    }
    assert!(replayed >= 1, "{name}: nothing was replayed");
}
