// both FILE: one process writes to a file by calls while another stores and msyncs its map.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define LEN (4UL << 20)
#define HALF (LEN / 2)

static char block[256 << 10];

int main(int argc, char **argv) {
    int fd = argc < 2 ? -1 : open(argv[1], O_RDWR | O_CREAT, 0600);
    if (fd < 0 || ftruncate(fd, LEN) < 0) return 2;
    char *at = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) return 3;
    pid_t writer = fork();
    if (writer == 0) {
        for (size_t n = 0;; n += sizeof block) {
            memset(block, (int)n, sizeof block);
            if (pwrite(fd, block, sizeof block, HALF + n % HALF) != sizeof block) _exit(1);
        }
    }
    for (int n = 0; n < 600; n++) {
        at[n * 4096UL % HALF] = (char)n;
        if (msync(at, LEN, MS_SYNC) < 0) {
            fprintf(stderr, "both: msync %d: %s\n", n, strerror(errno));
            kill(writer, SIGKILL);
            return 4;
        }
    }
    int status;
    kill(writer, SIGKILL);
    waitpid(writer, &status, 0);
    return WIFSIGNALED(status) ? 0 : 5;
}
