//! The bytes of an answer on their way: windows of mapped pages, pinned while they are sent.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use faultless::{Pinned, Vm};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, sleep_until};

use super::files::Mapped;

const PAGE: u64 = 4096;

/// Pages of a window, where the budget is large: 256 KiB.
const WINDOW_PAGES_MAX: u64 = 64;

/// The part of the budget that windows may pin: half of it, so that what is read ahead and
/// what was read before has the rest, and no pin is ever refused for want of room.
#[derive(Clone)]
pub struct Room {
    free: Arc<Semaphore>,
    pages: u64,
}

impl Room {
    /// Half the budget of `vm`.
    pub fn of(vm: &Vm) -> Room {
        let pages = (vm.stats().frames_total / 2).min(Semaphore::MAX_PERMITS as u64);
        Room { free: Arc::new(Semaphore::new(pages as usize)), pages }
    }

    /// Bytes of a window: about a 16th of the room, so that as many answers go on at a time.
    fn window(&self) -> u64 {
        (self.pages / 16).next_power_of_two().min(WINDOW_PAGES_MAX) * PAGE
    }

    /// With memory to spare, the next window is read while this one is sent. Without, other
    /// answers keep the disk busy.
    fn has_plenty(&self) -> bool {
        self.free.available_permits() as u64 > self.pages / 2
    }
}

/// Since when a connection holds windows, the oldest first.
#[derive(Clone, Default)]
pub struct Account {
    held: Arc<Mutex<VecDeque<Instant>>>,
}

impl Account {
    fn held(&self) -> MutexGuard<'_, VecDeque<Instant>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lease(&self) -> Lease {
        self.held().push_back(Instant::now());
        Lease(self.clone())
    }

    /// Returns when a window has been held for longer than `patience`: before it is twice as
    /// long.
    pub async fn overdue(&self, patience: Duration) {
        loop {
            let oldest = self.held().front().copied();
            match oldest {
                Some(since) if since.elapsed() >= patience => return,
                Some(since) => sleep_until(since + patience).await,
                None => sleep(patience).await,
            }
        }
    }
}

/// An entry of an [`Account`]. Windows go in the order in which they came.
struct Lease(Account);

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.held().pop_front();
    }
}

/// Bytes that are being sent: the mapped pages themselves. Whoever drops it unpins them, and
/// only then has the room back, and the file.
struct Window {
    pinned: Pinned,
    _room: OwnedSemaphorePermit,
    _mapped: Arc<Mapped>,
    _lease: Lease,
}

impl AsRef<[u8]> for Window {
    fn as_ref(&self) -> &[u8] {
        &self.pinned
    }
}

/// A part of a file. It ends with an error where bytes can't be read: then the connection
/// ends before the length that was told, and the client knows.
pub struct Part {
    mapped: Arc<Mapped>,
    left: Range<u64>,
    room: Room,
    account: Account,
    coming: Option<Pin<Box<dyn Future<Output = io::Result<Window>> + Send>>>,
}

impl Part {
    /// `range` of a file, which lies within it.
    pub fn new(mapped: Arc<Mapped>, range: Range<u64>, room: Room, account: Account) -> Part {
        Part { mapped, left: range, room, account, coming: None }
    }

    /// The next window: up to a multiple of its size, so that no page is in two.
    fn next(&self) -> Range<u64> {
        self.left.start..window_end(&self.left, self.room.window())
    }

    /// Waits for room, then for the disk, the latter on a thread that may.
    fn fetch(&self) -> impl Future<Output = io::Result<Window>> + Send + use<> {
        let (mapped, room, account) =
            (self.mapped.clone(), self.room.clone(), self.account.clone());
        let range = self.next();
        let after = range.end..window_end(&(range.end..self.left.end), room.window());
        let pages = range.end.div_ceil(PAGE) - range.start / PAGE;
        async move {
            let permit = room.free.clone().acquire_many_owned(pages as u32).await;
            let permit = permit.map_err(io::Error::other)?;
            let pin = move || {
                let pinned = mapped.pin(&range)?;
                if room.has_plenty() && !after.is_empty() {
                    mapped.prefetch(&after);
                }
                let lease = account.lease();
                Ok(Window { pinned, _room: permit, _mapped: mapped, _lease: lease })
            };
            tokio::task::spawn_blocking(pin).await.map_err(io::Error::other)?
        }
    }
}

/// Where a window ends that begins with `left`.
fn window_end(left: &Range<u64>, window: u64) -> u64 {
    (left.start / window * window).saturating_add(window).min(left.end)
}

impl Body for Part {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let mut coming = self.coming.take().unwrap_or_else(|| Box::pin(self.fetch()));
        match coming.as_mut().poll(context) {
            Poll::Pending => {
                self.coming = Some(coming);
                Poll::Pending
            }
            Poll::Ready(Ok(window)) => {
                self.left.start += window.pinned.len() as u64;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(window)))))
            }
            Poll::Ready(Err(error)) => {
                let at = std::mem::take(&mut self.left).start;
                eprintln!("{} is sent up to byte {at} only: {error}", self.mapped.name());
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.end - self.left.start)
    }
}

/// What an answer carries.
pub enum Content {
    /// Nothing.
    Empty,
    /// Few words.
    Text(Bytes),
    /// A part of a file.
    Part(Part),
}

impl Content {
    /// Few words.
    pub fn text(text: String) -> Content {
        Content::Text(text.into())
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Content::Empty => Poll::Ready(None),
            Content::Text(text) => {
                let text = std::mem::take(text);
                *self = Content::Empty;
                Poll::Ready(Some(Ok(Frame::data(text))))
            }
            Content::Part(part) => Pin::new(part).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Content::Empty => true,
            Content::Text(_) => false,
            Content::Part(part) => part.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Content::Empty => SizeHint::with_exact(0),
            Content::Text(text) => SizeHint::with_exact(text.len() as u64),
            Content::Part(part) => part.size_hint(),
        }
    }
}
