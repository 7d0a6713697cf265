//! One line a load, as a table for people and as JSON for programs, with the goals beside.

use crate::load::Times;
use crate::meter::Used;
use anyhow::Result;
use serde::Serialize;
use std::io::Write as _;
use std::time::Duration;

/// What a goal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Figure {
    /// Server CPU an operation, in microseconds.
    CpuMicros,
    /// Syncs of drives an operation.
    Syncs,
    /// The time that 99 of 100 operations do not exceed, in milliseconds.
    P99Millis,
    /// Server CPU for a million events, in seconds.
    CpuSecondsPerMillion,
    /// The same beside what another program took in the same run.
    CpuSecondsBeside,
    /// Bytes of the objects that pipelines write.
    ObjectBytes,
}

impl Figure {
    fn unit(self) -> &'static str {
        match self {
            Self::CpuMicros => "us CPU",
            Self::Syncs => "syncs",
            Self::P99Millis => "ms p99",
            Self::CpuSecondsPerMillion => "CPU s per million",
            Self::CpuSecondsBeside => "CPU s per million beside DuckDB",
            Self::ObjectBytes => "bytes in objects",
        }
    }
}

impl Figure {
    /// Whether it is CPU time, which another machine takes more or less of for the same work.
    fn is_cpu(self) -> bool {
        matches!(self, Self::CpuMicros | Self::CpuSecondsPerMillion)
    }
}

/// A figure that should not be exceeded.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Goal {
    figure: Figure,
    at_most: f64,
}

impl Goal {
    /// `figure` should be at most `at_most`.
    pub(crate) fn at_most(figure: Figure, at_most: f64) -> Self {
        Self { figure, at_most }
    }
}

/// The figures of one load, per operation where nothing else is said.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    name: &'static str,
    operations: usize,
    operations_per_second: f64,
    cpu_micros: f64,
    syncs: f64,
    device_bytes: f64,
    object_bytes: f64,
    median_millis: f64,
    p99_millis: f64,
    goals: Vec<Goal>,
}

/// A count as a number to divide by; loads are far below the 2^52 where this would round.
#[expect(clippy::cast_precision_loss, reason = "loads have far fewer than 2^52 operations")]
fn number(count: usize) -> f64 {
    count as f64
}

/// To three digits after the point: some goals are measured.
fn rounded(goal: f64) -> f64 {
    (goal * 1e3).round() / 1e3
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl Line {
    /// The line of a load of requests.
    pub(crate) fn of_load(name: &'static str, operations: usize, times: &Times, used: Used, goals: Vec<Goal>) -> Self {
        let count = number(operations);
        Self {
            name,
            operations,
            operations_per_second: count / times.wall.as_secs_f64(),
            cpu_micros: used.cpu.as_secs_f64() * 1e6 / count,
            syncs: used.syncs / count,
            device_bytes: used.device_bytes / count,
            object_bytes: used.object_bytes / count,
            median_millis: millis(times.percentile(50)),
            p99_millis: millis(times.percentile(99)),
            goals,
        }
    }

    /// The line of a load of events: its times are those of the whole load, until acknowledged and until written.
    pub(crate) fn of_events(
        name: &'static str,
        events: usize,
        acknowledged: Duration,
        written: Duration,
        used: Used,
        goals: Vec<Goal>,
    ) -> Self {
        let times = Times { wall: acknowledged, sorted: vec![acknowledged, written] };
        Self { p99_millis: millis(written), ..Self::of_load(name, events, &times, used, goals) }
    }

    /// CPU an operation, in microseconds.
    pub(crate) fn cpu_micros(&self) -> f64 {
        self.cpu_micros
    }

    /// The time that 99 of 100 operations did not exceed, in milliseconds.
    pub(crate) fn p99_millis(&self) -> f64 {
        self.p99_millis
    }

    /// How many times the rate of another load this one has, and what part of the CPU an operation of that one costs here is one of this.
    pub(crate) fn against(&self, other: &Self) -> (f64, f64) {
        (self.operations_per_second / other.operations_per_second, other.cpu_micros / self.cpu_micros)
    }

    fn figure(&self, figure: Figure) -> f64 {
        match figure {
            // us an event = s a million
            Figure::CpuMicros | Figure::CpuSecondsPerMillion | Figure::CpuSecondsBeside => self.cpu_micros,
            Figure::Syncs => self.syncs,
            Figure::P99Millis => self.p99_millis,
            Figure::ObjectBytes => self.object_bytes,
        }
    }

    /// How the goal is met; `slowness` is how much more CPU the plain answer costs here than where the goals were set.
    fn verdict(&self, goal: Goal, slowness: Option<f64>) -> String {
        let (found, unit, at_most) = (self.figure(goal.figure), goal.figure.unit(), rounded(goal.at_most));
        if found <= goal.at_most {
            return format!("ok (<= {at_most} {unit})");
        }
        let here = slowness.filter(|_| goal.figure.is_cpu()).map(|slowness| slowness * goal.at_most);
        match here {
            Some(here) if found <= here => {
                format!("ok by the plain answer (<= {at_most} {unit}, {here:.1} here)")
            }
            Some(here) => format!("MISSED (<= {at_most} {unit}, {here:.1} here)"),
            None => format!("MISSED (<= {at_most} {unit})"),
        }
    }
}

/// What the plain answer cost where the goals were set, in microseconds of CPU.
const PLAIN_ANSWER_MICROS: f64 = 8.9;

/// All lines.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    lines: Vec<Line>,
    /// How much more CPU the plain answer costs here than where the goals were set, when it was measured.
    slowness: Option<f64>,
}

