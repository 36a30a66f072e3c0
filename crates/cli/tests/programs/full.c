/* More memory than budget and swap have: refused; and stored to, where nobody has promised it. */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define MIB (1ul << 20)

static sigjmp_buf back;

static void caught(int signal)
{
	siglongjmp(back, signal);
}

int main(void)
{
	int both = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;
	struct sigaction action = { .sa_handler = caught };
	sigaction(SIGBUS, &action, NULL);
	void *block = malloc(48 * MIB);
	if (block != NULL || errno != ENOMEM)
		return 1;
	if (mmap(NULL, 48 * MIB, both, flags, -1, 0) != MAP_FAILED || errno != ENOMEM)
		return 2;
	printf("refused\n");
	char *volatile at = mmap(NULL, 48 * MIB, both, flags | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return 3;
	volatile size_t stored = 0;
	if (sigsetjmp(back, 1) == 0)
		for (; stored < 48 * MIB; stored += 4096)
			at[stored] = (char)(stored / 4096);
	if (stored < 16 * MIB || stored == 48 * MIB)
		return 4;
	printf("SIGBUS\n");
	/* What has been stored is there, once there is room to bring it back. */
	size_t kept = stored / MIB * MIB - 4 * MIB;
	if (madvise(at + kept, 48 * MIB - kept, MADV_DONTNEED) < 0)
		return 6;
	for (size_t n = 0; n < kept; n += 4096)
		if (at[n] != (char)(n / 4096))
			return 5;
	return 0;
}
