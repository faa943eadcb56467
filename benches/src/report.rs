//! The report: all measurements in tables and plots.

use std::{fmt::Write as _, fs, path::Path, process::Command};

use crate::{
    enqueue::Enqueued,
    event::Scenario,
    framework::Framework,
    measure::{Cold, Warm, listed, ms},
    plot::{self, short},
    rounds::{Ratio, Rounds},
    subject::Subject::{self, ByHand, Python, Sqjobs, TypeScript},
    suite::{Batches, Beater, Package, Results, Traced, wall},
};

/// Writes the report and its plots into `folder`.
///
/// # Errors
///
/// When the folder cannot be written.
pub(crate) fn write(results: &Results, folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let plots = folder.join("plots");
    fs::create_dir_all(&plots)?;
    let first = results.first(0).ok_or("there are no first deliveries")?;
    let named = |figure: &dyn Fn(Subject) -> Option<f64>| -> Vec<_> {
        Subject::ALL.into_iter().filter_map(|subject| Some((subject.title(), figure(subject)?))).collect()
    };
    plot::bars(&plots.join("cpu.svg"), "CPU of ten first deliveries", "milliseconds", &named(&|subject| first.median(subject, cpu)))?;
    plot::bars(
        &plots.join("cold.svg"),
        "Cold start, to the first response",
        "milliseconds",
        &named(&|subject| results.cold.median(subject, cold_wall)),
    )?;
    let walls = Subject::ALL.map(|subject| (subject.title(), results.walls(subject)));
    let axes = ["latency of each request, milliseconds", "milliseconds"];
    plot::lines(&plots.join("latency.svg"), "Wall time of ten first deliveries", axes, &walls)?;
    fs::write(folder.join("RESULTS.md"), text(results)?)?;
    Ok(())
}

fn text(results: &Results) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    head(&mut text)?;
    verdicts(&mut text, results)?;
    writeln!(text, "\n## Batches of ten, warm\n\n{}", include_str!("report/batches.md"))?;
    results.batches.iter().filter(|batches| batches.latency_ms == 0).try_for_each(|batches| batch(&mut text, batches))?;
    writeln!(text, "\n![CPU](plots/cpu.svg)\n\n### With latency\n\nMilliseconds of wall for each batch, and the ratio to sqjobs.\n")?;
    latencies(&mut text, results)?;
    writeln!(text, "\n![wall by latency](plots/latency.svg)\n\n### Over TLS, and with a log line for each job\n")?;
    conditions(&mut text, results)?;
    writeln!(text, "\n## Requests\n\n{}", include_str!("report/requests.md"))?;
    requests(&mut text, results)?;
    writeln!(text, "\n## Cold start\n\n{}", include_str!("report/cold.md"))?;
    cold(&mut text, &results.cold)?;
    writeln!(text, "\nOver TLS:\n")?;
    cold(&mut text, &results.cold_over_tls)?;
    writeln!(text, "\n![cold start](plots/cold.svg)\n\n### Packages\n")?;
    packages(&mut text, &results.packages)?;
    writeln!(text, "\n## At a fourteenth of a CPU\n\n{}", include_str!("report/share.md"))?;
    match &results.share {
        None => writeln!(text, "Not measured: this machine has no control groups that this user may change.")?,
        Some(share) => {
            share.batches.iter().try_for_each(|batches| batch(&mut text, batches))?;
            writeln!(text)?;
            cold(&mut text, &share.cold)?;
        }
    }
    writeln!(text, "\n## The framework alone\n\n{}", include_str!("report/framework.md"))?;
    framework(&mut text, &results.framework)?;
    writeln!(text, "\n## Enqueueing 10,000 jobs\n\n{}", include_str!("report/enqueue.md"))?;
    enqueued(&mut text, &results.enqueued)?;
    traced(&mut text, &results.traced)?;
    beater(&mut text, &results.beater)?;
    Ok(text)
}

/// Returns the section about traces.
pub(crate) fn traced_alone(measured: &Traced) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    traced(&mut text, measured)?;
    Ok(text)
}

