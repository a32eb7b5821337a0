/* Preloaded into the service under test: kills it with SIGKILL at a named point, or lets its disk fail. The service itself
 * knows nothing of it; only what it does to its files and sockets is seen.
 *
 * CUSTODIA_TEST_POINT=NAME:N kills at the Nth time that the point is reached:
 *   wal-write   before bytes go into the log of SQLite
 *   wal-sync    before that log is synced
 *   wal-synced  behind that, and before anybody is told
 *   answer      before a successful answer is sent to a client
 * CUSTODIA_TEST_FULL=FILE: while that file exists, writes to the database and its log fail, the disk being full.
 * CUSTODIA_TEST_UNSYNCABLE=FILE: while that file exists, syncing them fails with an I/O error.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static int ends_with(const char *text, const char *end) {
    size_t length = strlen(text), wanted = strlen(end);
    return length >= wanted && strcmp(text + length - wanted, end) == 0;
}

/* 2 for SQLite's log, 1 for its database, 0 for anything else. */
static int file_of(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return ends_with(path, ".db-wal") ? 2 : ends_with(path, ".db") ? 1 : 0;
}

static void reach(const char *point) {
    static unsigned long count;
    const char *wanted = getenv("CUSTODIA_TEST_POINT");
    size_t length = strlen(point);
    if (!wanted || strncmp(wanted, point, length) != 0 || wanted[length] != ':') return;
    if (__atomic_add_fetch(&count, 1, __ATOMIC_RELAXED) == strtoul(wanted + length + 1, NULL, 10)) {
        kill(getpid(), SIGKILL);
        for (;;) pause();
    }
}

static int flagged(const char *variable) {
    const char *path = getenv(variable);
    return path && access(path, F_OK) == 0;
}

/* Whether a write to a file may go on. */
static int may_write(int fd) {
    int file = file_of(fd);
    if (file == 2) reach("wal-write");
    if (file && flagged("CUSTODIA_TEST_FULL")) {
        errno = ENOSPC;
        return 0;
    }
    return 1;
}

static void look(const void *bytes, size_t length) {
    if (length >= 10 && memcmp(bytes, "HTTP/1.1 2", 10) == 0) reach("answer");
}

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *bytes, size_t length) {
    REAL(write);
    look(bytes, length);
    return may_write(fd) ? real(fd, bytes, length) : -1;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) {
    REAL(pwrite);
    return may_write(fd) ? real(fd, bytes, length, at) : -1;
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
    REAL(pwrite64);
    return may_write(fd) ? real(fd, bytes, length, at) : -1;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    if (count > 0) look(parts[0].iov_base, parts[0].iov_len);
    return real(fd, parts, count);
}

ssize_t send(int fd, const void *bytes, size_t length, int flags) {
    REAL(send);
    look(bytes, length);
    return real(fd, bytes, length, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    REAL(sendmsg);
    if (message->msg_iovlen > 0) look(message->msg_iov[0].iov_base, message->msg_iov[0].iov_len);
    return real(fd, message, flags);
}

static int sync_with(int (*real)(int), int fd) {
    int file = file_of(fd);
    if (file == 2) reach("wal-sync");
    if (file && flagged("CUSTODIA_TEST_UNSYNCABLE")) {
        errno = EIO;
        return -1;
    }
    int done = real(fd);
    if (file == 2) reach("wal-synced");
    return done;
}

int fsync(int fd) {
    REAL(fsync);
    return sync_with(real, fd);
}

int fdatasync(int fd) {
    REAL(fdatasync);
    return sync_with(real, fd);
}
