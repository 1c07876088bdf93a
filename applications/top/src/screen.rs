//! The terminal: shown anew each time, and asked for keys in between.

use alloc::string::String;
use alloc::sync::Arc;
use app_io::print;
use tty::LineDiscipline;

/// Escape sequences (ECMA-48): cursor to the top left; clear to the end of the line, of the screen; hide and show the cursor.
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";
const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";

/// The terminal, without echo, key by key. It is as before when this is dropped.
pub(crate) struct Screen {
    discipline: Arc<LineDiscipline>,
    echo: bool,
    canonical: bool,
}

impl Screen {
    /// The terminal that standard input is, if it is one.
    pub fn take() -> Option<Self> {
        let discipline = app_io::line_discipline().ok()?;
        let screen = Screen { echo: discipline.echo(), canonical: discipline.canonical(), discipline };
        screen.discipline.set_echo(false);
        screen.discipline.set_canonical(false);
        print!("{HIDE_CURSOR}{HOME}{CLEAR_BELOW}");
        Some(screen)
    }

    /// Shows these lines in place of what was there.
    pub fn show(&self, lines: &[String]) {
        let mut text = String::from(HOME);
        for line in lines {
            text.push_str(line);
            text.push_str(CLEAR_LINE);
            text.push('\n');
        }
        text.push_str(CLEAR_BELOW);
        print!("{text}");
    }

    /// Whether the key that ends the program was pressed.
    pub fn end_requested(&self) -> bool {
        let mut keys = [0; 32];
        let count = self.discipline.try_read(&mut keys);
        // None is the end of the input: nobody can press a key any more.
        count.is_some_and(|count| count == 0 || keys[..count].iter().any(|key| matches!(key, b'q' | b'Q')))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        print!("{SHOW_CURSOR}");
        self.discipline.set_echo(self.echo);
        self.discipline.set_canonical(self.canonical);
    }
}
