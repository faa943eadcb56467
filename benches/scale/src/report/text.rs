//! Numbers and tables, formatted for readers.

use std::fmt::{self, Display};

/// Seconds, displayed in their two largest units.
pub(crate) struct Time(pub(crate) usize);

impl Display for Time {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            seconds @ ..60 => write!(out, "{seconds} s"),
            seconds @ 60..3_600 => write!(out, "{} min {} s", seconds / 60, seconds % 60),
            seconds => write!(out, "{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        }
    }
}

/// Formats a count to about three digits. The last bits of a floating-point sine then do not change the document.
pub(crate) fn rounded(count: u64) -> String {
    match count {
        0..1_000 => count.to_string(),
        1_000..1_000_000 => format!("{} k", (count + 500) / 1_000),
        1_000_000..1_000_000_000 => format!("{}.{} M", count / 1_000_000, count % 1_000_000 / 100_000),
        _ => format!("{}.{} bn", count / 1_000_000_000, count % 1_000_000_000 / 100_000_000),
    }
}

/// Formats dollars, with cents only for small amounts.
pub(crate) fn money(dollars: f64) -> String {
    if dollars < 100.0 { format!("{dollars:.2}") } else { grouped(dollars) }
}

/// Formats a whole number with commas.
pub(crate) fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a Markdown table.
pub(crate) fn table<const COLUMNS: usize>(head: &[&str; COLUMNS], rows: &[[String; COLUMNS]]) -> String {
    let head = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(COLUMNS));
    rows.iter().fold(head, |text, row| text + "| " + &row.join(" | ") + " |\n")
}

#[cfg(test)]
mod tests {
    use super::{Time, grouped, money, rounded, table};

    #[test]
    fn numbers_are_written_for_a_reader() {
        assert_eq!(grouped(1_234_567.4), "1,234,567");
        assert_eq!([money(0.256), money(37_500.4)], ["0.26", "37,500"]);
        assert_eq!([rounded(999), rounded(69_444), rounded(1_049_999)], ["999", "69 k", "1.0 M"]);
        assert_eq!(Time(3_725).to_string(), "1 h 2 min");
    }

    #[test]
    fn a_table_has_a_head_and_rows() {
        assert_eq!(table(&["a", "b"], &[["1", "2"].map(str::to_owned)]), "| a | b |\n|---|---|\n| 1 | 2 |\n");
    }
}
