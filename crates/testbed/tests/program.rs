//! A program that enters a sandbox, and how it ends.

#![allow(clippy::unwrap_used)] // all of it is tests

use fairway_testbed::{Entered, Sandbox};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};

/// What the program inside does.
const ROLES: [&str; 2] = ["ends-with-seven", "waits-for-its-end"];

fn main() -> ExitCode {
    let role = std::env::args().find(|argument| ROLES.contains(&argument.as_str()));
    let Some(role) = role else {
        its_exit_code_is_that_of_the_program();
        it_is_told_to_end_and_does();
        it_ends_when_the_first_process_is_killed();
        println!("program: 3 passed");
        return ExitCode::SUCCESS;
    };
    match Sandbox::enter() {
        Ok(Entered::Inside(_)) => inside(&role),
        Ok(Entered::Ended(ended)) => ended.exit_code(),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::zombie_processes, reason = "it is the point")]
fn inside(role: &str) -> ExitCode {
    if role == ROLES[0] {
        return ExitCode::from(7);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut terminate =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
        // It outlives this process, unless the sandbox ends it.
        let _left = Command::new("sleep").arg("1000").spawn().unwrap();
        println!("waiting");
        terminate.recv().await;
        ExitCode::from(3)
    })
}

fn start(role: &str) -> (Child, BufReader<ChildStdout>) {
    let program = std::env::current_exe().unwrap();
    let mut child =
        Command::new(program).arg(role).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(child.stdout.take().unwrap());
    (child, said)
}

fn its_exit_code_is_that_of_the_program() {
    let (mut child, _) = start(ROLES[0]);
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

fn it_is_told_to_end_and_does() {
    let (mut child, said) = waiting();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3));
    nobody_is_left(said);
}

fn it_ends_when_the_first_process_is_killed() {
    let (mut child, said) = waiting();
    child.kill().unwrap();
    child.wait().unwrap();
    nobody_is_left(said);
}

fn waiting() -> (Child, BufReader<ChildStdout>) {
    let (child, mut said) = start(ROLES[1]);
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "waiting\n");
    (child, said)
}

/// The output ends when the last process that holds it has ended; one of them would for a thousand seconds.
fn nobody_is_left(mut said: BufReader<ChildStdout>) {
    assert_eq!(said.read_to_end(&mut Vec::new()).unwrap(), 0);
}
