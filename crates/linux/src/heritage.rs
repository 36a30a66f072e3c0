//! The machine around a fork: lent for it, and taken over or given up by the child.

use std::sync::PoisonError;

use faultless_sys::Errno;

use crate::error::NewError;
use crate::inline::Registration;
use crate::machine::LinuxMachine;

impl LinuxMachine {
    /// The next child has a copy of every page. Nothing may be under way in the machine
    /// from here until [`end_lending`](Self::end_lending) in the parent. The child calls
    /// [`adopt`](Self::adopt) or [`renounce`](Self::renounce), before anybody there
    /// touches an address: one that is absent would show zeros.
    ///
    /// An error leaves it as it was.
    pub fn lend(&self) -> Result<(), Errno> {
        let lent =
            self.arenas.iter().try_for_each(|arena| arena.lend()).and_then(|()| self.pool.lend());
        if lent.is_err() {
            self.end_lending();
        }
        lent
    }

    /// The fork is over, in the parent.
    pub fn end_lending(&self) {
        self.arenas.iter().for_each(|arena| arena.end_lending());
        self.pool.end_lending();
    }

    /// In the child, whose only thread this is: the copy is its own machine. What was
    /// protected from stores is to be protected again. After an error it is to be
    /// renounced.
    pub fn adopt(&self) -> Result<(), NewError> {
        self.arenas.iter().try_for_each(|arena| arena.adopt())?;
        self.pool.adopt()?;
        let inline = self.inline.lock().unwrap_or_else(PoisonError::into_inner);
        inline.iter().for_each(Registration::adopt);
        drop(inline);
        let marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        marks.iter().for_each(Registration::adopt);
        self.birthplace.move_here();
        Ok(())
    }

    /// In the child: every address is SIGBUS from here on.
    pub fn renounce(&self) -> Result<(), Errno> {
        self.birthplace.leave();
        self.arenas.iter().try_for_each(|arena| arena.renounce())?;
        self.pool.renounce()
    }
}
