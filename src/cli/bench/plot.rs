//! Draws the latency over time: p50, p99 and the longest of each slice of the run, on a logarithmic scale.
//!
//! SVG is text, and a chart of three lines needs no library. It has colours for light and for dark pages.

use std::fmt::Write;
use std::time::Duration;

use crate::cli::bench::figures::Latencies;
use crate::cli::bench::report::Report;
use crate::cli::bench::show;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 452.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 104.0;
const BOTTOM: f64 = 56.0;
/// The most points of a line: with more, each would be only a pixel or two wide.
const POINTS: usize = 240;
/// Lines with at most this many points get a mark at each.
const FEW: usize = 48;

const STYLE: &str = "
  svg { background: #ffffff; font-family: system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; }
  text { fill: #57606a; font-size: 13px; }
  .title { fill: #1f2328; font-size: 18px; font-weight: 600; }
  .grid { stroke: #d8dee4; stroke-width: 1; }
  .axis { stroke: #8c959f; stroke-width: 1; }
  polyline { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
  .p50 { stroke: #0969da; } .p99 { stroke: #bc4c00; } .max { stroke: #8c959f; stroke-width: 1.25; }
  circle.p50 { fill: #0969da; } circle.p99 { fill: #bc4c00; } circle.max { fill: #8c959f; }
  @media (prefers-color-scheme: dark) {
    svg { background: #0d1117; }
    text { fill: #9198a1; } .title { fill: #f0f6fc; }
    .grid { stroke: #21262d; } .axis { stroke: #656c76; }
    .p50 { stroke: #58a6ff; } .p99 { stroke: #f0883e; } .max { stroke: #656c76; }
    circle.p50 { fill: #58a6ff; } circle.p99 { fill: #f0883e; } circle.max { fill: #656c76; }
  }
";

/// One line of the chart: its class, its name, and the figure it shows for a slice.
struct Line {
    class: &'static str,
    name: &'static str,
    of: fn(&Latencies) -> Duration,
}

/// The lines, from back to front.
const LINES: [Line; 3] = [
    Line { class: "max", name: "max", of: Latencies::longest },
    Line { class: "p99", name: "p99", of: |latencies| latencies.percentile(99.0) },
    Line { class: "p50", name: "p50", of: |latencies| latencies.percentile(50.0) },
];

/// Maps values to places in the picture.
struct Scale {
    /// The time at the right edge, in seconds.
    seconds: f64,
    /// The latencies at the lower and upper edge, as powers of ten of a second.
    low: f64,
    high: f64,
}

impl Scale {
    fn x(&self, seconds: f64) -> f64 {
        LEFT + seconds / self.seconds * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, latency: Duration) -> f64 {
        let power = latency.as_secs_f64().max(1e-9).log10();
        HEIGHT - BOTTOM - (power - self.low) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM)
    }
}

/// Draws the chart.
pub(super) fn svg(report: &mut Report<'_>) -> String {
    report.figures.timeline.coarsen(POINTS);
    let report = &*report;
    let slices: Vec<(Duration, &Latencies)> = report.figures.timeline.slices().collect();
    let scale = scale(report, &slices);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"Latency over time\">\n<style>{STYLE}</style>\n"
    );
    text(&mut svg, "title", (LEFT, 34.0), "start", "Latency from publish to subscriber, over time");
    let rate = format!("{}, {} deliveries/s", report.load(), show::rate(report.deliveries_per_second()));
    text(&mut svg, "", (LEFT, 56.0), "start", &rate);
    legend(&mut svg, report);
    grid(&mut svg, &scale);
    if slices.is_empty() {
        text(&mut svg, "", ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT / 2.0), "middle", "nothing was delivered");
    }
    for line in &LINES {
        draw(&mut svg, &scale, line, &slices, report.figures.timeline.slice());
    }
    svg.push_str("</svg>\n");
    svg
}

/// The scale that shows everything, from one round latency to another.
fn scale(report: &Report<'_>, slices: &[(Duration, &Latencies)]) -> Scale {
    let lowest = slices.iter().map(|(_, slice)| slice.percentile(50.0)).min().unwrap_or(Duration::from_micros(100));
    let highest = slices.iter().map(|(_, slice)| slice.longest()).max().unwrap_or(Duration::from_millis(10));
    let power = |duration: Duration| duration.as_secs_f64().max(1e-6).log10();
    let low = steps().rev().map(f64::log10).find(|step| *step <= power(lowest) - 0.05).unwrap_or(-6.0);
    let high = steps().map(f64::log10).find(|step| *step >= power(highest) + 0.02).unwrap_or(3.0);
    let end = slices.last().map_or(Duration::ZERO, |(at, _)| *at + report.figures.timeline.slice());
    Scale { seconds: end.as_secs_f64().max(0.001), low, high: high.max(low + 0.3) }
}

/// Latencies that may have a grid line, in seconds: 1, 2 and 5 times each power of ten.
fn steps() -> impl DoubleEndedIterator<Item = f64> {
    (-6..=3).flat_map(|power| [1.0, 2.0, 5.0].map(|step| step * 10_f64.powi(power)))
}

fn grid(svg: &mut String, scale: &Scale) {
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    let inside: Vec<f64> =
        steps().filter(|step| (scale.low - 1e-9..=scale.high + 1e-9).contains(&step.log10())).collect();
    // For more than three decades, the powers of ten are enough.
    let sparse = inside.len() > 10;
    for step in inside {
        let whole = (step.log10() - step.log10().round()).abs() < 1e-9;
        if sparse && !whole {
            continue;
        }
        let y = scale.y(Duration::from_secs_f64(step));
        rule(svg, "grid", (LEFT, y), (right, y));
        text(svg, "", (LEFT - 10.0, y + 4.5), "end", &round_time(step));
    }
    let every = round_step(scale.seconds / 8.0);
    let decimals = (0..3).find(|decimals| every * 10_f64.powi(*decimals) > 0.99).unwrap_or(3) as usize;
    let mut at = 0.0;
    while at <= scale.seconds * 1.0001 {
        let x = scale.x(at);
        rule(svg, "axis", (x, bottom), (x, bottom + 5.0));
        text(svg, "", (x, bottom + 21.0), "middle", &format!("{at:.decimals$}"));
        at += every;
    }
    rule(svg, "axis", (LEFT, bottom), (right, bottom));
    text(
        svg,
        "",
        ((LEFT + right) / 2.0, HEIGHT - 12.0),
        "middle",
        "seconds since measuring began; latencies on a logarithmic scale",
    );
}

/// The smallest 1, 2 or 5 times a power of ten that is not below `least`.
fn round_step(least: f64) -> f64 {
    steps().map(|step| step * 1e3).find(|step| *step >= least.max(1e-3)).unwrap_or(1e6)
}

/// A label of the axis, with its unit.
fn round_time(seconds: f64) -> String {
    match seconds {
        0.9999.. => format!("{seconds:.0} s"),
        0.000_999_9.. => format!("{:.0} ms", seconds * 1e3),
        _ => format!("{:.0} µs", seconds * 1e6),
    }
}

/// Writes the name of each line, with its value over the whole run.
fn legend(svg: &mut String, report: &Report<'_>) {
    let mut x = LEFT;
    for line in LINES.iter().rev() {
        let class = line.class;
        let points = format!("{x:.1},76 {:.1},76", x + 22.0);
        // Writing to a String cannot fail.
        let _ = writeln!(svg, "<polyline class=\"{class}\" points=\"{points}\"/>");
        let value = show::time((line.of)(&report.figures.latencies));
        let label =
            if report.figures.deliveries == 0 { line.name.to_owned() } else { format!("{} {value}", line.name) };
        text(svg, "", (x + 30.0, 80.5), "start", &label);
        x += 150.0;
    }
}

fn draw(svg: &mut String, scale: &Scale, line: &Line, slices: &[(Duration, &Latencies)], length: Duration) {
    let class = line.class;
    let place =
        |(at, slice): &(Duration, &Latencies)| (scale.x((*at + length / 2).as_secs_f64()), scale.y((line.of)(slice)));
    let points: Vec<(f64, f64)> = slices.iter().map(place).collect();
    let joined: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(svg, "<polyline class=\"{class}\" points=\"{}\"/>", joined.join(" "));
    if points.len() <= FEW {
        for (x, y) in points {
            let _ = writeln!(svg, "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\"/>");
        }
    }
}

fn rule(svg: &mut String, class: &str, from: (f64, f64), to: (f64, f64)) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ = writeln!(svg, "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>");
}

fn text(svg: &mut String, class: &str, at: (f64, f64), anchor: &str, text: &str) {
    let (x, y) = at;
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(svg, "<text{class} x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
}
