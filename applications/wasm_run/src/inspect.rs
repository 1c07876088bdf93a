//! `wasm_run inspect`: what is in an artifact. Nothing of it is loaded, so it may be for another system or CPU.

use crate::command_line::Inspect;
use crate::{Failure, Streams};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Display};
use wasm_artifact::debug_info::DebugInfo;
use wasm_artifact::module::{ConstExpr, DataMode, ElemItems, ElemMode, EntityType, Import};
use wasm_artifact::types::{FuncType, GlobalType, Limits, MemoryType, TableType};
use wasm_artifact::{
    Artifact, CodeTables, DefinedFuncIndex, EntityIndex, FuncIndex, Module, OptLevel, Seal, Trap, TypeIndex,
};
use wasm_engine::KeyId;

/// A compiled module and the file it is in.
pub(crate) struct Inspected<'f> {
    pub(crate) file: &'f [u8],
    pub(crate) artifact: Artifact,
}

/// Says what is in the file.
pub(crate) fn run(command: &Inspect<'_>, streams: Streams) -> Result<(), Failure> {
    let input = |reason: &dyn Display| Failure::Input(format!("{}: {reason}", command.file));
    let file = wasm_engine::read_file(command.file)
        .map_err(|error| input(&format!("{}; give the name of a .cwasm file", error.root_cause())))?;
    let artifact = Artifact::parse_for_any_host(&file).map_err(|error| input(&error))?;
    let inspected = Inspected { file: &file, artifact };
    #[cfg(target_os = "linux")]
    if let Some(function) = command.disasm {
        return crate::disasm::run(&inspected, function, streams).map_err(|error| input(&error));
    }
    let out = |text: fmt::Arguments<'_>| (streams.out)(text);
    out(format_args!("{}: {} bytes\n", command.file, file.len()));
    inspected.header(&out);
    inspected.sections(&out);
    inspected.interface(&out);
    inspected.memories(&out);
    inspected.segments(&out);
    inspected.functions(&out);
    inspected.trampolines(&out);
    inspected.trap_sites(&out, command.traps);
    Ok(())
}

/// Who signed, and what that is worth. That the signature is right was checked.
fn signer(seal: &Seal) -> String {
    if !seal.is_signed() {
        return "nobody".to_string();
    }
    let id = KeyId::of(seal.public_key());
    match wasm_engine::system_trusted_keys() {
        Ok(keys) if keys.contains(seal.public_key()) => format!("{id}, which this system trusts"),
        Ok(_) => format!("{id}, which this system does not trust"),
        Err(_) => format!("{id}; this system trusts no keys"),
    }
}

/// Where text goes.
type Out<'a> = &'a dyn Fn(fmt::Arguments<'_>);

/// A piece of the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Its first byte in `.text`.
    pub(crate) offset: u32,
    /// How many bytes it has.
    pub(crate) len: u32,
    /// What it is.
    pub(crate) kind: PieceKind,
}

/// What a piece of code is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PieceKind {
    /// A function.
    Function(DefinedFuncIndex),
    /// The trampoline by which the host calls a function.
    Entry(DefinedFuncIndex),
    /// The trampoline by which functions of the host are called that have this type.
    Exit(TypeIndex),
    /// The trampoline by which a function of the runtime is called.
    Builtin,
}

