//! `--sizes`: what takes how much memory.

use crate_metadata::Layout;
use object::{LittleEndian, Object, ObjectSection, SectionKind, read::elf::ElfFile64};

use crate::{Outcome, crates::CrateObject};

/// Prints a line per crate, and one for the base image.
pub fn print_sizes(
    objects: &[CrateObject],
    base: &[u8],
    symbols_size: usize,
    archive_size: usize,
) -> Outcome<()> {
    println!(
        "{:>9} {:>9} {:>9} {:>7} {:>8} {:>9}  crate (bytes in memory; relocations; bytes of file)",
        "text", "rodata", "data", "tls", "relocs", "file"
    );
    let image = ElfFile64::<LittleEndian>::parse(base)?;
    let (mut text, mut rodata, mut data, mut tls) = (0, 0, 0, 0);
    for section in image.sections() {
        match section.kind() {
            SectionKind::Text => text += section.size(),
            SectionKind::ReadOnlyData | SectionKind::ReadOnlyString => rodata += section.size(),
            SectionKind::Data | SectionKind::UninitializedData | SectionKind::ReadOnlyDataWithRel => {
                data += section.size();
            }
            SectionKind::Tls | SectionKind::UninitializedTls => tls += section.size(),
            // Unwind tables have a type of their own.
            SectionKind::Elf(_) => rodata += section.size(),
            _ => {}
        }
    }
    println!("{text:>9} {rodata:>9} {data:>9} {tls:>7} {:>8} {:>9}  (base image)", "", base.len());
    let mut sum = [0; 6];
    for object in objects {
        let file = object.parse()?;
        let layout = Layout::new(&file)?;
        let relocations: usize = file.relocation_sections().map(|(_, _, entries)| entries.len()).sum();
        let tls = layout.tls().map_or(0, |tls| tls.size);
        let line = [
            layout.text_size(),
            layout.rodata_size(),
            layout.data_size(),
            tls,
            relocations,
            object.contents.len(),
        ];
        print_line(line, &object.name);
        for (total, number) in sum.iter_mut().zip(line) {
            *total += number;
        }
    }
    print_line(sum, &format!("(all {} loadable crates)", objects.len()));
    println!("base symbol table: {symbols_size} bytes; archive: {archive_size} bytes");
    Ok(())
}

fn print_line([text, rodata, data, tls, relocations, file]: [usize; 6], name: &str) {
    println!("{text:>9} {rodata:>9} {data:>9} {tls:>7} {relocations:>8} {file:>9}  {name}");
}
