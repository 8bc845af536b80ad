//! The stores of a thread's tasks: taken over from standbys, and given back to them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::holdings::Standbys;
use crate::cluster::plan::{Blueprint, TaskId};
use crate::error::{Error, Result};
use crate::store::{Batch, Store, Visit};

/// Opens and releases the stores of one thread.
#[derive(Debug, Default)]
pub(crate) struct TaskStores {
    /// Nothing changes hands without standbys.
    standbys: Option<Standbys>,
    lent: BTreeMap<TaskId, Rc<Lent>>,
}

impl TaskStores {
    pub(crate) fn new(standbys: Option<Standbys>) -> Self {
        Self {
            standbys,
            lent: BTreeMap::new(),
        }
    }

    /// The store of a task that this thread takes on: that of the standby, or else what `open` gives.
    pub(crate) fn open(
        &mut self,
        task: TaskId,
        blueprint: &Blueprint,
        open: impl FnOnce() -> Result<Box<dyn Store>>,
    ) -> Result<Rc<dyn Store>> {
        let Some(standbys) = &self.standbys else {
            return Ok(open()?.into());
        };
        let store = match standbys.take(&blueprint.name, task.partition) {
            Some(store) => store,
            None => open().inspect_err(|_| standbys.give_back(&blueprint.name, task.partition, None))?,
        };
        let lent = Rc::new(Lent {
            store: RefCell::new(Some(store)),
        });
        self.lent.insert(task, Rc::clone(&lent));
        Ok(lent)
    }

    /// The task has ended on this thread, and nobody uses its store any more.
    pub(crate) fn release(&mut self, task: TaskId, blueprint: &Blueprint) {
        if let (Some(standbys), Some(lent)) = (&self.standbys, self.lent.remove(&task)) {
            standbys.give_back(&blueprint.name, task.partition, lent.store.take());
        }
    }
}

/// A store that is used by a task and can be had back from it.
#[derive(Debug)]
struct Lent {
    store: RefCell<Option<Box<dyn Store>>>,
}

impl Lent {
    fn with<T>(&self, then: impl FnOnce(&dyn Store) -> Result<T>) -> Result<T> {
        match &*self.store.borrow() {
            Some(store) => then(store.as_ref()),
            None => Err(Error::state(
                "the store of a task that has ended is used: this is a defect of the runtime",
            )),
        }
    }
}

impl Store for Lent {
    fn get(&self, table: usize, key: &[u8], read: &mut dyn FnMut(&[u8])) -> Result<bool> {
        self.with(|store| store.get(table, key, read))
    }

    fn scan(&self, table: usize, each: &mut Visit<'_>) -> Result<()> {
        self.with(|store| store.scan(table, each))
    }

    fn apply(&self, batch: &Batch) -> Result<()> {
        self.with(|store| store.apply(batch))
    }

    fn changelog_offset(&self, table: usize) -> Option<i64> {
        self.store.borrow().as_ref()?.changelog_offset(table)
    }

    fn clear(&self, table: usize) -> Result<()> {
        self.with(|store| store.clear(table))
    }

    fn restoring(&self, on: bool) -> Result<()> {
        self.with(|store| store.restoring(on))
    }
}
