// witness FILE: reads a file by a map until its pages can't be had any more.
//
// Every word of the file tells its place. Says "ready" when all has been read once. From the
// first SIGBUS on it reads all once more: each page is as the file, or SIGBUS; then it says
// how many were what, and the longest that an access took.
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL

static sigjmp_buf back;

static void on_bus(int signal) {
    (void)signal;
    siglongjmp(back, 1);
}

static double now_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e3 + time.tv_nsec / 1e6;
}

int main(int count, char **arguments) {
    if (count != 2) return 64;
    struct stat stat;
    int fd = open(arguments[1], O_RDWR);
    if (fd < 0 || fstat(fd, &stat)) return 2;
    size_t pages = stat.st_size / PAGE;
    volatile uint64_t *at = mmap(NULL, stat.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) return 2;
    struct sigaction action = {.sa_handler = on_bus};
    sigaction(SIGBUS, &action, NULL);
    unsigned seed = 1;
    volatile size_t right = 0, refused = 0, left = pages;
    volatile int ready = 0;
    volatile double worst = 0;
    double give_up = now_ms() + 60000;
    while (now_ms() < give_up && left > 0) {
        size_t page = refused ? pages - left : ready ? rand_r(&seed) % pages : right;
        double began = now_ms();
        if (sigsetjmp(back, 1) == 0) {
            for (size_t word = page * 512; word < (page + 1) * 512; word += 64)
                if (at[word] != word + 1) {
                    printf("page %zu has %lx\n", page, (long)at[word]);
                    return 1;
                }
            right++;
            if (refused) left--;
        } else {
            if (!refused) right = 0;
            else left--;
            refused++;
        }
        double took = now_ms() - began;
        if (took > worst) worst = took;
        if (!ready && right == pages) {
            printf("ready\n");
            fflush(stdout);
            ready = 1;
            worst = 0;
        }
    }
    if (refused && msync((void *)at, stat.st_size, MS_SYNC) == 0) {
        printf("msync says that all is well\n");
        return 1;
    }
    printf("right %zu refused %zu worst_ms %.0f\n", right, refused, worst);
    return left > 0;
}
