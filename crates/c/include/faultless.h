/* Faultless for C: files far bigger than memory by plain pointers, under a memory budget that
 * holds. Made of the comments in crates/c/src: change them, and run `cargo xtask header`.
 *
 * Functions answer as those of POSIX do: MAP_FAILED, NULL or -1, and errno says why;
 * faultless_error() says it in words. They may be called by any thread.
 */

#ifndef FAULTLESS_H
#define FAULTLESS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>

/*
 Bytes that are in memory and stay there.
 */
struct faultless_pinned;

/*
 A budget of memory. All that is mapped in it holds no more than that.
 */
struct faultless_vm;

/*
 How a vm is to be. What is 0 or NULL is left to Faultless.
 */
struct faultless_options {
  /*
   The budget in bytes. It has to be said.
   */
  uint64_t memory;
  /*
   The directory of the swap file, for anonymous memory and private copies beyond the
   budget; the file has no name there.
   */
  const char *swap_dir;
  /*
   How long the swap file may be.
   */
  uint64_t swap;
  /*
   Who leaves first: "two-list", "clock", "sieve" or "s3-fifo".
   */
  const char *policy;
  /*
   Threads that serve faults.
   */
  uint32_t handlers;
};

/*
 What a vm has done and holds, in pages of 4096 bytes.
 */
struct faultless_stats {
  /*
   Faults that had to read.
   */
  uint64_t faults_major;
  /*
   Faults on pages that were held already.
   */
  uint64_t faults_minor;
  /*
   Pages that were read because somebody waited for them.
   */
  uint64_t pages_demanded;
  /*
   Pages that were read ahead.
   */
  uint64_t pages_ahead;
  /*
   Pages that were written.
   */
  uint64_t pages_written;
  /*
   Pages that left memory.
   */
  uint64_t evictions;
  /*
   Reads that failed.
   */
  uint64_t read_errors;
  /*
   Writes that failed.
   */
  uint64_t write_errors;
  /*
   The budget.
   */
  uint64_t frames_total;
  /*
   Pages held now.
   */
  uint64_t frames_used;
  /*
   The most that were held at a time.
   */
  uint64_t frames_used_max;
  /*
   Pages that differ from their file, or from swap.
   */
  uint64_t pages_dirty;
  /*
   Pages in swap.
   */
  uint64_t swap_used;
};

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/*
 What went wrong in this thread's last call that failed, in a sentence that says what to do
 about it; NULL if none has failed. It stays as it is until the next one that fails.
 */
const char *faultless_error(void);

/*
 Maps a file, or memory, as mmap(2) does, in the default vm.

 The address is Faultless's choice: `addr` is not looked at. Unlike mmap(2):
 - `offset` may be any byte of the file; what is answered is the address of that byte.
 - `length` may be more than the file has; what lies behind its last page is SIGBUS, until
   the file is made longer.
 - Shared maps of one file have the same addresses, and so the same rights: those that one
   of them asked for. Each is unmapped by a munmap of its own.
 - Private writable memory has room in the budget and the swap file from the beginning, or
   is ENOMEM; MAP_NORESERVE maps a file without, and a store for whose copy there is no
   room is SIGBUS.
 - MAP_FIXED, MAP_FIXED_NOREPLACE, MAP_32BIT, MAP_GROWSDOWN and MAP_HUGETLB are EOPNOTSUPP,
   PROT_EXEC is EPERM. Pipes, ttys and directories are ENODEV.

 Answers MAP_FAILED and sets errno where it can't be.
 */
void *faultless_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset);

/*
 As `faultless_mmap`, in `vm`; with NULL, in the default vm.

 The caller's promise:
 `vm` is NULL or alive.
 */
void *faultless_vm_mmap(const struct faultless_vm *vm,
                        void *_addr,
                        size_t length,
                        int prot,
                        int flags,
                        int fd,
                        off_t offset);

/*
 Unmaps pages as munmap(2) does; `addr` begins a page, or is what mmap answered. What was
 stored to a file is written, sooner or later; to hear of errors, msync first. Of private
 memory that is unmapped in part, the addresses are kept until all of it is.

 The caller's promise:
 Nothing in the range is used any more.
 */
int faultless_munmap(void *addr, size_t length);

/*
 Makes a mapping longer or shorter, as mremap(2) does; `old_size` is all of it, unless it
 becomes shorter. Anonymous memory grows where `flags` are MREMAP_MAYMOVE; shared maps of
 files grow in place, as far as addresses are reserved (writable ones: 1 GiB and more).
 Other flags are EOPNOTSUPP. Answers MAP_FAILED and sets errno where it can't be.

 The caller's promise:
 What was at the old addresses isn't used by them any more, where the answer is others.
 */
