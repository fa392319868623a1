//! Tables for people: a grid of rows below a header, or the fields of one thing below each other.

use comfy_table::{Attribute, Cell, CellAlignment, Color, Table, presets};

/// The fields of one thing, in order.
pub(crate) type Fields = Vec<(&'static str, String)>;

/// Rows below a header. Columns of numbers are aligned to the right.
pub(crate) fn grid(header: &[&str], rows: Vec<Vec<String>>) -> Table {
    let mut table = plain();
    table.set_header(header.iter().map(|name| Cell::new(name).add_attribute(Attribute::Bold)));
    for row in rows {
        table.add_row(row.into_iter().map(|value| cell(&value)));
    }
    aligned(table)
}

/// Fields below each other.
pub(crate) fn fields(fields: Fields) -> Table {
    let mut table = plain();
    for (name, value) in fields {
        table.add_row([Cell::new(name).add_attribute(Attribute::Bold), coloured(&value)]);
    }
    aligned(table)
}

fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

/// No padding on the left, so that lines begin with their data.
fn aligned(mut table: Table) -> Table {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

fn cell(value: &str) -> Cell {
    let numeric = !value.is_empty() && value.chars().all(|character| character.is_ascii_digit());
    coloured(value).set_alignment(if numeric { CellAlignment::Right } else { CellAlignment::Left })
}

/// States are told apart by colour too.
fn coloured(value: &str) -> Cell {
    let cell = Cell::new(value);
    match value {
        "Completed" | "Flushed" | "Active" | "Leader" => cell.fg(Color::Green),
        "Failed" | "Lost" | "unreachable" => cell.fg(Color::Red),
        "Canceled" | "Dropped" | "Draining" => cell.fg(Color::Yellow),
        _ => cell,
    }
}

#[cfg(test)]
mod tests {
    use super::{fields, grid};
    use expect_test::expect;

    #[test]
    fn a_grid_is_plain_text_for_scripts() {
        let rows = vec![vec!["7".to_owned(), "Completed".to_owned()], vec!["1234".to_owned(), "-".to_owned()]];
        let mut table = grid(&["JOB", "STATE"], rows);
        table.force_no_tty();
        expect![[r#"
             JOB   STATE
                7  Completed
             1234  -"#]]
        .assert_eq(&table.trim_fmt());
    }

    #[test]
    fn fields_stand_below_each_other() {
        let mut table = fields(vec![("job", "7".to_owned()), ("state", "Failed".to_owned())]);
        table.force_no_tty();
        expect![[r#"
             job    7
             state  Failed"#]]
        .assert_eq(&table.trim_fmt());
    }
}
