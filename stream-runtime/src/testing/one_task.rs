//! One task by itself, for measuring what a record costs: no thread, no broker, a producer that takes everything.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::clients::network::{Network, Process, SharedNetwork};
use super::clients::producer::send_each;
use super::worker::Program;
use crate::app::settings::Settings;
use crate::app::{App, Cancel, Plan};
use crate::cluster::plan::{Blueprint, TaskId};
use crate::cluster::task::{Outlet, Ran, Stage, Task};
use crate::cluster::turn::Turn;
use crate::error::Result;
use crate::kafka::{KeyedValues, OutgoingRecord, Producer, SendOutcome};
use crate::record::{HeadersRef, RecordRef};
use crate::store::{Batch, MemoryStore};

/// Records that a task processes in one turn.
const BUDGET: usize = 2_000;
const TURN: Duration = Duration::from_millis(50);

/// Partition 0 of the only sub-topology of a program, over a store in memory. Its changelogs and its sends go nowhere.
pub struct OneTask {
    task: Task,
    blueprint: Blueprint,
    producer: Nowhere,
    next_offset: i64,
}

impl fmt::Debug for OneTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OneTask({})", self.task.name())
    }
}

impl OneTask {
    /// The task of a program with one input.
    ///
    /// # Errors
    /// Those of a start of the program.
    ///
    /// # Panics
    /// When it has no agent.
    pub fn new(app: App) -> Result<Self> {
        let settings = Settings::resolve(app.id(), std::slice::from_ref(app.code()))?;
        let program = Program {
            app,
            settings,
            on_disk: false,
        };
        let network = SharedNetwork::new(Network::new(0, 0));
        let cluster = program.cluster(&network, Process(0), None);
        let (app, settings) = (&program.app, &program.settings);
        let plan = Plan::make(
            app.id(),
            app.topology()?,
            settings,
            &cluster,
            true,
            &Cancel::default(),
        )?;
        let blueprint = plan.blueprints.into_iter().next().expect("it has an agent");
        let mut task = Task::new(
            TaskId {
                sub_topology: 0,
                partition: 0,
            },
            &blueprint,
            plan.names,
            Rc::new(MemoryStore::new(blueprint.tables.len())),
            Arc::new(Notify::new()),
            usize::MAX,
            true,
        );
        task.stage = Stage::Running;
        Ok(Self {
            task,
            blueprint,
            producer: Nowhere::default(),
            next_offset: 0,
        })
    }

    /// A record arrives.
    pub fn feed(&mut self, key: &[u8], value: &[u8]) {
        let record = RecordRef {
            topic: &self.blueprint.inputs[0],
            partition: 0,
            offset: self.next_offset,
            timestamp: self.next_offset,
            key: Some(key),
            value: Some(value),
            headers: HeadersRef::default(),
        };
        self.task.context().inputs[0].borrow_mut().push(record);
        self.next_offset += 1;
    }

    /// Processes everything that has arrived.
    ///
    /// # Panics
    /// When a record is not done at once.
    pub fn run(&mut self) {
        loop {
            let outlet = Outlet::Producer(&mut self.producer);
            match self.task.run(outlet, BUDGET, &mut Turn::new(TURN)) {
                Ran::Idle if !self.task.has_open() => return,
                Ran::Busy => {}
                ran => panic!("a record was not done: {ran:?}"),
            }
        }
    }

    /// Commits what was processed; gives how many keys had changed.
    ///
    /// # Errors
    /// When a value does not encode.
    pub fn commit(&mut self) -> Result<usize> {
        let mut batch = Batch::default();
        let Some((offsets, cut)) = self.task.stage(&mut batch)? else {
            return Ok(0);
        };
        for change in batch.writes() {
            self.producer.send(OutgoingRecord {
                topic: &self.blueprint.tables[change.table].changelog.topic,
                partition: Some(0),
                key: Some(change.key),
                value: change.value,
                headers: &[],
                timestamp: None,
            });
        }
        self.task.committed(&offsets, cut, &batch)?;
        Ok(batch.len())
    }

    /// How many records were sent so far, those of changelogs included.
    pub fn sent(&self) -> u64 {
        self.producer.sent
    }
}

/// Takes everything.
#[derive(Debug, Default)]
struct Nowhere {
    sent: u64,
}

impl Producer for Nowhere {
    fn send(&mut self, record: OutgoingRecord<'_>) -> SendOutcome {
        std::hint::black_box(record);
        self.sent += 1;
        SendOutcome::Queued
    }

    fn send_many(&mut self, topic: &Arc<str>, partition: i32, records: &mut KeyedValues<'_>) -> usize {
        send_each(topic, partition, records, |record| self.send(record))
    }

    fn poll(&mut self) {}

    fn in_flight(&self) -> usize {
        0
    }

    fn take_failure(&mut self) -> Option<String> {
        None
    }

    fn follow(&mut self, _topic: &Arc<str>) {}

    fn acknowledged(&self, _topic: &str, _partition: i32) -> Option<i64> {
        None
    }

    fn purge(&mut self) {}

    fn flush(&mut self, _deadline: Duration) -> bool {
        true
    }
}
