//! The printed table.

use std::time::Duration;

/// The same figure of both.
#[derive(Clone, Copy)]
pub struct Pair<T> {
    pub ours: T,
    pub theirs: T,
}

/// What is known of one module.
pub struct Row {
    pub name: String,
    /// Bytes of the module.
    pub wasm: usize,
    /// Time on one thread.
    pub one: Pair<Duration>,
    /// Time on all processors.
    pub all: Pair<Duration>,
    /// Bytes of machine code.
    pub code: Pair<usize>,
    /// Most bytes allocated at a time, on one thread.
    pub peak: Pair<usize>,
    /// Allocations and reallocations, on one thread.
    pub allocations: Pair<usize>,
}

/// Prints all rows and their total.
pub fn print_table(rows: &[Row], threads: usize) {
    println!(
        "{:<9}{:>7}  {:<20}  {:<20}  {:<20}  {:<20}  {:<20}",
        "",
        "",
        "1 thread, MB/s",
        format!("{threads} threads, MB/s"),
        "machine code, KB",
        "peak memory, MB",
        "allocations, 1000",
    );
    print!("{:<9}{:>7}", "module", "MB");
    for _ in 0..5 {
        print!("  {:>6}{:>8}{:>6}", "ours", "theirs", "ratio");
    }
    println!();
    for row in rows {
        print_row(row);
    }
    let sum = |f: fn(&Row) -> Pair<usize>| Pair {
        ours: rows.iter().map(|row| f(row).ours).sum(),
        theirs: rows.iter().map(|row| f(row).theirs).sum(),
    };
    let time = |f: fn(&Row) -> Pair<Duration>| Pair {
        ours: rows.iter().map(|row| f(row).ours).sum(),
        theirs: rows.iter().map(|row| f(row).theirs).sum(),
    };
    print_row(&Row {
        name: "total".to_string(),
        wasm: rows.iter().map(|row| row.wasm).sum(),
        one: time(|row| row.one),
        all: time(|row| row.all),
        code: sum(|row| row.code),
        // One module is compiled at a time.
        peak: Pair {
            ours: rows.iter().map(|row| row.peak.ours).max().unwrap_or(0),
            theirs: rows.iter().map(|row| row.peak.theirs).max().unwrap_or(0),
        },
        allocations: sum(|row| row.allocations),
    });
}

fn print_row(row: &Row) {
    let rate = |time: Duration| row.wasm as f64 / 1e6 / time.as_secs_f64();
    print!("{:<9}{:>7.3}", row.name, row.wasm as f64 / 1e6);
    print_pair(rate(row.one.ours), rate(row.one.theirs), 2);
    print_pair(rate(row.all.ours), rate(row.all.theirs), 2);
    print_pair(row.code.ours as f64 / 1e3, row.code.theirs as f64 / 1e3, 0);
    print_pair(row.peak.ours as f64 / 1e6, row.peak.theirs as f64 / 1e6, 1);
    print_pair(row.allocations.ours as f64 / 1e3, row.allocations.theirs as f64 / 1e3, 0);
    println!();
}

fn print_pair(ours: f64, theirs: f64, digits: usize) {
    print!("  {ours:>6.digits$}{theirs:>8.digits$}{:>6.2}", ours / theirs);
}
