//! pread(2), pwrite(2), copy_file_range(2), and what write(2) gives to a pipe: between
//! files, the kernel's memory and a program's.

use faultless_addr::PAGE_SIZE;

use crate::errno::Errno;
use crate::flags::OpenFlags;
use crate::process::{Open, Pid};
use crate::system::System;
use crate::user::is_user;

use super::files::SIZE_MAX;

impl System {
    /// What can be read from, at an offset.
    fn readable(&self, pid: Pid, fd: i32, offset: u64) -> Result<Open, Errno> {
        let descriptor = self.process(pid).descriptor(fd);
        if offset > SIZE_MAX {
            return Err(Errno::EINVAL);
        }
        let descriptor = descriptor?;
        match descriptor.open {
            Open::Pipe => Err(Errno::ESPIPE),
            _ if !descriptor.reads() => Err(Errno::EBADF),
            Open::Directory => Err(Errno::EISDIR),
            // Drivers here have neither a read nor a write.
            Open::Device(_) => Err(Errno::EINVAL),
            open => Ok(open),
        }
    }

    /// What can be written to, and where a write goes.
    fn writable(&self, pid: Pid, fd: i32, offset: u64) -> Result<(Open, u64), Errno> {
        let descriptor = self.process(pid).descriptor(fd);
        if offset > SIZE_MAX {
            return Err(Errno::EINVAL);
        }
        let descriptor = descriptor?;
        let open = descriptor.open;
        match open {
            Open::Pipe => Err(Errno::ESPIPE),
            _ if !descriptor.writes() => Err(Errno::EBADF),
            Open::Object(object) if self.file(object).sealed => Err(Errno::EPERM),
            Open::Object(object) if descriptor.flags.contains(OpenFlags::APPEND) => {
                Ok((open, self.file(object).size))
            }
            Open::Directory | Open::Device(_) => Err(Errno::EINVAL),
            Open::Object(_) | Open::Zero => Ok((open, offset)),
        }
    }

    fn read_open(&mut self, open: Open, offset: u64, len: u64) -> Result<Vec<u8>, Errno> {
        match open {
            Open::Object(object) => self.read_object(object, offset, len),
            _ => Ok(vec![0; len as usize]),
        }
    }

    /// pread(2) into the kernel's memory.
    pub fn pread(&mut self, pid: Pid, fd: i32, len: u64, offset: u64) -> Result<Vec<u8>, Errno> {
        let open = self.readable(pid, fd, offset)?;
        self.read_open(open, offset, len)
    }

    /// pwrite(2) from the kernel's memory.
    pub fn pwrite(&mut self, pid: Pid, fd: i32, bytes: &[u8], offset: u64) -> Result<u64, Errno> {
        if !self.swallows(pid, fd)
            && let (Open::Object(object), offset) = self.writable(pid, fd, offset)?
        {
            return self.write_object(object, offset, bytes);
        }
        Ok(bytes.len() as u64)
    }

    /// `/dev/zero` takes what is written, wherever, and does not look at it.
    fn swallows(&self, pid: Pid, fd: i32) -> bool {
        let descriptor = self.process(pid).descriptor(fd);
        descriptor.is_ok_and(|found| found.open == Open::Zero && found.writes())
    }

    /// pread(2) into a program's memory.
    pub fn read_into(
        &mut self,
        pid: Pid,
        fd: i32,
        addr: u64,
        len: u64,
        offset: u64,
    ) -> Result<u64, Errno> {
        let open = self.readable(pid, fd, offset)?;
        is_user(addr, len)?;
        let bytes = self.read_open(open, offset, len)?;
        match self.copy_out(pid, addr, &bytes) {
            (0, Some(signal)) => Err(signal.trouble.errno()),
            (done, _) => Ok(done as u64),
        }
    }

    /// pwrite(2) from a program's memory.
    pub fn write_from(
        &mut self,
        pid: Pid,
        fd: i32,
        addr: u64,
        len: u64,
        offset: u64,
    ) -> Result<u64, Errno> {
        if self.swallows(pid, fd) {
            return Ok(len);
        }
        let (open, offset) = self.writable(pid, fd, offset)?;
        is_user(addr, len)?;
        let mut bytes = vec![0; len as usize];
        let (done, trouble) = self.copy_in(pid, addr, &mut bytes);
        if let Open::Object(object) = open {
            let written = self.write_object(object, offset, &bytes[..done])?;
            if written < done as u64 {
                return Ok(written);
            }
            if trouble.is_some() {
                self.begin_write(object, offset + done as u64);
            }
        }
        match trouble {
            Some(signal) if done == 0 => Err(signal.trouble.errno()),
            _ => Ok(done as u64),
        }
    }

    /// What is left of a write that got no further than this: since Linux 6.16 the page
    /// is made before the bytes are looked for, and the file ends there if it was shorter.
    fn begin_write(&mut self, object: faultless_addr::ObjectId, offset: u64) {
        if offset > self.file(object).size {
            self.resize(object, offset);
        }
        let page = offset / PAGE_SIZE as u64;
        self.file_mut(object).touched.insert(page);
    }

    /// write(2) from a program's memory to an empty pipe; answers with the bytes that
    /// come out of it. It takes pages, counted from the first byte, whole or not at all.
    pub fn pipe_from(&mut self, pid: Pid, addr: u64, len: u64) -> Result<Vec<u8>, Errno> {
        is_user(addr, len)?;
        let mut bytes = vec![0; len as usize];
        let (done, trouble) = self.copy_in(pid, addr, &mut bytes);
        match trouble {
            None => Ok(bytes),
            Some(signal) if done < PAGE_SIZE => Err(signal.trouble.errno()),
            Some(_) => {
                bytes.truncate(done / PAGE_SIZE * PAGE_SIZE);
                Ok(bytes)
            }
        }
    }

    /// copy_file_range(2).
    pub fn copy_range(
        &mut self,
        pid: Pid,
        from: (i32, u64),
        to: (i32, u64),
        len: u64,
    ) -> Result<u64, Errno> {
        let Open::Object(source) = self.readable(pid, from.0, from.1)? else {
            return Err(Errno::EINVAL);
        };
        let (Open::Object(target), offset) = self.writable(pid, to.0, to.1)? else {
            return Err(Errno::EINVAL);
        };
        let bytes = self.read_object(source, from.1, len)?;
        self.write_object(target, offset, &bytes)
    }
}
