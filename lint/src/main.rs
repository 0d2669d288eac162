//! `make lint` runs this in the repository's root. It compares the directions of dependencies and the number of short docstrings and
//! the largest circles of files with `lint/structure.txt`, and looks for the tests that documents name.
//!
//! `--edges` prints the dependencies between modules as they are, in the form of that file, and the circles; `--docs` prints the docstrings.
#![forbid(unsafe_code)]

use fairway_lint::{circles, crates, docs, evidence, modules, table::Table};
use std::path::Path;
use std::process::ExitCode;

const TABLE: &str = "lint/structure.txt";

fn main() -> ExitCode {
    match run(Path::new("."), std::env::args().any(|argument| argument == "--edges")) {
        Ok(complaints) if complaints.is_empty() => ExitCode::SUCCESS,
        Ok(complaints) => {
            for complaint in &complaints {
                eprintln!("{complaint}");
            }
            eprintln!("fairway-lint: {} complaints; what is allowed stands in {TABLE}", complaints.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("fairway-lint: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(root: &Path, print_edges: bool) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(root.join(TABLE)).map_err(|error| format!("{TABLE}: {error}"))?;
    let table = Table::parse(&text)?;
    let mut complaints = crates::check(root, &table)?;
    for source in &table.modules {
        let edges = modules::edges(root, &source.folder)?;
        if print_edges {
            print!("{}", modules::describe(source, &edges));
        }
        complaints.extend(modules::check(source, &modules::declared(root, &source.folder)?, &edges));
    }
    for (folder, allowed) in &table.circles {
        let found = circles::find(root, folder)?;
        if print_edges {
            found
                .iter()
                .for_each(|it| println!("circle of {} files in {folder}: {}", it.len(), it.join(" ")));
        }
        complaints.extend(circles::check(folder, &found, *allowed));
    }
    complaints.extend(evidence::check(root)?);
    let short = docs::short(root)?;
    complaints.extend(docs::check(short.len(), table.short_docs));
    if std::env::args().any(|argument| argument == "--docs") {
        println!("{}", short.join("\n"));
    }
    Ok(complaints)
}
