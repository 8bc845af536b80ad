//! [`Cluster`] over rdkafka: Apache Kafka, whatever speaks its protocol, and the embedded broker.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::admin::RdKafkaAdmin;
use super::committed::CommittedOffsets;
use super::consumer::RdKafkaGroupConsumer;
use super::diagnostics::Diagnostics;
use super::producer::{RdKafkaAcknowledgedProducer, RdKafkaProducer};
use super::reader::RdKafkaPartitionReader;
use super::transactions::RdKafkaTransactionalProducer;
use super::{
    AcknowledgedProducer, Admin, ClientSettings, Cluster, GroupConsumer, PartitionReader, Producer,
    TransactionalProducer, config,
};
use crate::error::Result;

/// Makes clients with one set of settings.
pub(crate) struct RdKafkaCluster {
    settings: ClientSettings,
    diagnostics: Arc<Diagnostics>,
    offsets: Arc<CommittedOffsets>,
}

impl RdKafkaCluster {
    /// Checks the settings; no connection is made before the first client.
    ///
    /// # Errors
    /// `ErrorKind::Config` when a raw property does not exist, has a wrong value, or is not the user's to set.
    pub(crate) fn connect(settings: ClientSettings) -> Result<Arc<dyn Cluster>> {
        config::check(&settings)?;
        let diagnostics = Arc::new(Diagnostics::new(settings.bootstrap.as_str()));
        Ok(Arc::new(Self {
            offsets: Arc::new(CommittedOffsets::new(&settings, &diagnostics)),
            settings,
            diagnostics,
        }))
    }
}

impl Cluster for RdKafkaCluster {
    fn group_consumer(&self, member: &str, wake: Arc<Notify>) -> Result<Box<dyn GroupConsumer>> {
        let mut settings = self.settings.clone();
        settings.instance_id = settings.instance_id.map(|id| format!("{id}-{member}"));
        let consumer = RdKafkaGroupConsumer::new(&settings, &self.diagnostics, &self.offsets, wake)?;
        Ok(Box::new(consumer))
    }

    fn producer(&self, wake: Arc<Notify>) -> Result<Box<dyn Producer + Send>> {
        Ok(Box::new(RdKafkaProducer::new(
            &self.settings,
            &self.diagnostics,
            wake,
        )?))
    }

    fn transactional_producer(
        &self,
        id: &str,
        timeout: Duration,
        wake: Arc<Notify>,
    ) -> Result<Box<dyn TransactionalProducer>> {
        Ok(Box::new(RdKafkaTransactionalProducer::new(
            &self.settings,
            &self.diagnostics,
            id,
            timeout,
            wake,
        )?))
    }

    fn acknowledged_producer(&self) -> Result<Arc<dyn AcknowledgedProducer>> {
        let producer = RdKafkaAcknowledgedProducer::new(&self.settings, &self.diagnostics)?;
        Ok(Arc::new(producer))
    }

    fn partition_reader(&self, wake: Arc<Notify>) -> Result<Box<dyn PartitionReader>> {
        let reader = RdKafkaPartitionReader::new(&self.settings, &self.diagnostics, wake)?;
        Ok(Box::new(reader))
    }

    fn admin(&self) -> Result<Arc<dyn Admin>> {
        Ok(Arc::new(RdKafkaAdmin::new(&self.settings, &self.diagnostics)?))
    }
}
