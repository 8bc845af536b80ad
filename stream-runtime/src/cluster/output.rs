//! Where a thread's records go: a plain producer, or one with transactions.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tracing::debug;

use crate::error::Result;
use crate::kafka::{
    Cluster, CommitOffset, GroupMembership, Producer, TransactionOutcome, TransactionalProducer,
};

/// How a program's results relate to its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guarantee {
    AtLeastOnce,
    ExactlyOnce { transaction_timeout: Duration },
}

/// How long a thread that ends badly waits for its transaction to be aborted. Otherwise its time-out ends it, which
/// readers of the outputs wait for.
const LAST_ABORT: Duration = Duration::from_secs(2);

/// The producer of a thread.
pub(crate) enum Output {
    AtLeastOnce(Box<dyn Producer>),
    /// `open` while there is a transaction to send in.
    ExactlyOnce {
        producer: Box<dyn TransactionalProducer>,
        open: bool,
        maker: Maker,
    },
}

/// Makes transactional producers of one name, each in the place of the one before.
pub(crate) struct Maker {
    cluster: Arc<dyn Cluster>,
    id: String,
    timeout: Duration,
    wake: Arc<Notify>,
    changelogs: Vec<Arc<str>>,
}

impl Maker {
    fn make(&self) -> Result<Box<dyn TransactionalProducer>> {
        let mut producer =
            self.cluster
                .transactional_producer(&self.id, self.timeout, Arc::clone(&self.wake))?;
        for changelog in &self.changelogs {
            producer.follow(changelog);
        }
        producer.init();
        Ok(producer)
    }
}

impl Output {
    /// `id` names the thread among all of all workers, for good if it can. With transactions the first outcome tells
    /// when it is ready.
    pub(crate) fn new(
        guarantee: Guarantee,
        cluster: &Arc<dyn Cluster>,
        id: &str,
        changelogs: Vec<Arc<str>>,
        wake: &Arc<Notify>,
    ) -> Result<Self> {
        match guarantee {
            Guarantee::AtLeastOnce => {
                let mut producer = cluster.producer(Arc::clone(wake))?;
                for changelog in &changelogs {
                    producer.follow(changelog);
                }
                Ok(Self::AtLeastOnce(producer))
            }
            Guarantee::ExactlyOnce { transaction_timeout } => {
                let maker = Maker {
                    cluster: Arc::clone(cluster),
                    id: id.to_owned(),
                    timeout: transaction_timeout,
                    wake: Arc::clone(wake),
                    changelogs,
                };
                Ok(Self::ExactlyOnce {
                    producer: maker.make()?,
                    open: false,
                    maker,
                })
            }
        }
    }

    pub(crate) fn is_transactional(&self) -> bool {
        matches!(self, Self::ExactlyOnce { .. })
    }

    /// Whether the producer is of no more use and a fresh one can take its place.
    pub(crate) fn is_broken(&self) -> bool {
        match self {
            Self::AtLeastOnce(_) => false,
            Self::ExactlyOnce { producer, .. } => producer.is_broken(),
        }
    }

    /// The producer, whatever may be sent now.
    pub(crate) fn producer(&mut self) -> &mut dyn Producer {
        match self {
            Self::AtLeastOnce(producer) => producer.as_mut(),
            Self::ExactlyOnce { producer, .. } => producer.as_mut(),
        }
    }

    /// The producer, if agents' records may be sent now.
    pub(crate) fn sender(&mut self) -> Option<&mut dyn Producer> {
        match self {
            Self::AtLeastOnce(producer) => Some(producer.as_mut()),
            Self::ExactlyOnce {
                producer, open: true, ..
            } => Some(producer.as_mut()),
            Self::ExactlyOnce { .. } => None,
        }
    }

    /// Begins the next transaction, which costs nothing until something is sent in it.
    pub(crate) fn begin(&mut self) -> Result<()> {
        if let Self::ExactlyOnce { producer, open, .. } = self {
            producer.begin()?;
            *open = true;
        }
        Ok(())
    }

    /// Starts to commit the transaction with these offsets.
    pub(crate) fn end(&mut self, offsets: &[CommitOffset], member: GroupMembership) {
        if let Self::ExactlyOnce { producer, open, .. } = self {
            *open = false;
            producer.commit(offsets, member);
        }
    }

    /// Starts to abort the transaction.
    pub(crate) fn abort(&mut self) {
        if let Self::ExactlyOnce { producer, open, .. } = self {
            *open = false;
            producer.abort();
        }
    }

    /// How what was started ended.
    pub(crate) fn outcome(&mut self) -> Option<TransactionOutcome> {
        match self {
            Self::AtLeastOnce(_) => None,
            Self::ExactlyOnce { producer, .. } => producer.outcome(),
        }
    }

    /// Puts a fresh producer in the place of one that is of no more use. Its outcome tells when it is ready, and then
    /// every transaction of those before it is decided.
    pub(crate) fn renew(&mut self) -> Result<()> {
        if let Self::ExactlyOnce {
            producer,
            open,
            maker,
        } = self
        {
            *open = false;
            *producer = maker.make()?;
        }
        Ok(())
    }

    /// The thread ends and has not committed everything: nothing of the rest is to be seen.
    pub(crate) fn give_up(&mut self) {
        match self {
            Self::AtLeastOnce(producer) => producer.purge(),
            Self::ExactlyOnce { open: false, .. } => {}
            Self::ExactlyOnce { producer, open, .. } => {
                *open = false;
                producer.abort();
                let end = crate::clock::now() + LAST_ABORT;
                while crate::clock::now() < end {
                    producer.poll();
                    if let Some(outcome) = producer.outcome() {
                        debug!("the last transaction was given up: {outcome:?}");
                        return;
                    }
                    crate::clock::sleep(Duration::from_millis(1));
                }
            }
        }
    }
}
