//! The command that replays a run.

use std::path::Path;

/// What a command needs to run this test again.
pub(super) struct Place {
    /// The name of the thread.
    thread: Option<String>,
    package: Option<String>,
    /// Which of the package's tests: `--test payments`.
    target: Option<String>,
}

impl Place {
    /// Those of the thread that asks.
    pub(super) fn current() -> Self {
        // Cargo tells these to the tests that it runs.
        let package = std::env::var("CARGO_PKG_NAME").ok();
        let target = || {
            let folder = std::env::var_os("CARGO_MANIFEST_DIR")?;
            target(
                package.as_deref()?,
                Path::new(&folder),
                &std::env::current_exe().ok()?,
            )
        };
        Self {
            thread: std::thread::current().name().map(str::to_owned),
            target: target(),
            package,
        }
    }
}

/// How to run it again, with these faults or with all: the variables, and the command where the thread has the name of a
/// test, as the test harness gives it; threads that a test starts itself and tests of documentation have none.
pub(super) fn once_more(seed: u64, faults: Option<&[usize]>, place: &Place) -> String {
    let mut variables = format!("STREAM_TEST_SEED={seed}");
    if let Some(faults) = faults {
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        variables += &format!(" STREAM_TEST_FAULTS={}", faults.join(","));
    }
    let is_path = |name: &&str| {
        name.chars()
            .all(|letter| letter.is_alphanumeric() || "_:".contains(letter))
    };
    match place
        .thread
        .as_deref()
        .filter(|name| *name != "main")
        .filter(is_path)
    {
        Some(test) => {
            // In a workspace the command would run the tests of other packages, find none of this name, and pass.
            let package = place.package.iter().map(|package| format!(" -p {package}"));
            let package: String = package.collect();
            // Others of the package need not be built, and may have a harness of their own.
            let target = place.target.iter().map(|target| format!(" {target}"));
            let target: String = target.collect();
            let release = if cfg!(debug_assertions) { "" } else { " --release" };
            format!("{variables} cargo test{package}{target}{release} {test} -- --exact")
        }
        None => variables,
    }
}

/// What a test program was built from, as cargo is told it: of its name (`payments-0123456789abcdef`) and of where it is, with
/// a look at what the package has. `None` for what is elsewhere than usual.
fn target(package: &str, folder: &Path, program: &Path) -> Option<String> {
    let (name, _) = program.file_stem()?.to_str()?.rsplit_once('-')?;
    let one_of = |kind: &str, part: &str| {
        let entries = std::fs::read_dir(folder.join(part)).ok()?;
        let mut targets = entries.filter_map(|entry| {
            let path = entry.ok()?.path();
            let is_target = path.extension().is_some_and(|ext| ext == "rs") || path.join("main.rs").is_file();
            let target = path.file_stem()?.to_str()?.to_owned();
            (is_target && target.replace('-', "_") == name).then_some(target)
        });
        Some(format!("--{kind} {}", targets.next()?))
    };
    if program.parent()?.ends_with("examples") {
        return one_of("example", "examples");
    }
    let is_lib = package.replace('-', "_") == name && folder.join("src/lib.rs").is_file();
    one_of("test", "tests").or_else(|| is_lib.then(|| "--lib".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_told_where_the_thread_has_the_name_of_a_test() {
        let once_more = |thread: &str, package: Option<&str>| {
            let place = Place {
                thread: Some(thread.to_owned()).filter(|name| !name.is_empty()),
                package: package.map(str::to_owned),
                target: package.map(|_| "--test payments".to_owned()),
            };
            once_more(7, Some(&[1, 4]), &place)
        };
        let variables = "STREAM_TEST_SEED=7 STREAM_TEST_FAULTS=1,4";
        let release = if cfg!(debug_assertions) { "" } else { " --release" };
        assert_eq!(
            once_more("runs::it_holds", None),
            format!("{variables} cargo test{release} runs::it_holds -- --exact")
        );
        assert_eq!(
            once_more("runs::it_holds", Some("shop")),
            format!("{variables} cargo test -p shop --test payments{release} runs::it_holds -- --exact")
        );
        for thread in [
            "main",
            "src/testing/simulate.rs - testing::simulate (line 33)",
            "",
        ] {
            assert_eq!(once_more(thread, Some("shop")), variables);
        }
    }

    #[test]
    fn a_test_program_is_known_by_its_name_and_place() {
        let runtime = Path::new(env!("CARGO_MANIFEST_DIR"));
        let target =
            |package: &str, folder: &Path, program: &str| target(package, folder, Path::new(program));
        let of_runtime = |program: &str| target("stream-runtime", runtime, program);
        assert_eq!(
            of_runtime("/debug/deps/stream_runtime-01ab"),
            Some("--lib".to_owned())
        );
        assert_eq!(of_runtime("/debug/deps/elsewhere-01ab"), None);
        assert_eq!(of_runtime("/debug/deps/nothing"), None);
        let workspace = runtime.parent().expect("the workspace");
        for (program, expected) in [
            ("/debug/deps/keyed_sum-01ab", "--test keyed_sum"),
            ("/debug/examples/colors-01ab", "--example colors"),
            ("/debug/examples/speed-01ab", "--example speed"),
        ] {
            assert_eq!(target("stream", workspace, program).as_deref(), Some(expected));
        }
    }
}
