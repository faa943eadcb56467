//! Rules S1 to S5 in their simplest form: every civil second is tested for a match, and jiff computes its instants. It shares no
//! code with the module.

use std::collections::BTreeSet;

use jiff::{
    SignedDuration, Timestamp, ToSpan,
    civil::{Date, DateTime},
    tz::{AmbiguousOffset, Offset, TimeZone},
};
use proptest::{collection::vec, prelude::*, sample::select};

/// One part of a field.
#[derive(Debug, Clone)]
pub(super) enum Item {
    Star(i16),
    One(i16),
    Span(i16, i16, i16),
    Last,
    LastWeekday,
    Nearest(i16),
    Nth(i16, i16),
    LastOf(i16),
}

/// The fields of an expression: seconds, minute, hour, day-of-month, month, day-of-week.
#[derive(Debug, Clone)]
pub(super) struct Plain(pub(super) [Vec<Item>; 6]);

const BOUNDS: [(i16, i16); 6] = [(0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6)];

impl Plain {
    pub(super) fn text(&self) -> String {
        let fields = self.0.iter().map(|items| items.iter().map(Item::text).collect::<Vec<_>>().join(","));
        fields.collect::<Vec<_>>().join(" ")
    }

    pub(super) fn is_interval(&self) -> bool {
        self.0[..3].iter().any(|items| starts_with_star(items))
    }

    fn admits(&self, field: usize, value: i8) -> bool {
        self.0[field].iter().any(|item| item.admits(value.into(), BOUNDS[field]))
    }

    pub(super) fn matches(&self, civil: DateTime) -> bool {
        self.admits(1, civil.minute())
            && self.admits(0, civil.second())
            && self.admits(2, civil.hour())
            && self.admits(4, civil.month())
            && self.matches_day(civil.date())
    }

    fn matches_day(&self, date: Date) -> bool {
        let day = self.0[3].iter().any(|item| item.admits_date(date));
        let weekday = self.0[5].iter().any(|item| item.admits_weekday(date));
        if starts_with_star(&self.0[3]) || starts_with_star(&self.0[5]) { day && weekday } else { day || weekday }
    }

    /// Returns every fire in the window.
    pub(super) fn fires(&self, zone: &TimeZone, from: Timestamp, until: Timestamp) -> BTreeSet<Timestamp> {
        let clocks = [zone.to_offset(from), zone.to_offset(until)];
        let shown = |at: Timestamp| clocks.map(|clock: Offset| clock.to_datetime(at));
        // Start three hours earlier, so that a change and its reversal fit before the window.
        let mut civil = shown(from).into_iter().min().unwrap().with().second(0).build().unwrap() - 3.hours();
        let end = shown(until).into_iter().max().unwrap() + 3.hours();
        let mut fires = BTreeSet::new();
        while civil < end {
            if self.admits(1, civil.minute()) && self.admits(2, civil.hour()) {
                let seconds = (0..60).map(|second| civil.with().second(second).build().unwrap());
                for civil in seconds.filter(|&civil| self.matches(civil)) {
                    fires.extend(self.instants(zone, civil));
                }
            }
            civil += 1.minute();
        }
        fires.retain(|fire| (from..=until).contains(fire));
        fires
    }

    fn instants(&self, zone: &TimeZone, civil: DateTime) -> Vec<Timestamp> {
        match (zone.to_ambiguous_timestamp(civil).offset(), self.is_interval()) {
            (AmbiguousOffset::Unambiguous { offset }, _) => vec![offset.to_timestamp(civil).unwrap()],
            (AmbiguousOffset::Fold { before, .. }, false) => vec![before.to_timestamp(civil).unwrap()],
            (AmbiguousOffset::Fold { before, after }, true) => {
                vec![before.to_timestamp(civil).unwrap(), after.to_timestamp(civil).unwrap()]
            }
            (AmbiguousOffset::Gap { .. }, true) => vec![],
            (AmbiguousOffset::Gap { before, after }, false) => {
                if SignedDuration::from_secs((after.seconds() - before.seconds()).into()) > SignedDuration::from_hours(3) {
                    return vec![];
                }
                // By the new offset, the civil time is still before the change.
                let change = zone.following(after.to_timestamp(civil).unwrap()).next().unwrap();
                vec![change.timestamp()]
            }
        }
    }
}

fn starts_with_star(items: &[Item]) -> bool {
    matches!(items[0], Item::Star(_))
}

