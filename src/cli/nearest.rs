//! Finds the word that a person meant when they typed another one.

/// Returns `; did you mean WORD?` with the nearest candidate, or nothing if none is near.
pub(crate) fn did_you_mean<'a>(
    typed: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> String {
    nearest(typed, candidates)
        .map(|word| format!("; did you mean {word}?"))
        .unwrap_or_default()
}

/// Returns the candidate that is nearest to a text, if one is near. Case does not matter. Of equally
/// near ones it is the first.
pub(crate) fn nearest<'a>(
    typed: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let typed = typed.to_ascii_lowercase();
    // People make about one slip in three letters, as in `ech` or `crfl`. Beyond that it is a guess.
    let limit = typed.chars().count().div_ceil(3);

    let slips = |candidate: &str| match candidate.to_ascii_lowercase() {
        whole if is_part_of(&typed, &whole) => 1,
        whole => distance(&typed, &whole),
    };
    candidates
        .into_iter()
        .map(|candidate| (slips(candidate), candidate))
        .filter(|(slips, _)| *slips <= limit)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

/// Returns true for `--back` of `--backlog`, or for `--message` of `--max-message`.
fn is_part_of(typed: &str, whole: &str) -> bool {
    let part = typed.trim_start_matches('-');
    part.len() >= 3
        && part != whole.trim_start_matches('-')
        && (whole.trim_start_matches('-').starts_with(part) || whole.contains(&format!("-{part}")))
}

/// Returns how many slips of the finger lead from one word to the other. A slip adds, drops or
/// replaces a letter, or swaps two neighbours.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    // `rows[i][j]` is the distance of the first `i` letters from the first `j`.
    let mut rows = vec![vec![0; to.len() + 1]; from.len() + 1];

    for i in 0..=from.len() {
        for j in 0..=to.len() {
            if i == 0 || j == 0 {
                rows[i][j] = i + j;
                continue;
            }

            let differs = usize::from(from[i - 1] != to[j - 1]);
            let mut least = (rows[i - 1][j - 1] + differs)
                .min(rows[i - 1][j] + 1)
                .min(rows[i][j - 1] + 1);

            let is_swap = i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1];
            if is_swap {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_a_letter_more_or_less_another_one_or_two_swapped() {
        for (from, to, slips) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("crlf", "crlf", 0),
            ("crlff", "crlf", 1),
            ("clf", "crlf", 1),
            ("krlf", "crlf", 1),
            ("crfl", "crlf", 1),
            ("kitten", "sitting", 3),
            ("grüße", "grüsse", 2),
        ] {
            assert_eq!(distance(from, to), slips, "{from} {to}");
            assert_eq!(distance(to, from), slips, "{to} {from}");
        }
    }

    #[test]
    fn the_nearest_word_is_found_and_a_far_one_is_not_guessed() {
        let words = ["--max-message", "--max-connections", "--backlog", "--help"];
        for (typed, meant) in [
            ("--max-mesage", Some("--max-message")),
            ("--MAX-MESSAGE", Some("--max-message")),
            ("--max_message", Some("--max-message")),
            ("--message", Some("--max-message")),
            ("--connections", Some("--max-connections")),
            ("--back", Some("--backlog")),
            ("--backlogs", Some("--backlog")),
            ("--halp", Some("--help")),
            ("--nope", None),
            ("--tls", None),
            ("--", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, words), meant, "{typed}");
        }
    }
}
