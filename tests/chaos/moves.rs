//! The input: records at a steady rate, made from the seed, and a log of what the broker has acknowledged.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, Message};

use crate::program::{INPUTS, Move};
use crate::random::Random;

const ACCOUNTS: u64 = 200;
const GROUPS: u64 = 20;
/// How often records are sent.
const TICK: Duration = Duration::from_millis(20);
/// How long the broker may take for what is queued.
const FLUSH: Duration = Duration::from_secs(120);

/// What was sent, by id: the account, the move, and where it lies on the broker once that has it.
#[derive(Debug, Default)]
struct Log {
    sent: Vec<(String, Move)>,
    acknowledged: Vec<Option<(i32, i64)>>,
    failures: Vec<String>,
}

#[derive(Debug, Clone, Default)]
struct Deliveries(Arc<Mutex<Log>>);

impl Deliveries {
    fn log(&self) -> std::sync::MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, id: usize) {
        let mut log = self.log();
        match result {
            Ok(record) => log.acknowledged[id] = Some((record.partition(), record.offset())),
            Err((error, _)) => log.failures.push(format!("move {id}: {error}")),
        }
    }
}

/// Where moves come from.
pub(crate) struct Feeder {
    source: Arc<Mutex<Source>>,
    deliveries: Deliveries,
    ends: Arc<AtomicBool>,
    flow: Option<JoinHandle<()>>,
}

struct Source {
    random: Random,
    producer: ThreadedProducer<Deliveries>,
}

impl Source {
    fn send(&mut self, account: u64) {
        let account = format!("account-{account:03}");
        let deliveries = self.producer.context().as_ref().clone();
        let id = {
            let mut log = deliveries.log();
            let moved = Move {
                id: log.sent.len() as u64,
                group: format!("group-{:02}", self.random.below(GROUPS)),
                amount: self.random.below(2_000).cast_signed() - 1_000,
            };
            log.sent.push((account.clone(), moved));
            log.acknowledged.push(None);
            log.sent.len() - 1
        };
        let value = serde_json::to_string(&deliveries.log().sent[id].1).expect("a move is JSON");
        let mut record = BaseRecord::with_opaque_to(INPUTS[0], id)
            .key(&account)
            .payload(&value);
        loop {
            match self.producer.send(record) {
                Ok(()) => return,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    std::thread::sleep(TICK);
                }
                Err((error, _)) => panic!("a move is not queued: {error}"),
            }
        }
    }
}

impl Feeder {
    /// Sends `rate` moves a second from now on.
    pub(crate) fn start(bootstrap: &str, seed: u64, rate: u64) -> Self {
        let deliveries = Deliveries::default();
        let producer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("partitioner", "murmur2_random")
            .set("enable.idempotence", "true")
            .set("linger.ms", "5")
            .set("message.timeout.ms", "0")
            .set("reconnect.backoff.max.ms", "500")
            .set_log_level(RDKafkaLogLevel::Emerg)
            .create_with_context(deliveries.clone())
            .expect("a producer can be made");
        let source = Arc::new(Mutex::new(Source {
            random: Random::new(!seed),
            producer,
        }));
        let ends = Arc::new(AtomicBool::new(false));
        let flow = {
            let (source, ends) = (Arc::clone(&source), Arc::clone(&ends));
            std::thread::spawn(move || {
                let each = (rate * u64::try_from(TICK.as_millis()).expect("a tick is short")).div_ceil(1000);
                while !ends.load(Ordering::Relaxed) {
                    let mut source = source.lock().unwrap_or_else(PoisonError::into_inner);
                    for _ in 0..each {
                        let account = source.random.below(ACCOUNTS);
                        source.send(account);
                    }
                    drop(source);
                    std::thread::sleep(TICK);
                }
            })
        };
        Self {
            source,
            deliveries,
            ends,
            flow: Some(flow),
        }
    }

    /// Sends no more, and waits until the broker has what was sent.
    pub(crate) fn stop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(flow) = self.flow.take() {
            flow.join().expect("the flow of moves does not panic");
        }
        self.flush();
    }

    /// A move of every account, so that every partition has one.
    pub(crate) fn sweep(&self) {
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        for account in 0..ACCOUNTS {
            source.send(account);
        }
        drop(source);
        self.flush();
    }

    fn flush(&self) {
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        source.producer.flush(FLUSH).expect("the broker takes all moves");
        let log = self.deliveries.log();
        assert!(
            log.failures.is_empty(),
            "the moves were not all taken: {:?}",
            log.failures
        );
        assert!(
            log.acknowledged.iter().all(Option::is_some),
            "all moves are acknowledged"
        );
    }

    /// How many were sent.
    pub(crate) fn sent(&self) -> u64 {
        self.deliveries.log().sent.len() as u64
    }

    /// All that were sent, by id, with their accounts.
    pub(crate) fn moves(&self) -> Vec<(String, Move)> {
        self.deliveries.log().sent.clone()
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}
