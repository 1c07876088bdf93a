use super::*;
use spin::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Default)]
struct Screen(Mutex<Vec<u8>>);

impl ImmutableWrite for Screen {
    fn write(&self, buffer: &[u8]) -> Result<usize, IoError> {
        // In small pieces, so that `write_all` is put to use.
        let count = buffer.len().min(7);
        self.0.lock().extend(&buffer[..count]);
        Ok(count)
    }
}

struct Bench {
    screen: Arc<Screen>,
    master: Master,
    slave: Slave,
}

impl Bench {
    fn new() -> Self {
        let screen = Arc::new(Screen::default());
        let tty = Tty::new(screen.clone());
        Self { screen, master: tty.master(), slave: tty.slave() }
    }

    fn typed(&self, keys: &[u8]) {
        assert_eq!(self.master.write(keys), Ok(keys.len()));
    }

    fn shown(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.screen.0.lock())).unwrap()
    }

    fn line(&self) -> Option<String> {
        let mut buffer = [0; 200];
        self.slave.try_read(&mut buffer).map(|count| String::from_utf8(buffer[..count].to_vec()).unwrap())
    }
}

#[test]
fn a_line_is_readable_when_it_is_complete() {
    let bench = Bench::new();
    bench.typed(b"one");
    assert_eq!(bench.line(), None);
    bench.typed(b"\rtwo\n");
    assert_eq!(bench.shown(), "one\r\ntwo\r\n");
    assert_eq!(bench.line().unwrap(), "one\n");
    let mut buffer = [0; 2];
    assert_eq!(bench.slave.read(&mut buffer), Ok(2));
    assert_eq!(bench.line().unwrap(), "o\n");
    assert_eq!(bench.line(), None);
}

#[test]
fn lines_can_be_corrected() {
    let bench = Bench::new();
    bench.typed("grüß\x7f\x7fn\r".as_bytes());
    assert_eq!(bench.line().unwrap(), "grn\n");
    assert_eq!(bench.shown(), "grüß\x08 \x08\x08 \x08n\r\n");
    bench.typed(b"one two  \x17three\r");
    assert_eq!(bench.line().unwrap(), "one three\n");
    bench.typed(b"gone\x15\x7f\x08kept\r");
    assert_eq!(bench.line().unwrap(), "kept\n");
    bench.shown();
    bench.typed(b"a\x01\x7f\r");
    assert_eq!(bench.line().unwrap(), "a\n");
    assert_eq!(bench.shown(), "a^A\x08 \x08\x08 \x08\r\n", "a control character takes two columns");
    // Bytes that are no UTF-8 can be erased as well.
    bench.typed(b"\x80\x80\x7f\x7f\r");
    assert_eq!(bench.line().unwrap(), "\n");
}

#[test]
fn ctrl_d_ends_the_input_or_delivers_what_is_there() {
    let bench = Bench::new();
    bench.typed(b"abc\x04");
    assert_eq!(bench.line().unwrap(), "abc");
    assert_eq!(bench.line(), None);
    bench.typed(b"\x04x\r");
    assert_eq!(bench.slave.read_byte(), Ok(None));
    assert_eq!(bench.slave.read_byte(), Ok(Some(b'x')));
    assert_eq!(bench.line().unwrap(), "\n");
    assert_eq!(bench.slave.discipline().take_event(), Some(Event::CtrlD));
    assert_eq!(bench.slave.discipline().take_event(), None);
}

#[test]
fn ctrl_c_reaches_the_handler_and_drops_what_was_typed() {
    let bench = Bench::new();
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let handler: EventHandler = Arc::new(move |event| {
        assert_eq!(event, Event::CtrlC);
        counter.fetch_add(1, Ordering::Relaxed);
    });
    assert!(bench.slave.discipline().set_event_handler(Some(handler)).is_none());
    bench.typed(b"line\rpart\x03next\r");
    assert_eq!(count.load(Ordering::Relaxed), 1);
    assert_eq!(bench.line().unwrap(), "next\n");
    assert_eq!(bench.shown(), "line\r\npart^C\r\nnext\r\n");
    assert!(bench.slave.discipline().set_event_handler(None).is_some());
    for _ in 0..100 {
        bench.typed(b"\x03\x1a");
    }
    assert_eq!(count.load(Ordering::Relaxed), 1);
    assert_eq!(bench.slave.discipline().take_event(), Some(Event::CtrlC));
    assert_eq!(bench.slave.discipline().take_event(), Some(Event::CtrlZ));
    bench.slave.discipline().clear_events();
    assert_eq!(bench.slave.discipline().take_event(), None);
}

#[test]
fn a_handler_may_use_the_terminal() {
    let bench = Bench::new();
    let (slave, discipline) = (bench.slave.clone(), bench.slave.discipline());
    let handler: EventHandler = Arc::new(move |_| {
        slave.discipline().set_raw();
        slave.discipline().set_event_handler(None);
        slave.write_all(b"bye\n").unwrap();
    });
    discipline.set_event_handler(Some(handler));
    bench.typed(b"\x03");
    assert_eq!(bench.shown(), "bye\n^C\r\n");
    assert!(!discipline.canonical());
}

#[test]
fn raw_mode_passes_every_byte() {
    let bench = Bench::new();
    bench.typed(b"begun");
    bench.slave.discipline().set_raw();
    assert_eq!(bench.line().unwrap(), "begun", "what was typed of a line is not lost");
    bench.shown();
    bench.typed(b"\x03\x04\x1b[A\r");
    assert_eq!(bench.shown(), "");
    assert_eq!(bench.line().unwrap(), "\x03\x04\x1b[A\r");
    bench.slave.discipline().set_sane();
    assert!(bench.slave.discipline().echo() && bench.slave.discipline().canonical());
}

