//! Single collections in a heap, by `allocator_api2`.

mod common;

use allocator_api2::vec::Vec as VecIn;
use common::Mmap;
use faultless_heap::{Alone, Heap, Options};
use hashbrown::{DefaultHashBuilder, HashMap};

#[test]
fn a_vector_and_a_map_live_in_it_and_leave() {
    let options = Options { capacity: 256 << 20, ..Options::DEFAULT };
    let heap: Heap<Mmap, Alone> = Heap::new(Mmap::new(), options);
    {
        let mut vector = VecIn::new_in(&heap);
        let mut map = HashMap::with_hasher_in(DefaultHashBuilder::default(), &heap);
        for number in 0..100_000u64 {
            vector.push(number);
            map.insert(number, number * number);
        }
        assert!(vector.iter().all(|number| map[number] == number * number));
        vector.truncate(10);
        vector.shrink_to_fit();
        assert_eq!(vector[9], 9);
        map.retain(|key, _| *key < 10);
        map.shrink_to_fit();
        assert_eq!(map.len(), 10);
        let stats = heap.stats();
        assert!(stats.segment_bytes > stats.free_bytes);
        heap.check_invariants();
    }
    let stats = heap.stats();
    assert_eq!((stats.free_bytes, stats.mapped_bytes), (stats.segment_bytes, 0));
}
