//! What clients may rely on: the network itself.

use std::collections::BTreeSet;
use std::time::Duration;

use kafka_protocol::messages::MetadataRequest;

use super::World;
use crate::broker::api::Response;
use crate::testing::Random;
use crate::testing::clients::network::{Call, Client, Net, Network, NoAnswer, Port, Process};

const VERSION: i16 = 9;

/// Keeps what it is told, and when.
#[derive(Default)]
struct Listener(Vec<(Call, bool, Duration)>);

impl Client for Listener {
    fn answered(&mut self, call: Call, answer: Result<Response, NoAnswer>, net: &mut Net<'_>) {
        self.0.push((call, answer.is_ok(), net.now()));
    }

    fn alarm(&mut self, _: u64, net: &mut Net<'_>) {
        net.retire();
    }
}

fn listener(world: &World) -> Port<Listener> {
    world.network.connect(Process(0), "listener", Listener::default())
}

fn ask(port: &Port<Listener>, lane: u8) -> Call {
    port.with(|_, net| net.call(lane, VERSION, MetadataRequest::default()))
}

fn told(port: &Port<Listener>) -> Vec<(Call, bool, Duration)> {
    port.with(|listener, _| listener.0.clone())
}

#[test]
fn every_request_is_answered_once_and_in_order_whatever_happens() {
    for seed in 0..50 {
        let world = World::new(seed);
        {
            let mut network = world.network.lock();
            network.behaviour.latency = (Duration::ZERO, Duration::from_millis(20));
            network.behaviour.breaks = 20;
            network.behaviour.patience = Duration::from_millis(20);
        }
        let port = listener(&world);
        let mut chance = Random::new(seed);
        let mut asked = Vec::new();
        for _ in 0..300 {
            asked.push(ask(&port, 0));
            match chance.below(60) {
                0 => world.network.lock().set_away(true),
                1 => world.network.lock().set_cut_off(Process(0), true),
                2 => world.network.lock().set_frozen(Process(0), true),
                _ => {}
            }
            world.pass(Duration::from_micros(chance.below(5000)));
            if chance.one_in(3) {
                let mut network = world.network.lock();
                network.set_away(false);
                network.set_cut_off(Process(0), false);
                network.set_frozen(Process(0), false);
            }
        }
        world.network.lock().set_frozen(Process(0), false);
        world.pass(Duration::from_secs(5));
        let calls: Vec<_> = told(&port).iter().map(|(call, ..)| *call).collect();
        assert_eq!(calls, asked, "seed {seed}");
        let answered = told(&port)
            .iter()
            .filter(|(_, is_answered, _)| *is_answered)
            .count();
        assert!((1..300).contains(&answered), "{answered}");
    }
}

#[test]
fn a_connection_that_breaks_loses_everything_on_it_until_the_client_knows() {
    let world = World::new(1);
    let port = listener(&world);
    let other = ask(&port, 1);
    let mut lost: BTreeSet<_> = (0..3).map(|_| ask(&port, 0)).collect();
    world.network.lock().set_away(true);
    world.network.lock().set_away(false);
    lost.insert(ask(&port, 0));
    world.pass(Duration::from_secs(2));
    lost.insert(other);
    let known = told(&port);
    assert_eq!(
        known.iter().map(|(call, ..)| *call).collect::<BTreeSet<_>>(),
        lost
    );
    assert!(known.iter().all(|(_, is_answered, _)| !is_answered));
    let of_lane = known.iter().filter(|(call, ..)| *call != other);
    let times: BTreeSet<_> = of_lane.map(|(.., at)| *at).collect();
    assert_eq!(times.len(), 1, "at one moment");
    let next = ask(&port, 0);
    world.pass(Duration::from_secs(1));
    assert!(
        told(&port)
            .iter()
            .any(|(call, is_answered, _)| *call == next && *is_answered)
    );
}

#[test]
fn a_trace_tells_what_is_asked_and_answered() {
    let world = World::new(1);
    let at_once = |asks: fn(&mut Network) -> Option<Response>| asks(&mut world.network.lock()).is_some();
    world.network.lock().keep_trace();
    let port = listener(&world);
    ask(&port, 0);
    world.pass(Duration::from_secs(1));
    world.network.lock().set_away(true);
    ask(&port, 0);
    world.pass(Duration::from_secs(5));
    assert!(!at_once(|network| network.ask(
        Process(0),
        VERSION,
        MetadataRequest::default()
    )));
    assert!(at_once(
        |network| network.demand(VERSION, MetadataRequest::default())
    ));
    world.network.lock().set_away(false);
    assert!(at_once(|network| network.ask(
        Process(0),
        VERSION,
        MetadataRequest::default()
    )));
    let network = world.network.lock();
    let trace = network.trace().iter().map(|line| {
        let (_, what) = line.split_once(' ').expect("its time is before it");
        let without_checksum = what.rsplit_once(' ').filter(|(_, last)| last.len() == 8);
        without_checksum.map_or(what, |(what, _)| what)
    });
    assert_eq!(
        trace.collect::<Vec<_>>(),
        [
            "listener asks Metadata",
            "listener is answered Metadata",
            "broker away: true",
            "listener asks Metadata",
            "listener gets no answer",
            "Process(0) asks at once Metadata",
            "the test asks at once Metadata",
            "answered at once Metadata",
            "broker away: false",
            "Process(0) asks at once Metadata",
            "answered at once Metadata",
        ]
    );
}

#[test]
fn a_client_that_is_left_running_goes_on_until_it_retires() {
    let world = World::new(1);
    let mut port = listener(&world);
    port.with(|_, net| net.alarm(Duration::from_secs(1), 0));
    assert!(port.with_rest(|_, _| ()).is_some());
    port.leave_running();
    world.pass(Duration::from_secs(2));
    assert!(port.with_rest(|_, _| ()).is_none());
    let killed = listener(&world);
    world.network.lock().kill(Process(0));
    assert!(killed.with_rest(|_, _| ()).is_none());
}

#[test]
fn a_call_that_blocks_makes_time_pass_until_it_is_done_or_over() {
    let world = World::new(1);
    let port = listener(&world);
    let start = world.now();
    ask(&port, 0);
    let end = start + Duration::from_secs(3);
    let is_done = world.network.pass_until(end, || !told(&port).is_empty());
    assert!(is_done && world.now() == start + Duration::from_millis(1));
    assert!(!world.network.pass_until(end, || false));
    assert_eq!(world.now(), end);
}
