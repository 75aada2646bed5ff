//! What a process has cost so far: processor time and memory, read from `/proc`.

use std::fs;
use std::io;

use rustix::param::clock_ticks_per_second;

/// A process that is measured.
#[derive(Debug, Clone, Copy)]
pub struct Process(pub u32);

/// Processor time, in microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Time {
    /// Of all threads that are still alive. The kernel counts it in nanoseconds.
    pub total: f64,
    /// The part spent outside the kernel. The kernel samples it, so it takes seconds of work to be accurate.
    pub user: f64,
}

impl Process {
    /// The processor time spent until now.
    ///
    /// # Errors
    /// The process is gone, or the kernel keeps no such statistics.
    pub fn time(self) -> io::Result<Time> {
        let mut total = 0.0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.0))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            total += number(text.split_whitespace().next())? / 1e3;
        }
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0))?;
        // The name, in parentheses, may contain any character. User time is field 14 of proc_pid_stat(5), counted from
        // 1.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let user = number(fields.split_whitespace().nth(11))? / clock_ticks_per_second() as f64 * 1e6;
        Ok(Time { total, user })
    }

    /// Its proportional share of resident memory (PSS), in bytes.
    ///
    /// # Errors
    /// The process is gone or belongs to another user.
    pub fn memory(self) -> io::Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.0))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        Ok(number(line.and_then(|line| line.split_whitespace().next()))? * 1_024.0)
    }
}

impl Time {
    /// The time spent since `then`.
    pub fn since(self, then: Self) -> Self {
        Self { total: self.total - then.total, user: self.user - then.user }
    }
}

fn number(text: Option<&str>) -> io::Result<f64> {
    text.and_then(|text| text.parse().ok()).ok_or_else(|| io::Error::other("/proc says no number where one stands"))
}
