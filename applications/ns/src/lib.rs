//! `ns`: lists the namespaces, the crates that are loaded in each with the addresses of their code, and the crates that were
//! loaded earlier and have been unloaded since nobody needed them any more.
//!
//! Usage: `ns [-l]`. With `-l` also how much of everything each crate takes.
#![no_std]

extern crate alloc;

use alloc::{string::String, sync::Arc, vec::Vec};

use app_io::{eprintln, println};
use memory::VirtualAddress;
use mod_mgmt::{CrateNamespace, LoadedCrate, StrongCrateRef, all_crates, load_counts};

/// Prints the list.
pub fn main(args: Vec<String>) -> isize {
    let long = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["-l"] => true,
        _ => {
            eprintln!("usage: ns [-l]");
            return 2;
        }
    };
    let crates = all_crates();
    let mut namespaces: Vec<Arc<CrateNamespace>> = Vec::new();
    for namespace in crates.iter().filter_map(|krate| krate.namespace()) {
        if !namespaces.iter().any(|known| Arc::ptr_eq(known, &namespace)) {
            namespaces.push(namespace);
        }
    }
    for namespace in &namespaces {
        let mut members: Vec<&StrongCrateRef> = crates
            .iter()
            .filter(|krate| krate.namespace().is_some_and(|its| Arc::ptr_eq(&its, namespace)))
            .collect();
        members.sort_by(|a, b| a.crate_name.cmp(&b.crate_name));
        let parent = namespace.recursive_namespace().map_or("", |parent| parent.name());
        let below = if parent.is_empty() { "" } else { ", below " };
        println!("namespace {}{below}{parent}: {} crates", namespace.name(), members.len());
        for krate in members {
            print_crate(krate, long);
        }
    }
    let mut gone = load_counts();
    gone.retain(|(name, _)| !crates.iter().any(|krate| krate.crate_name == *name));
    if !gone.is_empty() {
        println!("loaded earlier and unloaded after use: {} crates", gone.len());
    }
    for (name, count) in gone {
        println!("  {:<44} {count} {}", &*name, if count == 1 { "time" } else { "times" });
    }
    0
}

fn print_crate(krate: &LoadedCrate, long: bool) {
    let size = |range: Option<core::ops::Range<VirtualAddress>>| {
        range.map_or(0, |range| range.end.value() - range.start.value())
    };
    match krate.text_range() {
        Some(text) => {
            println!("  {:<44} text {:#x}..{:#x}", &*krate.crate_name, text.start.value(), text.end.value());
        }
        None => println!("  {:<44} no text", &*krate.crate_name),
    }
    if long && !krate.is_base_image() {
        println!(
            "    text {} bytes, rodata {}, data {}, thread-local {}; {} global symbols, needs {} crates",
            size(krate.text_range()),
            size(krate.rodata_range()),
            size(krate.data_range()),
            krate.tls_range().map_or(0, |(_, size)| size),
            krate.global_symbol_count(),
            krate.crates_i_depend_on().len(),
        );
    }
}