fn traced(text: &mut String, measured: &Traced) -> std::fmt::Result {
    writeln!(text, "\n## With traces\n\n{}", include_str!("report/traces.md"))?;
    writeln!(text, "| ten first deliveries | CPU, ms | ratio to sqjobs | wall, ms | ratio |\n|---|---|---|---|---|")?;
    for subject in measured.first.subjects() {
        let figure = |figure: fn(&Warm) -> f64| {
            let ratio = measured.first.ratio(subject, Sqjobs, figure).map(spread).unwrap_or_default();
            format!("{} | {ratio}", short(measured.first.median(subject, figure).unwrap_or_default()))
        };
        writeln!(text, "| {} | {} | {} |", subject.title(), figure(cpu), figure(wall))?;
    }
    writeln!(text)?;
    cold(text, &measured.cold)?;
    writeln!(text)?;
    packages(text, &measured.packages)
}

fn head(text: &mut String) -> std::fmt::Result {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok();
        let output = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        output.filter(|said| !said.is_empty()).unwrap_or_else(|| "unknown".into())
    };
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        info.lines().find_map(|line| line.strip_prefix("model name")).map_or("unknown", |line| line.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    writeln!(text, "# Results\n\n`benches/run` makes this page; what is compared and how is in [README.md](README.md).\n")?;
    writeln!(text, "| | |\n|---|---|")?;
    writeln!(text, "| date | {} |", said("date", &["-u", "+%F"]))?;
    writeln!(text, "| commit | {} |", said("git", &["rev-parse", "--short", "HEAD"]))?;
    writeln!(text, "| machine | {model}, {cores} cores, {} |", said("uname", &["-sr"]))?;
    writeln!(text, "| compiler | {} |", said("rustc", &["--version"]))
}

/// Writes each requirement and `yes` or `no`.
fn verdicts(text: &mut String, results: &Results) -> std::fmt::Result {
    writeln!(text, "\n## What is demanded\n\nMedians of ratios within a round; in brackets the least and the most of all rounds.\n")?;
    writeln!(text, "| figure | against | demanded | measured | |\n|---|---|---|---|---|")?;
    let mut most = |what: &str, against: Subject, limit: f64, ratio: Option<Ratio>| line(text, what, against, limit, ratio, true);
    let against_by_hand = |rounds: &Rounds<Warm>| rounds.ratio(Sqjobs, ByHand, cpu);
    most("CPU of ten first deliveries", ByHand, 0.90, results.first(0).and_then(against_by_hand))?;
    most("the same, both log a line for each job", ByHand, 1.0, against_by_hand(&results.logged))?;
    most("CPU of ten failures", ByHand, 1.0, results.batch(Scenario::Failing, 0).and_then(against_by_hand))?;
    most("CPU of enqueueing 10,000 jobs", ByHand, 1.10, results.enqueued.ratio(ByHand, Sqjobs, Enqueued::rate))?;
    most("cold start", ByHand, 0.90, results.cold.ratio(Sqjobs, ByHand, cold_wall))?;
    most("zip", ByHand, 0.95, results.zip_ratio(Sqjobs, ByHand))?;
    for peer in [Python, TypeScript] {
        let mut least = |what: &str, limit: f64, ratio: Option<Ratio>| line(text, what, peer, limit, ratio, false);
        least("CPU of ten first deliveries", 10.0, results.first(0).and_then(|rounds| rounds.ratio(peer, Sqjobs, cpu)))?;
        least("cold start", 5.0, results.cold.ratio(peer, Sqjobs, cold_wall))?;
        least("wall of ten first deliveries, 5 ms of latency", 8.0, results.first(5).and_then(|rounds| rounds.ratio(peer, Sqjobs, wall)))?;
    }
    Ok(())
}

fn line(text: &mut String, what: &str, against: Subject, limit: f64, ratio: Option<Ratio>, at_most: bool) -> std::fmt::Result {
    let Some(ratio) = ratio else { return writeln!(text, "| {what} | {} | | not measured | |", against.title()) };
    let (demand, met) = if at_most { ("at most", ratio.median <= limit) } else { ("at least", ratio.median >= limit) };
    let verdict = if met { "met" } else { "**missed**" };
    writeln!(text, "| {what} | {} | {demand} {limit} | {} | {verdict} |", against.title(), spread(ratio))
}

