use super::*;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::PathBuf;
use std::time::SystemTime;
use wasm_artifact::CpuFeatures;
use wasm_artifact::compile::Target;

/// A directory that is removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wasm_engine-{name}-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        Self(path)
    }

    fn cache(&self, limit: u64) -> Cache {
        let mut config = CacheConfig::new();
        config.with_directory(self.0.join("cache")).with_files_total_size_soft_limit(limit);
        Cache::new(config).unwrap()
    }

    /// Names of all files in the cache.
    fn names(&self) -> Vec<String> {
        let Ok(files) = fs::read_dir(self.0.join("cache")) else { return Vec::new() };
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join("cache").join(name)
    }

    /// Makes a file that was last changed so many seconds ago.
    fn write(&self, name: &str, content: &[u8], seconds_ago: u64) {
        fs::write(self.path(name), content).unwrap();
        self.age(name, seconds_ago);
    }

    fn age(&self, name: &str, seconds_ago: u64) {
        let file = fs::OpenOptions::new().write(true).open(self.path(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds_ago)).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn engine(cache: &Cache) -> Engine {
    Engine::new(Config::new().cache(Some(cache.clone()))).unwrap()
}

/// A module that differs by its number.
fn text(number: u32) -> String {
    format!("(module (func (export \"f{number}\") (result i32) (i32.const {number})))")
}

const PLENTY: u64 = 64 << 20;

#[test]
fn a_module_is_compiled_once() {
    let folder = Folder::new("once");
    let cache = folder.cache(PLENTY);
    assert!(folder.names().is_empty(), "there is nothing before there is something to put in");
    let source = folder.0.join("f.wat");
    fs::write(&source, text(7)).unwrap();
    for round in 0..3 {
        let module = match round {
            0 => Module::from_file(&engine(&cache), &source).unwrap(),
            _ => Module::new(&engine(&cache), text(7)).unwrap(),
        };
        assert!(module.get_export("f7").is_some());
        assert_eq!((cache.cache_hits(), cache.cache_misses()), (round, 1));
    }
    let entries = cache.entries().unwrap();
    let [CacheEntry { module: Some(module), size, key, .. }] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!(module.source.as_deref(), source.to_str());
    assert_eq!((module.target.as_str(), module.effort.as_str()), ("x86_64-linux", "-O2"));
    assert_eq!(module.cpu, CpuFeatures::of_this_cpu().to_string());
    assert_eq!(*size, fs::metadata(folder.path(&format!("{key}{EXTENSION}"))).unwrap().len());
    // What is wrong is not kept.
    for _ in 0..2 {
        assert!(Module::new(&engine(&cache), "(module (func (result i32)))").is_err());
    }
    assert_eq!((cache.cache_misses(), folder.names().len()), (3, 1));
    // Text is none of the binary format's, in the cache or not.
    assert!(Module::from_binary(&engine(&cache), text(7).as_bytes()).is_err());
    assert_eq!(cache.clear().unwrap(), Cleared { entries: 1, bytes: *size });
    assert!(folder.names().is_empty() && cache.entries().unwrap().is_empty());
    Module::new(&engine(&cache), text(7)).unwrap();
    assert_eq!((cache.cache_hits(), cache.cache_misses()), (2, 4));
}

#[test]
fn the_key_depends_on_everything() {
    let settings = Settings::new(Target::Linux);
    let mut other_tunables = settings.tunables;
    other_tunables.memory_guard_size += 65536;
    let variants = [
        (settings, &b"input"[..]),
        (settings, b"inpuT"),
        (settings, b""),
        (Settings { target: Target::Theseus, ..settings }, b"input"),
        (Settings { cpu: CpuFeatures::AVX, ..settings }, b"input"),
        (Settings { opt_level: OptLevel::None, ..settings }, b"input"),
        (Settings { tunables: other_tunables, ..settings }, b"input"),
        (Settings { verify_ir: true, ..settings }, b"input"),
    ];
    let keys: Vec<Key> =
        variants.iter().map(|(settings, input)| Key::new(settings, input).unwrap()).collect();
    for (number, key) in keys.iter().enumerate() {
        assert!(!keys[..number].contains(key), "variant {number}");
        assert_eq!(Key::from_file_name(&key.file_name()), Some(*key));
    }
    assert_eq!(Key::new(&settings, b"input"), Some(keys[0]));
    let name = keys[0].file_name();
    for wrong in [&name[1..], &name.to_uppercase(), &format!("0{name}"), &name.replace(EXTENSION, ""), ""] {
        assert_eq!(Key::from_file_name(wrong), None, "{wrong}");
    }
}

/// An entry's file name, key and content.
fn entry_of(folder: &Folder, cache: &Cache, number: u32) -> (String, Key, Vec<u8>) {
    let engine = engine(cache);
    Module::new(&engine, text(number)).unwrap();
    let key = Key::new(&engine.compile_settings().unwrap(), text(number).as_bytes()).unwrap();
    let content = fs::read(folder.path(&key.file_name())).unwrap();
    (key.file_name(), key, content)
}

#[test]
fn what_is_cut_or_damaged_is_not_used_and_gets_replaced() {
    let folder = Folder::new("damaged");
    let cache = folder.cache(PLENTY);
    let (name, key, entry) = entry_of(&folder, &cache, 1);
    let artifact = checked_artifact(&entry, &key).unwrap();
    assert!(entry.starts_with(artifact) && artifact.len() < entry.len());
    for len in 0..entry.len() {
        assert!(checked_artifact(&entry[..len], &key).is_none(), "cut to {len} bytes");
    }
    let engine = engine(&cache);
    for at in (0..entry.len()).step_by(13).chain(entry.len() - MAX_TRAILER.min(entry.len())..entry.len()) {
        let mut damaged = entry.clone();
        damaged[at] ^= 0x10;
        fs::write(folder.path(&name), &damaged).unwrap();
        assert!(cache.load(&engine, &key).is_none(), "byte {at} is another");
    }
    // By all the way, for a few.
    let longer = [&entry[..], b"x"].concat();
    let other = entry_of(&folder, &cache, 2).2;
    let misses = cache.cache_misses();
    for (number, wrong) in
        [&[], &entry[..4096], &entry[..entry.len() - 1], &longer, &other].iter().enumerate()
    {
        fs::write(folder.path(&name), wrong).unwrap();
        assert!(Module::new(&engine, text(1)).unwrap().get_export("f1").is_some());
        assert_eq!(cache.cache_misses(), misses + number + 1);
        assert_eq!(fs::read(folder.path(&name)).unwrap(), entry, "it was replaced");
    }
    fs::write(folder.path(&name), &other).unwrap();
    let listed = cache.entries().unwrap();
    assert_eq!(listed.iter().filter(|entry| entry.module.is_none()).count(), 1, "{listed:?}");
    // Of another version of the engine: all hashes are right, and the artifact is refused.
    let version = ENGINE_VERSION.as_bytes();
    let at = artifact.windows(version.len()).position(|window| window == version).unwrap();
    let mut foreign = artifact.to_vec();
    foreign[at + version.len() - 1] ^= 1;
    let settings = engine.compile_settings().unwrap();
    let trailer = Trailer::new(&key, &settings, None, &foreign).unwrap().encode();
    fs::write(folder.path(&name), [&foreign[..], &trailer].concat()).unwrap();
    assert!(cache.load(&engine, &key).is_none());
}

#[test]
fn the_cache_keeps_to_its_size_and_what_is_used_stays() {
    let folder = Folder::new("size");
    let size = {
        let cache = folder.cache(PLENTY);
        let (name, _, entry) = entry_of(&folder, &cache, 100);
        fs::remove_file(folder.path(&name)).unwrap();
        entry.len() as u64
    };
    // Room for three and a bit; the modules' entries differ by a few bytes at most.
    let limit = size * 7 / 2;
    let cache = folder.cache(limit);
    fs::write(folder.path("somebody's"), vec![0; limit as usize]).unwrap();
    let total = || cache.entries().unwrap().iter().map(|entry| entry.size).sum::<u64>();
    let names: Vec<String> = (101..104)
        .map(|number| {
            let name = entry_of(&folder, &cache, number).0;
            folder.age(&name, 1000 - u64::from(number));
            name
        })
        .collect();
    assert_eq!(cache.entries().unwrap().len(), 3);
    // The oldest is used again, so the second oldest has to go.
    Module::new(&engine(&cache), text(101)).unwrap();
    let newest = entry_of(&folder, &cache, 104).0;
    let mut left = folder.names();
    left.sort();
    let mut expected = vec![names[0].clone(), names[2].clone(), newest, "somebody's".to_string()];
    expected.sort();
    assert_eq!(left, expected);
    for number in 105..120 {
        Module::new(&engine(&cache), text(number)).unwrap();
        assert!(total() <= limit);
    }
    assert!(folder.names().contains(&"somebody's".to_string()), "it is no entry");
    // What is too large by itself throws nothing out.
    let small = folder.cache(size / 2);
    let before = folder.names().len();
    Module::new(&engine(&small), text(120)).unwrap();
    assert_eq!(folder.names().len(), before);
}

#[test]
fn what_was_left_behind_goes() {
    let folder = Folder::new("stale");
    let cache = folder.cache(PLENTY);
    entry_of(&folder, &cache, 1);
    folder.write(".wasm-1-1.tmp", b"half", STALE.as_secs() + 10);
    folder.write(".wasm-1-2.tmp", b"half", 10);
    folder.write("other", b"", STALE.as_secs() + 10);
    entry_of(&folder, &cache, 2);
    let names = folder.names();
    assert!(!names.contains(&".wasm-1-1.tmp".to_string()), "{names:?}");
    assert!(names.contains(&".wasm-1-2.tmp".to_string()), "somebody may be writing it: {names:?}");
    assert_eq!(cache.clear().unwrap().entries, 2);
    assert_eq!(folder.names(), ["other"]);
}

#[test]
fn many_at_once_all_finish_and_leave_one_entry_each() {
    let folder = Folder::new("many");
    let cache = folder.cache(PLENTY);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let cache = &cache;
            scope.spawn(move || {
                let engine = engine(cache);
                for round in 0..20 {
                    let number = round % 3;
                    let module = Module::new(&engine, text(number)).unwrap();
                    assert!(module.get_export(&format!("f{number}")).is_some());
                    if thread == 0 && round % 7 == 6 {
                        cache.clear().unwrap();
                    }
                }
            });
        }
    });
    for number in 0..3 {
        Module::new(&engine(&cache), text(number)).unwrap();
    }
    let names = folder.names();
    assert_eq!(names.len(), 3, "{names:?}");
    let misses = cache.cache_misses();
    for number in 0..3 {
        Module::new(&engine(&cache), text(number)).unwrap();
    }
    assert_eq!(cache.cache_misses(), misses);
    assert!(cache.entries().unwrap().iter().all(|entry| entry.module.is_some()));
}

