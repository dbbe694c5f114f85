/* The command table.  Help, man page, completions and parsing all come from here. */
#include "cli/command.h"

#include <string.h>

#include "cli/run.h"

#define NO_OPTIONS no_options
static const cli_option no_options[] = {{NULL, 0, NULL, NULL}};

static const cli_option change_options[] = {
    {"message", 'm', "TEXT", "a note kept with the change"},
    {"priority", 0, "P", "critical, high, normal or low: what travels first"},
    {NULL, 0, NULL, NULL},
};
static const cli_option write_options[] = {
    {"message", 'm', "TEXT", "a note kept with the change"},
    {"priority", 0, "P", "critical, high, normal or low: what travels first"},
    {"draft", 0, "NAME", "write it into a draft, and show it to nobody yet: see weft draft"},
    {NULL, 0, NULL, NULL},
};
static const cli_option init_options[] = {
    {"name", 0, "NAME", "name of this device (default: the host's name)"},
    {"space", 0, "NAME", "name of the first space (default: home)"},
    {NULL, 0, NULL, NULL},
};
static const cli_option restore_backup_options[] = {
    {"replace", 0, NULL, "also where the space is: what is there is kept beside it"},
    {NULL, 0, NULL, NULL},
};
static const cli_option get_options[] = {
    {"at", 0, "CHANGE|TAG|TIME", "as it stood after a change, at a tag or at a time (RFC 3339)"},
    {"with-base", 0, NULL, "with the vector it was read at, for assign --base"},
    {"draft", 0, "NAME", "as a draft shows it"},
    {NULL, 0, NULL, NULL},
};
static const cli_option delete_options[] = {
    {"draft", 0, "NAME", "write it into a draft, and show it to nobody yet: see weft draft"},
    {"where", 0, "EXPR", "delete what matches; several are joined by and"},
    {"collection", 0, "C", "with --where: only in this collection"},
    {"message", 'm', "TEXT", "a note kept with the change"},
    {"priority", 0, "P", "critical, high, normal or low"},
    {NULL, 0, NULL, NULL},
};
static const cli_option list_options[] = {
    {"where", 0, "EXPR", "FIELD=V, !=, <, <=, >, >=, or FIELD~V for contains; several: and"},
    {"sort", 0, "FIELD",
     "sort by a field, -FIELD descending; also @created @modified @by @versions @contributors"},
    {"limit", 0, "N", "at most N (1 to 10000, default 100)"},
    {"cursor", 0, "C", "go on where the last page ended"},
    {"fields", 0, "A,B", "show these fields"},
    {"deleted", 0, NULL, "the deleted ones"},
    {"all", 0, NULL, "also tags and strategies, which are documents of the collection weft"},
    {"explain", 0, NULL, "tell how: what was walked, which index, what was looked at"},
    {NULL, 0, NULL, NULL},
};
static const cli_option import_options[] = {
    {"collection", 0, "C", "collection to put them in (default: templates)"},
    {"id", 0, "FIELD", "the field that names a document (default: id)"},
    {"merge", 0, NULL, "keep fields that the file lacks"},
    {"message", 'm', "TEXT", "a note kept with each change"},
    {NULL, 0, NULL, NULL},
};
static const cli_option export_options[] = {
    {"collection", 0, "C", "all documents of a collection"},
    {"all", 0, NULL, "also tags and strategies, which are documents of the collection weft"},
    {NULL, 0, NULL, NULL},
};
static const cli_option assign_options[] = {
    {"priority", 0, "P", "critical, high, normal or low"},
    {"base", 0, "TEXT", "the vector the value was read at"},
    {"draft", 0, "NAME", "write it into a draft, and show it to nobody yet: see weft draft"},
    {"message", 'm', "TEXT", "a note kept with the change"},
    {NULL, 0, NULL, NULL},
};
static const cli_option log_options[] = {
    {"by", 0, "DEVICE", "only changes of this device (name or fingerprint)"},
    {"since", 0, "TIME", "only changes at or after a time (RFC 3339)"},
    {"until", 0, "TIME", "only changes at or before a time (RFC 3339)"},
    {"cursor", 0, "C", "go on where the last page ended: the \"next\" of its last change"},
    {"limit", 0, "N", "at most N (1 to 10000, default 100)"},
    {NULL, 0, NULL, NULL},
};
static const cli_option resolve_options[] = {
    {"keep", 0, "CHANGE", "keep the value that this change wrote"},
    {"value", 0, "JSON", "write this value"},
    {"rule", 0, "R", "newest, oldest, mine, max or min decides"},
    {"all", 0, NULL, "all conflicts, of one document where one is given; needs --rule"},
    {"dry-run", 0, NULL, "show what would be kept, and write nothing"},
    {"base", 0, "TEXT", "what --dry-run printed: resolve just what it saw"},
    {"message", 'm', "TEXT", "a note kept with the change"},
    {NULL, 0, NULL, NULL},
};
static const cli_option diff_options[] = {
    {"at", 0, "CHANGE|TAG|TIME", "the first version"},
    {"patch", 0, NULL, "as a JSON Patch (RFC 6902)"},
    {"side-by-side", 0, NULL, "in two columns, as on a terminal"},
    {NULL, 0, NULL, NULL},
};
static const cli_option blame_options[] = {
    {"all", 0, NULL, "objects and arrays too, not only what they hold"},
    {NULL, 0, NULL, NULL},
};
static const cli_option tag_options[] = {
    {"delete", 0, NULL, "drop the tag"},
    {"message", 'm', "TEXT", "a note kept with the change"},
    {"priority", 0, "P", "critical, high, normal or low"},
    {NULL, 0, NULL, NULL},
};
static const cli_option restore_options[] = {
    {"at", 0, "TIME", "the version, in place of CHANGE|TAG"},
    {"message", 'm', "TEXT", "a note kept with the change"},
    {"priority", 0, "P", "critical, high, normal or low"},
    {NULL, 0, NULL, NULL},
};
static const cli_option audit_options[] = {
    {"since", 0, "TIME", "only changes at or after a time (RFC 3339)"},
    {"raw", 0, NULL, "with the signed bytes, to be verified without weft"},
    {NULL, 0, NULL, NULL},
};
static const cli_option conflicts_options[] = {
    {"side-by-side", 0, NULL, "in two columns, as on a terminal"},
    {"limit", 0, "N", "at most N (1 to 10000, default 1000)"},
    {NULL, 0, NULL, NULL},
};
static const cli_option id_options[] = {
    {"qr", 0, NULL, "as a QR code"},
    {NULL, 0, NULL, NULL},
};
static const cli_option invite_options[] = {
    {"role", 0, "ROLE", "reader, writer or admin (default: writer); see above"},
    {"expires", 0, "TIME", "how long the ticket is good: 30m, 12h, 1d (default: 1d)"},
    {"uses", 0, "N", "how many devices may use it (default: 1)"},
    {"qr", 0, NULL, "as a QR code"},
    {NULL, 0, NULL, NULL},
};
static const cli_option join_options[] = {
    {"name", 0, "NAME", "name of this device (default: the host's name)"},
    {"timeout", 0, "TIME", "give up after this time (default: 30s)"},
    {NULL, 0, NULL, NULL},
};
static const cli_option presence_options[] = {
    {"set", 0, "JSON", "be there with this state: a cursor, a selection, anything small"},
    {"session", 0, "NAME", "which session of this device (default: cli)"},
    {"for", 0, "TIME", "stay this long unless set again (default: 45s)"},
    {"leave", 0, NULL, "say goodbye"},
    {NULL, 0, NULL, NULL},
};
static const cli_option serve_options[] = {
    {"listen", 0, "HOST:PORT", "listen here (default: 0.0.0.0:7117)"},
    {"connect", 0, "HOST:PORT", "keep a connection to this address; repeatable"},
    {"no-discovery", 0, NULL, "accepted: this version does not look for peers by itself yet"},
    {"http", 0, "HOST:PORT", "accepted: this version has no HTTP service yet"},
    {"no-http", 0, NULL, "accepted, as above"},
    {"no-gossip", 0, NULL, "without live push: everything travels by anti-entropy"},
    {"no-remembered", 0, NULL, "dial only the addresses of --connect, none that worked before"},
    {NULL, 0, NULL, NULL},
};
static const cli_option sync_options[] = {
    {"timeout", 0, "TIME", "give up after this time (default: 30s)"},
    {NULL, 0, NULL, NULL},
};
static const cli_option wait_options[] = {
    {"for", 0, "all|N|DEVICE", "who has to acknowledge (default: all)"},
    {"timeout", 0, "TIME", "give up after this time (default: 30s)"},
    {NULL, 0, NULL, NULL},
};
static const cli_option status_options[] = {
    {"check", 0, NULL, "exit 6 when something needs attention"},
    {"watch", 0, NULL, "again every second, until interrupted"},
    {NULL, 0, NULL, NULL},
};
static const cli_option events_options[] = {
    {"since", 0, "SEQ", "only what came after the event with this number"},
    {"follow", 0, NULL, "go on with what happens, until interrupted"},
    {"collection", 0, "C", "only events about documents of this collection"},
    {"path", 0, "POINTER", "only events about this place, above or below it"},
    {"debug", 0, NULL, "with the cause of each event and the subscriptions it went to"},
    {NULL, 0, NULL, NULL},
};
static const cli_option pending_options[] = {
    {"limit", 0, "N", "at most so many changes, the oldest first (default: 1000)"},
    {NULL, 0, NULL, NULL},
};
static const cli_option doctor_options[] = {
    {"quick", 0, NULL, "do not read the whole store"},
    {NULL, 0, NULL, NULL},
};
static const cli_option help_options[] = {
    {"man", 0, NULL, "the manual page, as troff source"},
    {NULL, 0, NULL, NULL},
};

