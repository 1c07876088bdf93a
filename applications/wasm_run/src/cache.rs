//! `wasm_run cache`: what is kept of compiled modules.

use crate::{Failure, Streams};
use alloc::format;
use alloc::string::{String, ToString};
use core::time::Duration;
use wasm_engine::{Cache, CacheConfig, CacheEntry, CpuFeatures, Error};
use wasm_platform::files;

/// How many digits of a key are shown: enough to tell entries apart.
const KEY_DIGITS: usize = 12;

/// The cache for programs that are run. `None` if there is no place for one; `Err` says who else has power over it.
pub(crate) fn for_programs() -> Result<Option<Cache>, Error> {
    let config = CacheConfig::new();
    match config.directory() {
        Some(_) => Cache::new(config).map(Some),
        None => Ok(None),
    }
}

fn open() -> Result<(Cache, u64), Failure> {
    let config = CacheConfig::new();
    let limit = config.files_total_size_soft_limit();
    Ok((Cache::new(config).map_err(failed)?, limit))
}

fn failed(error: Error) -> Failure {
    Failure::Input(why_not(&error))
}

/// Why there is no cache, and what to do about it, in one line.
pub(crate) fn why_not(error: &Error) -> String {
    let line = format!("{error:#}");
    if line.contains("; ") { line } else { line + "; move away what is in its place" }
}

/// Lists the entries.
pub(crate) fn list(streams: Streams) -> Result<(), Failure> {
    let (cache, limit) = open()?;
    let entries = cache.entries().map_err(failed)?;
    let out = |text: core::fmt::Arguments<'_>| (streams.out)(text);
    if !entries.is_empty() {
        out(format_args!("key           size      used      for\n"));
    }
    let now = files::wall_clock();
    for CacheEntry { key, size, last_used, module } in &entries {
        let what = match module {
            Some(module) => {
                let source = module.source.as_deref().unwrap_or("").escape_debug();
                format!("{} {} {} {source}", module.target, short(&module.cpu), module.effort)
            }
            None => "damaged; not used, and replaced when its module is compiled again".to_string(),
        };
        let (size, age) = (about(*size), ago(now.saturating_sub(*last_used)));
        let line = format!("{:KEY_DIGITS$}  {size:>8}  {age:<8}  {what}", &key[..KEY_DIGITS]);
        out(format_args!("{}\n", line.trim_end()));
    }
    let total = entries.iter().map(|entry| entry.size).sum();
    out(format_args!(
        "{}, {} of {} in {}\n",
        counted(entries.len()),
        about(total),
        about(limit),
        place(&cache)
    ));
    Ok(())
}

/// Removes the entries.
pub(crate) fn clear(streams: Streams) -> Result<(), Failure> {
    let (cache, _) = open()?;
    let cleared = cache.clear().map_err(failed)?;
    let (entries, bytes) = (counted(cleared.entries), about(cleared.bytes));
    (streams.out)(format_args!("removed {entries}, {bytes}, from {}\n", place(&cache)));
    Ok(())
}

fn place(cache: &Cache) -> String {
    #[cfg(target_os = "linux")]
    return cache.directory().display().to_string();
    #[cfg(not(target_os = "linux"))]
    return cache.directory().to_string();
}

fn counted(entries: usize) -> String {
    format!("{entries} {}", if entries == 1 { "entry" } else { "entries" })
}

/// CPU features by the name of their level, if they are one.
fn short(cpu: &str) -> &str {
    let level = |features: CpuFeatures| features.to_string() == cpu;
    match cpu {
        _ if level(CpuFeatures::X86_64_V2) => "x86-64-v2",
        _ if level(CpuFeatures::X86_64_V3) => "x86-64-v3",
        other => other,
    }
}

/// A number of bytes with three digits or so.
fn about(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.iter().find(|(shift, _)| bytes >> shift > 0) {
        Some((shift, unit)) => {
            let tenths = ((bytes >> (shift - 10)) * 10).div_ceil(1 << 10);
            match tenths {
                1000.. => format!("{} {unit}", tenths / 10),
                _ if tenths.is_multiple_of(10) => format!("{} {unit}", tenths / 10),
                _ => format!("{}.{} {unit}", tenths / 10, tenths % 10),
            }
        }
        None => format!("{bytes} B"),
    }
}

/// How long ago something was.
fn ago(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86400 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let sizes = [0, 1023, 1024, 1536, 12 << 10, 999 << 10, (64 << 20) - 1, 512 << 20, 3 << 40].map(about);
        assert_eq!(
            sizes,
            ["0 B", "1023 B", "1 KiB", "1.5 KiB", "12 KiB", "999 KiB", "64 MiB", "512 MiB", "3072 GiB"]
        );
        let times = [0, 59, 60, 3599, 3600, 86399, 86400, 1 << 30].map(|s| ago(Duration::from_secs(s)));
        assert_eq!(times, ["0 s", "59 s", "1 min", "59 min", "1 h", "23 h", "1 days", "12427 days"]);
        assert_eq!(short(&CpuFeatures::X86_64_V3.to_string()), "x86-64-v3");
        assert_eq!(short("sse3"), "sse3");
    }
}
