use super::*;
use std::cell::RefCell;
use std::sync::Mutex;

/// A screen of one row, which understands just what the editor sends.
#[derive(Default)]
struct Row {
    cells: Vec<char>,
    cursor: usize,
    bells: usize,
    /// Rows that were left behind.
    above: Vec<String>,
}

impl Row {
    fn show(&mut self, bytes: &[u8], columns: usize) {
        let text = std::str::from_utf8(bytes).expect("the screen gets whole characters");
        let mut chars = text.chars();
        while let Some(character) = chars.next() {
            match character {
                '\r' => self.cursor = 0,
                '\n' => {
                    self.above.push(self.text());
                    self.cells.clear();
                }
                '\x07' => self.bells += 1,
                '\x1b' => {
                    assert_eq!(chars.next(), Some('['));
                    let digits: String = chars.clone().take_while(char::is_ascii_digit).collect();
                    let mut rest = chars.as_str()[digits.len()..].chars();
                    let number: usize = digits.parse().unwrap_or(0);
                    match rest.next() {
                        Some('K') => self.cells.truncate(self.cursor),
                        Some('D') => self.cursor -= number,
                        Some('H') => self.cursor = 0,
                        Some('J') => {
                            self.cells.clear();
                            self.above.clear();
                        }
                        other => panic!("unknown sequence {other:?}"),
                    }
                    chars = rest;
                }
                character => {
                    // A wide character fills two cells.
                    for part in 0..width::of_char(character) {
                        let cell = if part == 0 { character } else { '\0' };
                        if self.cursor < self.cells.len() {
                            self.cells[self.cursor] = cell;
                        } else {
                            self.cells.push(cell);
                        }
                        self.cursor += 1;
                    }
                    assert!(self.cursor < columns, "the last column must stay free");
                }
            }
        }
    }

    fn text(&self) -> String {
        self.cells.iter().filter(|cell| **cell != '\0').collect()
    }
}

struct Bench {
    editor: LineEditor,
    row: Row,
}

impl Bench {
    fn new() -> Self {
        Self { editor: LineEditor::new(), row: Row::default() }
    }

    /// Types keys into a new line; returns how it ended, what is shown, and where the cursor is.
    fn type_line(&mut self, keys: &str, words: &[&str]) -> (Option<Outcome>, String, usize) {
        let mut session = Session::new("> ", self.editor.columns);
        let mut screen = Vec::new();
        session.redraw(&mut screen);
        self.row.show(&screen, self.editor.columns);
        let mut complete = |before: &str| {
            let start = before.rfind(' ').map_or(0, |space| space + 1);
            let matching = words.iter().filter(|word| word.starts_with(&before[start..]));
            let candidates = matching
                .map(|word| Candidate {
                    replacement: word.to_string(),
                    suffix: " ",
                    display: word.to_string(),
                })
                .collect();
            Completion { start, candidates }
        };
        let mut outcome = None;
        for byte in keys.bytes() {
            assert_eq!(outcome, None, "keys after the end of the line");
            let mut screen = Vec::new();
            outcome = self.editor.feed(&mut session, byte, &mut screen, &mut complete);
            self.row.show(&screen, self.editor.columns);
        }
        (outcome, self.row.text(), self.row.cursor)
    }

    fn edit(&mut self, keys: &str) -> (String, usize) {
        let (outcome, text, cursor) = self.type_line(keys, &[]);
        assert_eq!(outcome, None);
        self.row = Row::default();
        (text, cursor)
    }
}

fn line(text: &str) -> Option<Outcome> {
    Some(Outcome::Line(text.to_string()))
}

#[test]
fn typing_and_moving() {
    let mut bench = Bench::new();
    assert_eq!(bench.edit("hello"), ("> hello".into(), 7));
    assert_eq!(bench.edit("hllo\x1b[D\x1b[D\x1b[De"), ("> hello".into(), 4));
    assert_eq!(bench.edit("one two\x01x\x05y"), ("> xone twoy".into(), 11));
    assert_eq!(bench.edit("one two\x1b[H\x1b[F\x02\x02\x06-"), ("> one tw-o".into(), 9));
    assert_eq!(bench.edit("one two  three\x1bb\x1bbX"), ("> one Xtwo  three".into(), 7));
    assert_eq!(bench.edit("one two\x01\x1bf\x1bfX"), ("> one twoX".into(), 10));
    assert_eq!(bench.edit("\x1b[D\x1b[D\x1b[Cx"), ("> x".into(), 3));
}