impl Inspected<'_> {
    fn module(&self) -> &Module {
        &self.artifact.module
    }

    pub(crate) fn tables(&self) -> CodeTables<'_> {
        self.artifact.sections.tables(self.file)
    }

    /// The code.
    #[cfg(target_os = "linux")]
    pub(crate) fn text(&self) -> &[u8] {
        &self.file[self.artifact.sections.text()]
    }

    fn header(&self, out: Out<'_>) {
        let engine = &self.artifact.engine;
        if let Some(name) = &self.module().name {
            out(format_args!("  module        {}\n", name.escape_debug()));
        }
        let effort = match engine.opt_level {
            OptLevel::None => "-O0",
            OptLevel::Speed => "-O2",
            OptLevel::SpeedAndSize => "-Os",
        };
        out(format_args!("  compiled by   {} {effort}\n", engine.version));
        out(format_args!("  target        {}\n", engine.target));
        out(format_args!("  cpu           {}\n", engine.cpu));
        let tunables = &engine.tunables;
        out(format_args!(
            "  memories      reserve {}, guard {}; those of at most {} reserve that\n",
            Size(tunables.memory_reservation),
            Size(tunables.memory_guard_size),
            Size(tunables.small_memory_limit)
        ));
        let debug_info = &self.file[self.artifact.sections.debug_info()];
        if DebugInfo::is_left_out(debug_info) {
            out(format_args!("  debug info    left out\n"));
        } else if !debug_info.is_empty() {
            out(format_args!(
                "  debug info    {} bytes of DWARF, for files and lines in backtraces\n",
                debug_info.len()
            ));
        }
        let yes = |asked| if asked { "yes" } else { "no" };
        let (fuel, epochs) = (yes(tunables.consume_fuel), yes(tunables.epoch_interruption));
        out(format_args!("  interruption  fuel {fuel}, epochs {epochs}; deadlines always\n"));
        if let Some(seal) = Seal::of(self.file) {
            out(format_args!("  hash          {}\n", seal.hash().map(|byte| format!("{byte:02x}")).concat()));
            out(format_args!("  signed by     {}\n", signer(&seal)));
        }
    }

    fn sections(&self, out: Out<'_>) {
        out(format_args!("sections:        offset      size\n"));
        for (name, range) in self.artifact.sections.iter() {
            out(format_args!("  {name:<14}{:>#9x} {:>9}\n", range.start, range.len()));
        }
    }

    /// Imports and exports, as the text format writes them.
    fn interface(&self, out: Out<'_>) {
        let module = self.module();
        heading(out, "imports", module.imports.len());
        for Import { module: from, name, ty } in &module.imports {
            out(format_args!(
                "  \"{}\" \"{}\" {}\n",
                from.escape_debug(),
                name.escape_debug(),
                self.entity(ty)
            ));
        }
        heading(out, "exports", module.exports.len());
        for export in &module.exports {
            let ty = module.entity_type(export.entity).map(|ty| self.entity(&ty)).unwrap_or_default();
            let number = match export.entity {
                EntityIndex::Func(index) => index.0,
                EntityIndex::Table(index) => index.0,
                EntityIndex::Memory(index) => index.0,
                EntityIndex::Global(index) => index.0,
                EntityIndex::Tag(index) => index.0,
                _ => continue,
            };
            out(format_args!("  \"{}\" {ty} number {number}\n", export.name.escape_debug()));
        }
        if let Some(start) = module.start {
            out(format_args!("start: function {}\n", self.function_label(start)));
        }
    }

    fn memories(&self, out: Out<'_>) {
        let module = self.module();
        heading(out, "memories", module.memories.len());
        for (number, memory) in (module.num_imported_memories..).zip(&module.memories) {
            let image = match &memory.image {
                Some(image) => format!(", image of {} bytes at {:#x}", image.len, image.memory_offset),
                None => String::new(),
            };
            let (reserved, guard) = (Size(memory.plan.reservation), Size(memory.plan.guard));
            out(format_args!(
                "  {number} {} reserves {reserved} and {guard} of guard{image}\n",
                memory_type(&memory.ty)
            ));
        }
        heading(out, "tables", module.tables.len());
        for (number, table) in (module.num_imported_tables..).zip(&module.tables) {
            out(format_args!("  {number} {} {}\n", table_type(&table.ty), constant(&table.init)));
        }
        heading(out, "globals", module.globals.len());
        for (number, global) in (module.num_imported_globals..).zip(&module.globals) {
            out(format_args!("  {number} {} {}\n", global_type(&global.ty), constant(&global.init)));
        }
    }

    fn segments(&self, out: Out<'_>) {
        let module = self.module();
        heading(out, "element segments", module.elems.len());
        for (number, segment) in module.elems.iter().enumerate() {
            let mode = match &segment.mode {
                ElemMode::Active { table, offset } => format!("table {} from {}", table.0, constant(offset)),
                ElemMode::Passive => "passive".to_string(),
                ElemMode::Declared => "declared".to_string(),
            };
            let items = match &segment.items {
                ElemItems::Functions(items) => items.len(),
                ElemItems::Expressions(items) => items.len(),
            };
            out(format_args!("  {number} {items} of {}, {mode}\n", segment.ty));
        }
        heading(out, "data segments", module.datas.len());
        for (number, segment) in module.datas.iter().enumerate() {
            let mode = match &segment.mode {
                DataMode::Active { memory, offset } => {
                    format!("memory {} from {}", memory.0, constant(offset))
                }
                DataMode::InImage => "part of its memory's image".to_string(),
                DataMode::Passive => "passive".to_string(),
            };
            out(format_args!("  {number} {} bytes, {mode}\n", segment.data.len()));
        }
    }

    fn functions(&self, out: Out<'_>) {
        let (module, tables) = (self.module(), self.tables());
        let defined = module.num_defined_functions();
        heading(out, "functions", defined as usize);
        if defined > 0 {
            out(format_args!("  number  in .wasm   in .text      size  type and name\n"));
        }
        let mut total = 0;
        for index in (0..defined).map(DefinedFuncIndex) {
            let Some(code) = tables.function(index) else { continue };
            let number = module.func_index(index);
            let ty = module.func_type(number).map(func_type).unwrap_or_default();
            let name = match tables.function_name(number) {
                Some(name) => format!(" ${}", name.escape_debug()),
                None => String::new(),
            };
            out(format_args!(
                "  {:>6} {:>#9x}  {:>#9x} {:>9}  {ty}{name}\n",
                number.0, code.wasm_offset, code.offset, code.len
            ));
            total += u64::from(code.len);
        }
        if defined > 0 {
            out(format_args!("  in all                      {total:>9}\n"));
        }
    }

    fn trampolines(&self, out: Out<'_>) {
        let (mut entries, mut exits, mut builtins) = ((0, 0), (0, 0), (0, 0));
        let Some(pieces) = self.pieces() else {
            out(format_args!("trampolines: not enough memory to count them\n"));
            return;
        };
        for piece in pieces {
            let counted = match piece.kind {
                PieceKind::Function(_) => continue,
                PieceKind::Entry(_) => &mut entries,
                PieceKind::Exit(_) => &mut exits,
                PieceKind::Builtin => &mut builtins,
            };
            counted.0 += 1;
            counted.1 += u64::from(piece.len);
        }
        out(format_args!("trampolines: {}\n", entries.0 + exits.0 + builtins.0));
        for (what, (count, bytes)) in [
            ("by which the host calls functions", entries),
            ("by which functions call the host", exits),
            ("by which functions call the runtime", builtins),
        ] {
            if count > 0 {
                out(format_args!("  {count:>6} {what}, {bytes} bytes\n"));
            }
        }
    }

    /// How many instructions may trap, by reason; with `all`, each of them.
    fn trap_sites(&self, out: Out<'_>, all: bool) {
        let tables = self.tables();
        let count = |trap: Trap| tables.trap_sites().filter(|site| site.1 == trap).count();
        let counts: Vec<(Trap, usize)> = Trap::ALL.iter().map(|trap| (*trap, count(*trap))).collect();
        heading(out, "trap sites", counts.iter().map(|(_, count)| count).sum());
        for (trap, count) in counts.iter().filter(|(_, count)| *count > 0) {
            out(format_args!("  {count:>6} {}\n", trap.message()));
        }
        if !all {
            return;
        }
        for (at, trap) in tables.trap_sites() {
            let place = match tables.function_at(at) {
                Some(index) => self.function_label(self.module().func_index(index)),
                None => "a trampoline".to_string(),
            };
            let wasm = match tables.wasm_offset_at(at) {
                Some(offset) => format!(" ({offset:#x} in the .wasm)"),
                None => String::new(),
            };
            out(format_args!("  {at:>#9x} {}, in {place}{wasm}\n", trap.message()));
        }
    }

    /// The number of a function, and its name if it has one.
    pub(crate) fn function_label(&self, index: FuncIndex) -> String {
        match self.tables().function_name(index) {
            Some(name) => format!("{} ${}", index.0, name.escape_debug()),
            None => index.0.to_string(),
        }
    }

    /// All pieces of the code, in order; `None` if there is not enough memory for the list.
    pub(crate) fn pieces(&self) -> Option<Vec<Piece>> {
        let (module, tables) = (self.module(), self.tables());
        let mut known: Vec<(u32, PieceKind)> = Vec::new();
        let most = 2 * module.num_defined_functions() as usize + module.types.len();
        known.try_reserve_exact(most).ok()?;
        for index in (0..module.num_defined_functions()).map(DefinedFuncIndex) {
            let Some(code) = tables.function(index) else { continue };
            known.push((code.offset, PieceKind::Function(index)));
            known.extend(code.array_to_wasm.map(|offset| (offset, PieceKind::Entry(index))));
        }
        // Types that are equal share a trampoline: it is shown as one of theirs.
        for ty in (0..module.types.len() as u32).map(TypeIndex) {
            known.extend(tables.wasm_to_array(ty).map(|offset| (offset, PieceKind::Exit(ty))));
        }
        known.sort_unstable_by_key(|(offset, _)| *offset);
        known.dedup_by_key(|(offset, _)| *offset);
        let mut pieces = Vec::new();
        pieces.try_reserve_exact(self.frames().count()).ok()?;
        pieces.extend(self.frames().map(|(offset, len)| {
            let kind = match known.binary_search_by_key(&offset, |(offset, _)| *offset) {
                Ok(at) => known[at].1,
                Err(_) => PieceKind::Builtin,
            };
            Piece { offset, len, kind }
        }));
        pieces.sort_unstable_by_key(|piece| piece.offset);
        Some(pieces)
    }

    /// Where pieces of code begin in `.text` and how long they are, by the unwind tables: every piece has an entry there.
    fn frames(&self) -> impl Iterator<Item = (u32, u32)> {
        /// Bytes of `.eh_frame_hdr` before its table.
        const HEADER: usize = 12;
        let sections = &self.artifact.sections;
        let (text, eh_frame, header) = (sections.text(), sections.eh_frame(), sections.eh_frame_hdr());
        let (eh_frame_bytes, table) = (&self.file[eh_frame.clone()], &self.file[header.clone()]);
        // All distances in the table are relative to its section.
        let place = move |distance: i32, section: usize| {
            usize::try_from(header.start as i64 + i64::from(distance) - section as i64).ok()
        };
        table.get(HEADER..).unwrap_or_default().chunks_exact(8).filter_map(move |entry| {
            let (code, frame) = (word(entry, 0)? as i32, word(entry, 4)? as i32);
            let offset = u32::try_from(place(code, text.start)?).ok()?;
            // Of a frame description, the fourth word is the length of its code.
            let len = word(eh_frame_bytes, place(frame, eh_frame.start)?.checked_add(12)?)?;
            let end = u64::from(offset) + u64::from(len);
            (end <= text.len() as u64).then_some((offset, len))
        })
    }

    /// The type of an import or export, as the text format writes it.
    fn entity(&self, ty: &EntityType) -> String {
        match ty {
            EntityType::Func(index) => {
                self.module().types.get(index.index()).map(func_type).unwrap_or_default()
            }
            EntityType::Table(ty) => table_type(ty),
            EntityType::Memory(ty) => memory_type(ty),
            EntityType::Global(ty) => global_type(ty),
            EntityType::Tag(index) => {
                self.module().types.get(index.index()).map(tag_type).unwrap_or_default()
            }
            _ => String::new(),
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn heading(out: Out<'_>, what: &str, count: usize) {
    out(format_args!("{what}: {count}\n"));
}

fn func_type(ty: &FuncType) -> String {
    let mut text = String::from("(func");
    for (what, types) in [("param", &ty.params), ("result", &ty.results)] {
        if !types.is_empty() {
            text += &format!(" ({what}");
            types.iter().for_each(|ty| text += &format!(" {ty}"));
            text.push(')');
        }
    }
    text + ")"
}

fn limits(limits: &Limits) -> String {
    match limits.max {
        Some(max) => format!("{} {max}", limits.min),
        None => limits.min.to_string(),
    }
}

fn table_type(ty: &TableType) -> String {
    format!("(table {} {})", limits(&ty.limits), ty.element)
}

fn memory_type(ty: &MemoryType) -> String {
    let shared = if ty.shared { " shared" } else { "" };
    format!("(memory {}{shared})", limits(&ty.limits))
}

fn tag_type(ty: &FuncType) -> String {
    format!("(tag {})", func_type(ty))
}

fn global_type(ty: &GlobalType) -> String {
    if ty.mutable { format!("(global (mut {}))", ty.content) } else { format!("(global {})", ty.content) }
}

/// A constant expression, as the text format writes it.
fn constant(expression: &ConstExpr) -> String {
    match expression {
        ConstExpr::I32(value) => format!("(i32.const {value})"),
        ConstExpr::I64(value) => format!("(i64.const {value})"),
        ConstExpr::F32(bits) => format!("(f32.const {:?})", f32::from_bits(*bits)),
        ConstExpr::F64(bits) => format!("(f64.const {:?})", f64::from_bits(*bits)),
        ConstExpr::V128(bits) => {
            let lanes = [0, 32, 64, 96].map(|shift| format!(" {:#010x}", (bits >> shift) as u32));
            format!("(v128.const i32x4{})", lanes.concat())
        }
        ConstExpr::GlobalGet(index) => format!("(global.get {})", index.0),
        ConstExpr::RefNull(ty) => {
            let text = format!("{ty:?}").to_lowercase();
            format!("(ref.null {text})")
        }
        ConstExpr::RefFunc(index) => format!("(ref.func {})", index.0),
        _ => String::from("(an expression)"),
    }
}

/// A number of bytes in the largest unit of which it is a multiple.
pub(crate) struct Size(pub(crate) u64);

impl Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        match units.iter().find(|(shift, _)| self.0 != 0 && self.0.is_multiple_of(1 << shift)) {
            Some((shift, unit)) => write!(f, "{} {unit}", self.0 >> shift),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_in_the_largest_unit_that_fits() {
        let sizes = [0, 1, 1024, 65536, 3 << 20, 4 << 30, (4 << 30) + 1].map(|size| Size(size).to_string());
        assert_eq!(sizes, ["0 bytes", "1 bytes", "1 KiB", "64 KiB", "3 MiB", "4 GiB", "4294967297 bytes"]);
    }
}
