//! The `.cwasm` file: how it is written, and how it is checked and read. Its layout is described in the [crate's page](crate).
//!
//! Writing and reading ELF by hand takes a page of code, because every file has the same sections in the same order; so the
//! reader can insist on exactly that, and the runtime needs no ELF library to be loaded first.

use crate::cpu::CpuFeatures;
use crate::fallible;
use crate::handlers::HandlerClause;
use crate::module::Module;
use crate::side_table::SideTable;
use crate::sign::{self, KeyId, PUBLIC_KEY_SIZE, PublicKey, SIGNATURE_SIZE, SigningKey};
use crate::tables::CodeTables;
use crate::trap::Trap;
use crate::tunables::Tunables;
use alloc::string::String;
use alloc::vec::Vec;
use bincode::error::DecodeError;
use core::cmp::Ordering;
use core::fmt;
use core::ops::Range;
use serde::{Deserialize, Serialize};

/// Alignment of `.text` and `.rodata.wasm`, in bytes: the page size of every supported target.
pub const PAGE_SIZE: usize = 4096;

/// Version of the file's outer format. Changes when a reader of the old one could misread the new one.
pub const FORMAT_VERSION: u8 = 6;

/// Version of everything else: metadata, VMContext layout, ABIs. An artifact of another version is refused.
pub const ENGINE_VERSION: &str = concat!("wasm_engine ", env!("CARGO_PKG_VERSION"));

/// `EI_OSABI` of a `.cwasm`: in the range ELF leaves to architectures and embedders.
const OSABI: u8 = 201;
/// `e_flags`: the artifact is a core module.
const KIND_MODULE: u32 = 1;
const EM_X86_64: u16 = 62;
const ET_DYN: u16 = 3;
const SHT_PROGBITS: u32 = 1;
const SHT_STRTAB: u32 = 3;
const SHF_ALLOC: u64 = 2;
const SHF_EXECINSTR: u64 = 4;
const EHDR_SIZE: usize = 64;
const SHDR_SIZE: usize = 64;
const HASH_SIZE: usize = 32;
/// Bytes of the seal: hash, public key, signature.
pub const SEAL_SIZE: usize = HASH_SIZE + PUBLIC_KEY_SIZE + SIGNATURE_SIZE;
/// Upper bound on what decoding metadata may allocate at once, in bytes.
const DECODE_LIMIT: usize = 256 << 20;

struct SectionKind {
    name: &'static str,
    flags: u64,
    align: usize,
}

const fn data_section(name: &'static str, align: usize) -> SectionKind {
    SectionKind { name, flags: SHF_ALLOC, align }
}

const TEXT: usize = 0;
const EH_FRAME: usize = 1;
const EH_FRAME_HDR: usize = 2;
const TRAPS: usize = 3;
const ADDRMAP: usize = 4;
const HANDLERS: usize = 5;
const FUNCS: usize = 6;
const NAMES: usize = 7;
const DEBUG: usize = 8;
const INFO: usize = 9;
const ENGINE: usize = 10;
const RODATA: usize = 11;
const SHSTRTAB: usize = 12;
const SEAL: usize = 13;
const NUM_SECTIONS: usize = 14;
/// Bytes of all section headers, the null one included.
const HEADERS_SIZE: usize = (NUM_SECTIONS + 1) * SHDR_SIZE;

/// All sections but the null one, in file order.
const SECTIONS: [SectionKind; NUM_SECTIONS] = [
    SectionKind { name: ".text", flags: SHF_ALLOC | SHF_EXECINSTR, align: PAGE_SIZE },
    data_section(".eh_frame", 8),
    data_section(".eh_frame_hdr", 8),
    data_section(".wasmc.traps", 4),
    data_section(".wasmc.addrmap", 4),
    data_section(".wasmc.handlers", 4),
    data_section(".wasmc.funcs", 4),
    data_section(".wasmc.names", 4),
    data_section(".wasmc.debug", 4),
    data_section(".wasmc.info", 4),
    data_section(".wasmc.engine", 4),
    data_section(".rodata.wasm", PAGE_SIZE),
    SectionKind { name: ".shstrtab", flags: 0, align: 1 },
    // Behind the section headers, at the very end of the file.
    SectionKind { name: ".wasmc.seal", flags: 0, align: 8 },
];

