//! Carries out a phase's work on a mapping, whoever made the mapping.

use std::sync::Mutex;
use std::thread;

use crate::model::{CHANGE_EVERY, Model, PAGE_WORDS, WORD, Wrong, changed_words};
use crate::order::part;
use crate::plan::{Access, Touches, Work};
use crate::progress::Progress;
use crate::touch::Words;

/// Accesses between two reports to the progress bar.
const REPORT_EVERY: u64 = 1024;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Loads and stores.
    pub accesses: u64,
    /// Bytes looked at or changed.
    pub bytes_touched: u64,
    /// Pages come to, each time counted.
    pub pages_touched: u64,
    /// Words that were not as they had to be.
    pub wrong: Wrong,
}

impl Done {
    fn add(&mut self, other: Done) {
        self.accesses += other.accesses;
        self.bytes_touched += other.bytes_touched;
        self.pages_touched += other.pages_touched;
        self.wrong.add(other.wrong);
    }

    fn access(&mut self, accesses: u64) {
        self.accesses += accesses;
        self.bytes_touched += WORD;
    }
}

/// How many steps `walk` will report.
pub fn steps(work: &Work, bytes: u64) -> u64 {
    match work {
        Work::Check { .. } | Work::Change { .. } => bytes.div_ceil(PAGE_WORDS * WORD),
        Work::Probe { touches, .. } | Work::Touch(touches) => touches.count,
        Work::Flush => 0,
    }
}

/// Does a phase's work by `threads` threads; a `Flush` is not for here.
pub fn walk(words: Words<'_>, bytes: u64, work: &Work, threads: u64, progress: &Progress) -> Done {
    let all = Mutex::new(Done::default());
    thread::scope(|scope| {
        for thread in 0..threads {
            let all = &all;
            scope.spawn(move || {
                let walker = Walker { words, bytes, thread, threads, progress };
                let done = match *work {
                    Work::Check { model } => walker.check(model),
                    Work::Probe { model, touches } => walker.probe(model, touches),
                    Work::Change { model } => walker.change(model),
                    Work::Touch(touches) => walker.touch(touches),
                    Work::Flush => Done::default(),
                };
                all.lock().expect("no thread panics with the lock").add(done);
            });
        }
    });
    all.into_inner().expect("no thread panics with the lock")
}

/// One thread's view of the work.
struct Walker<'a> {
    words: Words<'a>,
    bytes: u64,
    thread: u64,
    threads: u64,
    progress: &'a Progress,
}

impl Walker<'_> {
    fn check(&self, model: Model) -> Done {
        let mut done = Done::default();
        let pages = self.words.len().div_ceil(PAGE_WORDS);
        for page in part(pages, self.thread, self.threads) {
            let first = page * PAGE_WORDS;
            for word in first..(first + PAGE_WORDS).min(self.words.len()) {
                done.wrong.compare(word, self.words.load(word), model.word(word));
                done.access(1);
            }
            done.pages_touched += 1;
            self.report(page);
        }
        done
    }

    fn probe(&self, model: Model, touches: Touches) -> Done {
        let mut done = Done::default();
        for access in touches.accesses(self.bytes, self.thread, self.threads) {
            let (Access::Load(word) | Access::Increment(word)) = access;
            done.wrong.compare(word, self.words.load(word), model.word(word));
            done.access(1);
            done.pages_touched += 1;
            self.report(done.accesses);
        }
        done
    }

    /// Threads take turns with the pages, so that neighbours in the file are changed by
    /// different threads.
    fn change(&self, model: Model) -> Done {
        let after = Model { rounds: model.rounds + 1 };
        let mut done = Done::default();
        let pages = self.words.len().div_ceil(PAGE_WORDS);
        let mut turn = 0;
        for page in 0..pages {
            let mut changed = changed_words(page).peekable();
            if changed.peek().is_none() {
                continue;
            }
            turn += 1;
            if turn % self.threads != self.thread {
                continue;
            }
            for word in changed.filter(|word| *word < self.words.len()) {
                done.wrong.compare(word, self.words.load(word), model.word(word));
                self.words.store(word, after.word(word));
                done.access(2);
            }
            done.pages_touched += 1;
            self.progress.advance(CHANGE_EVERY);
        }
        done
    }

    fn touch(&self, touches: Touches) -> Done {
        let mut done = Done::default();
        for access in touches.accesses(self.bytes, self.thread, self.threads) {
            match access {
                Access::Load(word) => {
                    // A load that nothing uses could be left out by the compiler.
                    std::hint::black_box(self.words.load(word));
                }
                Access::Increment(word) => self.words.increment(word),
            }
            done.access(1);
            done.pages_touched += 1;
            self.report(done.accesses);
        }
        done
    }

    fn report(&self, nth: u64) {
        if nth % REPORT_EVERY == REPORT_EVERY - 1 {
            self.progress.advance(REPORT_EVERY);
        }
    }
}
