//! What this machine permits, and what to change where it doesn't.

use faultless_linux::Capabilities;
use faultless_sys::ring::{Ring, RingUser};

/// How usable Faultless is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usable {
    /// All of it.
    Fully,
    /// With limits, each named by a finding.
    WithLimits,
    /// Not at all.
    Not,
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What was looked at.
    pub subject: &'static str,
    /// Is it as it should be?
    pub verdict: Usable,
    /// What was found.
    pub found: String,
    /// What to change, where something is missing.
    pub remedy: Option<String>,
}

impl Finding {
    fn good(subject: &'static str, found: String) -> Finding {
        Finding { subject, verdict: Usable::Fully, found, remedy: None }
    }
}

/// Looks at everything that Faultless needs of the system.
pub fn examine() -> Vec<Finding> {
    vec![faults(), rings(), addresses()]
}

/// The worst of the findings.
pub fn verdict(findings: &[Finding]) -> Usable {
    let has = |verdict| findings.iter().any(|finding| finding.verdict == verdict);
    match () {
        () if has(Usable::Not) => Usable::Not,
        () if has(Usable::WithLimits) => Usable::WithLimits,
        () => Usable::Fully,
    }
}

fn faults() -> Finding {
    let subject = "page faults (userfaultfd)";
    let capabilities = match Capabilities::probe() {
        Ok(capabilities) => capabilities,
        Err(error) => {
            return Finding {
                subject,
                verdict: Usable::Not,
                found: error.to_string(),
                remedy: Some("see above: permission for userfaultfd".into()),
            };
        }
    };
    let found = capabilities.to_string();
    let missing = capabilities.missing();
    if !missing.is_empty() {
        return Finding {
            subject,
            verdict: Usable::Not,
            found,
            remedy: Some(format!("needs Linux 6.8 or later: no {}", missing.join(", "))),
        };
    }
    if capabilities.is_user_mode_only() {
        return Finding {
            subject,
            verdict: Usable::WithLimits,
            found,
            remedy: Some(
                "system calls on pages that aren't in memory answer EFAULT: give this user \
                 read and write permission on /dev/userfaultfd, or pin what the kernel is given"
                    .into(),
            ),
        };
    }
    Finding::good(subject, found)
}

fn rings() -> Finding {
    let subject = "asynchronous I/O (io_uring)";
    match Ring::new(8, RingUser::OneAtATime) {
        Ok(_) => Finding::good(subject, "permitted".into()),
        Err(error) => Finding {
            subject,
            verdict: Usable::WithLimits,
            found: error.to_string(),
            remedy: Some(
                "works with plain reads, one at a time for each handler: \
                 `sysctl kernel.io_uring_disabled=0`, and a seccomp profile that lets it pass"
                    .into(),
            ),
        },
    }
}

fn addresses() -> Finding {
    let subject = "addresses (RLIMIT_AS)";
    match faultless_sys::process::address_space_limit() {
        None => Finding::good(subject, "unlimited".into()),
        Some(limit) => Finding {
            subject,
            verdict: if limit < 1 << 36 { Usable::Not } else { Usable::WithLimits },
            found: format!("{} GiB", limit >> 30),
            remedy: Some("mappings need addresses, not memory: `ulimit -v unlimited`".into()),
        },
    }
}
