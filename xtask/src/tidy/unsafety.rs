//! `unsafe` lives in few files, and each use has its proof beside it.

use super::repo::File;
use super::{Repo, Violation};

/// Where `unsafe` may be: directories (ending in `/`) and files.
const ALLOWED: &[&str] = &[
    "crates/sys/",
    "crates/linux/",
    "crates/runtime/src/io.rs",
    "crates/faultless/src/bytes.rs",
    "crates/measure/src/touch.rs",
    // An allocator that counts; faults without anything around them.
    "crates/bench/src/allocations.rs",
    "crates/bench/src/bare.rs",
    // Memory of a `Vm` as what allocators give out: where the heap's comes from, and the
    // two traits of those who ask. What is mapped and paid (`mappings.rs`) needs none.
    "crates/faultless/src/heap/pages.rs",
    "crates/faultless/src/heap/collections.rs",
    "crates/faultless/src/heap/global.rs",
    // An allocator promises the compiler what only `unsafe impl` can say. Its
    // decisions (`class.rs`, `blocks.rs`) need none.
    "crates/heap/src/pages.rs",
    "crates/heap/src/lock.rs",
    "crates/heap/src/segment.rs",
    "crates/heap/src/runs.rs",
    "crates/heap/src/heap.rs",
    "crates/heap/src/resize.rs",
    "crates/heap/src/global.rs",
    "crates/heap/src/allocator.rs",
    // Functions in the place of the C library's, or in its shapes: callers answer for addresses.
    "crates/preload/",
    "crates/preload-heap/",
    "crates/c/",
    // The client's memory of its own, its lock, its descriptors, its tally, and mapping calls.
    "crates/client/src/array.rs",
    "crates/client/src/enter.rs",
    "crates/client/src/descriptor.rs",
    "crates/client/src/board.rs",
    "crates/client/src/kernel.rs",
    "crates/client/src/source.rs",
    "crates/client/src/map.rs",
    "crates/client/src/mapping.rs",
    "crates/client/src/advice.rs",
    "crates/client/src/fork.rs",
    "crates/client/src/own.rs",
    "crates/client/src/trace/sink.rs",
    // Where a program without std begins and ends, and its memory.
    "crates/bare/src/platform.rs",
    "crates/bare/src/allocator.rs",
    // Children that make raw system calls, loads and stores at any address.
    "crates/oracle/src/kernel/raw/",
];

/// Crates that say `deny` for all but their allowed files; those that need
/// no attribute are allowed as directories; every other crate says `forbid`.
const DENY: &[&str] = &[
    "crates/runtime",
    "crates/faultless",
    "crates/measure",
    "crates/bench",
    "crates/heap",
    "crates/oracle",
    "crates/bare",
    "crates/client",
];

/// Its public functions may be `unsafe` to call, in any file.
const DECLARES: &str = "crates/faultless/";

pub fn check(repo: &Repo) -> Vec<Violation> {
    let attributes = repo.packages().flat_map(|package| check_package(repo, package));
    let files = repo.rust_files().flat_map(|file| {
        let mut violations = check_place(file);
        violations.extend(check_proofs(file));
        violations
    });
    attributes.chain(files).collect()
}

fn check_package(repo: &Repo, package: &str) -> Vec<Violation> {
    if is_allowed(&format!("{package}/src/lib.rs")) {
        return Vec::new();
    }
    let level = if DENY.contains(&package) { "deny" } else { "forbid" };
    let roots = repo.rust_files().filter(|file| is_root(package, &file.path));
    roots
        .filter(|file| !file.lexed.has_inner_attribute(level, "unsafe_code"))
        .map(|file| {
            let message = format!("say #![{level}(unsafe_code)] at the head of this crate");
            Violation::new(&file.path, 1, message)
        })
        .collect()
}

fn is_root(package: &str, path: &str) -> bool {
    let inside = path.strip_prefix(package).unwrap_or_default();
    matches!(inside, "/src/lib.rs" | "/src/main.rs") || inside.starts_with("/src/bin/")
}

fn is_allowed(path: &str) -> bool {
    ALLOWED.iter().any(|allowed| match allowed.ends_with('/') {
        true => path.starts_with(allowed),
        false => path == *allowed,
    })
}

fn check_place(file: &File) -> Vec<Violation> {
    // A test may have to be unsafe to say what the code must bear; a module of
    // tests inside a crate need not.
    let is_outside = ["/tests/", "/benches/", "/examples/"];
    let is_outside =
        is_outside.iter().any(|dir| file.path.contains(dir)) && !file.path.contains("/src/");
    if is_allowed(&file.path) || is_outside {
        return Vec::new();
    }
    let lexed = &file.lexed;
    let declares = |index| file.path.starts_with(DECLARES) && lexed.reads(index, &["unsafe", "fn"]);
    let uses = lexed.find(&["unsafe"]).filter(|index| !declares(*index)).map(|index| {
        let message = format!(
            "unsafe code is not for this file: put it behind a safe function in one of {ALLOWED:?}"
        );
        Violation::new(&file.path, lexed.tokens[index].line, message)
    });
    let allows = lexed
        .find(&["allow", "(", "unsafe_code", ")"])
        .filter(|_| !file.path.starts_with(DECLARES))
        .map(|index| {
            let message = "this file must not allow unsafe code: take the attribute out";
            Violation::new(&file.path, lexed.tokens[index].line, message)
        });
    uses.chain(allows).collect()
}

