/* Files of the device's directory: read whole with a limit, written so that a crash leaves the old
 * or the new one, never a half. */
#ifndef WEFT_CLI_FILES_H
#define WEFT_CLI_FILES_H

#include "crdt/alloc.h"

/* Reads a file (a regular one when `own` is set) of at most `max` bytes into `arena`.  Links are
 * not followed when `own` is set, and the file must then belong to this user and be writable by
 * nobody else (readable by nobody else too when `secret`): WEFT_EDENIED otherwise.  WEFT_ENOSTORE:
 * not there; WEFT_ELIMIT; WEFT_EIO; WEFT_ENOMEM. */
weft_err cli_file_read(weft_arena *arena, const char *path, size_t max, bool own, bool secret,
                       weft_bytes *out) WEFT_MUST_USE;

/* Reads a stream (standard input) to its end.  WEFT_ELIMIT, WEFT_EIO, WEFT_ENOMEM. */
weft_err cli_stream_read(weft_arena *arena, int fd, size_t max, weft_bytes *out) WEFT_MUST_USE;

/* Writes `bytes` to a new file beside `path` with mode 0600, syncs, renames it over `path`, syncs
 * the folder.  WEFT_EFULL, WEFT_EREADONLY, WEFT_EIO; the old file is untouched then. */
weft_err cli_file_write(const char *path, weft_bytes bytes) WEFT_MUST_USE;

/* Renames a file and syncs the folder of its new name.  WEFT_EFULL, WEFT_EREADONLY, WEFT_EIO. */
weft_err cli_file_rename(const char *from, const char *to) WEFT_MUST_USE;

/* Waits for the lock on a file that is made for it and stays; released by cli_file_unlock or the
 * end of the process.  WEFT_EREADONLY, WEFT_EFULL, WEFT_EIO. */
weft_err cli_file_lock(const char *path, int *lock) WEFT_MUST_USE;
void cli_file_unlock(int lock);

/* Makes a folder and its missing parents, mode 0700, and syncs what has a new name in it.
 * WEFT_EEXIST: a file stands in the way; WEFT_EREADONLY, WEFT_EFULL, WEFT_EIO. */
weft_err cli_folder_make(const char *path) WEFT_MUST_USE;

/* Joins `a`/`b` into `out`; WEFT_ELIMIT when it does not fit. */
weft_err cli_path_join(char *out, size_t cap, const char *a, const char *b) WEFT_MUST_USE;

#endif
