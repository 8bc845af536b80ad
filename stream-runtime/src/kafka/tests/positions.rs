//! Where members read: committed offsets, seeks, membership.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::Notify;

use super::{Kept, SOON, Setting, at, commit, offset, until, wake};
use crate::kafka::{CommitOffset, CommitOutcome, GroupConsumer, Rebalance, StartOffset, TopicPartition};

/// A member that is alone in its group and has all partitions of a topic.
pub(super) struct Alone {
    pub(super) consumer: Box<dyn GroupConsumer>,
    pub(super) sink: Kept,
    start: StartOffset,
    wake: Arc<Notify>,
}

impl Alone {
    pub(super) fn new(setting: &Setting, topic: &Arc<str>, start: StartOffset) -> Self {
        let wake = wake();
        let mut consumer = setting
            .cluster
            .group_consumer("0", Arc::clone(&wake))
            .expect("a consumer");
        consumer
            .subscribe(std::slice::from_ref(topic))
            .expect("it subscribes");
        let mut alone = Self {
            consumer,
            sink: Kept::default(),
            start,
            wake,
        };
        until("it has everything", || {
            alone.turn();
            alone.answer()
        });
        alone
    }

    /// Takes on what it is given and gives up what it is to give up. True when it has something.
    pub(super) fn answer(&mut self) -> bool {
        match self.consumer.rebalance() {
            Some(Rebalance::Assign(places)) => {
                let places = places.into_iter().map(|at| (at, self.start)).collect::<Vec<_>>();
                self.consumer.assign(&places).expect("it is taken on");
                !places.is_empty()
            }
            Some(Rebalance::Revoke(places) | Rebalance::Lost(places)) => {
                self.consumer.unassign(&places).expect("it is given up");
                false
            }
            None => false,
        }
    }

    pub(super) fn turn(&mut self) {
        self.consumer.poll(&mut self.sink, 1000).expect("no error");
    }

    /// Asks, and waits for the answer as an owner does: turning only when it is woken.
    fn ask(&mut self, partitions: &[TopicPartition]) -> Vec<Option<CommitOffset>> {
        self.consumer.fetch_committed(partitions).expect("it is asked");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        loop {
            self.turn();
            if let Some(answer) = self.consumer.committed() {
                return answer;
            }
            let woken = async { tokio::time::timeout(SOON, self.wake.notified()).await };
            runtime.block_on(woken).expect("an answer wakes");
        }
    }
}

#[test]
fn what_is_committed_comes_in_the_order_of_the_question_with_its_metadata() {
    if let Some(setting) = Setting::new("asked") {
        ask_what_is_committed(&setting);
    }
}

#[test]
fn what_is_committed_comes_in_the_order_of_the_question_with_its_metadata_under_the_newer_protocol() {
    if let Some(setting) = Setting::new("asked-848") {
        ask_what_is_committed(&setting.newer());
    }
}

fn ask_what_is_committed(setting: &Setting) {
    let topic = setting.topic("log", 3, &[]);
    let mut member = Alone::new(setting, &topic, StartOffset::Beginning);
    let places = [at(&topic, 2), at(&topic, 0), at(&topic, 1)];
    assert_eq!(member.ask(&places), [None, None, None]);
    let offsets = [
        offset(at(&topic, 0), 3, "tables=4,17"),
        offset(at(&topic, 2), 0, ""),
    ];
    let outcome = commit(&mut *member.consumer, &offsets);
    assert!(matches!(outcome, CommitOutcome::Done), "{outcome:?}");
    let [first, second] = offsets;
    assert_eq!(member.ask(&places), [Some(second), Some(first.clone()), None]);
    assert_eq!(member.ask(&[]), []);

    // Another question takes the place of the one before.
    member.consumer.fetch_committed(&places).expect("it is asked");
    assert_eq!(member.ask(&[at(&topic, 0)]), [Some(first)]);
    assert_eq!(member.consumer.committed(), None, "an answer is given once");
    member.consumer.close(SOON);
}

/// A transaction of another client that has sent an offset and stays open.
fn open_transaction(setting: &Setting, at: &TopicPartition, offset: i64) -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &setting.bootstrap)
        .set("transactional.id", &setting.name)
        .create()
        .expect("a producer");
    producer.init_transactions(SOON).expect("the coordinator answers");
    producer.begin_transaction().expect("it begins");
    // Never subscribed, so that it is no member: the broker takes its offsets as those of an older client.
    let outsider: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &setting.bootstrap)
        .set("group.id", &setting.name)
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&at.topic, at.partition, Offset::Offset(offset))
        .expect("an offset");
    let member = outsider.group_metadata().expect("a group");
    producer
        .send_offsets_to_transaction(&list, &member, SOON)
        .expect("the coordinator takes it");
    producer
}

