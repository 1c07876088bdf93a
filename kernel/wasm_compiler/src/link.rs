//! Lays out the code, resolves calls, and writes the artifact.

use crate::compile::{CallTarget, CompiledJob};
use crate::module::{Job, ModuleTranslation};
use crate::{CompileError, Compiler, Scratch, unwind};
use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec::Vec;
use wasm_artifact::builtins::Builtin;
use wasm_artifact::elf::{self, ENGINE_VERSION, EngineInfo, Parts, TEXT_PADDING, WriteError};
use wasm_artifact::tables::{FunctionCode, encode_functions, encode_names};
use wasm_artifact::{DefinedFuncIndex, TypeIndex, handlers, side_table};

/// The artifact may not have more code than direct calls can span, in bytes.
const MAX_TEXT: usize = i32::MAX as usize;

const TOO_MUCH_CODE: CompileError = CompileError::Limit("its code exceeds 2 GiB");

impl Compiler {
    /// Writes the artifact, given the results of all jobs in the order of their numbers.
    ///
    /// # Errors
    /// When the code is too large or memory is lacking.
    ///
    /// # Panics
    /// When there are not as many results as jobs.
    pub fn finish(
        &self,
        translation: &ModuleTranslation<'_>,
        mut compiled: Vec<CompiledJob>,
        scratch: &mut Scratch,
    ) -> Result<Vec<u8>, CompileError> {
        assert_eq!(compiled.len(), translation.num_jobs(), "one result per job");
        // Trampolines of builtins are made for those that are called.
        let mut builtins: BTreeMap<Builtin, u32> = BTreeMap::new();
        for call in compiled.iter().flat_map(|job| &job.calls) {
            if let CallTarget::Builtin(builtin) = call.target {
                builtins.insert(builtin, 0);
            }
        }
        let first_builtin = compiled.len();
        for &builtin in builtins.keys() {
            compiled.push(self.compile_builtin(builtin, scratch)?);
        }
        let mut pieces = pieces(translation);
        pieces.extend(builtins.keys().zip(first_builtin..).map(|(_, job)| Piece {
            job,
            content: Content::Builtin,
            offset: 0,
        }));

        let mut text = lay_out(&mut pieces, &compiled)?;
        let builtin_pieces = &pieces[pieces.len() - builtins.len()..];
        for (offset, piece) in builtins.values_mut().zip(builtin_pieces) {
            *offset = piece.offset;
        }
        for piece in &pieces {
            for call in &compiled[piece.job].calls {
                // Functions are the first pieces, in order.
                let target = match (call.target, piece.content) {
                    (CallTarget::Function(index), _) => pieces[index as usize].offset,
                    (CallTarget::Builtin(builtin), _) => builtins[&builtin],
                    (CallTarget::Callee, Content::ArrayToWasm(index)) => pieces[index.index()].offset,
                    (CallTarget::Callee, _) => {
                        unreachable!("only entry trampolines call what they are copied for")
                    }
                };
                let at = piece.offset as usize + call.offset as usize;
                let distance = i64::from(target) + call.addend - at as i64;
                let distance = i32::try_from(distance).map_err(|_| TOO_MUCH_CODE)?;
                text[at..at + 4].copy_from_slice(&distance.to_le_bytes());
            }
        }

        let shifted = |select: fn(&CompiledJob) -> Vec<(u32, u32)>, entries_per_block: usize| {
            let mut entries: Vec<(u32, u32)> = Vec::new();
            for piece in &pieces {
                for (at, value) in select(&compiled[piece.job]) {
                    // Where a piece's end is the next one's start, the start counts.
                    entries.pop_if(|last| last.0 == piece.offset + at);
                    entries.push((piece.offset + at, value));
                }
            }
            side_table::encode_blocks(&entries, entries_per_block)
        };
        let traps = shifted(
            |job| job.traps.iter().map(|&(at, trap)| (at, trap as u32)).collect(),
            side_table::TRAPS_PER_BLOCK,
        );
        let address_map = shifted(|job| job.addresses.clone(), side_table::ENTRIES_PER_BLOCK);
        let mut handled_calls = Vec::new();
        for piece in &pieces {
            for call in &compiled[piece.job].handled_calls {
                let mut call = call.clone();
                call.return_address += piece.offset;
                call.clauses.iter_mut().for_each(|clause| clause.landing_pad += piece.offset);
                handled_calls.push(call);
            }
        }
        let unwind = pieces.iter().map(|piece| (piece.offset, &compiled[piece.job].unwind));
        let frames = unwind::encode(&*self.isa, text.len(), unwind)?;
        let engine = EngineInfo {
            version: ENGINE_VERSION.to_string(),
            target: self.settings.target.name().to_string(),
            cpu: self.settings.cpu,
            opt_level: self.settings.opt_level,
            tunables: self.settings.tunables,
        };
        let names = translation.names.iter().map(|(&index, &name)| (index, name)).collect::<Vec<_>>();
        let file = elf::write(&Parts {
            engine: &engine,
            module: &translation.module,
            text: &text,
            eh_frame: &frames.eh_frame,
            eh_frame_hdr: &frames.eh_frame_hdr,
            traps: &traps,
            address_map: &address_map,
            handlers: &handlers::encode(&handled_calls),
            functions: &function_table(translation, &pieces, &compiled),
            names: &encode_names(&names),
            debug_info: &translation.debug_info,
            rodata: &translation.rodata,
        })?;
        Ok(file)
    }
}

