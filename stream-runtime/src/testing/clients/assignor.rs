//! Who gets which partitions: a cooperative sticky assignment, and how members say what they have.
//!
//! Pure. Nobody is given a partition that another member has: it is left out for one rebalance, in which the other one gives
//! it back, and the next rebalance gives it. Members keep what they have as far as loads allow, which differ by one at most
//! among members of the same topics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::consumer_protocol_assignment::TopicPartition as AssignedTopic;
use kafka_protocol::messages::consumer_protocol_subscription::TopicPartition as OwnedTopic;
use kafka_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use kafka_protocol::protocol::{Decodable, Encodable};

use super::offsets::by_topic;
use crate::broker::api::text;
use crate::kafka::TopicPartition;

/// The version of the encodings: the first with a generation.
const VERSION: i16 = 2;

/// What a member wants and has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) topics: Vec<Arc<str>>,
    pub(super) owned: BTreeSet<TopicPartition>,
    /// The generation of which that is; −1 for none.
    pub(super) generation: i32,
}

/// What each member is to have, by its id.
pub(super) type Assignments<Id> = BTreeMap<Id, BTreeSet<TopicPartition>>;

impl Subscription {
    pub(super) fn encode(&self) -> Bytes {
        let topics = self.topics.iter().map(|topic| text(&**topic)).collect();
        let owned = by_topic(self.owned.iter().map(|at| (at, at.partition)));
        let owned = owned.map(|(topic, partitions)| {
            OwnedTopic::default()
                .with_topic(topic)
                .with_partitions(partitions)
        });
        let message = ConsumerProtocolSubscription::default()
            .with_topics(topics)
            .with_owned_partitions(owned.collect())
            .with_generation_id(self.generation);
        encode(&message)
    }

    pub(super) fn decode(mut bytes: Bytes) -> Self {
        let message = ConsumerProtocolSubscription::decode(&mut bytes, VERSION);
        let message = message.expect("all members are of one kind");
        let owned = message.owned_partitions.into_iter();
        Self {
            topics: message.topics.iter().map(|topic| topic.as_str().into()).collect(),
            owned: owned.flat_map(|of| places(&of.topic, of.partitions)).collect(),
            generation: message.generation_id,
        }
    }
}

pub(super) fn encode_assignment(partitions: &BTreeSet<TopicPartition>) -> Bytes {
    let assigned = by_topic(partitions.iter().map(|at| (at, at.partition)));
    let assigned = assigned.map(|(topic, partitions)| {
        AssignedTopic::default()
            .with_topic(topic)
            .with_partitions(partitions)
    });
    encode(&ConsumerProtocolAssignment::default().with_assigned_partitions(assigned.collect()))
}

/// An assignment is empty to a member that the leader did not know.
pub(super) fn decode_assignment(mut bytes: Bytes) -> BTreeSet<TopicPartition> {
    if bytes.is_empty() {
        return BTreeSet::new();
    }
    let message = ConsumerProtocolAssignment::decode(&mut bytes, VERSION);
    let message = message.expect("all members are of one kind");
    let assigned = message.assigned_partitions.into_iter();
    assigned.flat_map(|of| places(&of.topic, of.partitions)).collect()
}

fn encode(message: &impl Encodable) -> Bytes {
    let mut bytes = BytesMut::new();
    message
        .encode(&mut bytes, VERSION)
        .expect("it has what the version has");
    bytes.freeze()
}

fn places(topic: &str, partitions: Vec<i32>) -> impl Iterator<Item = TopicPartition> + use<> {
    let topic: Arc<str> = Arc::from(topic);
    let at = move |partition| TopicPartition {
        topic: Arc::clone(&topic),
        partition,
    };
    partitions.into_iter().map(at)
}