/// How much the compiler tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OptLevel {
    /// As fast as possible to compile.
    None,
    /// As fast as possible to run.
    #[default]
    Speed,
    /// As `Speed`, but small where both are not to be had.
    SpeedAndSize,
}

/// What code was compiled by and for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineInfo {
    /// [`ENGINE_VERSION`] of the compiler.
    #[serde(deserialize_with = "crate::fallible::string")]
    pub version: String,
    /// What it runs on: `x86_64-theseus` or `x86_64-linux`.
    #[serde(deserialize_with = "crate::fallible::string")]
    pub target: String,
    /// CPU features that the code may use.
    pub cpu: CpuFeatures,
    /// How it was optimised; does not matter for loading.
    pub opt_level: OptLevel,
    /// What was assumed of memories.
    pub tunables: Tunables,
}

/// What an artifact must fit to run here.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    /// The running system, as in [`EngineInfo::target`].
    pub target: &'a str,
    /// What its CPUs can do: usually [`CpuFeatures::of_this_cpu`].
    pub cpu: CpuFeatures,
    /// How its runtime makes memories.
    pub tunables: Tunables,
}

/// Why a file was refused. Each text names the cause and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArtifactError {
    /// Nothing in it.
    Empty,
    /// A WebAssembly binary or something else altogether.
    NotAnArtifact,
    /// Another kind of artifact, by its `e_flags`.
    UnknownKind(u32),
    /// Another [`FORMAT_VERSION`].
    FormatVersion(u8),
    /// Shorter than its own header says.
    Cut {
        /// Bytes it should have.
        expected: u64,
        /// Bytes it has.
        found: u64,
    },
    /// Not what any compiler writes, though the hash may be right.
    Damaged(&'static str),
    /// The content is not what the compiler wrote.
    HashMismatch,
    /// Nobody says that it is theirs.
    Unsigned,
    /// The signer is none of those who are trusted; whether the signature is right was not looked at.
    UnknownKey(KeyId),
    /// The signer would be trusted, but this is not what was signed.
    Signature(KeyId),
    /// Another [`ENGINE_VERSION`].
    Version(String),
    /// For another system.
    Target {
        /// What it was compiled for.
        found: String,
        /// What this is.
        expected: String,
    },
    /// Needs CPU features that this machine lacks.
    CpuFeatures(CpuFeatures),
    /// Compiled with other assumptions about memories.
    Tunables,
    /// Compiled to consume fuel, or not to, other than the engine wants it.
    Fuel {
        /// Whether the artifact does.
        consumed: bool,
    },
    /// Compiled to look at epochs, or not to, other than the engine wants it.
    Epochs {
        /// Whether the artifact does.
        looked_at: bool,
    },
    /// There is not enough memory for what it says of the module.
    OutOfMemory,
}

impl fmt::Display for ArtifactError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArtifactError::Empty => f.write_str("the file is empty; compile a module with wasmc"),
            ArtifactError::NotAnArtifact => {
                f.write_str("not a compiled module (.cwasm); compile the .wasm or .wat file with wasmc")
            }
            ArtifactError::UnknownKind(kind) => {
                write!(
                    f,
                    "the artifact is of kind {kind}, but only modules (kind {KIND_MODULE}) can be loaded; compile a module"
                )
            }
            ArtifactError::FormatVersion(found) => {
                write!(
                    f,
                    "the artifact has format version {found}, this engine reads {FORMAT_VERSION}; compile it again"
                )
            }
            ArtifactError::Cut { expected, found } => {
                write!(
                    f,
                    "the artifact is cut: {found} bytes instead of {expected}; copy or compile it again"
                )
            }
            ArtifactError::Damaged(what) => {
                write!(f, "the artifact is damaged ({what}); copy or compile it again")
            }
            ArtifactError::HashMismatch => f.write_str(
                "the artifact is damaged (its content does not match its hash); copy or compile it again",
            ),
            ArtifactError::Unsigned => f.write_str(
                "the artifact is not signed; compile it here, or sign it with a key that this system trusts, or give --trust if \
                 you know who made it",
            ),
            ArtifactError::UnknownKey(key) => write!(
                f,
                "the artifact is signed by the key {key}, which this system does not trust; compile it here, or sign it with \
                 another key, or give --trust if you know who made it"
            ),
            ArtifactError::Signature(key) => write!(
                f,
                "the artifact is not what the key {key} signed, though it says so: somebody forged or damaged it; \
                 compile it again"
            ),
            ArtifactError::Version(found) => {
                write!(
                    f,
                    "the artifact was compiled by \"{found}\", this is \"{ENGINE_VERSION}\"; compile it again"
                )
            }
            ArtifactError::Target { found, expected } => {
                write!(f, "the artifact was compiled for {found}; compile it again with --target {expected}")
            }
            ArtifactError::CpuFeatures(missing) => {
                write!(
                    f,
                    "the artifact needs CPU features this machine lacks: {missing}; compile it again with a lower --cpu"
                )
            }
            ArtifactError::Tunables => f.write_str(
                "the artifact was compiled for other memory reservations or guards; compile it again",
            ),
            ArtifactError::Fuel { consumed: true } => f.write_str(
                "the artifact was compiled to consume fuel; give it some (--fuel), or compile it again without",
            ),
            ArtifactError::Fuel { consumed: false } => {
                f.write_str("the artifact was not compiled to consume fuel; compile it again with --fuel")
            }
            ArtifactError::Epochs { looked_at: true } => f.write_str(
                "the artifact was compiled to be interrupted by epochs, of which there are none here; compile it again without",
            ),
            ArtifactError::Epochs { looked_at: false } => f.write_str(
                "the artifact was not compiled to be interrupted by epochs; compile it again with --epochs",
            ),
            ArtifactError::OutOfMemory => {
                f.write_str("not enough memory to load the artifact; free some, or give the machine more")
            }
        }
    }
}

