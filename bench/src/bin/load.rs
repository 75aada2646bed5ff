//! Runs one load against one server: `load --help`. Prints one line of JSON; exits with 1 if anything was lost.

#![expect(clippy::disallowed_macros, reason = "what it prints is for whoever runs it")]

use std::io;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use relay_bench::cost::Process;
use relay_bench::load::{self, Pace, Target, tls};
use relay_bench::plan::Plan;
use relay_bench::socket;
use serde_json::Value;

/// Measures a relay, or a floor, from one thread that never sleeps.
#[derive(Parser)]
struct Arguments {
    /// Where the server listens
    #[arg(long, default_value = "127.0.0.1:28700")]
    address: SocketAddrV4,
    /// The server's process
    #[arg(long)]
    pid: u32,
    /// The processor to run on
    #[arg(long)]
    processor: Option<usize>,
    /// Stands in the line that is printed
    #[arg(long, default_value = "")]
    label: String,
    /// Seconds without any progress after which it fails
    #[arg(long, default_value_t = 10.0)]
    stall: f64,
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// Subscribers of one topic
    Fanout {
        #[arg(long, default_value_t = 1_000)]
        connections: usize,
        /// Further subscribers, which do not read
        #[arg(long, default_value_t = 0)]
        stalled: usize,
        #[command(flatten)]
        flow: Flow,
    },
    /// Topics of a family with one subscriber each, published to in turn
    Topics {
        #[arg(long, default_value_t = 10_000)]
        topics: usize,
        #[command(flatten)]
        flow: Flow,
    },
    /// Subscribers of some topics each, published to in turn
    Mixed {
        #[arg(long, default_value_t = 1_000)]
        connections: usize,
        #[arg(long, default_value_t = 200)]
        topics: usize,
        #[arg(long, default_value_t = 20)]
        each: usize,
        #[command(flatten)]
        flow: Flow,
    },
    /// Publishers on keep-alive connections, no subscriber
    Publish {
        #[arg(long, default_value_t = 1)]
        connections: usize,
        #[arg(long, default_value_t = 50_000)]
        requests: u64,
        #[arg(long, default_value_t = 5_000)]
        warmup: u64,
        #[arg(long, default_value_t = 128)]
        size: usize,
    },
    /// New connections, handshake and subscription included
    Connects {
        #[arg(long, default_value_t = 5_000)]
        connections: usize,
        /// On their way at any time
        #[arg(long, default_value_t = 32)]
        at_once: usize,
    },
    /// Connections that do nothing but answer pings
    Idle {
        #[arg(long, default_value_t = 8_000)]
        connections: usize,
        /// Seconds
        #[arg(long, default_value_t = 60.0)]
        hold: f64,
        /// Through TLS, trusting this certificate
        #[arg(long)]
        tls: Option<PathBuf>,
    },
}

#[derive(Args)]
struct Flow {
    /// Bytes of each payload
    #[arg(long, default_value_t = 128)]
    size: usize,
    /// Messages outstanding at the most
    #[arg(long, default_value_t = 1)]
    window: u64,
    /// Messages that are measured
    #[arg(long, default_value_t = 2_000)]
    messages: u64,
    /// Messages before these
    #[arg(long, default_value_t = 200)]
    warmup: u64,
    /// Messages a second [default: as fast as the window lets]
    #[arg(long)]
    rate: Option<f64>,
}

impl Flow {
    fn deliver(&self, target: Target, plan: &Plan, stalled: usize) -> io::Result<Value> {
        let Self { size, window, messages, warmup, rate } = *self;
        load::deliver(target, plan, stalled, size, Pace { messages, warmup, window, rate })
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let label = arguments.label.clone();
    match run(arguments) {
        Ok(mut found) => {
            found["label"] = label.into();
            println!("{found}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load {label}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> io::Result<Value> {
    let Arguments { address, pid, processor, stall, scenario, .. } = arguments;
    socket::raise_descriptors()?;
    processor.map_or(Ok(()), socket::pin)?;
    let target = Target { address, process: Process(pid), stall: Duration::from_secs_f64(stall) };
    match scenario {
        Scenario::Fanout { connections, stalled, flow } => flow.deliver(target, &Plan::one_topic(connections), stalled),
        Scenario::Topics { topics, flow } => flow.deliver(target, &Plan::topics(topics), 0),
        Scenario::Mixed { connections, topics, each, flow } => {
            flow.deliver(target, &Plan::mixed(connections, topics, each), 0)
        }
        Scenario::Publish { connections, requests, warmup, size } => {
            load::publish(target, connections, size, requests, warmup)
        }
        Scenario::Connects { connections, at_once } => load::connects(target, connections, at_once),
        Scenario::Idle { connections, hold, tls } => {
            let tls = tls.as_deref().map(tls::trusting).transpose()?;
            load::idle(target, tls.as_ref(), connections, Duration::from_secs_f64(hold))
        }
    }
}
