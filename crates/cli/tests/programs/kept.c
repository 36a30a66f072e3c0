/* Private anonymous memory of all kinds, each of another length: the trace says who maps it. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define MIB (1ul << 20)

static int maps(size_t mib, int prot, int flags)
{
	char *at = mmap(NULL, mib * MIB, prot, flags | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return 0;
	if (prot & PROT_WRITE) {
		at[0] = 1;
		at[mib * MIB - 1] = 2;
	}
	return munmap(at, mib * MIB) == 0;
}

int main(void)
{
	int both = PROT_READ | PROT_WRITE;
	int all = maps(64, both, MAP_PRIVATE) && maps(65, both, MAP_PRIVATE | MAP_STACK) &&
		  maps(66, both | PROT_EXEC, MAP_PRIVATE) && maps(67, both, MAP_SHARED) &&
		  maps(68, both, MAP_PRIVATE | MAP_GROWSDOWN) &&
		  maps(69, PROT_NONE, MAP_PRIVATE | MAP_NORESERVE);
	return !all;
}
