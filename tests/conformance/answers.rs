//! What the coordinator of transactions answers, code by code.

use crate::cluster::{Cluster, eventually, now_ms, unique};
use crate::wire::code::{
    ILLEGAL_GENERATION, INVALID_PRODUCER_EPOCH, INVALID_PRODUCER_ID_MAPPING, INVALID_REQUEST,
    INVALID_TRANSACTION_TIMEOUT, INVALID_TXN_STATE, NONE, OPERATION_NOT_ATTEMPTED,
    OUT_OF_ORDER_SEQUENCE_NUMBER, PRODUCER_FENCED, TRANSACTIONAL_ID_AUTHORIZATION_FAILED, UNKNOWN_MEMBER_ID,
    UNKNOWN_TOPIC_OR_PARTITION, UNSTABLE_OFFSET_COMMIT,
};
use crate::wire::{Identity, Member, Wire};

const COMMIT: bool = true;
const ABORT: bool = false;
const NOBODY: Identity = Identity { id: -1, epoch: -1 };

fn epoch(who: Identity, epoch: i16) -> Identity {
    Identity { epoch, ..who }
}

pub(crate) fn checks_the_timeout(cluster: &Cluster) {
    let mut wire = Wire::connect(cluster, &unique("tx"));
    for (timeout_ms, wanted) in [
        (0, INVALID_TRANSACTION_TIMEOUT),
        (-1, INVALID_TRANSACTION_TIMEOUT),
        (900_001, INVALID_TRANSACTION_TIMEOUT),
        (900_000, NONE),
        (1, NONE),
    ] {
        assert_eq!(wire.init(4, timeout_ms, None).0, wanted, "{timeout_ms} ms");
    }
    let mut nameless = Wire::connect(cluster, "");
    assert_eq!(nameless.init(4, 60_000, None), (INVALID_REQUEST, NOBODY));
    assert_eq!(nameless.end(1, NOBODY, COMMIT), INVALID_REQUEST);
}

pub(crate) fn keeps_the_id_and_raises_the_epoch(cluster: &Cluster) {
    let mut wire = Wire::connect(cluster, &unique("tx"));
    let first = wire.begin();
    assert_eq!(first.epoch, 0);
    assert_eq!(wire.begin(), epoch(first, 1));
    // The same producer again; and again, since the answer may have been lost.
    assert_eq!(
        wire.init(4, 60_000, Some(epoch(first, 1))),
        (NONE, epoch(first, 2))
    );
    assert_eq!(
        wire.init(4, 60_000, Some(epoch(first, 1))),
        (NONE, epoch(first, 2))
    );
    // One that was replaced, one that was never there, and half of one.
    assert_eq!(wire.init(4, 60_000, Some(first)), (PRODUCER_FENCED, NOBODY));
    assert_eq!(
        wire.init(3, 60_000, Some(first)),
        (INVALID_PRODUCER_EPOCH, NOBODY)
    );
    let stranger = Identity {
        id: first.id + 1_000_000,
        epoch: 0,
    };
    assert_eq!(wire.init(4, 60_000, Some(stranger)), (PRODUCER_FENCED, NOBODY));
    assert_eq!(
        wire.init(4, 60_000, Some(epoch(NOBODY, 3))),
        (INVALID_REQUEST, NOBODY)
    );
    assert_eq!(wire.begin(), epoch(first, 3));
    let other = Wire::connect(cluster, &unique("tx")).begin();
    assert_ne!(other.id, first.id);
}

pub(crate) fn aborts_what_the_last_producer_left_open(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let mut wire = Wire::connect(cluster, &unique("tx"));
    let first = wire.begin();
    wire.add(0, first, &topic, &[0]);
    assert_eq!(wire.put(first, &topic, 0), 0);
    // The abort takes an epoch, the new producer the next one.
    assert_eq!(wire.begin(), epoch(first, 2));
    let fetched = wire.fetch(&topic, 0, true);
    assert_eq!((fetched.last_stable, fetched.high_watermark), (2, 2));
    assert_eq!(fetched.aborted, Some(vec![(first.id, 0)]));
    for (version, wanted) in [
        (0, INVALID_PRODUCER_EPOCH),
        (1, INVALID_PRODUCER_EPOCH),
        (2, PRODUCER_FENCED),
    ] {
        assert_eq!(wire.end(version, first, COMMIT), wanted, "EndTxn {version}");
        assert_eq!(
            wire.add(version, first, &topic, &[0]),
            [wanted],
            "AddPartitionsToTxn {version}"
        );
        assert_eq!(
            wire.add_offsets(version, first, "group"),
            wanted,
            "AddOffsetsToTxn {version}"
        );
    }
    assert_eq!(wire.try_put(first, &topic, 1), INVALID_PRODUCER_EPOCH);
    // A producer that goes on itself takes the epoch of the abort.
    let second = epoch(first, 2);
    wire.add(0, second, &topic, &[0]);
    assert_eq!(wire.put(second, &topic, 0), 2);
    assert_eq!(wire.init(4, 60_000, Some(second)), (NONE, epoch(first, 3)));
    assert_eq!(wire.fetch(&topic, 2, true).aborted, Some(vec![(first.id, 2)]));
}

