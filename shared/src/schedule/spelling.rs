//! Suggests valid names for a wrong name.

use std::cmp::min;

/// Maximum number of suggestions.
const OFFERED: usize = 3;

/// Returns the names most similar to `wrong`, the most similar first, or none if no name is similar. Case is ignored. The last
/// component of a name is also compared alone: "Madrid" is similar to "Europe/Madrid".
pub(super) fn nearest(wrong: &str, names: &[String]) -> Vec<String> {
    let wrong = folded(wrong);
    let limit = (wrong.len() / 3).clamp(1, 4);
    let mut near: Vec<_> = names.iter().map(|name| (nearness(&wrong, name), name)).filter(|(far, _)| *far <= limit).collect();
    near.sort();
    // Keep only the names with the smallest distance: if one name fits exactly, one that differs by a letter is not suggested.
    let nearest = near.first().map_or(0, |(far, _)| *far);
    near.into_iter().take_while(|(far, _)| *far == nearest).take(OFFERED).map(|(_, name)| name.clone()).collect()
}

fn nearness(wrong: &[char], name: &str) -> usize {
    let last = name.rsplit('/').next().unwrap_or(name);
    min(distance(wrong, &folded(name)), distance(wrong, &folded(last)))
}

fn folded(name: &str) -> Vec<char> {
    name.chars().map(|char| if char == ' ' { '_' } else { char.to_ascii_lowercase() }).collect()
}

/// Returns the edit distance: the number of letters to insert, remove or replace.
fn distance(one: &[char], other: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = min(replaced, min(row[j], diagonal) + 1);
        }
    }
    row[other.len()]
}
