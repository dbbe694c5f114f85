/* The LMDB store: the contract of store/store.h in one file on disk.
 *
 * Beside FILE lie FILE-lock (LMDB's table of readers) and `lock` (our writer lock, with the pid of
 * its holder).  Default durability: a commit returns after its pages, then its meta page, are on
 * the disk.  A new store is made as FILE.new, synced and renamed, so FILE is whole or absent.  What
 * lies in FILE is checked from outside before it is mapped.  The file is no boundary of trust: LMDB
 * has no checksums, and a damaged page can still give wrong bytes; the signed logs are the truth.
 *
 * One store per file and process, opened after the last fork: LMDB's locks belong to the process.
 */
#ifndef WEFT_LMDB_STORE_H
#define WEFT_LMDB_STORE_H

#include "../crdt/alloc.h"
#include "store.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_lmdb_options {
  size_t struct_size;
  weft_alloc mem;    /* for our own objects; LMDB itself calls malloc.  Default libc */
  const char *path;  /* of the file; borrowed.  The folder is made when its parent exists */
  uint64_t map_size; /* bytes of address space to begin with, rounded up to pages; default 64 GiB,
                        sparse.  A process with a limit (ulimit -v) takes a quarter of that */
  uint32_t readers_max; /* read transactions at once, of all processes together; default 126 */
  bool read_only;       /* beside a writer in another process; never creates.  Where nothing can
                           be written beside the file, without one: WEFT_ELOCKED while it is open */
  bool must_exist;      /* do not create: WEFT_ENOSTORE */
  bool check_pages; /* read every page first, so that damage to the tree cannot crash us later */
} weft_lmdb_options;

/* Fills in the defaults; `path` must be set. */
WEFT_API void weft_lmdb_options_init_sized(weft_lmdb_options *o, size_t struct_size);
#define weft_lmdb_options_init(o) weft_lmdb_options_init_sized((o), sizeof *(o))

/* Opens the store at o->path, making it first when there is none.  `*out` is set only on WEFT_OK
 * and ended by weft_store_free.  `diag` may be NULL; it tells more about a failure. WEFT_ENOSTORE:
 * no file, and it is not to be made.  WEFT_ELOCKED: another writer has it open; diag holds its pid
 * in `sys`.  WEFT_ECORRUPT: no store, or truncated or damaged: nothing was changed. WEFT_EVERSION:
 * made by a newer version.  WEFT_EREADONLY: no permission to write; try read_only. WEFT_EFULL: no
 * room on the disk.  WEFT_EMISUSE: read_only while this process has it open. WEFT_ELIMIT: the path
 * is too long.  WEFT_ENOMEM.  WEFT_EIO: anything else, such as too many open files.  Not on two
 * threads at once for one path. */
WEFT_API weft_err weft_lmdb_store_open(const weft_lmdb_options *o, weft_store **out,
                                       weft_diag *diag) WEFT_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
