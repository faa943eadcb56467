//! Tests that the simulation loses no job and orders the limits correctly.

use super::{DAY, Day, Limit, Outcome, Setting, Source, Table, curve, day};

/// Two million jobs a day without a burst, far below every limit.
const EASY: Setting = Setting {
    jobs: 2e6,
    burst: 0.0,
    batch: 0.2,
    source: Source::Provisioned { least: 100.0, most: 100.0 },
    in_flight: 120_000.0,
    concurrency: 1_000.0,
    environments: 1_000.0,
    table: Table { warm: 40_000.0, quota: 40_000.0, partition: 1_000.0, hottest: 0.0 },
};

fn binds(setting: Setting) -> Option<Limit> {
    day(setting).tightest().map(|(limit, _)| limit)
}

fn assert_conserved(outcome: &Outcome) {
    assert_eq!(outcome.arrived, outcome.done + u64::from(outcome.waiting));
    assert_eq!(outcome.done, outcome.waits.iter().copied().map(u64::from).sum::<u64>());
}

#[test]
fn the_curve_has_its_mean_and_its_peak() {
    let mean = (0..DAY).map(curve).sum::<f64>() / 86_400.0;
    assert!((mean - 1.0).abs() < 1e-9, "{mean}");
    assert!((curve(DAY / 2) - 3.0).abs() < 1e-9);
}

#[test]
fn no_job_is_lost_or_invented() {
    let outcome = day(Setting { burst: 1e6, ..EASY });
    assert!((2_999_998..=3_000_000).contains(&outcome.arrived), "{}", outcome.arrived);
    assert_conserved(&outcome);
    assert_conserved(&day(Setting { jobs: 5e8, ..EASY }));
}

#[test]
fn without_pressure_nothing_waits() {
    let outcome = day(EASY);
    assert_eq!(outcome.backlog, 0);
    assert_eq!(outcome.waiting, 0);
    assert_eq!(outcome.refused, 0);
    assert_eq!(outcome.wait((1, 1)), 0);
    assert!(outcome.tightest().is_none());
}

#[test]
fn a_burst_is_drained_within_the_time_that_the_limit_implies() {
    // 1,000 jobs a second, for the million of the burst and for the 69 that arrive in each of its 60 seconds.
    let outcome = day(Setting { burst: 1e6, table: Table { quota: 2_000.0, ..EASY.table }, ..EASY });
    assert_eq!(outcome.drained, Some(1_005));
    assert_eq!(outcome.tightest().map(|(limit, _)| limit), Some(Limit::TableQuota));
    assert!(outcome.refused > 0);
    assert!(outcome.wait((1, 2)) <= outcome.wait((99, 100)) && outcome.wait((99, 100)) <= outcome.wait((1, 1)));
}

#[test]
fn an_event_source_grows_by_300_a_minute_up_to_its_maximum() {
    let mut day = Day::new(Setting { source: Source::Standard { most: 1_250.0 }, ..EASY });
    day.backlog = 1;
    for expected in [305.0, 605.0, 905.0, 1_205.0, 1_250.0, 1_250.0] {
        for _ in 0..60 {
            day.scale(0.0);
        }
        assert!((day.batches - expected).abs() < 1e-6, "{} is not {expected}", day.batches);
    }
    day.backlog = 0;
    day.scale(0.0);
    assert!(day.batches < 1_250.0, "it shrinks when nothing waits");
}

#[test]
fn each_limit_binds_once_it_is_the_lowest() {
    let table = EASY.table;
    let lowered = [
        (Limit::EventSource, Setting { source: Source::Standard { most: 1.0 }, ..EASY }),
        (Limit::Polls, Setting { source: Source::Provisioned { least: 0.5, most: 0.5 }, batch: 0.032, ..EASY }),
        (Limit::InFlight, Setting { in_flight: 10.0, ..EASY }),
        (Limit::Concurrency, Setting { concurrency: 1.0, ..EASY }),
        (Limit::Environments, Setting { environments: 1e-3, ..EASY }),
        (Limit::Requests, Setting { concurrency: 0.5, batch: 0.032, ..EASY }),
        (Limit::TableCeiling, Setting { table: Table { warm: 100.0, ..table }, burst: 1e6, ..EASY }),
        (Limit::TableQuota, Setting { table: Table { quota: 100.0, ..table }, ..EASY }),
        (Limit::Partition, Setting { table: Table { partition: 1.0, ..table }, ..EASY }),
        (Limit::Partition, Setting { table: Table { hottest: 1.0, ..table }, jobs: 5e7, ..EASY }),
    ];
    for (limit, setting) in lowered {
        assert_eq!(binds(setting), Some(limit), "{setting:?}");
    }
}

#[test]
fn a_table_takes_twice_the_peak_of_half_an_hour_ago() {
    // Before noon 69 jobs a second arrive. The table accepts 139 at first and 278 after half an hour: 250,000, then 54,000 in 195 s.
    let table = Table { warm: 50.0, ..EASY.table };
    let outcome = day(Setting { burst: 3e5, table, ..EASY });
    assert_eq!(outcome.tightest().map(|(limit, _)| limit), Some(Limit::TableCeiling));
    assert!(outcome.drained.is_some_and(|seconds| (1_990..2_000).contains(&seconds)), "{:?}", outcome.drained);
}
