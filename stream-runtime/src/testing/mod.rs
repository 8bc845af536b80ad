//! What tests use: agents called as functions, and with the feature `testing` whole programs on virtual time
//! (`TestApp`), also under everything that can go wrong (`simulate`).
//!
//! An agent is a plain function and can be called as one:
//!
//! ```
//! use stream_runtime::prelude::*;
//! use stream_runtime::testing;
//!
//! #[table]
//! static SEEN: Table<String, u64>;
//!
//! #[agent(topic = "colors")]
//! async fn count(color: String) -> u64 {
//!     SEEN.update(&color, |n| { *n += 1; *n })
//! }
//!
//! # fn main() {
//! assert_eq!(testing::run(count("red".to_owned())), 1);
//! assert_eq!(testing::run(count("red".to_owned())), 2);
//! # }
//! ```
//!
//! Tables live in memory then, one set a thread, and sends are kept for [`sent`].

#[cfg(feature = "testing")]
mod app;
#[cfg(feature = "testing")]
mod clients;
#[cfg(feature = "testing")]
mod commit_step;
#[cfg(feature = "testing")]
mod disk;
#[cfg(feature = "testing")]
mod driver;
#[cfg(feature = "testing")]
mod effects;
#[cfg(feature = "testing")]
mod faults;
#[cfg(feature = "testing")]
mod once_more;
#[cfg(feature = "testing")]
mod one_task;
#[cfg(feature = "testing")]
mod panics;
#[cfg(feature = "testing")]
mod random;
#[cfg(feature = "testing")]
mod simulate;
#[cfg(all(test, feature = "testing"))]
mod tests;
#[cfg(feature = "testing")]
mod watch;
#[cfg(feature = "testing")]
mod worker;

use crate::agent::context::Entered;
use crate::agent::detached::{detached, with_detached};
use crate::agent::outbox::Outbox;
use crate::record::topic::Topic;

#[cfg(feature = "testing")]
pub use app::{TableView, TestApp, TestRecord, TestSending};
#[cfg(feature = "testing")]
pub use commit_step::CommitStep;
#[cfg(feature = "testing")]
pub use faults::{FaultKind, Faults};
#[cfg(feature = "testing")]
#[doc(hidden)]
pub use one_task::OneTask;
#[cfg(feature = "testing")]
pub use random::Random;
#[cfg(feature = "testing")]
pub use simulate::simulate;

/// Runs one call of an agent's function to its end, on this thread.
///
/// # Panics
/// When the call sends a value that does not encode.
pub fn run<R>(agent: impl Future<Output = R>) -> R {
    let task = detached();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime without threads needs nothing that could be missing");
    let _entered = Entered::new(&task);
    let returned = runtime.block_on(agent);
    if let Some(failure) = task.failure.take() {
        panic!("{failure}");
    }
    returned
}

/// Takes what agents called on this thread sent to `topic`, oldest first.
///
/// # Panics
/// When what was sent does not decode by the topic's own codecs.
pub fn sent<K, V>(topic: &Topic<K, V>) -> Vec<(K, V)> {
    with_detached(|task| {
        let mut outbox: Outbox = task.outbox.take();
        let mut wanted = Vec::new();
        outbox.seal();
        outbox.drain(|record| {
            if **record.topic == *topic.def().name {
                let key = (topic.key.decode)(record.key).expect("the topic's codec wrote it");
                let value = (topic.value.decode)(record.value).expect("the topic's codec wrote it");
                wanted.push((key, value));
            } else {
                let mut kept = task.outbox.borrow_mut();
                let mut staging = kept.stage(record.topic.clone());
                staging.key(|bytes| {
                    bytes.extend_from_slice(record.key.unwrap_or_default());
                    record.key.is_some()
                });
                staging.value(|bytes| {
                    bytes.extend_from_slice(record.value.unwrap_or_default());
                    record.value.is_some()
                });
                staging.headers(record.headers).timestamp(record.timestamp);
                staging.finish();
            }
            true
        });
        wanted
    })
}
