//! A progress bar on standard error, if that is a terminal.

use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::bench::publisher::Publishers;
use crate::cli::bench::show;
use crate::cli::bench::worker::Run;

/// The steps of the bar during publishing.
const STEPS: u64 = 1_000;
const STYLE: &str = "{msg:>28} {wide_bar:.cyan/dim} {percent:>3} %";

/// The bar.
pub(super) struct Progress(ProgressBar);

impl Progress {
    pub(super) fn start(subscribers: usize) -> Self {
        let bar = ProgressBar::new(subscribers as u64);
        bar.set_style(ProgressStyle::with_template(STYLE).expect("the template is constant"));
        Self(bar)
    }

    pub(super) fn connected(&self, subscribers: usize) {
        self.0.set_position(subscribers as u64);
        self.0.set_message(format!("{} connected", show::count(subscribers as u64)));
    }

    pub(super) fn publishing(&self, publishers: &Publishers, run: &Run) {
        let seconds = Duration::from_nanos(run.clock.now().saturating_sub(publishers.began())).as_secs_f64().max(0.001);
        let deliveries = run.delivered.load(Ordering::Relaxed);
        self.0.set_length(STEPS);
        self.0.set_position((publishers.progress().clamp(0.0, 1.0) * STEPS as f64).round() as u64);
        self.0.set_message(format!("{} deliveries/s", show::count((deliveries as f64 / seconds).round() as u64)));
    }

    pub(super) fn end(&self) {
        self.0.finish_and_clear();
    }
}
