//! What an agent's body mentions: paths, matched with the statics that were declared.
//!
//! A macro sees the path as it is written and no more, so this is a search: the last segment is the static's
//! identifier, and what comes before it, or the agent's own module, chooses among several. What matches
//! nothing is something else (a constant, a variant) and no concern of the topology.

/// Which of the statics in `declared` (identifier and module) a mention means; several where it cannot be told.
pub(super) fn resolve(
    mention: &str,
    agent_module: &str,
    declared: &[(&'static str, &'static str)],
) -> Vec<usize> {
    let mut segments: Vec<&str> = mention.split("::").map(str::trim).collect();
    let Some(ident) = segments.pop() else {
        return Vec::new();
    };
    // `Shape::MAX` is a constant of a type, not a static in a module.
    let of_a_type = |segment: &&str| segment.starts_with(char::is_uppercase);
    if ident.is_empty() || segments.last().is_some_and(of_a_type) {
        return Vec::new();
    }
    let candidates: Vec<usize> = (0..declared.len())
        .filter(|&at| declared[at].0 == ident)
        .collect();
    let in_modules = |fits: &dyn Fn(&str) -> bool| -> Vec<usize> {
        let fitting = candidates.iter().copied();
        fitting.filter(|&at| fits(declared[at].1)).collect()
    };
    let preferred = match written_module(&segments, agent_module) {
        Written::Exactly(module) => in_modules(&|of| of == module),
        Written::EndsWith(suffix) => in_modules(&|of| ends_with(of, &suffix)),
    };
    if preferred.is_empty() {
        candidates
    } else {
        preferred
    }
}

/// What a path says about the module of the static it names.
enum Written {
    Exactly(String),
    EndsWith(String),
}

fn written_module(prefix: &[&str], agent_module: &str) -> Written {
    let Some((first, rest)) = prefix.split_first() else {
        return Written::Exactly(agent_module.to_owned());
    };
    let mut base: Vec<&str> = agent_module.split("::").collect();
    let mut rest = rest;
    match *first {
        "crate" => base.truncate(1),
        "self" => {}
        "super" => {
            base.pop();
            while let Some((&"super", further)) = rest.split_first() {
                base.pop();
                rest = further;
            }
        }
        _ => return Written::EndsWith(prefix.join("::")),
    }
    base.extend(rest);
    Written::Exactly(base.join("::"))
}

/// Whether the last segments of `module` are `suffix`.
fn ends_with(module: &str, suffix: &str) -> bool {
    module
        .strip_suffix(suffix)
        .is_some_and(|before| before.is_empty() || before.ends_with("::"))
}

#[cfg(test)]
mod tests {
    use super::resolve;

    const DECLARED: &[(&str, &str)] = &[
        ("COLORS", "app::topics"),
        ("COUNTS", "app::tables"),
        ("COUNTS", "app::other::tables"),
        ("COUNTS", "app::agents"),
    ];

    #[track_caller]
    fn check(mention: &str, module: &str, expected: &[usize]) {
        assert_eq!(resolve(mention, module, DECLARED), expected);
    }

    #[test]
    fn the_only_static_of_that_name_is_meant_wherever_it_is() {
        check("COLORS", "app::agents", &[0]);
        check("elsewhere::COLORS", "app::agents", &[0]);
    }

    #[test]
    fn a_bare_name_prefers_the_module_of_the_agent() {
        check("COUNTS", "app::agents", &[3]);
        check("self::COUNTS", "app::agents", &[3]);
    }

    #[test]
    fn a_written_module_decides() {
        check("other::tables::COUNTS", "app::agents", &[2]);
        check("crate::tables::COUNTS", "app::agents", &[1]);
        check("super::tables::COUNTS", "app::agents", &[1]);
        check("super::super::tables::COUNTS", "app::a::b", &[1]);
        check("app::agents::COUNTS", "app", &[3]);
    }

    #[test]
    fn where_nothing_decides_all_are_meant() {
        check("COUNTS", "app::elsewhere", &[1, 2, 3]);
        check("tables::COUNTS", "app::elsewhere", &[1, 2]);
        // A module under another name, by `use … as state`: not the agent's own static.
        check("state::COUNTS", "app::agents", &[1, 2, 3]);
    }

    #[test]
    fn constants_and_variants_are_not_statics() {
        check("u64::MAX", "app::agents", &[]);
        check("Limits::COUNTS", "app::agents", &[]);
        check("", "app::agents", &[]);
    }

    #[test]
    fn a_module_is_compared_by_whole_segments() {
        assert_eq!(
            resolve(
                "tables::X",
                "app",
                &[("X", "app::my_tables"), ("X", "app::tables")]
            ),
            [1]
        );
    }
}
