/* Folders whose names must survive a power cut.  A file that was made, renamed or removed is so on
 * disk once its folder was synced. */
#ifndef WEFT_FOLDER_H
#define WEFT_FOLDER_H

/* Writes the folder that `path` lies in into `out`, which has room for the path and two bytes. */
void weft__folder_of(char *out, const char *path);

/* Syncs a folder.  Gives 0, or an errno and in `what` what failed: static text. */
int weft__folder_sync(const char *folder, const char **what);

#endif
