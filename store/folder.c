#include "store/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

weft_err weft__err_from_errno(int sys) {
  switch (sys) {
  case ENOSPC:
  case EDQUOT:
  case EFBIG: return WEFT_EFULL;
  case EROFS:
  case EACCES:
  case EPERM: return WEFT_EREADONLY;
  case ENOENT: return WEFT_ENOSTORE;
  case ENOMEM: return WEFT_ENOMEM;
  default: return WEFT_EIO;
  }
}

void weft__folder_of(char *out, const char *path) {
  const char *slash = strrchr(path, '/');
  size_t len = slash ? (size_t)(slash - path) : 0;
  if (!slash) {
    memcpy(out, ".", 2);
  } else if (len == 0) {
    memcpy(out, "/", 2);
  } else {
    memcpy(out, path, len);
    out[len] = '\0';
  }
}

int weft__folder_sync(const char *folder, const char **what) {
  int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  *what = "open the folder";
  if (fd < 0) return errno;
  *what = "sync the folder";
  int sys = fsync(fd) == 0 ? 0 : errno;
  close(fd);
  return sys;
}
