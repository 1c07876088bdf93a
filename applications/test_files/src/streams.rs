//! Standard streams of tasks.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use app_io::{ImmutableRead, ImmutableWrite, IoStreams, eprint, print, println};
use stdio::{Stdio, StdioReader, StdioWriter};
use task::ExitValue;

/// Streams that are collected: an empty input, and what is printed.
pub struct Captured {
    out: Stdio,
    error: Stdio,
}

impl Captured {
    pub fn new() -> Self {
        Self { out: Stdio::with_capacity(1 << 20), error: Stdio::with_capacity(1 << 20) }
    }

    pub fn streams(&self) -> IoStreams {
        let input = Stdio::new();
        let stdin = input.get_reader();
        IoStreams {
            stdin: Arc::new(stdin),
            stdout: Arc::new(self.out.get_writer()),
            stderr: Arc::new(self.error.get_writer()),
            discipline: None,
        }
    }

    pub fn take(&self) -> (String, String) {
        let text = |stdio: &Stdio| String::from_utf8(stdio.take_all()).expect("programs print UTF-8");
        (text(&self.out), text(&self.error))
    }
}

/// Runs a function as a task with these streams, and waits for it.
fn run_with(streams: IoStreams, function: fn()) {
    let task = spawn::new_task_builder(|function: fn()| function(), function).block().spawn().unwrap();
    app_io::insert_child_streams(task.id, streams);
    task.unblock().unwrap();
    assert!(matches!(task.join().unwrap(), ExitValue::Completed(_)));
}

fn print_and_spawn() {
    print!("parent ");
    let child = spawn::new_task_builder(
        |()| {
            print!("child ");
            let grandchild = spawn::new_task_builder(|()| println!("grandchild {}", 3), ()).spawn().unwrap();
            grandchild.join().unwrap();
        },
        (),
    );
    child.spawn().unwrap().join().unwrap();
    eprint!("done");
}

pub fn inherited() {
    let captured = Captured::new();
    run_with(captured.streams(), print_and_spawn);
    assert_eq!(captured.take(), ("parent child grandchild 3\n".into(), "done".into()));
}

pub fn own() {
    let (outer, inner) = (Captured::new(), Captured::new());
    // Handed over by a static: tasks made from plain functions can't capture.
    static INNER: spin::Mutex<Option<IoStreams>> = spin::Mutex::new(None);
    *INNER.lock() = Some(inner.streams());
    run_with(outer.streams(), || {
        println!("before");
        let child = spawn::new_task_builder(|()| println!("inside"), ()).block().spawn().unwrap();
        let streams = INNER.lock().take().unwrap();
        assert!(app_io::insert_child_streams(child.id, streams).is_some(), "those that it inherited");
        child.unblock().unwrap();
        child.join().unwrap();
        println!("after");
    });
    assert_eq!(outer.take().0, "before\nafter\n");
    assert_eq!(inner.take().0, "inside\n");
}

pub fn dropped() {
    let stdio = Stdio::new();
    let (reader, writer) = (stdio.get_reader(), stdio.get_writer());
    drop(stdio);
    let captured = Captured::new();
    let streams = IoStreams { stdout: Arc::new(writer), ..captured.streams() };
    run_with(streams, || print!("last words"));
    let mut line = String::new();
    assert_eq!(reader.read_line(&mut line), Ok(10));
    // Would wait for ever if the task's streams were still there.
    assert_eq!(reader.read_line(&mut line), Ok(0));
    assert_eq!(line, "last words");
}

pub fn pipe() {
    const LENGTH: usize = 1 << 20;
    let stdio = Stdio::with_capacity(1000);
    let (reader, writer) = (stdio.get_reader(), stdio.get_writer());
    drop(stdio);
    let send = |writer: StdioWriter| {
        let data: Vec<u8> = (0..LENGTH).map(|n| (n % 251) as u8).collect();
        writer.write_all(&data).is_ok()
    };
    let receive = |reader: StdioReader| {
        let mut buffer = [0; 777];
        let mut position = 0;
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return position,
                Ok(count) => {
                    let expected = (position..).map(|n| (n % 251) as u8);
                    assert!(buffer[..count].iter().zip(expected).all(|(got, expected)| *got == expected));
                    position += count;
                }
                Err(error) => panic!("{error}"),
            }
        }
    };
    let sender = spawn::new_task_builder(send, writer).spawn().unwrap();
    let receiver = spawn::new_task_builder(receive, reader).spawn().unwrap();
    match (sender.join().unwrap(), receiver.join().unwrap()) {
        (ExitValue::Completed(sent), ExitValue::Completed(received)) => {
            assert_eq!((sent.downcast_ref(), received.downcast_ref()), (Some(&true), Some(&LENGTH)));
        }
        other => panic!("{other:?}"),
    }
}
