//! Figures of runs that took turns, as medians, as ratios to the first run of the same round, and their spread.

use crate::report::median;
use serde::Serialize;

/// How figures are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// A table of medians and ratios, for people.
    Text,
    /// All of it, with every round.
    Json,
}

/// One figure of one run.
#[derive(Clone, Debug)]
pub struct Figure {
    name: String,
    value: f64,
    larger_is_better: bool,
}

/// What was measured on one way.
#[derive(Debug, Serialize)]
pub struct Table {
    title: String,
    rounds: usize,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    load: String,
    columns: Vec<Column>,
}

#[derive(Debug, Serialize)]
struct Column {
    figure: String,
    larger_is_better: bool,
    /// One for each round.
    values: Vec<f64>,
    /// To the first row of the same round.
    ratios: Vec<f64>,
}

impl Figure {
    /// A figure of which a larger value is better, such as requests a second.
    pub fn rate(name: &str, value: f64) -> Self {
        Self { name: name.to_owned(), value, larger_is_better: true }
    }

    /// A figure of which a smaller value is better, such as milliseconds.
    pub fn cost(name: &str, value: f64) -> Self {
        Self { name: name.to_owned(), value, larger_is_better: false }
    }
}

impl Table {
    /// A table without rows; `rounds` is only what its heading says.
    pub fn new(title: &str, rounds: usize) -> Self {
        Self { title: title.to_owned(), rounds, rows: Vec::new() }
    }

    /// Adds a run of this load. The first load of a round is what its others are compared with.
    pub fn add(&mut self, load: &str, figures: Vec<Figure>) {
        let first = self.rows.first().filter(|row| row.load != load);
        let compared: Vec<f64> = figures
            .iter()
            .map(|figure| {
                let column = first.and_then(|row| row.columns.iter().find(|it| it.figure == figure.name));
                column.and_then(|it| it.values.last()).map_or(1.0, |base| figure.value / base)
            })
            .collect();
        let index = self.rows.iter().position(|row| row.load == load).unwrap_or_else(|| {
            let columns = figures.iter().map(|it| Column {
                figure: it.name.clone(),
                larger_is_better: it.larger_is_better,
                values: Vec::new(),
                ratios: Vec::new(),
            });
            self.rows.push(Row { load: load.to_owned(), columns: columns.collect() });
            self.rows.len() - 1
        });
        let Some(row) = self.rows.get_mut(index) else { return };
        for ((column, figure), ratio) in row.columns.iter_mut().zip(figures).zip(compared) {
            column.values.push(figure.value);
            column.ratios.push(ratio);
        }
    }

    /// Prints it for people.
    pub fn print(&self) {
        println!(
            "{} (medians of {} rounds; median ratio to the first row, least and greatest ratio)",
            self.title, self.rounds
        );
        for row in &self.rows {
            println!("  {}", row.load);
            for column in &row.columns {
                let mut ratios = column.ratios.clone();
                ratios.sort_by(f64::total_cmp);
                let (least, greatest) =
                    (ratios.first().copied().unwrap_or(f64::NAN), ratios.last().copied().unwrap_or(f64::NAN));
                println!(
                    "    {:<14} {:>10.2}   {:>6.2} ({least:.2} to {greatest:.2})",
                    column.figure,
                    median(column.values.clone()),
                    median(ratios),
                );
            }
        }
    }
}