impl Report {
    /// With one more line.
    pub(crate) fn add(&mut self, line: Line) {
        self.lines.push(line);
    }

    /// With the line of the plain answer, by which CPU of other machines compares.
    pub(crate) fn add_plain_answer(&mut self, line: Line) {
        self.slowness = Some(line.cpu_micros / PLAIN_ANSWER_MICROS);
        self.add(line);
    }

    /// Prints the table.
    pub(crate) fn print(&self, took: Duration) -> Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(
            out,
            "{:<38} {:>8} {:>9} {:>9} {:>7} {:>10} {:>9} {:>10} {:>9}  goal",
            "load", "count", "per s", "us CPU", "syncs", "dev bytes", "obj bytes", "median ms", "p99 ms"
        )?;
        for line in &self.lines {
            let goals: Vec<String> = line.goals.iter().map(|goal| line.verdict(*goal, self.slowness)).collect();
            writeln!(
                out,
                "{:<38} {:>8} {:>9.0} {:>9.1} {:>7.3} {:>10.0} {:>9.1} {:>10.3} {:>9.3}  {}",
                line.name,
                line.operations,
                line.operations_per_second,
                line.cpu_micros,
                line.syncs,
                line.device_bytes,
                line.object_bytes,
                line.median_millis,
                line.p99_millis,
                goals.join(", ")
            )?;
        }
        writeln!(out, "figures per operation; of events: per event, median = all acknowledged, p99 = all in Parquet")?;
        if let Some(slowness) = self.slowness {
            writeln!(
                out,
                "CPU of two machines compares by the plain answer: {slowness:.2} x the {PLAIN_ANSWER_MICROS} us it costs where the goals were set"
            )?;
        }
        writeln!(out, "took {:.0} s", took.as_secs_f64())?;
        Ok(())
    }

    /// The figures as JSON.
    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_per_operation_and_goals_are_judged_by_them() {
        let times = Times { wall: Duration::from_secs(2), sorted: vec![Duration::from_millis(3)] };
        let used = Used { cpu: Duration::from_millis(200), syncs: 500.0, device_bytes: 8000.0, object_bytes: 0.0 };
        let goals = vec![Goal::at_most(Figure::CpuMicros, 100.0), Goal::at_most(Figure::Syncs, 0.5)];
        let line = Line::of_load("load", 1000, &times, used, goals.clone());
        assert_eq!(line.verdict(goals[0], Some(1.9)), "MISSED (<= 100 us CPU, 190.0 here)");
        assert_eq!(line.verdict(goals[0], Some(2.5)), "ok by the plain answer (<= 100 us CPU, 250.0 here)");
        assert!((line.cpu_micros - 200.0).abs() < 1e-9 && (line.operations_per_second - 500.0).abs() < 1e-9);
        assert_eq!(line.verdict(goals[0], None), "MISSED (<= 100 us CPU)");
        assert_eq!(line.verdict(goals[1], Some(0.1)), "ok (<= 0.5 syncs)");
    }
}
