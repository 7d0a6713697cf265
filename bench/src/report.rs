//! The table of figures and how the goals stand.

use crate::scenarios::Row;
use std::fmt::Write as _;

/// The rows as a table, then the goals, each met or missed.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<46}{:>10}{:>12}{:>9}{:>14}{:>11}{:>11}{:>11}\n",
        "operation", "count", "CPU us/op", "syncs/op", "dev bytes/op", "p50 us", "p99 us", "op/s"
    );
    for Row { name, cost, .. } in rows {
        let _ = writeln!(
            text,
            "{name:<46}{:>10}{:>12.1}{:>9.3}{:>14.0}{:>11.0}{:>11.0}{:>11.0}",
            cost.operations,
            cost.server_cpu_us,
            cost.syncs,
            cost.device_bytes,
            cost.latency_us_p50,
            cost.latency_us_p99,
            cost.per_second
        );
    }
    text.push_str("\ngoals\n");
    for (row, goal) in rows.iter().flat_map(|row| row.goals.iter().map(move |goal| (row, goal))) {
        let verdict = if goal.measured <= goal.at_most { "met   " } else { "MISSED" };
        let _ =
            writeln!(text, "  {verdict} {}: {} {:.2}, at most {}", row.name, goal.what, goal.measured, goal.at_most);
    }
    text
}
