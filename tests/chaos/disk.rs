//! A small file system that can be filled up, where this may be mounted.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Its size: some databases of RocksDB, and not many.
const SIZE: &str = "size=64m";

/// A mounted file system; unmounted when dropped.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    path: PathBuf,
}

/// Whether one can be mounted.
pub(crate) fn can_mount() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        let directory = std::env::temp_dir().join(crate::cluster::unique("stream-chaos-mount"));
        let can = SmallDisk::mount(&directory).is_some();
        let _ = fs::remove_dir(&directory);
        can
    })
}

impl SmallDisk {
    /// Over this directory, which is made.
    pub(crate) fn mount(path: &Path) -> Option<Self> {
        fs::create_dir_all(path).ok()?;
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(path);
        let mounted = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self {
            path: path.to_owned(),
        })
    }

    fn filling(&self) -> PathBuf {
        self.path.join("filling")
    }

    /// Takes all space that is left.
    pub(crate) fn fill(&self) {
        let mut file = fs::File::create(self.filling()).expect("a file can be made");
        for size in [1 << 20, 1 << 12, 1] {
            let bytes = vec![b'x'; size];
            while file.write_all(&bytes).is_ok() {}
        }
    }

    /// Gives it back.
    pub(crate) fn free(&self) {
        let _ = fs::remove_file(self.filling());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that was killed a moment ago may still have a file open.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