fn batch(text: &mut String, batches: &Batches) -> std::fmt::Result {
    writeln!(
        text,
        "\n**{}**\n\n| | CPU, ms | ratio to sqjobs | wall, ms | ratio | requests | depth |\n|---|---|---|---|---|---|---|",
        batches.title()
    )?;
    for subject in batches.rounds.subjects() {
        let rounds = &batches.rounds;
        let (Some(last), Some(cpu_ms), Some(wall_ms)) = (rounds.last(subject), rounds.median(subject, cpu), rounds.median(subject, wall))
        else {
            continue;
        };
        let ratio = |figure: fn(&Warm) -> f64| rounds.ratio(subject, Sqjobs, figure).map(spread).unwrap_or_default();
        let (cpu_ratio, wall_ratio) = (ratio(cpu), ratio(wall));
        let (requests, depth) = (last.requests.len(), last.depth);
        writeln!(
            text,
            "| {} | {} | {cpu_ratio} | {} | {wall_ratio} | {requests} | {depth} |",
            subject.title(),
            short(cpu_ms),
            short(wall_ms)
        )?;
    }
    Ok(())
}

fn latencies(text: &mut String, results: &Results) -> std::fmt::Result {
    writeln!(text, "| | latency | {} |\n|---|---|---|---|---|---|", Subject::ALL.map(Subject::title).join(" | "))?;
    for batches in results.batches.iter().filter(|batches| batches.latency_ms > 0) {
        write!(text, "| {} | {} ms |", batches.scenario.title(), batches.latency_ms)?;
        for subject in Subject::ALL {
            match (batches.rounds.median(subject, wall), batches.rounds.ratio(subject, Sqjobs, wall)) {
                (Some(wall), Some(ratio)) => write!(text, " {} ({}) |", short(wall), short(ratio.median))?,
                _ => write!(text, " |")?,
            }
        }
        writeln!(text)?;
    }
    Ok(())
}

fn conditions(text: &mut String, results: &Results) -> std::fmt::Result {
    writeln!(text, "| ten first deliveries | {} |\n|---|---|---|---|---|", Subject::ALL.map(Subject::title).join(" | "))?;
    for (what, rounds) in [("CPU over TLS, ms", &results.over_tls), ("CPU with logs, ms", &results.logged)] {
        write!(text, "| {what} |")?;
        for subject in Subject::ALL {
            match (rounds.median(subject, cpu), rounds.ratio(subject, Sqjobs, cpu)) {
                (Some(cpu), Some(ratio)) => write!(text, " {} ({}) |", short(cpu), short(ratio.median))?,
                _ => write!(text, " |")?,
            }
        }
        writeln!(text)?;
    }
    Ok(())
}

fn requests(text: &mut String, results: &Results) -> std::fmt::Result {
    writeln!(text, "| scenario | requests | bytes | depth |\n|---|---|---|---|")?;
    for batches in results.batches.iter().filter(|batches| batches.latency_ms == 5) {
        let Some(last) = batches.rounds.last(Sqjobs) else { continue };
        let bytes: usize = last.requests.iter().map(|exchange| exchange.bytes).sum();
        writeln!(text, "| {} | {} | {bytes} | {} |", batches.scenario.title(), last.operations(), last.depth)?;
    }
    Ok(())
}

