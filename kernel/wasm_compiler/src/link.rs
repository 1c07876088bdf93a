//! Lays out the code, resolves calls, and writes the artifact.

use crate::compile::{CallTarget, CompiledJob};
use crate::module::{Job, ModuleTranslation};
use crate::{CompileError, Compiler, Scratch, unwind};
use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec::Vec;
use wasm_artifact::elf::{self, ENGINE_VERSION, EngineInfo, Parts, TEXT_PADDING, WriteError};
use wasm_artifact::tables::{FunctionCode, encode_functions, encode_names};
use wasm_artifact::{DefinedFuncIndex, side_table};

/// The artifact may not have more code than direct calls can span, in bytes.
const MAX_TEXT: usize = i32::MAX as usize;

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
        // Trampolines of builtins come last, those that are called only, in the order of their numbers.
        let mut builtins = BTreeMap::new();
        for call in compiled.iter().flat_map(|job| &job.calls) {
            if let CallTarget::Builtin(builtin) = call.target {
                builtins.insert(builtin, 0);
            }
        }
        for (builtin, job) in &mut builtins {
            *job = compiled.len();
            compiled.push(self.compile_builtin(*builtin, scratch)?);
        }

        let (mut text, offsets) = lay_out(&compiled)?;
        for (job, &offset) in compiled.iter().zip(&offsets) {
            for call in &job.calls {
                // Functions are the first jobs, in order.
                let target = match call.target {
                    CallTarget::Function(index) => index as usize,
                    CallTarget::Builtin(builtin) => builtins[&builtin],
                };
                let at = offset as usize + call.offset as usize;
                let distance = i64::from(offsets[target]) + call.addend - at as i64;
                let distance =
                    i32::try_from(distance).map_err(|_| CompileError::Limit("its code exceeds 2 GiB"))?;
                text[at..at + 4].copy_from_slice(&distance.to_le_bytes());
            }
        }

        let shifted = |select: fn(&CompiledJob) -> Vec<(u32, u32)>| {
            let mut entries: Vec<(u32, u32)> = Vec::new();
            for (job, &start) in compiled.iter().zip(&offsets) {
                for (at, value) in select(job) {
                    // Where a job's end is the next one's start, the start counts.
                    entries.pop_if(|last| last.0 == start + at);
                    entries.push((start + at, value));
                }
            }
            side_table::encode(&entries)
        };
        let traps = shifted(|job| job.traps.iter().map(|&(at, trap)| (at, trap as u32)).collect());
        let address_map = shifted(|job| job.addresses.clone());
        let frames = unwind::encode(
            &*self.isa,
            text.len(),
            compiled.iter().zip(&offsets).map(|(job, &offset)| (offset, &job.unwind)),
        )?;
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
            functions: &function_table(translation, &compiled, &offsets),
            names: &encode_names(&names),
            rodata: &translation.rodata,
        })?;
        Ok(file)
    }
}

/// Concatenates code, and returns it with the offset of each job.
fn lay_out(compiled: &[CompiledJob]) -> Result<(Vec<u8>, Vec<u32>), CompileError> {
    let size = compiled.iter().map(|job| job.code.len() + job.alignment as usize).sum::<usize>();
    if size > MAX_TEXT {
        return Err(CompileError::Limit("its code exceeds 2 GiB"));
    }
    let mut text = Vec::new();
    text.try_reserve_exact(size).map_err(|_| WriteError::OutOfMemory(size))?;
    let mut offsets = Vec::with_capacity(compiled.len());
    for job in compiled {
        text.resize(text.len().next_multiple_of(job.alignment as usize), TEXT_PADDING);
        offsets.push(text.len() as u32);
        text.extend_from_slice(&job.code);
    }
    Ok((text, offsets))
}

fn function_table(translation: &ModuleTranslation<'_>, compiled: &[CompiledJob], offsets: &[u32]) -> Vec<u8> {
    let mut functions = Vec::new();
    let mut wasm_to_array = alloc::vec![None; translation.module.types.len()];
    for ((job, code), &offset) in translation.jobs.iter().zip(compiled).zip(offsets) {
        match *job {
            Job::Function(DefinedFuncIndex(index)) => functions.push(FunctionCode {
                offset,
                len: code.code.len() as u32,
                array_to_wasm: None,
                wasm_offset: translation.bodies[index as usize].1.range().start as u32,
            }),
            Job::ArrayToWasm(index) => functions[index.index()].array_to_wasm = Some(offset),
            Job::WasmToArray(ty) => wasm_to_array[ty.index()] = Some(offset),
        }
    }
    // A type equal to an earlier one uses its trampoline.
    for (ty, canonical) in translation.canonical_types.iter().enumerate() {
        wasm_to_array[ty] = wasm_to_array[canonical.index()];
    }
    encode_functions(&functions, &wasm_to_array)
}
