//! `top`: what the CPUs and the tasks do, again and again: which share of the time since the last look each CPU was busy and each
//! task ran. `q` or Ctrl-C ends it. With `--once` it looks once, for scripts.
#![no_std]

extern crate alloc;

mod sample;
mod screen;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use app_io::{eprintln, print, println};
use core::time::Duration;
use sample::Sample;
use screen::Screen;
use time::Instant;

const USAGE: &str = "usage: top [--once] [-n COUNT] [-d SECONDS]
  --once      look once and end; the same as -n 1
  -n COUNT    look so many times and end; then no terminal is needed
  -d SECONDS  from one look to the next (default 1)
keys: q ends it";

/// From the start to the first look.
const FIRST: Duration = Duration::from_millis(250);
/// Lines of a terminal, of which there is no way to ask the one at the other end of a serial line.
const SCREEN_LINES: usize = 24;

/// What to do.
struct Options {
    count: Option<usize>,
    delay: Duration,
}

impl Options {
    fn of(args: &[String]) -> Result<Self, String> {
        let mut options = Options { count: None, delay: Duration::from_secs(1) };
        let mut args = args.iter().map(String::as_str);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| alloc::format!("{arg} needs a value"));
            match arg {
                "--once" => options.count = Some(1),
                "-n" => {
                    let count = value()?.parse().ok().filter(|count| *count > 0);
                    options.count = Some(count.ok_or("-n needs a number from 1 on")?);
                }
                "-d" => {
                    let seconds = value()?.parse::<f64>().ok();
                    let seconds = seconds.filter(|seconds| (0.05..=3600.0).contains(seconds));
                    options.delay = Duration::from_secs_f64(seconds.ok_or("-d needs seconds, 0.05 to 3600")?);
                }
                _ => return Err(alloc::format!("there is no option {arg}")),
            }
        }
        Ok(options)
    }
}

/// Runs the program; 2 if the arguments are wrong, 1 if there is no terminal and no end.
pub fn main(args: Vec<String>) -> isize {
    if matches!(args.first().map(String::as_str), Some("-h" | "--help")) {
        println!("{USAGE}");
        return 0;
    }
    let options = match Options::of(&args) {
        Ok(options) => options,
        Err(reason) => {
            eprintln!("top: {reason}\n{USAGE}");
            return 2;
        }
    };
    // A few looks in a row need no keys and no positions.
    let screen = if options.count.is_some() { None } else { Screen::take() };
    if options.count.is_none() && screen.is_none() {
        eprintln!("top: standard input is no terminal; say how often to look: -n COUNT");
        return 1;
    }
    let mut before = Sample::now();
    let mut pause = FIRST;
    let mut left = options.count;
    loop {
        if left == Some(0) || !wait(pause, screen.as_ref()) {
            return 0;
        }
        let now = Sample::now();
        let lines = now.report_since(&before, screen.as_ref().map(|_| SCREEN_LINES - 1));
        match &screen {
            Some(screen) => screen.show(&lines),
            None => print!("{}", lines.iter().map(|line| line.clone() + "\n").collect::<String>()),
        }
        before = now;
        pause = options.delay;
        left = left.map(|left| left - 1);
    }
}

/// Waits; false as soon as somebody asks to end.
fn wait(pause: Duration, screen: Option<&Screen>) -> bool {
    /// From one look at the keys to the next.
    const STEP: Duration = Duration::from_millis(50);
    let end = Instant::now() + pause;
    loop {
        if screen.is_some_and(Screen::end_requested) {
            return false;
        }
        let now = Instant::now();
        if now >= end {
            return true;
        }
        // A cancel point: Ctrl-C ends it here.
        let _ = sleep::sleep_until(end.min(now + STEP));
    }
}

/// Digits and a unit, as people read them.
fn duration(time: Duration) -> String {
    alloc::format!("{}.{:03}", time.as_secs(), time.subsec_millis())
}

/// `what` and an s unless it is one.
fn counted(count: usize, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    count.to_string() + " " + what + s
}
