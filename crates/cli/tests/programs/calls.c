/* Random calls about mappings and files; prints what each came to, without addresses, so that
 * two runs of one seed say the same if they meet the same system. Its arguments are a
 * directory to write in, a seed and a number of calls.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096
#define FILES 3
#define WINDOWS 4
#define PAGES 32

static int fds[FILES], reads[FILES];
static unsigned char *windows[WINDOWS];
static uint64_t dice;
static unsigned long step;

static sigjmp_buf back;
static volatile sig_atomic_t code;
static unsigned char *volatile where;

static void caught(int signal, siginfo_t *info, void *context)
{
	(void)context;
	code = info->si_code;
	where = info->si_addr;
	siglongjmp(back, signal);
}

/* xorshift64* */
static size_t roll(size_t below)
{
	dice ^= dice >> 12, dice ^= dice << 25, dice ^= dice >> 27;
	return (size_t)((dice * 0x2545F4914F6CDD1Dull) >> 33) % below;
}

static void says(const char *what, long answer)
{
	printf("%lu %s %ld %s\n", step, what, answer, answer < 0 ? strerrorname_np(errno) : "");
}

/* Whole pages of a window. */
static unsigned char *part(size_t *len)
{
	size_t first = roll(PAGES);
	*len = (1 + roll(roll(4) ? 4 : PAGES - first)) * PAGE;
	if (first * PAGE + *len > PAGES * PAGE)
		*len = (PAGES - first) * PAGE;
	return windows[roll(WINDOWS)] + first * PAGE;
}

