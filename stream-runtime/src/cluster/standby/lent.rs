//! The stores of a thread's tasks: taken over from standbys, and given back to them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use super::holdings::{Standbys, Taken};
use crate::cluster::plan::{Blueprint, TablePlan, TaskId};
use crate::error::{Error, Result};
use crate::store::{Batch, Store, StorePlace, Stores, Visit};

/// Opens and releases the stores of one thread.
#[derive(Debug)]
pub(crate) struct TaskStores {
    stores: Arc<dyn Stores>,
    /// Nothing changes hands without standbys.
    standbys: Option<Standbys>,
    lent: BTreeMap<TaskId, (Taken, Rc<Lent>)>,
}

impl TaskStores {
    pub(crate) fn new(stores: Arc<dyn Stores>, standbys: Option<Standbys>) -> Self {
        Self {
            stores,
            standbys,
            lent: BTreeMap::new(),
        }
    }

    /// The store of a task that this thread takes on: that of the standby, or else with what this machine still has of
    /// its state.
    pub(crate) fn open(&mut self, task: TaskId, blueprint: &Blueprint) -> Result<Rc<dyn Store>> {
        let open = || open(self.stores.as_ref(), blueprint, task.partition);
        let Some(standbys) = &self.standbys else {
            return Ok(open()?.into());
        };
        let (taken, store) = standbys.take(&blueprint.name, task.partition);
        let store = match store {
            Some(store) => store,
            None => {
                open().inspect_err(|_| standbys.give_back(&blueprint.name, task.partition, taken, None))?
            }
        };
        let lent = Rc::new(Lent {
            store: RefCell::new(Some(store)),
        });
        self.lent.insert(task, (taken, Rc::clone(&lent)));
        Ok(lent)
    }

    /// The task has ended on this thread, and nobody uses its store any more. One that is not as it is committed now is
    /// closed: how old it is, only it knows.
    pub(crate) fn release(&mut self, task: TaskId, blueprint: &Blueprint, is_current: bool) {
        if let (Some(standbys), Some((taken, lent))) = (&self.standbys, self.lent.remove(&task)) {
            let store = lent.store.take().filter(|_| is_current);
            standbys.give_back(&blueprint.name, task.partition, taken, store);
        }
    }
}

/// Opens the store of a task, with what this machine still has of its state.
pub(super) fn open(stores: &dyn Stores, blueprint: &Blueprint, partition: i32) -> Result<Box<dyn Store>> {
    let tables: Vec<_> = blueprint.tables.iter().map(TablePlan::stored).collect();
    stores.open(&StorePlace {
        sub_topology: &blueprint.name,
        partition,
        tables: &tables,
    })
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

    fn inputs(&self) -> Vec<(String, i64)> {
        self.store
            .borrow()
            .as_ref()
            .map_or_else(Vec::new, |store| store.inputs())
    }

    fn clear(&self, table: usize) -> Result<()> {
        self.with(|store| store.clear(table))
    }

    fn restoring(&self, on: bool) -> Result<()> {
        self.with(|store| store.restoring(on))
    }

    /// Nothing, where it was given back: then it goes on elsewhere.
    fn close(&self) -> Result<()> {
        match &*self.store.borrow() {
            Some(store) => store.close(),
            None => Ok(()),
        }
    }
}
