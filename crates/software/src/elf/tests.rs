//! Files made by hand, each wrong in one way, and files that a compiler made.

mod image;
mod real;

use faultless_addr::VirtRange;
use object::elf::{ET_CORE, ET_DYN, ET_EXEC, PF_R, PF_W, PF_X, PT_GNU_STACK, PT_INTERP, PT_LOAD};

use super::*;
use image::{Image, Load};

fn error(image: &Image) -> ElfError {
    LoadPlan::new(&image.bytes()).unwrap_err()
}

#[test]
fn a_program_becomes_a_plan() {
    let plan = LoadPlan::new(&Image::good().bytes()).unwrap();
    let text = Segment {
        at: VirtAddr(0x40_0000),
        file_offset: 0,
        file_size: 0x1800,
        memory_size: 0x1800,
        prot: Prot::READ | Prot::EXEC,
    };
    let data = Segment {
        at: VirtAddr(0x40_2800),
        file_offset: 0x1800,
        file_size: 0x400,
        memory_size: 0x2000,
        prot: Prot::READ | Prot::WRITE,
    };
    let expected = LoadPlan {
        placement: Placement::Fixed,
        entry: VirtAddr(0x40_1000),
        segments: vec![text, data],
        stack: Prot::READ | Prot::WRITE,
        headers: Some(ProgramHeaders { at: VirtAddr(0x40_0040), count: 2 }),
    };
    assert_eq!(plan, expected);
    assert_eq!(plan.end_of_data(), VirtAddr(0x40_5000));
    assert_eq!(data.zeroed(), VirtRange::new(VirtAddr(0x40_2c00), VirtAddr(0x40_3000)));
}

#[test]
fn a_file_may_begin_at_any_address_of_ours() {
    let bytes = Image::good().bytes();
    for shift in 0..8 {
        let mut shifted = vec![0; shift];
        shifted.extend(&bytes);
        LoadPlan::new(&shifted[shift..]).unwrap();
    }
}

#[test]
fn a_movable_program_is_moved() {
    let image = Image { kind: ET_DYN, ..Image::good() };
    let plan = LoadPlan::new(&image.bytes()).unwrap();
    assert_eq!(plan.placement, Placement::Movable { align: 0x1000 });
    let moved = plan.clone().moved(0x1000_0000).unwrap();
    assert_eq!(moved.entry, VirtAddr(0x1040_1000));
    assert_eq!(moved.segments[1].at, VirtAddr(0x1040_2800));
    assert_eq!(moved.headers.unwrap().at, VirtAddr(0x1040_0040));
    let too_far = plan.moved(END_OF_PROGRAMS.0).unwrap_err();
    assert!(matches!(too_far, ElfError::Beyond { index: 0, .. }));
}

#[test]
#[should_panic(expected = "can't be moved")]
fn a_fixed_program_is_not_moved() {
    let _ = LoadPlan::new(&Image::good().bytes()).unwrap().moved(0x1000);
}

#[test]
fn a_stack_is_executable_where_that_is_asked_for() {
    let stack = |flags| {
        let mut image = Image::good();
        image.loads.push(Load { kind: PT_GNU_STACK, flags, ..Load::default() });
        LoadPlan::new(&image.bytes()).unwrap().stack
    };
    assert_eq!(stack(PF_R | PF_W), Prot::READ | Prot::WRITE);
    assert_eq!(stack(PF_R | PF_W | PF_X), Prot::all());
}

#[test]
fn other_files_are_refused_with_their_reason() {
    let patched = |at: usize, byte: u8| {
        let mut bytes = Image::good().bytes();
        bytes[at] = byte;
        LoadPlan::new(&bytes).unwrap_err()
    };
    assert_eq!(patched(0, 0), ElfError::NotElf);
    assert_eq!(patched(4, 1), ElfError::Class { class: 1 });
    assert_eq!(patched(5, 2), ElfError::ByteOrder { order: 2 });
    assert_eq!(patched(6, 0), ElfError::Version { version: 0 });
    assert_eq!(patched(18, 183), ElfError::Processor { machine: 183 });
    assert_eq!(patched(54, 32), ElfError::HeaderSize { size: 32 });
    let core = Image { kind: ET_CORE, ..Image::good() };
    assert_eq!(error(&core), ElfError::NotAProgram { kind: 4 });
    assert_eq!(error(&Image { loads: vec![], ..Image::good() }), ElfError::NoSegments);
    assert_eq!(
        error(&Image { kind: ET_EXEC, entry: 0x40_2900, ..Image::good() }),
        ElfError::Entry { entry: VirtAddr(0x40_2900) }
    );
}