impl core::error::Error for ArtifactError {}

/// Where the sections of a file are, as ranges of its bytes. Outlives the bytes it was read from, for copies and mappings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sections {
    ranges: [Range<usize>; NUM_SECTIONS],
}

impl Sections {
    /// The code: starts and ends at multiples of [`PAGE_SIZE`]. Empty when the module has no functions and no types.
    pub fn text(&self) -> Range<usize> {
        self.ranges[TEXT].clone()
    }

    /// Call frame information for [`Self::text`].
    pub fn eh_frame(&self) -> Range<usize> {
        self.ranges[EH_FRAME].clone()
    }

    /// The binary-search table for [`Self::eh_frame`].
    pub fn eh_frame_hdr(&self) -> Range<usize> {
        self.ranges[EH_FRAME_HDR].clone()
    }

    /// What is kept of the module's debug information; see [`crate::debug_info`].
    pub fn debug_info(&self) -> Range<usize> {
        self.ranges[DEBUG].clone()
    }

    /// Data segments and memory images: starts and ends at multiples of [`PAGE_SIZE`].
    pub fn rodata(&self) -> Range<usize> {
        self.ranges[RODATA].clone()
    }

    /// Names and ranges of all sections, in file order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Range<usize>)> {
        SECTIONS.iter().zip(&self.ranges).map(|(kind, range)| (kind.name, range.clone()))
    }

    /// The tables in a copy or mapping of the file, which must have been parsed.
    ///
    /// # Panics
    /// When the bytes are not those of the file that was parsed.
    pub fn tables<'a>(&self, file: &'a [u8]) -> CodeTables<'a> {
        self.try_tables(file).expect("the sections are of another file")
    }

    /// What [`CodeTables::trap_at`] says, at less cost: for the trap handler.
    #[inline]
    pub fn trap_at(&self, file: &[u8], text_offset: u32) -> Option<Trap> {
        let traps = SideTable::new(file.get(self.ranges[TRAPS].clone())?)?;
        Trap::from_u8(u8::try_from(traps.get(text_offset)?).ok()?)
    }

    fn try_tables<'a>(&self, file: &'a [u8]) -> Option<CodeTables<'a>> {
        let section = |number: usize| file.get(self.ranges[number].clone());
        CodeTables::new(
            section(TRAPS)?,
            section(ADDRMAP)?,
            section(HANDLERS)?,
            section(FUNCS)?,
            section(NAMES)?,
        )
    }
}

/// An artifact that was checked and decoded. Code and tables stay in the file's bytes.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// Where things are.
    pub sections: Sections,
    /// What it was compiled by and for.
    pub engine: EngineInfo,
    /// What the module declares.
    pub module: Module,
}

impl Artifact {
    /// Whether the bytes start like an artifact, so that an error of [`Artifact::parse`] is of interest.
    pub fn detect(file: &[u8]) -> bool {
        file.starts_with(b"\x7fELF") && file.get(7) == Some(&OSABI)
    }

