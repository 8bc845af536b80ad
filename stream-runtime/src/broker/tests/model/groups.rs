//! A group against the model of [`super::membership`]: members that come, go, freeze, restart and fall silent, and
//! commits in anybody's name.

use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{
    DescribeGroupsRequest, GroupId, LeaveGroupRequest, OffsetCommitRequest, OffsetFetchRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::cases;
use super::member::{Credentials, Next, Process, REBALANCE, SESSION};
use super::membership::Membership;
use crate::broker::api::{Request, Response, text};
use crate::broker::state::{Answer, Token};
use crate::broker::tests::fixture::Driver;

const PROCESSES: usize = 4;

#[derive(Debug, Clone)]
enum Step {
    /// A process does what is next for it. One that is not named for long is frozen.
    Go(usize),
    /// All do, each so many times.
    All(usize),
    Restart(usize),
    Leave(usize),
    Commit(usize),
    /// A commit and a heartbeat in the name of anybody who ever was a member.
    Impersonate(usize),
    /// The same with an id that is nobody's.
    Invent,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let process = 0..PROCESSES;
    prop_oneof![
        8 => process.clone().prop_map(Step::Go),
        4 => (1..4_usize).prop_map(Step::All),
        1 => process.clone().prop_map(Step::Restart),
        1 => process.clone().prop_map(Step::Leave),
        3 => process.prop_map(Step::Commit),
        3 => any::<usize>().prop_map(Step::Impersonate),
        1 => Just(Step::Invent),
        4 => prop_oneof![Just(100_u64), Just(1_000), Just(2_900), Just(5_900), Just(11_000)].prop_map(Step::Pass),
    ]
}

/// How a process is in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Alive,
    /// It has heartbeats and does nothing else.
    Stuck,
    Dead,
}

/// Who waits for an answer.
#[derive(Debug)]
struct Asked {
    process: usize,
    start: u32,
    who: Credentials,
}

struct World {
    driver: Driver,
    processes: Vec<Process>,
    asked: BTreeMap<Token, Asked>,
    model: Membership,
    commits: i64,
}

impl World {
    fn new(initial_delay: Duration) -> Self {
        let mut driver = Driver::new(initial_delay);
        driver.topic("t", &[]);
        Self {
            driver,
            processes: (0..PROCESSES).map(Process::new).collect(),
            asked: BTreeMap::new(),
            model: Membership::default(),
            commits: 0,
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Go(process) => self.go(*process),
            Step::All(times) => {
                for _ in 0..*times {
                    (0..PROCESSES).for_each(|process| self.go(process));
                }
            }
            Step::Restart(process) => self.processes[*process].restart(),
            Step::Leave(process) => self.leave(*process),
            Step::Commit(process) => {
                let who = self.processes[*process].who.clone();
                if who.generation >= 0 && !who.id.is_empty() {
                    self.commit(&who);
                }
            }
            Step::Impersonate(index) => {
                let known = &self.model.credentials;
                if !known.is_empty() {
                    let who = known[index % known.len()].clone();
                    self.commit(&who);
                    self.sync_wrongly(&who);
                    self.beat(&who);
                }
            }
            Step::Invent => {
                let who = Credentials {
                    id: text("nobody"),
                    instance: None,
                    generation: self.model.generation,
                };
                self.commit(&who);
                self.beat(&who);
            }
            Step::Pass(ms) => {
                let late = self.driver.pass(Duration::from_millis(*ms));
                self.complete(late);
            }
        }
        self.check();
    }

    fn now(&self) -> Duration {
        self.driver.now().elapsed
    }

