/* A parent and a child that talk through a map made before the fork: of nothing, and of a
 * file.
 *
 * family [FILE] */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE 100

int main(int argc, char **argv) {
    int fd = argc > 1 ? open(argv[1], O_RDWR) : -1;
    int flags = MAP_SHARED | (argc > 1 ? 0 : MAP_ANONYMOUS);
    char *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (map == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    int told[2];
    if (pipe(told) < 0)
        return 1;
    if (fork() == 0) {
        char byte;
        if (read(told[0], &byte, 1) != 1)
            return 1;
        printf("child got a message: %s\n", map);
        strcpy(map, "hi, dad, this is son");
        munmap(map, SIZE);
        return 0;
    }
    strcpy(map, "hi, this is father");
    if (write(told[1], "", 1) != 1)
        return 1;
    wait(NULL);
    printf("parent got a message: %s\n", map);
    return 0;
}