#[test]
fn an_offset_that_an_open_transaction_may_change_is_waited_for() {
    let Some(setting) = Setting::new("unstable") else {
        return;
    };
    let topic = setting.topic("log", 2, &[]);
    let mut member = Alone::new(&setting, &topic, StartOffset::Beginning);
    let before = offset(at(&topic, 0), 3, "before");
    assert!(matches!(
        commit(&mut *member.consumer, std::slice::from_ref(&before)),
        CommitOutcome::Done
    ));
    for commits in [false, true] {
        let producer = open_transaction(&setting, &at(&topic, 0), 8);
        let places = [at(&topic, 0), at(&topic, 1)];
        member.consumer.fetch_committed(&places).expect("it is asked");
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(2) {
            member.turn();
            assert_eq!(member.consumer.committed(), None, "the transaction is open");
        }
        if commits {
            producer.commit_transaction(SOON).expect("it commits");
        } else {
            producer.abort_transaction(SOON).expect("it aborts");
        }
        let mut answer = None;
        until("the answer comes", || {
            member.turn();
            answer = member.consumer.committed();
            answer.is_some()
        });
        let answer = answer.expect("it has come");
        let expected = if commits { 8 } else { 3 };
        assert_eq!(answer[0].as_ref().map(|found| found.offset), Some(expected));
        assert_eq!(answer[1], None);
    }
    member.consumer.close(SOON);
}

#[test]
fn a_partition_begins_at_its_commit_though_the_assignment_changes_while_that_is_not_known() {
    if let Some(setting) = Setting::new("begins") {
        begin_while_a_transaction_is_open(&setting);
    }
}

#[test]
fn a_partition_begins_at_its_commit_though_the_assignment_changes_under_the_newer_protocol() {
    if let Some(setting) = Setting::new("begins-848") {
        begin_while_a_transaction_is_open(&setting.newer());
    }
}

fn begin_while_a_transaction_is_open(setting: &Setting) {
    let topic = setting.topic("log", 2, &[]);
    setting.fill(&topic, 0, 10);
    setting.fill(&topic, 1, 10);
    let mut member = Alone::new(setting, &topic, StartOffset::Beginning);
    assert!(matches!(
        commit(&mut *member.consumer, &[offset(at(&topic, 0), 6, "")]),
        CommitOutcome::Done
    ));
    member.consumer.close(SOON);

    let producer = open_transaction(setting, &at(&topic, 0), 9);
    let mut member = Alone::new(setting, &topic, StartOffset::Committed);
    let wait = |member: &mut Alone| {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(1) {
            member.turn();
        }
        member.sink.of(&topic, 0).len()
    };
    assert_eq!(wait(&mut member), 0, "what is committed is not known");
    member.consumer.assign(&[]).expect("nothing comes");
    assert_eq!(wait(&mut member), 0, "it is not known yet");
    producer.abort_transaction(SOON).expect("it aborts");
    until("both are read", || {
        member.turn();
        member.sink.count() >= 4 + 10
    });
    assert_eq!(member.sink.values(&topic, 0), ["6", "7", "8", "9"]);
    assert_eq!(member.sink.of(&topic, 1).len(), 10, "nothing is committed there");
    member.consumer.close(SOON);
}

#[test]
fn after_a_seek_the_next_record_is_from_there_whatever_was_fetched_before() {
    let Some(setting) = Setting::new("sought") else {
        return;
    };
    let topic = setting.topic("log", 2, &[]);
    setting.fill(&topic, 0, 5000);
    setting.fill(&topic, 1, 5000);
    let mut member = Alone::new(&setting, &topic, StartOffset::Beginning);
    for (round, target) in [0, 4990, 17, 2500, 1].into_iter().enumerate() {
        // Much more is fetched by now than was given.
        until("something has come", || {
            member.consumer.poll(&mut member.sink, 10).expect("no error");
            member.sink.of(&topic, 0).len() >= 5 && !member.sink.of(&topic, 1).is_empty()
        });
        let other = member.sink.of(&topic, 1).len();
        member.sink.records.remove(&(topic.to_string(), 0));
        member
            .consumer
            .seek(&[(at(&topic, 0), StartOffset::At(target))])
            .expect("it is assigned");
        until("records come from there", || {
            member.consumer.poll(&mut member.sink, 10).expect("no error");
            member.sink.of(&topic, 0).len() >= 5
        });
        let offsets = member.sink.of(&topic, 0).iter().map(|(offset, _)| *offset);
        let expected = target..target + offsets.len() as i64;
        assert!(offsets.eq(expected), "round {round}");
        assert!(member.sink.of(&topic, 1).len() >= other);
    }
    until("the other partition was not disturbed", || {
        member.turn();
        member.sink.of(&topic, 1).len() == 5000
    });
    let offsets = member.sink.of(&topic, 1).iter().map(|(offset, _)| *offset);
    assert!(offsets.eq(0..5000), "in order, once each");
    assert!(
        member
            .consumer
            .seek(&[(at(&topic, 7), StartOffset::Beginning)])
            .is_err(),
        "it is not assigned"
    );
    member.consumer.close(SOON);
}

