//! mincore(2).

use crate::call::{Addr, PAGE, ProcessId, Vector};
use crate::outcome::Errno;

use super::Model;
use super::allowed::{Allowed, Answer, Residency};
use super::page::{Backing, Page};
use super::place::TASK_END;
use super::process::{is_aligned, number};

impl Model {
    pub(super) fn mincore(
        &mut self,
        process: ProcessId,
        addr: Addr,
        len: u64,
        vector: Vector,
    ) -> Answer {
        if !is_aligned(addr) {
            return Err(Errno::EINVAL);
        }
        if addr.bytes.checked_add(len).is_none_or(|end| end > TASK_END) {
            return Err(Errno::ENOMEM);
        }
        let start = number(addr);
        let mut pages = Vec::new();
        for number in start..start + len.div_ceil(PAGE) {
            let page = self.process(process).pages.get(&number).ok_or(Errno::ENOMEM)?;
            if vector == Vector::Bad {
                return Err(Errno::EFAULT);
            }
            pages.push(self.residency(page));
        }
        match vector {
            Vector::Good => Ok(Allowed::Residency(pages)),
            Vector::Bad => Ok(Allowed::DONE),
        }
    }

    fn residency(&self, page: &Page) -> Residency {
        if let Some(own) = &page.own {
            let whole = own.or_zero.iter().any(|may| *may);
            return if whole { Residency::Unsure } else { Residency::In };
        }
        match page.traits.backing {
            Backing::Anonymous | Backing::ZeroDevice => page.touched,
            Backing::Object { object, page } => {
                let object = &self.objects[&object];
                match object.pages.contains_key(&page) {
                    _ if object.is_on_disk() || object.doubtful.contains(&page) => {
                        Residency::Unsure
                    }
                    true => Residency::In,
                    false => Residency::Out,
                }
            }
        }
    }
}
