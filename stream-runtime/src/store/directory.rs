//! The directory of local state, `<datadir>/<program>/<number>/`: one number for each worker that runs here.
//!
//! ```text
//! lock          held while a worker runs, by the system: a crash lets go of it
//! owner.json    whose this is, and in which format
//! tasks/        a database for each task, `<sub-topology>-<partition>`
//! set-aside/    databases that were damaged
//! discarded/    what is being removed
//! ```
//!
//! Nothing is written to or removed from a directory whose owner file does not name this program. State of tasks that
//! run elsewhere now stays, as they may come back, until nobody has used it for a week.
//!
//! Not here: what is in a database.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::name;
use super::trouble::failed;
use crate::clock;
use crate::error::{Error, Result};

/// The format of the directory that this version writes and reads.
const FORMAT: u32 = 1;
/// State that nobody has used for this long is removed.
const UNUSED: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How many workers of one program can share a `datadir`.
const WORKERS: u32 = 1000;
/// How long a start waits for another one to have found its number.
const ENTRANCE: Duration = Duration::from_secs(10);

const LOCK: &str = "lock";
const OWNER: &str = "owner.json";
const NEW_OWNER: &str = "owner.json.new";
const TASKS: &str = "tasks";
const SET_ASIDE: &str = "set-aside";
const DISCARDED: &str = "discarded";

/// One worker's directory; nobody else has it as long as this lives.
#[derive(Debug)]
pub(super) struct StateDirectory {
    path: PathBuf,
    owner: Owner,
    _lock: File,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Owner {
    format: u32,
    program: String,
    /// The name that the worker keeps from start to start.
    worker: String,
}

/// What every format has.
#[derive(Debug, Deserialize)]
struct AnyOwner {
    format: u32,
}

impl StateDirectory {
    /// Takes the first number that no running worker has, and removes what nobody has used for a week.
    pub(super) fn claim(datadir: &Path, program: &str) -> Result<Self> {
        let root = std::path::absolute(datadir)
            .map_err(|error| failed(datadir, "is no directory", error))?
            .join(program);
        make(&root)?;
        // While the sweep has the lock of a number, a second worker must not take it for one that is in use.
        let _entrance = enter(&root)?;
        let claimed = Self::first_free(&root, program)?;
        sweep(&claimed.path);
        for number in free_numbers(&root, program) {
            sweep(&number.path);
        }
        Ok(claimed)
    }

    fn first_free(root: &Path, program: &str) -> Result<Self> {
        for number in 0..WORKERS {
            let path = root.join(number.to_string());
            make(&path)?;
            if let Some(lock) = try_lock(&path.join(LOCK))? {
                let owner = match read_owner(&path, program)? {
                    Some(owner) => owner,
                    None => write_owner(&path, program)?,
                };
                make(&path.join(TASKS))?;
                return Ok(Self {
                    path,
                    owner,
                    _lock: lock,
                });
            }
        }
        Err(Error::state(format!(
            "local state: {} has {WORKERS} numbers and all are in use by running workers; give some of them another \
             `datadir`",
            root.display()
        )))
    }

    /// The name that the worker keeps from start to start.
    pub(super) fn worker_id(&self) -> &str {
        &self.owner.worker
    }

    /// Where the state of a task is, or is to be.
    pub(super) fn task(&self, sub_topology: &str, partition: i32) -> PathBuf {
        self.path.join(TASKS).join(task_name(sub_topology, partition))
    }

    /// The tasks that have a directory, sorted.
    pub(super) fn tasks(&self) -> Vec<(String, i32)> {
        let mut tasks: Vec<_> = directories(&self.path.join(TASKS))
            .iter()
            .filter_map(|path| parse_task_name(path.file_name()?.to_str()?))
            .collect();
        tasks.sort();
        tasks
    }

    /// Moves the state of a task out of the way, and tells where to. What was set aside before goes: there is one at
    /// most for each task.
    pub(super) fn set_aside(&self, sub_topology: &str, partition: i32) -> Result<PathBuf> {
        let from = self.task(sub_topology, partition);
        let shelf = self.path.join(SET_ASIDE);
        make(&shelf)?;
        let to = shelf.join(task_name(sub_topology, partition));
        if to.exists() {
            discard(&self.path, &to).map_err(|error| failed(&to, "cannot be removed", error))?;
        }
        fs::rename(&from, &to)
            .and_then(|()| sync(&shelf))
            .and_then(|()| sync(&self.path.join(TASKS)))
            .map_err(|error| failed(&from, "cannot be set aside", error))?;
        Ok(to)
    }
}

/// Partitions are no negative numbers, so the last hyphen divides.
fn task_name(sub_topology: &str, partition: i32) -> String {
    format!("{sub_topology}-{partition}")
}

fn parse_task_name(name: &str) -> Option<(String, i32)> {
    let (sub_topology, partition) = name.rsplit_once('-')?;
    let number: i32 = partition.parse().ok()?;
    (task_name(sub_topology, number) == name).then(|| (sub_topology.to_owned(), number))
}

fn make(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|error| failed(path, "cannot be created", error))
}

