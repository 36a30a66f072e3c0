/* Maps a memfd that has been sealed.
 *
 * sealed */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int main(void) {
    int fd = memfd_create("sealed", MFD_ALLOW_SEALING);
    char page[4096] = "what is sealed";
    if (write(fd, page, sizeof page) != sizeof page)
        return 1;
    printf("sealed: %d\n", fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK));
    char *map = mmap(NULL, sizeof page, PROT_READ, MAP_SHARED, fd, 0);
    printf("%s\n", map == MAP_FAILED ? strerror(errno) : map);
    char *stores = mmap(NULL, sizeof page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    printf("to be stored to: %s\n", stores == MAP_FAILED ? strerror(errno) : "yes");
    char *copy = mmap(NULL, sizeof page, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    copy[0] = 'W';
    printf("%s, %s\n", copy, map);
    return 0;
}
