//! Tables of text.

/// Columns that are as wide as their widest cell.
#[derive(Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
    /// The first so many columns are words, the others numbers.
    words: usize,
}

impl Table {
    /// With these headings, the first `words` of them above words.
    pub fn new(words: usize, headings: &[&str]) -> Table {
        let mut table = Table { rows: Vec::new(), words };
        table.row(headings.iter().map(|heading| (*heading).to_owned()).collect());
        table
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let padded = match column < self.words {
                    true => format!("{cell:<width$}  "),
                    false => format!("{cell:>width$}  "),
                };
                line.push_str(&padded);
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
