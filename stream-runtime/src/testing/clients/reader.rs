//! [`PartitionReader`] over the simulated network.

use std::sync::Arc;

use tokio::sync::Notify;

use super::alarm::Alarm;
use super::fetcher::{Fetcher, Purpose};
use super::network::{Call, Client, Net, NoAnswer, Port, Process, SharedNetwork};
use crate::broker::api::Response;
use crate::error::{Error, Result};
use crate::kafka::{PartitionReader, RecordSink, StartOffset, TopicPartition};
use crate::testing::effects;

/// Reads changelogs.
pub(crate) struct VirtualReader(Port<Reading>);

struct Reading {
    fetcher: Fetcher,
    alarm: Alarm,
}

impl VirtualReader {
    pub(crate) fn boxed(
        network: &SharedNetwork,
        process: Process,
        wake: Arc<Notify>,
    ) -> Box<dyn PartitionReader> {
        let reading = Reading {
            fetcher: Fetcher::new(Purpose::Reader, wake),
            alarm: Alarm::default(),
        };
        Box::new(Self(network.connect(process, "reader", reading)))
    }
}

impl PartitionReader for VirtualReader {
    fn add(&mut self, partitions: &[(TopicPartition, StartOffset)]) -> Result<()> {
        if let Some((at, _)) = partitions
            .iter()
            .find(|(_, start)| *start == StartOffset::Committed)
        {
            return Err(Error::usage(format!(
                "{}[{}] is read outside the group, from no committed offset",
                at.topic, at.partition
            )));
        }
        self.0.with(|reading, net| {
            if let Some((at, _)) = partitions.iter().find(|(at, _)| reading.fetcher.reads(at)) {
                return Err(Error::broker(format!(
                    "{}[{}] cannot be read: it is being read already",
                    at.topic, at.partition
                )));
            }
            reading.fetcher.start(partitions, net);
            reading.set_alarm(net);
            Ok(())
        })
    }

    fn remove(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.0.with(|reading, _| reading.fetcher.stop(partitions));
        Ok(())
    }

    fn poll(&mut self, sink: &mut dyn RecordSink, max: usize) -> Result<usize> {
        self.0.with(|reading, net| {
            let given = reading.fetcher.give(sink, max, net);
            reading.set_alarm(net);
            if given.as_ref().is_ok_and(|given| *given > 0) {
                effects::count("changelog read");
            }
            given
        })
    }

    fn known_end(&self, at: &TopicPartition) -> Option<i64> {
        self.0.with(|reading, _| reading.fetcher.known_end(at))
    }
}

impl Reading {
    fn set_alarm(&mut self, net: &mut Net<'_>) {
        let due = self.fetcher.next_due(net.now());
        self.alarm.set([due], net);
    }
}

impl Client for Reading {
    fn answered(&mut self, call: Call, mut answer: Result<Response, NoAnswer>, net: &mut Net<'_>) {
        self.fetcher.answered(call, &mut answer, net);
        self.set_alarm(net);
    }

    fn alarm(&mut self, _: u64, net: &mut Net<'_>) {
        self.alarm.went_off(net);
        self.fetcher.fetch(net);
        self.set_alarm(net);
    }
}
