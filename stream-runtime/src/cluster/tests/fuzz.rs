//! The metadata of committed offsets, which any client of the group can write.

use crate::cluster::cut::Cut;
use crate::tests::fuzz::Target;

#[test]
fn cuts() {
    let samples: &[&[u8]] = &[
        b"1 7 colors-count=0 seen=1234",
        b"1 18446744073709551615 t=9223372036854775807",
        b"1 3",
        b"2 3 t=1",
        b"",
    ];
    let mut target = Target::of("cuts", samples);
    target.words = &[b"1 ", b" ", b"=", b"-1", b"18446744073709551616", b"+7"];
    target.run(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        let cut = Cut::newest([text.as_ref()]);
        if let Some(cut) = &cut {
            assert_eq!(
                Cut::newest([cut.to_string().as_str()]).as_ref(),
                Some(cut),
                "it is read as it is written"
            );
        }
        cut.map(|cut| (cut.number, cut.changelogs.len()))
    });
}