fn check_proofs(file: &File) -> Option<Violation> {
    let lexed = &file.lexed;
    // The type of a pointer to an unsafe function does nothing unsafe.
    let is_type = |index: &usize| {
        lexed.reads(*index, &["unsafe", "fn", "("])
            || lexed.reads(*index, &["unsafe", "extern", "fn", "("])
    };
    let uses: Vec<usize> = lexed.find(&["unsafe"]).filter(|index| !is_type(index)).collect();
    let count = |words: &str| lexed.comments.matches(words).count();
    let proofs = count("SAFETY:") + count("# Safety");
    if uses.len() <= proofs {
        return None;
    }
    let message = format!(
        "{} uses of unsafe in this file and {proofs} comments `SAFETY:` or `# Safety`: \
         write why each use is sound",
        uses.len()
    );
    Some(Violation::new(&file.path, lexed.tokens[uses[0]].line, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        check(&Repo::of([(path, text)])).iter().map(Violation::to_string).collect()
    }

    #[test]
    fn unsafe_code_in_its_place_with_its_proof_passes() {
        let text = "// SAFETY: 1. it is mapped.\nunsafe { f() }\n\
                    /// # Safety\n/// Like f.\npub unsafe fn g() {}\n\
                    type F = unsafe extern \"C\" fn(); type G = unsafe fn();";
        for path in ["crates/sys/src/a.rs", "crates/runtime/src/io.rs", "crates/engine/tests/a.rs"]
        {
            assert_eq!(found(path, text), [""; 0], "{path}");
        }
    }

    #[test]
    fn unsafe_code_elsewhere_is_found() {
        let text = "//! x\n\n// SAFETY: none.\nfn f() { unsafe { g() } }";
        for path in
            ["crates/engine/src/a.rs", "crates/runtime/src/a.rs", "crates/engine/src/a/tests.rs"]
        {
            let found = found(path, text);
            assert_eq!(found.len(), 1, "{path}");
            assert!(found[0].starts_with(&format!("{path}:4: unsafe code is not for")));
        }
    }

    #[test]
    fn a_word_in_a_comment_or_string_is_not_code() {
        let text = "// unsafe\nlet x = \"unsafe\"; deny(unsafe_code); /* unsafe */";
        assert_eq!(found("crates/engine/src/a.rs", text), [""; 0]);
    }

    #[test]
    fn a_missing_proof_is_found() {
        let text = "// SAFETY: a.\nunsafe { f() }\nunsafe { \"SAFETY:\" }";
        let found = found("crates/linux/src/a.rs", text);
        assert!(found[0].contains("2 uses of unsafe in this file and 1 comments"), "{found:?}");
    }

    #[test]
    fn the_api_may_declare_what_it_may_not_do() {
        let path = "crates/faultless/src/map.rs";
        let declaration = "/// # Safety\n/// x\n#[allow(unsafe_code)]\npub unsafe fn f() {}";
        assert_eq!(found(path, declaration), [""; 0]);
        assert_eq!(found(path, "// SAFETY: x\nfn f() { unsafe { g() } }").len(), 1);
        assert_eq!(found("crates/faultless/src/bytes.rs", "// SAFETY: x\nunsafe { g() }"), [""; 0]);
    }

    #[test]
    fn each_crate_says_its_level() {
        let check_level = |package: &str, text: &str| {
            let manifest = format!("crates/{package}/Cargo.toml");
            let lib = format!("crates/{package}/src/lib.rs");
            let repo = Repo::of([(manifest, String::new()), (lib, text.to_owned())]);
            check(&repo).len()
        };
        let (forbid, deny) = ("#![forbid(unsafe_code)]", "#![deny(unsafe_code)]");
        assert_eq!((check_level("engine", forbid), check_level("engine", deny)), (0, 1));
        assert_eq!((check_level("runtime", forbid), check_level("runtime", deny)), (1, 0));
        assert_eq!(check_level("sys", ""), 0);
        assert_eq!(check_level("engine", "// #![forbid(unsafe_code)]"), 1);
    }

    #[test]
    fn only_listed_files_may_allow_it() {
        let text = "#![allow(unsafe_code)]";
        assert_eq!(found("crates/runtime/src/io.rs", text), [""; 0]);
        assert_eq!(found("crates/runtime/src/other.rs", text).len(), 1);
    }
}
