//! The shell, run as the program it is.

use crate::streams::Captured;
use crate::{memory_in_use, remove, scratch};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use app_io::IoStreams;
use path::Path;
use task::{ExitValue, JoinableTaskRef};

/// Starts the shell with these arguments and streams.
pub fn start(arguments: Vec<String>, streams: IoStreams) -> JoinableTaskRef {
    let namespace = task::with_current_task(|task| task.get_namespace().clone()).unwrap();
    let names = namespace.dir().lock().list();
    let file = names.iter().find(|name| name.starts_with("shell-")).expect("there is a shell");
    let shell =
        spawn::new_application_task_builder(Path::new(file), None).unwrap_or_else(|error| panic!("{error}"));
    let task = shell.argument(arguments).block().spawn().unwrap();
    app_io::insert_child_streams(task.id, streams);
    task.unblock().unwrap();
    task
}

/// Waits for a shell, and returns its status.
pub fn status_of(task: &JoinableTaskRef) -> isize {
    match task.join().unwrap() {
        ExitValue::Completed(value) => *value.downcast_ref().expect("a shell returns a status"),
        ExitValue::Killed(reason) => panic!("the shell ended: {reason}"),
    }
}

/// Runs `shell -c LINE`; returns its status, output and errors.
fn run(line: &str) -> (isize, String, String) {
    let captured = Captured::new();
    let task = start(vec!["-c".to_string(), line.to_string()], captured.streams());
    let status = status_of(&task);
    let (out, error) = captured.take();
    (status, out, error)
}

/// Runs a line that prints no errors; returns status and output.
fn quiet(line: &str) -> (isize, String) {
    let (status, out, error) = run(line);
    assert_eq!(error, "", "{line:?}");
    (status, out)
}

pub fn status() {
    assert_eq!(quiet(""), (0, "".into()));
    assert_eq!(quiet("true"), (0, "".into()));
    assert_eq!(quiet("false"), (1, "".into()));
    assert_eq!(quiet("false; echo $?; echo $?"), (0, "1\n0\n".into()));
    assert_eq!(quiet("crash 7"), (7, "".into()));
    assert_eq!(quiet("crash 256"), (0, "".into()), "the low eight bits");
    assert_eq!(quiet("crash -1"), (255, "".into()));
    assert_eq!(quiet("exit 9; echo not reached"), (9, "".into()));
    assert_eq!(quiet("crash 3; exit"), (3, "".into()));
    assert_eq!(quiet("shell -c 'exit 5'; echo $?"), (0, "5\n".into()));
}

pub fn scripts() {
    let script = "echo 'V=1' > s; echo 'false # and so on' >> s; echo 'echo $? $V' >> s";
    assert_eq!(
        quiet(&format!("mkdir -p /tmp/s; cd /tmp/s; {script}; shell s; echo $?$V")),
        (0, "1 1\n0\n".into())
    );
    assert_eq!(quiet("cd /tmp/s; echo 'exit 4' > t; echo 'echo not reached' >> t; shell t"), (4, "".into()));
    assert_eq!(run("cd /tmp/s; echo '>' > u; echo 'true' >> u; shell u; rm -r /tmp/s").1, "");
    assert_eq!(
        run("shell /nothing"),
        (126, "".into(), "shell: /nothing: no such file or directory\n".into())
    );
    assert_eq!(run("shell /tmp").0, 126);
}

pub fn operators() {
    assert_eq!(quiet("true && echo a || echo b").1, "a\n");
    assert_eq!(quiet("false && echo a || echo b").1, "b\n");
    assert_eq!(quiet("false || crash 4 && echo c; echo $?").1, "4\n");
    assert_eq!(quiet("echo a # ; echo b").1, "a\n");
}