    /// Checks a file and decodes its metadata. Of its content nothing is believed before the seal was found to be right.
    ///
    /// # Errors
    /// Whatever is wrong with the file; it never panics, whatever the bytes are.
    pub fn parse(file: &[u8], host: &Host<'_>, trust: Trust<'_>) -> Result<Artifact, ArtifactError> {
        let artifact = Self::check(file, trust)?;
        let EngineInfo { target, cpu, tunables, .. } = &artifact.engine;
        if target != host.target {
            return Err(ArtifactError::Target { found: target.clone(), expected: host.target.into() });
        }
        let missing = cpu.difference(host.cpu);
        if !missing.is_empty() {
            return Err(ArtifactError::CpuFeatures(missing));
        }
        if tunables.consume_fuel != host.tunables.consume_fuel {
            return Err(ArtifactError::Fuel { consumed: tunables.consume_fuel });
        }
        if tunables.epoch_interruption != host.tunables.epoch_interruption {
            return Err(ArtifactError::Epochs { looked_at: tunables.epoch_interruption });
        }
        if *tunables != host.tunables {
            return Err(ArtifactError::Tunables);
        }
        Ok(artifact)
    }

    /// As [`Artifact::parse`], for looking at an artifact that is not to be run here, whoever made it.
    ///
    /// # Errors
    /// As [`Artifact::parse`], but not for signer, target, CPU features and tunables.
    pub fn parse_for_any_host(file: &[u8]) -> Result<Artifact, ArtifactError> {
        Self::check(file, Trust::Anybody)
    }

    fn check(file: &[u8], trust: Trust<'_>) -> Result<Artifact, ArtifactError> {
        check_start(file)?;
        check_seal(file, trust)?;
        let sections = read_sections(file)?;
        let section = |number: usize| &file[sections.ranges[number].clone()];
        let engine: EngineInfo = decode(section(ENGINE), "engine section")?;
        if engine.version != ENGINE_VERSION {
            return Err(ArtifactError::Version(engine.version));
        }
        let module: Module = decode(section(INFO), "info section")?;
        let tables = sections.try_tables(file).ok_or(ArtifactError::Damaged("side tables"))?;
        check_tables(&module, &tables, sections.text().len(), sections.rodata().len())?;
        Ok(Artifact { sections, engine, module })
    }
}

/// Whose artifacts are believed.
#[derive(Clone, Copy)]
pub enum Trust<'a> {
    /// Those of signers whose public keys this says yes to.
    SignedBy(&'a dyn Fn(&[u8; PUBLIC_KEY_SIZE]) -> bool),
    /// Everybody's, and nobody's: whoever says so vouches for the file. It must still be whole, and what is signed signed rightly.
    Anybody,
    /// The caller's own: the compiler has just made the file, in memory that nobody else writes to. Not even its hash is looked at.
    JustCompiled,
}

impl fmt::Debug for Trust<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Trust::SignedBy(_) => "SignedBy",
            Trust::Anybody => "Anybody",
            Trust::JustCompiled => "JustCompiled",
        })
    }
}

/// The last bytes of an artifact; see the [crate's page](crate#the-seal). Reading one checks nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    hash: [u8; HASH_SIZE],
    public_key: [u8; PUBLIC_KEY_SIZE],
    signature: [u8; SIGNATURE_SIZE],
}

impl Seal {
    /// The seal of a file, unchecked. `None` if the file cannot have one.
    pub fn of(file: &[u8]) -> Option<Seal> {
        if !Artifact::detect(file) || file.len() < EHDR_SIZE + SEAL_SIZE {
            return None;
        }
        let seal = file.last_chunk::<SEAL_SIZE>()?;
        let (hash, rest) = seal.split_first_chunk()?;
        let (public_key, rest) = rest.split_first_chunk()?;
        Some(Seal { hash: *hash, public_key: *public_key, signature: *rest.first_chunk()? })
    }

    fn encode(&self) -> [u8; SEAL_SIZE] {
        let mut bytes = [0; SEAL_SIZE];
        bytes[..HASH_SIZE].copy_from_slice(&self.hash);
        bytes[HASH_SIZE..][..PUBLIC_KEY_SIZE].copy_from_slice(&self.public_key);
        bytes[HASH_SIZE + PUBLIC_KEY_SIZE..].copy_from_slice(&self.signature);
        bytes
    }

