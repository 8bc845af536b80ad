use std::pin::pin;
use std::task::{Context, Poll, Waker};

use stream_runtime::prelude::*;

#[table]
static COUNTS: Table<String, u64>;

#[agent(topic = "words", sink = "counts")]
async fn count(word: String, Key(times): Key<u64>) -> u64 {
    COUNTS.update(&word, |n| {
        *n += times;
        *n
    })
}

/// The answer of a future that does not wait.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("it waits"),
    }
}

fn main() {
    assert_eq!(now(count("red".to_owned(), Key(1))), 1);
    assert_eq!(now(count("red".to_owned(), Key(2))), 3);
}
