//! `relay bench` measures how fast a running relay is, with a load from the outside.
//!
//! It knows the protocol and nothing of the server. Workers, one per thread ([`worker`]), read for the subscribers, and
//! each keeps a [`ledger`] of what its subscribers received. A latency lasts from just before a publish is written
//! until the message arrives. A message is in flight until all its subscribers have it; the window bounds how many may
//! be. Nothing grows with the length of a run: latencies go into histograms, and a message is forgotten once everybody
//! has it.

mod arguments;
mod conduct;
mod disk;
mod event_stream;
mod figures;
mod frame;
mod ledger;
mod payload;
mod plot;
mod progress;
mod publisher;
mod report;
mod show;
mod websocket;
mod worker;

use std::process::ExitCode;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::runtime;
use tokio::time::timeout;

pub(super) use arguments::Arguments;

use super::{complain, print};
use crate::cli::bench::conduct::conduct;
use crate::cli::bench::disk::Output;
use crate::cli::bench::payload::Work;
use crate::cli::bench::report::Report;
use crate::cli::requests::Requests;
use crate::cli::target::{Target, Unfound, doubt};
use crate::server::descriptors;

/// Descriptors needed besides those of subscribers and publishers.
const BESIDES: usize = 32;
/// How long the relay may take to answer the questions before a run.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest token, in bytes.
const MAX_TOKEN: usize = 8 << 10;

/// Measures and prints the report. Succeeds if nothing was lost.
pub(super) fn bench(arguments: &Arguments) -> ExitCode {
    match measure(arguments) {
        Ok(report) => {
            let json = arguments.json;
            let printed = print(&if json { format!("{}\n", report.json()) } else { report.text() });
            match report.complaint() {
                Some(complaint) => fail(&complaint),
                None => printed,
            }
        }
        Err(why) => fail(&why),
    }
}

fn fail(why: &str) -> ExitCode {
    complain(&format!("relay: {why}\n"));
    ExitCode::FAILURE
}

fn measure(arguments: &Arguments) -> Result<Report<'_>, String> {
    descriptors::raise();
    let needed = arguments.subscribers() + arguments.publishers as usize + BESIDES;
    if let Some(limit) = descriptors::limit().filter(|limit| *limit < needed) {
        return Err(format!(
            "{} subscribers need {needed} open files, and this process may have {limit}: raise the limit (`ulimit -n`) or take \
             fewer",
            arguments.subscribers
        ));
    }
    let token = token(arguments)?;
    let plot = arguments.plot.as_deref().map(Output::open).transpose()?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let report = runtime.block_on(async {
        let token = token.as_ref().map(ExposeSecret::expose_secret);
        let target = Target::find(&arguments.url, arguments.ca.as_deref(), token).await;
        let target = target.map_err(|why| unfound(&arguments.url, why))?;
        let preparing = async { Work::prepare(arguments, &mut Requests::open(&target).await?).await };
        let work = timeout(PATIENCE, preparing).await.map_err(|_| silent(&arguments.url))??;
        conduct(arguments, target, work).await
    });
    // Threads of an abandoned run need not be waited for.
    runtime.shutdown_background();
    let mut report = report?;
    if let Some(plot) = plot {
        plot.write(&plot::svg(&mut report))?;
    }
    Ok(report)
}

fn unfound(url: &str, why: Unfound) -> String {
    match why {
        Unfound::Misnamed => {
            let written = "`http://host:port`, `https://host:port` or `unix:/path` of its public listener";
            format!("`{}` is not the URL of a relay: write {written}", url.escape_debug())
        }
        Unfound::Unreachable(error) => format!("cannot connect to `{url}` ({error}): {}", doubt(&error)),
        Unfound::Unfit(why) => why,
    }
}

fn silent(url: &str) -> String {
    format!("`{url}` accepts connections and has not answered within {} s: is it a relay's?", PATIENCE.as_secs())
}

fn token(arguments: &Arguments) -> Result<Option<SecretString>, String> {
    let text = match (&arguments.token_env, &arguments.token_file) {
        (Some(name), _) => std::env::var(name)
            .map_err(|_| format!("the environment variable `{name}` is not set: it should hold the token"))?,
        (None, Some(path)) => {
            let text = String::from_utf8(disk::read(path, MAX_TOKEN)?);
            text.map_err(|_| format!("`{}` holds no token: it is not UTF-8", path.display()))?
        }
        (None, None) => return Ok(None),
    };
    Ok(Some(SecretString::from(text.trim_end_matches(['\r', '\n']))))
}
