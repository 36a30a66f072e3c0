//! Progress bars: on stderr, and only where that is a terminal.

use std::borrow::Cow;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar, or nothing.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// None: for children, and for what is over at once.
    pub fn hidden() -> Progress {
        Progress { bar: ProgressBar::hidden() }
    }

    /// A bar over a number of steps.
    pub fn steps(what: impl Into<Cow<'static, str>>, steps: u64) -> Progress {
        let template = "{msg:24} [{bar:36}] {percent:>3} %  {eta}";
        Progress::new(ProgressBar::new(steps), template, what)
    }

    /// A bar over bytes.
    pub fn bytes(what: impl Into<Cow<'static, str>>, bytes: u64) -> Progress {
        let template = "{msg:24} [{bar:36}] {percent:>3} %  {binary_bytes_per_sec}  {eta}";
        Progress::new(ProgressBar::new(bytes), template, what)
    }

    /// For work of unknown length.
    pub fn spinner(what: impl Into<Cow<'static, str>>) -> Progress {
        let progress = Progress::new(ProgressBar::new_spinner(), "{spinner} {msg} {elapsed}", what);
        progress.bar.enable_steady_tick(std::time::Duration::from_millis(100));
        progress
    }

    fn new(bar: ProgressBar, template: &str, what: impl Into<Cow<'static, str>>) -> Progress {
        // indicatif draws nothing where stderr is not a terminal.
        let style = ProgressStyle::with_template(template).expect("the template is right");
        Progress { bar: bar.with_style(style).with_message(what) }
    }

    /// So many more.
    pub fn advance(&self, by: u64) {
        self.bar.inc(by);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
