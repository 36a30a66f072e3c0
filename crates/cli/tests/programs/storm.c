/* Faults as fast as it can, or now and then.
 *
 * storm FILE THREADS: touches pages at random from so many threads until its standard input
 *     ends; says "ready" once it does.
 * storm FILE: touches 200 pages, one after the other, a few milliseconds apart; says how long
 *     the slowest took, and the tenth slowest, in microseconds. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL
#define TOUCHES 200

static volatile char *at;
static size_t pages;

static long now_us(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000L + time.tv_nsec / 1000;
}

static void *storm(void *seed) {
    unsigned random = (unsigned)(size_t)seed;
    for (;;) (void)at[rand_r(&random) % pages * PAGE];
    return NULL;
}

static int longer(const void *a, const void *b) {
    long first = *(const long *)a, second = *(const long *)b;
    return (first < second) - (first > second);
}

int main(int argc, char **argv) {
    struct stat stat;
    if (argc < 2) return 64;
    int fd = open(argv[1], O_RDONLY);
    if (fd < 0 || fstat(fd, &stat)) return 2;
    pages = stat.st_size / PAGE;
    at = mmap(NULL, stat.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) return 2;
    if (argc == 3) {
        for (long n = atol(argv[2]); n > 0; n--) {
            pthread_t thread;
            if (pthread_create(&thread, NULL, storm, (void *)n)) return 2;
        }
        puts("ready");
        fflush(stdout);
        char byte;
        while (read(0, &byte, 1) > 0) {}
        /* Threads in a fault are not waited for. */
        _exit(0);
    }
    static long took[TOUCHES];
    for (size_t n = 0; n < TOUCHES; n++) {
        usleep(3000);
        long began = now_us();
        (void)at[n * (pages / TOUCHES) * PAGE];
        took[n] = now_us() - began;
    }
    qsort(took, TOUCHES, sizeof *took, longer);
    printf("%ld %ld\n", took[0], took[9]);
    return 0;
}
