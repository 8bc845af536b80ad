//! What goes wrong is said, and shows in the exit code: 2 for what was written, 1 for what happened.

use crate::cluster::{Cluster, unique};
use crate::process::{colors, run};
use crate::programs::{orders, shades, worker};

pub(crate) fn a_flag_that_does_not_exist_ends_with_2() {
    let output = run(colors().arg("--nosuch"), None);
    assert_eq!(output.code, 2, "{output:#?}");
    assert!(output.err.contains("--nosuch"), "{output:#?}");
}

pub(crate) fn an_unknown_setting_ends_with_2_and_the_nearest_name() {
    let in_flag = run(colors().args(["--set", "comit_interval=1s"]), None);
    let in_environment = run(colors().env("STREAM_COMIT_INTERVAL", "1s"), None);
    for output in [in_flag, in_environment] {
        assert_eq!(output.code, 2, "{output:#?}");
        assert!(output.err.contains("`comit_interval`"), "{output:#?}");
        assert!(output.err.contains("`commit_interval`"), "{output:#?}");
    }
}

pub(crate) fn a_line_that_fails_for_good_ends_with_1_and_its_place() {
    let id = unique("shades");
    let output = run(
        shades(&id).args(["worker", "--quiet", "--broker", "embedded://"]),
        Some("red\ncursed\n"),
    );
    assert_eq!(output.code, 1, "{output:#?}");
    for part in [
        "`count_shades`",
        &format!("{id}-sorted/"),
        " offset 0",
        "this shade is cursed",
    ] {
        assert!(output.err.contains(part), "{part}: {output:#?}");
    }
    assert!(
        output.out.contains("red 1 on"),
        "the rest is processed: {output:#?}"
    );
}

pub(crate) fn a_missing_external_topic_ends_with_1_and_its_name(cluster: &Cluster) {
    cluster.delete(&["orders"]);
    let mut command = orders(&unique("orders"));
    let output = run(
        command.args([
            "--quiet",
            "--broker",
            &cluster.address(),
            "--startup-timeout",
            "2s",
        ]),
        None,
    );
    assert_eq!(output.code, 1, "{output:#?}");
    assert!(output.err.contains("error: no topic `orders` on "), "{output:#?}");
    assert!(!cluster.topics().contains_key("orders"), "it is not created");
}

pub(crate) fn a_record_that_does_not_decode_ends_with_1_and_its_place(cluster: &Cluster) {
    cluster.topic("orders", 1);
    cluster.send("orders", [r#"{"number":1}"#, "nonsense", r#"{"number":2}"#]);
    let id = unique("orders");
    let expect_the_end = |taken: &[&str]| {
        let mut worker = worker("orders", orders(&id), &cluster.address(), &[]);
        let code = worker.code();
        assert_eq!(
            (code, worker.out()),
            (1, taken.iter().map(|line| (*line).to_owned()).collect())
        );
        let err = worker.err();
        let error = err.iter().find(|line| line.starts_with("error: "));
        let error = error.unwrap_or_else(|| panic!("an error\n{}", worker.transcript()));
        for part in ["`take_orders`", "orders/0 offset 1", "does not decode"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    };
    expect_the_end(&["order 1"]);
    // What came before it is committed, and nothing is skipped.
    expect_the_end(&[]);
}

pub(crate) fn a_stopped_task_leaves_the_others_running(cluster: &Cluster) {
    cluster.topic("orders", 2);
    let id = unique("orders");
    let mut worker = worker("orders", orders(&id), &cluster.address(), &[]);
    cluster.send("orders", ["nonsense", r#"{"number":1}"#]);
    worker.wait_for_log("orders/0 offset 0");
    cluster.send("orders", [r#"{"number":2}"#, r#"{"number":3}"#]);
    worker.wait_for("the orders of the other partition", |worker| {
        (worker.out() == ["order 1", "order 3"]).then_some(())
    });
    worker.signal("TERM");
    assert_eq!(worker.code(), 1, "{}", worker.transcript());
    let err = worker.err();
    let error = err.iter().find(|line| line.starts_with("error: "));
    assert!(
        error.is_some_and(|line| line.contains("orders/0 offset 0")),
        "{}",
        worker.transcript()
    );
}
