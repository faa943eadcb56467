use super::{at, cron, fires, parse};

const START: &str = "2026-01-15T10:07:30Z";

/// Asserts that both expressions fire at the same times.
fn same(one: &str, other: &str) {
    assert_eq!(fires(&cron(one, "UTC"), START, 40), fires(&cron(other, "UTC"), START, 40), "{one} and {other}");
}

fn days(expression: &str, count: usize) -> Vec<String> {
    fires(&cron(expression, "UTC"), START, count).into_iter().map(|fire| fire[5..10].to_owned()).collect()
}

#[test]
fn names_are_numbers_in_any_case() {
    same("0 0 1 jan,Feb,MAR *", "0 0 1 1-3 *");
    same("0 0 1 JAN-DEC/3 *", "0 0 1 1-12/3 *");
    same("0 0 * * sun,Tue,SAT", "0 0 * * 0,2,6");
    same("0 0 * * mon#2", "0 0 * * 1#2");
    same("0 0 * * FRIL", "0 0 * * 5l");
    same("0 0 l * *", "0 0 L * *");
    same("0 0 lw * *", "0 0 LW * *");
}

#[test]
fn sunday_is_0_and_7_and_ends_a_week() {
    same("0 0 * * 7", "0 0 * * 0");
    same("0 0 * * 5-7", "0 0 * * 0,5,6");
    same("0 0 * * FRI-SUN", "0 0 * * 0,5,6");
    same("0 0 * * SUN-TUE", "0 0 * * 0,1,2");
    same("0 0 * * 0-7", "0 0 * * *");
    same("0 0 * * 7#1", "0 0 * * 0#1");
    same("0 0 * * 7L", "0 0 * * 0L");
    same("0 0 * * 1-7/2", "0 0 * * 0,1,3,5");
    same("0 0 * * */2", "0 0 * * 0,2,4,6");
}

#[test]
fn an_alias_equals_its_expression() {
    same("@yearly", "0 0 1 1 *");
    same("@annually", "0 0 1 1 *");
    same("@monthly", "0 0 1 * *");
    same("@weekly", "0 0 * * 0");
    same("@daily", "0 0 * * *");
    same("@midnight", "0 0 * * *");
    same("@hourly", "0 * * * *");
    same(" @Hourly ", "0 * * * *");
}

#[test]
fn six_fields_begin_with_seconds_and_seven_end_with_a_year() {
    same("0 5 4 * * *", "5 4 * * *");
    same("0 5 4 * * * *", "5 4 * * *");
    assert_eq!(
        fires(&cron("1,2 0 0 1 1 * 2028,2030", "UTC"), START, 9),
        ["2028-01-01T00:00:01Z", "2028-01-01T00:00:02Z", "2030-01-01T00:00:01Z", "2030-01-01T00:00:02Z"]
    );
    assert_eq!(fires(&cron("0 0 0 1 1 * 2027-2040/5", "UTC"), START, 9).len(), 3);
}

#[test]
fn years_that_the_field_does_not_name_are_skipped() {
    let monthly = cron("0 0 0 1 * * 2024,2028", "UTC");
    assert_eq!(fires(&monthly, START, 2), ["2028-01-01T00:00:00Z", "2028-02-01T00:00:00Z"]);
    let newest = monthly.latest(at("2020-01-01T00:00:00Z"), at("2027-06-15T00:00:00Z"));
    assert_eq!(newest, Some(at("2024-12-01T00:00:00Z")));
}

#[test]
fn fields_are_set_apart_by_any_white_space() {
    same("\t 5   4\t*\n* * ", "5 4 * * *");
}

#[test]
fn lists_ranges_and_steps_may_be_mixed() {
    same("1,10-12,20-40/10 * * * *", "1,10,11,12,20,30,40 * * * *");
    same("*/25 * * * *", "0,25,50 * * * *");
    same("05 004 * * *", "5 4 * * *");
    same("*/59 * * * *", "0,59 * * * *");
    same("0 0 */10 * *", "0 0 1,11,21,31 * *");
    same("0 0 1 */5 *", "0 0 1 1,6,11 *");
    same("5-5 * * * *", "5 * * * *");
}

#[test]
fn the_last_days_of_months_are_found() {
    assert_eq!(days("0 0 L * *", 4), ["01-31", "02-28", "03-31", "04-30"]);
    // 31 January and 28 February 2026 are Saturdays, 31 May a Sunday.
    assert_eq!(days("0 0 LW * *", 5), ["01-30", "02-27", "03-31", "04-30", "05-29"]);
    assert_eq!(days("0 0 L,15W * *", 4), ["01-31", "02-16", "02-28", "03-16"]);
}

#[test]
fn the_nearest_weekday_stays_in_its_month() {
    // 1 February and 1 March 2026 are Sundays, 1 August a Saturday.
    assert_eq!(days("0 0 1W 2,3,8 *", 3), ["02-02", "03-02", "08-03"]);
    assert_eq!(days("0 0 31W * *", 4), ["01-30", "03-31", "05-29", "07-31"]);
    assert_eq!(days("0 0 14W 2,3 *", 2), ["02-13", "03-13"]);
}

#[test]
fn the_first_and_last_of_a_weekday_are_found() {
    assert_eq!(days("0 0 * * 1#1", 3), ["02-02", "03-02", "04-06"]);
    assert_eq!(days("0 0 * * 5L", 3), ["01-30", "02-27", "03-27"]);
    assert_eq!(days("0 0 * * 5#5", 3), ["01-30", "05-29", "07-31"]);
    assert_eq!(days("0 0 * * 1#1,3L", 4), ["01-28", "02-02", "02-25", "03-02"]);
}

#[test]
fn one_of_two_restricted_day_fields_is_enough() {
    assert_eq!(days("0 0 20 * 5", 3), ["01-16", "01-20", "01-23"]);
    assert_eq!(days("0 0 L * 5#3", 3), ["01-16", "01-31", "02-20"]);
}

#[test]
fn both_day_fields_hold_when_either_starts_with_a_star() {
    assert_eq!(days("0 0 */2 * 1", 3), ["01-19", "02-09", "02-23"]);
    assert_eq!(days("0 0 16-31 * */5", 4), ["01-16", "01-18", "01-23", "01-25"]);
    assert_eq!(days("0 0 *,5 * 1", 2), ["01-19", "01-26"]);
    same("0 0 ? * 1", "0 0 * * 1");
    same("0 0 5 * ?", "0 0 5 * *");
    same("0 0 ? * ?", "0 0 * * *");
}

#[test]
fn years_without_the_day_are_skipped() {
    let fires = fires(&cron("0 0 29 2 *", "UTC"), "2096-02-28T00:00:00Z", 2);
    assert_eq!(fires, ["2096-02-29T00:00:00Z", "2104-02-29T00:00:00Z"]);
    assert!(parse("0 0 0 29 2 * 2100,2104", "UTC").is_ok());
}
