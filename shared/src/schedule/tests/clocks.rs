//! The guide's table: fires around the clock changes of 2026.

use super::{Schedule, at, between, cron};

/// Returns the fires of a zone as local times with their offsets.
fn local(expression: &str, zone: &str, after: &str, until: &str) -> Vec<String> {
    show(&cron(expression, zone), zone, after, until)
}

fn show(timetable: &super::Timetable, zone: &str, after: &str, until: &str) -> Vec<String> {
    let zone = jiff::tz::TimeZoneDatabase::bundled().get(zone).unwrap();
    let fires = between(timetable, at(after), at(until));
    fires.into_iter().map(|fire| fire.to_zoned(zone.clone()).strftime("%H:%M%:z").to_string()).collect()
}

/// The gap day and the overlap day of a zone in 2026, from midnight to midnight.
struct Year {
    zone: &'static str,
    gap: (&'static str, &'static str),
    overlap: (&'static str, &'static str),
}

/// 02:00 to 03:00 on 29 March; 03:00 to 02:00 on 25 October.
const MADRID: Year = Year {
    zone: "Europe/Madrid",
    gap: ("2026-03-28T22:59:59Z", "2026-03-29T21:59:59Z"),
    overlap: ("2026-10-24T21:59:59Z", "2026-10-25T22:59:59Z"),
};
/// 02:00 to 03:00 on 8 March; 02:00 to 01:00 on 1 November.
const NEW_YORK: Year = Year {
    zone: "America/New_York",
    gap: ("2026-03-08T04:59:59Z", "2026-03-09T03:59:59Z"),
    overlap: ("2026-11-01T03:59:59Z", "2026-11-02T04:59:59Z"),
};
/// 02:00 to 02:30 on 4 October; 02:00 to 01:30 on 5 April.
const LORD_HOWE: Year = Year {
    zone: "Australia/Lord_Howe",
    gap: ("2026-10-03T13:29:59Z", "2026-10-04T12:59:59Z"),
    overlap: ("2026-04-04T12:59:59Z", "2026-04-05T13:29:59Z"),
};

fn on_gap_day(year: &Year, expression: &str) -> Vec<String> {
    local(expression, year.zone, year.gap.0, year.gap.1)
}

fn on_overlap_day(year: &Year, expression: &str) -> Vec<String> {
    local(expression, year.zone, year.overlap.0, year.overlap.1)
}

#[test]
fn a_skipped_nightly_job_runs_when_the_gap_ends() {
    assert_eq!(on_gap_day(&MADRID, "30 2 * * *"), ["03:00+02:00"]);
    assert_eq!(on_gap_day(&NEW_YORK, "30 2 * * *"), ["03:00-04:00"]);
    assert_eq!(on_gap_day(&LORD_HOWE, "15 2 * * *"), ["02:30+11:00"]);
}

#[test]
fn a_nightly_job_whose_time_comes_twice_runs_the_first_time() {
    assert_eq!(on_overlap_day(&MADRID, "30 2 * * *"), ["02:30+02:00"]);
    assert_eq!(on_overlap_day(&NEW_YORK, "30 1 * * *"), ["01:30-04:00"]);
    assert_eq!(on_overlap_day(&LORD_HOWE, "45 1 * * *"), ["01:45+11:00"]);
}

#[test]
fn a_nightly_job_at_the_edge_of_a_change_runs_once() {
    assert_eq!(on_gap_day(&MADRID, "59 1 * * *"), ["01:59+01:00"]);
    assert_eq!(on_gap_day(&MADRID, "0 2 * * *"), ["03:00+02:00"]);
    assert_eq!(on_gap_day(&MADRID, "0 3 * * *"), ["03:00+02:00"]);
    assert_eq!(on_overlap_day(&MADRID, "0 2 * * *"), ["02:00+02:00"]);
    assert_eq!(on_overlap_day(&MADRID, "59 2 * * *"), ["02:59+02:00"]);
    assert_eq!(on_overlap_day(&MADRID, "0 3 * * *"), ["03:00+01:00"]);
    assert_eq!(on_overlap_day(&NEW_YORK, "0 2 * * *"), ["02:00-05:00"]);
    assert_eq!(on_overlap_day(&LORD_HOWE, "0 2 * * *"), ["02:00+10:30"]);
}

#[test]
fn two_times_in_one_gap_are_one_fire() {
    assert_eq!(on_gap_day(&MADRID, "0,15,30 2,3 * * *"), ["03:00+02:00", "03:15+02:00", "03:30+02:00"]);
    assert_eq!(on_gap_day(&NEW_YORK, "0,30 2 * * *"), ["03:00-04:00"]);
}

#[test]
fn a_nightly_job_that_may_skip_a_gap_does_not_run_in_it() {
    let skipping = Schedule::cron("30 2 * * *").timezone(MADRID.zone).skip_gap().timetable(at("2026-01-01T00:00:00Z")).unwrap();
    assert_eq!(show(&skipping, MADRID.zone, MADRID.gap.0, MADRID.gap.1), [""; 0]);
    assert_eq!(show(&skipping, MADRID.zone, MADRID.overlap.0, MADRID.overlap.1), ["02:30+02:00"]);
}

