//! `docs/SETTINGS.md`, written from the table of settings and compared with the file.

use std::fmt::Write;
use std::path::Path;

use super::{DEFAULT_FILE, FILE_VARIABLE, SETTINGS, Setting};

const INTRODUCTION: &str = "\
# Settings

<!-- Written from the table in `stream-runtime/src/app/settings.rs` by a test: `WRITE_DOCS=1 cargo test -p \
stream-runtime --lib manual`. -->

A value comes from the first of these places that has one:

1. a flag: `--commit-interval 250ms`, or `--set commit_interval=250ms`;
2. the environment: `STREAM_COMMIT_INTERVAL=250ms`;
3. the file `stream.toml` in the working directory, or the one named by `--config` or `STREAM_CONFIG`:
   `commit_interval = \"250ms\"`;
4. the program: `App::new(\"colors\").set(\"commit_interval\", \"250ms\")`;
5. its default.

A name that does not exist is an error in all of them, answered with the nearest that does. Durations are a whole
number and its unit: `ms`, `s`, `m`, `h` or `d`; sizes likewise: `B`, `KiB`, `MiB`, `GiB` or `TiB`. The
command `settings` lists all values with the place each came from.

| setting | value | default | variable | flag |
|---|---|---|---|---|
";

const CLIENT: &str = "\
## The Kafka client's own

Every client takes the settings of [librdkafka](https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md)
as they are:

```toml
[kafka]
linger.ms = 5
compression.type = \"lz4\"
\"socket.keepalive.enable\" = true
```

or `--set linger.ms=5`, `STREAM_KAFKA__LINGER_MS=5` (a `.` is written `_`), and `set(\"linger.ms\", 5)` in code. Outside the
table, a name without a dot has `kafka.` before it: `--set kafka.debug=cgrp`. Those that delivery rests on, or that a
setting above gives, are refused.
";

fn manual() -> String {
    let mut text = INTRODUCTION.to_owned();
    for setting in SETTINGS {
        let _ = writeln!(
            text,
            "| [`{name}`](#{name}) | {} | {} | `{}` | `--{}` |",
            setting.kind,
            default(setting),
            setting.variable(),
            setting.flag(),
            name = setting.name,
        );
    }
    for setting in SETTINGS {
        let _ = write!(
            text,
            "\n## {}\n\n{} Default: {}.\n",
            setting.name,
            setting.prose(),
            default(setting)
        );
    }
    text + "\n" + CLIENT
}

fn default(setting: &Setting) -> String {
    match setting.default.replace("{id}", "<id>") {
        none if none.is_empty() => "none".to_owned(),
        default => format!("`{default}`"),
    }
}

#[test]
fn the_manual_is_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/SETTINGS.md");
    let wanted = manual();
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(&path, &wanted).expect("docs/ can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/SETTINGS.md is stale: run `WRITE_DOCS=1 cargo test -p stream-runtime --lib manual` and commit it"
    );
}

#[test]
fn the_manual_names_the_file_and_its_variable() {
    assert!(INTRODUCTION.contains(DEFAULT_FILE) && INTRODUCTION.contains(FILE_VARIABLE));
}
