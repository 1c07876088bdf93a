//! Keys in files.

use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// A directory that is removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wasm_keys-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn mode(path: &str) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn keys_are_made_once_and_are_private() {
    let folder = Folder::new("made");
    let first = make_keys(&folder.0).unwrap();
    assert!(first.is_new);
    let again = make_keys(&folder.0).unwrap();
    assert!(!again.is_new);
    assert_eq!(first.key.public_key(), again.key.public_key());
    assert_eq!(mode(&folder.path("signing.key")), 0o600);
    assert_eq!(mode(folder.0.to_str().unwrap()), 0o700);
    let trusted = read_trusted_keys(first.trusted.to_str().unwrap()).unwrap();
    assert_eq!(trusted.iter().copied().collect::<Vec<_>>(), [first.key.public_key()]);
    // Whatever else is in the file stays.
    let other = make_keys(&Folder::new("other").0.join("deep/er")).unwrap().key.public_key();
    assert_ne!(other, first.key.public_key());
    fs::write(&first.trusted, format!("{other}\n")).unwrap();
    make_keys(&folder.0).unwrap();
    assert!(
        !read_trusted_keys(first.trusted.to_str().unwrap())
            .unwrap()
            .contains(first.key.public_key().as_bytes())
    );
    let mut names: Vec<_> =
        fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["signing.key", "trusted.keys"]);
    let _ = fs::remove_dir_all(std::env::temp_dir().join(format!("wasm_keys-other-{}", std::process::id())));
}

#[test]
fn many_at_once_make_one_key() {
    let folder = Folder::new("many");
    // Programs of their own would have other temporary names; of threads only one at a time can use it.
    let keys: Vec<_> = (0..8).map(|_| make_keys(&folder.0).unwrap().key.public_key()).collect();
    assert!(keys.iter().all(|key| *key == keys[0]));
}

#[test]
fn what_is_wrong_with_a_key_is_said() {
    let folder = Folder::new("wrong");
    make_keys(&folder.0).unwrap();
    let (signing, trusted) = (folder.path("signing.key"), folder.path("trusted.keys"));
    let refused = |path: &str| {
        let errors =
            [read_signing_key(path).map(drop).unwrap_err(), read_trusted_keys(path).map(drop).unwrap_err()];
        for error in &errors {
            assert!(error.starts_with(path) && error.contains("; ") && error.lines().count() == 1, "{error}");
        }
        errors
    };
    refused(&folder.path("nothing"));
    refused(folder.0.to_str().unwrap());
    for (name, content) in [("empty", &b""[..]), ("binary", b"\xff\xfe"), ("large", &[b'\n'; (1 << 20) + 1])]
    {
        let path = folder.path(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        refused(&path);
    }
    assert!(read_trusted_keys(&signing).unwrap_err().contains("secret"));
    fs::set_permissions(&trusted, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(read_signing_key(&trusted).unwrap_err().contains("public"));
    for readable in [0o640, 0o604, 0o620] {
        fs::set_permissions(&signing, fs::Permissions::from_mode(readable)).unwrap();
        assert!(read_signing_key(&signing).unwrap_err().contains("chmod 600"));
    }
    fs::set_permissions(&signing, fs::Permissions::from_mode(0o600)).unwrap();
    let text = fs::read_to_string(&signing).unwrap();
    fs::write(&signing, &text[..text.len() - 5]).unwrap();
    let error = make_keys(&folder.0).unwrap_err();
    assert!(error.contains("damaged"), "{error}");
    assert_eq!(
        fs::read_to_string(&signing).unwrap(),
        text[..text.len() - 5],
        "a damaged key is not replaced"
    );
    assert!(make_keys(std::path::Path::new("/proc/nothing")).unwrap_err().contains("WASM_KEYS"));
}
