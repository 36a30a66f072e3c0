/* What POSIX says of mmap and its like, by Faultless and (with -DKERNEL) by the kernel: both
 * print the same lines. Its argument is a directory to write in.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faultless.h"

#ifdef KERNEL
#define map mmap
#define unmap munmap
#define sync_ msync
#define protect mprotect
#define advise madvise
#define look mincore
#define remap(old, old_size, new_size, flags) mremap(old, old_size, new_size, flags)
#else
#define map faultless_mmap
#define unmap faultless_munmap
#define sync_ faultless_msync
#define protect faultless_mprotect
#define advise faultless_madvise
#define look faultless_mincore
#define remap faultless_mremap
#endif

#define PAGE 4096

static sigjmp_buf back;
static volatile sig_atomic_t code;
static void *volatile where;

static void caught(int signal, siginfo_t *info, void *context)
{
	(void)context;
	code = info->si_code;
	where = info->si_addr;
	siglongjmp(back, signal);
}

static const char *errors(void)
{
	return strerrorname_np(errno);
}

static void says(const char *what, int answer)
{
	printf("%s: %s\n", what, answer == 0 ? "0" : errors());
}

static void tells(const char *what, void *answer)
{
	printf("%s: %s\n", what, answer == MAP_FAILED ? errors() : "mapped");
}

/* What a load at an address comes to. */
static void loads(const char *what, volatile unsigned char *at)
{
	int signal = sigsetjmp(back, 1);
	if (signal == 0)
		printf("%s: %d\n", what, *at);
	else
		printf("%s: signal %d, code %d, %s\n", what, signal, (int)code,
		       where == (void *)at ? "there" : "elsewhere");
}

static void stores(const char *what, volatile unsigned char *at, unsigned char byte)
{
	int signal = sigsetjmp(back, 1);
	if (signal == 0) {
		*at = byte;
		printf("%s: stored\n", what);
	} else {
		printf("%s: signal %d, code %d, %s\n", what, signal, (int)code,
		       where == (void *)at ? "there" : "elsewhere");
	}
}

static int file(const char *name, size_t size)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	for (size_t i = 0; i < size; i++) {
		unsigned char byte = (unsigned char)(i / 100);
		if (write(fd, &byte, 1) != 1)
			perror(name);
	}
	return fd;
}

static void errors_of_mmap(int fd)
{
	int reads = open("file", O_RDONLY | O_CLOEXEC), writes = open("file", O_WRONLY | O_CLOEXEC);
	int ends[2], dir = open(".", O_RDONLY | O_CLOEXEC);
	if (pipe(ends) < 0)
		perror("pipe");
	tells("length 0", map(NULL, 0, PROT_READ, MAP_SHARED, fd, 0));
	tells("neither shared nor private", map(NULL, PAGE, PROT_READ, 0, fd, 0));
	tells("no such descriptor", map(NULL, PAGE, PROT_READ, MAP_SHARED, 999, 0));
	tells("descriptor -1", map(NULL, PAGE, PROT_READ, MAP_PRIVATE, -1, 0));
	tells("a pipe", map(NULL, PAGE, PROT_READ, MAP_PRIVATE, ends[0], 0));
	tells("a directory", map(NULL, PAGE, PROT_READ, MAP_PRIVATE, dir, 0));
	tells("not open for reading", map(NULL, PAGE, PROT_READ, MAP_SHARED, writes, 0));
	tells("stores to what is open for reading",
	      map(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, reads, 0));
	tells("too long", map(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0x7ffffffffffff000));
	close(reads), close(writes), close(ends[0]), close(ends[1]), close(dir);
}