    fn go(&mut self, process: usize) {
        let Some((version, request)) = self.processes[process].ask() else {
            return;
        };
        let who = self.processes[process].who.clone();
        let now = self.now();
        if !who.id.is_empty() {
            self.model.heard(&who.id, now);
        }
        let before = self.describe();
        let is_leading = matches!(&self.processes[process].next, Next::Sync(members) if !members.is_empty());
        let is_join = matches!(request, Request::JoinGroup(_));
        let (token, answer) = self.driver.send(version, request);
        let expected = self.model.expected(&who, &before);
        if is_leading && expected == 0 {
            self.model.assigned(now);
        }
        let asked = Asked {
            process,
            start: self.processes[process].start,
            who,
        };
        match answer {
            Answer::Ready(response) => {
                if !is_join {
                    assert_eq!(code(&response), expected, "{:?} asks", asked.who);
                }
                self.hear(&asked, response);
            }
            Answer::Later => {
                assert!(is_join || expected == 0, "what is wrong is said at once");
                self.processes[process].next = Next::Wait;
                self.asked.insert(token, asked);
            }
            Answer::Nothing => panic!("an answer is expected"),
        }
        let late = self.driver.completions();
        self.complete(late);
    }

    fn complete(&mut self, mut late: Vec<(Token, Response)>) {
        // Of one generation the leader first, who is told the members.
        late.sort_by_key(|(_, response)| match response {
            Response::JoinGroup(response) => response.members.is_empty(),
            _ => true,
        });
        for (token, response) in late {
            let asked = self.asked.remove(&token);
            let asked = asked.expect("only what was asked is answered, and once");
            self.hear(&asked, response);
        }
    }

    fn hear(&mut self, asked: &Asked, response: Response) {
        let now = self.now();
        match &response {
            Response::JoinGroup(joined) if joined.error_code == 0 => {
                self.model.joined(joined, asked.who.instance.as_ref(), now);
            }
            Response::SyncGroup(synced) if synced.error_code == 0 => {
                self.model.heard(&asked.who.id, now);
                self.model.synced(&asked.who, &synced.assignment);
            }
            _ => {}
        }
        let process = &mut self.processes[asked.process];
        if asked.start != process.start {
            return;
        }
        match response {
            Response::JoinGroup(joined) => process.hear_joined(joined),
            Response::SyncGroup(synced) => process.hear_synced(&synced),
            other => process.hear_code(code(&other)),
        }
    }

    fn leave(&mut self, process: usize) {
        let who = self.processes[process].who.clone();
        let member = MemberIdentity::default()
            .with_member_id(who.id)
            .with_group_instance_id(who.instance);
        let request = LeaveGroupRequest::default()
            .with_group_id(GroupId(text("g")))
            .with_members(vec![member]);
        self.driver.send(4, Request::LeaveGroup(request));
        self.processes[process].restart();
        let late = self.driver.completions();
        self.complete(late);
    }

    /// A SyncGroup in the name of somebody who may not.
    fn sync_wrongly(&mut self, who: &Credentials) {
        let described = self.describe();
        let expected = self.model.expected(who, &described);
        if expected == 0 {
            return;
        }
        let Answer::Ready(response) = self.driver.send(3, who.sync(&[])).1 else {
            panic!("{who:?} waits for an assignment that it must not get");
        };
        assert_eq!(code(&response), expected, "{who:?} asks for its assignment");
        let now = self.now();
        self.model.heard(&who.id, now);
    }

    fn beat(&mut self, who: &Credentials) {
        let described = self.describe();
        let expected = self.model.expected(who, &described);
        let (_, answer) = self.driver.send(3, who.heartbeat());
        let Answer::Ready(response) = answer else {
            panic!("a heartbeat is answered at once");
        };
        assert_eq!(code(&response), expected, "{who:?} has a heartbeat");
        self.model.heard(&who.id, self.now());
    }

