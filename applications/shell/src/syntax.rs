//! The shell's language: from a line to commands, and from words to arguments.
//!
//! ```text
//! line       = [ pipeline { ( ";" | "&&" | "||" ) pipeline } [ ";" ] ] [ "#" comment ]
//! pipeline   = command { "|" command }
//! command    = { NAME "=" word } { word }          (at least one of either, or of redirections, which may stand anywhere among them)
//! redirection = [ "0" ] "<" word | [ "1" | "2" ] ( ">" | ">>" ) word | [ "1" | "2" ] ">" ( "&1" | "&2" )
//! word       = { characters | '…' | "…" | \c | $NAME | ${NAME} | $? }
//! ```
//! Between `'` nothing is special; between `"` only `$`, and `\` before `$`, `"` and `\`. A variable outside of quotes is split
//! at spaces, and vanishes if it is empty.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::iter::Peekable;
use core::str::Chars;

/// When a pipeline is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Whatever happened before.
    Always,
    /// If the command before succeeded (`&&`).
    Success,
    /// If the command before failed (`||`).
    Failure,
}

/// Commands that run at the same time, each of which reads what the one before writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    /// When it is run.
    pub when: When,
    /// At least one.
    pub commands: Vec<Command>,
}

/// One command of a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Command {
    /// Variables that are set for it, or for the shell if there are no words.
    pub assignments: Vec<(String, Word)>,
    /// The command's name and its arguments.
    pub words: Vec<Word>,
    /// Where its streams lead instead, in the order in which they were written.
    pub redirections: Vec<Redirection>,
}

impl Command {
    fn is_empty(&self) -> bool {
        self.words.is_empty() && self.assignments.is_empty() && self.redirections.is_empty()
    }
}

/// A standard stream of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard input, 0.
    Input,
    /// Standard output, 1.
    Output,
    /// Standard error, 2.
    Error,
}

/// A stream that leads somewhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirection {
    /// Which one.
    pub stream: Stream,
    /// Where it leads.
    pub target: Target,
}

/// Where a redirected stream leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// To a file, which is read (`<`), or created or emptied, and then written (`>`).
    File(Word),
    /// To the end of a file, which is created if it is not there (`>>`).
    EndOfFile(Word),
    /// To where another stream leads (`>&1`, `>&2`).
    Same(Stream),
}

/// A word as it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Word {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Characters that stand for themselves. Quoted ones make a word even if there are none.
    Text(String),
    /// A variable's value; not split if it was quoted. `?` is the status of the command before.
    Variable { name: String, quoted: bool },
}

/// Why a line could not be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyntaxError {
    /// A quotation mark without a second one.
    Unclosed(char),
    /// A `\` at the end of the line.
    LoneBackslash,
    /// `&&`, `||`, `|` or `;` without a command on one side.
    MissingCommand(&'static str),
    /// `<`, `>` or `>>` without the name of a file after it.
    MissingFile(&'static str),
    /// `${` that isn't followed by a name and `}`.
    BadVariable,
    /// Something other shells know, and this one does not.
    Unsupported(char),
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SyntaxError::Unclosed(mark) => write!(f, "missing closing {mark}"),
            SyntaxError::LoneBackslash => {
                write!(f, "nothing follows the last \\ (write \\\\ for a backslash)")
            }
            SyntaxError::MissingCommand(operator) => write!(f, "missing command at '{operator}'"),
            SyntaxError::MissingFile(operator) => write!(f, "missing file name after '{operator}'"),
            SyntaxError::BadVariable => write!(f, "bad variable: write ${{NAME}}"),
            SyntaxError::Unsupported(character) => {
                write!(f, "'{character}' is not supported here (write '\\{character}' for the character)")
            }
        }
    }
}

/// Takes a line apart.
///
/// # Errors
/// If the line breaks the rules above. None of it should be run then.
pub fn parse(line: &str) -> Result<Vec<Pipeline>, SyntaxError> {
    Parser { characters: line.chars().peekable() }.line()
}

struct Parser<'a> {
    characters: Peekable<Chars<'a>>,
}

