//! What a thread does when partitions come and go, and how its tasks end in order.
//!
//! A rebalance is answered when the tasks it takes away have drained: finished their records and committed, or
//! run out of time. Meanwhile the loop goes on for the others.

use std::time::Instant;

use tracing::{info, warn};

use super::Thread;
use crate::clock;
use crate::cluster::plan::{Listed, TaskId};
use crate::cluster::task::Task;
use crate::error::{Error, Result};
use crate::kafka::{Rebalance, StartOffset, TopicPartition};

/// Why the thread brings tasks to an end.
#[derive(Debug)]
pub(super) enum Drain {
    None,
    /// The group wants these partitions back.
    Revoke {
        partitions: Vec<TopicPartition>,
        tasks: Vec<TaskId>,
        deadline: Instant,
    },
    Stop {
        deadline: Instant,
    },
    /// Nothing is left to drain, or its time is over: the thread ends.
    Ended,
}

impl Thread {
    pub(super) fn answer_rebalance(&mut self) -> Result<bool> {
        let waiting = self.consumer.rebalance();
        // While tasks drain only a loss is heard: what was to be given back may turn into one.
        if !matches!(self.drain, Drain::None) && !matches!(waiting, Some(Rebalance::Lost(_))) {
            return Ok(false);
        }
        match waiting {
            None => return Ok(false),
            Some(Rebalance::Assign(partitions)) => self.take_on(&partitions)?,
            Some(Rebalance::Revoke(partitions)) => {
                let tasks = self.setup.blueprints.tasks_led_by(&partitions);
                info!(partitions = %Listed(&partitions), "giving back");
                self.drain = Drain::Revoke {
                    partitions,
                    tasks,
                    deadline: clock::now() + self.setup.revoke_timeout,
                };
            }
            Some(Rebalance::Lost(partitions)) => {
                warn!(
                    partitions = %Listed(&partitions),
                    "lost: this worker was away from the group for too long; what was not committed is processed \
                     again by those who have the partitions now"
                );
                let tasks = self.setup.blueprints.tasks_led_by(&partitions);
                // Nothing that is still queued may be written behind the back of the new owners. Should other tasks
                // remain, their sends are in the same queue, and a commit relies on them. A transaction is aborted
                // instead.
                if !self.output.is_transactional() && self.tasks.keys().all(|id| tasks.contains(id)) {
                    self.output.producer().purge();
                }
                if matches!(self.drain, Drain::Revoke { .. }) {
                    self.drain = Drain::None;
                }
                self.give_up(&tasks, &partitions, true)?;
            }
        }
        Ok(true)
    }

    /// Makes the tasks of newly assigned lead partitions.
    fn take_on(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let blueprints = self.setup.blueprints.clone();
        let mut inputs = Vec::new();
        for id in blueprints.tasks_led_by(partitions) {
            let blueprint = blueprints.get(id);
            if id.partition.cast_unsigned() >= blueprint.partitions {
                return Err(Error::topology(format!(
                    "topic `{}` has got more partitions than the {} it had when this worker started, and its keys \
                     have moved away from their state: stop all workers of the program, and start them when its \
                     topics fit together again",
                    blueprint.inputs[0], blueprint.partitions
                )));
            }
            if let Some(stale) = self.tasks.remove(&id) {
                self.commit.forget(&[id], true, &mut self.output);
                self.close_task(id, stale, false)?;
            }
            let store = self.stores.open(id, blueprint)?;
            let task = self.new_task(id, store);
            self.routes.add(task.context());
            inputs.extend(
                blueprints
                    .inputs_of(id)
                    .into_iter()
                    .map(|input| (input, StartOffset::Committed)),
            );
            self.tasks.insert(id, task);
        }
        // An answer that is under way may be of before these partitions were with others.
        self.question = None;
        self.consumer.assign(&inputs)?;
        // The group says so at every rebalance, also when nothing comes.
        if !partitions.is_empty() {
            info!(partitions = %Listed(partitions), tasks = self.tasks.len(), "assigned");
        }
        self.publish_status();
        Ok(())
    }

