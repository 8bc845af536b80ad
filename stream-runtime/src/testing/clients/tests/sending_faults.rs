//! Producers while things break.

use std::time::Duration;

use super::World;
use super::sending::{SOON, numbers, producer, send, values};
use crate::testing::Random;
use crate::testing::clients::network::Process;

/// Whatever breaks: nothing lost, nothing twice, in order.
#[test]
fn faults_lose_and_double_nothing() {
    for seed in 0..50 {
        let world = World::new(seed);
        let topic = world.topic("log", 3);
        let mut chance = Random::new(seed);
        {
            let mut network = world.network.lock();
            let behaviour = &mut network.behaviour;
            behaviour.breaks = 5 + u32::try_from(chance.below(40)).expect("small");
            behaviour.patience = Duration::from_millis(1 + chance.below(300));
            behaviour.latency = (
                Duration::from_micros(100),
                Duration::from_millis(1 + chance.below(30)),
            );
            behaviour.batch_records = (1, 1 + chance.below(100));
            behaviour.request_batches = (1, 3);
            behaviour.linger = (Duration::ZERO, Duration::from_millis(chance.below(5)));
            behaviour.refuses = *chance.pick(&[0, 2, 8]);
        }
        let (mut producer, _) = producer(&world);
        producer.follow(&topic);
        let mut sent = [0; 3];
        for _ in 0..200 {
            for _ in 0..chance.below(30) {
                let partition = chance.index(3);
                send(
                    &mut *producer,
                    &topic,
                    i32::try_from(partition).expect("few"),
                    &sent[partition].to_string(),
                );
                sent[partition] += 1;
            }
            match chance.below(40) {
                0 => world.network.lock().set_away(true),
                1 => world.network.lock().set_cut_off(Process(0), true),
                2 => world.network.lock().set_frozen(Process(0), true),
                _ => {}
            }
            world.pass(Duration::from_micros(chance.below(20_000)));
            let mut network = world.network.lock();
            network.set_away(false);
            network.set_cut_off(Process(0), false);
            network.set_frozen(Process(0), false);
        }
        assert!(producer.flush(SOON * 10), "seed {seed}");
        assert_eq!(producer.take_failure(), None, "seed {seed}");
        for (partition, sent) in (0..).zip(sent) {
            let values = values(&world, "log", partition);
            assert!(values == numbers(0..sent), "seed {seed}");
            let end = (sent > 0).then(|| world.network.end("log", partition));
            assert_eq!(producer.acknowledged(&topic, partition), end, "seed {seed}");
        }
    }
}

/// Batches that fail for good take no other with them, and double none, whatever breaks meanwhile.
#[test]
fn faults_do_not_spread_a_failure() {
    for seed in 0..50 {
        let world = World::new(seed);
        let topic = world.topic_with("log", 2, &[("max.message.bytes", "2000")]);
        let mut chance = Random::new(seed);
        {
            let mut network = world.network.lock();
            let behaviour = &mut network.behaviour;
            behaviour.breaks = 5 + u32::try_from(chance.below(20)).expect("small");
            behaviour.patience = Duration::from_millis(1 + chance.below(50));
            behaviour.batch_records = (1, 1);
            behaviour.request_batches = (1, 2);
            behaviour.refuses = *chance.pick(&[0, 2, 8]);
        }
        let (mut producer, _) = producer(&world);
        let large = "x".repeat(5000);
        let mut sent = [0; 2];
        let mut failures = 0;
        for _ in 0..200 {
            let partition = chance.index(2);
            let number = i32::try_from(partition).expect("few");
            if chance.one_in(20) {
                send(&mut *producer, &topic, number, &large);
                failures += 1;
            } else {
                send(&mut *producer, &topic, number, &sent[partition].to_string());
                sent[partition] += 1;
            }
            world.pass(Duration::from_micros(chance.below(2000)));
        }
        assert!(producer.flush(SOON * 10), "seed {seed}");
        assert_eq!(producer.take_failure().is_some(), failures > 0, "seed {seed}");
        for (partition, sent) in (0..).zip(sent) {
            assert_eq!(values(&world, "log", partition), numbers(0..sent), "seed {seed}");
        }
    }
}