impl Parser<'_> {
    fn line(&mut self) -> Result<Vec<Pipeline>, SyntaxError> {
        let mut pipelines = Vec::new();
        let mut pipeline = Pipeline { when: When::Always, commands: Vec::new() };
        // What is in front of the command, if it may not be missing.
        let mut before = None;
        loop {
            let command = self.command()?;
            let next = self.operator()?;
            if command.is_empty() {
                return match next.map(|next| next.1).or(before) {
                    Some(operator) => Err(SyntaxError::MissingCommand(operator)),
                    None => Ok(pipelines),
                };
            }
            pipeline.commands.push(command);
            match next {
                Some((None, operator)) => before = Some(operator),
                Some((Some(when), operator)) => {
                    before = (when != When::Always).then_some(operator);
                    pipelines
                        .push(core::mem::replace(&mut pipeline, Pipeline { when, commands: Vec::new() }));
                }
                None => {
                    pipelines.push(pipeline);
                    return Ok(pipelines);
                }
            }
        }
    }

    /// Reads an operator, or finds the end of the line. After `|` the pipeline goes on: there is no `When`.
    fn operator(&mut self) -> Result<Option<(Option<When>, &'static str)>, SyntaxError> {
        let Some(first) = self.characters.next() else { return Ok(None) };
        match (first, self.characters.peek()) {
            ('&', Some('&')) => {
                self.characters.next();
                Ok(Some((Some(When::Success), "&&")))
            }
            ('|', Some('|')) => {
                self.characters.next();
                Ok(Some((Some(When::Failure), "||")))
            }
            ('|', _) => Ok(Some((None, "|"))),
            (';' | '\n', _) => Ok(Some((Some(When::Always), ";"))),
            ('#', _) => {
                self.characters = "".chars().peekable();
                Ok(None)
            }
            (other, _) => Err(SyntaxError::Unsupported(other)),
        }
    }

    fn skip_spaces(&mut self) {
        while self.characters.next_if(|c| matches!(c, ' ' | '\t' | '\r')).is_some() {}
    }

    /// Reads words and redirections up to an operator, a comment or the end.
    fn command(&mut self) -> Result<Command, SyntaxError> {
        let mut command = Command::default();
        loop {
            self.skip_spaces();
            if let Some(redirection) = self.redirection()? {
                command.redirections.push(redirection);
                continue;
            }
            match self.characters.peek() {
                None | Some(';' | '\n' | '&' | '|' | '(' | ')' | '`' | '#') => {
                    return Ok(command);
                }
                Some(_) => {}
            }
            let word = self.word()?;
            match word.as_assignment().filter(|_| command.words.is_empty()) {
                Some(assignment) => command.assignments.push(assignment),
                None => command.words.push(word),
            }
        }
    }

    /// Reads a redirection, if there is one.
    fn redirection(&mut self) -> Result<Option<Redirection>, SyntaxError> {
        let mut ahead = self.characters.clone();
        let number = ahead.next_if(|c| matches!(c, '0' | '1' | '2'));
        let Some(operator) = ahead.next_if(|c| matches!(c, '<' | '>')) else { return Ok(None) };
        self.characters = ahead;
        let stream = match (number, operator) {
            (None | Some('0'), '<') => Stream::Input,
            (None | Some('1'), '>') => Stream::Output,
            (Some('2'), '>') => Stream::Error,
            (Some(number), _) => return Err(SyntaxError::Unsupported(number)),
            (None, other) => return Err(SyntaxError::Unsupported(other)),
        };
        let appends = operator == '>' && self.characters.next_if_eq(&'>').is_some();
        if operator == '>' && !appends && self.characters.next_if_eq(&'&').is_some() {
            let target = match self.characters.next() {
                Some('1') => Stream::Output,
                Some('2') => Stream::Error,
                _ => return Err(SyntaxError::Unsupported('&')),
            };
            return Ok(Some(Redirection { stream, target: Target::Same(target) }));
        }
        if let Some(other @ ('<' | '>')) = self.characters.peek() {
            return Err(SyntaxError::Unsupported(*other));
        }
        self.skip_spaces();
        let word = match self.characters.peek() {
            Some('#') => Word::default(),
            _ => self.word()?,
        };
        if word == Word::default() {
            return Err(SyntaxError::MissingFile(match (operator, appends) {
                ('<', _) => "<",
                (_, false) => ">",
                (_, true) => ">>",
            }));
        }
        let target = if appends { Target::EndOfFile(word) } else { Target::File(word) };
        Ok(Some(Redirection { stream, target }))
    }

    fn word(&mut self) -> Result<Word, SyntaxError> {
        let mut word = Word::default();
        while let Some(&character) = self.characters.peek() {
            match character {
                ' ' | '\t' | '\r' | '\n' | ';' | '&' | '|' | '<' | '>' => break,
                '(' | ')' | '`' => return Err(SyntaxError::Unsupported(character)),
                _ => {}
            }
            self.characters.next();
            match character {
                '\'' => {
                    word.text("");
                    loop {
                        match self.characters.next().ok_or(SyntaxError::Unclosed('\''))? {
                            '\'' => break,
                            inside => word.push(inside),
                        }
                    }
                }
                '"' => self.double_quoted(&mut word)?,
                '\\' => word.push(self.characters.next().ok_or(SyntaxError::LoneBackslash)?),
                '$' => self.variable(&mut word, false)?,
                other => word.push(other),
            }
        }
        Ok(word)
    }

    fn double_quoted(&mut self, word: &mut Word) -> Result<(), SyntaxError> {
        word.text("");
        loop {
            match self.characters.next().ok_or(SyntaxError::Unclosed('"'))? {
                '"' => return Ok(()),
                '$' => self.variable(word, true)?,
                '`' => return Err(SyntaxError::Unsupported('`')),
                '\\' => match self.characters.next_if(|c| matches!(c, '$' | '"' | '\\' | '`')) {
                    Some(escaped) => word.push(escaped),
                    None => word.push('\\'),
                },
                other => word.push(other),
            }
        }
    }

    /// Reads what follows a `$`, which stands for itself if that is no name.
    fn variable(&mut self, word: &mut Word, quoted: bool) -> Result<(), SyntaxError> {
        let braced = self.characters.next_if_eq(&'{').is_some();
        let mut name = String::new();
        if self.characters.next_if_eq(&'?').is_some() {
            name.push('?');
        } else {
            while let Some(character) = self.characters.next_if(|c| is_name_character(*c, name.is_empty())) {
                name.push(character);
            }
        }
        if braced && (name.is_empty() || self.characters.next() != Some('}')) {
            return Err(SyntaxError::BadVariable);
        }
        if name.is_empty() {
            if self.characters.peek() == Some(&'(') {
                return Err(SyntaxError::Unsupported('('));
            }
            word.push('$');
        } else {
            word.parts.push(Part::Variable { name, quoted });
        }
        Ok(())
    }
}

