// herd FILE CHILDREN ROUNDS SEED: children work on one file; one of them is killed, each round.
//
// A child owns every CHILDREN-th page, stores there, and does what programs do with maps:
// msync, munmap, mremap, madvise, fork, pread, pwrite. It finds on its pages what it has
// stored there. The one that is killed harms nobody. Afterwards every page of the others
// has, by a new map and by pread, what they left there.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL
#define WORDS (PAGE / 8)
#define EACH 128 // Words between those that are stored.

static int fd;
static size_t len, pages;
static unsigned children;

static void fail(const char *what) {
    fprintf(stderr, "herd: %s: %s\n", what, strerror(errno));
    _exit(2);
}

static double now_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e3 + time.tv_nsec / 1e6;
}

static uint64_t *map(void) {
    void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) fail("mmap");
    return at;
}

static uint64_t value(size_t page, uint64_t generation, size_t word) {
    return generation << 32 | page << 12 | word;
}

static int check(const uint64_t *words, size_t page, uint64_t generation, const char *by) {
    for (size_t word = 0; word < WORDS; word += EACH)
        if (words[word] != value(page, generation, word)) {
            fprintf(stderr, "herd: page %zu word %zu has %lx by %s, wants %lx\n", page, word,
                    (long)words[word], by, (long)value(page, generation, word));
            return 0;
        }
    return 1;
}

static void fill(uint64_t *words, size_t page, uint64_t generation) {
    for (size_t word = 0; word < WORDS; word += EACH) words[word] = value(page, generation, word);
}

// Works for so long; the generations are left where the parent reads them.
static int work(unsigned me, uint64_t *generations, uint64_t first, int ms, unsigned seed) {
    uint64_t *at = map();
    double end = now_ms() + ms;
    size_t mine = pages / children;
    for (size_t i = 0; i < mine; i++) {
        size_t page = i * children + me;
        generations[page] = first;
        fill(at + page * WORDS, page, first);
    }
    while (now_ms() < end) {
        double began = now_ms();
        size_t page = rand_r(&seed) % mine * children + me;
        uint64_t *words = at + page * WORDS;
        if (!check(words, page, generations[page], "map")) return 1;
        if (rand_r(&seed) % 3 == 0) fill(words, page, ++generations[page]);
        uint64_t block[WORDS] = {0};
        switch (rand_r(&seed) % 200) {
        case 0:
            munmap(at, len);
            at = map();
            break;
        case 1:
            if (msync(at, len, MS_SYNC)) fail("msync");
            break;
        case 2:
            madvise(at, len, MADV_DONTNEED);
            break;
        case 3: {
            void *to = (void *)(0x100000000000UL + (1UL << 36) * (rand_r(&seed) % 64));
            if (to == at) break;
            at = mremap(at, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to);
            if (at == MAP_FAILED) fail("mremap");
            break;
        }
        case 4: {
            pid_t child = fork();
            if (child == 0) {
                for (size_t i = 0; i < mine; i += 7) {
                    size_t other = i * children + me;
                    if (!check(at + other * WORDS, other, generations[other], "child")) _exit(1);
                }
                _exit(0);
            }
            int status;
            if (waitpid(child, &status, 0) != child || status) return 1;
            break;
        }
        case 5:
            if (pread(fd, block, PAGE, page * PAGE) != (ssize_t)PAGE) fail("pread");
            if (!check(block, page, generations[page], "pread")) return 1;
            break;
        case 6:
            fill(block, page, generations[page] + 1);
            if (pwrite(fd, block, PAGE, page * PAGE) != (ssize_t)PAGE) fail("pwrite");
            generations[page]++;
            break;
        }
        double took = now_ms() - began;
        if (took > 5000) {
            fprintf(stderr, "herd: a step took %.0f ms\n", took);
            return 1;
        }
    }
    return 0;
}

static int round_of(uint64_t *generations, uint64_t first, unsigned *seed) {
    pid_t pids[64];
    unsigned victim = rand_r(seed) % children;
    for (unsigned me = 0; me < children; me++) {
        unsigned its = rand_r(seed);
        int ms = me == victim ? 60000 : 100 + rand_r(seed) % 200;
        pids[me] = fork();
        if (pids[me] < 0) fail("fork");
        if (pids[me] == 0) _exit(work(me, generations, first, ms, its));
    }
    usleep(rand_r(seed) % 250000);
    kill(pids[victim], SIGKILL);
    int good = 1;
    for (unsigned me = 0; me < children; me++) {
        int status;
        if (waitpid(pids[me], &status, 0) != pids[me]) fail("waitpid");
        if (me == victim ? !WIFSIGNALED(status) : status != 0) {
            fprintf(stderr, "herd: child %u of %u ended with status %x\n", me, children, status);
            good = 0;
        }
    }
    uint64_t *at = map();
    for (size_t page = 0; page < pages / children * children && good; page++) {
        uint64_t block[WORDS];
        if (page % children == victim) continue;
        if (pread(fd, block, PAGE, page * PAGE) != (ssize_t)PAGE) fail("pread");
        good = check(at + page * WORDS, page, generations[page], "a new map") &&
               check(block, page, generations[page], "pread at last");
    }
    munmap(at, len);
    return good;
}

int main(int count, char **arguments) {
    if (count != 5) return 64;
    struct stat stat;
    fd = open(arguments[1], O_RDWR);
    if (fd < 0 || fstat(fd, &stat)) fail(arguments[1]);
    len = stat.st_size;
    pages = len / PAGE;
    children = atoi(arguments[2]);
    unsigned rounds = atoi(arguments[3]), seed = atoi(arguments[4]);
    if (children == 0 || children > 64) return 64;
    uint64_t *generations = mmap(NULL, pages * sizeof *generations, PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (generations == MAP_FAILED) fail("mmap");
    for (unsigned round = 0; round < rounds; round++)
        if (!round_of(generations, 1 + (uint64_t)round * 100000, &seed)) {
            fprintf(stderr, "herd: in round %u\n", round);
            return 1;
        }
    return 0;
}
