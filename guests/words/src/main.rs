//! `words [-o OUTPUT] [FILE]…` counts the words of files, or of standard input, and prints how often each occurs, the most frequent
//! first. `WORDS_MIN` is the least number of letters that a word must have to count.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write, stdin, stdout};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("words: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let min = match std::env::var("WORDS_MIN") {
        Ok(text) => text.parse().map_err(|_| format!("WORDS_MIN={text}: a number is wanted"))?,
        Err(_) => 1,
    };
    let mut output = None;
    let mut inputs = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "-o" => output = Some(args.next().ok_or("-o wants a file")?),
            _ => inputs.push(arg),
        }
    }

    let mut counts = HashMap::new();
    if inputs.is_empty() {
        count(stdin().lock(), min, &mut counts).map_err(|error| format!("standard input: {error}"))?;
    }
    for path in &inputs {
        File::open(path)
            .and_then(|file| count(BufReader::new(file), min, &mut counts))
            .map_err(|error| format!("{path}: {error}"))?;
    }

    let mut counts: Vec<(String, u64)> = counts.into_iter().collect();
    counts.sort_by(|a, b| (Reverse(a.1), &a.0).cmp(&(Reverse(b.1), &b.0)));
    match output {
        Some(path) => File::create(&path)
            .and_then(|file| print(BufWriter::new(file), &counts))
            .map_err(|error| format!("{path}: {error}")),
        None => print(stdout().lock(), &counts).map_err(|error| format!("standard output: {error}")),
    }
}

/// Adds the words of `input` that have at least `min` letters.
fn count(input: impl BufRead, min: usize, counts: &mut HashMap<String, u64>) -> std::io::Result<()> {
    for line in input.lines() {
        for word in line?.split(|letter: char| !letter.is_alphanumeric()) {
            if !word.is_empty() && word.chars().count() >= min {
                *counts.entry(word.to_lowercase()).or_default() += 1;
            }
        }
    }
    Ok(())
}

fn print(mut output: impl Write, counts: &[(String, u64)]) -> std::io::Result<()> {
    for (word, count) in counts {
        writeln!(output, "{count} {word}")?;
    }
    output.flush()
}
