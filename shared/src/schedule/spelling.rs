//! What a wrong name may have been meant to be.

use std::cmp::min;

/// How many names are offered.
const OFFERED: usize = 3;

/// The names nearest to `wrong`, nearest first; none when nothing is near. Case does not count, and a name's last
/// component alone is as good as the whole: "Madrid" is near "Europe/Madrid".
pub(super) fn nearest(wrong: &str, names: &[String]) -> Vec<String> {
    let wrong = folded(wrong);
    let limit = (wrong.len() / 3).clamp(1, 4);
    let mut near: Vec<_> = names.iter().map(|name| (nearness(&wrong, name), name)).filter(|(far, _)| *far <= limit).collect();
    near.sort();
    // What is one letter off is no guess any more when another is right.
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

/// How many letters must be put in, taken out or replaced to make one of the other.
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