static void maps(void)
{
	size_t len, kind = roll(8), file = roll(FILES), only = roll(4) == 0;
	unsigned char *at = part(&len);
	off_t offset = (off_t)(roll(PAGES) * PAGE);
	int prot = only ? PROT_READ : PROT_READ | PROT_WRITE;
	int fd = only && roll(2) ? reads[file] : fds[file];
	void *mapped;
	if (kind == 0)
		mapped = mmap(at, len, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	else
		mapped = mmap(at, len - (roll(2) ? 100 : 0), prot,
			      (kind < 6 ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED, fd, offset);
	says("mmap", mapped == at ? 0 : -1);
}

static void moves(void)
{
	/* Within a window that is mapped anew, so that nothing is in the way. */
	size_t file = roll(FILES), len = (1 + roll(8)) * PAGE, more = (1 + roll(8)) * PAGE;
	unsigned char *at = windows[roll(WINDOWS)], *to = at + PAGES / 2 * PAGE;
	at = mmap(at, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fds[file], 0);
	says("mmap", at == MAP_FAILED ? -1 : 0);
	if (at == MAP_FAILED)
		return;
	void *moved = mremap(at, len, more, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	says("mremap", moved == to ? 0 : -1);
	/* The place it came from is nobody's, and might be given to others. */
	mmap(at, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
}

static void verbs(void)
{
	size_t len;
	unsigned char *at = part(&len), residency[PAGES];
	switch (roll(8)) {
	case 0: /* Unmapped, and set aside again. */
		says("munmap", munmap(at, len));
		mmap(at, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
		break;
	case 1:
		says("mprotect", mprotect(at, len, (int[]){ PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE }[roll(3)]));
		break;
	case 2:
		says("msync", msync(at, len, (int[]){ MS_SYNC, MS_ASYNC, MS_SYNC | MS_INVALIDATE }[roll(3)]));
		break;
	case 3:
		says("dontneed", madvise(at, len, MADV_DONTNEED));
		break;
	case 4:
		says("willneed", madvise(at, len, MADV_WILLNEED));
		break;
	case 5:
		says("mincore", mincore(at, len, residency));
		break;
	case 6:
		says("populate", madvise(at, len, MADV_POPULATE_READ));
		break;
	default:
		says("remove", madvise(at, len, MADV_REMOVE));
	}
}

static void touches(void)
{
	size_t at = roll(PAGES * PAGE - 8), store = roll(2), window = roll(WINDOWS);
	uint64_t value = dice;
	unsigned char *address = windows[window] + at;
	int signal = sigsetjmp(back, 1);
	if (signal) {
		printf("%lu signal %d %d at %ld\n", step, signal, (int)code, (long)(where - address));
		return;
	}
	if (store)
		memcpy(address, &value, sizeof value);
	else
		memcpy(&value, address, sizeof value);
	printf("%lu %s at %zu+%#zx %016llx\n", step, store ? "store" : "load", window, at,
	       (unsigned long long)value);
}

static void calls(void)
{
	unsigned char bytes[3 * PAGE];
	size_t file = roll(FILES), at = roll(PAGES * PAGE), len = roll(sizeof bytes);
	ssize_t done;
	uint64_t sum = 0;
	struct stat is;
	memset(bytes, 0, sizeof bytes);
	switch (roll(6)) {
	case 0:
		memset(bytes, (int)roll(256), sizeof bytes);
		says("pwrite", pwrite(fds[file], bytes, len, (off_t)at));
		break;
	case 1:
		/* From mapped memory, by the kernel. Within the file: a write behind its end that
		 * finds nothing to write makes an ext4 file longer all the same. A page to a page:
		 * else a page could be source and destination, and what is copied first be seen. */
		at = fstat(fds[file], &is) ? 0 : at % ((size_t)is.st_size + 1) / PAGE * PAGE;
		done = pwrite(fds[file], windows[roll(WINDOWS)] + roll(PAGES) * PAGE, PAGE, (off_t)at);
		printf("%lu pwrite of mapped memory at %zu: %zd\n", step, at, done);
		break;
	case 2:
		says("ftruncate", ftruncate(fds[file], (off_t)(roll(PAGES) * PAGE)));
		break;
	case 3: {
		struct iovec parts[2] = { { bytes, len / 2 }, { bytes + len / 2, len - len / 2 } };
		done = preadv(fds[file], parts, 2, (off_t)at);
		for (ssize_t i = 0; i < done; i++)
			sum = sum * 31 + bytes[i];
		printf("%lu preadv %zd %llx\n", step, done, (unsigned long long)sum);
		break;
	}
	case 4:
		says("fallocate", fallocate(fds[file], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					    (off_t)(roll(PAGES) * PAGE), PAGE * (1 + (off_t)roll(4))));
		break;
	default:
		says("fstat", fstat(fds[file], &is) ? -1 : (long)is.st_size);
	}
}

static void some(unsigned long count);

/* A child sees what its parent has, and changes what is shared. */
static void forks(void)
{
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		printf("%lu a child\n", step);
		some(20);
		fflush(stdout);
		_exit(0);
	}
	int status = -1;
	waitpid(child, &status, 0);
	printf("%lu child %d\n", step, status);
	roll(7);
}

static void some(unsigned long count)
{
	for (unsigned long end = step + count; step < end; step++) {
		size_t what = roll(64);
		if (what < 8)
			maps();
		else if (what < 10)
			moves();
		else if (what < 18)
			verbs();
		else if (what < 28)
			calls();
		else
			touches();
	}
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_sigaction = caught, .sa_flags = SA_SIGINFO };
	if (argc < 4 || chdir(argv[1]) < 0)
		return 2;
	dice = strtoull(argv[2], NULL, 10) * 2 + 1;
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	for (int n = 0; n < FILES; n++) {
		char name[16];
		snprintf(name, sizeof name, "file-%d", n);
		fds[n] = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		for (int page = 0; page < PAGES - 5 * n; page++) {
			unsigned char bytes[PAGE];
			memset(bytes, page + 50 * n, sizeof bytes);
			if (write(fds[n], bytes, sizeof bytes) != PAGE)
				return 3;
		}
		reads[n] = open(name, O_RDONLY | O_CLOEXEC);
	}
	for (int n = 0; n < WINDOWS; n++)
		windows[n] = mmap(NULL, PAGES * PAGE, PROT_NONE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	unsigned long count = strtoul(argv[3], NULL, 10);
	while (step < count) {
		some(100);
		forks();
	}
	return 0;
}
