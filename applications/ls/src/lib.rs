//! `ls [-l] [-a] [PATH…]` lists directories and names files, one per line, or in columns on a terminal with a person in front of it.
//!
//! With `-l` each line has kind and permissions, size in bytes (of a directory: in entries), the time of the last change
//! (UTC), and the name. With `-a` names that begin with a dot are listed, `.` and `..` among them. A `/` marks directories.
#![no_std]

extern crate alloc;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use app_io::{eprintln, print, println};
use fs_node::{FileKind, FileOrDir, FsError, Metadata};
use path::Path;
use time::calendar::DateTime;

/// How wide a terminal is taken to be.
const COLUMNS: usize = 80;

struct Line {
    name: String,
    metadata: Metadata,
}

struct Style {
    long: bool,
    all: bool,
}

/// Runs the program; returns its status.
#[inline(never)]
pub fn main(args: Vec<String>) -> isize {
    let options = match options::parse(&args, "la") {
        Ok(options) => options,
        Err(unknown) => {
            eprintln!("ls: {unknown}; usage: ls [-l] [-a] [PATH...]");
            return 2;
        }
    };
    let style = Style { long: options.has('l'), all: options.has('a') };
    let here = [".".to_string()];
    let operands = if options.operands.is_empty() { &here } else { options.operands };
    let cwd = match app_io::working_dir() {
        Ok(cwd) => cwd,
        Err(reason) => {
            eprintln!("ls: {reason}");
            return 1;
        }
    };

    let mut status = 0;
    let (mut files, mut dirs) = (Vec::new(), Vec::new());
    for operand in operands {
        match Path::new(operand).resolve(&cwd) {
            Ok(FileOrDir::Dir(dir)) => dirs.push((operand, dir)),
            Ok(node) => files.push(Line { name: operand.clone(), metadata: node.metadata() }),
            Err(error) => {
                eprintln!("ls: {}: {error}", if operand.is_empty() { "''" } else { operand });
                status = 1;
            }
        }
    }
    let titles = operands.len() > 1;
    let mut first = files.is_empty();
    show(&files, &style);
    for (operand, dir) in dirs {
        if titles {
            println!("{}{operand}:", if first { "" } else { "\n" });
        }
        first = false;
        match entries(FileOrDir::Dir(dir), &style) {
            Ok(lines) => show(&lines, &style),
            Err(error) => {
                eprintln!("ls: {operand}: {error}");
                status = 1;
            }
        }
    }
    status
}

/// What is listed of a directory.
///
/// # Errors
/// The disk could not be read.
fn entries(node: FileOrDir, style: &Style) -> Result<Vec<Line>, FsError> {
    let mut lines = Vec::new();
    if style.all {
        lines.push(Line { name: ".".into(), metadata: node.metadata() });
        let parent = node.get_parent_dir().map_or_else(|| node.clone(), FileOrDir::Dir);
        lines.push(Line { name: "..".into(), metadata: parent.metadata() });
    }
    let FileOrDir::Dir(dir) = node else { return Ok(lines) };
    let names = dir.lock().names()?;
    for name in names {
        if name.starts_with('.') && !style.all {
            continue;
        }
        let entry = dir.lock().get(&name);
        // An entry that has been removed in the meantime isn't listed.
        if let Some(entry) = entry {
            lines.push(Line { metadata: entry.metadata(), name });
        }
    }
    Ok(lines)
}

impl Line {
    fn marked_name(&self) -> String {
        let is_marked = self.metadata.kind == FileKind::Directory && !self.name.ends_with('/');
        format!("{}{}", self.name, if is_marked { "/" } else { "" })
    }
}

fn show(lines: &[Line], style: &Style) {
    if style.long {
        let width = lines.iter().map(|line| line.metadata.size).max().unwrap_or(0).to_string().len();
        for line in lines {
            let Metadata { kind, size, writable, times, .. } = line.metadata;
            let kind = match kind {
                FileKind::File => '-',
                FileKind::Directory => 'd',
                FileKind::SymbolicLink => 'l',
            };
            let writable = if writable { 'w' } else { '-' };
            let time = DateTime::from_unix(times.modified.as_secs() as i64);
            let DateTime { year, month, day, hour, minute, .. } = time;
            let time = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}");
            println!("{kind}r{writable} {size:>width$} {time} {}", line.marked_name());
        }
        return;
    }
    let names: Vec<String> = lines.iter().map(Line::marked_name).collect();
    let on_terminal = app_io::line_discipline().is_ok_and(|discipline| discipline.cooked_output());
    if on_terminal {
        show_in_columns(&names);
    } else {
        names.iter().for_each(|name| println!("{name}"));
    }
}

/// Prints names in as many columns as fit, down the columns.
fn show_in_columns(names: &[String]) {
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0) + 2;
    let columns = (COLUMNS / width).max(1);
    let rows = names.len().div_ceil(columns);
    for row in 0..rows {
        let cells: Vec<&String> = names.iter().skip(row).step_by(rows).collect();
        for (index, name) in cells.iter().enumerate() {
            let padding = if index + 1 < cells.len() { width - name.chars().count() } else { 0 };
            print!("{name}{:padding$}", "");
        }
        println!();
    }
}
