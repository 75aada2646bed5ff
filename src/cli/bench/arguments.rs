//! What `relay bench` is asked for.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::config::units::{parse_duration, parse_size, show_size};

/// The measured time if neither messages nor a duration are given.
const USUAL_DURATION: Duration = Duration::from_secs(10);
/// The largest payload in bytes, the same as the highest possible `limits.body`.
pub(super) const MAX_PAYLOAD: usize = 64 << 20;

/// How fast a relay is, here and now, with this load.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct Arguments {
    /// The relay's public listener: `http://…`, `https://…` or `unix:/path`
    #[arg(default_value = "http://127.0.0.1:8000")]
    pub(super) url: String,
    /// The topic to publish to and to subscribe to; needed with a token, and where GET /topics shows more than one
    #[arg(long, value_name = "NAME")]
    pub(super) topic: Option<String>,
    /// Spread messages and subscribers over N topics: the braces in --topic, as in `orders.{region}`, are replaced by 0, 1
    /// and so on
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) topics: u32,
    /// Number of subscribers, each of one topic; 0 measures publishing alone
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub(super) subscribers: u32,
    /// How subscribers connect
    #[arg(long, value_enum, default_value_t = Transport::Ws)]
    pub(super) transport: Transport,
    /// Publish N messages, instead of --duration
    #[arg(long, value_name = "N", conflicts_with = "duration", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) messages: Option<u64>,
    /// How long to publish, instead of --messages [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) duration: Option<Duration>,
    /// How long to publish before measuring starts
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    pub(super) warmup: Duration,
    /// Messages per second; 0 is as fast as --window allows
    #[arg(long, value_name = "R", default_value_t = 0)]
    pub(super) rate: u32,
    /// Maximum number of messages in flight: published, but not received by all subscribers yet [default: --publishers]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) window: Option<u32>,
    /// Connections that publish, one message at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) publishers: u32,
    /// Bytes of each payload, for topics that take any JSON [default: 128 B]
    #[arg(long, value_name = "SIZE", value_parser = size, conflicts_with = "data")]
    pub(super) size: Option<usize>,
    /// A file with the payload [default: an example of the topic, or one made from its schema]
    #[arg(long, value_name = "FILE")]
    pub(super) data: Option<PathBuf>,
    /// The environment variable that holds the token
    #[arg(long, value_name = "NAME", conflicts_with = "token_file")]
    pub(super) token_env: Option<String>,
    /// The file that holds the token
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// Certificate authorities (PEM) to trust for `https://` instead of the system's. A self-signed certificate works only
    /// if it is not marked as an authority; `openssl req -x509` marks it
    #[arg(long, value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,
    /// Threads that read for the subscribers [default: half of the processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(super) threads: Option<u32>,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub(super) json: bool,
    /// Draw the latency over time as SVG
    #[arg(long, value_name = "FILE")]
    pub(super) plot: Option<PathBuf>,
}

/// How subscribers connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Transport {
    /// WebSocket, `relay.v1`
    Ws,
    /// Server-sent events
    Sse,
}

impl Transport {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ws => "ws",
            Self::Sse => "sse",
        }
    }
}

/// When to stop publishing.
#[derive(Debug, Clone, Copy)]
pub(super) enum Until {
    Messages(u64),
    /// After the warm-up.
    Elapsed(Duration),
}

impl Arguments {
    pub(super) fn until(&self) -> Until {
        match self.messages {
            Some(messages) => Until::Messages(messages),
            None => Until::Elapsed(self.duration.unwrap_or(USUAL_DURATION)),
        }
    }

    pub(super) fn subscribers(&self) -> usize {
        self.subscribers as usize
    }

    pub(super) fn window(&self) -> usize {
        self.window.unwrap_or(self.publishers) as usize
    }

    /// The number of threads that read for the subscribers.
    pub(super) fn threads(&self) -> usize {
        let half = || std::thread::available_parallelism().map_or(1, |all| all.get() / 2);
        self.threads.map_or_else(half, |threads| threads as usize).clamp(1, self.subscribers().max(1))
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write a number and a unit, such as `10s`, `500ms` or `2min`".to_owned())
}

fn size(text: &str) -> Result<usize, String> {
    let bytes: Option<u64> = text.parse().ok().or_else(|| parse_size(text));
    let bytes = bytes.ok_or_else(|| "write bytes, or a number and a unit, such as `512 B` or `4KiB`".to_owned())?;
    let most = || format!("no relay takes more than {}", show_size(MAX_PAYLOAD as u64));
    usize::try_from(bytes).ok().filter(|bytes| *bytes <= MAX_PAYLOAD).ok_or_else(most)
}
