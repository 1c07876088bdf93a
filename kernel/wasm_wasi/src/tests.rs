//! What the suite (`applications/test_wasi`) has no guest for.

use crate::{FUNCTIONS, I32Exit, WasiCtxBuilder};
use alloc::string::ToString;

#[test]
fn there_are_all_functions_of_preview_1() {
    let mut names = FUNCTIONS.to_vec();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 46);
}

#[test]
fn errors_say_what_and_what_to_do() {
    let perms = (crate::DirPerms::all(), crate::FilePerms::all());
    let mut builder = WasiCtxBuilder::new();
    let error = builder.preopened_dir("/nowhere/at/all", "x", perms.0, perms.1).err().unwrap().to_string();
    assert!(error.contains("/nowhere/at/all") && error.contains("No such file"), "{error}");
    let error = builder.env("A", "\0").try_build_p1().err().unwrap().to_string();
    assert!(error.contains("NUL"), "{error}");
    assert_eq!(I32Exit(7).to_string(), "Exited with i32 exit status 7");
}