    /// What tells artifacts apart, whoever signed them: the BLAKE3 hash of all before the seal.
    pub fn hash(&self) -> &[u8; HASH_SIZE] {
        &self.hash
    }

    /// Whether it is the seal of somebody at all.
    pub fn is_signed(&self) -> bool {
        self.public_key != [0; PUBLIC_KEY_SIZE] || self.signature != [0; SIGNATURE_SIZE]
    }

    /// The public key of the signer, as it stands there.
    pub fn public_key(&self) -> &[u8; PUBLIC_KEY_SIZE] {
        &self.public_key
    }

    /// Whether the signature is one of that key for that hash.
    pub fn signature_is_right(&self) -> bool {
        sign::verifies(&self.public_key, &self.hash, &self.signature)
    }
}

/// Signs a file that [`write()`] made, in place; a signature that it has is replaced. Returns whether it is such a file.
pub fn sign(file: &mut [u8], key: &SigningKey) -> bool {
    let Some(seal) = Seal::of(file) else { return false };
    let (public_key, signature) = (*key.public_key().as_bytes(), key.sign(&seal.hash));
    replace_seal(file, &Seal { public_key, signature, ..seal });
    true
}

/// Takes the signature away, so that the file is as [`write()`] made it. Returns whether it is such a file.
pub fn unsign(file: &mut [u8]) -> bool {
    let Some(seal) = Seal::of(file) else { return false };
    replace_seal(file, &Seal { public_key: [0; PUBLIC_KEY_SIZE], signature: [0; SIGNATURE_SIZE], ..seal });
    true
}

fn replace_seal(file: &mut [u8], seal: &Seal) {
    let start = file.len() - SEAL_SIZE;
    file[start..].copy_from_slice(&seal.encode());
}

/// Whether the file is an artifact of this format at all. What is read here decides on nothing but the words of a refusal.
fn check_start(file: &[u8]) -> Result<(), ArtifactError> {
    if file.is_empty() {
        return Err(ArtifactError::Empty);
    }
    if !Artifact::detect(file) {
        return Err(ArtifactError::NotAnArtifact);
    }
    let least = EHDR_SIZE + HEADERS_SIZE + SEAL_SIZE;
    if file.len() < least {
        return Err(ArtifactError::Cut { expected: least as u64, found: file.len() as u64 });
    }
    if file[8] != FORMAT_VERSION {
        return Err(ArtifactError::FormatVersion(file[8]));
    }
    Ok(())
}

/// Whether all before the seal is what the seal says, and whether that is of somebody who is trusted.
fn check_seal(file: &[u8], trust: Trust<'_>) -> Result<(), ArtifactError> {
    if matches!(trust, Trust::JustCompiled) {
        return Ok(());
    }
    let seal = Seal::of(file).ok_or(ArtifactError::NotAnArtifact)?;
    if content_hash(file) != seal.hash {
        return Err(damage(file));
    }
    let id = || KeyId::of(&seal.public_key);
    match trust {
        Trust::SignedBy(_) if !seal.is_signed() => return Err(ArtifactError::Unsigned),
        Trust::SignedBy(is_trusted) if !is_trusted(&seal.public_key) => {
            return Err(ArtifactError::UnknownKey(id()));
        }
        Trust::Anybody if !seal.is_signed() => return Ok(()),
        _ => {}
    }
    // A signature must be right, whether it matters or not: so that a file with any byte changed is refused. Whoever trusts bytes that
    // are no key, or one for which anybody can sign, gets no further either.
    let key = PublicKey::from_bytes(seal.public_key).ok_or_else(|| ArtifactError::Signature(id()))?;
    if key.verifies(&seal.hash, &seal.signature) { Ok(()) } else { Err(ArtifactError::Signature(id())) }
}

/// What is wrong with a file whose hash is not right, as far as its own length shows it.
fn damage(file: &[u8]) -> ArtifactError {
    let found = file.len() as u64;
    let expected = read_u64(file, 40).saturating_add((HEADERS_SIZE + SEAL_SIZE) as u64);
    if *file.first_chunk::<EHDR_SIZE>().unwrap_or(&[0; EHDR_SIZE]) != elf_header(read_u64(file, 40)) {
        return ArtifactError::HashMismatch;
    }
    match found.cmp(&expected) {
        Ordering::Less => ArtifactError::Cut { expected, found },
        Ordering::Greater => ArtifactError::Damaged("bytes after its end"),
        Ordering::Equal => ArtifactError::HashMismatch,
    }
}

