/* What files have in common: what an errno means, and folders whose names must survive a power cut.
 * A file that was made, renamed or removed is so on disk once its folder was synced. */
#ifndef WEFT_FOLDER_H
#define WEFT_FOLDER_H

#include "../crdt/err.h"

/* What an errno of a file means: WEFT_EFULL, WEFT_EREADONLY, WEFT_ENOSTORE, WEFT_ENOMEM, and
 * WEFT_EIO for the rest. */
weft_err weft__err_from_errno(int sys);

/* Writes the folder that `path` lies in into `out`, which has room for the path and two bytes. */
void weft__folder_of(char *out, const char *path);

/* Syncs a folder.  Gives 0, or an errno and in `what` what failed: static text. */
int weft__folder_sync(const char *folder, const char **what);

#endif
