//! Standard error as a place for lines that stay and, below them, lines that are drawn again and again.
//!
//! Everything the command line and the log write there goes through here, so that neither tears the other. What agents
//! print themselves does not: it overwrites a line that is drawn anew, and is never overwritten.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

/// What stands below the log now.
static BELOW: Mutex<Below> = Mutex::new(Below {
    drawn: String::new(),
    log_passes: false,
});

#[derive(Debug)]
struct Below {
    /// As it is written, from the beginning of its first line and back to there; empty for nothing.
    drawn: String,
    /// Whether the log is written through here.
    log_passes: bool,
}

/// Deletes from the cursor to the end of the screen.
const CLEAR: &str = "\x1b[J";
/// Cuts off what does not fit into a line, as what goes on in the next one could not be deleted.
const NO_WRAP: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";

fn below() -> MutexGuard<'static, Below> {
    BELOW.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether lines can be drawn again and again: on a terminal that moves its cursor, and to which nobody logs by other
/// ways.
pub(super) fn can_draw() -> bool {
    let moves = std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
    moves && std::io::stderr().is_terminal() && below().log_passes
}

/// Draws these lines in the place of those before.
pub(super) fn draw(lines: &[String]) {
    let mut below = below();
    if lines.is_empty() && below.drawn.is_empty() {
        return;
    }
    below.drawn = drawing(lines);
    // A worker whose standard error is closed works all the same.
    let _ = std::io::stderr().write_all(format!("{CLEAR}{}", below.drawn).as_bytes());
}

/// Writes whole lines that stay.
pub(super) fn print(text: &str) {
    let _ = Lines.write_all(text.as_bytes());
}

/// Leaves the cursor where it was: whoever writes without asking overwrites a drawing, and what they wrote stays.
fn drawing(lines: &[String]) -> String {
    let up = match lines.len() {
        0 => return String::new(),
        1 => String::new(),
        more => format!("\x1b[{}A", more - 1),
    };
    format!("{NO_WRAP}{}{WRAP}\r{up}", lines.join("\r\n"))
}

/// Takes the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Log;

impl Log {
    /// From now on the log comes here.
    pub(super) fn passes() {
        below().log_passes = true;
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Lines;

    fn make_writer(&'a self) -> Lines {
        Lines
    }
}

/// Writes whole lines above what is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines;

impl Write for Lines {
    fn write(&mut self, lines: &[u8]) -> std::io::Result<usize> {
        let below = below();
        let mut out = std::io::stderr().lock();
        if below.drawn.is_empty() {
            return out.write(lines);
        }
        out.write_all(&[CLEAR.as_bytes(), lines, below.drawn.as_bytes()].concat())?;
        Ok(lines.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_ends_where_it_began() {
        assert_eq!(drawing(&[]), "");
        assert_eq!(drawing(&["one".to_owned()]), "\x1b[?7lone\x1b[?7h\r");
        assert_eq!(
            drawing(&["one", "two", "three"].map(str::to_owned)),
            "\x1b[?7lone\r\ntwo\r\nthree\x1b[?7h\r\x1b[2A"
        );
    }
}
