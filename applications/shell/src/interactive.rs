//! Talking to a person.

use crate::complete::complete;
use crate::run::{Shell, prompt};
use app_io::{IoStreams, eprintln};
use line_editor::{LineEditor, Outcome};

/// Reads and runs lines until there are no more or `exit` is run. What was set up on the terminal is as before then.
pub(crate) fn run(shell: &mut Shell) {
    let IoStreams { stdin, stdout, discipline, .. } = match app_io::streams() {
        Ok(streams) => streams,
        Err(reason) => {
            eprintln!("shell: {reason}");
            shell.status = 1;
            return;
        }
    };
    let mut editor = LineEditor::new();
    while !shell.exiting {
        if let Some(discipline) = &discipline {
            discipline.set_raw();
        }
        let columns = shell.variable("COLUMNS").and_then(|columns| columns.parse().ok());
        if let Some(columns) = columns {
            editor.set_columns(columns);
        }
        let outcome = editor.read_line(&prompt(shell), &*stdin, &*stdout, &mut |line| complete(line));
        if let Some(discipline) = &discipline {
            // What was pressed before the line was there is not meant for its programs; what was pressed since is.
            discipline.clear_events();
            discipline.set_sane();
        }
        match outcome {
            Ok(Outcome::Line(line)) => {
                shell.run_line(&line);
            }
            Ok(Outcome::Interrupted) => shell.status = 130,
            Ok(Outcome::EndOfInput) => break,
            Err(error) => {
                eprintln!("shell: {error}");
                shell.status = 1;
                break;
            }
        }
    }
}
