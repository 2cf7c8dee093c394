//! A job as people look at it: one line while it runs, a table at the end.

use comfy_table::{Cell, CellAlignment, Table, presets};
use yarn_ml_protocol::report::{JobReport, JobState, RankReport};

/// "12 s  EXECUTING  worker 3/3 …  acknowledged 120 320 of 655 360 rows".
pub fn line(report: &JobReport) -> String {
    let rows = &report.rows;
    let mut parts = vec![format!("{:>4.0} s", report.seconds), state(report.state).to_owned()];
    if !report.activity.is_empty() {
        parts.push(report.activity.clone());
    }
    if rows.produced > 0 {
        parts.push(format!(
            "rows read {}, fed {}, acknowledged {}",
            grouped(rows.read),
            grouped(rows.fed),
            grouped(rows.acknowledged)
        ));
    }
    if let Some(values) = report.roles.iter().map(|r| &r.report).find(|r| !r.is_empty()) {
        let values: Vec<String> = values.iter().map(|(k, v)| format!("{k} {}", short(v))).collect();
        parts.push(values.join(", "));
    }
    parts.join("  ")
}

/// One row a rank.
pub fn table(report: &JobReport) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["rank", "state", "read", "fed", "acknowledged", "seconds", "exit", "node"]);
    for rank in &report.roles {
        table.add_row(row(rank));
    }
    for column in 2..=6 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

fn row(rank: &RankReport) -> [Cell; 8] {
    [
        Cell::new(&rank.rank),
        Cell::new(text(&rank.state)),
        Cell::new(grouped(rank.rows.read)),
        Cell::new(grouped(rank.rows.fed)),
        Cell::new(grouped(rank.rows.acknowledged)),
        Cell::new(format!("{:.1}", rank.seconds)),
        Cell::new(rank.exit_code.map_or("-".to_owned(), |code| code.to_string())),
        Cell::new(&rank.node),
    ]
}

/// The whole end: table, totals, model, logs, cause.
pub fn summary(report: &JobReport) -> String {
    let rows = &report.rows;
    let mut out = format!("{}\n\n", table(report));
    let mut line = |name: &str, value: String| out.push_str(&format!("{name:<12} {value}\n"));
    line("state", state(report.state).to_owned());
    line("seconds", format!("{:.1}", report.seconds));
    if rows.read > 0 {
        line(
            "rows",
            format!(
                "{} in the files × {} epochs; read {}, fed {}, acknowledged {}, committed {}, skipped {}",
                grouped(rows.source),
                report.epochs,
                grouped(rows.read),
                grouped(rows.fed),
                grouped(rows.acknowledged),
                grouped(rows.committed),
                grouped(rows.skipped)
            ),
        );
    }
    if let Some(model) = &report.model {
        line("model", model.clone());
    }
    if let Some(checkpoint) = &report.checkpoint {
        line("checkpoint", checkpoint.clone());
    }
    if let Some(reason) = &report.stop_reason {
        line("stopped", reason.clone());
    }
    line("logs", format!("yarn-ml logs {}", report.application_id));
    if !report.diagnostics.is_empty() {
        out.push_str(&format!("\n{}\n", report.diagnostics));
    }
    out
}

pub fn state(state: JobState) -> &'static str {
    match state {
        JobState::Created => "CREATED",
        JobState::WaitingForResources => "WAITING_FOR_RESOURCES",
        JobState::Executing => "EXECUTING",
        JobState::Failing => "FAILING",
        JobState::Canceling => "CANCELING",
        JobState::Finished => "FINISHED",
        JobState::Failed => "FAILED",
        JobState::Killed => "KILLED",
    }
}

/// 1234567 → "1 234 567".
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

fn text(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        _ => "?".to_owned(),
    }
}

fn short(value: &serde_json::Value) -> String {
    match value.as_f64() {
        Some(number) if number.fract() != 0.0 => format!("{number:.4}"),
        _ => value.to_string().trim_matches('"').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_from_the_right() {
        assert_eq!([0, 999, 1000, 1234567].map(grouped), ["0", "999", "1 000", "1 234 567"]);
    }
}
