/* Writes to a mapped file up to, across and behind the length that a process may give files
 * (RLIMIT_FSIZE).
 *
 * bounded FILE: prints what each said. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

#define LIMIT (1L << 20)

static volatile sig_atomic_t signals;

static void count(int signal) {
    (void)signal;
    signals++;
}

static void say(const char *what, ssize_t answer) {
    int error = answer < 0 ? errno : 0;
    printf("%s: %zd, %s, %d signals\n", what, answer, strerror(error), (int)signals);
    signals = 0;
}

int main(int argc, char **argv) {
    static char bytes[512 << 10];
    int fd = argc < 2 ? -1 : open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || ftruncate(fd, LIMIT / 2) < 0) return 2;
    if (mmap(NULL, LIMIT, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED) return 3;
    struct rlimit limit = {LIMIT, RLIM_INFINITY};
    signal(SIGXFSZ, count);
    if (setrlimit(RLIMIT_FSIZE, &limit) < 0) return 4;

    say("up to it", pwrite(fd, bytes, 4096, LIMIT - 4096));
    say("across it", pwrite(fd, bytes, 8192, LIMIT - 4096));
    say("across it, much", pwrite(fd, bytes, sizeof bytes, LIMIT - (300 << 10)));
    say("at it", pwrite(fd, bytes, 100, LIMIT));
    say("nothing at it", pwrite(fd, bytes, 0, LIMIT));
    struct iovec parts[3] = {{bytes, 10}, {bytes, 0}, {bytes, 10}};
    say("parts across it", pwritev(fd, parts, 3, LIMIT - 15));
    say("parts up to it", pwritev(fd, parts, 3, LIMIT - 20));
    say("to the position behind it", lseek(fd, LIMIT + 1, SEEK_SET));
    say("behind it", write(fd, bytes, 1));
    say("longer", ftruncate(fd, LIMIT + 1));
    say("length", lseek(fd, 0, SEEK_END));
    say("at the end", write(fd, bytes, 1));
    int append = open(argv[1], O_WRONLY | O_APPEND);
    say("appended", write(append, bytes, 1));
    if (ftruncate(fd, LIMIT - 10) < 0) return 5;
    say("appended, across it", write(append, bytes, 100));
    say("length", lseek(fd, 0, SEEK_END));
    say("allocated", fallocate(fd, 0, LIMIT - 4096, 8192));
    say("nothing allocated", fallocate(fd, 0, LIMIT + 1, 0));
    say("allocated, as long as it is", fallocate(fd, FALLOC_FL_KEEP_SIZE, LIMIT - 4096, 8192));
    say("shorter", ftruncate(fd, LIMIT - 10));
    int whole = open(argv[1], O_RDONLY);
    off_t from = 0, to = LIMIT - 10;
    lseek(fd, to, SEEK_SET);
    // The kernel's sendfile asks for the rest as well, and has its signal for that.
    ssize_t sent = sendfile(fd, whole, &from, 100);
    signals = 0;
    say("sent", sent);
    say("sent from its end", sendfile(fd, whole, &from, 100));
    if (ftruncate(fd, LIMIT - 10) < 0) return 6;
    from = 0;
    say("copied", copy_file_range(whole, &from, fd, &to, 100, 0));
    say("copied from its end", copy_file_range(whole, &from, fd, &to, 100, 0));
    say("length", lseek(fd, 0, SEEK_END));
    limit.rlim_cur = 0;
    if (setrlimit(RLIMIT_FSIZE, &limit) < 0) return 7;
    ssize_t none = pwrite(fd, bytes, 10, 0);
    int error = errno;
    limit.rlim_cur = RLIM_INFINITY;
    if (setrlimit(RLIMIT_FSIZE, &limit) < 0) return 8;
    errno = error;
    say("with none allowed", none);
    return 0;
}
