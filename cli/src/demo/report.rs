//! What was expected and what was seen.

use serde::Serialize;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

/// One expectation and whether it held.
#[derive(Clone, Debug, Serialize)]
pub struct CheckResult {
    /// The part of the demo.
    pub scene: &'static str,
    /// What should be so, as a sentence.
    pub expectation: String,
    /// What was observed, as a sentence.
    pub seen: String,
    /// Whether the observation meets the expectation.
    pub held: bool,
}

/// How the results are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// One line for each result, as it comes.
    Text,
    /// For machines: one document at the end.
    Json,
}

/// Collects results, and shows them as they come.
#[derive(Debug)]
pub struct Report {
    output: Output,
    colour: bool,
    progress: bool,
    scene: &'static str,
    results: Vec<CheckResult>,
    started: tokio::time::Instant,
}

#[derive(Serialize)]
struct Document<'a> {
    held: usize,
    failed: usize,
    seconds: f64,
    results: &'a [CheckResult],
}

impl Report {
    /// An empty report. Colour and the progress line only on a terminal.
    pub fn new(output: Output) -> Self {
        Self {
            output,
            colour: output == Output::Text
                && std::io::stdout().is_terminal()
                && std::env::var_os("NO_COLOR").is_none(),
            progress: std::io::stderr().is_terminal(),
            scene: "",
            results: Vec::new(),
            started: tokio::time::Instant::now(),
        }
    }

    /// Says what is going on now, on one line that the next thing replaces.
    pub fn progress(&self, doing: &str) {
        if self.progress {
            eprint!("\r\x1b[2K  … {doing}");
            let _ = std::io::stderr().flush();
        }
    }

    /// A line of plain text.
    pub fn say(&self, line: &str) {
        self.clear();
        if self.output == Output::Text {
            println!("{line}");
        }
    }

    /// Begins a part of the demo: its title is shown above its results.
    pub fn scene(&mut self, scene: &'static str) {
        self.scene = scene;
        let line = if self.colour { format!("\n\x1b[1m{scene}\x1b[0m") } else { format!("\n{scene}") };
        self.say(&line);
    }

    /// Notes what was seen of an expectation.
    pub fn note(&mut self, expectation: impl Into<String>, held: bool, seen: impl Into<String>) {
        let result =
            CheckResult { scene: self.scene, expectation: expectation.into(), seen: seen.into(), held };
        let mut line = String::new();
        let mark = match (held, self.colour) {
            (true, true) => "\x1b[32m✓\x1b[0m",
            (true, false) => "✓",
            (false, true) => "\x1b[31m✗\x1b[0m",
            (false, false) => "✗",
        };
        let _ = write!(line, "  {mark} {:<48} {}", result.expectation, result.seen);
        self.say(&line);
        self.results.push(result);
    }

    /// Notes a result whose failure to come about is itself a result.
    pub fn note_result(&mut self, expectation: impl Into<String>, result: anyhow::Result<(bool, String)>) {
        match result {
            Ok((held, seen)) => self.note(expectation, held, seen),
            Err(error) => self.note(expectation, false, format!("{error:#}")),
        }
    }

    /// The end: a summary, or the document; whether everything held.
    pub fn finish(&self) -> bool {
        let failed = self.results.iter().filter(|result| !result.held).count();
        let held = self.results.len() - failed;
        match self.output {
            Output::Text => self.say(&format!(
                "\n{held} expectations held, {failed} failed, in {}",
                seconds(self.started.elapsed())
            )),
            Output::Json => {
                self.clear();
                let document = Document {
                    held,
                    failed,
                    seconds: self.started.elapsed().as_secs_f64(),
                    results: &self.results,
                };
                match serde_json::to_string_pretty(&document) {
                    Ok(text) => println!("{text}"),
                    Err(error) => eprintln!("the report cannot be written: {error}"),
                }
            }
        }
        failed == 0
    }

    fn clear(&self) {
        if self.progress {
            eprint!("\r\x1b[2K");
        }
    }
}

/// `1.2 s`, `34 ms`.
pub fn seconds(duration: Duration) -> String {
    if duration >= Duration::from_secs(1) {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{:.1} ms", duration.as_secs_f64() * 1e3)
    }
}
