/* Inside backups: what restoring shares with the programs. */
#ifndef WEFT_STORE_BACKUP_H
#define WEFT_STORE_BACKUP_H

#include "store/store.h"

/* Copies everything `from` holds, from one snapshot, into a new fenced store file: see
 * weft_replica_backup. */
weft_err weft__store_backup(weft_store *from, const char *path, weft_diag *diag) WEFT_MUST_USE;
/* The space a store is of.  WEFT_ENOTFOUND: it is empty; WEFT_ECORRUPT, WEFT_EVERSION. */
weft_err weft__store_space(weft_store *s, weft_id *space) WEFT_MUST_USE;

#endif
