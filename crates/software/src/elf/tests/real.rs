//! Files that a compiler made, if there is one.

use std::fs;
use std::process::Command;

use faultless_addr::{FrameNo, PAGE_SIZE, SpaceId};
use faultless_machine::Machine;

use super::*;
use crate::{Config, CpuNo, Rights, SoftwareMachine};

const CPU: CpuNo = CpuNo(0);
const SPACE: SpaceId = SpaceId(0);

/// The program that gcc makes with these options, or `None` where it can't.
fn compiled(options: &[&str]) -> Option<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let (source, program) = (dir.path().join("main.c"), dir.path().join("main"));
    let text = "static int many[5000]; int some = 7; int main(void) { return many[some]; }\n";
    fs::write(&source, text).unwrap();
    let output = Command::new("gcc").args(options).arg(&source).arg("-o").arg(&program).output();
    match output {
        Ok(output) if output.status.success() => Some(fs::read(&program).unwrap()),
        _ => {
            eprintln!("skipped: gcc {} can't be had", options.join(" "));
            None
        }
    }
}

#[test]
fn a_static_program_is_loaded_page_by_page() {
    let Some(file) = compiled(&["-static", "-no-pie"]) else { return };
    let plan = LoadPlan::new(&file).unwrap();
    assert_eq!(plan.placement, Placement::Fixed);
    assert_eq!(plan.stack, Prot::READ | Prot::WRITE);
    assert!(plan.headers.is_some());
    let bss = plan.segments.iter().any(|segment| segment.memory_size > segment.file_size + 20_000);
    assert!(bss, "the array is not in the file: {plan:x?}");
    load_and_look(&plan, &file);
}

#[test]
fn a_program_that_relocates_itself_is_loaded_where_we_like() {
    let Some(file) = compiled(&["-static-pie"]) else { return };
    let plan = LoadPlan::new(&file).unwrap().moved(0x5555_5555_4000).unwrap();
    assert!(plan.entry >= VirtAddr(0x5555_5555_4000));
    load_and_look(&plan, &file);
}

#[test]
fn a_dynamic_program_is_refused() {
    let Some(file) = compiled(&["-pie", "-fPIE"]) else { return };
    let error = LoadPlan::new(&file).unwrap_err();
    assert!(error.to_string().contains("ld-linux-x86-64.so.2"), "{error}");
}

#[test]
fn a_library_is_refused() {
    let Some(file) = compiled(&["-shared", "-fPIC"]) else { return };
    assert_eq!(LoadPlan::new(&file), Err(ElfError::Entry { entry: VirtAddr(0) }));
}

/// Loads all pages, and finds in memory what the file has.
fn load_and_look(plan: &LoadPlan, file: &[u8]) {
    let count: u64 = plan.segments.iter().map(|segment| segment.pages().pages()).sum();
    let machine = SoftwareMachine::new(Config::new(count as u32));
    let mut frames = (0..).map(FrameNo);
    for segment in &plan.segments {
        for page in 0..segment.pages().pages() {
            let (at, frame) = (segment.pages().start.plus_pages(page), frames.next().unwrap());
            machine.back(&[frame]).unwrap();
            machine.write_frame(frame, 0, &bytes_at(segment, at, file));
            machine.map_with(SPACE, at, frame, rights(segment.prot)).unwrap();
        }
    }
    for segment in &plan.segments {
        let mut bytes = vec![0; segment.memory_size as usize];
        machine.load(CPU, SPACE, segment.at, &mut bytes).unwrap();
        let start = segment.file_offset as usize;
        let (from_file, zeros) = bytes.split_at(segment.file_size as usize);
        assert!(from_file == &file[start..start + from_file.len()]);
        assert!(zeros.iter().all(|byte| *byte == 0));
    }
    machine.fetch(CPU, SPACE, plan.entry, &mut [0; 16]).unwrap();
    let headers = plan.headers.unwrap();
    let mut loaded = vec![0; headers.count * 56];
    machine.load(CPU, SPACE, headers.at, &mut loaded).unwrap();
    assert!(loaded == file[64..64 + loaded.len()]);
    machine.check_invariants();
}

/// What a page holds at first.
fn bytes_at(segment: &Segment, at: VirtAddr, file: &[u8]) -> [u8; PAGE_SIZE] {
    let mut bytes = [0; PAGE_SIZE];
    let Some(pages) = segment.file_pages().filter(|pages| pages.range.contains(at)) else {
        return bytes;
    };
    let from_file = &file[(pages.offset + (at.0 - pages.range.start.0)) as usize..];
    let len = from_file.len().min(PAGE_SIZE);
    bytes[..len].copy_from_slice(&from_file[..len]);
    let zeroed = segment.zeroed();
    if zeroed.start.page_start() == at {
        let start = (zeroed.start.0 - at.0) as usize;
        bytes[start..start + zeroed.len() as usize].fill(0);
    }
    bytes
}

fn rights(prot: Prot) -> Rights {
    let mut rights = Rights::USER;
    rights.set(Rights::WRITE, prot.contains(Prot::WRITE));
    rights.set(Rights::EXECUTE, prot.contains(Prot::EXEC));
    rights
}