fn is_name_character(character: char, first: bool) -> bool {
    character == '_' || character.is_ascii_alphabetic() || (!first && character.is_ascii_digit())
}

/// Whether a variable may have this name.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().enumerate().all(|(index, c)| is_name_character(c, index == 0))
}

impl Word {
    fn text(&mut self, text: &str) {
        match self.parts.last_mut() {
            Some(Part::Text(last)) => last.push_str(text),
            _ => self.parts.push(Part::Text(text.to_string())),
        }
    }

    fn push(&mut self, character: char) {
        let mut bytes = [0; 4];
        self.text(character.encode_utf8(&mut bytes));
    }

    /// The name and the value, if this is an assignment. (A quoted `=` counts too; in a command's name it would be of no use.)
    fn as_assignment(&self) -> Option<(String, Word)> {
        let Some(Part::Text(first)) = self.parts.first() else { return None };
        let (name, rest) = first.split_once('=')?;
        if !is_name(name) {
            return None;
        }
        let mut value = Word::default();
        value.text(rest);
        value.parts.extend(self.parts[1..].iter().cloned());
        Some((name.to_string(), value))
    }

    /// The arguments that the word stands for: usually one, but a variable outside of quotes may make it none or several.
    pub fn expand(&self, value_of: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
        let mut done = Vec::new();
        // The argument that is being put together, if there is one.
        let mut current: Option<String> = None;
        for part in &self.parts {
            match part {
                Part::Text(text) => current.get_or_insert_default().push_str(text),
                Part::Variable { name, quoted: true } => {
                    current.get_or_insert_default().push_str(&value_of(name).unwrap_or_default());
                }
                Part::Variable { name, quoted: false } => {
                    let value = value_of(name).unwrap_or_default();
                    if value.starts_with(char::is_whitespace) {
                        done.extend(current.take());
                    }
                    for (index, field) in value.split_whitespace().enumerate() {
                        if index > 0 {
                            done.extend(current.take());
                        }
                        current.get_or_insert_default().push_str(field);
                    }
                    if value.ends_with(char::is_whitespace) {
                        done.extend(current.take());
                    }
                }
            }
        }
        done.extend(current);
        done
    }

    /// The word as a single value, without splitting.
    pub fn expand_whole(&self, value_of: &dyn Fn(&str) -> Option<String>) -> String {
        let mut result = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => result.push_str(text),
                Part::Variable { name, .. } => result.push_str(&value_of(name).unwrap_or_default()),
            }
        }
        result
    }
}