/// Code ranges within `.text`, data ranges within `.rodata.wasm`, one function record per function.
fn check_tables(
    module: &Module,
    tables: &CodeTables<'_>,
    text: usize,
    rodata: usize,
) -> Result<(), ArtifactError> {
    let defined = module.functions.len().checked_sub(module.num_imported_functions as usize);
    if defined != Some(tables.num_functions()) || tables.num_types() != module.types.len() {
        return Err(ArtifactError::Damaged("function table"));
    }
    let functions =
        (0..tables.num_functions() as u32).filter_map(|n| tables.function(crate::DefinedFuncIndex(n)));
    let trampolines =
        (0..tables.num_types() as u32).filter_map(|n| tables.wasm_to_array(crate::TypeIndex(n)));
    let mut offsets = functions
        .flat_map(|function| {
            [u64::from(function.offset) + u64::from(function.len), function.array_to_wasm.unwrap_or(0).into()]
        })
        .chain(trampolines.map(u64::from));
    if offsets.any(|offset| offset > text as u64) {
        return Err(ArtifactError::Damaged("function outside of .text"));
    }
    let tag_types_exist = module.tags.iter().all(|ty| ty.index() < module.types.len());
    if module.num_imported_tags as usize > module.tags.len() || !tag_types_exist {
        return Err(ArtifactError::Damaged("tags"));
    }
    for (return_address, call) in tables.handled_calls() {
        let mut clauses = call.ok_or(ArtifactError::Damaged("handler table"))?.clauses();
        let is_wrong = |clause: HandlerClause| {
            clause.landing_pad as usize > text
                || clause.tag.is_some_and(|tag| tag.index() >= module.tags.len())
        };
        if return_address as usize > text || clauses.any(is_wrong) {
            return Err(ArtifactError::Damaged("handler table"));
        }
    }
    let images = module.memories.iter().filter_map(|memory| memory.image.as_ref());
    let images = images
        .map(|image| (u64::from(image.data_offset), u64::from(image.data_offset) + u64::from(image.len)));
    let datas = module.datas.iter().map(|data| (u64::from(data.data.start), u64::from(data.data.end)));
    if images.chain(datas).any(|(start, end)| start > end || end > rodata as u64) {
        return Err(ArtifactError::Damaged("data outside of .rodata.wasm"));
    }
    Ok(())
}

fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8], what: &'static str) -> Result<T, ArtifactError> {
    let config = bincode::config::standard().with_limit::<DECODE_LIMIT>();
    match bincode::serde::borrow_decode_from_slice(bytes, config) {
        Ok((value, length)) if length == bytes.len() => Ok(value),
        Err(DecodeError::OtherString(text)) if text == fallible::OUT_OF_MEMORY => {
            Err(ArtifactError::OutOfMemory)
        }
        _ => Err(ArtifactError::Damaged(what)),
    }
}

/// The hash of all before the seal, which must be there.
fn content_hash(file: &[u8]) -> [u8; HASH_SIZE] {
    *blake3::hash(&file[..file.len() - SEAL_SIZE]).as_bytes()
}

fn read_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from(read_u16(bytes, at)) | u32::from(read_u16(bytes, at + 2)) << 16
}

fn read_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from(read_u32(bytes, at)) | u64::from(read_u32(bytes, at + 4)) << 32
}

