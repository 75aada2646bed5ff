//! The hot paths, measured in instructions: unlike time, the count is nearly the same on every run, however busy the
//! machine.
//!
//! `instructions` lists the cases, `instructions <case>` runs one. The program itself counts nothing:
//! `bench/instructions.sh` runs each case under valgrind, which counts inside [`counted`], and compares the result with
//! the committed figures. The allocator is the same as in `relay`.

#![expect(clippy::disallowed_macros, reason = "what it prints is for whoever runs it")]

mod fanout;
mod parts;
mod publishing;

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;

use relay::assemble::{build, load};
use relay::config::files::Memory;
use relay::live::Live;
use relay::schema::compile::SchemaCache;

use crate::fanout::{ready, served, shard_pass};
use crate::parts::{directory, encode, frames, full_ring, inbound, record, ring_append, snapshot_load};
use crate::publishing::{ingest, publication, publish};

#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The cases, named as in the committed figures.
const CASES: [(&str, fn()); 10] = [
    ("ring_append.one_at_a_time", || measure(full_ring, ring_append, drop)),
    ("shard_pass.one_message", || measure(|| ready(1), shard_pass, served)),
    ("shard_pass.eight_messages", || measure(|| ready(8), shard_pass, served)),
    ("encode.bytes_128", || measure(|| record(128), encode, drop)),
    ("encode.kib_16", || measure(|| record(16 << 10), encode, drop)),
    ("ingest.bytes_128", || measure(|| publication(128), ingest, drop)),
    ("ingest.kib_16", || measure(|| publication(16 << 10), ingest, drop)),
    ("publish.bytes_128", || measure(|| publication(128), publish, drop)),
    ("inbound.bytes_128", || measure(|| frames(128), inbound, drop)),
    ("snapshot_load.topics_1000", || measure(|| directory(1_000), snapshot_load, drop)),
];

/// How often a case repeats its work: enough to outweigh one-time costs.
const TIMES: usize = 1_000;

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        CASES.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    };
    let Some((_, run)) = CASES.iter().find(|(case, _)| *case == name) else {
        eprintln!("there is no case `{name}`: without an argument all are listed");
        return ExitCode::from(64);
    };
    run();
    ExitCode::SUCCESS
}

/// Runs a case so that only `work` is counted, not the setup nor the teardown.
fn measure<T, R>(setup: impl FnOnce() -> T, work: fn(T) -> R, teardown: fn(R)) {
    let mut given = Some(black_box(setup()));
    let mut result = None;
    counted(&mut || result = given.take().map(work));
    teardown(black_box(result).expect("the work was done"));
}

/// The function inside which valgrind counts; `bench/instructions.sh` names it.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    work();
    // Without a use of `work` here, the call above could become a tail call: nothing would return to this function,
    // where the count ends.
    black_box(work);
}

/// A server without listeners, with the topic `bench`, the family `bench.{n}` and `more` further topics, all with the
/// schema that the loads use.
fn live(more: usize) -> Arc<Live> {
    let topic = |name: &str| format!("[topics.\"{name}\"]\nschema = \"bench.json\"\n");
    let more: String = (0..more).map(|n| topic(&format!("other{n}.a"))).collect();
    let toml = format!(
        "version = 1\n[anonymous]\npublish = [\"**\"]\nsubscribe = [\"**\"]\n{}{}{more}",
        topic("bench"),
        topic("bench.{n}")
    );
    let files = Memory::new(&toml).with("bench.json", include_str!("../bench.json"));
    let mut loaded = load(&files, &SchemaCache::default(), relay::time::Time(0));
    let config = loaded.config.take().expect("the configuration is sound");
    build::live(build::snapshot(config, &loaded, None), 1)
}

/// JSON of `size` bytes, in the form that the loads publish.
fn payload(size: usize) -> String {
    const AROUND: usize = 45;
    let padding = "x".repeat(size - AROUND);
    format!("{{\"t\":1000000000000000000,\"n\":10000000,\"d\":\"{padding}\"}}")
}
