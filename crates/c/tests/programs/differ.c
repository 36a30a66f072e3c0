/* Random calls, each made of the kernel and of Faultless: answers, errno, signals and bytes
 * are the same. Its arguments are a directory to write in, a seed and a number of calls; it
 * prints what it did last where the two differ.
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
#include <unistd.h>

#include "faultless.h"

#define PAGE 4096
#define SLOTS 8
#define PAGES 24

enum kind { SHARED, COPY, MEMORY, KINDS };

/* One mapping in both worlds: [0] is the kernel's, [1] is Faultless's. */
struct slot {
	enum kind kind;
	unsigned char *at[2];
	size_t len;
	int fd[2];
};

static struct slot slots[SLOTS];
static struct faultless_vm *vm;
static uint64_t dice;
static char last[256];
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

static void differ(const char *what, long kernel, long ours)
{
	printf("step %lu, %s: %s is %ld of the kernel's and %ld here (%s)\n", step, last, what,
	       kernel, ours, faultless_error() ? faultless_error() : "no error");
	exit(1);
}

static void same(const char *what, long kernel, long ours)
{
	if (kernel != ours)
		differ(what, kernel, ours);
}

static void opens(struct slot *slot, size_t n)
{
	for (int world = 0; world < 2; world++) {
		char name[32];
		snprintf(name, sizeof name, "%s-%zu", world ? "ours" : "kernel", n);
		slot->fd[world] = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		for (size_t i = 0; i < PAGES * PAGE - 1000; i += 1000) {
			unsigned char bytes[1000];
			memset(bytes, (int)(n * 31 + i / 1000), sizeof bytes);
			if (write(slot->fd[world], bytes, sizeof bytes) != sizeof bytes)
				exit(3);
		}
	}
}

static void maps(struct slot *slot)
{
	int prot = (int[]){ PROT_READ, PROT_READ | PROT_WRITE, PROT_NONE }[roll(8) < 6 ? 1 : roll(3)];
	size_t pages = 1 + roll(PAGES), first = roll(PAGES);
	slot->kind = (enum kind)roll(KINDS);
	if (slot->kind == MEMORY)
		first = 0;
	else if (first + pages > PAGES)
		pages = PAGES - first;
	slot->len = pages * PAGE - (roll(2) ? roll(PAGE) : 0);
	int flags = (int[]){ MAP_SHARED, MAP_PRIVATE, MAP_PRIVATE | MAP_ANONYMOUS }[slot->kind];
	snprintf(last, sizeof last, "mmap %zu bytes, prot %d, flags %d, page %zu", slot->len, prot,
		 flags, first);
	off_t offset = (off_t)(first * PAGE);
	int none = slot->kind == MEMORY;
	slot->at[0] = mmap(NULL, slot->len, prot, flags, none ? -1 : slot->fd[0], offset);
	slot->at[1] = faultless_vm_mmap(vm, NULL, slot->len, prot, flags,
					none ? -1 : slot->fd[1], offset);
	same("it failing", slot->at[0] == MAP_FAILED, slot->at[1] == MAP_FAILED);
}

static void unmaps(struct slot *slot)
{
	snprintf(last, sizeof last, "munmap");
	same("munmap", munmap(slot->at[0], slot->len), faultless_munmap(slot->at[1], slot->len));
	slot->at[0] = NULL;
}

/* What touching a byte comes to: the byte, or a signal with its code at the place. */
static long touch(unsigned char *at, int store, unsigned char byte)
{
	int signal = sigsetjmp(back, 1);
	if (signal)
		return signal << 16 | code << 8 | (where == at ? 1 : 0);
	if (store)
		*(volatile unsigned char *)at = byte;
	return *(volatile unsigned char *)at;
}

static void touches(struct slot *slot)
{
	size_t at = roll(slot->len);
	int store = roll(2);
	unsigned char byte = (unsigned char)roll(256);
	snprintf(last, sizeof last, "%s byte %zu of kind %d", store ? "store" : "load", at, slot->kind);
	same("the access", touch(slot->at[0] + at, store, byte),
	     touch(slot->at[1] + at, store, byte));
}

/* Whole pages of it, mostly; else what leaves it or begins inside of a page. */
static void range(struct slot *slot, size_t *at, size_t *len)
{
	size_t pages = (slot->len + PAGE - 1) / PAGE;
	*at = roll(pages) * PAGE;
	*len = (1 + roll(pages - *at / PAGE)) * PAGE;
	if (roll(16) == 0)
		*at += 1;
	if (roll(4) == 0)
		*len -= roll(PAGE);
}

