// Faults inside one process, preloaded: slow or failing fsync, failing writes, a wall clock that is wrong. All of it
// is switched at run time through the file that FERRY_FAULTS names, and everything that bit is counted there.
//
// Only files below the folder in FERRY_FAULTS_UNDER are touched. The numbers of the fields are those of `shim.rs`.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum field {
  SYNC_DELAY_MS,
  SYNC_ERROR,
  WRITE_ERROR,
  CLOCK_OFFSET_S,
  SYNCS_SEEN,
  SYNCS_DELAYED,
  SYNCS_FAILED,
  WRITES_FAILED,
  CLOCKS_SHIFTED,
  FIELDS
};

static _Atomic int64_t *control;
static char under[PATH_MAX];

__attribute__((constructor)) static void start(void) {
  const char *path = getenv("FERRY_FAULTS"), *folder = getenv("FERRY_FAULTS_UNDER");
  if (path == NULL || folder == NULL) return;
  snprintf(under, sizeof under, "%s/", folder);
  int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void *mapped = mmap(NULL, FIELDS * sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (mapped != MAP_FAILED) control = mapped;
}

static int64_t setting(enum field field) { return control == NULL ? 0 : control[field]; }

static int is_ours(int fd) {
  char link[64], target[PATH_MAX];
  if (control == NULL) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, target, sizeof target - 1);
  if (length < 0) return 0;
  target[length] = 0;
  return strncmp(target, under, strlen(under)) == 0;
}

// Sleeps in small steps, so that a fault that is switched off lets go at once.
static void delay(void) {
  int64_t waited_ms = 0;
  while (waited_ms < setting(SYNC_DELAY_MS)) {
    struct timespec step = {0, 5 * 1000 * 1000};
    syscall(SYS_nanosleep, &step, NULL);
    waited_ms += 5;
  }
}

static int synced(long call, int fd) {
  if (is_ours(fd)) {
    control[SYNCS_SEEN]++;
    if (setting(SYNC_DELAY_MS) > 0) {
      control[SYNCS_DELAYED]++;
      delay();
    }
    if (setting(SYNC_ERROR) != 0) {
      control[SYNCS_FAILED]++;
      errno = (int)setting(SYNC_ERROR);
      return -1;
    }
  }
  return (int)syscall(call, fd);
}

int fsync(int fd) { return synced(SYS_fsync, fd); }
int fdatasync(int fd) { return synced(SYS_fdatasync, fd); }

static int write_fails(int fd) {
  if (setting(WRITE_ERROR) == 0 || !is_ours(fd)) return 0;
  control[WRITES_FAILED]++;
  errno = (int)setting(WRITE_ERROR);
  return 1;
}

ssize_t write(int fd, const void *bytes, size_t count) {
  return write_fails(fd) ? -1 : syscall(SYS_write, fd, bytes, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
  return write_fails(fd) ? -1 : syscall(SYS_pwrite64, fd, bytes, count, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
  return write_fails(fd) ? -1 : syscall(SYS_pwrite64, fd, bytes, count, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  return write_fails(fd) ? -1 : syscall(SYS_writev, fd, parts, count);
}

static int64_t shift(void) {
  int64_t offset_s = setting(CLOCK_OFFSET_S);
  if (offset_s != 0) control[CLOCKS_SHIFTED]++;
  return offset_s;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int failed = (int)syscall(SYS_clock_gettime, clock, now);
  if (failed == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += shift();
  return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  int failed = (int)syscall(SYS_gettimeofday, now, zone);
  if (failed == 0) now->tv_sec += shift();
  return failed;
}

time_t time(time_t *into) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (into != NULL) *into = now.tv_sec;
  return now.tv_sec;
}
