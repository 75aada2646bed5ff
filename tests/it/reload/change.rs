//! The changes under `tests/config/change`: each, from `old` to `new`, gives exactly the text beside it.
//!
//! `UPDATE_GOLDEN=1 cargo test` rewrites those texts; read the diff before you commit it.

use std::fs;
use std::path::Path;

use relay::assemble::gate::examine;
use relay::assemble::{build, load};
use relay::diagnostic::{any_error, render};
use relay::disk::Disk;
use relay::schema::compile::SchemaCache;
use relay::time::Time;

use crate::config::codes_in;

#[test]
fn every_diagnostic_of_a_change_has_a_fixture_that_gives_its_text() {
    for code in codes_in("src/diagnostic/change.rs") {
        let directory = Path::new("tests/config/change").join(&code);
        let read = |name: &str| {
            load(&Disk::new(&directory.join(name).join("relay.toml")), &SchemaCache::default(), Time::now())
        };
        let mut old = read("old");
        let config = old.config.take().unwrap_or_else(|| panic!("{code}: {:?}", old.diagnostics));
        let running = build::snapshot(config, &old, None);
        let new = read("new");
        assert!(new.diagnostics.is_empty() && new.config.is_some(), "{code}: {:?}", new.diagnostics);
        let (loaded, next) = examine(&running, new);
        let text = render::human(&loaded.diagnostics, &loaded.sources, false);
        for diagnostic in &loaded.diagnostics {
            assert_eq!(diagnostic.fact.about().code, code, "{text}");
            assert!(diagnostic.place.is_some(), "{code} has no place:\n{text}");
        }
        assert!(!loaded.diagnostics.is_empty(), "{code}");
        assert_eq!(next.is_none(), any_error(&loaded.diagnostics), "{code}");
        let golden = directory.join("expected.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &text).expect("the fixture can be written");
        }
        assert_eq!(text, fs::read_to_string(&golden).unwrap_or_default(), "{}", golden.display());
    }
}