/// Waits until no other worker is looking for its number.
fn enter(root: &Path) -> Result<File> {
    let path = root.join(LOCK);
    let deadline = clock::now() + ENTRANCE;
    loop {
        if let Some(lock) = try_lock(&path)? {
            return Ok(lock);
        }
        if clock::now() >= deadline {
            return Err(Error::state(format!(
                "local state: {} has been locked for {ENTRANCE:?} by another worker that is starting; is one \
                 suspended?",
                path.display()
            )));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The lock in this file, or nothing when somebody has it.
fn try_lock(path: &Path) -> Result<Option<File>> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|error| failed(path, "cannot be opened", error))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(failed(
            path,
            "cannot be locked; give `datadir` a local file system",
            error,
        )),
    }
}

/// Who owns the directory: this program, or nobody yet. Everything else is refused.
fn read_owner(path: &Path, program: &str) -> Result<Option<Owner>> {
    let file = path.join(OWNER);
    let refuse = |why: String| {
        let path = path.display();
        Err(Error::state(format!(
            "local state: {path} {why}. Nothing in it was touched"
        )))
    };
    let text = match fs::read(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // A crash may have come between the lock and the owner.
            let strange = entries(path).map_err(|error| failed(path, "cannot be read", error))?;
            let strange = strange
                .iter()
                .filter_map(|path| path.file_name()?.to_str())
                .find(|name| !matches!(*name, LOCK | NEW_OWNER));
            return match strange {
                None => Ok(None),
                Some(name) => refuse(format!(
                    "holds `{name}` but no {OWNER}, so it is not known whose it is: give `datadir` another directory, \
                     or remove this one if it is not needed"
                )),
            };
        }
        Err(error) => return Err(failed(&file, "cannot be read", error)),
    };
    let Ok(AnyOwner { format }) = serde_json::from_slice(&text) else {
        return refuse(format!(
            "has an {OWNER} that is none of this library: give `datadir` another directory, or remove this one if it \
             is not needed"
        ));
    };
    if format > FORMAT {
        return refuse(format!(
            "was written by a newer version (format {format}, this one knows {FORMAT}): start that version, or give \
             `datadir` another directory, where tables are restored from their changelogs"
        ));
    }
    match serde_json::from_slice::<Owner>(&text) {
        Ok(owner) if owner.program == program => Ok(Some(owner)),
        Ok(owner) => refuse(format!(
            "belongs to the program `{}`, and this is `{program}`: give `datadir` another directory",
            owner.program
        )),
        Err(error) => refuse(format!("has an {OWNER} that cannot be read ({error})")),
    }
}

/// Makes the directory this program's, whole or not at all.
fn write_owner(path: &Path, program: &str) -> Result<Owner> {
    let owner = Owner {
        format: FORMAT,
        program: program.to_owned(),
        worker: name::random(),
    };
    let new = path.join(NEW_OWNER);
    let write = || {
        let mut file = File::create(&new)?;
        serde_json::to_writer_pretty(&mut file, &owner)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&new, path.join(OWNER))?;
        sync(path)?;
        path.parent().map_or(Ok(()), sync)
    };
    write().map_err(|error| failed(&new, "cannot be written", error))?;
    Ok(owner)
}

/// Makes what was created, renamed or removed in a directory last.
fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn entries(path: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(path)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect()
}

fn directories(path: &Path) -> Vec<PathBuf> {
    let mut found = entries(path).unwrap_or_default();
    found.retain(|path| path.is_dir() && !path.is_symlink());
    found
}

/// The numbers of this program that no running worker has, locked.
fn free_numbers(root: &Path, program: &str) -> Vec<StateDirectory> {
    let is_number = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.parse::<u32>().is_ok())
    };
    directories(root)
        .into_iter()
        .filter(|path| is_number(path))
        .filter_map(|path| {
            let lock = try_lock(&path.join(LOCK)).ok()??;
            let owner = read_owner(&path, program).ok()??;
            Some(StateDirectory {
                path,
                owner,
                _lock: lock,
            })
        })
        .collect()
}

