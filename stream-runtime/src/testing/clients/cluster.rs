//! [`Cluster`] over the simulated network: the clients of one process.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::acknowledged::VirtualAcknowledgedProducer;
use super::admin::VirtualAdmin;
use super::consumer::VirtualConsumer;
use super::network::{Process, SharedNetwork};
use super::producer::VirtualProducer;
use super::reader::VirtualReader;
use super::transactions::VirtualTransactionalProducer;
use crate::error::Result;
use crate::kafka::{
    AcknowledgedProducer, Admin, ClientSettings, Cluster, GroupConsumer, PartitionReader, Producer,
    TransactionalProducer,
};

/// The longest. It is a hundred and fifty times what it is over librdkafka, so that time in which nothing happens passes in few steps.
const LOOKS_EVERY: Duration = Duration::from_secs(15);

/// Makes the clients of a process.
pub(crate) struct VirtualCluster {
    pub(crate) network: SharedNetwork,
    pub(crate) process: Process,
    pub(crate) settings: ClientSettings,
}

impl Cluster for VirtualCluster {
    fn group_consumer(&self, member: &str, wake: Arc<Notify>) -> Result<Box<dyn GroupConsumer>> {
        let consumer = VirtualConsumer::boxed(&self.network, self.process, &self.settings, member, wake);
        Ok(consumer)
    }

    fn producer(&self, wake: Arc<Notify>) -> Result<Box<dyn Producer + Send>> {
        let producer = VirtualProducer::new(&self.network, self.process, &self.settings, wake);
        Ok(Box::new(producer))
    }

    fn transactional_producer(
        &self,
        id: &str,
        timeout: Duration,
        wake: Arc<Notify>,
    ) -> Result<Box<dyn TransactionalProducer>> {
        let settings = &self.settings;
        let producer =
            VirtualTransactionalProducer::new(&self.network, self.process, settings, id, timeout, wake);
        Ok(Box::new(producer))
    }

    fn acknowledged_producer(&self) -> Result<Arc<dyn AcknowledgedProducer>> {
        let producer = VirtualAcknowledgedProducer::new(&self.network, self.process, &self.settings);
        Ok(Arc::new(producer))
    }

    fn partition_reader(&self, wake: Arc<Notify>) -> Result<Box<dyn PartitionReader>> {
        Ok(VirtualReader::boxed(&self.network, self.process, wake))
    }

    fn admin(&self) -> Result<Arc<dyn Admin>> {
        Ok(Arc::new(VirtualAdmin::new(&self.network, self.process)))
    }

    /// These clients tell of everything, unless they are given up for not having been looked at.
    fn looks_every(&self) -> Duration {
        LOOKS_EVERY.min(self.settings.max_poll_interval / 3)
    }
}
