use super::*;
use alloc::string::String;
use wasm_artifact::debug_info::DebugInfoBuilder;

const DWARF_4: &str = include_str!("../../../guests/test_lines.wat");
const DWARF_5: &str = include_str!("../tests/test_lines5.wat");

/// A module's binary, the artifact's section for it, and where its code section's content begins.
fn debug_section(text: &str) -> (Vec<u8>, u32) {
    let wasm = wat::parse_str(text).unwrap();
    let mut builder = DebugInfoBuilder::default();
    for payload in wasmparser::Parser::new(0).parse_all(&wasm) {
        match payload.unwrap() {
            wasmparser::Payload::CodeSectionStart { range, .. } => builder.code_start = range.start as u32,
            wasmparser::Payload::CustomSection(section) => {
                builder.custom_section(section.name(), section.data());
            }
            _ => {}
        }
    }
    (builder.encode(true).unwrap(), builder.code_start)
}

fn look_up(section: &[u8], offset: u32, budget: usize) -> Vec<(String, String, u32)> {
    let debug_info = DebugInfo::new(section).unwrap();
    let found = symbols(&debug_info, offset, budget);
    let told = |symbol: Symbol| {
        let (name, file) = (symbol.name.unwrap_or_default(), symbol.file.unwrap_or_default());
        (name, file, symbol.line.unwrap_or_default())
    };
    found.into_iter().map(told).collect()
}

/// All answers for the code of a module, each once, in the order of addresses.
fn answers(text: &str) -> Vec<Vec<(String, String, u32)>> {
    let (section, code_start) = debug_section(text);
    let mut answers: Vec<_> = (0..200).map(|at| look_up(&section, code_start + at, DEFAULT_BUDGET)).collect();
    answers.dedup();
    answers
}

#[test]
fn functions_and_what_is_inlined_have_files_and_lines() {
    for text in [DWARF_4, DWARF_5] {
        let answers = answers(text);
        let inlined = |line: u32| {
            [("check", line), ("twice", 8), ("middle", 12)]
                .map(|(name, line)| (name.to_string(), "/src/lines.c".to_string(), line))
                .to_vec()
        };
        assert!(answers.contains(&inlined(3)), "{answers:#?}");
        assert!(answers.contains(&inlined(2)), "{answers:#?}");
        let outer = vec![("outer".to_string(), "/src/lines.c".to_string(), 16)];
        assert!(answers.contains(&outer), "{answers:#?}");
        assert!(answers.first().unwrap().is_empty() && answers.last().unwrap().is_empty());
    }
}

#[test]
fn nothing_is_said_of_what_is_elsewhere() {
    let (section, code_start) = debug_section(DWARF_4);
    for offset in [0, code_start - 1, code_start, code_start + 1000, u32::MAX] {
        assert_eq!(look_up(&section, offset, DEFAULT_BUDGET), []);
    }
}

#[test]
fn a_search_ends_when_the_budget_does() {
    let (section, code_start) = debug_section(DWARF_4);
    let full = look_up(&section, code_start + 20, DEFAULT_BUDGET);
    assert!(!full.is_empty());
    let needed = (0..).find(|budget| look_up(&section, code_start + 20, *budget) == full).unwrap();
    assert!(needed < 2_000, "{needed}");
    for budget in 0..needed {
        look_up(&section, code_start + 20, budget);
    }
}

/// Numbers that look random, the same on every run.
fn numbers(mut state: u64) -> impl FnMut() -> usize {
    move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize
    }
}

#[test]
fn any_bytes_are_read_without_panic_and_in_time() {
    for text in [DWARF_4, DWARF_5] {
        let (good, code_start) = debug_section(text);
        let mut random = numbers(3);
        for round in 0..6_000 {
            let mut bad = good.clone();
            for _ in 0..1 + round % 6 {
                // The lengths of the sections are the artifact's, not the module's.
                let at = 40 + random() % (bad.len() - 40);
                bad[at] = match random() % 4 {
                    0 => 0xff,
                    1 => 0,
                    2 => bad[at] ^ 1 << (random() % 8),
                    _ => random() as u8,
                };
            }
            look_up(&bad, code_start + (random() % 80) as u32, 1_000_000);
        }
    }
}

#[test]
fn units_that_share_a_long_table_end_with_the_budget() {
    // 50,000 units, each a header and an entry, all with one table of abbreviations of 1 MB, which is read again for each.
    let mut abbreviations = Vec::new();
    abbreviations.extend([1, 0x11, 0, 0, 0]);
    let mut code = 2u32;
    while abbreviations.len() < 1 << 20 {
        let mut number = code;
        while number >= 0x80 {
            abbreviations.push(number as u8 | 0x80);
            number >>= 7;
        }
        abbreviations.extend([number as u8, 0x2e, 0, 0, 0]);
        code += 1;
    }
    abbreviations.push(0);
    let unit = [8, 0, 0, 0, 4, 0, 0, 0, 0, 0, 4, 1];
    let info: Vec<u8> = unit.iter().copied().cycle().take(unit.len() * 50_000).collect();
    let mut builder = DebugInfoBuilder::default();
    builder.custom_section(".debug_abbrev", &abbreviations);
    builder.custom_section(".debug_info", &info);
    let section = builder.encode(true).unwrap();
    assert_eq!(look_up(&section, 100, DEFAULT_BUDGET), []);
}

#[test]
fn names_that_refer_to_each_other_are_no_names() {
    // A unit from 1 to 100, with a function whose name is that of the next entry, whose name is that of the first.
    let abbreviations = [
        1, 0x11, 1, 0x11, 0x01, 0x12, 0x06, 0, 0, // a unit: low_pc address, high_pc data4
        2, 0x2e, 0, 0x11, 0x01, 0x12, 0x06, 0x31, 0x13, 0,
        0, // a function: the same, abstract_origin ref4
        3, 0x2e, 0, 0x31, 0x13, 0, 0, // a function: abstract_origin ref4
        0,
    ];
    let mut info = vec![0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 4];
    info.extend([1, 1, 0, 0, 0, 99, 0, 0, 0]);
    let first = info.len() as u8;
    info.extend([2, 1, 0, 0, 0, 99, 0, 0, 0, first + 13, 0, 0, 0]);
    info.extend([3, first, 0, 0, 0, 0]);
    info[0] = info.len() as u8 - 4;
    let mut builder = DebugInfoBuilder::default();
    builder.custom_section(".debug_abbrev", &abbreviations);
    builder.custom_section(".debug_info", &info);
    let section = builder.encode(true).unwrap();
    assert_eq!(look_up(&section, 50, DEFAULT_BUDGET), [(String::new(), String::new(), 0)]);
}