fn cold(text: &mut String, rounds: &Rounds<Cold>) -> std::fmt::Result {
    writeln!(
        text,
        "| | to the first response, ms | ratio to sqjobs | to the first poll | first batch | CPU, ms | peak RSS, MB |\n|---|---|---|---|---|---|---|"
    )?;
    for subject in rounds.subjects() {
        let figure = |figure: &dyn Fn(&Cold) -> f64| rounds.median(subject, figure).map(short).unwrap_or_default();
        let ratio = rounds.ratio(subject, Sqjobs, cold_wall).map(spread).unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "megabytes for people")]
        let rss = |cold: &Cold| cold.rss as f64 / 1e6;
        let parts = [figure(&|cold| ms(cold.init)), figure(&|cold| ms(cold.first)), figure(&|cold| ms(cold.cpu)), figure(&rss)];
        writeln!(text, "| {} | {} | {ratio} | {} |", subject.title(), figure(&cold_wall), parts.join(" | "))?;
    }
    Ok(())
}

fn packages(text: &mut String, packages: &[Package]) -> std::fmt::Result {
    writeln!(text, "| | zip, bytes | program, bytes |\n|---|---|---|")?;
    for package in packages {
        let program = package.program.map(|bytes| bytes.to_string()).unwrap_or_default();
        writeln!(text, "| {} | {} | {program} |", package.subject.title(), package.zip)?;
    }
    Ok(())
}

fn framework(text: &mut String, framework: &[Framework]) -> std::fmt::Result {
    writeln!(
        text,
        "| records in the batch | instructions a record | allocations a record | bytes allocated a record |\n|---|---|---|---|"
    )?;
    for counted in framework {
        let instructions = counted.instructions.map(|total| format!("{:.0}", counted.per_record(total))).unwrap_or_default();
        let (allocations, bytes) = (counted.per_record(counted.allocations), counted.per_record(counted.bytes));
        writeln!(text, "| {} | {instructions} | {allocations:.1} | {bytes:.0} |", counted.records)?;
    }
    Ok(())
}

/// Returns the section about the beater.
///
/// # Errors
///
/// Never; writing to a string cannot fail.
pub(crate) fn beater_alone(measured: &Beater) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    beater(&mut text, measured)?;
    Ok(text)
}

fn beater(text: &mut String, measured: &Beater) -> std::fmt::Result {
    writeln!(text, "\n## The beater\n\n{}", include_str!("report/beater.md"))?;
    writeln!(text, "| | CPU, ms | wall, ms | requests |\n|---|---|---|---|")?;
    for ticks in &measured.ticks {
        let [cpu, wall] = [ticks.cpu, ticks.wall].map(|time| short(ms(time)));
        writeln!(text, "| {} | {cpu} | {wall} | {} |", ticks.load.title(), listed(&ticks.requests))?;
    }
    let decided = &measured.decided;
    writeln!(text, "\nWhen 10,000 schedules fire next, 10 expressions in 6 zones, from instants spread over a year:\n")?;
    writeln!(text, "| | ms | croner's time over that |\n|---|---|---|")?;
    writeln!(text, "| ready to be asked | {} | {} |", short(ms(decided.next)), short(decided.next_ratio))?;
    writeln!(text, "| read from their text as well | {} | {} |", short(ms(decided.parsed)), short(decided.parsed_ratio))
}

fn enqueued(text: &mut String, rounds: &Rounds<Enqueued>) -> std::fmt::Result {
    writeln!(text, "| | messages a CPU second | ratio to sqjobs | wall, ms | requests |\n|---|---|---|---|---|")?;
    for subject in rounds.subjects() {
        let (Some(rate), Some(wall)) = (rounds.median(subject, Enqueued::rate), rounds.median(subject, |sent| ms(sent.wall))) else {
            continue;
        };
        let ratio = rounds.ratio(subject, Sqjobs, Enqueued::rate).map(spread).unwrap_or_default();
        let requests = rounds.last(subject).map_or(0, |sent| sent.requests);
        let name = if subject == Python { "boto3" } else { subject.title() };
        writeln!(text, "| {name} | {rate:.0} | {ratio} | {} | {requests} |", short(wall))?;
    }
    Ok(())
}

pub(crate) fn cpu(warm: &Warm) -> f64 {
    ms(warm.cpu)
}

fn cold_wall(cold: &Cold) -> f64 {
    ms(cold.wall())
}

fn spread(ratio: Ratio) -> String {
    format!("{} ({}–{})", short(ratio.median), short(ratio.least), short(ratio.most))
}