#[test]
fn deleting_and_yanking() {
    let mut bench = Bench::new();
    assert_eq!(bench.edit("hexllo\x1b[D\x1b[D\x1b[D\x7f"), ("> hello".into(), 4));
    assert_eq!(bench.edit("hexllo\x01\x06\x06\x1b[3~"), ("> hello".into(), 4));
    assert_eq!(bench.edit("hexllo\x01\x06\x06\x04"), ("> hello".into(), 4));
    assert_eq!(bench.edit("\x7f\x7f\x1b[3~ok"), ("> ok".into(), 4));
    assert_eq!(bench.edit("one two  \x17"), ("> one ".into(), 6));
    assert_eq!(bench.edit("one two\x17\x17\x17"), ("> ".into(), 2));
    assert_eq!(bench.edit("one two\x01\x1bd"), (">  two".into(), 2));
    assert_eq!(bench.edit("one two\x1bb\x15"), ("> two".into(), 2));
    assert_eq!(bench.edit("one two\x1bb\x0b"), ("> one ".into(), 6));
    assert_eq!(bench.edit("one two\x17\x01\x19 \x05\x0b\x19"), ("> two one two".into(), 13));
    assert_eq!(bench.edit("ab\x14"), ("> ba".into(), 4));
    assert_eq!(bench.edit("äöü\x01\x06\x14"), ("> öäü".into(), 4));
    assert_eq!(bench.edit("a\x14\x01\x14"), ("> a".into(), 3));
}

#[test]
fn characters_of_all_widths() {
    let mut bench = Bench::new();
    assert_eq!(bench.edit("größe\x1b[D\x7f\x7fx"), ("> grxe".into(), 5));
    assert_eq!(bench.edit("日本語\x1b[D\x1b[D"), ("> 日本語".into(), 4));
    assert_eq!(bench.edit("日本語\x1b[D\x7f"), ("> 日語".into(), 4));
    assert_eq!(bench.edit("a\u{1F600}b\x1b[D\x7f"), ("> ab".into(), 3));
}

#[test]
fn lines_end_in_three_ways() {
    let mut bench = Bench::new();
    assert_eq!(bench.type_line("ls -l\x01\r", &[]).0, line("ls -l"));
    assert_eq!(bench.row.above, ["> ls -l"], "the whole line is left on the screen");
    assert!(bench.type_line("\nx\n", &[]).0.is_some());
}

#[test]
fn a_return_with_a_line_feed_is_one_end() {
    let mut bench = Bench::new();
    assert_eq!(bench.type_line("a\r", &[]).0, line("a"));
    assert_eq!(bench.type_line("\nb\r", &[]).0, line("b"));
    assert_eq!(bench.type_line("\n\n", &[]).0, line(""));
}

#[test]
fn ctrl_c_and_ctrl_d() {
    let mut bench = Bench::new();
    assert_eq!(bench.type_line("rm -r /\x03", &[]).0, Some(Outcome::Interrupted));
    assert_eq!(bench.row.above, ["> rm -r /^C"]);
    assert_eq!(bench.type_line("\x04", &[]).0, Some(Outcome::EndOfInput));
    assert_eq!(bench.type_line("x\x04\x01\x04\x04", &[]).0, Some(Outcome::EndOfInput));
    assert!(bench.editor.history().is_empty());
}

#[test]
fn history_is_walked_in_both_directions() {
    let mut bench = Bench::new();
    for text in ["one\r", "two\r", "two\r", " secret\r", "   \r", "three\r"] {
        bench.type_line(text, &[]);
    }
    assert_eq!(bench.editor.history().iter().collect::<Vec<_>>(), ["one", "two", "three"]);
    bench.row = Row::default();
    assert_eq!(bench.edit("\x1b[A\x1b[A"), ("> two".into(), 5));
    assert_eq!(bench.edit("draft\x10\x10\x10\x10\x10"), ("> one".into(), 5));
    assert_eq!(bench.edit("draft\x1b[A\x1b[A\x1b[B\x1b[B\x1b[B"), ("> draft".into(), 7));
    assert_eq!(bench.edit("\x1b[A!\x1b[A\x1b[B"), ("> three".into(), 7));
    assert_eq!(bench.type_line("\x1b[A\x1b[A!\r", &[]).0, line("two!"));
    assert_eq!(bench.editor.history().get(3), Some("two!"));
    for n in 0..1000 {
        bench.editor.history.add(&n.to_string());
    }
    assert_eq!(bench.editor.history().len(), 500);
    assert_eq!(bench.editor.history().get(0), Some("500"));
}

