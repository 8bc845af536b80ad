//! What is wrong with a file or a database, and what the reader can do about it.

use std::io;
use std::path::Path;

use crate::error::Error;

/// Why local state could not be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    DiskFull,
    Forbidden,
    TooManyFiles,
    /// Somebody else has it open.
    InUse,
    /// It is not what was written.
    Damaged,
    Other,
}

impl Cause {
    pub(super) fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Forbidden,
            io::ErrorKind::WouldBlock => Self::InUse,
            _ if error.raw_os_error().is_some_and(|code| matches!(code, 23 | 24)) => Self::TooManyFiles,
            _ => Self::Other,
        }
    }

    /// What to do, as the continuation of a sentence.
    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::DiskFull => {
                "; the disk is full: free space on it, or move the directory and give `datadir` its new place"
            }
            Self::Forbidden => {
                "; this user may not: give `datadir` a directory that it may write to, or correct the permissions"
            }
            Self::TooManyFiles => {
                "; this process has too many files open: raise its limit (`ulimit -n 65536`, or `LimitNOFILE` of its \
                 service)"
            }
            Self::InUse => "; something else has it open: give each program a `datadir` of its own",
            Self::Damaged => {
                "; it is damaged: start the worker again, which sets it aside and restores it from the changelogs, \
                 and look after the disk"
            }
            Self::Other => "",
        }
    }
}

/// The error for `what` ("cannot be …") that failed at `path`.
pub(super) fn failed(path: &Path, what: &str, error: io::Error) -> Error {
    let advice = Cause::of(&error).advice();
    Error::state(format!("local state: {} {what}{advice}", path.display())).with_source(error)
}