/// Removes what nobody has used for a week. A failure costs space alone.
fn sweep(path: &Path) {
    let leftover = path.join(DISCARDED);
    if leftover.exists()
        && let Err(error) = fs::remove_dir_all(&leftover)
    {
        warn!("{} cannot be removed: {error}", leftover.display());
    }
    let now = clock::wall_millis();
    for folder in [TASKS, SET_ASIDE] {
        for state in directories(&path.join(folder)) {
            if !is_unused(last_use(&state), now) {
                continue;
            }
            match discard(path, &state) {
                Ok(()) => info!(
                    "removed {}: nobody has used it for {} days",
                    state.display(),
                    UNUSED.as_secs() / 86_400
                ),
                Err(error) => warn!("{} is not used and cannot be removed: {error}", state.display()),
            }
        }
    }
}

/// Removes a directory in two steps, so that a crash leaves none of it where it was.
fn discard(path: &Path, state: &Path) -> io::Result<()> {
    let discarded = path.join(DISCARDED);
    if discarded.exists() {
        fs::remove_dir_all(&discarded)?;
    }
    fs::rename(state, &discarded)?;
    fs::remove_dir_all(&discarded)
}

/// When a file of this directory was written last, in milliseconds since the Unix epoch; a database writes one
/// whenever it is opened.
fn last_use(state: &Path) -> Option<i64> {
    let time = |path: &Path| {
        let modified = fs::metadata(path).and_then(|metadata| metadata.modified()).ok()?;
        let since = modified.duration_since(UNIX_EPOCH).ok()?;
        i64::try_from(since.as_millis()).ok()
    };
    let mut times: Vec<_> = entries(state)
        .ok()?
        .iter()
        .filter_map(|path| time(path))
        .collect();
    times.extend(time(state));
    times.into_iter().max()
}