#[test]
fn completion_completes_then_lists() {
    let words = ["shutdown", "shell", "ls", "wasm_run"];
    let mut bench = Bench::new();
    assert_eq!(bench.type_line("was\t\r", &words).0, line("wasm_run "));
    assert_eq!(bench.type_line("s\t\r", &words).0, line("sh"));
    assert_eq!(bench.type_line("ls l\tx\r", &words).0, line("ls ls x"));
    assert_eq!(bench.type_line("ls w y\x1b[D\x1b[D\t\r", &words).0, line("ls wasm_run  y"));
    bench.row = Row::default();
    let (_, shown, _) = bench.type_line("q\t\t", &words);
    assert_eq!((shown.as_str(), bench.row.bells), ("> q", 2));
    bench.row = Row::default();
    let (_, shown, cursor) = bench.type_line("sh\t\t", &words);
    assert_eq!((shown.as_str(), cursor, bench.row.bells), ("> sh", 4, 1));
    assert_eq!(bench.row.above, ["> sh", "shutdown  shell     "]);
}

#[test]
fn a_line_wider_than_the_screen_is_shown_around_the_cursor() {
    let mut bench = Bench::new();
    bench.editor.set_columns(20);
    let digits = "0123456789".repeat(10);
    let (shown, cursor) = bench.edit(&digits);
    assert_eq!((shown.as_str(), cursor), ("> 34567890123456789", 19));
    let (shown, cursor) = bench.edit(&format!("{digits}\x01"));
    assert_eq!((shown.as_str(), cursor), ("> 01234567890123456", 2));
    let (outcome, ..) = bench.type_line(&format!("{digits}\x01\x06\x06\x06X\r"), &[]);
    assert_eq!(outcome, line(&format!("012X{}", &digits[3..])));
    let (shown, _) = bench.edit(&"日".repeat(30));
    assert_eq!(width::of_str(&shown), 18, "a wide character that doesn't fit is left out");
}

#[test]
fn clearing_the_screen_keeps_the_line() {
    let mut bench = Bench::new();
    bench.row.above.push("old".into());
    let (_, shown, cursor) = bench.type_line("abc\x0c", &[]);
    assert_eq!((shown.as_str(), cursor), ("> abc", 5));
    assert!(bench.row.above.is_empty());
}

/// Random keys neither panic nor let line and screen differ.
#[test]
fn random_keys() {
    let keys = [
        "a", "b", " ", "é", "日", "\x01", "\x05", "\x02", "\x06", "\x08", "\x0b", "\x15", "\x17", "\x19",
        "\x14", "\x1b[A", "\x1b[B", "\x1b[3~", "\x1bb", "\x1bf", "\x1bd", "\t",
    ];
    let mut state = 88_172_645_463_325_252u64;
    for _ in 0..400 {
        let mut bench = Bench::new();
        for text in ["first line", "日本語 größe"] {
            bench.editor.history.add(text);
        }
        let mut typed = String::new();
        for _ in 0..40 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            typed.push_str(keys[(state % keys.len() as u64) as usize]);
        }
        let words = ["abba", "abb", "日本"];
        let (_, shown, _) = bench.type_line(&typed, &words);
        typed.push('\r');
        let mut again = Bench::new();
        for text in ["first line", "日本語 größe"] {
            again.editor.history.add(text);
        }
        let (outcome, ..) = again.type_line(&typed, &words);
        let Some(Outcome::Line(text)) = outcome else { panic!("no line") };
        if width::of_str(&text) < 70 {
            assert_eq!(shown, format!("> {text}"), "{typed:?}");
        }
    }
}

#[test]
fn read_line_uses_the_streams() {
    struct Keys(Mutex<RefCell<Vec<u8>>>);
    impl ImmutableRead for Keys {
        fn read(&self, buffer: &mut [u8]) -> Result<usize, IoError> {
            let keys = self.0.lock().unwrap();
            let mut keys = keys.borrow_mut();
            let count = keys.len().min(buffer.len());
            buffer[..count].copy_from_slice(&keys.drain(..count).collect::<Vec<_>>());
            Ok(count)
        }
    }
    #[derive(Default)]
    struct Out(Mutex<Vec<u8>>);
    impl ImmutableWrite for Out {
        fn write(&self, buffer: &[u8]) -> Result<usize, IoError> {
            self.0.lock().unwrap().extend(buffer);
            Ok(buffer.len())
        }
    }
    let keys = Keys(Mutex::new(RefCell::new(b"one\rtwo\rthr".to_vec())));
    let out = Out::default();
    let mut editor = LineEditor::new();
    let mut read = || editor.read_line("$ ", &keys, &out, &mut |_| Completion::default()).unwrap();
    assert_eq!(read(), Outcome::Line("one".into()));
    assert_eq!(read(), Outcome::Line("two".into()));
    assert_eq!(read(), Outcome::EndOfInput);
    assert!(out.0.lock().unwrap().starts_with(b"\r$ "));
}
