//! Medians of runs, and their ratios to the first contender.

use serde::Serialize;
use std::time::Duration;

/// One run of one contender.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// Requests that were answered, per second.
    pub rate: f64,
    /// CPU time a request, microseconds, user and system.
    pub cpu_micros: f64,
    /// The median latency, in microseconds.
    pub p50_micros: f64,
    /// The 99th percentile of latencies, in microseconds.
    pub p99_micros: f64,
    /// Resident memory under load, bytes.
    pub memory: u64,
}

/// All runs of one contender.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The contender's name in the table.
    pub name: String,
    /// How its clients speak.
    pub load: &'static str,
    /// Resident memory before the first request, bytes.
    pub memory_at_rest: u64,
    /// The runs, in order.
    pub samples: Vec<Sample>,
}

impl Row {
    fn median(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        median(self.samples.iter().map(of).collect())
    }

    /// Median CPU time a request.
    pub fn cpu_micros(&self) -> f64 {
        self.median(|sample| sample.cpu_micros)
    }
}

/// The median of the runs' figures.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The percentile of sorted durations, microseconds.
pub fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(f64::NAN, |duration| duration.as_secs_f64() * 1e6)
}

/// Prints a table; ratios are against the first row.
pub fn print(rows: &[Row]) {
    let Some(first) = rows.first() else { return };
    println!(
        "{:<12} {:>12} {:>16} {:>9} {:>10} {:>10} {:>10} {:>12} {:>12}",
        "",
        "CPU µs/req",
        "least, greatest",
        "ratio",
        "req/s",
        "p50 µs",
        "p99 µs",
        "MiB at rest",
        "MiB loaded"
    );
    for row in rows {
        println!(
            "{:<12} {:>12.2} {:>7.2}, {:>7.2} {:>8.2}x {:>10.0} {:>10.0} {:>10.0} {:>12.1} {:>12.1}",
            row.name,
            row.cpu_micros(),
            row.samples.iter().map(|it| it.cpu_micros).fold(f64::NAN, f64::min),
            row.samples.iter().map(|it| it.cpu_micros).fold(f64::NAN, f64::max),
            row.cpu_micros() / first.cpu_micros(),
            row.median(|sample| sample.rate),
            row.median(|sample| sample.p50_micros),
            row.median(|sample| sample.p99_micros),
            row.memory_at_rest as f64 / 1_048_576.0,
            row.median(|sample| sample.memory as f64) / 1_048_576.0,
        );
    }
}
