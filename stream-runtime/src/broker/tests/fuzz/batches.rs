//! Batches: as they come, and with their length and checksum put right, so that the damage gets further than those.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use std::time::Duration;

use crate::broker::batch::Batch;
use crate::broker::log::Reads;
use crate::broker::records;
use crate::broker::tests::fixture::{Driver, START_MS, Sent};
use crate::tests::fuzz::Target;

const LENGTH: usize = 8;
const MAGIC: usize = 16;
const CHECKSUM: usize = 17;
const CHECKED: usize = 21;

/// The batch with a right length, format and checksum.
fn repaired(bytes: &[u8]) -> Option<Bytes> {
    let mut batch = bytes.to_vec();
    let length = i32::try_from(bytes.len().checked_sub(12)?).ok()?;
    batch.get_mut(LENGTH..12)?.copy_from_slice(&length.to_be_bytes());
    *batch.get_mut(MAGIC)? = 2;
    let checksum = crc32c::crc32c(batch.get(CHECKED..)?);
    batch
        .get_mut(CHECKSUM..CHECKED)?
        .copy_from_slice(&checksum.to_be_bytes());
    Some(Bytes::from(batch))
}

fn samples() -> Vec<Vec<u8>> {
    let records = [
        (Some("a"), Some("1")),
        (Some("b"), None),
        (Some("a"), Some("a longer value, a longer value, a longer value")),
    ];
    let plain = Sent::new(&records);
    let payload = plain.encode().slice(61..);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut gzip, &payload).expect("memory takes it");
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
    std::io::Write::write_all(&mut lz4, &payload).expect("memory takes it");
    let snappy = snap::raw::Encoder::new()
        .compress_vec(&payload)
        .expect("it is small");
    let mut java = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    java.extend_from_slice(&u32::try_from(snappy.len()).expect("it is small").to_be_bytes());
    java.extend_from_slice(&snappy);
    let packed = [
        (1, gzip.finish().expect("memory takes it")),
        (2, snappy),
        (2, java),
        (3, lz4.finish().expect("memory takes it")),
        (4, b"zstd is not for us".to_vec()),
    ];
    let packed = packed.map(|(attributes, payload)| {
        let sent = Sent {
            attributes,
            ..plain.clone()
        };
        sent.wrap(&payload)
    });
    let idempotent = Sent {
        producer: (1, 0, i32::MAX - 1),
        ..plain.clone()
    };
    let transactional = Sent {
        producer: (1, 0, 0),
        attributes: 1 << 4,
        ..plain.clone()
    };
    let mut all = vec![plain.encode(), idempotent.encode(), transactional.encode()];
    all.extend(packed);
    all.iter().map(|batch| batch.to_vec()).collect()
}

#[test]
fn batches() {
    let target = Target {
        name: "batches",
        samples: samples(),
        words: &[
            b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01",
            b"\x1f\x8b\x08\0",
            b"\x04\x22\x4d\x18",
            b"\xff\xff\xff\xff\x0f",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ],
        longest: 600,
        usual: 3_000,
        // A block of LZ4 has 4 MiB at most, gzip packs a thousandfold, and of what is unpacked there are some copies.
        memory: (20 << 20, 8_000),
    };
    target.run(|bytes| {
        let raw = Batch::parse(Bytes::copy_from_slice(bytes)).map_or_else(|error| error.code(), |_| 0);
        let Some(batch) = repaired(bytes) else {
            return (raw, -1, None, 0, 0);
        };
        let parsed = Batch::parse(batch.clone());
        let unpacked = parsed.as_ref().ok().and_then(records::decode);
        let (accepted, left) = in_a_log(&batch);
        let code = parsed.as_ref().map_or_else(ResponseError::code, |_| 0);
        let records = unpacked.map(|records| records.len().min(9));
        (raw, code, records, accepted, left)
    });
}

/// Appends the batch to a plain and to a compacted topic, reads, looks for times, compacts; how many answers had no
/// error, and how many batches are left.
fn in_a_log(batch: &Bytes) -> (usize, usize) {
    let mut driver = Driver::new(Duration::ZERO);
    driver.topic("plain", &[]);
    let eager = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "1000"),
        ("delete.retention.ms", "1000"),
        ("min.cleanable.dirty.ratio", "0"),
    ];
    driver.topic("compacted", &eager);
    let good = Sent::new(&[(Some("a"), Some("2")), (Some("c"), Some("2"))]).encode();
    let mut accepted = 0;
    for topic in ["plain", "compacted"] {
        for records in [batch, &good, batch, &good] {
            accepted += usize::from(driver.produce(topic, records.clone()).0 == 0);
            driver.pass(Duration::from_millis(1_500));
        }
        driver.pass(Duration::from_secs(3));
    }
    let mut left = 0;
    for topic in ["plain", "compacted"] {
        let log = &driver.state.topics.partition(topic, 0).expect("a topic").log;
        let mut next = log.start();
        while next < log.end() {
            let slice = log.read(next, 1, true, Reads::All).expect("it is in the log");
            assert!(!slice.bytes.is_empty(), "there is something up to the end");
            let width = i32::from_be_bytes(slice.bytes[23..27].try_into().expect("four bytes"));
            let base = i64::from_be_bytes(slice.bytes[..8].try_into().expect("eight bytes"));
            assert!(base + i64::from(width) >= next, "reading goes on");
            next = base + i64::from(width) + 1;
            left += 1;
        }
        log.first_at(START_MS);
        log.latest_time();
    }
    (accepted, left)
}
