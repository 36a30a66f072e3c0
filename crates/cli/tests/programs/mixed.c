/* Maps, reads, writes and cuts a file at random, and compares with what it should be.
 *
 * mixed FILE SEED OPERATIONS: prints "ok", or what is wrong. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST (1 << 20)
#define PAGE 4096

static unsigned char model[MOST], bytes[MOST];
static long size;
static const char *path;
static int fd;
static int step;
static unsigned long state;

static unsigned random_below(unsigned n) {
    state = state * 6364136223846793005UL + 1442695040888963407UL;
    return (unsigned)(state >> 33) % n;
}

static void fail(const char *what, long at) {
    printf("step %d: %s at %ld (size %ld): errno %d\n", step, what, at, size, errno);
    exit(1);
}

static void compare(const char *what, const unsigned char *found, long start, long len) {
    for (long i = 0; i < len; i++)
        if (found[i] != model[start + i]) {
            printf("found %d, not %d\n", found[i], model[start + i]);
            fail(what, start + i);
        }
}

static void fill(long len) {
    for (long i = 0; i < len; i++) bytes[i] = (unsigned char)random_below(256);
}

/* The model does what a write does: zeros where there was nothing. */
static void put(long start, long len) {
    if (start > size) memset(model + size, 0, start - size);
    memcpy(model + start, bytes, len);
    if (start + len > size) size = start + len;
}

static void cut(long new) {
    if (new > size) memset(model + size, 0, new - size);
    size = new;
}

static unsigned char *map(int prot, int flags, long start, long len) {
    unsigned char *found = mmap(NULL, len, prot, flags, fd, start);
    if (found == MAP_FAILED) fail("mmap", start);
    return found;
}

static void by_map(long start, long len, int store) {
    long first = start / PAGE * PAGE;
    int prot = store ? PROT_READ | PROT_WRITE : PROT_READ;
    int private = !store && random_below(3) == 0;
    unsigned char *m = map(prot, private ? MAP_PRIVATE : MAP_SHARED, first, start - first + len);
    if (store) {
        fill(len);
        memcpy(m + start - first, bytes, len);
        memcpy(model + start, bytes, len);
        if (random_below(2) && msync(m, start - first + len, MS_SYNC)) fail("msync", start);
    }
    compare("a mapping", m + start - first, start, len);
    munmap(m, start - first + len);
}

static void by_child(long start, long len) {
    unsigned char *m = map(PROT_READ | PROT_WRITE, MAP_SHARED, 0, size);
    fill(len);
    pid_t child = fork();
    if (child == 0) {
        compare("a child's mapping", m + start, start, len);
        memcpy(m + start, bytes, len);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    if (status) fail("a child", start);
    memcpy(model + start, bytes, len);
    compare("a parent's mapping", m + start, start, len);
    munmap(m, size);
}

static void by_read(long start, long len) {
    ssize_t n;
    switch (random_below(4)) {
    case 0:
        n = pread(fd, bytes, len, start);
        break;
    case 1:
        if (lseek(fd, start, SEEK_SET) != start) fail("lseek", start);
        n = read(fd, bytes, len);
        if (lseek(fd, 0, SEEK_CUR) != start + len) fail("the position", start + len);
        break;
    case 2: {
        struct iovec v[3] = {{bytes, len / 2}, {NULL, 0}, {bytes + len / 2, len - len / 2}};
        n = preadv(fd, v, 3, start);
        break;
    }
    default: {
        int pipes[2];
        if (len > 60000) len = 60000;
        if (pipe(pipes)) fail("pipe", 0);
        off_t from = start;
        n = sendfile(pipes[1], fd, &from, len);
        if (n != len || from != start + len) fail("sendfile", start);
        for (long got = 0; got < len;) got += read(pipes[0], bytes + got, len - got);
        close(pipes[0]);
        close(pipes[1]);
    }
    }
    if (n != len) fail("a short read", start);
    compare("a read", bytes, start, len);
}

static void by_write(long start, long len) {
    ssize_t n;
    fill(len);
    switch (random_below(5)) {
    case 0:
        n = pwrite(fd, bytes, len, start);
        break;
    case 1:
        if (lseek(fd, start, SEEK_SET) != start) fail("lseek", start);
        n = write(fd, bytes, len);
        if (n == len && lseek(fd, 0, SEEK_CUR) != start + len) fail("the position", start);
        break;
    case 2: {
        struct iovec v[3] = {{bytes, len / 3}, {NULL, 0}, {bytes + len / 3, len - len / 3}};
        n = pwritev(fd, v, 3, start);
        break;
    }
    case 3: {
        int more = open(path, O_WRONLY | O_APPEND);
        if (size + len > MOST) { close(more); return; }
        start = size;
        n = write(more, bytes, len);
        close(more);
        break;
    }
    default: {
        int from = memfd_create("from", 0);
        if (write(from, bytes, len) != len) fail("memfd", 0);
        off_t at = 0;
        lseek(fd, start, SEEK_SET);
        n = sendfile(fd, from, &at, len);
        close(from);
    }
    }
    if (n != len) fail("a short write", start);
    put(start, len);
}

static void change_size(void) {
    long new = random_below(MOST - PAGE) + 1;
    switch (random_below(5)) {
    case 0:
        if (truncate(path, new)) fail("truncate", new);
        break;
    case 1: {
        int again = open(path, O_WRONLY | O_TRUNC);
        if (again < 0) fail("open", 0);
        cut(0);
        if (ftruncate(again, new)) fail("ftruncate", new);
        close(again);
        break;
    }
    case 2:
        if (new < size) new = size;
        if (posix_fallocate(fd, 0, new)) fail("posix_fallocate", new);
        break;
    default:
        if (ftruncate(fd, new)) fail("ftruncate", new);
    }
    cut(new);
}

static void punch(long start, long len) {
    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, start, len)) fail("punch", start);
    memset(model + start, 0, len);
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    path = argv[1];
    state = strtoul(argv[2], NULL, 10);
    int steps = atoi(argv[3]);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0) fail("open", 0);
    /* One that stays, so that the file is served all the time. */
    if (ftruncate(fd, MOST)) fail("ftruncate", MOST);
    cut(MOST);
    unsigned char *stays = map(PROT_READ | PROT_WRITE, MAP_SHARED, 0, MOST);
    for (step = 0; step < steps; step++) {
        if (size == 0) cut(0), change_size();
        long start = random_below(size), len = 1 + random_below(size - start);
        if (len > 70000 && random_below(4)) len = 1 + random_below(70000);
        switch (random_below(13)) {
        case 0: case 1: by_map(start, len, 0); break;
        case 2: case 3: by_map(start, len, 1); break;
        case 4: case 5: by_read(start, len); break;
        case 6: case 7: by_write(start, len); break;
        case 8: change_size(); break;
        case 9: punch(start, len); break;
        case 10: if (random_below(4) == 0) by_child(start, len); break;
        case 11: compare("what stays mapped", stays + start, start, len); break;
        default:
            fill(len);
            memcpy(stays + start, bytes, len);
            memcpy(model + start, bytes, len);
            if (random_below(4) == 0 && fsync(fd)) fail("fsync", 0);
        }
        struct stat stat;
        fstat(fd, &stat);
        if (stat.st_size != size) fail("the length", stat.st_size);
    }
    compare("what stays mapped", stays, 0, size);
    /* For who compares the file with it. */
    char name[4096];
    snprintf(name, sizeof name, "%s.model", path);
    int out = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (write(out, model, size) != size) fail("the model", 0);
    puts("ok");
    return 0;
}