/// Checks the ELF header and every section header against what [`write`] produces.
fn read_sections(file: &[u8]) -> Result<Sections, ArtifactError> {
    let found = file.len() as u64;
    let Some(header) = file.first_chunk::<EHDR_SIZE>() else {
        return Err(ArtifactError::Cut { expected: EHDR_SIZE as u64, found });
    };
    let kind = read_u32(header, 48);
    if kind != KIND_MODULE {
        return Err(ArtifactError::UnknownKind(kind));
    }
    let shoff = read_u64(header, 40);
    if *header != elf_header(shoff) {
        return Err(ArtifactError::Damaged("ELF header"));
    }
    let expected = shoff.checked_add((HEADERS_SIZE + SEAL_SIZE) as u64);
    let expected = expected.ok_or(ArtifactError::Damaged("ELF header"))?;
    if found < expected {
        return Err(ArtifactError::Cut { expected, found });
    }
    if found > expected {
        return Err(ArtifactError::Damaged("bytes after its end"));
    }
    // `found == expected` says that `shoff` fits.
    let headers = &file[shoff as usize..];
    if headers[..SHDR_SIZE].iter().any(|&byte| byte != 0) {
        return Err(ArtifactError::Damaged("section header"));
    }
    let mut ranges = [const { 0..0 }; NUM_SECTIONS];
    let mut end = EHDR_SIZE as u64;
    for (number, range) in ranges.iter_mut().enumerate() {
        let header = &headers[(number + 1) * SHDR_SIZE..][..SHDR_SIZE];
        let (offset, size) = (read_u64(header, 24), read_u64(header, 32));
        if header != section_header(number, offset, size) {
            return Err(ArtifactError::Damaged("section header"));
        }
        // The seal alone comes after the section headers, and is all that does.
        let (least, most) =
            if number == SEAL { (expected - SEAL_SIZE as u64, expected) } else { (end, shoff) };
        let section_end =
            offset.checked_add(size).filter(|&section_end| offset >= least && section_end <= most);
        end = section_end.ok_or(ArtifactError::Damaged("section bounds"))?;
        if offset % SECTIONS[number].align as u64 != 0 {
            return Err(ArtifactError::Damaged("section alignment"));
        }
        *range = offset as usize..end as usize;
    }
    for number in [TEXT, RODATA] {
        if !ranges[number].len().is_multiple_of(PAGE_SIZE) {
            return Err(ArtifactError::Damaged("section size"));
        }
    }
    if ranges[SEAL].len() != SEAL_SIZE || !section_names().eq(file[ranges[SHSTRTAB].clone()].iter().copied())
    {
        return Err(ArtifactError::Damaged("section contents"));
    }
    Ok(Sections { ranges })
}

fn elf_header(shoff: u64) -> [u8; EHDR_SIZE] {
    let mut header = [0; EHDR_SIZE];
    // 64-bit, little-endian, ELF version 1.
    header[..9].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, OSABI, FORMAT_VERSION]);
    header[16..18].copy_from_slice(&ET_DYN.to_le_bytes());
    header[18..20].copy_from_slice(&EM_X86_64.to_le_bytes());
    header[20..24].copy_from_slice(&1u32.to_le_bytes());
    header[40..48].copy_from_slice(&shoff.to_le_bytes());
    header[48..52].copy_from_slice(&KIND_MODULE.to_le_bytes());
    header[52..54].copy_from_slice(&(EHDR_SIZE as u16).to_le_bytes());
    header[58..60].copy_from_slice(&(SHDR_SIZE as u16).to_le_bytes());
    header[60..62].copy_from_slice(&(NUM_SECTIONS as u16 + 1).to_le_bytes());
    header[62..64].copy_from_slice(&(SHSTRTAB as u16 + 1).to_le_bytes());
    header
}

fn section_header(number: usize, offset: u64, size: u64) -> [u8; SHDR_SIZE] {
    let kind = &SECTIONS[number];
    let name_offset = 1 + SECTIONS[..number].iter().map(|kind| kind.name.len() + 1).sum::<usize>();
    let section_type = if number == SHSTRTAB { SHT_STRTAB } else { SHT_PROGBITS };
    let address = if kind.flags & SHF_ALLOC != 0 { offset } else { 0 };
    let mut header = [0; SHDR_SIZE];
    header[..4].copy_from_slice(&(name_offset as u32).to_le_bytes());
    header[4..8].copy_from_slice(&section_type.to_le_bytes());
    for (at, field) in [(8, kind.flags), (16, address), (24, offset), (32, size), (48, kind.align as u64)] {
        header[at..at + 8].copy_from_slice(&field.to_le_bytes());
    }
    header
}

fn section_names() -> impl Iterator<Item = u8> {
    let end = core::iter::once(0);
    end.clone().chain(SECTIONS.iter().flat_map(move |kind| kind.name.bytes().chain(end.clone())))
}

