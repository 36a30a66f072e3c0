//! `/proc/PID/maps` and `smaps`, against those of the process that tests.

use std::string::{String, ToString};

use super::*;

/// Reads a line of `maps`.
fn parse(line: &str) -> Option<MapsLine<'_>> {
    let mut fields = line.splitn(6, ' ');
    let mut field = || fields.next();
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let (start, end) = field()?.split_once('-')?;
    let rights = field()?;
    let offset = hex(field()?)?;
    let (major, minor) = field()?.split_once(':')?;
    let inode = field()?.parse().ok()?;
    let name = field()?.trim_start_matches(' ');
    let mut prot = Prot::empty();
    for (letter, right) in [('r', Prot::READ), ('w', Prot::WRITE), ('x', Prot::EXEC)] {
        prot.set(right, rights.contains(letter));
    }
    Some(MapsLine {
        range: VirtRange::new(VirtAddr(hex(start)?), VirtAddr(hex(end)?)),
        prot,
        sharing: if rights.ends_with('s') { Sharing::Shared } else { Sharing::Private },
        offset,
        object: ObjectName { device: (hex(major)? as u32, hex(minor)? as u32), inode, name },
    })
}

#[test]
fn every_line_of_this_process_prints_as_it_was() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return };
    for line in maps.lines() {
        assert_eq!(parse(line).expect("a line").to_string(), line);
    }
}

#[test]
fn names_stand_in_a_column_and_never_break_a_line() {
    let line = parse("7f00-8f00 rw-s 00001000 fe:00 12 /a/b").expect("a line");
    let text = "00007f00-00008f00 rw-s 00001000 fe:00 12 ";
    assert_eq!(line.to_string(), std::format!("{text:73}/a/b"));
    let object = ObjectName { name: "/a\nb", ..line.object };
    assert_eq!(MapsLine { object, ..line }.to_string(), std::format!("{text:73}/a\\012b"));
}

fn name(object: ObjectId) -> ObjectName<'static> {
    assert_eq!(object, ObjectId(0));
    ObjectName { device: (0xfe, 0), inode: 247_030, name: "/usr/bin/cat" }
}

#[test]
fn a_space_prints_heap_stack_and_files() {
    let mut space = space();
    let file = shared('a', 2, 2);
    let file = MapRequest { sharing: Sharing::Private, prot: Prot::READ | Prot::EXEC, ..file };
    map_at(&mut space, &file, Place::Fixed(addr(0)), &mut Vec::new()).unwrap();
    let layout = Layout {
        code: pages(0, 2),
        data: pages(2, 2),
        start_brk: addr(4),
        brk: addr(4),
        mmap_base: addr(20),
        start_stack: addr(21),
        args: pages(21, 21),
        env: pages(21, 21),
    };
    space.set_up(layout).unwrap();
    space.brk(addr(6), &mut Vec::new()).unwrap();
    private(&mut space, 8, 9);
    private(&mut space, 20, 22);
    let mut text = String::new();
    space.write_maps(&mut text, name).unwrap();
    let expected = [
        std::format!("{:73}/usr/bin/cat", "00100000-00102000 r-xp 00002000 fe:00 247030 "),
        std::format!("{:73}[heap]", "00104000-00106000 rw-p 00000000 00:00 0 "),
        "00108000-00109000 rw-p 00000000 00:00 0 ".into(),
        std::format!("{:73}[stack]", "00114000-00116000 rw-p 00000000 00:00 0 "),
    ];
    assert!(text.lines().eq(expected.iter().map(String::as_str)), "{text}");
}

/// Where the number of a line ends, and what is around it.
fn form(line: &str) -> (usize, &str, &str) {
    let is_digit = |c: char| c.is_ascii_digit();
    let first = line.find(is_digit).unwrap_or(line.len());
    let end = line.rfind(is_digit).map_or(line.len(), |last| last + 1);
    (end, line[..first].trim_end(), &line[end..])
}

#[test]
fn smaps_has_the_kernels_lines() {
    let Ok(real) = std::fs::read_to_string("/proc/self/smaps") else { return };
    let keyless = |line: &&str| !line.starts_with("ProtectionKey");
    let first_area: Vec<&str> = real.lines().filter(keyless).skip(1).take(24).collect();
    let mut space = space();
    let file = MapRequest { sharing: Sharing::Private, ..shared('a', 0, 2) };
    map_at(&mut space, &file, Place::Fixed(addr(0)), &mut Vec::new()).unwrap();
    let usage = Usage { private_clean: 2, proportional_bytes: 8192, ..Usage::default() };
    let mut text = String::new();
    space.write_smaps(&mut text, name, |_| usage).unwrap();
    let lines: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(lines.len(), first_area.len(), "{text}");
    for (ours, kernels) in lines.iter().zip(&first_area[..23]) {
        assert_eq!(form(ours), form(kernels));
    }
    assert_eq!(
        (lines[0], lines[3]),
        ("Size:                  8 kB", "Rss:                   8 kB")
    );
    assert_eq!(lines[23], "VmFlags: rd mr mw me ");
    assert!(first_area[23].starts_with("VmFlags: rd "));
}
