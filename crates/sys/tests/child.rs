//! Forked children that go on in this program.

use std::io;

use faultless_sys::child::Child;

#[test]
fn both_sides_talk_and_each_has_its_own_memory() {
    let mut number = 1;
    let mut child = Child::fork(|parent| {
        let heard = parent.hear()?;
        number += 1;
        parent.say(&[&heard[..], &[number]].concat())?;
        parent.say(&[])
    })
    .unwrap();
    child.talk().say(b"hi").unwrap();
    assert_eq!(child.talk().hear().unwrap(), b"hi\x02");
    assert_eq!(child.talk().hear().unwrap(), b"");
    child.end().unwrap();
    assert_eq!(number, 1);
}

#[test]
fn a_child_that_fails_or_panics_is_an_error() {
    let failed = Child::fork(|_| Err(io::ErrorKind::Other.into())).unwrap();
    assert!(failed.end().unwrap_err().to_string().contains("status Some(1)"));
    let panicked = Child::fork(|_| std::panic::resume_unwind(Box::new(()))).unwrap();
    assert!(panicked.end().is_err());
    let mut silent = Child::fork(|_| Ok(())).unwrap();
    assert_eq!(silent.talk().hear().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    silent.end().unwrap();
}

#[test]
fn a_child_that_nobody_waits_for_is_gone() {
    let child = Child::fork(|parent| parent.hear().map(drop)).unwrap();
    let state = format!("/proc/{}/stat", child.id());
    assert!(std::fs::exists(&state).unwrap());
    drop(child);
    assert!(!std::fs::exists(&state).unwrap(), "not even as what is left to be waited for");
}