void *faultless_mremap(void *old_address, size_t old_size, size_t new_size, int flags);

/*
 Brings `length` bytes of a shared map in and holds them in memory until `faultless_unpin`:
 they can be read at `addr` without a fault, and without a signal. NULL and errno where they
 can't be had: EIO where a read failed, ENOMEM where other pins leave no room in the budget.
 */
struct faultless_pinned *faultless_pin(const void *addr, size_t length);

/*
 As `faultless_pin`, for bytes that are going to be changed: they count as changed when they
 are let go.
 */
struct faultless_pinned *faultless_pin_mut(void *addr, size_t length);

/*
 Lets pinned bytes go. NULL is nothing.

 The caller's promise:
 `pinned` is NULL, or from `faultless_pin` or `faultless_pin_mut`, and not let go yet.
 */
void faultless_unpin(struct faultless_pinned *pinned);

/*
 Copies bytes out of a shared map. Answers how many, fewer at the end of the file; -1 and
 errno where they can't be read: never a signal.

 The caller's promise:
 `length` bytes can be written at `to`.
 */
ptrdiff_t faultless_copy_out(void *to, const void *from, size_t length);

/*
 Copies bytes into a shared map, all of them within its file. 0, or -1 and errno.

 The caller's promise:
 `length` bytes can be read at `from`.
 */
int faultless_copy_in(void *to, const void *from, size_t length);

/*
 Begins to read ranges that will be needed, and doesn't wait: many reads at a time, where
 touching one after the other would wait for each. 0, or -1 and errno.

 The caller's promise:
 `count` ranges can be read at `ranges`.
 */
int faultless_prefetch(const struct iovec *ranges, size_t count);

/*
 Makes the file of a shared map so long that `length` bytes of it follow `addr`, which is
 what mmap answered; it can grow as far as addresses are reserved. 0, or -1 and errno.
 */
int faultless_resize(void *addr, size_t length);

/*
 Writes what was stored in a range to its file, as msync(2) does. With MS_SYNC it is durable
 when 0 is answered, and -1 tells of every error since the last call; with MS_ASYNC writing
 begins. MS_INVALIDATE changes nothing.
 */
int faultless_msync(void *addr, size_t length, int flags);

/*
 Gives pages other rights, as mprotect(2) does. All shared maps of a file have the same
 addresses, so it is for all of them.
 */
int faultless_mprotect(void *addr, size_t length, int prot);

/*
 Says what will become of pages, as madvise(2) does: MADV_NORMAL, _RANDOM and _SEQUENTIAL
 (for the whole file), _WILLNEED, _DONTNEED, _FREE, _PAGEOUT, _REMOVE; _COLD and what is
 about huge pages, merging and core dumps changes nothing. Others are EINVAL.

 The caller's promise:
 What the advice makes zeros is not in use.
 */
int faultless_madvise(void *addr, size_t length, int advice);

/*
 Says of each page whether it is in memory of its vm, as mincore(2) does; unlike there, to
 nobody but this process.

 The caller's promise:
 As many bytes as there are pages in the range can be written at `vec`.
 */
int faultless_mincore(void *addr, size_t length, uint8_t *vec);

/*
 Brings private memory in and holds it there, as mlock(2) does; ENOMEM where the budget has
 no room. Shared maps are held by `faultless_pin`: EOPNOTSUPP.
 */
int faultless_mlock(const void *addr, size_t length);

/*
 Ends what mlock has begun.
 */
int faultless_munlock(const void *addr, size_t length);

/*
 A vm with a budget of `memory` bytes. NULL and errno where it can't be had (ENOSYS: the
 system doesn't let us serve page faults).
 */
struct faultless_vm *faultless_vm_new(uint64_t memory);

/*
 A vm as `options` say. NULL and errno where it can't be had.

 The caller's promise:
 `options` can be read, and its strings end in a zero.
 */
struct faultless_vm *faultless_vm_build(const struct faultless_options *options);

/*
 Gives a vm back. What is mapped in it stays mapped, and keeps what it needs.

 The caller's promise:
 `vm` is NULL, or from a function of this library, which is not called with it again.
 */
void faultless_vm_free(struct faultless_vm *vm);

/*
 The vm of `faultless_mmap`, made when it is first needed: its budget is what the
 environment variable FAULTLESS_MEMORY says in bytes ("268435456"), else a quarter of the
 machine's memory. NULL and errno where it can't be had. It is not to be freed.
 */
const struct faultless_vm *faultless_vm_default(void);

/*
 What `vm` has done and holds; with NULL, the default vm. 0, or -1 and errno.

 The caller's promise:
 `vm` is NULL or alive; `stats` can be written.
 */
int faultless_stats(const struct faultless_vm *vm, struct faultless_stats *stats);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* FAULTLESS_H */
