//! What is to come out: the verbs in a few lines, one after the other.

use std::vec::Vec;

use super::*;

/// The page, as everybody sees it.
pub struct Model {
    page: Page,
    file: Option<u64>,
    /// Of the parent and its child: is the page mapped, and what is stored privately?
    spaces: Vec<(bool, Option<u64>)>,
}

impl Model {
    pub fn new(page: Page, start: Start) -> Model {
        let mut model = Model { page, file: Some(FILE), spaces: std::vec![(true, None)] };
        if start == Start::Stored {
            model.store(0, BEFORE).unwrap();
        }
        model
    }

    fn load(&self, who: usize) -> Seen {
        match self.spaces[who] {
            (false, _) => Err(Signal::SegvMapErr),
            (_, Some(own)) => Ok(own),
            _ if self.page == Page::Anonymous => Ok(0),
            _ => self.file.ok_or(Signal::Bus),
        }
    }

    fn store(&mut self, who: usize, value: u64) -> Result<(), Signal> {
        self.load(who)?;
        match self.page {
            Page::Shared => self.file = Some(value),
            _ => self.spaces[who].1 = Some(value),
        }
        Ok(())
    }

    pub fn play(mut self, verbs: &[Verb]) -> End {
        let mut end = End::default();
        for verb in verbs {
            match verb {
                Verb::Fault => end.store = Some(self.store(0, NOW)),
                Verb::WriteBack | Verb::Evict => {}
                Verb::Truncate => {
                    self.file = None;
                    self.spaces.iter_mut().for_each(|(_, own)| *own = None);
                }
                Verb::Fork => self.spaces.push(self.spaces[0]),
                Verb::Unmap => self.spaces[0] = (false, None),
            }
        }
        end.parent = Some(self.load(0));
        if self.spaces.len() > 1 {
            end.child = Some(self.load(1));
            let _ = self.store(1, CHILDS);
            end.after_child = Some(self.load(0));
        }
        end.file = self.file;
        end
    }
}