/// Assigns the partitions of all topics, whose numbers are `counts`.
pub(super) fn assign<Id: Ord + Clone>(
    members: &BTreeMap<Id, Subscription>,
    counts: &BTreeMap<Arc<str>, i32>,
) -> Assignments<Id> {
    let all = counts
        .iter()
        .flat_map(|(topic, count)| places(topic, (0..*count).collect()));
    let mut assigned: Assignments<Id> = members.keys().map(|id| (id.clone(), BTreeSet::new())).collect();
    let mut free = Vec::new();
    for at in all {
        match owner(members, &at) {
            Some(id) => drop(assigned.entry(id.clone()).or_default().insert(at)),
            None => free.push(at),
        }
    }
    for at in free {
        if let Some(id) = least_loaded(members, &assigned, &at) {
            assigned.entry(id).or_default().insert(at);
        }
    }
    balance(members, &mut assigned);
    for (id, partitions) in &mut assigned {
        partitions.retain(|at| {
            let mut others = members.iter().filter(|(other, _)| *other != id);
            !others.any(|(_, member)| member.owned.contains(at))
        });
    }
    assigned
}

/// Who may keep a partition: of those who say that they have it, the one that says so of the newest generation.
fn owner<'a, Id>(members: &'a BTreeMap<Id, Subscription>, at: &TopicPartition) -> Option<&'a Id> {
    let claims = |(_, member): &(&Id, &Subscription)| member.owned.contains(at) && member.wants(at);
    let claims = members.iter().filter(claims);
    // Of several claims of one generation none is better, and each has to give it back.
    let (id, _) = claims.max_by_key(|(_, member)| member.generation)?;
    Some(id)
}

fn least_loaded<Id: Ord + Clone>(
    members: &BTreeMap<Id, Subscription>,
    assigned: &Assignments<Id>,
    at: &TopicPartition,
) -> Option<Id> {
    let wants = members.iter().filter(|(_, member)| member.wants(at));
    let least = wants.min_by_key(|(id, _)| assigned.get(id).map_or(0, BTreeSet::len));
    least.map(|(id, _)| id.clone())
}

/// Moves partitions from members that have more to members that have less, until none has two more than another that
/// could have one of them.
fn balance<Id: Ord + Clone>(members: &BTreeMap<Id, Subscription>, assigned: &mut Assignments<Id>) {
    while let Some((from, to, at)) = next_move(members, assigned) {
        assigned.entry(from).or_default().remove(&at);
        assigned.entry(to).or_default().insert(at);
    }
}

fn next_move<Id: Ord + Clone>(
    members: &BTreeMap<Id, Subscription>,
    assigned: &Assignments<Id>,
) -> Option<(Id, Id, TopicPartition)> {
    let mut most: Vec<_> = assigned.iter().collect();
    most.sort_by_key(|(_, partitions)| std::cmp::Reverse(partitions.len()));
    most.into_iter().find_map(|(from, partitions)| {
        // What nobody has is moved first, since nobody has to give it back.
        let had = |at: &&TopicPartition| members.get(from).is_some_and(|member| member.owned.contains(*at));
        let (kept, new): (Vec<_>, Vec<_>) = partitions.iter().rev().partition(had);
        new.into_iter().chain(kept).find_map(|at| {
            let to = least_loaded(members, assigned, at)?;
            let load = assigned.get(&to).map_or(0, BTreeSet::len);
            (load + 1 < partitions.len()).then(|| (from.clone(), to, at.clone()))
        })
    })
}

