//! Which file a program is, and whether a library can be loaded into it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// What can be done about a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The loader loads libraries into it, ours too.
    Dynamic,
    /// It has no loader.
    Static,
    /// It is for another kind of machine than we are.
    Foreign,
}

/// `PT_INTERP`: the program has a loader.
const INTERPRETER: u32 = 3;

/// How many scripts may be run by scripts.
const SCRIPTS_MAX: usize = 5;

/// The file that execvp(3) would run.
pub fn find(program: &OsStr) -> Option<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return Some(program.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|path| {
        path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    })
}

/// Looks at its first bytes; a script is what its interpreter is.
pub fn kind_of(path: &Path) -> io::Result<Kind> {
    let mut path = path.to_owned();
    for _ in 0..SCRIPTS_MAX {
        let mut file = File::open(&path)?;
        let mut head = [0; 256];
        let len = read(&mut file, &mut head)?;
        let head = &head[..len];
        match head.strip_prefix(b"#!") {
            Some(line) => path = interpreter(line),
            None => return binary(&mut file, head),
        }
    }
    // Let the kernel refuse it.
    Ok(Kind::Dynamic)
}

fn interpreter(line: &[u8]) -> PathBuf {
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let words = line.split(|byte| matches!(byte, b' ' | b'\t'));
    let first = words.into_iter().find(|word| !word.is_empty()).unwrap_or_default();
    OsStr::from_bytes(first).into()
}

/// Reads the program headers (elf(5)).
fn binary(file: &mut File, head: &[u8]) -> io::Result<Kind> {
    const HEADER: usize = 64;
    let ours = [2, if cfg!(target_endian = "little") { 1 } else { 2 }];
    if !head.starts_with(b"\x7fELF") || head.len() < HEADER {
        // A shell may know what to do with it.
        return Ok(Kind::Dynamic);
    }
    if head[4..6] != ours {
        return Ok(Kind::Foreign);
    }
    let half = |at: usize| u16::from_ne_bytes([head[at], head[at + 1]]);
    let (size, count) = (half(54), half(56));
    let mut offset = [0; 8];
    offset.copy_from_slice(&head[32..40]);
    file.seek(SeekFrom::Start(u64::from_ne_bytes(offset)))?;
    for _ in 0..count {
        let mut header = vec![0; usize::from(size).max(4)];
        file.read_exact(&mut header)?;
        if u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) == INTERPRETER {
            return Ok(Kind::Dynamic);
        }
    }
    Ok(Kind::Static)
}

fn read(file: &mut File, into: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    loop {
        match file.read(&mut into[len..])? {
            0 => return Ok(len),
            more => len += more,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_looked_for_as_shells_do() {
        assert!(find(OsStr::new("sh")).unwrap().is_absolute());
        assert_eq!(find(OsStr::new("./x/y")), Some("./x/y".into()));
        assert_eq!(find(OsStr::new("no such program, I hope")), None);
    }

    #[test]
    fn scripts_are_what_runs_them() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("script");
        std::fs::write(&script, "#! /bin/sh -e\necho\n").unwrap();
        assert_eq!(kind_of(&script).unwrap(), kind_of(Path::new("/bin/sh")).unwrap());
        std::fs::write(&script, format!("#!{}\n", script.display())).unwrap();
        assert_eq!(kind_of(&script).unwrap(), Kind::Dynamic, "in a circle");
    }

    #[test]
    fn headers_say_whether_there_is_a_loader() {
        assert_eq!(kind_of(&std::env::current_exe().unwrap()).unwrap(), Kind::Dynamic);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        let mut bytes = std::fs::read("/proc/self/exe").unwrap();
        // Without program headers there is none for a loader.
        bytes[56..58].fill(0);
        std::fs::write(&path, &bytes[..128]).unwrap();
        assert_eq!(kind_of(&path).unwrap(), Kind::Static);
        bytes[4] = 1;
        std::fs::write(&path, &bytes[..128]).unwrap();
        assert_eq!(kind_of(&path).unwrap(), Kind::Foreign);
    }
}