/// What a compiler hands over to be written.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    /// What the code was compiled by and for; `version` is [`ENGINE_VERSION`].
    pub engine: &'a EngineInfo,
    /// What the module declares.
    pub module: &'a Module,
    /// The code. It is filled up to a whole page with [`TEXT_PADDING`].
    pub text: &'a [u8],
    /// Call frame information; starts [`eh_frame_distance`] after the code.
    pub eh_frame: &'a [u8],
    /// Its search table; starts [`eh_frame_hdr_distance`] after `eh_frame`.
    pub eh_frame_hdr: &'a [u8],
    /// Trap sites, made by [`crate::side_table::encode`].
    pub traps: &'a [u8],
    /// The address map, made by [`crate::side_table::encode`].
    pub address_map: &'a [u8],
    /// Made by [`crate::handlers::encode`].
    pub handlers: &'a [u8],
    /// Made by [`crate::tables::encode_functions`].
    pub functions: &'a [u8],
    /// Made by [`crate::tables::encode_names`].
    pub names: &'a [u8],
    /// Made by [`crate::debug_info::DebugInfoBuilder::encode`].
    pub debug_info: &'a [u8],
    /// Data segments and memory images. It is filled up to a whole page with zeros.
    pub rodata: &'a [u8],
}

/// What fills up `.text`: `int3`, which is no trap site.
pub const TEXT_PADDING: u8 = 0xcc;

/// How far after the start of `.text` the section `.eh_frame` starts, in bytes.
pub const fn eh_frame_distance(text_len: usize) -> usize {
    text_len.next_multiple_of(PAGE_SIZE)
}

/// How far after the start of `.eh_frame` the section `.eh_frame_hdr` starts, in bytes.
pub const fn eh_frame_hdr_distance(eh_frame_len: usize) -> usize {
    eh_frame_len.next_multiple_of(SECTIONS[EH_FRAME_HDR].align)
}

/// The file could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteError {
    /// There is not enough memory for this many bytes.
    OutOfMemory(usize),
    /// The metadata could not be encoded.
    Encoding,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::OutOfMemory(size) => {
                write!(f, "not enough memory for an artifact of {size} bytes; free some")
            }
            WriteError::Encoding => {
                f.write_str("the module's metadata is too large to be encoded; split the module")
            }
        }
    }
}

impl core::error::Error for WriteError {}

/// Writes a file, which nobody has signed yet. The same parts give the same bytes.
///
/// # Errors
/// When memory for the file is lacking.
pub fn write(parts: &Parts<'_>) -> Result<Vec<u8>, WriteError> {
    let config = bincode::config::standard();
    let info = bincode::serde::encode_to_vec(parts.module, config).map_err(|_| WriteError::Encoding)?;
    let engine = bincode::serde::encode_to_vec(parts.engine, config).map_err(|_| WriteError::Encoding)?;
    let names: Vec<u8> = section_names().collect();
    let contents: [&[u8]; NUM_SECTIONS] = [
        parts.text,
        parts.eh_frame,
        parts.eh_frame_hdr,
        parts.traps,
        parts.address_map,
        parts.handlers,
        parts.functions,
        parts.names,
        parts.debug_info,
        &info,
        &engine,
        parts.rodata,
        &names,
        &[],
    ];
    let most =
        contents.iter().zip(&SECTIONS).map(|(bytes, kind)| bytes.len() + 2 * kind.align).sum::<usize>()
            + EHDR_SIZE
            + HEADERS_SIZE
            + SEAL_SIZE;
    let mut file = Vec::new();
    file.try_reserve_exact(most).map_err(|_| WriteError::OutOfMemory(most))?;
    file.resize(EHDR_SIZE, 0);
    let mut headers = alloc::vec![0; SHDR_SIZE];
    for (number, bytes) in contents.iter().enumerate().take(SEAL) {
        file.resize(file.len().next_multiple_of(SECTIONS[number].align), 0);
        let offset = file.len();
        file.extend_from_slice(bytes);
        match number {
            TEXT => file.resize(file.len().next_multiple_of(PAGE_SIZE), TEXT_PADDING),
            RODATA => file.resize(file.len().next_multiple_of(PAGE_SIZE), 0),
            _ => {}
        }
        headers.extend(section_header(number, offset as u64, (file.len() - offset) as u64));
    }
    file.resize(file.len().next_multiple_of(8), 0);
    let shoff = file.len() as u64;
    file[..EHDR_SIZE].copy_from_slice(&elf_header(shoff));
    headers.extend(section_header(SEAL, shoff + HEADERS_SIZE as u64, SEAL_SIZE as u64));
    file.extend(headers);
    file.resize(file.len() + SEAL_SIZE, 0);
    let hash = content_hash(&file);
    let start = file.len() - SEAL_SIZE;
    file[start..][..HASH_SIZE].copy_from_slice(&hash);
    Ok(file)
}

#[cfg(test)]
mod tests;
