//! Schedules that come from the code of a beater.

use super::*;

async fn settle(world: &TestBeater, entries: impl IntoIterator<Item = Entry>) {
    let beater = entries.into_iter().fold(Beater::new(), Beater::entry);
    beater.settle(&world.rows, world.now()).await.expect("rows in memory");
}

async fn ids(world: &TestBeater) -> Vec<String> {
    world.schedules().list().await.expect("an answer").into_iter().map(|it| it.entry.id().to_owned()).collect()
}

#[tokio::test]
async fn entries_are_written_once_and_removed_with_the_code() {
    let world = TestBeater::at("2026-05-04T10:00:00Z");
    let [a, b] = ["a", "b"].map(|id| note(id, cron("* * * * *", "UTC")));
    world.put(note("by-hand", cron("0 0 * * *", "UTC"))).await;
    settle(&world, [a.clone(), b.clone()]).await;
    world.go_on(2).await;
    let fired = world.rows.get("a").await.expect("rows in memory");
    settle(&world, [a.clone(), b]).await;
    assert_eq!(world.rows.get("a").await.expect("rows in memory"), fired, "what is as it was is left alone");
    assert_eq!(ids(&world).await, ["a", "b", "by-hand"]);
    settle(&world, [a]).await;
    assert_eq!(ids(&world).await, ["a", "by-hand"]);
    world.go_on(2).await;
    assert_eq!(world.fires("a").len(), 4, "what was due as it went still runs");
    assert_eq!(world.fires("b").len(), 3, "what was due as it went still runs");
    assert_eq!(world.rows.all().await.expect("rows in memory").len(), 2);
}

#[tokio::test]
async fn a_new_version_of_the_code_changes_its_entries_and_leaves_them_paused() {
    let world = TestBeater::at("2026-05-04T10:00:00Z");
    settle(&world, [note("a", cron("* * * * *", "UTC"))]).await;
    world.schedules().pause("a").await.expect("there is one");
    let changed = note("a", cron("*/5 * * * *", "UTC"));
    settle(&world, [changed.clone()]).await;
    let stands = world.schedules().get("a").await.expect("an answer").expect("there is one");
    assert_eq!(stands.entry, changed);
    assert!(stands.paused);
}

#[tokio::test]
async fn the_code_puts_its_entry_back_and_a_changed_one_outlives_the_code() {
    let world = TestBeater::at("2026-05-04T10:00:00Z");
    let [a, b] = ["a", "b"].map(|id| note(id, cron("* * * * *", "UTC")));
    settle(&world, [a.clone(), b]).await;
    let changed = ["a", "b"].map(|id| note(id, cron("*/5 * * * *", "UTC")));
    for entry in &changed {
        world.put(entry.clone()).await;
    }
    let stands = async |id| world.schedules().get(id).await.expect("an answer").map(|it| (it.entry, it.from_code, it.overridden));
    assert_eq!(stands("a").await, Some((changed[0].clone(), true, true)), "it is still known to be the code's");
    settle(&world, [a.clone()]).await;
    assert_eq!(stands("a").await, Some((a, true, false)));
    assert_eq!(stands("b").await, Some((changed[1].clone(), false, false)));
}

#[test]
fn two_entries_of_one_id_are_refused() {
    let beater = Beater::new().entry(note("a", cron("* * * * *", "UTC"))).entry(note("a", cron("0 * * * *", "UTC")));
    assert!(beater.check().is_err_and(|error| error.to_string().contains("\"a\"")));
}

#[test]
fn a_preview_marks_the_days_on_which_clocks_are_changed() {
    let beater = Beater::new().entry(note("nightly", cron("30 2 * * *", "Europe/Madrid")));
    let shown = beater.preview(instant("2026-03-28T00:00:00Z")).expect("a good entry");
    let lines: Vec<_> = shown.lines().take(3).collect();
    assert_eq!(
        lines,
        ["nightly: at 02:30 in Europe/Madrid", "  2026-03-28 02:30:00+01:00", "  2026-03-29 03:00:00+02:00 (clocks go forward at 02:00)"]
    );
}

#[tokio::test]
async fn an_entry_that_comes_back_into_the_code_fires_again() {
    let world = TestBeater::at("2026-05-04T10:00:00Z");
    let entry = || note("a", cron("* * * * *", "UTC"));
    settle(&world, [entry()]).await;
    settle(&world, []).await;
    settle(&world, [entry()]).await;
    world.go_on(2).await;
    assert_eq!(world.fires("a"), ["2026-05-04T10:00:00Z", "2026-05-04T10:01:00Z"]);
}

#[tokio::test]
async fn a_schedule_that_comes_back_after_it_was_deleted_is_new() {
    let entry = || note("minutely", Schedule::every(Duration::from_secs(40)));
    for from_code in [false, true] {
        let world = TestBeater::at("2026-05-04T10:00:00Z");
        let add = async || if from_code { settle(&world, [entry()]).await } else { world.put(entry()).await };
        add().await;
        world.tick_now().await;
        world.pass(50);
        world.schedules().pause("minutely").await.expect("there is one");
        world.schedules().delete("minutely").await.expect("there is one");
        add().await;
        let stands = world.schedules().get("minutely").await.expect("an answer").expect("there is one");
        assert!(!stands.paused);
        assert_eq!(stands.from_code, from_code);
        assert_eq!(stands.created_at, Some(world.now()));
        world.go_on(2).await;
        let fires = world.fires("minutely");
        assert!(fires.contains(&"2026-05-04T10:01:30Z".to_owned()) && !fires.contains(&"2026-05-04T10:01:20Z".to_owned()), "{fires:?}");
    }
}

#[test]
fn two_entries_with_one_id_are_refused() {
    let entry = |id| note(id, cron("* * * * *", "UTC"));
    assert!(Beater::new().entry(entry("a")).entry(entry("b")).check().is_ok());
    let refusal = Beater::new().entry(entry("a")).entry(entry("a")).check().expect_err("refused").to_string();
    assert!(refusal.contains("two entries have the id \"a\""), "{refusal}");
}
