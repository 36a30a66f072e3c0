//! A space's tables as text, for people who want to see paging.

use std::fmt::{self, Write};

use faultless_addr::{FrameNo, PAGE_BYTES, SpaceId, VirtAddr};

use crate::entry::{Entry, Flags};
use crate::level::{EVERYWHERE, Level};
use crate::machine::SoftwareMachine;
use crate::tables::Tables;

impl SoftwareMachine {
    /// The tree of a space's tables:
    ///
    /// ```text
    /// space 0: 4 pages and 1 marker in 4 tables, root (CR3) in frame 16
    /// PML4 in frame 16
    /// └─ [0] 0x0 PWUA-X  PDPT in frame 17
    ///    └─ [0] 0x0 PWUA-X  PD in frame 18
    ///       └─ [2] 0x400000 PWUA-X  PT in frame 19
    ///          ├─ [0] 0x400000 P-UA-X  frame 0
    ///          ├─ [1-2] 0x401000-0x403000 PWU--X  frames 1-2
    ///          ├─ [3] 0x403000 PWUAD-  frame 3
    ///          └─ [6] 0x406000  poison
    /// ```
    ///
    /// In brackets is the entry's place in its table. The letters are the bits of
    /// [`entry`](crate::entry), but `X` says that `NX` is clear. Pages that follow each
    /// other in frames that do, with the same bits, are one line; so are markers.
    pub fn dump(&self, space: SpaceId) -> String {
        let state = self.state();
        let root = state.root(space);
        let mut dump = Dump { tables: &state.tables, table_count: 0, text: String::new() };
        dump.table(Level::Pml4, root, VirtAddr(0), "").expect("a string takes any text");
        let leaves = state.tables.leaves(root, EVERYWHERE);
        let (pages, markers): (Vec<_>, Vec<_>) =
            leaves.into_iter().partition(|(_, entry)| entry.is_present());
        let markers = match markers.len() {
            0 => String::new(),
            count => format!(" and {}", counted(count, "marker")),
        };
        let (pages, tables) = (counted(pages.len(), "page"), counted(dump.table_count, "table"));
        format!(
            "space {}: {pages}{markers} in {tables}, root (CR3) in frame {}\n{}",
            space.0, root.0, dump.text
        )
    }
}

struct Dump<'a> {
    tables: &'a Tables,
    table_count: usize,
    text: String,
}

/// Neighbours in one table, told in one line.
struct Run {
    first: usize,
    last: usize,
    entry: Entry,
}

impl Run {
    /// Does `entry`, at `index`, go on as the run does?
    fn goes_on(&self, level: Level, index: usize, entry: Entry) -> bool {
        let count = (index - self.first) as u32;
        let expected = match self.entry.is_present() {
            true => Entry::from_bits(self.entry.bits() + u64::from(count) * PAGE_BYTES),
            false => self.entry,
        };
        level == Level::Pt && index == self.last + 1 && entry == expected
    }
}

impl Dump<'_> {
    /// Tells of a table, and of what it leads to. `indent` is what stands before its lines.
    fn table(&mut self, level: Level, table: FrameNo, base: VirtAddr, indent: &str) -> fmt::Result {
        self.table_count += 1;
        writeln!(self.text, "{} in frame {}", level.name(), table.0)?;
        let runs = self.runs(level, table);
        for (number, run) in runs.iter().enumerate() {
            let (branch, below) = match number + 1 == runs.len() {
                true => ("└─", "   "),
                false => ("├─", "│  "),
            };
            write!(self.text, "{indent}{branch} ")?;
            let at = level.address(base, run.first);
            match level.next() {
                None => self.pages(run, at)?,
                Some(next) => {
                    write!(self.text, "[{}] {at:?} {}  ", run.first, letters(run.entry))?;
                    self.table(next, run.entry.frame(), at, &format!("{indent}{below}"))?;
                }
            }
        }
        Ok(())
    }

    fn pages(&mut self, run: &Run, at: VirtAddr) -> fmt::Result {
        let more = run.last - run.first;
        match more {
            0 => write!(self.text, "[{}] {at:?}", run.first)?,
            _ => {
                let end = at.0 + (more as u64 + 1) * PAGE_BYTES;
                write!(self.text, "[{}-{}] {at:?}-{end:#x}", run.first, run.last)?;
            }
        }
        let frame = run.entry.frame().0;
        match (run.entry.marker(), more as u32) {
            (Some(marker), _) => writeln!(self.text, "  {}", format!("{marker:?}").to_lowercase()),
            (None, 0) => writeln!(self.text, " {}  frame {frame}", letters(run.entry)),
            (None, more) => {
                let last = frame + more;
                writeln!(self.text, " {}  frames {frame}-{last}", letters(run.entry))
            }
        }
    }

    fn runs(&self, level: Level, table: FrameNo) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for (slot, entry) in self.tables.entries(table) {
            match runs.last_mut() {
                Some(run) if run.goes_on(level, slot.index, entry) => run.last = slot.index,
                _ => runs.push(Run { first: slot.index, last: slot.index, entry }),
            }
        }
        runs
    }
}

/// `PWUADX`, with `-` for what is not so.
fn letters(entry: Entry) -> String {
    let letter = |is_so: bool, letter: char| if is_so { letter } else { '-' };
    [
        letter(entry.is_present(), 'P'),
        letter(entry.has(Flags::WRITE), 'W'),
        letter(entry.has(Flags::USER), 'U'),
        letter(entry.has(Flags::ACCESSED), 'A'),
        letter(entry.has(Flags::DIRTY), 'D'),
        letter(!entry.has(Flags::NO_EXECUTE), 'X'),
    ]
    .into_iter()
    .collect()
}

fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}
