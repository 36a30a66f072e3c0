//! Sizes in bytes, as people write and read them.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// The suffixes, each 1024 times the one before.
const SUFFIXES: [char; 4] = ['K', 'M', 'G', 'T'];

/// A number of bytes: `4096`, `64M`, `1G`, `64MiB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// Why a text is not a size.
#[derive(Debug, PartialEq, Eq)]
pub enum NotASize {
    /// No number with a suffix known here.
    Form(String),
    /// `MB` means a million to some and 2²⁰ to others.
    Ambiguous(String),
    /// More than 2⁶⁴ − 1 bytes.
    TooBig(String),
}

impl FromStr for Size {
    type Err = NotASize;

    fn from_str(text: &str) -> Result<Size, NotASize> {
        let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
        let suffix = text[digits.len()..].to_ascii_uppercase();
        let form = || NotASize::Form(text.to_owned());
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(form());
        }
        let factor = match suffix.strip_suffix("IB").unwrap_or(&suffix) {
            "" | "B" => 1,
            letter => {
                let is_decimal = letter.len() == 2 && letter.ends_with('B');
                let known = SUFFIXES.iter().position(|suffix| letter.starts_with(*suffix));
                match (known, letter.len()) {
                    (Some(power), 1) => 1u64 << (10 * (power + 1)),
                    (Some(_), 2) if is_decimal => {
                        return Err(NotASize::Ambiguous(text.to_owned()));
                    }
                    _ => return Err(form()),
                }
            }
        };
        let number: u64 = digits.parse().map_err(|_| NotASize::TooBig(text.to_owned()))?;
        let bytes = number.checked_mul(factor);
        bytes.map(Size).ok_or_else(|| NotASize::TooBig(text.to_owned()))
    }
}

impl fmt::Display for NotASize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotASize::Form(text) => write!(
                f,
                "'{text}' is not a size: write whole bytes (4096), or K, M, G, T for powers \
                 of 1024 (64M, 1G)"
            ),
            NotASize::Ambiguous(text) => {
                let plain = text.trim_end_matches(['b', 'B']);
                write!(f, "'{text}' can be read in two ways: write {plain} for powers of 1024")
            }
            NotASize::TooBig(text) => write!(f, "'{text}' is more than 2^64 bytes"),
        }
    }
}

impl std::error::Error for NotASize {}

impl fmt::Display for Size {
    /// With a suffix and one decimal place where that is needed: `1.5 GiB`, `64 MiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let power = (self.0.max(1).ilog2() / 10).min(4);
        if power == 0 {
            return f.pad(&format!("{} B", self.0));
        }
        let unit = 1u64 << (10 * power);
        let suffix = SUFFIXES[power as usize - 1];
        let number = self.0 as f64 / unit as f64;
        let places = usize::from(!self.0.is_multiple_of(unit));
        f.pad(&format!("{number:.places$} {suffix}iB"))
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_are() {
        let cases = [
            ("4096", 4096),
            ("0", 0),
            ("4K", 4096),
            ("64M", 64 << 20),
            ("64m", 64 << 20),
            ("1G", 1 << 30),
            ("1GiB", 1 << 30),
            ("2T", 2 << 40),
            ("7B", 7),
        ];
        for (text, bytes) in cases {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
    }

    #[test]
    fn sizes_that_are_not() {
        for text in ["", "M", "-1", "1.5G", "64X", "64MM", "4 K", "é"] {
            assert!(matches!(text.parse::<Size>(), Err(NotASize::Form(_))), "{text}");
        }
        assert!(matches!("64MB".parse::<Size>(), Err(NotASize::Ambiguous(_))));
        assert!(matches!("99999999T".parse::<Size>(), Err(NotASize::TooBig(_))));
        assert!(matches!("99999999999999999999".parse::<Size>(), Err(NotASize::TooBig(_))));
    }

    #[test]
    fn sizes_as_people_read_them() {
        assert_eq!(Size(0).to_string(), "0 B");
        assert_eq!(Size(1000).to_string(), "1000 B");
        assert_eq!(Size(64 << 20).to_string(), "64 MiB");
        assert_eq!(Size(3 << 29).to_string(), "1.5 GiB");
    }
}
