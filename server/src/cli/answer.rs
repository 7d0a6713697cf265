//! Answers on stdout: lines, tables for people, JSON for programs. A reader that has gone away is no error.

use anyhow::Context as _;
use serde::Serialize;
use std::borrow::Cow;
use std::io::{ErrorKind, IsTerminal as _, Write as _};

/// Writes `text` and a line end. On a terminal, what would command it is shown instead: names and events are other people's.
pub(super) fn say(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    let text = if stdout.is_terminal() { shown(text, &['\n', '\t']) } else { text.into() };
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("write to stdout"),
        _ => Ok(()),
    }
}

/// `text` with its control characters but for some spelled out.
fn shown<'a>(text: &'a str, but_for: &[char]) -> Cow<'a, str> {
    let is_control = |letter: char| letter.is_control() && !but_for.contains(&letter);
    if !text.chars().any(is_control) {
        return text.into();
    }
    let spelled = |letter: char| if is_control(letter) { letter.escape_default().to_string() } else { letter.into() };
    text.chars().map(spelled).collect::<String>().into()
}

/// Writes `value` as indented JSON.
pub(super) fn say_json(value: &impl Serialize) -> anyhow::Result<()> {
    say(&serde_json::to_string_pretty(value).context("encode the answer")?)
}

/// Writes rows under headings, each column as wide as its widest cell. A row is a line whatever its cells hold.
pub(super) fn say_table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> anyhow::Result<()> {
    say(&table(headings, rows))
}

fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let headings = headings.map(str::to_owned);
    let rows = rows.iter().map(|row| row.each_ref().map(|cell| shown(cell, &[]).into_owned()));
    let rows: Vec<[String; N]> = rows.collect();
    let width = |column: usize| {
        let cells = std::iter::once(&headings).chain(&rows).map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    std::iter::once(&headings).chain(&rows).map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".to_owned(), "1".to_owned()], ["longer".to_owned(), "22".to_owned()]];
        assert_eq!(table(["NAME", "N"], &rows), "NAME    N\na       1\nlonger  22");
        assert_eq!(table(["NAME"], &[]), "NAME");
    }

    #[test]
    fn nothing_in_a_cell_commands_the_terminal_or_makes_a_row() {
        let rows = [["\u{1b}[31mred\nforged\u{9b}é".to_owned()]];
        assert_eq!(table(["NAME"], &rows), "NAME\n\\u{1b}[31mred\\nforged\\u{9b}é");
        assert_eq!(shown("a\tb\nc\r\u{7}", &['\n', '\t']), "a\tb\nc\\r\\u{7}");
    }
}