/// What has an unknown time, or one to come, is kept.
fn is_unused(last_use: Option<i64>, now: i64) -> bool {
    last_use.is_some_and(|last_use| {
        u128::from(now.saturating_sub(last_use).max(0).cast_unsigned()) > UNUSED.as_millis()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::rocks::Scratch;

    fn claim(scratch: &Scratch) -> StateDirectory {
        StateDirectory::claim(scratch.path(), "program").expect("it can be claimed")
    }

    #[track_caller]
    fn refusal(scratch: &Scratch) -> String {
        StateDirectory::claim(scratch.path(), "program")
            .expect_err("it is refused")
            .to_string()
    }

    /// Makes the files of a database, last written this long ago.
    fn task(directory: &StateDirectory, folder: &str, name: &str, age: Duration) -> PathBuf {
        let path = directory.path.join(folder).join(name);
        fs::create_dir_all(&path).expect("there is room");
        fs::write(path.join("CURRENT"), "").expect("there is room");
        let then = std::time::SystemTime::now() - age;
        for path in [&path.join("CURRENT"), &path] {
            let file = File::open(path).expect("it is there");
            file.set_modified(then).expect("times can be set");
        }
        path
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn each_running_worker_has_a_number_and_a_name_that_lasts() {
        let scratch = Scratch::new();
        let (first, second, third) = (claim(&scratch), claim(&scratch), claim(&scratch));
        let names: Vec<_> = [&first, &second, &third]
            .map(|directory| directory.worker_id().to_owned())
            .to_vec();
        assert_eq!(first.path, scratch.path().join("program/0"));
        assert_eq!(third.path, scratch.path().join("program/2"));
        drop(second);
        assert_eq!(
            claim(&scratch).worker_id(),
            names[1],
            "the first free number is taken"
        );
        drop((first, third));
        let again = [claim(&scratch)];
        assert_eq!(again[0].worker_id(), names[0]);
        assert!(names[0] != names[1] && names[1] != names[2]);
    }

    #[test]
    fn programs_share_a_datadir() {
        let scratch = Scratch::new();
        let one = claim(&scratch);
        let other = StateDirectory::claim(scratch.path(), "other").expect("it can be claimed");
        assert_eq!(other.path, scratch.path().join("other/0"));
        assert_ne!(one.worker_id(), other.worker_id());
    }

    #[test]
    fn a_directory_of_another_program_is_refused() {
        let scratch = Scratch::new();
        drop(claim(&scratch));
        fs::rename(scratch.path().join("program"), scratch.path().join("renamed")).expect("can be renamed");
        let error = StateDirectory::claim(scratch.path(), "renamed")
            .expect_err("it is another program's")
            .to_string();
        assert!(
            error.contains("renamed/0 belongs to the program `program`, and this is `renamed`"),
            "{error}"
        );
    }

    #[test]
    fn a_directory_that_nobody_owns_and_that_is_not_empty_is_refused_and_left_alone() {
        let scratch = Scratch::new();
        let foreign = scratch.path().join("program/0/photographs");
        fs::create_dir_all(&foreign).expect("there is room");
        let error = refusal(&scratch);
        assert!(
            error.contains("program/0 holds `photographs` but no owner.json"),
            "{error}"
        );
        assert!(foreign.exists());
        fs::remove_dir(&foreign).expect("can be removed");
        fs::write(scratch.path().join("program/0/owner.json"), "mine").expect("can be written");
        let error = refusal(&scratch);
        assert!(
            error.contains("has an owner.json that is none of this library"),
            "{error}"
        );
    }

    #[test]
    fn a_newer_format_is_refused_whatever_else_it_says() {
        let scratch = Scratch::new();
        drop(claim(&scratch));
        let owner = scratch.path().join("program/0/owner.json");
        fs::write(&owner, r#"{"format": 2, "owners": ["program"]}"#).expect("can be written");
        let error = refusal(&scratch);
        assert!(
            error.contains(
                "program/0 was written by a newer version (format 2, this one knows 1): start that version"
            ),
            "{error}"
        );
    }

    #[test]
    fn a_start_that_was_cut_off_is_made_up_for() {
        let scratch = Scratch::new();
        let path = scratch.path().join("program/0");
        fs::create_dir_all(&path).expect("there is room");
        fs::write(path.join("lock"), "").expect("there is room");
        fs::write(path.join("owner.json.new"), "{\"form").expect("there is room");
        let directory = claim(&scratch);
        assert_eq!(directory.path, path);
        assert!(!path.join("owner.json.new").exists());
        drop(task(&directory, DISCARDED, "half", HOUR));
        drop(directory);
        claim(&scratch);
        assert!(!path.join(DISCARDED).exists());
    }

    #[test]
    fn what_nobody_has_used_for_a_week_is_removed_and_nothing_else() {
        let scratch = Scratch::new();
        let (first, second) = (claim(&scratch), claim(&scratch));
        let gone = [
            task(&first, TASKS, "a-1", 169 * HOUR),
            task(&first, SET_ASIDE, "a-2", 169 * HOUR),
            task(&second, TASKS, "a-1", 169 * HOUR),
        ];
        let kept = [
            task(&first, TASKS, "a-3", 167 * HOUR),
            task(&second, TASKS, "a-4", Duration::ZERO),
        ];
        let used = task(&first, TASKS, "a-5", 200 * HOUR);
        fs::write(used.join("000004.sst"), "").expect("there is room");
        let other = StateDirectory::claim(scratch.path(), "other").expect("it can be claimed");
        let others = task(&other, TASKS, "a-1", 500 * HOUR);
        drop(first);
        // The second one still runs, and what it has not used yet is its own.
        let first = claim(&scratch);
        assert!(!gone[0].exists() && !gone[1].exists() && gone[2].exists());
        assert_eq!(first.tasks(), [("a".to_owned(), 3), ("a".to_owned(), 5)]);
        drop((first, second));
        claim(&scratch);
        assert!(
            !gone[2].exists(),
            "the number of a worker that does not run is looked at as well"
        );
        assert!(kept.iter().chain([&used, &others]).all(|path| path.exists()));
    }

    #[test]
    fn a_state_of_a_time_to_come_is_kept() {
        assert!(!is_unused(None, 0));
        assert!(!is_unused(Some(i64::MAX), 0));
        assert!(!is_unused(Some(0), 7 * 24 * 3_600_000));
        assert!(is_unused(Some(0), 7 * 24 * 3_600_000 + 1));
    }

    #[test]
    fn names_of_tasks_are_read_as_they_are_written() {
        for (sub_topology, partition) in [("a", 0), ("a-1", 12), ("-", 3), ("a.b_c-", 7)] {
            let name = task_name(sub_topology, partition);
            assert_eq!(parse_task_name(&name), Some((sub_topology.to_owned(), partition)));
        }
        for name in ["a", "a-", "a-x", "a-01", "a-+1"] {
            assert_eq!(parse_task_name(name), None, "{name}");
        }
    }
}
