//! What is compiled for, and how Cranelift is told.

use crate::CompileError;
use crate::function::Effort;
use cranelift_codegen::isa::{self, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use target_lexicon::{Architecture, BinaryFormat, Environment, OperatingSystem, Triple, Vendor};
use wasm_artifact::compile::{RegallocAlgorithm, Settings};
use wasm_artifact::{CpuFeatures, OptLevel};

/// Cranelift's names of our CPU features.
const FEATURE_FLAGS: [(CpuFeatures, &str); 12] = [
    (CpuFeatures::SSE3, "has_sse3"),
    (CpuFeatures::SSSE3, "has_ssse3"),
    (CpuFeatures::SSE41, "has_sse41"),
    (CpuFeatures::SSE42, "has_sse42"),
    (CpuFeatures::POPCNT, "has_popcnt"),
    (CpuFeatures::CMPXCHG16B, "has_cmpxchg16b"),
    (CpuFeatures::AVX, "has_avx"),
    (CpuFeatures::AVX2, "has_avx2"),
    (CpuFeatures::FMA, "has_fma"),
    (CpuFeatures::BMI1, "has_bmi1"),
    (CpuFeatures::BMI2, "has_bmi2"),
    (CpuFeatures::LZCNT, "has_lzcnt"),
];

/// Makes Cranelift's description of the target, for functions that get this effort.
pub(crate) fn build(settings: &Settings, effort: Effort) -> Result<OwnedTargetIsa, CompileError> {
    let failed = |error: &dyn core::fmt::Display| CompileError::codegen(&settings.target.name(), error);
    let opt_level = match settings.opt_level {
        _ if effort != Effort::Full => "none",
        OptLevel::None => "none",
        OptLevel::Speed => "speed",
        OptLevel::SpeedAndSize => "speed_and_size",
    };
    // Single-pass allocation halves compile time, but it makes code up to twice as slow.
    let regalloc_algorithm = match settings.regalloc_algorithm {
        RegallocAlgorithm::Backtracking if effort == Effort::Full => "backtracking",
        _ => "single_pass",
    };
    let mut flags = settings::builder();
    for (name, value) in [
        ("opt_level", opt_level),
        ("regalloc_algorithm", regalloc_algorithm),
        ("enable_verifier", if settings.verify_ir { "true" } else { "false" }),
        ("enable_nan_canonicalization", if settings.nan_canonicalization { "true" } else { "false" }),
        // Traps and panics walk frame pointers and call frame information.
        ("preserve_frame_pointers", "true"),
        ("unwind_info", "true"),
        // Prologues compare with the stack limit instead of touching pages.
        ("enable_probestack", "false"),
        // Functions with more results than registers return the rest in memory.
        ("enable_multi_ret_implicit_sret", "true"),
    ] {
        flags.set(name, value).map_err(|error| failed(&error))?;
    }
    // One triple for all targets, because the code is to be the same; Cranelift derives from it the default calling convention and
    // the format of unwind information, System V in both cases.
    let triple = Triple {
        architecture: Architecture::X86_64,
        vendor: Vendor::Unknown,
        operating_system: OperatingSystem::Linux,
        environment: Environment::Unknown,
        binary_format: BinaryFormat::Elf,
    };
    let mut builder = isa::lookup(triple).map_err(|error| failed(&error))?;
    for (feature, flag) in FEATURE_FLAGS {
        if settings.cpu.contains(feature) {
            builder.enable(flag).map_err(|error| failed(&error))?;
        }
    }
    builder.finish(settings::Flags::new(flags)).map_err(|error| failed(&error))
}
