//! Which task an assigned partition leads, and what goes with it.

use std::collections::BTreeSet;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::super::{Blueprint, Blueprints, Listed};
use super::{at, blueprint};
use crate::tests::property::holds;

/// Sub-topologies with inputs of their own, as a topology makes them, and partitions of these and other topics.
fn strategy() -> impl Strategy<Value = (Vec<Vec<String>>, Vec<(String, i32)>)> {
    let topic = || "[a-h]";
    let topics = btree_set(topic(), 0..8).prop_map(|topics| topics.into_iter().collect::<Vec<_>>());
    let groups = topics.prop_shuffle().prop_flat_map(|topics| {
        let count = topics.len();
        (Just(topics), vec(0..3_usize, count))
    });
    let groups = groups.prop_map(|(topics, places)| {
        let mut groups = vec![Vec::new(); 3];
        for (topic, place) in topics.into_iter().zip(places) {
            groups[place].push(topic);
        }
        groups.retain(|group: &Vec<String>| !group.is_empty());
        groups
    });
    (groups, vec((topic(), 0..4), 0..12))
}

#[test]
fn the_lead_partitions_alone_make_tasks_and_every_input_goes_along() {
    holds(strategy(), |(groups, assigned)| {
        let blueprints: Vec<Blueprint> = groups
            .iter()
            .map(|inputs| {
                let inputs: Vec<_> = inputs.iter().map(String::as_str).collect();
                blueprint(inputs[0], &inputs)
            })
            .collect();
        let blueprints = Blueprints(blueprints);
        let partitions: Vec<_> = assigned
            .iter()
            .map(|(topic, number)| at(topic, *number))
            .collect();
        let tasks = blueprints.tasks_led_by(&partitions);
        let mut expected = BTreeSet::new();
        for (topic, partition) in &assigned {
            for (number, inputs) in groups.iter().enumerate() {
                if inputs[0] == *topic {
                    expected.insert((number, *partition));
                }
            }
        }
        let found: Vec<_> = tasks
            .iter()
            .map(|task| (task.sub_topology, task.partition))
            .collect();
        prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        for task in tasks {
            let inputs = blueprints.inputs_of(task);
            let expected = groups[task.sub_topology].iter();
            let expected: Vec<_> = expected.map(|topic| at(topic, task.partition)).collect();
            prop_assert_eq!(inputs, expected);
        }
        let leads: Vec<_> = groups.iter().map(|inputs| inputs[0].clone()).collect();
        let found: Vec<_> = blueprints.lead_topics().iter().map(ToString::to_string).collect();
        prop_assert_eq!(found, leads);
        Ok(())
    });
}

#[test]
fn a_list_of_partitions_names_every_one_under_its_topic() {
    holds(vec(("[a-c]{1,2}", 0..20_i32), 0..10), |assigned| {
        let partitions: Vec<_> = assigned
            .iter()
            .map(|(topic, number)| at(topic, *number))
            .collect();
        let text = Listed(&partitions).to_string();
        let mut read = Vec::new();
        for topic in text.split(", ").filter(|_| text != "none") {
            let mut words = topic.split(' ');
            let name = words.next().unwrap_or_default();
            for number in words {
                read.push((name.to_owned(), number.parse().expect("a number")));
            }
        }
        let mut sorted = assigned;
        sorted.sort();
        prop_assert_eq!(read, sorted);
        Ok(())
    });
}
