// vmcache (Leis et al., SIGMOD 2023), without its kernel module: optimistic reads of pages in
// anonymous memory, filled by pread(2), dropped by madvise(2). `build.sh` makes its budget a
// number of bytes, and takes from it that the first byte of a page says whether it is dirty.
#define main vmcache_main
#include "vmcache-in-bytes.cpp"
#undef main

#include "peer.hpp"

int main() {
    return peer::play([](unsigned n, uint64_t word) {
        workerThreadId = n;
        for (;;) {
            try {
                GuardO<Page> page(word / peer::page_words);
                const auto *words = reinterpret_cast<volatile uint64_t *>(page.ptr);
                const uint64_t value = words[word % peer::page_words];
                page.release();
                return value;
            } catch (const OLCRestartException &) {
            }
        }
    });
}
