//! The shell on a terminal, with somebody who types.

use crate::shell::{start, status_of};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use app_io::{ImmutableWrite, IoStreams};
use core::time::Duration;
use io::IoError;
use spin::Mutex;
use task::JoinableTaskRef;
use tty::{Master, Tty};

/// How long to wait for the screen to show something: much longer than it should take.
const PATIENCE: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(2);

/// A screen that remembers everything.
struct Screen(Mutex<Vec<u8>>);

impl ImmutableWrite for Screen {
    fn write(&self, buffer: &[u8]) -> Result<usize, IoError> {
        self.0.lock().extend_from_slice(buffer);
        Ok(buffer.len())
    }
}

/// A shell on a terminal.
struct Session {
    screen: Arc<Screen>,
    keyboard: Master,
    shell: JoinableTaskRef,
    /// How much of the screen has been looked at.
    seen: usize,
}

impl Session {
    fn new(arguments: Vec<String>) -> Self {
        let screen = Arc::new(Screen(Mutex::new(Vec::new())));
        let tty = Tty::new(screen.clone());
        let slave = Arc::new(tty.slave());
        let streams = IoStreams {
            stdin: slave.clone(),
            stdout: slave.clone(),
            discipline: Some(slave.discipline()),
            stderr: slave,
        };
        Self { screen, keyboard: tty.master(), shell: start(arguments, streams), seen: 0 }
    }

    fn types(&self, keys: &str) {
        self.keyboard.write(keys.as_bytes()).unwrap();
    }

    /// Waits until the screen shows `text`, after what was seen before.
    fn shows(&mut self, text: &str) {
        let mut waited = Duration::ZERO;
        loop {
            let shown = String::from_utf8_lossy(&self.screen.0.lock()[self.seen..]).into_owned();
            if let Some(at) = shown.find(text) {
                self.seen += at + text.len();
                return;
            }
            assert!(waited < PATIENCE, "waited for {text:?}; the screen shows {shown:?}");
            let _ = sleep::sleep(STEP);
            waited += STEP;
        }
    }
}

pub fn editing() {
    let mut session = Session::new(vec![]);
    session.shows("theseus:/$ ");
    session.types("ehco hi\x01\x06\x1b[3~\x06h\r");
    session.shows("\r\nhi\r\n");
    session.shows("theseus:/$ ");
    session.types("\x1b[A there\r");
    session.shows("\r\nhi there\r\n");
    session.types("cd /tm\t\r");
    session.shows("theseus:/tmp$ ");
    session.types("half a line\x03");
    session.shows("^C\r\n");
    session.shows("theseus:/tmp$ ");
    session.types("echo $?\r");
    session.shows("130\r\n");
    session.types("nonesuch\r");
    session.shows("shell: nonesuch: command not found\r\n");
    session.types("echo grüße\x7fn\r");
    session.shows("\r\ngrüßn\r\n");
    session.types("exit 4\r");
    assert_eq!(status_of(&session.shell), 4);
}

pub fn ctrl_c() {
    let mut session = Session::new(vec![]);
    for _ in 0..20 {
        session.shows("theseus:/$ ");
        session.types("cat; echo not reached\r");
        session.shows("\r\n");
        session.types("line\r");
        // Once as it is typed, once as `cat` prints it.
        session.shows("line\r\nline\r\n");
        session.types("\x03");
        session.shows("shell: cat: killed\r\n");
    }
    session.types("echo status $?\r");
    session.shows("\r\nstatus 130\r\n");
    for wait in [0, 1, 2, 5, 10] {
        // Before the program is loaded, or while it is.
        session.shows("theseus:/$ ");
        session.types("cat; echo not reached\r");
        let _ = sleep::sleep(Duration::from_micros(200 * wait));
        session.types("\x03");
        session.shows("shell: cat: killed\r\n");
    }
    // Pressed at the prompt, it is not meant for the next program.
    session.shows("theseus:/$ ");
    session.types("\x03");
    session.shows("theseus:/$ ");
    session.types("echo goes on\r");
    session.shows("\r\ngoes on\r\n");
    session.types("exit\r");
    assert_eq!(status_of(&session.shell), 0);
    let shown = String::from_utf8_lossy(&session.screen.0.lock()).into_owned();
    assert!(!shown.contains("\nnot reached"));
}

pub fn ctrl_c_of_a_line() {
    let mut session = Session::new(vec!["-c".to_string(), "echo begun; cat; echo not reached".to_string()]);
    session.shows("begun\r\n");
    session.types("x\r");
    session.shows("x\r\nx\r\n");
    session.types("\x03");
    assert_eq!(status_of(&session.shell), 130);
    let shown = String::from_utf8_lossy(&session.screen.0.lock()).into_owned();
    assert!(!shown.contains("not reached"));
}

pub fn ctrl_c_of_a_pipeline() {
    let mut session = Session::new(vec![]);
    for line in ["cat | cat; echo not reached", "cat | shell -c 'cat; echo inner' | cat; echo not reached"] {
        session.shows("theseus:/$ ");
        session.types(line);
        session.types("\rline\r");
        session.shows("line\r\nline\r\n");
        session.types("\x03");
        session.shows("shell: cat: killed\r\n");
    }
    session.shows("theseus:/$ ");
    session.types("echo status $?\r");
    session.shows("\r\nstatus 130\r\n");
    session.types("wasm_run --invoke run /guests/spin.cwasm | cat\r");
    session.shows("\r\n");
    let _ = sleep::sleep(Duration::from_millis(100));
    session.types("\x03");
    session.shows("killed\r\n");
    session.shows("theseus:/$ ");
    session.types("exit\r");
    assert_eq!(status_of(&session.shell), 130);
    let shown = String::from_utf8_lossy(&session.screen.0.lock()).into_owned();
    assert!(!shown.contains("\nnot reached") && !shown.contains("inner\r\n"), "{shown}");
}

pub fn ctrl_d() {
    let mut session = Session::new(vec![]);
    session.shows("theseus:/$ ");
    session.types("cat\r");
    session.types("typed ahead\r\x04");
    session.shows("typed ahead\r\n");
    session.shows("theseus:/$ ");
    session.types("false\r");
    session.shows("theseus:/$ ");
    session.types("\x04");
    assert_eq!(status_of(&session.shell), 1);
}
