/* Makes each call about mappings once or twice, forks, and runs itself again.
 *
 * traced FILE: prints "ok". The file is made 2 MiB long.
 * traced FILE again: what is run in the child, with one mapping.
 * traced FILE close: the same with all descriptors closed, each way there is, and then one
 *     call more. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE (2L << 20)
#define PAGE 4096L

static void fail(const char *what) {
    printf("%s: %s\n", what, strerror(errno));
    exit(1);
}

static char *map(int fd) {
    char *at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) fail("mmap");
    return at;
}

static void *in_a_thread(void *at) {
    if (madvise(at, SIZE, MADV_RANDOM)) fail("madvise");
    return NULL;
}

/* Closes what there is, as daemons do: by the C library's functions, by its `syscall`, and
 * past it. */
static void close_all(void) {
    for (int fd = 3; fd < 1024; fd++) close(fd);
    close_range(3, ~0U, 0);
    syscall(SYS_close_range, 3, ~0U, 0);
#ifdef __x86_64__
    long answer;
    __asm__ volatile("syscall" : "=a"(answer) : "a"(SYS_close_range), "D"(3), "S"(~0U), "d"(0)
                     : "rcx", "r11", "memory");
#endif
}

int main(int argc, char **argv) {
    if (argc < 2) return 64;
    int fd = open(argv[1], O_RDWR | O_CREAT, 0600);
    if (fd < 0 || ftruncate(fd, SIZE)) fail("open");
    char *at = map(fd);
    at[0] = 'm';
    if (argc == 3 && strcmp(argv[2], "close") == 0) {
        close_all();
        if (munmap(at, PAGE)) fail("munmap");
        return 0;
    }
    if (argc == 3) return at[PAGE] != 'c';
    if (msync(at, 2 * PAGE, MS_SYNC)) fail("msync");
    if (posix_madvise(at, PAGE, POSIX_MADV_WILLNEED)) fail("posix_madvise");
    pthread_t thread;
    pthread_create(&thread, NULL, in_a_thread, at);
    pthread_join(thread, NULL);
    at = mremap(at, SIZE, SIZE / 2, 0);
    if (at == MAP_FAILED) fail("mremap");
    char *there = at - (1L << 30);
    at = mremap(at, SIZE / 2, SIZE / 2, MREMAP_MAYMOVE | MREMAP_FIXED, there);
    if (at != there) fail("mremap to a place");
    if (mprotect(at, PAGE, PROT_READ)) fail("mprotect");
    /* What the kernel does, and what it refuses. */
    char *own = mmap(NULL, 3 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (own == MAP_FAILED) fail("mmap of memory");
    if (munmap(own, 3 * PAGE)) fail("munmap");
    if (mmap(NULL, SIZE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED) fail("PROT_EXEC");
    if (mmap(NULL, 0, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED) fail("a mapping of nothing");
    if (mmap(NULL, PAGE, PROT_READ, MAP_SHARED, 777, 0) != MAP_FAILED) fail("no descriptor");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        at[PAGE] = 'c';
        if (munmap(at, SIZE / 2)) _exit(1);
        execl("/proc/self/exe", argv[0], argv[1], "again", NULL);
        _exit(2);
    }
    int status;
    if (waitpid(child, &status, 0) != child || status) fail("the child");
    if (at[PAGE] != 'c') fail("the child's store");
    puts("ok");
    return 0;
}
