use jiff::{Timestamp, tz::TimeZone};
use proptest::{prelude::*, sample::Index};

use super::{
    super::{Timetable, zone},
    at, between, cron,
    oracle::{Item, Plain, expressions},
    parse, zones,
};

/// Generates instants from 1970 to the end of 2100.
fn instants() -> impl Strategy<Value = Timestamp> {
    (0..4_133_894_400i64).prop_map(|second| Timestamp::from_second(second).unwrap())
}

fn shifted(at: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_second(at.as_second() + seconds).unwrap()
}

fn change_near(zone: &TimeZone, at: Timestamp) -> Option<Timestamp> {
    let change = zone.following(at).next().or_else(|| zone.preceding(at).next())?.timestamp();
    Some(change).filter(|change| change.as_second() > 0)
}

/// Makes a fixed job whose hour is one that clocks show around the change.
fn aim(plain: &mut Plain, zone: &TimeZone, change: Timestamp, hours: i16) {
    let shown = i16::from(zone.to_datetime(shifted(change, -1)).hour());
    plain.0[2] = vec![Item::One((shown + hours).rem_euclid(24))];
}

fn compare(plain: &Plain, timetable: &Timetable, zone: &TimeZone, from: Timestamp, until: Timestamp) {
    let name = zone.iana_name().unwrap();
    let expected: Vec<_> = plain.fires(zone, from, until).into_iter().collect();
    assert_eq!(between(timetable, shifted(from, -1), until), expected, "{} in {name} from {from}", plain.text());
    let mut newest = None;
    for &fire in &expected {
        assert_eq!(timetable.latest(shifted(from, -1), shifted(fire, -1)), newest, "{} in {name} before {fire}", plain.text());
        newest = Some(fire);
    }
    assert_eq!(timetable.latest(shifted(from, -1), until), newest, "{} in {name} until {until}", plain.text());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    #[test]
    fn fires_around_a_clock_change_follow_the_rule(
        mut plain in expressions(), zone in any::<Index>(), near in instants(), aimed in proptest::option::of(-1..=2i16),
    ) {
        let zones = zones();
        let zone = zone::named(&zones[zone.index(zones.len())]).unwrap();
        if let Some(change) = change_near(&zone, near) {
            if let Some(hours) = aimed {
                aim(&mut plain, &zone, change, hours);
            }
            if let Ok(timetable) = parse(&plain.text(), zone.iana_name().unwrap()) {
                compare(&plain, &timetable, &zone, shifted(change, -5 * 3600), shifted(change, 5 * 3600));
            }
        }
    }

    #[test]
    fn fires_ascend_and_depend_only_on_the_schedule(plain in expressions(), zone in any::<Index>(), after in instants()) {
        let zones = zones();
        if let Ok(timetable) = parse(&plain.text(), &zones[zone.index(zones.len())]) {
            let (again, mut after) = (timetable.clone(), after);
            for _ in 0..8 {
                let Some(next) = timetable.next(after) else { break };
                prop_assert!(next > after);
                prop_assert_eq!(timetable.next(shifted(next, -1)), Some(next));
                prop_assert_eq!(timetable.next(Timestamp::new(next.as_second() - 1, 999_999_999).unwrap()), Some(next));
                prop_assert_eq!(again.next(after), Some(next));
                prop_assert_eq!(timetable.latest(after, next), Some(next));
                prop_assert_eq!(timetable.latest(after, shifted(next, -1)), None);
                after = next;
            }
        }
    }

    #[test]
    fn an_expression_matches_exactly_its_days(plain in expressions(), day in 0..83_900i64) {
        let mut plain = plain;
        plain.0[..3].clone_from_slice(&[vec![Item::One(0)], vec![Item::One(0)], vec![Item::One(12)]]);
        if let Ok(timetable) = parse(&plain.text(), "UTC") {
            let noons = (day..day + 100).map(|day| Timestamp::from_second(day * 86_400 + 43_200).unwrap());
            let expected: Vec<_> = noons.filter(|&noon| plain.matches(TimeZone::UTC.to_datetime(noon))).collect();
            let (from, until) = (day * 86_400, (day + 100) * 86_400);
            let found = between(&timetable, Timestamp::from_second(from).unwrap(), Timestamp::from_second(until).unwrap());
            prop_assert_eq!(found, expected, "{}", plain.text());
        }
    }
}

#[test]
fn every_zone_has_its_nightly_job_once_a_night() {
    for zone in zones() {
        let nightly = cron("30 2 * * *", &zone);
        let fires = between(&nightly, at("2025-12-31T12:00:00Z"), at("2027-12-31T12:00:00Z"));
        assert_eq!(fires.len(), 730, "{zone}");
    }
}

#[test]
fn every_zone_keeps_the_rhythm_of_a_heartbeat() {
    for zone in zones() {
        // Half an hour divides all clock changes of these days.
        let fires = between(&cron("*/30 * * * *", &zone), at("2026-03-27T00:00:00Z"), at("2026-04-07T00:00:00Z"));
        assert_eq!(fires.len(), 11 * 48, "{zone}");
    }
}

/// The search relies on this: two days after a change, the change is over and no other one overlaps.
#[test]
fn the_changes_of_a_zone_are_more_than_two_days_apart_and_smaller() {
    for zone in zones() {
        let zone = zone::named(&zone).unwrap();
        let changes = zone.following(at("1969-12-28T00:00:00Z")).take_while(|change| change.timestamp() < at("2200-01-05T00:00:00Z"));
        let mut last = (Timestamp::MIN, zone.to_offset(at("1969-12-28T00:00:00Z")));
        for change in changes.map(|change| (change.timestamp(), change.offset())) {
            assert!(change.0.duration_since(last.0).as_hours() > 48, "{zone:?} at {}", change.0);
            assert!((change.1.seconds() - last.1.seconds()).abs() <= 24 * 3600, "{zone:?} at {}", change.0);
            last = change;
        }
    }
}