#[test]
fn a_quarter_hourly_heartbeat_keeps_its_rhythm_in_real_time() {
    for year in [&MADRID, &NEW_YORK, &LORD_HOWE] {
        for (after, until) in [year.gap, year.overlap] {
            let fires = between(&cron("*/15 * * * *", year.zone), at(after), at(until));
            assert!(fires.len() >= 92, "{} {after}", year.zone);
            let steady = fires.windows(2).all(|pair| pair[1].duration_since(pair[0]).as_secs() == 900);
            assert!(steady, "{} {after}", year.zone);
        }
    }
}

#[test]
fn an_interval_job_does_not_run_for_skipped_times() {
    assert_eq!(on_gap_day(&MADRID, "*/20 2 * * *"), [""; 0]);
    assert_eq!(on_gap_day(&MADRID, "30 */2 * * *")[..2], ["00:30+01:00", "04:30+02:00"]);
    assert_eq!(on_gap_day(&LORD_HOWE, "*/10 2 * * *"), ["02:30+11:00", "02:40+11:00", "02:50+11:00"]);
}

#[test]
fn an_interval_job_runs_both_times_that_clocks_show() {
    assert_eq!(on_overlap_day(&MADRID, "*/30 2 * * *"), ["02:00+02:00", "02:30+02:00", "02:00+01:00", "02:30+01:00"]);
    assert_eq!(on_overlap_day(&NEW_YORK, "*/30 1 * * *"), ["01:00-04:00", "01:30-04:00", "01:00-05:00", "01:30-05:00"]);
    assert_eq!(on_overlap_day(&LORD_HOWE, "30 * * * *")[..3], ["00:30+11:00", "01:30+11:00", "01:30+10:30"]);
}

#[test]
fn an_hourly_job_runs_every_hour_of_a_day_with_23_and_of_one_with_25() {
    for year in [&MADRID, &NEW_YORK] {
        assert_eq!(on_gap_day(year, "@hourly").len(), 23);
        assert_eq!(on_overlap_day(year, "@hourly").len(), 25);
    }
}

#[test]
fn a_list_of_hours_is_no_interval() {
    assert_eq!(on_overlap_day(&MADRID, "0 2,14 * * *"), ["02:00+02:00", "14:00+01:00"]);
    assert_eq!(on_overlap_day(&MADRID, "0-59/30 2 * * *"), ["02:00+02:00", "02:30+02:00"]);
    assert_eq!(on_gap_day(&MADRID, "0 2,14 * * *"), ["03:00+02:00", "14:00+02:00"]);
}

#[test]
fn a_star_in_the_seconds_makes_an_interval() {
    assert_eq!(on_overlap_day(&MADRID, "*/30 15 2 * * *").len(), 4);
    assert_eq!(on_overlap_day(&MADRID, "0,30 15 2 * * *").len(), 2);
}

#[test]
fn a_gap_over_midnight_ends_on_the_next_day() {
    assert_eq!(local("30 23 * * *", "America/Nuuk", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z"), ["00:00-01:00"]);
    // The date of the skipped time counts, not that of the fire: 28 March is a Saturday.
    assert_eq!(local("30 23 * * 6", "America/Nuuk", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z"), ["00:00-01:00"]);
    assert_eq!(local("30 23 * * 0", "America/Nuuk", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z"), [""; 0]);
}

#[test]
fn a_gap_of_two_hours_and_one_at_midnight_are_like_any_other() {
    assert_eq!(local("30 2 * * *", "Antarctica/Troll", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z"), ["03:00+02:00"]);
    assert_eq!(local("0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00Z", "2018-11-04T12:00:00Z"), ["01:00-02:00"]);
    // Negative daylight saving time: only the clock matters, not the name of the change.
    assert_eq!(local("30 1 * * *", "Europe/Dublin", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z"), ["02:00+01:00"]);
    assert_eq!(local("30 1 * * *", "Europe/Dublin", "2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z"), ["01:30+01:00"]);
}

#[test]
fn a_job_catches_up_with_gaps_of_up_to_three_hours() {
    // At 02:00 on 18 October 2009, Casey's clocks went to 05:00.
    let (after, until) = ("2009-10-17T12:00:00Z", "2009-10-18T12:00:00Z");
    assert_eq!(local("30 4 * * *", "Antarctica/Casey", after, until), ["05:00+11:00"]);
    assert_eq!(local("0 2 * * *", "Antarctica/Casey", after, until), ["05:00+11:00"]);
}

#[test]
fn a_day_that_a_zone_left_out_has_no_fires() {
    // Samoa had no 30 December 2011.
    let fires = local("0 12 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z", "2011-12-31T12:00:00Z");
    assert_eq!(fires, ["12:00-10:00", "12:00+14:00"]);
    assert_eq!(between(&cron("0 12 30 12 *", "Pacific/Apia"), at("2011-01-01T00:00:00Z"), at("2012-12-01T00:00:00Z")).len(), 0);
}

#[test]
fn the_first_pass_is_over_when_the_second_begins() {
    // The second 02:30 does not match, even if the search starts between the two.
    let timetable = cron("30 2 * * *", MADRID.zone);
    assert_eq!(timetable.next(at("2026-10-25T00:45:00Z")), Some(at("2026-10-26T01:30:00Z")));
    assert_eq!(timetable.next(at("2026-10-25T01:10:00Z")), Some(at("2026-10-26T01:30:00Z")));
}
