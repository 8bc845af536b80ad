//! The shape of the two crates: which module may name which, and who alone may use what.
//!
//! A module names its own folder and the layers below its own. `docs/ARCHITECTURE.md` says why. Only code
//! counts: comments, documentation and tests may name what they like.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of `stream-runtime`, from the lowest layer to the highest.
const RUNTIME: &[&[&str]] = &[
    &["error", "clock"],
    &["record"],
    &["kafka", "store", "broker"],
    &["agent", "stream", "table"],
    &["registry", "topology"],
    &["cluster"],
    &["app"],
    &["cli", "testing"],
];

/// The modules of `stream-macros`.
const MACROS: &[&[&str]] = &[
    &["words", "paths", "errors"],
    &["args", "docs", "item", "types", "mentions"],
    &["values"],
    &["signature", "declaration"],
    &["agent", "topic", "table"],
];

/// Neighbours of one layer that may name each other, and why.
const NEIGHBOURS: &[(&str, &str, &str)] = &[
    (
        "agent",
        "table",
        "a task holds the shards that its agents' table calls find, and a table finds the task",
    ),
    (
        "agent",
        "stream",
        "a stream is an agent's inbox seen from its function, and a send is part of its record",
    ),
    (
        "table",
        "stream",
        "a table call outside an agent asks whether a program runs, which sending knows",
    ),
];

/// Modules that may name less than their layer allows, and what.
const NARROW: &[(&str, &[&str])] = &[("broker", &["error", "clock"])];

/// Files that gather the others: the crate roots, and what expansions name.
const ROOTS: &[&str] = &["lib.rs", "__private.rs", "expansion_tests.rs"];

/// What has one owner in `stream-runtime`: the word, and where it may stand.
const OWNERS: &[(&str, &[&str])] = &[
    ("rdkafka", &["kafka/"]),
    ("rocksdb", &["store/rocks/"]),
    ("unsafe", &["kafka/native/"]),
    ("kafka_protocol", &["broker/", "testing/clients/"]),
    ("inventory", &["registry.rs", "__private.rs"]),
    ("Instant::now", &["clock.rs"]),
    ("SystemTime::now", &["clock.rs"]),
];

#[test]
fn no_arrow_points_up_in_the_runtime() {
    check_layers("stream-runtime", RUNTIME);
}

#[test]
fn no_arrow_points_up_in_the_macros() {
    check_layers("stream-macros", MACROS);
}

#[test]
fn outside_things_have_one_owner() {
    let mut strangers = Vec::new();
    let mut unused: BTreeSet<&str> = OWNERS.iter().map(|(word, _)| *word).collect();
    for file in sources("stream-runtime") {
        for (word, owners) in OWNERS {
            if !has_word(&file.code, word) {
                continue;
            }
            if owners.iter().any(|owner| file.path.starts_with(owner)) {
                unused.remove(word);
            } else {
                strangers.push(format!(
                    "{}: `{word}` belongs to {}",
                    file.path,
                    owners.join(" and ")
                ));
            }
        }
    }
    assert!(strangers.is_empty(), "\n{}", strangers.join("\n"));
    assert!(
        unused.is_empty(),
        "the owners of these have none of it, so the rule is about something else now: {unused:?}"
    );
}