impl Item {
    fn text(&self) -> String {
        match self {
            Self::Star(1) => "*".to_owned(),
            Self::Star(step) => format!("*/{step}"),
            Self::One(value) => value.to_string(),
            Self::Span(from, to, 1) => format!("{from}-{to}"),
            Self::Span(from, to, step) => format!("{from}-{to}/{step}"),
            Self::Last => "L".to_owned(),
            Self::LastWeekday => "LW".to_owned(),
            Self::Nearest(day) => format!("{day}W"),
            Self::Nth(day, nth) => format!("{day}#{nth}"),
            Self::LastOf(day) => format!("{day}L"),
        }
    }

    fn admits(&self, value: i16, (low, _): (i16, i16)) -> bool {
        match *self {
            Self::Star(step) => (value - low) % step == 0,
            Self::One(one) => value == one,
            Self::Span(from, to, step) => value >= from && value <= to && (value - from) % step == 0,
            _ => false,
        }
    }

    fn admits_date(&self, date: Date) -> bool {
        let last = date.last_of_month();
        match *self {
            Self::Last => date == last,
            Self::LastWeekday => (0..7).map(|back| last - back.days()).find(|&date| is_weekday(date)) == Some(date),
            Self::Nearest(day) => {
                let month = (1..=last.day()).map(|day| date.with().day(day).build().unwrap());
                let nearest = month.filter(|&date| is_weekday(date)).min_by_key(|date| (i16::from(date.day()) - day).abs());
                day <= last.day().into() && nearest == Some(date)
            }
            _ => self.admits(date.day().into(), BOUNDS[3]),
        }
    }

    fn admits_weekday(&self, date: Date) -> bool {
        let weekday = i16::from(date.weekday().to_sunday_zero_offset());
        match *self {
            Self::Nth(day, nth) => weekday == day && (i16::from(date.day()) - 1) / 7 + 1 == nth,
            Self::LastOf(day) => weekday == day && (date + 7.days()).month() != date.month(),
            // Sunday also ends the week.
            _ => self.admits(weekday, BOUNDS[5]) || (weekday == 0 && self.admits(7, BOUNDS[5])),
        }
    }
}

fn is_weekday(date: Date) -> bool {
    (1..=5).contains(&date.weekday().to_sunday_zero_offset())
}

fn number((low, high): (i16, i16)) -> impl Strategy<Value = Item> + Clone {
    let one = (low..=high).prop_map(Item::One);
    let span = (low..=high, low..=high, select(vec![1, 1, 2, 3, 5, 7]));
    prop_oneof![2 => one, 1 => span.prop_map(|(a, b, step)| Item::Span(a.min(b), a.max(b), step))]
}

fn star((low, high): (i16, i16)) -> impl Strategy<Value = Vec<Item>> + Clone {
    let steps = [1, 1, 1, 2, 3, 5, 10, 15, 30].into_iter().filter(|step| *step <= high - low).collect::<Vec<_>>();
    select(steps).prop_map(|step| vec![Item::Star(step)])
}

fn items(item: impl Strategy<Value = Item> + Clone) -> impl Strategy<Value = Vec<Item>> + Clone {
    vec(item, 1..4)
}

fn dates() -> impl Strategy<Value = Item> + Clone {
    prop_oneof![3 => number((1, 31)), 1 => Just(Item::Last), 1 => Just(Item::LastWeekday), 2 => (1..=31i16).prop_map(Item::Nearest)]
}

fn weekdays() -> impl Strategy<Value = Item> + Clone {
    let nth = (0..=7i16, 1..=5i16).prop_map(|(day, nth)| Item::Nth(day % 7, nth));
    prop_oneof![3 => number((0, 7)), 1 => nth, 1 => (0..=6i16).prop_map(Item::LastOf)]
}

/// Generates expressions. Most fire on most days, so that a window of a few hours contains fires.
pub(super) fn expressions() -> impl Strategy<Value = Plain> {
    let seconds = prop_oneof![6 => Just(vec![Item::One(0)]), 2 => items(number((0, 59))), 1 => Just(vec![Item::Star(20)])];
    let minute = prop_oneof![2 => star((0, 59)), 3 => items(number((0, 59)))];
    let hour = prop_oneof![2 => star((0, 23)), 3 => items(number((0, 23)))];
    let day = prop_oneof![6 => Just(vec![Item::Star(1)]), 1 => star((1, 31)), 3 => items(dates())];
    let month = prop_oneof![8 => Just(vec![Item::Star(1)]), 1 => items(number((1, 12)))];
    let weekday = prop_oneof![6 => Just(vec![Item::Star(1)]), 1 => Just(vec![Item::Star(2)]), 3 => items(weekdays())];
    (seconds, minute, hour, day, month, weekday)
        .prop_map(|(seconds, minute, hour, day, month, weekday)| Plain([seconds, minute, hour, day, month, weekday]))
}
