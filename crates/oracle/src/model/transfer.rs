//! System calls that touch the process's memory: what can't be reached is EFAULT, and
//! what could be reached before it is done.

use crate::call::{Addr, Fd, PAGE, ProcessId};
use crate::outcome::Errno;

use super::Model;
use super::allowed::{Allowed, Answer};
use super::bytes::Loose;
use super::place::TASK_END;
use super::process::Open;

impl Model {
    pub(super) fn read_into(
        &mut self,
        p: ProcessId,
        fd: Fd,
        addr: Addr,
        len: u64,
        offset: u64,
    ) -> Answer {
        let open = self.readable(p, fd, offset)?;
        is_user(addr, len)?;
        let bytes = match open {
            Open::Object(object) => self.objects[&object].read(offset, len),
            _ => Loose::exactly(vec![0; len as usize]),
        };
        match self.put_bytes(p, addr.bytes, &bytes) {
            (0, Some(_)) => Err(Errno::EFAULT),
            (done, _) => Ok(Allowed::value(done)),
        }
    }

    pub(super) fn write_from(
        &mut self,
        p: ProcessId,
        fd: Fd,
        addr: Addr,
        len: u64,
        offset: u64,
    ) -> Answer {
        if self.swallows(p, fd) {
            return Ok(Allowed::value(len));
        }
        let (object, offset) = self.writable(p, fd, offset)?;
        is_user(addr, len)?;
        let (bytes, trouble) = self.fetch_bytes(p, addr.bytes, len);
        let object = self.object_mut(object);
        object.write(offset, &bytes);
        if trouble.is_some() {
            object.begin_write(offset + bytes.len());
        }
        if trouble.is_some() && bytes.is_empty() {
            return Err(Errno::EFAULT);
        }
        Ok(Allowed::value(bytes.len()))
    }

    /// A pipe takes pages, counted from the first byte, whole or not at all.
    pub(super) fn pipe_from(&mut self, p: ProcessId, addr: Addr, len: u64) -> Answer {
        is_user(addr, len)?;
        let (bytes, trouble) = self.fetch_bytes(p, addr.bytes, len);
        match trouble {
            None => Ok(Allowed::Bytes(bytes)),
            Some(_) if bytes.len() < PAGE => Err(Errno::EFAULT),
            Some(_) => Ok(Allowed::Bytes(bytes.part(0, bytes.len() / PAGE * PAGE))),
        }
    }
}

/// Addresses that are the kernel's own are refused before anything else.
fn is_user(addr: Addr, len: u64) -> Result<(), Errno> {
    let end = addr.bytes.checked_add(len).filter(|end| *end <= TASK_END);
    end.map(drop).ok_or(Errno::EFAULT)
}
