/* From a tape to the images that a power cut could have left: what was synced is there; of what was
 * not, all, nothing, or any part in any order, writes torn at 512 bytes, names changed or not yet.
 *
 * Happy path: cuts_begin with a starting image and a tape, cuts_draw for each cut wanted, then
 * cuts_next until it is false; each lays one image that was not seen before into the folder.  What
 * is done there afterwards must be on a tape that is given to cuts_dirtied, so that the next image
 * can be laid by writing only what differs. */
#ifndef WEFT_TESTS_CUTS_H
#define WEFT_TESTS_CUTS_H

#include "tests/disk/disk.h"
#include "tests/support/rng.h"

enum { CUT_SECTOR = 512 };

typedef struct image_file {
  uint8_t *b;
  size_t len, cap;
  uint64_t sum; /* over its sectors; does not depend on the order in which they came */
} image_file;

typedef struct image_name {
  char name[TAPE_NAME_LEN];
  uint32_t file;
} image_name;

typedef struct image {
  image_file files[TAPE_FILES_MAX];
  size_t file_count;
  image_name names[TAPE_NAMES_MAX];
  size_t name_count;
} image;

void image_free(image *m);
/* The file of a name, NULL when there is none. */
const image_file *image_find(const image *m, const char *name);

/* Hashes of images seen. */
typedef struct seen {
  uint64_t *at;
  size_t count, cap; /* cap: a power of two */
} seen;
bool seen_add(seen *s, uint64_t hash); /* false: it was there */
void seen_free(seen *s);

typedef struct cut_draw {
  size_t event; /* the cut comes behind this one */
  uint64_t seed;
} cut_draw;

typedef struct cuts {
  const tape *t;
  char folder[200];
  char big[TAPE_NAME_LEN]; /* the one file that is patched, not written anew */
  image now;               /* what is certain after `done` events; during a cut, the image */
  size_t done;
  size_t *pending; /* events that are not certain, in order */
  size_t pending_count, pending_cap;
  cut_draw *draws;
  size_t draw_count, draw_cap, draw_next;
  struct cut_undo *undo;
  size_t undo_count, undo_cap;
  uint8_t *old; /* what patches have overwritten */
  size_t old_len, old_cap;
  size_t undo_lens[TAPE_FILES_MAX];
  image_name saved[TAPE_NAMES_MAX];
  size_t saved_count;
  bool cut; /* an image is laid and not yet taken back */
  struct cut_range *dirty;
  size_t dirty_count, dirty_cap;
  uint32_t laid; /* the file that stands in the folder under `big`; UINT32_MAX: another */
  cut_draw at;   /* of the image laid */
  uint64_t hash;
} cuts;

/* `start`: the image laid by another; NULL: nothing was there.  `big` names the file that is
 * patched. The files of the start must have been told to the tape by cuts_know. */
void cuts_begin(cuts *c, const tape *t, const image *start, const char *folder, const char *big);
void cuts_draw(cuts *c, size_t event, uint64_t seed);
/* Lays the next image that `s` has not; false when the draws are at their end. */
bool cuts_next(cuts *c, seen *s);
/* Tells a tape that was just emptied, and runs, what lies in the folder. */
void cuts_know(const cuts *c, tape *t);
/* Something has been done to the folder. */
void cuts_dirtied(cuts *c, const tape *t);
void cuts_free(cuts *c);

#endif