pub(crate) fn takes_only_what_was_added(cluster: &Cluster) {
    let topic = cluster.topic(2, &[]);
    let id = unique("tx");
    let mut wire = Wire::connect(cluster, &id);
    let unknown = Identity { id: 1, epoch: 0 };
    assert_eq!(wire.add(0, unknown, &topic, &[0]), [INVALID_PRODUCER_ID_MAPPING]);
    assert_eq!(wire.end(1, unknown, COMMIT), INVALID_PRODUCER_ID_MAPPING);
    assert_eq!(wire.try_put(unknown, &topic, 0), INVALID_PRODUCER_ID_MAPPING);
    wire.begin();
    let producer = wire.begin();
    assert_eq!(wire.try_put(producer, &topic, 0), INVALID_TXN_STATE);
    let nameless = wire.produce(None, producer, &topic, 0, true);
    assert_eq!(nameless, (TRANSACTIONAL_ID_AUTHORIZATION_FAILED, -1));
    // All partitions or none.
    let refused = [OPERATION_NOT_ATTEMPTED, UNKNOWN_TOPIC_OR_PARTITION];
    assert_eq!(wire.add(0, producer, &topic, &[0, 9]), refused);
    assert_eq!(wire.try_put(producer, &topic, 0), INVALID_TXN_STATE);
    assert_eq!(wire.add(0, producer, &topic, &[1]), [NONE]);
    assert_eq!(wire.try_put(producer, &topic, 0), INVALID_TXN_STATE);
    assert_eq!(wire.add(0, producer, &topic, &[0, 1]), [NONE, NONE]);
    assert_eq!(wire.put(producer, &topic, 0), 0);
    assert_eq!(wire.try_put(producer, &topic, 5), OUT_OF_ORDER_SEQUENCE_NUMBER);
    let outside = wire.produce(Some(&id), producer, &topic, 1, false);
    assert_eq!(outside, (INVALID_TXN_STATE, -1));
    assert_eq!(wire.put(producer, &topic, 0), 0, "the same batch again");
    for stranger in [epoch(producer, 0), epoch(producer, 2)] {
        assert_eq!(wire.try_put(stranger, &topic, 1), INVALID_PRODUCER_EPOCH);
        assert_eq!(wire.add(2, stranger, &topic, &[0]), [PRODUCER_FENCED]);
        assert_eq!(wire.end(2, stranger, COMMIT), PRODUCER_FENCED);
    }
    assert_eq!(wire.put(producer, &topic, 1), 1);
    assert_eq!(wire.end(1, producer, COMMIT), NONE);
    assert_eq!(wire.fetch(&topic, 0, true).last_stable, 3);
}

pub(crate) fn ends_a_transaction_once(cluster: &Cluster) {
    let topic = cluster.topic(2, &[]);
    let mut wire = Wire::connect(cluster, &unique("tx"));
    let producer = wire.begin();
    assert_eq!(wire.end(1, producer, COMMIT), INVALID_TXN_STATE);
    assert_eq!(wire.end(1, producer, ABORT), INVALID_TXN_STATE);
    for (how, other, offset) in [(COMMIT, ABORT, 0), (ABORT, COMMIT, 2)] {
        wire.add(0, producer, &topic, &[0]);
        // Sequences go on over transactions of one epoch.
        let sequence = i32::try_from(offset / 2).expect("small");
        assert_eq!(wire.put(producer, &topic, sequence), offset);
        assert_eq!(wire.end(1, producer, how), NONE);
        assert_eq!(wire.end(1, producer, how), NONE, "the answer may have been lost");
        assert_eq!(wire.end(1, producer, other), INVALID_TXN_STATE);
        assert_eq!(wire.fetch(&topic, 0, true).high_watermark, offset + 2);
    }
    assert_eq!(wire.begin(), epoch(producer, 1));
    assert_eq!(wire.end(1, epoch(producer, 1), ABORT), INVALID_TXN_STATE);
    // A partition that was added and never written gets a marker all the same.
    wire.add(0, epoch(producer, 1), &topic, &[0]);
    assert_eq!(wire.end(1, epoch(producer, 1), ABORT), NONE);
    let fetched = eventually("the marker is written", || {
        let fetched = wire.fetch(&topic, 0, true);
        (fetched.high_watermark == 5).then_some(fetched)
    });
    assert_eq!(fetched.aborted, Some(vec![(producer.id, 2)]));
}

