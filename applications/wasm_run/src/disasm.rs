//! `wasm_run inspect --disasm`: the machine code of one function, on Linux.

use crate::Streams;
use crate::inspect::{Inspected, Piece, PieceKind};
use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter, Mnemonic, OpKind};
use wasm_artifact::FuncIndex;

/// How many bytes of an instruction a line has room for.
const SHOWN_BYTES: usize = 10;

/// Prints the function of this name or number. An error says why not, and what to do.
pub(crate) fn run(inspected: &Inspected<'_>, function: &str, streams: Streams) -> Result<(), String> {
    let (module, tables) = (&inspected.artifact.module, inspected.tables());
    let index = find(inspected, function)?;
    let defined = module
        .defined_func(index)
        .ok_or_else(|| format!("function {} is imported and has no code here; name another one", index.0))?;
    let code = tables.function(defined).ok_or_else(|| {
        format!("there are functions up to number {}, but no {function}", module.functions.len().max(1) - 1)
    })?;
    let range = code.offset as usize..code.range().end as usize;
    let bytes = inspected.text().get(range).ok_or("the function's code is not within .text")?;
    let pieces = inspected.pieces().ok_or("not enough memory; free some and try again")?;

    let label = inspected.function_label(index);
    (streams.out)(format_args!("function {label}: {} bytes at {:#x}\n", code.len, code.offset));
    let mut formatter = IntelFormatter::new();
    formatter.options_mut().set_hex_prefix("0x");
    formatter.options_mut().set_hex_suffix("");
    formatter.options_mut().set_uppercase_hex(false);
    formatter.options_mut().set_space_after_operand_separator(true);
    formatter.options_mut().set_branch_leading_zeros(false);
    formatter.options_mut().set_rip_relative_addresses(true);
    let mut decoder = Decoder::with_ip(64, bytes, code.offset.into(), DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    let (mut text, mut last_wasm) = (String::new(), None);
    while decoder.can_decode() {
        let at = decoder.ip() as u32;
        decoder.decode_out(&mut instruction);
        let wasm = tables.wasm_offset_at(at);
        if wasm != last_wasm {
            if let Some(offset) = wasm {
                (streams.out)(format_args!("          ; {offset:#x} in the .wasm\n"));
            }
            last_wasm = wasm;
        }
        text.clear();
        formatter.format(&instruction, &mut text);
        let start = (at - code.offset) as usize;
        let encoded = &bytes[start..start + instruction.len()];
        let shown: String = encoded.iter().take(SHOWN_BYTES).map(|byte| format!("{byte:02x}")).collect();
        let more = if encoded.len() > SHOWN_BYTES { "+" } else { "" };
        let mut notes = Vec::new();
        let is_direct_call =
            instruction.mnemonic() == Mnemonic::Call && instruction.op0_kind() == OpKind::NearBranch64;
        if is_direct_call && let Some(target) = target(inspected, &pieces, instruction.near_branch_target()) {
            notes.push(target);
        }
        notes.extend(tables.trap_at(at).map(|trap| format!("traps: {}", trap.message())));
        let notes = if notes.is_empty() { String::new() } else { format!("  ; {}", notes.join("; ")) };
        let line = format!("{at:>9x} {:<22} {text:<40}{notes}", format!("{shown}{more}"));
        (streams.out)(format_args!("{}\n", line.trim_end()));
    }
    Ok(())
}

/// The function of this name or number.
fn find(inspected: &Inspected<'_>, function: &str) -> Result<FuncIndex, String> {
    let (module, tables) = (&inspected.artifact.module, inspected.tables());
    let mut all = (0..module.functions.len() as u32).map(FuncIndex);
    let name = function.strip_prefix('$').unwrap_or(function);
    if let Some(index) = all.clone().find(|index| tables.function_name(*index) == Some(name)) {
        return Ok(index);
    }
    let exported = module.exports.iter().find(|export| export.name == name).map(|export| export.entity);
    if let Some(wasm_artifact::EntityIndex::Func(index)) = exported {
        return Ok(index);
    }
    let number = function.parse().ok().map(FuncIndex).filter(|index| all.any(|other| other == *index));
    number.ok_or_else(|| {
        format!("it has no function {function}; give a name, an export or a number that inspect lists")
    })
}

/// What a call of this address reaches.
fn target(inspected: &Inspected<'_>, pieces: &[Piece], address: u64) -> Option<String> {
    let piece = pieces.iter().find(|piece| u64::from(piece.offset) == address)?;
    Some(match piece.kind {
        PieceKind::Function(index) => {
            let index = inspected.artifact.module.func_index(index);
            format!("function {}", inspected.function_label(index))
        }
        PieceKind::Entry(_) => "an entry trampoline".to_string(),
        PieceKind::Exit(ty) => format!("the host, by the trampoline of type {}", ty.0),
        PieceKind::Builtin => "the runtime".to_string(),
    })
}
