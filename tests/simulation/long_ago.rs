//! Records whose events were long ago.

use std::time::Duration;

use stream_runtime::prelude::*;
use stream_runtime::testing::TestApp;

/// Readings, of any time.
#[topic(name = "long-ago-readings")]
static READINGS: Topic<String, u64>;

/// The same, by what was read.
#[topic(internal)]
static BY_VALUE: Topic<u64, String>;

/// How often each has arrived.
#[table(name = "long-ago-arrived")]
static ARRIVED: Table<String, u64>;

#[agent(topic = READINGS)]
async fn pass_on(Key(name): Key<String>, value: u64) {
    BY_VALUE.send(&value, &name).await;
}

/// Takes its time, so that records wait for it.
#[agent(topic = BY_VALUE)]
async fn take(name: String) {
    tokio::time::sleep(Duration::from_secs(450)).await;
    ARRIVED.update(&name, |times| *times += 1);
}

/// A retention counts from the time of the event: internal topics have none, or what waits in them would be gone.
#[test]
fn records_of_long_ago_wait_in_internal_topics_until_they_are_processed() {
    for exactly_once in [false, true] {
        let mut app = TestApp::new()
            .agents([pass_on::agent(), take::agent()])
            .set("partitions", 1);
        if exactly_once {
            app = app.exactly_once();
        }
        let names: Vec<_> = (0..3).map(|n| format!("reading {n}")).collect();
        for name in &names {
            // In 1970.
            app.send_at(&READINGS, name.as_str(), 1_u64, 1_000);
            app.advance(Duration::from_secs(60));
        }
        app.advance(Duration::from_secs(1800)).settle();
        app.advance(Duration::from_secs(60));
        assert!(
            app.records("test-by-value").is_empty(),
            "what is processed is purged"
        );
        let arrived = app.table(&ARRIVED);
        let arrived: Vec<_> = arrived.iter().collect();
        assert_eq!(arrived, names.iter().map(|name| (name, &1)).collect::<Vec<_>>());
    }
}
