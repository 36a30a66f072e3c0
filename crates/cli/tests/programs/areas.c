/* Cuts a map into many of the kernel's areas, and has threads touch neighbouring pages at the
 * same time.
 *
 * areas FILE */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGES 4096L
#define PAGE 4096
#define THREADS 8

static char *map;
static pthread_barrier_t together;
static long sums[THREADS];

static void *touch(void *of) {
    long me = (long *)of - sums;
    for (long n = me; n < PAGES; n += THREADS) {
        pthread_barrier_wait(&together);
        sums[me] += map[n * PAGE] * (n % 7 + 1);
        if (n % 16 < 8)
            map[n * PAGE + 1] = n % 89;
    }
    return NULL;
}

int main(int argc, char **argv) {
    char page[PAGE];
    pthread_t threads[THREADS];
    int fd = open(argv[argc - 1], O_RDWR | O_CREAT | O_TRUNC, 0600);
    for (int n = 0; n < PAGES; n++) {
        for (int at = 0; at < PAGE; at++)
            page[at] = (n * 31 + at / 9) % 101;
        if (write(fd, page, PAGE) != PAGE)
            return 1;
    }
    pthread_barrier_init(&together, NULL, THREADS);
    for (int kind = MAP_SHARED; kind <= MAP_PRIVATE; kind++) {
        map = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, kind, fd, 0);
        if (map == MAP_FAILED)
            return 1;
        /* Nobody's pages come before they are asked for. */
        madvise(map, PAGES * PAGE, MADV_RANDOM);
        for (long n = 0; n < PAGES; n += 2)
            madvise(map + n * PAGE, PAGE, MADV_DONTDUMP);
        for (int n = 0; n < THREADS; n++)
            pthread_create(&threads[n], NULL, touch, &sums[n]);
        long sum = 0;
        for (int n = 0; n < THREADS; n++) {
            pthread_join(threads[n], NULL);
            sum += sums[n];
        }
        for (long at = 1; at < PAGES * PAGE; at += PAGE)
            sum += map[at];
        printf("%ld\n", sum);
        munmap(map, PAGES * PAGE);
    }
    return 0;
}