    fn commit(&mut self, who: &Credentials) {
        self.commits += 1;
        let partition = OffsetCommitRequestPartition::default().with_committed_offset(self.commits);
        let topic = OffsetCommitRequestTopic::default()
            .with_name(TopicName(text("t")))
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(text("g")))
            .with_generation_id_or_member_epoch(who.generation)
            .with_member_id(who.id.clone())
            .with_group_instance_id(who.instance.clone())
            .with_topics(vec![topic]);
        let described = self.describe();
        let expected = self.model.expected_of_commit(who, &described);
        let (_, answer) = self.driver.send(8, Request::OffsetCommit(request));
        let Answer::Ready(Response::OffsetCommit(response)) = answer else {
            panic!("no answer to OffsetCommit: {answer:?}");
        };
        let code = response.topics[0].partitions[0].error_code;
        assert_eq!(code, expected, "{who:?} commits");
        if code == 0 {
            self.model.committed = Some(self.commits);
            self.model.heard(&who.id, self.now());
        }
    }

    fn committed(&mut self) -> Option<i64> {
        let topic = OffsetFetchRequestTopic::default()
            .with_name(TopicName(text("t")))
            .with_partition_indexes(vec![0]);
        let request = OffsetFetchRequest::default()
            .with_group_id(GroupId(text("g")))
            .with_topics(Some(vec![topic]));
        match self.driver.send(7, Request::OffsetFetch(request)).1 {
            Answer::Ready(Response::OffsetFetch(response)) => {
                Some(response.topics[0].partitions[0].committed_offset).filter(|offset| *offset >= 0)
            }
            other => panic!("no answer to OffsetFetch: {other:?}"),
        }
    }

    fn describe(&mut self) -> DescribedGroup {
        let request = DescribeGroupsRequest::default().with_groups(vec![GroupId(text("g"))]);
        match self.driver.send(5, Request::DescribeGroups(request)).1 {
            Answer::Ready(Response::DescribeGroups(mut response)) => response.groups.remove(0),
            other => panic!("no answer to DescribeGroups: {other:?}"),
        }
    }

    fn check(&mut self) {
        let described = self.describe();
        let name = |asked: &Asked| Some(asked.who.id.clone()).filter(|id| !id.is_empty());
        let waiting: BTreeSet<Option<StrBytes>> = self.asked.values().map(name).collect();
        let now = self.now();
        self.model.compare(&described, &waiting, now);
        assert_eq!(
            self.committed(),
            self.model.committed,
            "what was accepted last is committed"
        );
    }

    /// All processes that live keep asking: within bounded time they are the members of one stable generation, whether
    /// the others are dead or only stuck, with a heart that goes on beating.
    fn settle(&mut self, health: &[Health; PROCESSES]) {
        let those = |wanted| (0..PROCESSES).filter(move |process| health[*process] == wanted);
        let living = || those(Health::Alive);
        let half = Duration::from_millis(500);
        let mut left = (REBALANCE + SESSION) * 4;
        while let Some(rest) = left.checked_sub(half) {
            left = rest;
            for process in living() {
                if matches!(self.processes[process].next, Next::End) {
                    self.processes[process].restart();
                }
                self.go(process);
            }
            for process in those(Health::Stuck) {
                let who = self.processes[process].who.clone();
                self.beat(&who);
            }
            self.take(&Step::Pass(500));
        }
        assert!(self.asked.is_empty(), "a request hangs: {:?}", self.asked);
        let described = self.describe();
        let mut members: BTreeSet<_> = described.members.iter().map(|m| m.member_id.clone()).collect();
        for process in living() {
            let id = &self.processes[process].who.id;
            assert!(members.remove(id), "{id:?} lives and is no member");
        }
        for process in those(Health::Stuck) {
            // It may have been a member all the time.
            members.remove(&self.processes[process].who.id);
        }
        assert_eq!(members, BTreeSet::new(), "who is dead is no member");
        for process in living() {
            let process = &self.processes[process];
            assert!(
                matches!(process.next, Next::Heartbeat),
                "it found no peace: {process:?}"
            );
            assert_eq!(process.who.generation, self.model.generation);
        }
    }
}

fn code(response: &Response) -> i16 {
    match response {
        Response::Heartbeat(response) => response.error_code,
        Response::JoinGroup(response) => response.error_code,
        Response::SyncGroup(response) => response.error_code,
        other => panic!("no request of a member is answered so: {other:?}"),
    }
}

proptest! {
    #![proptest_config(cases(160))]

    #[test]
    fn a_group_has_one_generation_and_finds_it_again(
        delay in prop_oneof![Just(0_u64), Just(3)],
        steps in proptest::collection::vec(step(), 1..80),
        health in proptest::array::uniform4(proptest::sample::select(&[
            Health::Alive,
            Health::Stuck,
            Health::Dead,
        ])),
    ) {
        let mut world = World::new(Duration::from_secs(delay));
        for step in &steps {
            world.take(step);
        }
        world.settle(&health);
    }
}