#[test]
fn what_was_typed_ahead_is_handled_in_the_new_mode() {
    let bench = Bench::new();
    let discipline = bench.slave.discipline();
    discipline.set_raw();
    bench.typed(b"fitst\x7f\x7f\x7frst\rsec");
    assert_eq!(bench.shown(), "");
    discipline.set_sane();
    bench.typed(b"ond\r");
    assert_eq!(bench.shown(), "fitst\x08 \x08\x08 \x08\x08 \x08rst\r\nsecond\r\n");
    assert_eq!((bench.line().unwrap(), bench.line().unwrap()), ("first\n".into(), "second\n".into()));

    discipline.set_raw();
    bench.typed(b"gone\x03kept");
    discipline.set_sane();
    bench.slave.write_all(b"").unwrap();
    assert_eq!(bench.shown(), "gone^C\r\nkept", "what waits to be shown comes with the next use");
    assert_eq!(discipline.take_event(), Some(Event::CtrlC));
    assert_eq!(discipline.take_event(), None);

    // An end of the input that no program has read must not end the shell that reads next.
    bench.typed(b"\rline\r\x04\x04par");
    discipline.set_raw();
    assert_eq!(bench.line().unwrap(), "kept\nline\npar");
    assert_eq!(bench.line(), None);
    discipline.set_sane();
    bench.typed(&vec![b'x'; INPUT_LIMIT + 1]);
    discipline.set_raw();
    assert_eq!(bench.slave.try_read(&mut vec![0; 2 * INPUT_LIMIT]), Some(INPUT_LIMIT));
}

#[test]
fn output_is_complete_and_cooked_only_if_asked_for() {
    let bench = Bench::new();
    let text: String = (0..5000).map(|n| format!("{n}\n")).collect();
    bench.slave.write_all(text.as_bytes()).unwrap();
    assert_eq!(bench.shown(), text.replace('\n', "\r\n"));
    bench.slave.write_all(&[b'\n'; 1000]).unwrap();
    assert_eq!(bench.shown(), "\r\n".repeat(1000));
    bench.slave.discipline().set_cooked_output(false);
    assert_eq!(bench.slave.write(text.as_bytes()), Ok(text.len()));
    assert_eq!(bench.shown(), text);
}

#[test]
fn too_much_input_rings_the_bell_and_leaves_ctrl_c_working() {
    for raw in [false, true] {
        let bench = Bench::new();
        bench.slave.discipline().set_canonical(!raw);
        bench.typed(&vec![b'x'; INPUT_LIMIT + 5]);
        assert!(bench.shown().ends_with("x\x07\x07\x07\x07\x07"));
        bench.typed(b"\x03");
        assert_eq!(bench.slave.discipline().take_event(), Some(Event::CtrlC));
        assert_eq!(bench.line(), None);
        bench.typed(b"ok\n");
        assert_eq!(bench.line().unwrap(), "ok\n");
    }
}

#[test]
fn readers_wait_for_the_keyboard() {
    let bench = Bench::new();
    let slave = bench.slave.clone();
    let reader = std::thread::spawn(move || {
        let mut all = Vec::<u8>::new();
        let mut buffer = [0; 3];
        loop {
            match slave.read(&mut buffer).unwrap() {
                0 => return all,
                count => all.extend(&buffer[..count]),
            }
        }
    });
    let mut expected = Vec::new();
    for n in 0..500 {
        let line = format!("line {n}\n");
        bench.typed(line.as_bytes());
        expected.extend(line.bytes());
        if n % 50 == 0 {
            std::thread::yield_now();
        }
    }
    bench.typed(b"\x04");
    assert_eq!(reader.join().unwrap(), expected);
}

#[test]
fn empty_lines_and_ends_of_the_input_cannot_fill_the_memory() {
    for key in [b'\r', 0x04] {
        let bench = Bench::new();
        bench.typed(&vec![key; 3 * INPUT_LIMIT]);
        assert!(bench.shown().ends_with('\x07'));
        let mut reads = 0;
        while bench.slave.try_read(&mut [0]).is_some() {
            reads += 1;
        }
        assert_eq!(reads, INPUT_LIMIT);
        bench.typed(b"a\r");
        assert_eq!(bench.line(), Some("a\n".to_string()), "there is room again");
    }
    // The last line that there was room for can be ended.
    let bench = Bench::new();
    bench.typed(&vec![b'x'; INPUT_LIMIT]);
    bench.typed(b"\r\r");
    assert_eq!(bench.slave.try_read(&mut vec![0; 2 * INPUT_LIMIT]), Some(INPUT_LIMIT + 1));
    assert_eq!(bench.line(), None);
}

#[test]
fn input_can_be_waited_for() {
    host_clock::start_ticking(sleep::unblock_sleeping_tasks);
    const LONG: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_millis(3);
    let bench = Bench::new();
    bench.typed(b"half a line");
    assert!(!bench.slave.wait_readable(Some(Duration::ZERO)));
    assert!(!bench.slave.wait_readable(Some(SHORT)));
    for (timeout, keys) in [(None, b"\r".as_slice()), (Some(LONG), b"\x04"), (Some(LONG), b"x\r")] {
        let slave = bench.slave.clone();
        let waiter = std::thread::spawn(move || slave.wait_readable(timeout));
        bench.typed(keys);
        assert!(waiter.join().unwrap());
        assert!(bench.slave.wait_readable(Some(Duration::ZERO)));
        bench.line().unwrap();
        assert!(!bench.slave.wait_readable(Some(SHORT)));
    }
}
