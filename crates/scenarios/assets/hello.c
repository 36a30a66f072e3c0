/* hello: a static program without a C library, for the scenario `exec`.
 *
 * gcc -Os -static -nostdlib -fno-pie -no-pie -fno-stack-protector \
 *     -fno-asynchronous-unwind-tables -fcf-protection=none -Wl,--build-id=none -s \
 *     -o hello hello.c
 */

static const char text[] = "hello\n";
static volatile int some = 7;      /* data: a value in the file */
static volatile int many[3000]; /* bss: zeros, not in the file */

static long call(long number, long a, long b, long c)
{
    long answer;
    __asm__ volatile("syscall"
                     : "=a"(answer)
                     : "a"(number), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return answer;
}

void _start(void)
{
    many[some] = 1;
    call(1, 1, (long)text, sizeof text - 1);
    call(60, many[0], 0, 0);
}