/// A piece of `.text`: the code of a job, or a copy of it.
struct Piece {
    /// The number of the job.
    job: usize,
    content: Content,
    /// Where it starts in `.text`.
    offset: u32,
}

#[derive(Clone, Copy)]
enum Content {
    Function(DefinedFuncIndex),
    ArrayToWasm(DefinedFuncIndex),
    WasmToArray(TypeIndex),
    Builtin,
}

/// The pieces in the order they are laid out, but for builtins, which come last: functions, entry trampolines, exit trampolines.
fn pieces(translation: &ModuleTranslation<'_>) -> Vec<Piece> {
    let mut functions = Vec::new();
    let mut exits = Vec::new();
    let mut entry_jobs = BTreeMap::new();
    for (job, kind) in translation.jobs.iter().enumerate() {
        match *kind {
            Job::Function(index) => {
                functions.push(Piece { job, content: Content::Function(index), offset: 0 })
            }
            Job::ArrayToWasm(ty) => {
                entry_jobs.insert(ty, job);
            }
            Job::WasmToArray(ty) => exits.push(Piece { job, content: Content::WasmToArray(ty), offset: 0 }),
        }
    }
    // The trampolines of one type differ in nothing but what they call, so they are copies of one.
    let entries = translation.escaping_functions().map(|(index, ty)| Piece {
        job: entry_jobs[&translation.canonical_types[ty.index()]],
        content: Content::ArrayToWasm(index),
        offset: 0,
    });
    functions.extend(entries);
    functions.extend(exits);
    functions
}

/// Concatenates the pieces' code and notes where each is.
fn lay_out(pieces: &mut [Piece], compiled: &[CompiledJob]) -> Result<Vec<u8>, CompileError> {
    let size = |piece: &Piece| compiled[piece.job].code.len() + compiled[piece.job].alignment as usize;
    let size = pieces.iter().map(size).sum::<usize>();
    if size > MAX_TEXT {
        return Err(TOO_MUCH_CODE);
    }
    let mut text = Vec::new();
    text.try_reserve_exact(size).map_err(|_| WriteError::OutOfMemory(size))?;
    for piece in pieces {
        let job = &compiled[piece.job];
        text.resize(text.len().next_multiple_of(job.alignment as usize), TEXT_PADDING);
        piece.offset = text.len() as u32;
        text.extend_from_slice(&job.code);
    }
    Ok(text)
}

fn function_table(
    translation: &ModuleTranslation<'_>,
    pieces: &[Piece],
    compiled: &[CompiledJob],
) -> Vec<u8> {
    let mut functions = Vec::new();
    let mut wasm_to_array = alloc::vec![None; translation.module.types.len()];
    for piece in pieces {
        match piece.content {
            Content::Function(index) => functions.push(FunctionCode {
                offset: piece.offset,
                len: compiled[piece.job].code.len() as u32,
                array_to_wasm: None,
                wasm_offset: translation.bodies[index.index()].1.range().start as u32,
            }),
            Content::ArrayToWasm(index) => functions[index.index()].array_to_wasm = Some(piece.offset),
            Content::WasmToArray(ty) => wasm_to_array[ty.index()] = Some(piece.offset),
            Content::Builtin => {}
        }
    }
    // A type equal to an earlier one uses its trampoline.
    for (ty, canonical) in translation.canonical_types.iter().enumerate() {
        wasm_to_array[ty] = wasm_to_array[canonical.index()];
    }
    encode_functions(&functions, &wasm_to_array)
}
