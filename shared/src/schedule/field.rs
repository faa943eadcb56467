//! One field of an expression: its name, its range and its syntax.

use super::{ScheduleError, mask::Mask};

/// A numeric field. Its values may also have names.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    low: u32,
    high: u32,
    /// The names of the values from `low` on.
    names: &'static [&'static str],
}

pub(super) const SECOND: Field = Field { name: "second", low: 0, high: 59, names: &[] };
pub(super) const MINUTE: Field = Field { name: "minute", low: 0, high: 59, names: &[] };
pub(super) const HOUR: Field = Field { name: "hour", low: 0, high: 23, names: &[] };
pub(super) const DAY: Field = Field { name: "day-of-month", low: 1, high: 31, names: &[] };
pub(super) const MONTH: Field =
    Field { name: "month", low: 1, high: 12, names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"] };
/// The weekday. 7 is also Sunday, so that a range can end with it.
pub(super) const WEEKDAY: Field = Field { name: "day-of-week", low: 0, high: 7, names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"] };
pub(super) const YEAR: Field = Field { name: "year", low: 1970, high: 2199, names: &[] };

impl Field {
    /// Returns the values of a whole field with small numbers.
    pub(super) fn mask(&self, text: &str) -> Result<Mask, ScheduleError> {
        let mut mask = Mask::default();
        for item in self.items(text) {
            self.each(item?, |value| mask = mask.or(Mask::one(value)))?;
        }
        Ok(mask)
    }

    /// Returns the parts between the commas.
    pub(super) fn items<'t>(&self, text: &'t str) -> impl Iterator<Item = Result<&'t str, ScheduleError>> {
        text.split(',').map(move |item| match item {
            "" => Err(self.refuse(format!("{text:?} has an empty item"), "remove the comma that is too many")),
            item => Ok(item),
        })
    }

    /// Calls `set` with each value of one item: `*`, a value or a range, with or without a step.
    pub(super) fn each(&self, item: &str, mut set: impl FnMut(u32)) -> Result<(), ScheduleError> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(self.step(item, step)?)),
            None => (item, None),
        };
        let (from, to) = self.range(range)?;
        if let Some(step) = step
            && range != "*"
            && !range.contains('-')
        {
            let instead = format!("write {range}-{}/{step}", self.high);
            return Err(self.refuse(format!("{item:?} has a step without a range"), instead));
        }
        if let Some(step) = step.filter(|step| *step > (self.high - self.low) as usize) {
            return Err(self.refuse(format!("the step of {item:?} is larger than the field"), self.instead_of(step)));
        }
        (from..=to).step_by(step.unwrap_or(1)).for_each(&mut set);
        Ok(())
    }

    fn range(&self, text: &str) -> Result<(u32, u32), ScheduleError> {
        if text == "*" {
            return Ok((self.low, self.high));
        }
        let Some((from, to)) = text.split_once('-') else {
            return self.value(text).map(|value| (value, value));
        };
        if from.is_empty() || to.is_empty() {
            let example = format!("write both ends, such as {}-{}", self.low, self.high);
            return Err(self.refuse(format!("{text:?} is a range without an end"), example));
        }
        let (low, high) = (self.value(from)?, self.range_end(to)?);
        if low > high { Err(self.reversed(text, low, high)) } else { Ok((low, high)) }
    }

    /// Returns the end of a range; Sunday at the end of a range is 7.
    fn range_end(&self, text: &str) -> Result<u32, ScheduleError> {
        if self.high == WEEKDAY.high && text.eq_ignore_ascii_case("SUN") { Ok(7) } else { self.value(text) }
    }

    /// Parses a number or a name.
    pub(super) fn value(&self, text: &str) -> Result<u32, ScheduleError> {
        if let Some(at) = self.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            return Ok(self.low + u32::try_from(at).unwrap_or_default());
        }
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(self.refuse(format!("{text:?} is not {}", self.kind()), self.bounds()));
        }
        match text.parse() {
            Ok(value) if (self.low..=self.high).contains(&value) => Ok(value),
            _ => Err(self.refuse(format!("{text} is out of range"), self.bounds())),
        }
    }

    fn step(&self, item: &str, text: &str) -> Result<usize, ScheduleError> {
        let remedy = "a step is a number from 1";
        match text.parse() {
            Ok(0) => Err(self.refuse(format!("{item:?} has the step 0"), remedy)),
            Ok(step) if !text.starts_with('+') => Ok(step),
            _ => Err(self.refuse(format!("the step of {item:?} is not a number"), remedy)),
        }
    }

    fn reversed(&self, text: &str, from: u32, to: u32) -> ScheduleError {
        let (low, top) = (self.low, if self.high == WEEKDAY.high { 6 } else { self.high });
        let remedy = match from {
            7 if self.high == WEEKDAY.high => format!("write 0-{to}, for 7 and 0 are both Sunday"),
            _ => format!("write {to}-{from}, or {from}-{top},{low}-{to} to go past the end"),
        };
        self.refuse(format!("the range {text} is reversed"), remedy)
    }

    /// Suggests an alternative to a step that is larger than the field.
    fn instead_of(&self, step: usize) -> String {
        let unit = match self.name {
            "second" => "s",
            "minute" => "m",
            "hour" => "h",
            _ => return format!("write {} alone, or a step up to {}", self.low, self.high - self.low),
        };
        format!("write {} alone, or an interval: every {step}{unit}", self.low)
    }

    fn kind(&self) -> &'static str {
        if self.names.is_empty() { "a number" } else { "a number or a name of this field" }
    }

    fn bounds(&self) -> String {
        match (self.names.first(), self.names.last()) {
            (Some(first), Some(last)) => format!("it must be {} to {} or {first} to {last}", self.low, self.high),
            _ => format!("it must be {} to {}", self.low, self.high),
        }
    }

    pub(super) fn refuse(&self, problem: String, remedy: impl Into<String>) -> ScheduleError {
        ScheduleError::new(self.name, problem, remedy)
    }
}
