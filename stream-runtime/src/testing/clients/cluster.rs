//! TEMPORARY
use super::acknowledged::VirtualAcknowledgedProducer;
use super::consumer::VirtualConsumer;
use super::network::*;
use super::producer::VirtualProducer;
use super::reader::VirtualReader;
use crate::broker::config::{KNOWN, TopicConfig};
use crate::error::Result;
use crate::kafka::*;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
pub(crate) struct VirtualCluster(SharedNetwork, Process, ClientSettings);
impl VirtualCluster {
    pub(crate) fn new(a: SharedNetwork, b: Process, c: ClientSettings) -> Self {
        Self(a, b, c)
    }
}
impl Cluster for VirtualCluster {
    fn group_consumer(&self, m: &str, w: Arc<Notify>) -> Result<Box<dyn GroupConsumer>> {
        Ok(VirtualConsumer::new(&self.0, self.1, &self.2, m, w))
    }
    fn producer(&self, w: Arc<Notify>) -> Result<Box<dyn Producer + Send>> {
        Ok(VirtualProducer::new(&self.0, self.1, &self.2, w))
    }
    fn transactional_producer(
        &self,
        id: &str,
        timeout: Duration,
        wake: Arc<Notify>,
    ) -> Result<Box<dyn TransactionalProducer>> {
        Ok(super::transactions::VirtualTransactionalProducer::new(&self.0, self.1, &self.2, id, timeout, wake))
    }
    fn acknowledged_producer(&self) -> Result<Arc<dyn AcknowledgedProducer>> {
        Ok(VirtualAcknowledgedProducer::new(&self.0, self.1, &self.2))
    }
    fn partition_reader(&self, w: Arc<Notify>) -> Result<Box<dyn PartitionReader>> {
        Ok(VirtualReader::new(&self.0, self.1, w))
    }
    fn admin(&self) -> Result<Arc<dyn Admin>> {
        Ok(Arc::new(Adm(self.0.clone())))
    }
    fn looks_every(&self) -> Duration {
        Duration::from_secs(5)
    }
}
struct Adm(SharedNetwork);
impl Admin for Adm {
    fn topics(&self, names: Option<&[String]>, _: Duration) -> Result<Vec<TopicDescription>> {
        let n = self.0.lock();
        Ok(n.broker
            .topics
            .iter()
            .filter(|(name, _)| names.is_none_or(|names| names.iter().any(|n| n == name)))
            .map(|(name, t)| TopicDescription {
                name: name.to_owned(),
                partitions: t.partitions.len() as u32,
            })
            .collect())
    }
    fn create_topics(&self, topics: &[TopicSpec], _: Duration) -> Result<Vec<CreateOutcome>> {
        let mut n = self.0.lock();
        let now = n.now();
        Ok(topics
            .iter()
            .map(|t| {
                if n.broker.topics.get(&t.name).is_some() {
                    return CreateOutcome::AlreadyExists;
                }
                let c = TopicConfig::new(t.config.iter().map(|(a, b)| (a.as_str(), b.as_str()))).unwrap();
                match n.broker.topics.create(&t.name, Some(t.partitions), c, now) {
                    Ok(_) => CreateOutcome::Created,
                    Err(e) => CreateOutcome::Failed(e.message),
                }
            })
            .collect())
    }
    fn topic_ids(&self, names: &[String], _: Duration) -> Result<Vec<Option<String>>> {
        let n = self.0.lock();
        Ok(names
            .iter()
            .map(|name| n.broker.topics.get(name).map(|t| t.id.to_string()))
            .collect())
    }
    fn topic_config(&self, topic: &str, _: Duration) -> Result<Vec<(String, String)>> {
        let n = self.0.lock();
        let t = n.broker.topics.get(topic).unwrap();
        Ok(KNOWN
            .iter()
            .map(|k| {
                (
                    k.name.to_owned(),
                    t.config.set(k.name).unwrap_or(k.default).to_owned(),
                )
            })
            .collect())
    }
    fn offset_range(&self, p: &[TopicPartition], _: Duration) -> Result<Vec<(i64, i64)>> {
        let n = self.0.lock();
        Ok(p.iter()
            .map(|at| {
                let p = n.broker.topics.partition(&at.topic, at.partition).unwrap();
                (p.log.start(), p.log.end())
            })
            .collect())
    }
    fn committed_offsets(
        &self,
        g: &str,
        p: &[TopicPartition],
        _: Duration,
    ) -> Result<Vec<Option<CommitOffset>>> {
        let c = self.0.committed(g);
        Ok(p.iter()
            .map(|at| {
                c.get(&(at.topic.to_string(), at.partition))
                    .map(|(o, m)| CommitOffset {
                        at: at.clone(),
                        offset: *o,
                        metadata: m.clone(),
                    })
            })
            .collect())
    }
    fn commit_offsets(&self, _: &str, _: &[CommitOffset]) -> Result<()> {
        unimplemented!()
    }
}
