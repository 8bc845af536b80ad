//! Up to where the broker has the records of topics that are followed.

use std::collections::HashMap;
use std::sync::Arc;

/// The acknowledgements of one producer.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    topics: HashMap<Arc<str>, Vec<Place>>,
}

/// One partition.
#[derive(Debug, Default, Clone, Copy)]
struct Place {
    /// The highest offset behind a batch that the broker told.
    highest: i64,
    /// Nothing was acknowledged since without its offset.
    known: bool,
}

impl Acknowledged {
    pub(crate) fn follow(&mut self, topic: &Arc<str>) {
        self.topics.entry(Arc::clone(topic)).or_default();
    }

    /// Takes one acknowledged batch.
    pub(crate) fn note(&mut self, topic: &str, partition: i32, next: Option<i64>) {
        let Some(places) = self.topics.get_mut(topic) else {
            return;
        };
        let Ok(number) = usize::try_from(partition) else {
            return;
        };
        if places.len() <= number {
            places.resize(number + 1, Place::default());
        }
        let place = &mut places[number];
        match next {
            // An older batch can be answered after a newer one when it was sent twice: the end stays where it is.
            Some(next) if next < place.highest => {}
            Some(next) => {
                *place = Place {
                    highest: next,
                    known: true,
                };
            }
            None => place.known = false,
        }
    }

    /// The offset behind the last acknowledged record of a partition.
    pub(crate) fn of(&self, topic: &str, partition: i32) -> Option<i64> {
        let place = self.topics.get(topic)?.get(usize::try_from(partition).ok()?)?;
        place.known.then_some(place.highest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_topics_that_are_followed_are_noted() {
        let mut acknowledged = Acknowledged::default();
        acknowledged.follow(&Arc::from("log"));
        acknowledged.note("log", 2, Some(7));
        acknowledged.note("other", 2, Some(9));
        assert_eq!(acknowledged.of("log", 2), Some(7));
        assert_eq!(acknowledged.of("log", 0), None);
        assert_eq!(acknowledged.of("log", 3), None);
        assert_eq!(acknowledged.of("other", 2), None);
    }

    #[test]
    fn an_unknown_offset_hides_the_end_until_the_next_known_one() {
        let mut acknowledged = Acknowledged::default();
        acknowledged.follow(&Arc::from("log"));
        acknowledged.note("log", 0, Some(7));
        acknowledged.note("log", 0, None);
        assert_eq!(acknowledged.of("log", 0), None);
        acknowledged.note("log", 0, Some(6));
        assert_eq!(acknowledged.of("log", 0), None, "an answer that was overtaken");
        acknowledged.note("log", 0, Some(12));
        assert_eq!(acknowledged.of("log", 0), Some(12));
        acknowledged.note("log", 0, Some(9));
        assert_eq!(acknowledged.of("log", 0), Some(12), "the end never goes back");
    }
}