#define DOCS    "Documents"
#define HISTORY "History, conflicts, trust"
#define DEVICES "Devices and sync"
#define OTHER   "Other"

static const cli_command commands[] = {
    {"init", "[--name NAME] [--space NAME]", "make a device and its first space", "", DEVICES,
     CLI_LOCAL, CLI_ONE, 0, 0, -1, false, init_options, cmd_init, print_fields},
    {"set", "DOC FIELD=TEXT... FIELD:=JSON... [-m M]", "write fields of a document, as one change",
     "FIELD is a name or a JSON Pointer such as /steps/0/title; - as the last step appends to an "
     "array.  "
     "FIELD=TEXT writes a string, FIELD:=JSON any JSON value.  Only what differs is written.",
     DOCS, CLI_STORE, CLI_ONE, 1, -1, -1, false, write_options, cmd_set, print_change},
    {"unset", "DOC FIELD...", "remove fields of a document", "", DOCS, CLI_STORE, CLI_ONE, 2, -1,
     -1, false, write_options, cmd_unset, print_change},
    {"get", "DOC [POINTER]", "print a document, or a part of it, as JSON", "", DOCS, CLI_STORE,
     CLI_ONE, 1, 2, -1, false, get_options, cmd_get, print_value},
    {"new", "COLLECTION [FILE|-]", "make a document with a generated name, and print the name", "",
     DOCS, CLI_STORE, CLI_ONE, 1, 2, 1, false, change_options, cmd_new, print_name},
    {"delete", "DOC... | --where EXPR", "delete documents; they can come back",
     "Prints how many were deleted.", DOCS, CLI_STORE, CLI_ONE, 0, -1, -1, false, delete_options,
     cmd_delete, print_count},
    {"undelete", "DOC...", "bring deleted documents back", "", DOCS, CLI_STORE, CLI_ONE, 1, -1, -1,
     false, write_options, cmd_undelete, print_count},
    {"list", "[COLLECTION]", "list documents, filtered, sorted, by pages",
     "Without COLLECTION: every document but those of the collection weft, where tags and "
     "strategies are kept.",
     DOCS, CLI_STORE, CLI_ONE, 0, 1, -1, false, list_options, cmd_list, print_list},
    {"index", "[COLLECTION FIELD [none]]", "which fields lists find quickly",
     "An index keeps the documents of a collection in the order of a field, here and now and with "
     "every change; it stays on this device.  COLLECTION * is for lists without one.  FIELD is a "
     "name, a JSON Pointer, or @created @modified @by @versions; none drops the index.  A list "
     "that sorts by FIELD, or asks for values of it, walks the index; further conditions that a "
     "field equals a value are decided by the index of that field.  list --explain tells.  Without "
     "arguments: the indexes.",
     DOCS, CLI_STORE, CLI_ONE, 0, 3, -1, false, NO_OPTIONS, cmd_index, print_indexes},
    {"import", "FILE|-", "import a JSON array, or JSON lines",
     "A document is an object with a name under --id, or a line {\"doc\": NAME, \"value\": {...}} "
     "as export "
     "writes it.  Afterwards each document equals the file; unchanged fields are not written.",
     DOCS, CLI_STORE, CLI_ONE, 1, 1, 0, true, import_options, cmd_import, print_import},
    {"export", "[DOC...]", "print documents as JSON lines",
     "Without names: every document but those of the collection weft, where tags and strategies "
     "are kept; --all or --collection weft gives these.",
     DOCS, CLI_STORE, CLI_LINES, 0, -1, -1, false, export_options, cmd_export, print_json_line},
    {"edit", "DOC", "edit the JSON in $EDITOR; only the difference is written",
     "While the daemon runs, others see who is editing (weft presence), and you are told before "
     "the editor opens.  That is advice and no lock: both edits merge.",
     DOCS, CLI_FRONT, CLI_ONE, 1, 1, -1, false, write_options, cmd_edit, print_change},
    {"assign", "DOC FILE|-", "make a document equal to a JSON object",
     "With --base, as it was decided on an older state: what others wrote since stays.", DOCS,
     CLI_STORE, CLI_ONE, 2, 2, 1, true, assign_options, cmd_assign, print_change},

    {"draft", "[open|show|commit|drop NAME]", "edits that are not committed yet",
     "Without arguments: the drafts of this device, with their age.  A draft rests on what was "
     "shown "
     "when it was opened; set, unset, delete, undelete, edit and assign write into it with --draft "
     "NAME, which opens it where it is not open.  show tells the documents as they would be and "
     "the "
     "conflicts that would come; commit writes one change; drop forgets it.  Drafts outlive "
     "crashes, and "
     "never travel.",
     DOCS, CLI_STORE, CLI_ONE, 0, 2, -1, false, write_options, cmd_draft, print_draft},

    {"id", "", "show this device: its name and fingerprint", "", DEVICES, CLI_STORE, CLI_ONE, 0, 0,
     -1, false, id_options, cmd_id, print_id},
    {"invite", "", "make a ticket that lets another device join",
     "The ticket is a secret: send it on a private way.  While the daemon runs it carries the "
     "addresses that the daemon listens on; without one, tell the other side HOST:PORT.  This "
     "version writes roles down and enforces one thing of them: only an admin can invite.  Readers "
     "can write, and nobody can be removed yet.",
     DEVICES, CLI_STORE, CLI_ONE, 0, 0, -1, false, invite_options, cmd_invite, print_ticket},
    {"join", "TICKET [HOST:PORT]", "join a space with a ticket", "", DEVICES, CLI_LOCAL, CLI_ONE, 1,
     2, -1, false, join_options, cmd_join, print_fields},
    {"members", "", "list the members of the space", "", DEVICES, CLI_STORE, CLI_ONE, 0, 0, -1,
     false, NO_OPTIONS, cmd_members, print_members},
    {"serve", "", "run the daemon in the foreground",
     "Listens, keeps connections to the addresses of --connect and to those that worked before, "
     "and "
     "passes changes on as they come.  The other commands talk to it by themselves.  Defaults can "
     "stand in the file config of the device's directory: docs/configuration.md.  Ctrl-C or "
     "SIGTERM "
     "ends it; whatever was acknowledged is on the disk.",
     DEVICES, CLI_LOCAL, CLI_LINES, 0, 0, -1, false, serve_options, cmd_serve, print_text},
    {"connect", "HOST:PORT", "tell the daemon to keep a connection to an address", "", DEVICES,
     CLI_DAEMON, CLI_ONE, 1, 1, -1, false, NO_OPTIONS, cmd_connect, print_fields},
    {"sync", "[HOST:PORT...]", "exchange until both sides show everything",
     "Without an address: with those that worked before.  Exit 7: the time limit came first; what "
     "had arrived by then is kept.",
     DEVICES, CLI_STORE, CLI_ONE, 0, -1, -1, false, sync_options, cmd_sync, print_fields},
    {"wait", "", "wait until others have acknowledged what was written here",
     "Acknowledged is what is on the other device's disk.  Exit 7: not all did within the time, or "
     "at once, where there are fewer devices than asked for.",
     DEVICES, CLI_STORE, CLI_ONE, 0, 0, -1, false, wait_options, cmd_wait, print_fields},
    {"status", "", "what is here, who is there, what waits",
     "state: alone, no other member; offline, nobody is linked; syncing; pending, somebody has not "
     "acknowledged everything written here; synced, everybody has; paused; attention, and why.  Of "
     "a "
     "member: have changes here it is known to lack, need changes of it that are not here.",
     DEVICES, CLI_STORE, CLI_ONE, 0, 0, -1, false, status_options, cmd_status, print_status},
    {"peers", "", "connections and known devices", "", DEVICES, CLI_STORE, CLI_ONE, 0, 0, -1, false,
     NO_OPTIONS, cmd_peers, print_peers},
    {"metrics", "", "counters, gauges and histograms, in the format of Prometheus",
     "With the daemon, its live figures; without, what the store knows.  docs/metrics.md lists "
     "them.",
     DEVICES, CLI_STORE, CLI_ONE, 0, 0, -1, false, NO_OPTIONS, cmd_metrics, print_text},
    {"pending", "[retry|export FILE]", "what was written here and is not everywhere yet",
     "Lists own changes that some member has not acknowledged: how old and how large, for whom "
     "they wait, how often that was tried, why it failed and when it is tried next; and changes of "
     "others that cannot be shown yet.  What a member refuses is parked for that member, with the "
     "reason, and holds up nothing else.  retry offers it again and dials everybody now; export "
     "writes the changes to a new file.",
     DEVICES, CLI_STORE, CLI_LINES, 0, 2, -1, false, pending_options, cmd_pending, print_pending},
    {"pause", "[PEER]", "end connections to a member, or to all, and make none",
     "Until weft resume, also over restarts of the daemon.  Changes go on being written here.",
     DEVICES, CLI_STORE, CLI_ONE, 0, 1, -1, false, NO_OPTIONS, cmd_pause, print_fields},
    {"resume", "[PEER]", "undo a pause: of a member, or all of them", "", DEVICES, CLI_STORE,
     CLI_ONE, 0, 1, -1, false, NO_OPTIONS, cmd_resume, print_fields},
    {"presence", "[DOC]", "who is where now; be seen with --set",
     "A session of a device is at a document, or without DOC at the space, as long as the device "
     "gives signs of life: its heartbeat comes every 15 s, and 45 s after the last one it is gone. "
     "Nothing of it is stored.  weft edit is seen by itself, with the state {\"editing\": true}.",
     DEVICES, CLI_DAEMON, CLI_ONE, 0, 1, -1, false, presence_options, cmd_presence, print_presence},

    {"log", "[DOC [POINTER]]", "changes, newest first", "", HISTORY, CLI_STORE, CLI_LINES, 0, 2, -1,
     false, log_options, cmd_log, print_log},
    {"show", "CHANGE", "one change with all it wrote", "", HISTORY, CLI_STORE, CLI_ONE, 1, 1, -1,
     false, NO_OPTIONS, cmd_show, print_log},
    {"diff", "DOC [A [B]]", "what differs between two versions of a document",
     "A version is a change, a tag, a time (RFC 3339) or now.  Without B: against now; without A: "
     "what the last change made.",
     HISTORY, CLI_STORE, CLI_ONE, 1, 3, -1, false, diff_options, cmd_diff, print_diff},
    {"blame", "DOC", "who wrote what stands in a document, and when", "", HISTORY, CLI_STORE,
     CLI_LINES, 1, 1, -1, false, blame_options, cmd_blame, print_blame},
    {"tag", "DOC [NAME [CHANGE]]", "name a version of a document, or list the names",
     "Without CHANGE: the version shown now.  Tags replicate like documents.", HISTORY, CLI_STORE,
     CLI_ONE, 1, 3, -1, false, tag_options, cmd_tag, print_tags},
    {"restore", "DOC CHANGE|TAG|TIME [POINTER]", "the old content, as a new change",
     "A deleted document comes back.", HISTORY, CLI_STORE, CLI_ONE, 1, 3, -1, false,
     restore_options, cmd_restore, print_change},
    {"revert", "CHANGE", "the inverse of a change as a new one, where it still stands",
     "Tells of every place what was done.  Exit 8: some were left alone, because somebody wrote "
     "there since.",
     HISTORY, CLI_STORE, CLI_ONE, 1, 1, -1, false, change_options, cmd_revert, print_revert},
    {"redo", "CHANGE", "write a change that cannot be shown again, as one's own", "", HISTORY,
     CLI_STORE, CLI_ONE, 1, 1, -1, false, change_options, cmd_redo, print_change},
    {"conflicts", "[DOC]", "concurrent values that nobody has resolved", "", HISTORY, CLI_STORE,
     CLI_LINES, 0, 1, -1, false, conflicts_options, cmd_conflicts, print_conflict},
    {"resolve", "DOC POINTER --keep CHANGE | --value JSON | --rule R, or --all --rule R",
     "settle conflicts, as new changes",
     "POINTER is what `weft conflicts` prints; where that is null, its \"typed_path\".  A "
     "resolution "
     "covers what was listed; what arrives later is a new conflict.",
     HISTORY, CLI_STORE, CLI_ONE, 0, 2, -1, false, resolve_options, cmd_resolve, print_resolve},
    {"strategy", "[COLLECTION [PATTERN] lww|field|manual|none]",
     "what of the conflicts of a collection is reported",
     "lww: nothing.  field, the default: conflicts are listed.  manual: and plain writes at, above "
     "or below them are refused until somebody resolves.  PATTERN is a JSON Pointer, * any step; "
     "the longest that matches counts.  none drops a rule.  Without arguments: the rules, "
     "strongest "
     "first.",
     HISTORY, CLI_STORE, CLI_ONE, 0, 3, -1, false, change_options, cmd_strategy, print_rules},
    {"events", "[PATTERN...]", "what has happened here, by number; the last 10000 are kept",
     "A pattern is words joined by points, * for one, ** for the rest: doc.*, sync.**.  The "
     "events: "
     "change.committed, shown, invalid, unknown; doc.created, changed, deleted, restored; "
     "conflict.opened, closed, forked; sync.done, mismatch, refused; peer.admitted, connected, "
     "disconnected, unreachable, refused, clone; network.online, offline, up, down, changed; "
     "presence.joined, changed, left; clock.ahead; store.begun, rebuilt, full, unknown; reset.  "
     "docs/events.md "
     "says "
     "what each carries.",
     HISTORY, CLI_STORE, CLI_LINES, 0, -1, -1, false, events_options, cmd_events, print_event},
    {"audit", "", "every membership record and change, with what proves them",
     "Chains and signatures are checked as they are read.  docs/examples/verify_log.py verifies "
     "what --raw prints, without weft.",
     HISTORY, CLI_STORE, CLI_LINES, 0, 0, -1, false, audit_options, cmd_audit, print_json_line},
    {"digest", "", "digest of the shown state, and the vector it reflects", "", HISTORY, CLI_STORE,
     CLI_ONE, 0, 0, -1, false, NO_OPTIONS, cmd_digest, print_data},
    {"verify", "", "prove logs, signatures, and that the state is what they say",
     "Reads one snapshot beside the daemon, which goes on meanwhile, or without one.", HISTORY,
     CLI_LOCAL, CLI_ONE, 0, 0, -1, false, NO_OPTIONS, cmd_verify, print_fields},
    {"repair", "", "rebuild the state from the logs", "", HISTORY, CLI_STORE, CLI_ONE, 0, 0, -1,
     false, NO_OPTIONS, cmd_repair, print_fields},
    {"backup", "FILE|DIR", "write the space into one file, also while it is being used",
     "One snapshot of documents, history and members, beside the daemon or without one.  Identity "
     "and secrets are not in it: keep the files identity and secrets of this device apart.  In a "
     "folder the file gets a name of its own.",
     HISTORY, CLI_LOCAL, CLI_ONE, 1, 1, -1, false, NO_OPTIONS, cmd_backup, print_fields},
    {"restore-backup", "FILE", "put a backup in place of this device's store",
     "The daemon must not run.  The device begins another log with its next write, so that nothing "
     "is signed twice; what it wrote after the backup comes back from other devices.  A device "
     "that "
     "joined the space anew may take the backup of one that was lost: the changes in it stay those "
     "of the lost one.",
     HISTORY, CLI_LOCAL, CLI_ONE, 1, 1, -1, false, restore_backup_options, cmd_restore_backup,
     print_fields},
    {"doctor", "", "look for what could be wrong with this device",
     "Asks the daemon, where one runs, then proves the store as weft verify does: that is what "
     "takes long, and --quick leaves it out.",
     HISTORY, CLI_BESIDE, CLI_ONE, 0, 0, -1, false, doctor_options, cmd_doctor, print_doctor},

    {"bench", "run W1,W2,... | against PROGRAM ... | compare A B | plot FILE | list",
     "measure weft beside what the bare libraries reach",
     "Everything behind `bench` goes to "
     "weft-bench unchanged: see weft-bench --help.",
     OTHER, CLI_LOCAL, CLI_ONE, 0, -1, -1, false, NO_OPTIONS, cmd_bench, print_text},
    {"completion", "bash|zsh|fish", "print a completion script for a shell", "", OTHER, CLI_LOCAL,
     CLI_ONE, 1, 1, -1, false, NO_OPTIONS, cmd_completion, print_text},
    {"version", "", "print the version", "", OTHER, CLI_LOCAL, CLI_ONE, 0, 0, -1, false, NO_OPTIONS,
     cmd_version, print_data},
    {"help", "[COMMAND]", "help, of a command where one is given", "", OTHER, CLI_LOCAL, CLI_ONE, 0,
     1, -1, false, help_options, cmd_help, print_text},
};

const cli_command *cli_commands(size_t *count) {
  *count = sizeof commands / sizeof commands[0];
  return commands;
}

const cli_command *cli_command_find(const char *name) {
  for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
    if (strcmp(commands[i].name, name) == 0) return &commands[i];
  return NULL;
}

const char *cli_command_absent(const char *name) {
  static const struct {
    const char *name, *why;
  } absent[] = {
      {"role", "roles are written down and not enforced: every member can write"},
      {"revoke", "nobody can be removed from a space: weft export, and weft import into a new one"},
      {"retire", "a device stays a member: weft pause ends connections to it"},
      {"compact", "history is kept whole"},
      {"demo", "cli/quickstart shows two devices, docs/tour.md three"},
  };
  for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++)
    if (strcmp(absent[i].name, name) == 0) return absent[i].why;
  return NULL;
}