/// Characters that a word has to be quoted for.
const SPECIAL: &str = " \t\r\n'\"\\$;&|<>()`#";

/// The word, written so that the shell reads it as it is.
pub fn quote(word: &str) -> String {
    let mut result = String::new();
    for character in word.chars() {
        if SPECIAL.contains(character) {
            result.push('\\');
        }
        result.push(character);
    }
    result
}

/// What completion needs to know of a line that is still being written: where its last word begins, in bytes, what the word
/// is without quotes, and whether it is a command's name.
#[derive(Debug, PartialEq, Eq)]
pub struct LastWord {
    /// Where it begins, in bytes from the start of the line.
    pub start: usize,
    /// The word without quotes.
    pub text: String,
    /// Whether it is in the place of a command's name.
    pub is_command: bool,
}

/// Finds the word that a line ends in.
pub fn last_word(line: &str) -> LastWord {
    let mut word = LastWord { start: line.len(), text: String::new(), is_command: true };
    let mut in_word = false;
    let mut quote = None;
    let mut characters = line.char_indices().peekable();
    while let Some((index, character)) = characters.next() {
        if quote.is_none() && matches!(character, ' ' | '\t' | ';' | '&' | '|' | '<' | '>') {
            if in_word {
                // An assignment in front leaves the next word in the command's place.
                let assignment = word.text.split_once('=').is_some_and(|(name, _)| is_name(name));
                word.is_command = word.is_command && assignment;
                in_word = false;
            }
            match character {
                ' ' | '\t' => {}
                '<' | '>' => word.is_command = false,
                _ => word.is_command = true,
            }
            continue;
        }
        if !in_word {
            (word.start, in_word) = (index, true);
            word.text.clear();
        }
        match (character, quote) {
            ('\'' | '"', None) => quote = Some(character),
            (mark, Some(open)) if mark == open => quote = None,
            ('\\', None | Some('"')) => word.text.extend(characters.next().map(|(_, escaped)| escaped)),
            (other, _) => word.text.push(other),
        }
    }
    if !in_word {
        word.start = line.len();
        word.text.clear();
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line as it would be run, with the variables `A=1`, `TWO="x  y"`, `EMPTY=` and status 7.
    fn run(line: &str) -> Result<Vec<(When, Vec<String>)>, SyntaxError> {
        let pipelines = run_pipelines(line)?;
        assert!(pipelines.iter().all(|(_, commands)| commands.len() == 1), "{line:?}");
        Ok(pipelines
            .into_iter()
            .flat_map(|(when, commands)| Some((when, commands.into_iter().next()?)))
            .collect())
    }

    /// The words of the commands of a pipeline.
    type Commands = Vec<Vec<String>>;

    /// The same with the commands of pipelines.
    fn run_pipelines(line: &str) -> Result<Vec<(When, Commands)>, SyntaxError> {
        let value_of = |name: &str| match name {
            "A" => Some("1".to_string()),
            "TWO" => Some(" x  y".to_string()),
            "EMPTY" => Some(String::new()),
            "?" => Some("7".to_string()),
            _ => None,
        };
        let command = |command: &Command| {
            let set = command.assignments.iter().map(|(n, v)| format!("{n}:={}", v.expand_whole(&value_of)));
            let words = command.words.iter().flat_map(|word| word.expand(&value_of));
            let streams = command.redirections.iter().map(|redirection| match &redirection.target {
                Target::File(word) => format!("{:?}={}", redirection.stream, word.expand_whole(&value_of)),
                Target::EndOfFile(word) => {
                    format!("{:?}+={}", redirection.stream, word.expand_whole(&value_of))
                }
                Target::Same(other) => format!("{:?}=&{other:?}", redirection.stream),
            });
            set.chain(words).chain(streams).collect()
        };
        Ok(parse(line)?
            .iter()
            .map(|pipeline| (pipeline.when, pipeline.commands.iter().map(command).collect()))
            .collect())
    }

    fn words(line: &str) -> Vec<String> {
        let commands = run(line).unwrap();
        assert_eq!(commands.len(), 1, "{line:?}");
        commands.into_iter().next().unwrap().1
    }

    #[test]
    fn quoting() {
        assert_eq!(words(r"echo a 'b c' d"), ["echo", "a", "b c", "d"]);
        assert_eq!(words(r#"echo "a 'b' c" 'd "e" f'"#), ["echo", "a 'b' c", "d \"e\" f"]);
        assert_eq!(words(r"echo a\ b \'c \\ \;"), ["echo", "a b", "'c", "\\", ";"]);
        assert_eq!(words(r#"echo "\$A \"x\" \\ \n" '\$A'"#), ["echo", "$A \"x\" \\ \\n", "\\$A"]);
        assert_eq!(words(r#"echo '' "" x''y"#), ["echo", "", "", "xy"]);
        assert_eq!(words(r#"e'ch'"o" a"b"'c'\d"#), ["echo", "abcd"]);
        assert_eq!(words("  echo\t größe  \r"), ["echo", "größe"]);
    }

    #[test]
    fn variables() {
        assert_eq!(words("echo $A ${A}b $A$A \"$A\" '$A'"), ["echo", "1", "1b", "11", "1", "$A"]);
        assert_eq!(words("echo $? \"<$?>\" ${?}"), ["echo", "7", "<7>", "7"]);
        assert_eq!(words("echo $NONE $EMPTY \"$EMPTY\" a$NONE"), ["echo", "", "a"]);
        assert_eq!(words("echo a${TWO}b \"$TWO\""), ["echo", "a", "x", "yb", " x  y"]);
        assert_eq!(words("echo $ $1 $- a$"), ["echo", "$", "$1", "$-", "a$"]);
        assert_eq!(words("$NONE echo"), ["echo"]);
        assert!(run("echo ${A").is_err() && run("echo ${}").is_err() && run("echo ${A-x}").is_err());
    }

    #[test]
    fn operators_and_comments() {
        use When::*;
        let command =
            |when, words: &[&str]| (when, words.iter().map(|word| word.to_string()).collect::<Vec<_>>());
        assert_eq!(
            run("a;b&&c||d x ; e;").unwrap(),
            [
                command(Always, &["a"]),
                command(Always, &["b"]),
                command(Success, &["c"]),
                command(Failure, &["d", "x"]),
                command(Always, &["e"])
            ]
        );
        assert_eq!(run("a # b ; c").unwrap(), [command(Always, &["a"])]);
        assert_eq!(run("a b#c '#' \\#").unwrap(), [command(Always, &["a", "b#c", "#", "#"])]);
        assert_eq!(run("a;#b").unwrap(), [command(Always, &["a"])]);
        assert_eq!(run("a\nb").unwrap(), [command(Always, &["a"]), command(Always, &["b"])]);
        for nothing in ["", "   ", "# x", "\t#"] {
            assert_eq!(run(nothing).unwrap(), [], "{nothing:?}");
        }
    }

    #[test]
    fn pipelines() {
        use When::*;
        let pipeline = |when, commands: &[&[&str]]| {
            (when, commands.iter().map(|words| words.iter().map(|word| word.to_string()).collect()).collect())
        };
        assert_eq!(
            run_pipelines("a x|b | X=1 c && d || e|f;").unwrap(),
            [
                pipeline(Always, &[&["a", "x"], &["b"], &["X:=1", "c"]]),
                pipeline(Success, &[&["d"]]),
                pipeline(Failure, &[&["e"], &["f"]]),
            ]
        );
        assert_eq!(words("echo 'a|b' c\\|d \"|\""), ["echo", "a|b", "c|d", "|"]);
    }

    #[test]
    fn redirections() {
        assert_eq!(words("a <in >out 2>err"), ["a", "Input=in", "Output=out", "Error=err"]);
        assert_eq!(words("a x>b"), ["a", "x", "Output=b"]);
        assert_eq!(words("> f a b >>'g h'c d"), ["a", "b", "d", "Output=f", "Output+=g hc"]);
        assert_eq!(words("a 1> $A 0<\"$TWO\" 2>>x"), ["a", "Output=1", "Input= x  y", "Error+=x"]);
        assert_eq!(words("a >f 2>&1 >&2"), ["a", "Output=f", "Error=&Output", "Output=&Error"]);
        assert_eq!(words("> f"), ["Output=f"]);
        assert_eq!(words("X=1 < f"), ["X:=1", "Input=f"]);
        // Numbers name a stream only right in front of the operator, and on their own.
        assert_eq!(words("a 2 >f"), ["a", "2", "Output=f"]);
        assert_eq!(words("a 12>f"), ["a", "12", "Output=f"]);
        assert_eq!(words("a '2'>f"), ["a", "2", "Output=f"]);
        assert_eq!(words("a 3>f"), ["a", "3", "Output=f"]);
        assert_eq!(words("echo '>' \\< \">>\""), ["echo", ">", "<", ">>"]);
    }

    #[test]
    fn assignments() {
        assert_eq!(words("X=1 Y='a b' cmd Z=2"), ["X:=1", "Y:=a b", "cmd", "Z=2"]);
        assert_eq!(words("X="), ["X:="]);
        assert_eq!(words("X=$TWO"), ["X:= x  y"]);
        assert_eq!(words("1X=2 a=b=c"), ["1X=2", "a=b=c"]);
        assert_eq!(words("PATH=a=b"), ["PATH:=a=b"]);
    }

    #[test]
    fn mistakes_are_named() {
        use SyntaxError::*;
        for (line, error) in [
            ("echo 'a", Unclosed('\'')),
            ("echo \"a'", Unclosed('"')),
            ("echo a\\", LoneBackslash),
            ("&& a", MissingCommand("&&")),
            ("a &&", MissingCommand("&&")),
            ("a || # b", MissingCommand("||")),
            ("a ;; b", MissingCommand(";")),
            ("; a", MissingCommand(";")),
            ("a && || b", MissingCommand("||")),
            ("| a", MissingCommand("|")),
            ("a |", MissingCommand("|")),
            ("a | | b", MissingCommand("|")),
            ("a | && b", MissingCommand("&&")),
            ("a | ; b", MissingCommand(";")),
            ("a |& b", Unsupported('&')),
            ("a & b", Unsupported('&')),
            ("a >", MissingFile(">")),
            ("a >> # b", MissingFile(">>")),
            ("a < | b", MissingFile("<")),
            ("a >| b", MissingFile(">")),
            ("a << b", Unsupported('<')),
            ("a <> b", Unsupported('>')),
            ("a >>> b", Unsupported('>')),
            ("a >& b", Unsupported('&')),
            ("a >>&1", MissingFile(">>")),
            ("a &> b", Unsupported('&')),
            ("a 0> b", Unsupported('0')),
            ("a 2< b", Unsupported('2')),
            ("(a)", Unsupported('(')),
            ("echo $(a)", Unsupported('(')),
            ("echo `a`", Unsupported('`')),
            ("echo \"`a`\"", Unsupported('`')),
        ] {
            assert_eq!(parse(line), Err(error), "{line:?}");
        }
    }

    #[test]
    fn quoted_words_are_read_as_they_are() {
        for word in ["plain", "a b", "it's", "\"x\"", "$A", "a;b&&c", "größe", "#x", "back\\slash"] {
            assert_eq!(words(&format!("echo {}", quote(word))), ["echo", word]);
        }
    }

    #[test]
    fn the_last_word_of_an_unfinished_line() {
        let last = |line: &str| {
            let word = last_word(line);
            (word.start, word.text, word.is_command)
        };
        assert_eq!(last(""), (0, "".into(), true));
        assert_eq!(last("l"), (0, "l".into(), true));
        assert_eq!(last("ls "), (3, "".into(), false));
        assert_eq!(last("ls fi"), (3, "fi".into(), false));
        assert_eq!(last("ls a && c"), (8, "c".into(), true));
        assert_eq!(last("ls;"), (3, "".into(), true));
        assert_eq!(last("X=1 l"), (4, "l".into(), true));
        assert_eq!(last("cat 'a b"), (4, "a b".into(), false));
        assert_eq!(last("cat a\\ b"), (4, "a b".into(), false));
        assert_eq!(last("cat a\\"), (4, "a".into(), false));
        assert_eq!(last("ls | c"), (5, "c".into(), true));
        assert_eq!(last("ls >fi"), (4, "fi".into(), false));
        assert_eq!(last("ls 2> fi"), (6, "fi".into(), false));
        assert_eq!(last("<"), (1, "".into(), false));
    }

    /// Every short line over the special characters is either understood or refused, and the result is stable.
    #[test]
    fn no_line_panics() {
        let alphabet = ['2', ' ', '\'', '"', '\\', '$', '{', '<', '>', '?', ';', '&', '|', '#', '=', 'é'];
        let mut lines = vec![String::new()];
        for _ in 0..5 {
            lines = lines.iter().flat_map(|line| alphabet.map(|c| format!("{line}{c}"))).collect();
            for line in &lines {
                let _ = last_word(line);
                if let Ok(pipelines) = parse(line) {
                    assert!(pipelines.iter().all(|p| !p.commands.is_empty()));
                    assert!(pipelines.iter().flat_map(|p| &p.commands).all(|command| !command.is_empty()));
                    assert!(pipelines.first().is_none_or(|pipeline| pipeline.when == When::Always));
                }
            }
        }
    }
}
