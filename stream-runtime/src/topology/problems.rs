//! Everything that is wrong with a program, said at once.

use std::collections::BTreeSet;

use crate::error::{Error, Result};

/// Sorted and without repetitions, so that one program always gives one message.
#[derive(Debug, Default)]
pub(super) struct Problems(BTreeSet<String>);

impl Problems {
    /// Notes a problem: what is wrong, where, and the way out.
    pub(super) fn report(&mut self, problem: impl Into<String>) {
        self.0.insert(problem.into());
    }

    /// One error for all of them, if there are any.
    pub(super) fn into_result(self) -> Result<()> {
        match self.0.len() {
            0 => Ok(()),
            1 => Err(Error::topology(self.0.into_iter().collect::<String>())),
            count => {
                let list: String = self
                    .0
                    .iter()
                    .enumerate()
                    .map(|(at, problem)| format!("\n{}. {}", at + 1, problem.replace('\n', "\n   ")))
                    .collect();
                Err(Error::topology(format!(
                    "{count} things are wrong with this program:{list}"
                )))
            }
        }
    }
}
