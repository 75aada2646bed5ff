//! The hot paths, each by the instructions that it takes: the same on every run, whoever else uses the machine.
//!
//! `bench/instructions.sh` runs them and compares with what is committed. The allocator is the program's.

#![expect(clippy::disallowed_macros, reason = "what the harness prints is for whoever runs it")]
#![expect(missing_docs, unused_qualifications, reason = "what the macros of gungraun expand to")]

mod fanout;
mod parts;
mod publishing;

use std::sync::Arc;

use gungraun::{Callgrind, LibraryBenchmarkConfig, library_benchmark_group, main};
use relay::assemble::{build, load};
use relay::config::files::Memory;
use relay::live::Live;
use relay::schema::compile::SchemaCache;
use tikv_jemallocator::Jemalloc;

use crate::fanout::shard_pass;
use crate::parts::{encode, inbound, ring_append, snapshot_load};
use crate::publishing::{ingest, publish};

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Times that what is measured is done: enough to outweigh what is done once.
const TIMES: usize = 1_000;

/// A server without listeners: the topic `bench` with the schema of the loads, the family `bench.{n}`, and so many more.
fn live(more: usize) -> Arc<Live> {
    let topic = |name: &str| format!("[topics.\"{name}\"]\nschema = \"bench.json\"\n");
    let more: String = (0..more).map(|n| topic(&format!("other{n}.a"))).collect();
    let toml = format!(
        "version = 1\n[anonymous]\npublish = [\"**\"]\nsubscribe = [\"**\"]\n{}{}{more}",
        topic("bench"),
        topic("bench.{n}")
    );
    let files = Memory::new(&toml).with("bench.json", include_str!("../../bench.json"));
    let mut loaded = load(&files, &SchemaCache::default(), relay::time::Time(0));
    let config = loaded.config.take().expect("the configuration is sound");
    build::live(build::snapshot(config, &loaded, None), 1)
}

/// JSON of a given size, as the loads publish it.
fn payload(size: usize) -> String {
    const AROUND: usize = 45;
    let padding = "x".repeat(size - AROUND);
    format!("{{\"t\":1000000000000000000,\"n\":10000000,\"d\":\"{padding}\"}}")
}

library_benchmark_group!(
    name = hot_paths,
    benchmarks = [ring_append, shard_pass, encode, ingest, publish, inbound, snapshot_load]
);

main!(config = LibraryBenchmarkConfig::default().tool(Callgrind::default()), library_benchmark_groups = hot_paths);
