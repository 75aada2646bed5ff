//! The process's use of resources, under the names that all Prometheus clients use.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use rustix::time::{ClockId, clock_gettime};

use crate::time::Time;

/// Reads the figures at each scrape.
#[derive(Debug)]
pub(super) struct Process {
    /// When the process was started, or shortly after.
    pub(super) started: Time,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let used = clock_gettime(ClockId::ProcessCPUTime);
        encoder
            .encode_descriptor("process_cpu_seconds", "Processor time, user and system", None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&(used.tv_sec as f64 + used.tv_nsec as f64 / 1e9), None)?;
        encoder
            .encode_descriptor(
                "process_start_time_seconds",
                "When the process was started, Unix time",
                None,
                MetricType::Gauge,
            )?
            .encode_gauge(&(self.started.0 as f64 / 1e3))?;
        match resident() {
            Some(bytes) => encoder
                .encode_descriptor("process_resident_memory_bytes", "Resident memory", None, MetricType::Gauge)?
                .encode_gauge(&bytes),
            None => Ok(()),
        }
    }
}

/// Resident memory; only Linux shows it without `unsafe`.
fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}