    /// Ends tasks without a commit of what they have not committed, and answers the rebalance.
    fn give_up(&mut self, tasks: &[TaskId], partitions: &[TopicPartition], unfinished: bool) -> Result<()> {
        self.commit.forget(tasks, unfinished, &mut self.output);
        let mut inputs = partitions.to_vec();
        for id in tasks {
            if let Some(task) = self.tasks.remove(id) {
                self.close_task(*id, task, !unfinished)?;
                for input in self.setup.blueprints.inputs_of(*id) {
                    if !inputs.contains(&input) {
                        inputs.push(input);
                    }
                }
            }
        }
        self.consumer.unassign(&inputs)?;
        self.publish_status();
        Ok(())
    }

    /// `is_finished`: all that it did is committed, just now.
    fn close_task(&mut self, id: TaskId, task: Task, is_finished: bool) -> Result<()> {
        self.restores.remove(id)?;
        self.routes.remove(task.context());
        let is_current = is_finished && task.is_ready();
        task.close();
        self.stores.release(id, self.setup.blueprints.get(id), is_current);
        Ok(())
    }

    /// When open records are given up, half of the time before the end.
    fn abandon_at(&self) -> Option<Instant> {
        match &self.drain {
            Drain::None | Drain::Ended => None,
            Drain::Revoke { deadline, .. } => Some(*deadline - self.setup.revoke_timeout / 2),
            Drain::Stop { deadline } => Some(*deadline - self.setup.shutdown_timeout / 2),
        }
    }

    /// When something about a drain is to be decided.
    pub(super) fn drain_step(&self) -> Option<Instant> {
        let now = clock::now();
        let deadline = match &self.drain {
            Drain::None | Drain::Ended => None,
            Drain::Revoke { deadline, .. } | Drain::Stop { deadline } => Some(*deadline),
        };
        self.abandon_at().filter(|at| *at > now).or(deadline)
    }

    /// The tasks that come to their end, and until when.
    fn draining(&self) -> Option<(Vec<TaskId>, Instant)> {
        match &self.drain {
            Drain::None | Drain::Ended => None,
            Drain::Revoke { tasks, deadline, .. } => Some((tasks.clone(), *deadline)),
            Drain::Stop { deadline } => Some((self.tasks.keys().copied().collect(), *deadline)),
        }
    }

    /// Lets tasks that come to their end open no record.
    pub(super) fn hold_draining(&mut self) {
        let (tasks, _) = self.draining().unzip();
        for id in tasks.into_iter().flatten() {
            if let Some(task) = self.tasks.get_mut(&id) {
                task.hold = true;
            }
        }
    }

    pub(super) fn step_drain(&mut self) -> Result<bool> {
        let Some((tasks, deadline)) = self.draining() else {
            return Ok(false);
        };
        self.hold_draining();
        let now = clock::now();
        let abandon_at = self.abandon_at().unwrap_or(deadline);
        for id in &tasks {
            if let Some(task) = self.tasks.get_mut(id)
                && task.has_open()
                && (task.is_backing_off() || now >= abandon_at)
            {
                task.abandon_open();
            }
        }
        let drained = tasks
            .iter()
            .all(|id| !self.commit.covers(*id) && self.tasks.get(id).is_none_or(Task::is_drained));
        if !drained && now < deadline {
            return Ok(false);
        }
        if !drained {
            warn!("not everything could be committed in time; what was not is processed again");
        }
        self.unfinished |= !drained;
        if let Drain::Revoke {
            partitions, tasks, ..
        } = std::mem::replace(&mut self.drain, Drain::None)
        {
            if !drained && !self.output.is_transactional() {
                self.take_back_sends(&tasks)?;
            }
            self.give_up(&tasks, &partitions, !drained)?;
        } else {
            self.drain = Drain::Ended;
        }
        Ok(true)
    }

    /// Drops what the broker did not take in time: behind the back of the new owner it would come after what that sends,
    /// and changes of tables would overwrite newer ones.
    fn take_back_sends(&mut self, revoked: &[TaskId]) -> Result<()> {
        if self.tasks.keys().all(|id| revoked.contains(id)) {
            self.output.producer().purge();
            return Ok(());
        }
        // Other tasks have sends in the same queue, and no commit of theirs would know what is missing. Without changes of
        // tables among them, only outputs may come late.
        if !self.commit.has_changes_on_their_way() {
            return Ok(());
        }
        Err(Error::broker(format!(
            "the broker did not take what belongs to partitions that had to be given back within {:?}; this worker \
             ends so that nothing of it is written late, and whoever has its partitions then processes again what was \
             not committed",
            self.setup.revoke_timeout
        )))
    }
}
