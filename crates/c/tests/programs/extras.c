/* What POSIX has no shape for: pins, copies, prefetch, files that grow, and errors in words.
 * Its argument is a directory to write in; it says which line isn't as it should be.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faultless.h"

#define PAGE 4096
#define PAGES 64
#define LEN (PAGES * PAGE)

#define MUST(what)                                                                         \
	do {                                                                               \
		if (!(what)) {                                                             \
			printf("line %d: %s: errno %d, %s\n", __LINE__, #what, errno,      \
			       faultless_error() ? faultless_error() : "no error");        \
			return 1;                                                          \
		}                                                                          \
	} while (0)

int main(int argc, char **argv)
{
	static unsigned char bytes[LEN], other[LEN];
	struct faultless_options options = { .memory = 1 << 20 };
	struct stat is;

	MUST(argc > 1 && chdir(argv[1]) == 0);
	MUST(faultless_error() == NULL);
	/* What makes no vm. */
	MUST(faultless_vm_new(0) == NULL && errno == EINVAL);
	MUST(strlen(faultless_error()) > 10);
	MUST(faultless_vm_build(NULL) == NULL && errno == EINVAL);
	options.policy = "unheard-of";
	MUST(faultless_vm_build(&options) == NULL && errno == EINVAL);
	MUST(strstr(faultless_error(), "s3-fifo") != NULL);
	options.policy = "clock", options.swap = 1 << 20;
	MUST(faultless_vm_build(&options) == NULL && errno == EINVAL);
	options.swap_dir = ".", options.handlers = 1;
	struct faultless_vm *vm = faultless_vm_build(&options);
	MUST(vm != NULL);

	for (int i = 0; i < LEN; i++)
		bytes[i] = (unsigned char)(i / 1000);
	int fd = open("extras", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	MUST(write(fd, bytes, LEN) == LEN);
	/* At any byte. */
	unsigned char *at = faultless_vm_mmap(vm, NULL, LEN - 100, PROT_READ | PROT_WRITE,
					      MAP_SHARED, fd, 100);
	MUST(at != MAP_FAILED);

	struct iovec ranges[2] = { { at, 5 * PAGE }, { at + 20 * PAGE, 10 } };
	MUST(faultless_prefetch(ranges, 2) == 0);
	struct faultless_pinned *pinned = faultless_pin(at + 10000, 20000);
	MUST(pinned != NULL && memcmp(at + 10000, bytes + 10100, 20000) == 0);
	faultless_unpin(pinned);
	pinned = faultless_pin_mut(at + 7, 3);
	MUST(pinned != NULL);
	memcpy(at + 7, "abc", 3);
	faultless_unpin(pinned);
	faultless_unpin(NULL);
	MUST(faultless_copy_in(at + 50000, "written", 7) == 0);
	memcpy(bytes + 107, "abc", 3), memcpy(bytes + 50100, "written", 7);
	MUST(faultless_copy_out(other, at, LEN - 100) == LEN - 100);
	MUST(memcmp(other, bytes + 100, LEN - 100) == 0);
	MUST(faultless_msync(at, LEN - 100, MS_SYNC) == 0);
	MUST(pread(fd, other, LEN, 0) == LEN && memcmp(other, bytes, LEN) == 0);

	/* Longer, where it is; and shorter. */
	MUST(faultless_resize(at, 2 * LEN - 100) == 0);
	MUST(fstat(fd, &is) == 0 && is.st_size == 2 * LEN);
	at[2 * LEN - 101] = 77;
	MUST(faultless_msync(at, 2 * LEN - 100, MS_SYNC) == 0);
	MUST(pread(fd, other, 1, 2 * LEN - 1) == 1 && other[0] == 77);
	MUST(faultless_resize(at, 3 * PAGE - 100) == 0);
	MUST(fstat(fd, &is) == 0 && is.st_size == 3 * PAGE);

	/* What others have cut off is an errno, and no signal, when it has to be read again. */
	MUST(faultless_madvise(at, 3 * PAGE - 100, MADV_DONTNEED) == 0);
	MUST(ftruncate(fd, PAGE) == 0);
	MUST(faultless_pin(at + 2 * PAGE, 1) == NULL && errno == ENXIO);
	MUST(faultless_copy_in(at + 2 * PAGE, "x", 1) == -1 && errno == ENXIO);
	MUST(faultless_munmap(at, 3 * PAGE - 100) == 0);
	MUST(faultless_pin(at, 1) == NULL && errno == ENOMEM);

	/* Private memory is locked, not pinned. */
	at = faultless_vm_mmap(vm, NULL, 4 * PAGE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned char resident[4];
	MUST(at != MAP_FAILED);
	MUST(faultless_mlock(at, 2 * PAGE) == 0);
	MUST(faultless_mincore(at, 4 * PAGE, resident) == 0);
	MUST(resident[0] && resident[1] && !resident[2] && !resident[3]);
	MUST(faultless_munlock(at, 2 * PAGE) == 0);
	MUST(faultless_pin(at, 1) == NULL && errno == EOPNOTSUPP);
	MUST(faultless_munmap(at, 4 * PAGE) == 0);

	struct faultless_stats did;
	MUST(faultless_stats(vm, &did) == 0 && did.frames_total > 200 && did.frames_total <= 256);
	MUST(did.frames_used_max <= did.frames_total && did.pages_written > 0);
	faultless_vm_free(vm);
	close(fd);
	printf("all as it should be\n");
	return 0;
}
