// crowd FILE ME COUNT: one of COUNT processes that map one file; each sees what all store.
//
// Three rounds: stores to every COUNT-th page, waits for the others at a counter in the map
// itself, and reads pages of all.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define WORDS 512UL

static uint64_t value(size_t page, int round, size_t word) {
    return page * 1000003 + round * 77 + word;
}

static void meet(uint32_t *counter, uint32_t count) {
    __atomic_add_fetch(counter, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(counter, __ATOMIC_SEQ_CST) < count) usleep(1000);
}

int main(int count, char **arguments) {
    if (count != 4) return 64;
    struct stat stat;
    int fd = open(arguments[1], O_RDWR);
    if (fd < 0 || fstat(fd, &stat)) return 2;
    uint32_t me = atoi(arguments[2]), all = atoi(arguments[3]);
    size_t pages = stat.st_size / 4096;
    uint64_t *at = mmap(NULL, stat.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) return 2;
    uint32_t *counters = (uint32_t *)at;
    unsigned seed = me * 7919 + 1;
    for (int round = 0; round < 3; round++) {
        for (size_t page = 1 + me; page < pages; page += all)
            for (size_t word = 0; word < WORDS; word += 64)
                at[page * WORDS + word] = value(page, round, word);
        meet(&counters[round * 2], all);
        for (int i = 0; i < 3000; i++) {
            size_t page = 1 + rand_r(&seed) % (pages - 1), word = rand_r(&seed) % 8 * 64;
            uint64_t found = at[page * WORDS + word];
            if (found != value(page, round, word)) {
                fprintf(stderr, "crowd: %u: round %d page %zu word %zu has %lx\n", me, round, page,
                        word, (long)found);
                return 1;
            }
        }
        meet(&counters[round * 2 + 1], all);
    }
    return 0;
}