pub(crate) fn begins_sequences_anew_with_an_epoch(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let mut wire = Wire::connect(cluster, &unique("tx"));
    let first = wire.begin();
    wire.add(0, first, &topic, &[0]);
    assert_eq!(wire.put(first, &topic, 0), 0);
    assert_eq!(wire.put(first, &topic, 1), 1);
    assert_eq!(wire.end(1, first, COMMIT), NONE);
    let second = wire.begin();
    wire.add(0, second, &topic, &[0]);
    assert_eq!(wire.try_put(second, &topic, 2), OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_eq!(wire.put(second, &topic, 0), 3);
    assert_eq!(wire.end(1, second, COMMIT), NONE);
}

pub(crate) fn writes_markers_that_clients_know(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let mut wire = Wire::connect(cluster, &unique("tx"));
    let producer = wire.begin();
    for (how, kind) in [(ABORT, 0), (COMMIT, 1)] {
        wire.add(0, producer, &topic, &[0]);
        let offset = wire.put(producer, &topic, kind.into());
        let begun = now_ms();
        assert_eq!(wire.end(1, producer, how), NONE);
        let marker = eventually("the marker is written", || {
            let fetched = wire.fetch(&topic, offset + 1, false);
            (!fetched.records.is_empty()).then_some(fetched.records)
        });
        assert_eq!(marker.len(), 78);
        let number = |at: usize| i64::from_be_bytes(marker[at..at + 8].try_into().expect("eight"));
        assert_eq!(number(0), offset + 1);
        assert_eq!(marker[8..12], [0, 0, 0, 66], "the length");
        assert_eq!(marker[16], 2, "the format");
        assert_eq!(marker[17..21], crate::bytes::crc32c(&marker[21..]).to_be_bytes());
        assert_eq!(
            marker[21..27],
            [0, 0x30, 0, 0, 0, 0],
            "control, transactional; one record"
        );
        assert!((number(27) - begun).abs() < 60_000, "{}", number(27));
        assert_eq!(number(27), number(35), "one time");
        assert_eq!(number(43), producer.id);
        assert_eq!(marker[51..53], producer.epoch.to_be_bytes());
        assert_eq!(
            marker[53..61],
            [255, 255, 255, 255, 0, 0, 0, 1],
            "no sequence, one record"
        );
        let record = [32, 0, 0, 0, 8, 0, 0, 0, kind, 12, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(marker[61..], record.map(|byte: i8| byte.to_be_bytes()[0]));
    }
}

pub(crate) fn tells_what_is_stable(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let id = unique("tx");
    let mut wire = Wire::connect(cluster, &id);
    let mut other = Wire::connect(cluster, &unique("tx"));
    let plain = cluster.producer(&[]);
    cluster.put(&plain, &topic, "k", "v");
    let (one, two) = (wire.begin(), other.begin());
    let began = now_ms() + 1;
    while now_ms() <= began {}
    wire.add(0, one, &topic, &[0]);
    other.add(0, two, &topic, &[0]);
    assert_eq!((wire.put(one, &topic, 0), other.put(two, &topic, 0)), (1, 2));
    cluster.put(&plain, &topic, "k", "v");
    assert_eq!(
        (wire.end_offset(&topic, true), wire.end_offset(&topic, false)),
        (1, 4)
    );
    assert_eq!(wire.offset_of(&topic, began, false), 1);
    assert_eq!(wire.offset_of(&topic, began, true), -1, "it cannot be read yet");
    let fetched = wire.fetch(&topic, 0, true);
    assert_eq!((fetched.last_stable, fetched.high_watermark), (1, 4));
    assert_eq!(fetched.aborted, Some(Vec::new()));
    let everything = wire.fetch(&topic, 0, false);
    assert_eq!((everything.last_stable, everything.aborted), (1, None));
    assert!(everything.records.len() > fetched.records.len());
    assert!(wire.fetch(&topic, 1, true).records.is_empty());
    assert!(
        wire.fetch(&topic, 3, true).records.is_empty(),
        "behind what is stable"
    );

    assert_eq!(wire.end(1, one, ABORT), NONE);
    eventually("the first transaction is over", || {
        (wire.end_offset(&topic, true) == 2).then_some(())
    });
    assert_eq!(wire.fetch(&topic, 0, true).aborted, Some(vec![(one.id, 1)]));
    assert_eq!(wire.offset_of(&topic, began, true), 1);
    assert_eq!(other.end(1, two, COMMIT), NONE);
    eventually("both are over", || {
        (wire.end_offset(&topic, true) == 6).then_some(())
    });
    assert_eq!(wire.fetch(&topic, 0, true).aborted, Some(vec![(one.id, 1)]));
    assert_eq!(
        wire.fetch(&topic, 4, true).aborted,
        Some(vec![(one.id, 1)]),
        "its marker"
    );
    assert_eq!(wire.fetch(&topic, 5, true).aborted, Some(Vec::new()));
}

pub(crate) fn stages_offsets(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let group = unique("group");
    let mut wire = Wire::connect(cluster, &unique("tx"));
    wire.begin();
    let producer = wire.begin();
    let nobody = Member::none(&group);
    assert_eq!(
        wire.commit_offset(producer, nobody, &topic, 0, 5),
        INVALID_TXN_STATE
    );
    assert_eq!(wire.add_offsets(0, producer, &group), NONE);
    assert_eq!(wire.commit_offset(producer, nobody, &topic, 0, 5), NONE);
    assert_eq!(
        wire.commit_offset(producer, nobody, &topic, 9, 5),
        UNKNOWN_TOPIC_OR_PARTITION
    );
    assert_eq!(wire.committed(&group, &topic, true), (UNSTABLE_OFFSET_COMMIT, -1));
    assert_eq!(wire.committed(&group, &topic, false), (NONE, -1));
    for stranger in [epoch(producer, 0), epoch(producer, 2)] {
        assert_eq!(
            wire.commit_offset(stranger, nobody, &topic, 0, 6),
            INVALID_PRODUCER_EPOCH
        );
    }
    let member = Member {
        generation: 3,
        id: "nobody",
        ..nobody
    };
    assert_eq!(
        wire.commit_offset(producer, member, &topic, 0, 6),
        UNKNOWN_MEMBER_ID
    );
    let instance = Member {
        instance: Some("nobody"),
        ..member
    };
    assert_eq!(
        wire.commit_offset(producer, instance, &topic, 0, 6),
        UNKNOWN_MEMBER_ID
    );
    let unknown = unique("group");
    wire.add_offsets(0, producer, &unknown);
    let unknown = Member {
        group: &unknown,
        ..member
    };
    assert_eq!(
        wire.commit_offset(producer, unknown, &topic, 0, 6),
        ILLEGAL_GENERATION
    );

    assert_eq!(wire.end(1, producer, COMMIT), NONE);
    eventually("the offset is committed", || {
        (wire.committed(&group, &topic, true) == (NONE, 5)).then_some(())
    });
    assert_eq!(wire.add_offsets(0, producer, &group), NONE);
    assert_eq!(wire.commit_offset(producer, nobody, &topic, 0, 8), NONE);
    assert_eq!(wire.committed(&group, &topic, false), (NONE, 5));
    assert_eq!(wire.end(1, producer, ABORT), NONE);
    eventually("the offset is forgotten", || {
        (wire.committed(&group, &topic, true) == (NONE, 5)).then_some(())
    });
}

pub(crate) fn aborts_what_is_open_too_long(cluster: &Cluster) {
    let topic = cluster.topic(1, &[]);
    let group = unique("group");
    let mut wire = Wire::connect(cluster, &unique("tx"));
    // Long enough for what follows, however busy the machine is.
    let timeout_ms = 6000;
    let (code, producer) = wire.init(4, timeout_ms, None);
    assert_eq!(code, NONE);
    wire.add(0, producer, &topic, &[0]);
    wire.add_offsets(0, producer, &group);
    assert_eq!(wire.put(producer, &topic, 0), 0);
    assert_eq!(
        wire.commit_offset(producer, Member::none(&group), &topic, 0, 5),
        NONE
    );
    assert_eq!(wire.end_offset(&topic, true), 0);
    eventually("the transaction is aborted", || {
        (wire.end_offset(&topic, true) == 2).then_some(())
    });
    assert_eq!(wire.fetch(&topic, 0, true).aborted, Some(vec![(producer.id, 0)]));
    assert_eq!(wire.end(2, producer, COMMIT), PRODUCER_FENCED);
    assert_eq!(wire.try_put(producer, &topic, 1), INVALID_PRODUCER_EPOCH);
    eventually("the offset is forgotten", || {
        (wire.committed(&group, &topic, true) == (NONE, -1)).then_some(())
    });
    // It may come back with the epoch that it lost.
    assert_eq!(
        wire.init(4, timeout_ms, Some(producer)),
        (NONE, epoch(producer, 1))
    );
}
