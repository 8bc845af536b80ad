use serde::{Deserialize, Serialize};
use stream_runtime::prelude::*;

#[derive(Clone, Serialize, Deserialize)]
struct Limit(u64);

impl Limit {
    fn of(limit: u64) -> Self {
        Self(limit)
    }
}

/// How much each customer may spend.
#[table(name = "limits", value = json, default = Limit::of(10), config = [("segment.ms", "60000")])]
static LIMITS: Table<(String, u64), Limit>;

#[table]
pub static COLORS_COUNT: Table<String, u64>;

fn main() {
    #[table(default = vec![String::from("first")])]
    static NAMES: stream_runtime::Table<u64, Vec<String>>;

    assert_eq!((LIMITS.def().name, LIMITS.def().value_codec), ("limits", "json"));
    assert_eq!(LIMITS.def().doc, "How much each customer may spend.");
    assert_eq!(LIMITS.def().config, [("segment.ms", "60000")]);
    assert_eq!((COLORS_COUNT.def().name, COLORS_COUNT.def().value_codec), ("colors-count", "postcard"));

    assert_eq!(LIMITS.update(&("ann".to_owned(), 1), |limit| limit.0), 10);
    assert_eq!(NAMES.update(&1, |names| names.len()), 1);
    assert_eq!(COLORS_COUNT.update("red", |n| *n), 0);
}