#[test]
fn a_seek_right_after_an_assignment_and_to_committed_offsets_counts() {
    if let Some(setting) = Setting::new("early") {
        seek_early(&setting);
    }
}

#[test]
fn a_seek_right_after_an_assignment_and_to_committed_offsets_counts_under_the_newer_protocol() {
    if let Some(setting) = Setting::new("early-848") {
        seek_early(&setting.newer());
    }
}

fn seek_early(setting: &Setting) {
    let topic = setting.topic("log", 3, &[]);
    for partition in 0..3 {
        setting.fill(&topic, partition, 10);
    }
    let mut member = Alone::new(setting, &topic, StartOffset::Committed);
    assert!(matches!(
        commit(&mut *member.consumer, &[offset(at(&topic, 1), 8, "")]),
        CommitOutcome::Done
    ));
    member.consumer.close(SOON);

    let mut member = Alone::new(setting, &topic, StartOffset::Committed);
    member
        .consumer
        .seek(&[
            (at(&topic, 0), StartOffset::At(6)),
            (at(&topic, 1), StartOffset::Beginning),
            (at(&topic, 2), StartOffset::At(3)),
        ])
        .expect("they are assigned");
    until("all have come", || {
        member.turn();
        member.sink.count() >= 4 + 10 + 7
    });
    assert_eq!(member.sink.values(&topic, 0), ["6", "7", "8", "9"]);
    assert_eq!(member.sink.of(&topic, 1).len(), 10);
    assert_eq!(member.sink.of(&topic, 2)[0], (3, "3".to_owned()));

    member.sink = Kept::default();
    let places = [at(&topic, 1), at(&topic, 2)];
    member
        .consumer
        .seek(&places.map(|at| (at, StartOffset::Committed)))
        .expect("they are assigned");
    until("all have come again", || {
        member.turn();
        member.sink.count() >= 2 + 10
    });
    assert_eq!(member.sink.values(&topic, 1), ["8", "9"]);
    assert_eq!(member.sink.of(&topic, 2).len(), 10, "nothing is committed there");
    assert!(member.sink.of(&topic, 0).is_empty());
    member.consumer.close(SOON);
}

#[test]
fn a_paused_partition_stays_paused_through_a_seek_and_goes_on_from_there() {
    let Some(setting) = Setting::new("pausing") else {
        return;
    };
    let topic = setting.topic("log", 2, &[]);
    setting.fill(&topic, 0, 100);
    let mut member = Alone::new(&setting, &topic, StartOffset::Beginning);
    until("it was read", || {
        member.turn();
        member.sink.count() == 100
    });
    member.consumer.pause(&[at(&topic, 0)]).expect("it pauses");
    member
        .consumer
        .seek(&[(at(&topic, 0), StartOffset::At(42))])
        .expect("it is assigned");
    setting.fill(&topic, 1, 5);
    until("the other flows", || {
        member.turn();
        member.sink.of(&topic, 1).len() == 5
    });
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(500) {
        member.turn();
    }
    assert_eq!(member.sink.of(&topic, 0).len(), 100, "it is paused");
    member.sink = Kept::default();
    member.consumer.resume(&[at(&topic, 0)]).expect("it resumes");
    until("it goes on", || {
        member.turn();
        member.sink.of(&topic, 0).len() == 58
    });
    assert_eq!(member.sink.of(&topic, 0)[0].0, 42);
    member.consumer.close(SOON);
}

#[test]
fn a_seek_is_no_answer_to_a_rebalance_that_waits() {
    if let Some(setting) = Setting::new("waits") {
        seek_while_it_waits(&setting);
    }
}

#[test]
fn a_seek_is_no_answer_to_a_rebalance_that_waits_under_the_newer_protocol() {
    if let Some(setting) = Setting::new("waits-848") {
        seek_while_it_waits(&setting.newer());
    }
}