#[track_caller]
fn check_layers(package: &str, layers: &[&[&str]]) {
    let layer = |module: &str| layers.iter().position(|layer| layer.contains(&module));
    let mut wrong = Vec::new();
    for file in sources(package) {
        if ROOTS.contains(&file.path.as_str()) {
            continue;
        }
        let module = file.module();
        let Some(own) = layer(module) else {
            wrong.push(format!(
                "{}: `{module}` is in no layer: give it one in tests/architecture.rs",
                file.path
            ));
            continue;
        };
        for named in named_modules(&file) {
            let allowed = match layer(&named) {
                _ if named == module => true,
                Some(other) if other < own => is_wide_enough(module, &named),
                Some(other) => other == own && are_neighbours(module, &named),
                None => false,
            };
            if !allowed {
                wrong.push(format!("{}: `{module}` must not name `{named}`", file.path));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn are_neighbours(one: &str, other: &str) -> bool {
    NEIGHBOURS
        .iter()
        .any(|(a, b, _)| (*a, *b) == (one, other) || (*b, *a) == (one, other))
}

fn is_wide_enough(module: &str, named: &str) -> bool {
    NARROW
        .iter()
        .all(|(narrow, allowed)| *narrow != module || allowed.contains(&named))
}

/// One file of a crate, with what is not code taken out.
struct Source {
    /// From the crate's `src/`, with `/`.
    path: String,
    code: String,
}

impl Source {
    /// The module of the crate's root that it belongs to.
    fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or(&self.path);
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// How many modules it is below the crate's root.
    fn depth(&self) -> usize {
        let below = self.path.matches('/').count() + 1;
        below - usize::from(self.path.ends_with("/mod.rs"))
    }
}

/// All files of a crate but those of tests.
fn sources(package: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(package).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(!files.is_empty(), "{} has no sources", root.display());
    let mut sources: Vec<_> = files
        .into_iter()
        .map(|file| {
            let below = file.strip_prefix(&root).expect("files are looked for below it");
            let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
            let text = fs::read_to_string(&file).expect("sources are text");
            Source {
                path: parts.join("/"),
                code: code_of(&text),
            }
        })
        .collect();
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("the directory is there") {
        let path = entry.expect("the directory can be read").path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() && name != "tests" {
            collect(&path, files);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            files.push(path);
        }
    }
}

/// The text without lines of comment and without modules under `#[cfg(test)]`, as rustfmt lays them out.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let trimmed = line.trim_start();
        if trimmed == "#[cfg(test)]" {
            let end = format!("{}}}", &line[..line.len() - trimmed.len()]);
            let item = lines.find(|line| !line.trim_start().starts_with("#["));
            if item.is_some_and(|item| item.ends_with('{')) {
                lines.find(|line| *line == end);
            }
        } else if !trimmed.starts_with("//") {
            code.push_str(line);
            code.push('\n');
        }
    }
    code
}

/// The modules of the crate's root that the code names, by `crate::` or by enough `super::`.
fn named_modules(file: &Source) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for (start, _) in file.code.match_indices("crate::") {
        // `$crate` is in a macro, for wherever it is used.
        if !file.code[..start].ends_with(|c: char| c == '$' || is_ident(c)) {
            named.extend(first_names(&file.code[start + "crate::".len()..]));
        }
    }
    let to_root = "super::".repeat(file.depth());
    for (start, _) in file.code.match_indices(&to_root) {
        named.extend(first_names(&file.code[start + to_root.len()..]));
    }
    named.remove("super");
    named
}

/// What follows `crate::`: one name, or several in braces.
fn first_names(rest: &str) -> Vec<String> {
    let name = |text: &str| -> String { text.chars().take_while(|c| is_ident(*c)).collect() };
    let Some(list) = rest.strip_prefix('{') else {
        return vec![name(rest)];
    };
    let mut names = Vec::new();
    let mut depth = 0;
    let mut at_start = true;
    for (at, c) in list.char_indices() {
        match c {
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            '{' => depth += 1,
            ',' if depth == 0 => at_start = true,
            c if at_start && depth == 0 && is_ident(c) => {
                names.push(name(&list[at..]));
                at_start = false;
            }
            _ => {}
        }
    }
    names
}

/// Whether the word stands in the code by itself: `librdkafka` is not `rdkafka`, nor is a feature or a scheme of that
/// name the crate.
fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(start, _)| {
        let (before, behind) = (&code[..start], &code[start + word.len()..]);
        let is_part = before.ends_with(is_ident) || behind.starts_with(is_ident);
        let is_text = behind.starts_with('"') || behind.starts_with("://") || behind.starts_with('`');
        !is_part && !is_text
    })
}

fn is_ident(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[test]
fn what_is_named_is_found() {
    let file = |path: &str, code: &str| Source {
        path: path.to_owned(),
        code: code_of(code),
    };
    let check = |path: &str, code: &str, expected: &[&str]| {
        let named = named_modules(&file(path, code));
        assert_eq!(
            named.iter().map(String::as_str).collect::<Vec<_>>(),
            expected,
            "{code}"
        );
    };
    check("app/run.rs", "use crate::error::{Error, Result};\n", &["error"]);
    check(
        "app/run.rs",
        "use crate::{docs, item::{self, Item}, types};\n",
        &["docs", "item", "types"],
    );
    check("app/run.rs", "let x = crate::clock::now();\n", &["clock"]);
    check("app/run.rs", "// crate::clock\n/// [`crate::cli`]\n", &[]);
    check(
        "app/run.rs",
        "#[cfg(test)]\nmod tests {\n    use crate::cli;\n}\n",
        &[],
    );
    check(
        "app/run.rs",
        "#[cfg(test)]\nmod tests;\nuse crate::kafka;\n",
        &["kafka"],
    );
    check("app/run.rs", "use super::topics;\n", &[]);
    check("app/run.rs", "use super::super::cli::Screen;\n", &["cli"]);
    check("app/mod.rs", "use super::cli;\n", &["cli"]);
    check("clock.rs", "$crate::app!()\n", &[]);
    assert!(has_word("use rdkafka::Message;", "rdkafka"));
    assert!(!has_word("as librdkafka does", "rdkafka"));
    assert!(!has_word(
        "#[cfg(feature = \"rocksdb\")] \"rocksdb://\" needs `rocksdb`",
        "rocksdb"
    ));
}
