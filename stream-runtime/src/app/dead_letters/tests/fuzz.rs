//! The text beside the offset of a replay, which any client of that group can write.

use crate::app::dead_letters::replayed::Replayed;
use crate::tests::fuzz::Target;

#[test]
fn replays() {
    let samples: &[&[u8]] = &[b"1:1,2,3,4", b"1:10,1", b"", b"1:", b"2:1,1"];
    let mut target = Target::of("replays", samples);
    target.words = &[b"1:", b",", b"9223372036854775807", b"-1", b"0"];
    target.run(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        let read = Replayed::decode(7, &text).ok();
        if let Some(replayed) = &read {
            let (offset, text) = replayed.encode();
            assert_eq!(
                Replayed::decode(offset, &text).ok().as_ref(),
                Some(replayed),
                "it is read as it is written"
            );
        }
        read.map(|replayed| replayed.encode().1.len().min(40))
    });
}