pub fn arguments_and_environment() {
    assert_eq!(quiet(r#"echo 'a  b' "c d" e\ f """#).1, "a  b c d e f \n");
    assert_eq!(quiet("echo -n x; echo y -n").1, "xy -n\n");
    assert_eq!(quiet("V='1 2'; echo $V \"<$V>\" '$V'").1, "1 2 <1 2> $V\n");
    assert_eq!(quiet("V=outer; V=inner shell -c 'echo $V'; echo $V").1, "inner\nouter\n");
    assert_eq!(
        quiet("cd /tmp; pwd; shell -c 'cd /; pwd'; pwd; echo $PWD; cd; pwd").1,
        "/tmp\n/\n/tmp\n/tmp\n/\n"
    );
    assert_eq!(quiet("cd /tmp; cd /namespaces; cd -; cd -").1, "/tmp\n/namespaces\n");
    assert_eq!(quiet("export A=1 B='x y'; unset A; echo $A$B").1, "x y\n");
    let here = task::with_current_task(|task| task.get_env().lock().cwd()).unwrap();
    quiet("cd /tmp");
    assert_eq!(task::with_current_task(|task| task.get_env().lock().cwd()).unwrap(), here);
}

pub fn errors() {
    let fails = |line: &str, status: isize, message: &str| {
        assert_eq!(run(line), (status, "".into(), message.into()), "{line:?}");
    };
    fails("nonesuch", 127, "shell: nonesuch: command not found\n");
    fails("/nonesuch", 127, "shell: /nonesuch: command not found\n");
    fails("''", 127, "shell: : command not found\n");
    fails("echo 'a", 2, "shell: missing closing '\n");
    fails("echo a & cat", 2, "shell: '&' is not supported here (write '\\&' for the character)\n");
    fails("echo a |", 2, "shell: missing command at '|'\n");
    fails("echo a >", 2, "shell: missing file name after '>'\n");
    fails("echo a > $NONE", 1, "shell: a redirection needs one file name, and there are 0\n");
    fails("echo a > ''", 1, "shell: '': no such file or directory\n");
    fails("echo a > /tmp", 1, "shell: /tmp: is a directory\n");
    fails("echo a > /hello.wat/x", 1, "shell: /hello.wat/x: not a directory\n");
    fails("cat < /nonesuch", 1, "shell: /nonesuch: no such file or directory\n");
    fails("cat < /tmp", 1, "shell: /tmp: is a directory\n");
    for operator in [">", ">>", "2>"] {
        let line = alloc::format!("echo a {operator} /hello.wat");
        fails(&line, 1, "shell: /hello.wat: read-only file (copy it to /tmp and change the copy)\n");
    }
    fails("nonesuch | cat", 0, "shell: nonesuch: command not found\n");
    fails("echo a | nonesuch", 127, "shell: nonesuch: command not found\n");
    fails("cat < /nonesuch | cat", 0, "shell: /nonesuch: no such file or directory\n");
    fails("cd /nonesuch", 1, "shell: cd: /nonesuch: no such file or directory\n");
    fails("cd a b", 2, "usage: cd [DIRECTORY]\n");
    fails("exit x", 2, "shell: exit: x: not a number\n");
    fails("cat /nonesuch", 1, "cat: /nonesuch: no such file or directory\n");
    fails("cat /tmp", 1, "cat: /tmp: is a directory\n");
    fails("cat ''", 1, "cat: '': no such file or directory\n");
    fails("ls -x", 2, "ls: unknown option -x; usage: ls [-l] [-a] [PATH...]\n");
    fails("mkdir", 2, "usage: mkdir [-p] DIRECTORY...\n");
    fails("rm", 2, "usage: rm [-r] [-f] PATH...\n");
    fails("cp x", 2, "usage: cp [-r] SOURCE... TARGET\n");
    fails("mv x", 2, "usage: mv SOURCE... TARGET\n");
    fails("pwd x", 2, "usage: pwd\n");
    fails("help x", 2, "usage: help\n");
    fails("shell -x", 2, "usage: shell [FILE | -c LINE]\n");
    fails("crash", 2, "usage: crash panic|null|undefined|stack|STATUS\n");
    fails("rm -r /", 1, "rm: /: the root directory cannot be removed or moved\n");
    let (status, _, error) = run("/hello.cwasm");
    assert_eq!(status, 126);
    assert!(error.starts_with("shell: /hello.cwasm: ") && error.lines().count() == 1, "{error:?}");
}

pub fn redirections() {
    let dir = scratch("redirections");
    let quiet = |line: &str| {
        let (status, out) = quiet(&alloc::format!("cd /tmp/redirections; {line}"));
        assert_eq!(status, 0, "{line}");
        out
    };
    assert_eq!(
        quiet("echo one > f; cat f; echo two >> f; cat < f; echo three >f; cat <f"),
        "one\none\ntwo\nthree\n"
    );
    assert_eq!(quiet("cat < /hello.wat > x; cmp /hello.wat x && echo same"), "same\n");
    assert_eq!(quiet("cat nothing 2> e; echo $?; cat e"), "1\ncat: nothing: no such file or directory\n");
    assert_eq!(quiet("cat nothing >b 2>&1; cat e nothing 2>>b >&2; cat b").lines().count(), 3);
    assert_eq!(quiet("> empty; ls -l empty; V=kept > empty; echo $V").lines().last(), Some("kept"));
    // The shell's own commands write there too, and only they.
    assert_eq!(
        quiet("export A='x y'; export > vars; echo out; cat < vars")
            .lines()
            .filter(|line| *line == "A=x\\ y")
            .count(),
        1
    );
    assert_eq!(quiet("cd /nonesuch 2> e; cat e"), "shell: cd: /nonesuch: no such file or directory\n");
    assert_eq!(quiet("cat < f > 'name with spaces'; N='name with spaces'; cat < \"$N\""), "three\n");
    // A file that is emptied is not what stops the ones that follow.
    assert_eq!(quiet("cat < f > f; cat f; echo end"), "end\n");
    assert_eq!(quiet("echo hello > f; wasm_run /guests/wasi_cat.cwasm < f > g; cat g"), "hello\n");
    remove("redirections");
    drop(dir);
}

pub fn pipelines() {
    assert_eq!(quiet("echo hello | cat"), (0, "hello\n".into()));
    assert_eq!(quiet("echo hello | cat | cat - | cat"), (0, "hello\n".into()));
    assert_eq!(quiet("echo hello | wasm_run /guests/wasi_cat.cwasm | cat"), (0, "hello\n".into()));
    assert_eq!(
        quiet("crash 3 | crash 4; echo $?; crash 5 | true; echo $?; true | false || echo no").1,
        "4\n0\nno\n"
    );
    assert_eq!(quiet("false; true | echo $?").1, "1\n");
    // A command of the shell changes nothing when it is part of a pipeline.
    assert_eq!(quiet("cd /tmp | cat; exit 4 | cat; pwd; A=1 | cat; echo \"<$A>\"; V='a  b' export | cat"), {
        let (_, out) = quiet("pwd; echo '<>'; V='a  b' export | cat");
        (0, out)
    });
    assert_eq!(quiet("echo out | cat > /tmp/pipe_out; cat < /tmp/pipe_out; rm /tmp/pipe_out").1, "out\n");
    assert_eq!(quiet("cat /nonesuch 2>&1 | cat").1, "cat: /nonesuch: no such file or directory\n");
    // 1 MiB, which is more than fits a pipe, in order.
    let dir = scratch("pipelines");
    let bytes: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
    file_ops::create_file(Path::new("big"), &dir).unwrap().lock().write_at(&bytes, 0).unwrap();
    assert_eq!(
        quiet("cat /tmp/pipelines/big | cat | wasm_run /guests/wasi_cat.cwasm > /tmp/pipelines/copy"),
        (0, "".into())
    );
    assert_eq!(quiet("cmp /tmp/pipelines/big /tmp/pipelines/copy").0, 0);
    // A writer that nobody reads any more ends.
    assert_eq!(quiet("cat /tmp/pipelines/big | true; echo $?"), (0, "0\n".into()));
    assert_eq!(
        quiet("wasm_run /guests/wasi_cat.cwasm < /tmp/pipelines/big | true; echo $?"),
        (0, "0\n".into())
    );
    remove("pipelines");
}

pub fn crashes() {
    for how in ["panic", "null", "undefined", "stack"] {
        let line = alloc::format!("crash {how}; echo $?");
        let (status, out, error) = run(&line);
        assert_eq!((status, out.as_str()), (0, "134\n"), "{how}");
        let told = error.lines().filter(|line| line.starts_with("shell: crash: ")).count();
        assert_eq!(told, 1, "{how}: {error:?}");
    }
}

pub fn file_programs() {
    let dir = scratch("programs");
    let big: Vec<u8> = (0..300_000).map(|n: u32| b'a' + (n % 26) as u8).collect();
    file_ops::create_file(Path::new("big"), &dir).unwrap().lock().write_at(&big, 0).unwrap();
    let in_dir = |line: &str| {
        let mut whole = String::from("cd /tmp/programs && ");
        whole.push_str(line);
        run(&whole)
    };
    let quiet = |line: &str| {
        let (status, out, error) = in_dir(line);
        assert_eq!((status, error.as_str()), (0, ""), "{line}");
        out
    };
    assert!(quiet("cat big").as_bytes() == big, "a large output is complete");
    quiet("mkdir -p a/b/c && touch a/f 'a/b/name with spaces' && cp big a/b && mv a/f a/g");
    assert_eq!(quiet("ls"), "a/\nbig\n");
    assert_eq!(quiet("ls a a/b/"), "a:\nb/\ng\n\na/b/:\nbig\nc/\nname with spaces\n");
    assert_eq!(quiet("cp -r a copy && ls copy/b"), "big\nc/\nname with spaces\n");
    assert_eq!(quiet("ls -a a/b/c"), "./\n../\n");
    let long = quiet("ls -l");
    assert!(long.lines().any(|line| line.starts_with("-rw 300000 20") && line.ends_with(" big")), "{long}");
    assert!(long.lines().any(|line| line.starts_with("drw      2 20") && line.ends_with(" copy/")), "{long}");
    assert_eq!(in_dir("rm a"), (1, "".into(), "rm: a: is a directory (use -r)\n".into()));
    assert_eq!(in_dir("mv a a/b"), (1, "".into(), "mv: a/b/a: cannot move a directory into itself\n".into()));
    assert_eq!(in_dir("cp big"), (2, "".into(), "usage: cp [-r] SOURCE... TARGET\n".into()));
    assert_eq!(in_dir("cp -r a copy big").0, 1);
    quiet("rm -r a copy big; rm -f nonesuch");
    assert_eq!(
        in_dir("mkdir gone; cd gone; rm -r /tmp/programs/gone; touch x").2,
        "touch: x: the directory has been removed (go elsewhere with 'cd /')\n"
    );
    assert_eq!(in_dir("mkdir gone; cd gone; rm -r /tmp/programs/gone; pwd").0, 1);
    assert!(dir.lock().is_empty(), "{:?}", dir.lock().list());
    remove("programs");
}

pub fn no_leak() {
    let round = || {
        assert_eq!(quiet("echo a; cd /tmp && ls -l /guests").0, 0);
        assert_eq!(run("nonesuch").0, 127);
        assert_eq!(quiet("echo a > /tmp/no_leak; cat < /tmp/no_leak | cat | true; rm /tmp/no_leak").0, 0);
    };
    (0..5).for_each(|_| round());
    let before = memory_in_use();
    (0..40).for_each(|_| round());
    let after = memory_in_use();
    let (frames, bytes) = (before.0.saturating_sub(after.0), after.1.saturating_sub(before.1));
    assert!(frames <= 8 && bytes < 40 * 8, "{frames} frames and {bytes} bytes of the heap were lost");
}