impl Subscription {
    fn wants(&self, at: &TopicPartition) -> bool {
        self.topics.contains(&at.topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random::Random;

    fn places_of(text: &str) -> BTreeSet<TopicPartition> {
        let place = |word: &str| TopicPartition {
            topic: word[..1].into(),
            partition: word[1..].parse().expect("a number"),
        };
        text.split_whitespace().map(place).collect()
    }

    fn member(topics: &str, owned: &str, generation: i32) -> Subscription {
        Subscription {
            topics: topics.split_whitespace().map(Arc::from).collect(),
            owned: places_of(owned),
            generation,
        }
    }

    fn assigned(members: &[Subscription], counts: &[(&str, i32)]) -> Vec<String> {
        let members = members.iter().cloned().enumerate().collect();
        let counts = counts.iter().map(|(topic, count)| (Arc::from(*topic), *count));
        let assigned = assign(&members, &counts.collect());
        let spell = |places: &BTreeSet<TopicPartition>| {
            let places = places.iter().map(|at| format!("{}{}", at.topic, at.partition));
            places.collect::<Vec<_>>().join(" ")
        };
        assigned.values().map(spell).collect()
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let subscription = member("a b", "a0 a3 b1", 7);
        assert_eq!(Subscription::decode(subscription.encode()), subscription);
        let none = member("a", "", -1);
        assert_eq!(Subscription::decode(none.encode()), none);
        let places = places_of("a0 a2 b1");
        assert_eq!(decode_assignment(encode_assignment(&places)), places);
        assert_eq!(decode_assignment(Bytes::new()), BTreeSet::new());
    }

    #[test]
    fn a_newcomer_waits_for_what_another_has_to_give_back() {
        let all = member("a", "a0 a1 a2 a3", 1);
        assert_eq!(assigned(&[all, member("a", "", -1)], &[("a", 4)]), ["a0 a1", ""]);
        let half = member("a", "a0 a1", 2);
        assert_eq!(
            assigned(&[half, member("a", "", 2)], &[("a", 4)]),
            ["a0 a1", "a2 a3"]
        );
    }

    #[test]
    fn members_of_different_topics_share_their_own() {
        let [a, b] = ["a", "b"].map(|topic| member(topic, "", -1));
        let members = [a.clone(), b.clone(), a, b, member("a b", "", -1)];
        assert_eq!(
            assigned(&members[..4], &[("a", 3), ("b", 2), ("c", 9)]),
            ["a0 a2", "b0", "a1", "b1"]
        );
        assert_eq!(
            assigned(&members, &[("a", 3), ("b", 2)]),
            ["a0", "b0", "a1", "b1", "a2"]
        );
        assert_eq!(assigned(&members[1..2], &[("a", 1)]), [""], "nobody wants it");
    }

    #[test]
    fn what_two_claim_nobody_gets_before_one_has_given_it_back() {
        let members = [member("a", "a0", 3), member("a", "a0", 4)];
        assert_eq!(assigned(&members, &[("a", 1)]), ["", ""]);
        let members = [member("a", "", 5), member("a", "a0", 4)];
        assert_eq!(assigned(&members, &[("a", 1)]), ["", "a0"]);
    }

    #[test]
    fn rounds_of_any_members_end_balanced_and_nothing_is_ever_two_members() {
        for seed in 0..300 {
            let mut random = Random::new(seed);
            let counts: BTreeMap<Arc<str>, i32> = [("a", 7), ("b", 4), ("c", 1)]
                .map(|(topic, count)| (Arc::from(topic), count))
                .into();
            let mut members: BTreeMap<u64, Subscription> = BTreeMap::new();
            for generation in 1..12 {
                if random.one_in(2) {
                    let id = random.below(6);
                    if members.remove(&id).is_none() {
                        let topics = *random.pick(&["a", "a b", "b c", "a b c"]);
                        members.insert(id, member(topics, "", -1));
                    }
                }
                // Until nobody gives anything back.
                for round in 0.. {
                    assert!(round < 4, "seed {seed}: it does not come to rest");
                    let next = assign(&members, &counts);
                    let mut gives_back = false;
                    for (id, member) in &mut members {
                        gives_back |= !member.owned.is_subset(&next[id]);
                        member.owned.clone_from(&next[id]);
                        member.generation = generation;
                    }
                    let count: usize = members.values().map(|member| member.owned.len()).sum();
                    let all: BTreeSet<_> = members.values().flat_map(|member| &member.owned).collect();
                    assert_eq!(all.len(), count, "seed {seed}: one partition, two members");
                    if !gives_back {
                        break;
                    }
                }
                let wanted = |topic: &Arc<str>| members.values().any(|member| member.topics.contains(topic));
                let wanted: i32 = counts.iter().filter(|(t, _)| wanted(t)).map(|(_, c)| c).sum();
                let loads = members.values().map(|member| member.owned.len());
                assert_eq!(
                    loads.sum::<usize>(),
                    wanted as usize,
                    "seed {seed}: all is assigned"
                );
                for one in members.values() {
                    for other in members.values() {
                        let could = one.owned.iter().any(|at| other.wants(at));
                        assert!(!could || one.owned.len() <= other.owned.len() + 1, "seed {seed}");
                    }
                }
                // Who is alone and asks again keeps what it has.
                let again = assign(&members, &counts);
                assert!(members.iter().all(|(id, member)| again[id] == member.owned));
            }
        }
    }
}
