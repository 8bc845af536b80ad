//! What a worker waits for before it starts, and what it leaves to others.

use std::net::TcpListener;
use std::thread;

use stream_runtime::embedded::{Broker, BrokerOptions, NewTopic};
use stream_runtime::prelude::*;
use stream_runtime::{ErrorKind, Running};

use crate::support::bench::{produce, program};
use crate::support::{Bench, assert_mentions, input, log, wait_until};

#[agent(topic = "arrivals", sink = "departures")]
async fn pass_on(name: String) -> String {
    name
}

/// A port that nobody listens on now.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}

fn topics() -> Vec<NewTopic> {
    vec![NewTopic::new("arrivals", 1), NewTopic::new("departures", 1)]
}

#[test]
fn a_worker_waits_for_a_broker_that_comes_later() {
    log::keep();
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    // That time is for topics: a broker is waited for without end.
    let app = program("before-its-broker", &address, [pass_on::agent()]).set("startup_timeout", "1ms");
    let starting = thread::spawn(move || app.start());
    wait_until("it says that it waits", || {
        log::has(&["WARN", "waiting for the broker", &address])
    });
    let broker = Broker::start(BrokerOptions {
        port,
        topics: topics(),
        ..BrokerOptions::default()
    });
    let bench = Bench {
        broker: broker.expect("the port is still free"),
        id: "before-its-broker".to_owned(),
    };
    let running = starting.join().expect("it does not panic").expect("it starts");
    produce(&address, "arrivals", [input("a")]);
    bench.wait_for_commit("arrivals", 0, 1);
    running.stop().expect("all is well");
    assert_eq!(bench.texts("departures"), ["a"]);
}

#[test]
fn a_worker_waits_for_an_external_topic_that_comes_later() {
    log::keep();
    let bench = Bench::new(&[("departures", 1)]);
    let app = bench.app([pass_on::agent()]);
    let starting = thread::spawn(move || app.start());
    wait_until("it says that it waits", || {
        log::has(&["WARN", "waiting for topic `arrivals`", &bench.broker.bootstrap()])
    });
    bench.create(NewTopic::new("arrivals", 1));
    let running = starting.join().expect("it does not panic").expect("it starts");
    bench.produce("arrivals", [input("a")]);
    bench.wait_for_records("departures", 1);
    running.stop().expect("all is well");
}

#[test]
fn an_external_topic_that_does_not_come_ends_the_start_and_is_named() {
    let bench = Bench::new(&[("arrivals", 1)]);
    let app = bench.app([pass_on::agent()]).set("startup_timeout", "1s");
    let error = app.start().expect_err("a topic is missing");
    assert_eq!(error.kind(), ErrorKind::Topology);
    assert_mentions(&error.to_string(), &["`departures`", "1s", "#[topic(internal)]"]);
    assert!(!error.to_string().contains("arrivals"), "{error}");
    assert_eq!(bench.topics().len(), 1, "nothing is created");
}

#[topic(name = "arrivals", partitions = 7, compact)]
static STARTUP_ARRIVALS: Topic<(), String>;

#[agent(topic = STARTUP_ARRIVALS)]
async fn take(_name: String) {}

#[test]
fn external_topics_are_never_altered() {
    let bench = Bench::new(&[("arrivals", 2)]);
    let running: Running = bench.start([take::agent()]);
    wait_until("the tasks run", || running.running_tasks().len() == 2);
    running.stop().expect("all is well");
    assert_eq!(bench.topics()["arrivals"], 2);
    assert_eq!(
        bench.topic_setting("arrivals", "cleanup.policy").as_deref(),
        Some("delete")
    );
}

#[test]
fn on_the_broker_of_the_program_itself_external_topics_are_created_as_declared() {
    let app = App::new("alone").agents([take::agent()]).broker("embedded://");
    let running = app.start().expect("the program starts");
    wait_until("the tasks run", || running.running_tasks().len() == 7);
    running.stop().expect("all is well");
}

#[test]
fn a_broker_without_the_newer_group_protocol_is_an_error_and_no_endless_wait() {
    let bench = Bench::new(&[("arrivals", 1), ("departures", 1)]);
    let app = bench
        .app([pass_on::agent()])
        .set("kafka.group.protocol", "consumer");
    let running = app.start().expect("the program starts");
    wait_until("the worker has failed", || running.has_failed());
    let error = running.stop().expect_err("nobody takes it").to_string();
    assert_mentions(&error, &["group.protocol=consumer", "Apache Kafka 4.0"]);
}