#[test]
fn without_a_place_it_works_as_if_there_were_no_cache() {
    let folder = Folder::new("place");
    fs::write(folder.0.join("file"), "").unwrap();
    // Nothing can be created in either.
    for directory in [folder.0.join("file"), folder.0.join("file/below"), PathBuf::from("/proc/nothing")] {
        let Ok(cache) = Cache::new(CacheConfig::new().with_directory(&directory).clone()) else {
            assert!(directory.ends_with("file") || directory.ends_with("below"));
            continue;
        };
        for _ in 0..2 {
            Module::new(&engine(&cache), text(1)).unwrap();
        }
        assert_eq!((cache.cache_hits(), cache.cache_misses()), (0, 2));
    }
}

#[test]
fn a_directory_that_others_can_write_to_is_refused() {
    let folder = Folder::new("others");
    let cache = folder.cache(PLENTY);
    entry_of(&folder, &cache, 1);
    let directory = folder.0.join("cache");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
    let error = Cache::new(CacheConfig::new().with_directory(&directory).clone()).unwrap_err();
    assert!(format!("{error:#}").contains("chmod go-w"), "{error:#}");
    // An engine that has the cache already neither reads nor writes there.
    for number in [1, 2] {
        Module::new(&engine(&cache), text(number)).unwrap();
    }
    assert_eq!((cache.cache_hits(), folder.names().len()), (0, 1));
    assert!(cache.entries().is_err() && cache.clear().is_err());
}

#[test]
fn trailers_survive_and_long_names_are_cut() {
    let artifact = Engine::default().precompile_module(text(1).as_bytes()).unwrap();
    let settings = Settings { cpu: CpuFeatures::X86_64_V3, ..Settings::new(Target::Theseus) };
    let key = Key::new(&settings, b"").unwrap();
    for source in [None, Some("a".to_string()), Some("ä".repeat(500))] {
        let trailer = Trailer::new(&key, &settings, source.as_deref(), &artifact).unwrap();
        let encoded = trailer.encode();
        assert!(encoded.len() <= MAX_TRAILER);
        let parsed = Trailer::parse(&encoded).unwrap();
        assert_eq!(parsed, Trailer { len: encoded.len(), ..trailer });
        assert!(parsed.module.source.as_ref().is_none_or(|source| source.len() <= MAX_SOURCE));
        for at in 0..encoded.len() {
            let mut damaged = encoded.clone();
            damaged[at] ^= 1;
            assert_eq!(Trailer::parse(&damaged), None, "byte {at}");
        }
    }
}
