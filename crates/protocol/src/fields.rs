//! A message as eight numbers, the first of which says what it is.

use crate::{MESSAGE_BYTES, Malformed};

/// The numbers of a message.
pub type Fields = [u64; MESSAGE_BYTES / 8];

/// As bytes, the lowest of each number first.
pub fn to_bytes(fields: Fields) -> [u8; MESSAGE_BYTES] {
    let mut bytes = [0; MESSAGE_BYTES];
    for (chunk, field) in bytes.chunks_exact_mut(8).zip(fields) {
        chunk.copy_from_slice(&field.to_le_bytes());
    }
    bytes
}

/// From bytes that somebody else has sent.
pub fn from_bytes(bytes: &[u8]) -> Result<Fields, Malformed> {
    if bytes.len() != MESSAGE_BYTES {
        return Err(Malformed::Length(bytes.len()));
    }
    let mut fields = Fields::default();
    for (field, chunk) in fields.iter_mut().zip(bytes.chunks_exact(8)) {
        *field = chunk.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
    }
    Ok(fields)
}

/// A number that has 32 bits at most, signed.
pub fn int(field: u64) -> Result<i32, Malformed> {
    i32::try_from(field as i64).map_err(|_| Malformed::Value(field))
}

/// As a field.
pub fn from_int(value: i32) -> u64 {
    i64::from(value) as u64
}