#[test]
fn a_file_cut_anywhere_is_truncated() {
    let bytes = Image::good().bytes();
    let part = |len| match LoadPlan::new(&bytes[..len]).unwrap_err() {
        ElfError::Truncated { part } => part,
        error => panic!("{len} bytes: {error}"),
    };
    assert_eq!(LoadPlan::new(&bytes[..3]), Err(ElfError::NotElf));
    assert!((4..64).all(|len| part(len) == Part::Header));
    assert!((64..64 + 2 * 56).all(|len| part(len) == Part::ProgramHeaders));
    assert!((176..0x1800).step_by(17).all(|len| part(len) == Part::Segment(0)));
    assert!((0x1800..0x1c00).all(|len| part(len) == Part::Segment(1)));
    LoadPlan::new(&bytes[..0x1c00]).unwrap();
}

#[test]
fn a_wrong_segment_is_named() {
    let data = |change: &dyn Fn(&mut Load)| {
        let mut image = Image::good();
        change(&mut image.loads[1]);
        error(&image)
    };
    let at = VirtAddr(0x40_2800);
    assert_eq!(
        data(&|load| load.memory_size = 0x3ff),
        ElfError::FileSize { index: 1, file_size: 0x400, memory_size: 0x3ff }
    );
    assert_eq!(
        data(&|load| load.offset = 0x1801),
        ElfError::Misaligned { index: 1, offset: 0x1801, at }
    );
    assert_eq!(
        data(&|load| load.memory_size = u64::MAX - 5),
        ElfError::Beyond { index: 1, at, size: u64::MAX - 5 }
    );
    assert!(matches!(data(&|load| load.at = (1 << 47) - 0x800), ElfError::Beyond { .. }));
    let end = VirtAddr(0x40_2000);
    assert_eq!(data(&|load| load.at = 0x40_1800), ElfError::Overlap { index: 1, end });
    assert_eq!(data(&|load| load.at = 0x800), ElfError::Overlap { index: 1, end });
    let far = data(&|load| {
        load.offset = u64::MAX - 0x7ff;
        load.at = 0x40_2800;
    });
    assert_eq!(far, ElfError::Truncated { part: Part::Segment(1) });
}

#[test]
fn a_dynamic_program_names_its_interpreter() {
    let mut image = Image::good();
    let path = b"/lib64/ld-linux-x86-64.so.2\0";
    image.content.extend(path);
    let offset = image.bytes().len() as u64 - path.len() as u64;
    let size = path.len() as u64;
    image.loads.insert(0, Load { kind: PT_INTERP, offset, file_size: size, ..Load::default() });
    // The table has grown, and what follows it stays where it is.
    let error = error(&image);
    assert_eq!(error, ElfError::Interpreter { path: "/lib64/ld-linux-x86-64.so.2".into() });
    assert!(error.to_string().contains("link it with -static"));
    image.loads[0].offset = u64::MAX;
    assert_eq!(self::error(&image), ElfError::Interpreter { path: String::new() });
}

#[test]
fn segments_without_bytes_are_left_out() {
    let mut image = Image::good();
    image.loads.push(Load { kind: PT_LOAD, ..Load::default() });
    assert_eq!(LoadPlan::new(&image.bytes()).unwrap().segments.len(), 2);
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(at in 0..176usize, bytes: [u8; 8], movable: bool) {
        let kind = if movable { ET_DYN } else { ET_EXEC };
        let mut file = Image { kind, ..Image::good() }.bytes();
        file[at..at + 8].copy_from_slice(&bytes);
        if let Ok(plan) = LoadPlan::new(&file) {
            for segment in &plan.segments {
                let parts = [segment.file_pages().map_or(0, |file| file.range.pages()),
                    segment.anonymous().pages()];
                assert_eq!(parts.iter().sum::<u64>(), segment.pages().pages());
            }
            assert!(plan.end_of_data() <= VirtAddr(1 << 47));
        }
    }
}
