//! `frame-buffer`: a program draws through its map of a device's memory.

use faultless_posix::{Errno, MapFlags, Mmap, OpenFlags, Pid};

use crate::drivers::{FrameBuffer, Geometry};
use crate::record::Played;
use crate::row::Row;
use crate::scenario::Scenario;
use crate::stage::{FD, PAGE, READ_WRITE, Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "frame-buffer",
    summary: "a program draws through a map of a frame buffer; --picture FILE writes what it shows",
    claims: &["A3", "B20", "B27"],
    rows: &[Row::Driver],
    frames: 8,
    software,
    linux: None,
};

/// 58 pages, far more than the budget.
const SCREEN: Geometry = Geometry { width: 320, height: 184 };

fn software(stage: &mut Stage, a: Pid) -> Played {
    stage.step("a program maps the frame buffer's memory");
    let node = stage.device("/dev/fb0", SCREEN.pages(), FrameBuffer);
    stage.open(a, FD, node, OpenFlags::RDWR)?;
    let len = u64::from(SCREEN.pages()) * PAGE;
    let call = Mmap { len, prot: READ_WRITE, flags: MapFlags::SHARED, fd: FD, ..Mmap::default() };
    let at = stage.mmap(a, call)?.0;
    let more = stage.mmap(a, Mmap { len: len + PAGE, ..call });
    stage.refused("a map of more than there is", more, Errno::EINVAL)?;

    stage.step("it draws four page tables, a page, and the way from entry to entry");
    for y in 0..SCREEN.height {
        let row: Vec<u8> = (0..SCREEN.width).flat_map(|x| point(x, y)).collect();
        stage.store(a, at + SCREEN.offset(0, y), &row)?;
    }
    let faults = stage.machine().stats().faults;
    stage.equal("page faults", faults, 0)?;
    let used = stage.engine().stats().frames_used;
    stage.equal("frames of the budget in use", used, 0)?;

    stage.step("the screen shows what is in the device's memory");
    let memory = stage.device_memory(0);
    let picture = SCREEN.picture(&memory);
    let shown = |x: u32, y: u32| {
        let start = (y * SCREEN.width + x) as usize * 3;
        picture.rgb[start..start + 3].to_vec()
    };
    let corner = shown(0, 0);
    let inside = shown(BOX_X + 2, BOX_Y + 2);
    stage.equal("the corner's red, green and blue", corner, rgb(PAPER))?;
    stage.equal("those of the first table", inside, rgb(colour(0)))?;
    stage.draw(picture);
    Ok(())
}

const PAPER: u32 = 0x00f4_f1ea;
const INK: u32 = 0x0030_3438;
const WAY: u32 = 0x00d1_495b;
/// Where the first table is.
const BOX_X: u32 = 14;
const BOX_Y: u32 = 20;
/// How big a table is, and how far from the one before.
const BOX_WIDTH: u32 = 44;
const BOX_HEIGHT: u32 = 144;
const BOX_STEP: u32 = 62;
/// Entries that are drawn of a table, and the height of each.
const ENTRIES: u32 = 16;
const ENTRY: u32 = BOX_HEIGHT / ENTRIES;
/// The entry that leads on, in each table; the last box is the page itself.
const CHOSEN: [u32; 5] = [11, 3, 8, 5, 9];

/// The four bytes of a point.
fn point(x: u32, y: u32) -> [u8; 4] {
    colour_at(x, y).to_le_bytes()
}

fn rgb(colour: u32) -> [u8; 3] {
    let [blue, green, red, _] = colour.to_le_bytes();
    [red, green, blue]
}

/// Tables get darker towards the page.
fn colour(table: u32) -> u32 {
    [0x00a8_d5e2, 0x008c_c0d0, 0x006f_a8bd, 0x0052_8fa8, 0x00f9_c846][table as usize]
}

fn colour_at(x: u32, y: u32) -> u32 {
    let table = (x.saturating_sub(BOX_X) / BOX_STEP).min(4);
    let (left, row) = (BOX_X + table * BOX_STEP, y.saturating_sub(BOX_Y) / ENTRY);
    let inside_rows = (BOX_Y..=BOX_Y + BOX_HEIGHT).contains(&y);
    let inside = inside_rows && (left..left + BOX_WIDTH).contains(&x);
    let chosen = CHOSEN[table as usize];
    let is_edge =
        x == left || x + 1 == left + BOX_WIDTH || (y - BOX_Y.min(y)).is_multiple_of(ENTRY);
    match () {
        () if inside && row == chosen && !is_edge => WAY,
        () if inside && is_edge => INK,
        () if inside => colour(table),
        () if is_on_way(x, y, table, left) => WAY,
        () => PAPER,
    }
}

/// From an entry a line leads to the top of the next table: across, up or down, across.
fn is_on_way(x: u32, y: u32, table: u32, left: u32) -> bool {
    let gap = left + BOX_WIDTH..left + BOX_STEP;
    if table == 4 || !gap.contains(&x) {
        return false;
    }
    let from = BOX_Y + CHOSEN[table as usize] * ENTRY + ENTRY / 2;
    let to = BOX_Y + ENTRY / 2;
    let middle = gap.start + (gap.end - gap.start) / 2;
    let near = |one: u32, other: u32| one.abs_diff(other) <= 1;
    let across = if x < middle { near(y, from) } else { near(y, to) };
    let down = near(x, middle) && (to.min(from)..=to.max(from)).contains(&y);
    across || down
}