static void shared(int fd)
{
	unsigned char *at = map(NULL, 10000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	unsigned char pages[3], byte;
	tells("shared", at);
	loads("byte 5000", at + 5000);
	loads("byte 9999", at + 9999);
	loads("the last page's rest", at + 10000);
	stores("byte 5000", at + 5000, 200);
	says("msync", sync_(at, 10000, MS_SYNC));
	if (pread(fd, &byte, 1, 5000) == 1)
		printf("read: %d\n", byte);
	says("both kinds", sync_(at, 10000, MS_SYNC | MS_ASYNC));
	says("inside of a page", sync_(at + 1, 1, MS_SYNC));
	says("mincore", look(at, 10000, pages));
	printf("resident: %d\n", pages[1] & 1);
	says("protect", protect(at + PAGE, PAGE, PROT_READ));
	stores("where only loads are allowed", at + 5000, 1);
	loads("a load there", at + 5000);
	says("protect", protect(at + PAGE, PAGE, PROT_NONE));
	loads("where nothing is allowed", at + 5001);
	loads("beside it", at + PAGE - 1);
	says("protect", protect(at, 10000, PROT_READ | PROT_WRITE));
	says("inside of a page", protect(at + 1, 1, PROT_READ));
	says("no such advice", advise(at, PAGE, 12345));
	says("willneed", advise(at, 10000, MADV_WILLNEED));
	says("dontneed", advise(at, 10000, MADV_DONTNEED));
	loads("still there", at + 5000);
	says("length 0", unmap(at, 0));
	says("inside of a page", unmap(at + 1, PAGE));
	says("unmap", unmap(at, 10000));
	says("msync of nothing", sync_(at, 10000, MS_SYNC));
	says("mincore of nothing", look(at, PAGE, pages));
	says("unmap nothing", unmap(at, 10000));
}

static void copies(int fd)
{
	unsigned char *at = map(NULL, 10000, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0), byte;
	tells("private", at);
	loads("byte 7000", at + 7000);
	stores("byte 7000", at + 7000, 201);
	loads("byte 7000", at + 7000);
	if (pread(fd, &byte, 1, 7000) == 1)
		printf("read: %d\n", byte);
	says("msync", sync_(at, 10000, MS_SYNC));
	if (pread(fd, &byte, 1, 7000) == 1)
		printf("read: %d\n", byte);
	says("dontneed", advise(at, 10000, MADV_DONTNEED));
	loads("byte 7000", at + 7000);
	says("unmap", unmap(at, 10000));
}

static void memory(void)
{
	unsigned char *at = map(NULL, 3 * PAGE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	tells("memory", at);
	loads("zero", at + 2 * PAGE);
	stores("store", at + 2 * PAGE, 7);
	says("free", advise(at, PAGE, MADV_FREE));
	says("dontneed", advise(at + 2 * PAGE, PAGE, MADV_DONTNEED));
	loads("zero again", at + 2 * PAGE);
	for (int i = 0; i < 3; i++)
		stores("store", at + i * PAGE, (unsigned char)(i + 1));
	at = remap(at, 3 * PAGE, 5 * PAGE, MREMAP_MAYMOVE);
	tells("longer", at);
	for (int i = 0; i < 5; i++)
		loads("what is there", at + i * PAGE);
	at = remap(at, 5 * PAGE, 2 * PAGE, 0);
	tells("shorter", at);
	loads("kept", at + PAGE);
	tells("size 0", remap(at, 2 * PAGE, 0, 0));
	says("unmap the first page", unmap(at, PAGE));
	loads("the second", at + PAGE);
	says("msync of both", sync_(at, 2 * PAGE, MS_SYNC));
	says("unmap", unmap(at, 2 * PAGE));
	at = map(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	loads("no rights", at);
	says("unmap", unmap(at, PAGE));
	at = map(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	stores("loads only", at, 1);
	says("unmap", unmap(at, PAGE));
	at = map(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	tells("shared memory", at);
	stores("store", at, 9);
	loads("load", at);
	says("unmap", unmap(at, PAGE));
}

static void shrinks(int fd)
{
	unsigned char *at = map(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	tells("longer than its file", at);
	loads("the last page's rest", at + 10001);
	loads("behind it", at + 3 * PAGE);
	says("unmap", unmap(at, 4 * PAGE));
	at = map(NULL, PAGE, PROT_READ, MAP_SHARED, fd, PAGE);
	loads("the second page", at + 10);
	says("unmap", unmap(at, PAGE));
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_sigaction = caught, .sa_flags = SA_SIGINFO };
	if (argc < 2 || chdir(argv[1]) < 0)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	/* Before Faultless's own handler for SIGBUS, which passes on what isn't its. */
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
#ifndef KERNEL
	if (faultless_vm_default() == NULL) {
		fprintf(stderr, "%s\n", faultless_error());
		return 1;
	}
#endif
	int fd = file("file", 10000);
	errors_of_mmap(fd);
	shared(fd);
	copies(fd);
	memory();
	shrinks(fd);
	close(fd);
	return 0;
}