static void verbs(struct slot *slot)
{
	size_t at, len;
	unsigned char residency[2][PAGES + 1];
	range(slot, &at, &len);
	int world, what = (int)roll(5), answers[2], errors[2];
	int prot = (int[]){ PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE }[roll(3)];
	int flags = (int[]){ MS_SYNC, MS_ASYNC, MS_INVALIDATE, MS_SYNC | MS_ASYNC, 64 }[roll(5)];
	int advice = (int[]){ MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED,
			      MADV_DONTNEED, 4711, MADV_PAGEOUT }[roll(7)];
	snprintf(last, sizeof last, "verb %d of kind %d, %zu bytes at %zu, prot %d, flags %d, advice %d",
		 what, slot->kind, len, at, prot, flags, advice);
	for (world = 0; world < 2; world++) {
		unsigned char *p = slot->at[world] + at;
		errno = 0;
		switch (what) {
		case 0:
			answers[world] = world ? faultless_mprotect(p, len, prot) : mprotect(p, len, prot);
			break;
		case 1:
			answers[world] = world ? faultless_msync(p, len, flags) : msync(p, len, flags);
			break;
		case 2:
			answers[world] = world ? faultless_madvise(p, len, advice) : madvise(p, len, advice);
			break;
		case 3:
			answers[world] = world ? faultless_mincore(p, len, residency[1])
					       : mincore(p, len, residency[0]);
			break;
		default:
			answers[world] = 0;
		}
		errors[world] = answers[world] ? errno : 0;
	}
	same("the answer", answers[0], answers[1]);
	same("errno", errors[0], errors[1]);
}

static void grows(struct slot *slot)
{
	size_t len = (1 + roll(PAGES)) * PAGE - (roll(2) ? roll(PAGE) : 0);
	if (slot->kind != MEMORY)
		return;
	snprintf(last, sizeof last, "mremap from %zu to %zu", slot->len, len);
	unsigned char *kernel = mremap(slot->at[0], slot->len, len, MREMAP_MAYMOVE);
	unsigned char *ours = faultless_mremap(slot->at[1], slot->len, len, MREMAP_MAYMOVE);
	if (kernel == MAP_FAILED && ours != MAP_FAILED) {
		/* Parts that were advised differently are areas of their own to the kernel, and don't
		 * grow together. */
		munmap(slot->at[0], slot->len), faultless_munmap(ours, len);
		slot->at[0] = NULL;
		return;
	}
	same("it failing", kernel == MAP_FAILED, ours == MAP_FAILED);
	if (kernel == MAP_FAILED)
		return;
	slot->at[0] = kernel, slot->at[1] = ours, slot->len = len;
}

static void compares(struct slot *slot)
{
	unsigned char bytes[2][64];
	size_t at = roll(slot->len), len = roll(sizeof bytes[0]);
	if (slot->kind == MEMORY)
		return;
	/* What the file has, after msync: the same in both. */
	snprintf(last, sizeof last, "msync and pread of %zu bytes at %zu", len, at);
	same("msync", msync(slot->at[0], slot->len, MS_SYNC),
	     faultless_msync(slot->at[1], slot->len, MS_SYNC));
	ssize_t read[2];
	for (int world = 0; world < 2; world++)
		read[world] = pread(slot->fd[world], bytes[world], len, (off_t)at);
	same("pread", read[0], read[1]);
	if (read[0] > 0)
		same("the bytes", 0, memcmp(bytes[0], bytes[1], (size_t)read[0]));
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_sigaction = caught, .sa_flags = SA_SIGINFO };
	if (argc < 4 || chdir(argv[1]) < 0)
		return 2;
	dice = strtoull(argv[2], NULL, 10) * 2 + 1;
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	struct faultless_options options = { .memory = 64 * PAGE, .swap_dir = ".", .swap = 64 << 20 };
	vm = faultless_vm_build(&options);
	if (vm == NULL) {
		fprintf(stderr, "%s\n", faultless_error());
		return 1;
	}
	for (size_t n = 0; n < SLOTS; n++)
		opens(&slots[n], n);
	unsigned long calls = strtoul(argv[3], NULL, 10);
	for (step = 0; step < calls; step++) {
		struct slot *slot = &slots[roll(SLOTS)];
		size_t what = roll(16);
		if (slot->at[0] == NULL)
			maps(slot);
		else if (what == 0)
			unmaps(slot);
		else if (what == 1)
			grows(slot);
		else if (what == 2)
			compares(slot);
		else if (what < 6)
			verbs(slot);
		else
			touches(slot);
		if (slot->at[0] == MAP_FAILED)
			slot->at[0] = NULL;
	}
	printf("%lu calls, no difference\n", calls);
	return 0;
}
