/* Whether what a plain document answers is what all of its registers say. */
#ifndef WEFT_TESTS_PLAIN_DOC_H
#define WEFT_TESTS_PLAIN_DOC_H

#include "crdt/doc.h"

/* Asks `doc` for every place it has a register of, and for members that it lacks, once as a plain
 * document and once as any: visibility, sides, values and paths of pointers.  Gives the first place
 * where the answers differ, a view into the document; false when there is none.  What `doc` says of
 * itself is as before.  Aborts when memory is out. */
bool test_doc_unlike(weft_doc *doc, weft_path *where);

/* True when the document is plain as crdt/doc.h has it. */
bool test_doc_plain(weft_doc *doc);

#endif
