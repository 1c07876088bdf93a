//! How far a compilation is, for a person in front of a terminal: one line that is written anew in its place.

use crate::Streams;
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use wasm_engine::{Config, Progress};

/// A compilation that takes no longer than this is not worth a line.
const PATIENCE: Duration = Duration::from_secs(1);

/// The most characters of a file's name that are shown, so that the line is one on any terminal.
const MAX_NAME: usize = 40;

/// Goes to the start of the line and erases it.
const ERASE: &str = "\r\x1b[K";

/// The line. It is erased when this is dropped, however the compilation ends.
pub(crate) struct ProgressLine(Option<Arc<Line>>);

struct Line {
    streams: Streams,
    name: String,
    started: Duration,
    shown: AtomicBool,
}

impl ProgressLine {
    /// Has what `config` configures show how far it is with `file`, if standard error is a terminal.
    pub(crate) fn begin(config: &mut Config, file: &str, streams: Streams) -> Self {
        if !streams.terminal {
            return Self(None);
        }
        let line = Arc::new(Line {
            streams,
            name: shortened(file),
            started: (streams.now)(),
            shown: AtomicBool::new(false),
        });
        let shown = line.clone();
        config.compile_progress(Some(Arc::new(move |progress| shown.update(progress))));
        Self(Some(line))
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if let Some(line) = &self.0
            && line.shown.load(Ordering::Relaxed)
        {
            (line.streams.err)(format_args!("{ERASE}"));
        }
    }
}

impl Line {
    fn update(&self, Progress { done, total, .. }: Progress) {
        if (self.streams.now)().saturating_sub(self.started) < PATIENCE {
            return;
        }
        self.shown.store(true, Ordering::Relaxed);
        (self.streams.err)(format_args!("{ERASE}compiling {}: {done} of {total} functions", self.name));
    }
}

/// A file's name without its directory, in the middle of which is left out what would be too long.
fn shortened(file: &str) -> String {
    let name = file.rsplit('/').find(|part| !part.is_empty()).unwrap_or(file);
    // What is no character of its own would shift the line.
    let characters = || name.chars().map(|c| if c.is_control() { '?' } else { c });
    let count = characters().count();
    if count <= MAX_NAME {
        return characters().collect();
    }
    let half = MAX_NAME / 2 - 1;
    let start: String = characters().take(half).collect();
    start + "…" + &characters().skip(count - half).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use std::sync::Mutex;
    use std::sync::atomic::AtomicU64;

    static PRINTED: Mutex<String> = Mutex::new(String::new());
    static SECONDS_10TH: AtomicU64 = AtomicU64::new(0);

    fn streams(terminal: bool) -> Streams {
        Streams {
            out: |_| panic!("it goes to standard error"),
            err: |text| PRINTED.lock().unwrap().push_str(&text.to_string()),
            terminal,
            now: || Duration::from_millis(SECONDS_10TH.load(Ordering::Relaxed) * 100),
        }
    }

    #[test]
    fn a_line_appears_after_a_second_and_goes_at_the_end() {
        let line = ProgressLine::begin(&mut Config::new(), "/some/where/x.wasm", streams(true));
        let update = |done| line.0.as_ref().unwrap().update(Progress { done, total: 10 });
        let printed = || core::mem::take(&mut *PRINTED.lock().unwrap());
        update(1);
        SECONDS_10TH.store(9, Ordering::Relaxed);
        update(2);
        assert_eq!(printed(), "");
        SECONDS_10TH.store(11, Ordering::Relaxed);
        update(3);
        assert_eq!(printed(), "\r\x1b[Kcompiling x.wasm: 3 of 10 functions");
        update(4);
        assert_eq!(printed(), "\r\x1b[Kcompiling x.wasm: 4 of 10 functions");
        drop(line);
        assert_eq!(printed(), "\r\x1b[K");
        // What took no time has nothing to erase.
        drop(ProgressLine::begin(&mut Config::new(), "x", streams(true)));
        assert!(ProgressLine::begin(&mut Config::new(), "x", streams(false)).0.is_none());
        assert_eq!(printed(), "");
    }

    #[test]
    fn names_stay_within_a_line() {
        assert_eq!(shortened("a/b\n.wasm"), "b?.wasm");
        assert_eq!(shortened("a/"), "a");
        let long = shortened(&"ä".repeat(300));
        assert_eq!(long.chars().count(), MAX_NAME - 1);
        assert!(long.contains('…'));
    }
}
