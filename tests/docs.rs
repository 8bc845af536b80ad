//! What the documents say of the code is so: excerpts, the printed topology, names of tests, links.

#[path = "support/example.rs"]
mod example;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn the_readme_shows_the_example() {
    let readme = read("README.md");
    let example = read("examples/colors.rs");
    let program: Vec<_> = example
        .lines()
        .skip_while(|line| line.starts_with("//!"))
        .take_while(|line| !line.contains("cargo test"))
        .collect();
    let program = program.join("\n");
    let shown = blocks(&readme, "rust");
    assert!(
        shown.contains(&program.trim().to_owned()),
        "README.md shows another program than examples/colors.rs: copy what is between its first comment and its tests"
    );
}

#[test]
fn the_readme_shows_the_test_of_the_example() {
    let example = read("examples/colors.rs");
    let test: Vec<_> = example
        .lines()
        .skip_while(|line| *line != "    #[test]")
        .take_while(|line| *line != "}")
        .map(|line| line.strip_prefix("    ").unwrap_or(line))
        .collect();
    let test = test.join("\n");
    assert!(
        blocks(&read("README.md"), "rust").contains(&test.trim().to_owned()),
        "README.md shows another test than examples/colors.rs"
    );
}

#[test]
fn the_topology_page_is_what_the_example_prints() {
    let output = Command::new(example::colors())
        .arg("topology")
        .output()
        .expect("the example can be run");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let printed = String::from_utf8(output.stdout).expect("it prints text");
    let page = "docs/topology/colors.md";
    assert!(
        printed == read(page),
        "{page} is stale: cargo run --example colors -- topology > {page}"
    );
}

#[test]
fn the_tests_of_every_guarantee_exist() {
    let guarantees = read("docs/GUARANTEES.md");
    let named: Vec<_> = quoted(&guarantees)
        .into_iter()
        .filter_map(|text| text.split_once(".rs::"))
        .collect();
    assert!(!named.is_empty(), "docs/GUARANTEES.md names no tests");
    let missing: Vec<_> = named
        .into_iter()
        .filter(|(file, test)| {
            let source = fs::read_to_string(root().join(format!("{file}.rs"))).unwrap_or_default();
            !source.contains(&format!("fn {test}("))
        })
        .map(|(file, test)| format!("{file}.rs::{test}"))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/GUARANTEES.md names tests that are not there:\n{}",
        missing.join("\n")
    );
}

#[test]
fn every_guarantee_names_its_tests() {
    let guarantees = read("docs/GUARANTEES.md");
    for section in guarantees.split("\n## ").skip(1) {
        let is_promise = section.starts_with(|c: char| c.is_ascii_digit());
        assert!(
            !is_promise || section.contains("\nTests:\n"),
            "no tests for: {}",
            section.lines().next().unwrap_or_default()
        );
    }
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for page in [
        "README.md",
        "CHANGELOG.md",
        "docs/ARCHITECTURE.md",
        "docs/GUARANTEES.md",
        "docs/SETTINGS.md",
    ] {
        let text = read(page);
        let folder = root().join(page).parent().map(Path::to_owned).unwrap_or_default();
        for (_, rest) in text.match_indices("](").map(|(at, _)| text.split_at(at + 2)) {
            let target = rest.split(')').next().unwrap_or_default();
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let is_broken = if target.contains("://") {
                false
            } else if file.is_empty() {
                !anchors(&text).iter().any(|known| known == anchor)
            } else {
                !folder.join(file).exists()
            };
            if is_broken {
                broken.push(format!("{page}: {target}"));
            }
        }
    }
    assert!(
        broken.is_empty(),
        "links that lead nowhere:\n{}",
        broken.join("\n")
    );
}

#[test]
fn every_dependency_has_its_reason() {
    let architecture = read("docs/ARCHITECTURE.md");
    for package in ["stream-runtime", "stream-macros"] {
        let manifest = read(&format!("{package}/Cargo.toml"));
        let mut section = "";
        for line in manifest.lines() {
            if line.starts_with('[') {
                section = line;
            } else if section.contains("dependencies")
                && let Some((name, _)) = line.split_once(" = ")
                && !name.starts_with("stream-")
            {
                assert!(
                    architecture.contains(&format!("`{name}`")),
                    "docs/ARCHITECTURE.md does not say why {package} needs `{name}`"
                );
            }
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The blocks of code in a language.
fn blocks(markdown: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = markdown.lines();
    while lines.any(|line| line.strip_prefix("```") == Some(language)) {
        let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.push(block.join("\n"));
    }
    blocks
}

/// What stands between backticks, outside of blocks.
fn quoted(markdown: &str) -> Vec<&str> {
    markdown.split('`').skip(1).step_by(2).collect()
}

/// The headings as a page's address writes them.
fn anchors(markdown: &str) -> Vec<String> {
    markdown
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let kept = line
                .trim_start_matches('#')
                .trim()
                .chars()
                .filter_map(|c| match c {
                    ' ' => Some('-'),
                    c if c.is_alphanumeric() || matches!(c, '-' | '_') => Some(c.to_ascii_lowercase()),
                    _ => None,
                });
            kept.collect()
        })
        .collect()
}
