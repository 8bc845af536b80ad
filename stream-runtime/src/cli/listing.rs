//! Listings: rows that are written as a box table, as plain columns or as JSON.

use std::io::IsTerminal;

use comfy_table::presets::NOTHING;
use comfy_table::{
    ColumnConstraint, ContentArrangement, ContentLineStyle, LineStyle, Table, TableStyle, Width,
};
use serde_json::{Map, Value};

use super::Screen;
use crate::error::Result;

/// The flag of every listing.
#[derive(Debug, Clone, Copy, clap::Args)]
#[group(skip)]
pub(super) struct Flags {
    /// Write JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// How a table is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// With lines, as wide as the terminal at most.
    Box,
    /// With lines of `+`, `-` and `|`.
    Ascii,
    /// Columns with spaces between them, for other programs.
    Plain,
}

impl Style {
    /// Lines for people, plain columns for pipes.
    pub(super) fn of(out: &impl IsTerminal) -> Self {
        if out.is_terminal() { Self::Box } else { Self::Plain }
    }
}

const BOX: TableStyle = TableStyle::new()
    .top_border(LineStyle::new('┌', '─', '┬', '┐'))
    .header_lines(ContentLineStyle::new('│', '│', '│'))
    .header_separator(LineStyle::new('├', '─', '┼', '┤'))
    .content_lines(ContentLineStyle::new('│', '│', '│'))
    .bottom_border(LineStyle::new('└', '─', '┴', '┘'));

const ASCII: TableStyle = TableStyle::new()
    .top_border(LineStyle::new('+', '-', '+', '+'))
    .header_lines(ContentLineStyle::new('|', '|', '|'))
    .header_separator(LineStyle::new('+', '-', '+', '+'))
    .content_lines(ContentLineStyle::new('|', '|', '|'))
    .bottom_border(LineStyle::new('+', '-', '+', '+'));

/// Rows under a title; every cell is JSON already.
#[derive(Debug, Clone)]
pub(super) struct Listing {
    title: String,
    columns: Vec<&'static str>,
    rows: Vec<Vec<Value>>,
}

impl Listing {
    pub(super) fn new(title: impl Into<String>, columns: &[&'static str]) -> Self {
        Self {
            title: title.into(),
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, of as many cells as there are columns.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Value>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Writes it as asked.
    pub(super) fn show(&self, flags: Flags, screen: &mut Screen<'_>) -> Result<()> {
        let text = if flags.json {
            self.to_json()
        } else {
            self.draw(screen.style)
        };
        screen.print(&text)
    }

    /// An array with one object a row.
    pub(super) fn to_json(&self) -> String {
        let object = |row: &Vec<Value>| {
            let fields = self.columns.iter().map(|name| name.replace(' ', "_"));
            Value::Object(fields.zip(row.iter().cloned()).collect::<Map<_, _>>())
        };
        let rows: Value = self.rows.iter().map(object).collect();
        format!("{rows:#}\n")
    }

    pub(super) fn draw(&self, style: Style) -> String {
        let rows = self.rows.iter().map(|row| row.iter().map(cell).collect());
        let header = self.columns.iter().map(|&name| name.to_owned()).collect();
        draw(style, &self.title, Some(header), rows)
    }
}

/// Draws a table; the title goes into its upper edge.
pub(super) fn draw(
    style: Style,
    title: &str,
    header: Option<Vec<String>>,
    rows: impl Iterator<Item = Vec<String>>,
) -> String {
    let mut table = Table::new();
    table.load_style(match style {
        Style::Box => BOX,
        Style::Ascii => ASCII,
        Style::Plain => NOTHING,
    });
    if let Some(header) = header {
        table.set_header(header);
    }
    table.add_rows(rows);
    if style == Style::Plain {
        return plain(&mut table);
    }
    if style == Style::Box {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    // So that the first column's edge stands behind the title.
    if let Some(first) = table.column_mut(0) {
        let width = u16::try_from(title.chars().count()).unwrap_or(u16::MAX);
        first.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width)));
    }
    let drawn = table.to_string();
    let (corner, edge) = drawn.split_at(drawn.chars().next().map_or(0, char::len_utf8));
    let edge: String = edge.chars().skip(title.chars().count()).collect();
    format!("{corner}{title}{edge}\n")
}

fn plain(table: &mut Table) -> String {
    table.set_content_arrangement(ContentArrangement::Disabled);
    let drawn = table.to_string();
    let lines = drawn.lines().map(|line| format!("{}\n", line.trim()));
    lines.collect()
}

/// A cell as text: a list with commas, nothing for null.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// The first sentence of a doc comment, or nothing.
pub(super) fn description(doc: &str) -> Value {
    let paragraph = doc.trim().split("\n\n").next().unwrap_or_default();
    let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.find(". ").map_or(line.as_str(), |end| &line[..=end]) {
        "" => Value::Null,
        sentence => sentence.into(),
    }
}
