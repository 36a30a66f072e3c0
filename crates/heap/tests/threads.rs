//! Many threads at one heap, freeing what others got.

mod common;

use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::Mutex;

use common::Mmap;
use faultless_heap::{Heap, Options};

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }
}

/// Memory that is handed from thread to thread: its first and last bytes say whose.
struct Piece {
    start: NonNull<u8>,
    layout: Layout,
    mark: u8,
}

// SAFETY: a piece is the only pointer to its memory.
unsafe impl Send for Piece {}

impl Piece {
    fn new(heap: &Heap<Mmap, Mutex<()>>, layout: Layout, mark: u8) -> Piece {
        let start = heap.allocate(layout).unwrap();
        // SAFETY: the heap gave out so many bytes.
        unsafe {
            start.write(mark);
            start.add(layout.size() - 1).write(mark);
        }
        Piece { start, layout, mark }
    }

    fn free(self, heap: &Heap<Mmap, Mutex<()>>) {
        // SAFETY: the piece's memory is ours, and nobody has it afterwards.
        unsafe {
            assert_eq!(self.start.read(), self.mark);
            assert_eq!(self.start.add(self.layout.size() - 1).read(), self.mark);
            heap.deallocate(self.start, self.layout);
        }
    }
}

#[test]
fn what_one_thread_gets_another_frees() {
    const THREADS: usize = 4;
    let options = Options { capacity: 1 << 30, ..Options::DEFAULT };
    let heap: Heap<Mmap, Mutex<()>> = Heap::new(Mmap::new(), options);
    let shared = Mutex::new(Vec::<Piece>::new());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (heap, shared) = (&heap, &shared);
            scope.spawn(move || {
                let mut random = Random(thread as u64);
                for round in 0..20_000 {
                    let largest = [64, 64, 1000, 20_000, 200_000][random.below(5)];
                    let layout = Layout::from_size_align(1 + random.below(largest), 8).unwrap();
                    let piece = Piece::new(heap, layout, (round % 251) as u8);
                    let other = {
                        let mut pieces = shared.lock().unwrap();
                        pieces.push(piece);
                        let at = random.below(pieces.len());
                        (pieces.len() > 300).then(|| pieces.swap_remove(at))
                    };
                    other.into_iter().for_each(|piece| piece.free(heap));
                    if round % 1000 == 0 {
                        heap.trim();
                    }
                }
            });
        }
    });
    heap.check_invariants();
    shared.into_inner().unwrap().into_iter().for_each(|piece| piece.free(&heap));
    heap.check_invariants();
    let stats = heap.stats();
    assert_eq!((stats.free_bytes, stats.mapped_bytes), (stats.segment_bytes, 0));
}
