/* Sums the bytes of a file by a plain pointer, under a budget of memory.
 *
 *     cc sum.c -lfaultless_c -o sum && ./sum FILE [BUDGET IN BYTES]
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faultless.h"

static int fails(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, faultless_error());
	return 1;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: %s FILE [BUDGET IN BYTES]\n", argv[0]);
		return 2;
	}
	struct faultless_vm *vm = faultless_vm_new(argc > 2 ? strtoull(argv[2], NULL, 10) : 64 << 20);
	if (vm == NULL)
		return fails("vm");
	int fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	struct stat is;
	if (fd < 0 || fstat(fd, &is) < 0) {
		perror(argv[1]);
		return 1;
	}
	size_t size = (size_t)is.st_size;
	const unsigned char *bytes =
		faultless_vm_mmap(vm, NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (bytes == MAP_FAILED)
		return fails(argv[1]);
	close(fd); /* The map has what it needs. */

	/* A plain pointer: it waits where a page has to be read. */
	unsigned long long sum = 0;
	for (size_t i = 0; i < size; i++)
		sum += bytes[i];

	/* Pinned bytes are in memory: had they not been readable, this would be EIO, no signal. */
	struct faultless_pinned *first = faultless_pin(bytes, 1);
	if (first == NULL)
		return fails("pin");
	unsigned char byte = bytes[0];
	faultless_unpin(first);

	struct faultless_stats did;
	if (faultless_stats(vm, &did) < 0)
		return fails("stats");
	printf("sum %llu, first byte %u, at most %llu of %llu pages in memory\n", sum, byte,
	       (unsigned long long)did.frames_used_max, (unsigned long long)did.frames_total);
	if (faultless_munmap((void *)bytes, size) < 0)
		return fails("munmap");
	faultless_vm_free(vm);
	return 0;
}