fn seek_while_it_waits(setting: &Setting) {
    let topic = setting.topic("log", 2, &[]);
    setting.fill(&topic, 0, 10);
    setting.fill(&topic, 1, 10);
    let mut first = Alone::new(setting, &topic, StartOffset::Committed);
    until("it was read", || {
        first.turn();
        first.sink.count() == 20
    });
    let mut second = setting.cluster.group_consumer("1", wake()).expect("a consumer");
    second
        .subscribe(std::slice::from_ref(&topic))
        .expect("it subscribes");
    let mut sink = Kept::default();
    // The first is asked to give back one partition; it seeks in both and takes its time.
    let mut revoked = Vec::new();
    until("the first is asked", || {
        second.poll(&mut sink, 100).expect("no error");
        first.turn();
        if let Some(Rebalance::Revoke(places)) = first.consumer.rebalance() {
            revoked = places;
        }
        !revoked.is_empty()
    });
    assert_eq!(revoked.len(), 1);
    first.sink = Kept::default();
    let both = [at(&topic, 0), at(&topic, 1)];
    first
        .consumer
        .seek(&both.clone().map(|at| (at, StartOffset::At(4))))
        .expect("they are assigned");
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        first.turn();
        second.poll(&mut sink, 100).expect("no error");
        let granted = match second.rebalance() {
            Some(Rebalance::Assign(places)) => places,
            _ => Vec::new(),
        };
        assert_eq!(granted, [], "nothing was given back yet");
    }
    first.consumer.unassign(&revoked).expect("it is given up");
    let kept = both.iter().find(|at| !revoked.contains(at)).expect("one is kept");
    until(
        "the first goes on where it sought, the second has the other",
        || {
            first.turn();
            second.poll(&mut sink, 100).expect("no error");
            // Under the cooperative protocol there are empty assignments on the way.
            for consumer in [&mut first.consumer, &mut second] {
                if let Some(Rebalance::Assign(places)) = consumer.rebalance() {
                    let places = places
                        .into_iter()
                        .map(|at| (at, StartOffset::Beginning))
                        .collect::<Vec<_>>();
                    consumer.assign(&places).expect("they are taken on");
                }
            }
            first.sink.of(&topic, kept.partition).len() == 6
                && sink.of(&topic, revoked[0].partition).len() == 10
        },
    );
    assert_eq!(first.sink.of(&topic, kept.partition)[0].0, 4);
    assert_eq!(first.sink.of(&topic, revoked[0].partition), []);
    first.consumer.close(SOON);
    second.close(SOON);
}

#[test]
fn only_a_member_of_the_group_has_a_membership() {
    if let Some(setting) = Setting::new("member") {
        have_a_membership(&setting);
    }
}

#[test]
fn only_a_member_of_the_group_has_a_membership_under_the_newer_protocol() {
    if let Some(setting) = Setting::new("member-848") {
        have_a_membership(&setting.newer());
    }
}

fn have_a_membership(setting: &Setting) {
    let topic = setting.topic("log", 1, &[]);
    let cluster = setting.impatient().cluster;
    let mut consumer = cluster.group_consumer("0", wake()).expect("a consumer");
    assert!(consumer.membership().is_none(), "it has not joined");
    consumer
        .subscribe(std::slice::from_ref(&topic))
        .expect("it subscribes");
    let mut sink = Kept::default();
    let mut take_on = |consumer: &mut Box<dyn GroupConsumer>| {
        until("it is given the partition", || {
            consumer.poll(&mut sink, 100).expect("no error");
            match consumer.rebalance() {
                Some(Rebalance::Assign(places)) => {
                    assert!(consumer.membership().is_none(), "it has nothing yet");
                    let places = places
                        .into_iter()
                        .map(|at| (at, StartOffset::Beginning))
                        .collect::<Vec<_>>();
                    consumer.assign(&places).expect("it is taken on");
                    true
                }
                Some(Rebalance::Revoke(places) | Rebalance::Lost(places)) => {
                    assert!(consumer.membership().is_none(), "it was put out");
                    consumer.unassign(&places).expect("it is given up");
                    false
                }
                None => false,
            }
        });
    };
    take_on(&mut consumer);
    assert!(consumer.membership().is_some());
    // Put out, since it does not poll for so long.
    std::thread::sleep(Duration::from_secs(4));
    let mut sink = Kept::default();
    until("it notices", || {
        let gone = consumer.membership().is_none();
        consumer.poll(&mut sink, 100).expect("no error");
        gone
    });
    take_on(&mut consumer);
    assert!(consumer.membership().is_some());
    consumer.close(SOON);
}
