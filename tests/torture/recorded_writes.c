/* Records what a process does to the files below one folder. To be preloaded; recorded_writes.py reads the records.

   RECORD_FOLDER is the folder, RECORD_TO the file that each record is appended to once its operation was done: kind,
   inode, number (an offset or a size), the lengths of two texts, the texts. Without these variables nothing is done. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MOST_FILES 4096
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

struct record {
    char kind;
    uint64_t inode, number;
    uint32_t first_bytes, second_bytes;
} __attribute__((packed));

static pthread_mutex_t in_order = PTHREAD_MUTEX_INITIALIZER;
static char is_recorded[MOST_FILES];

static int below(const char *path) {
    const char *folder = getenv("RECORD_FOLDER");
    size_t length = folder ? strlen(folder) : 0;
    return length && path && !strncmp(path, folder, length) && (path[length] == '/' || !path[length]);
}

static void append(char kind, uint64_t inode, uint64_t number, const void *first, size_t first_bytes,
                   const void *second, size_t second_bytes) {
    static int log = -1, log_of;
    int kept = errno;
    if (log_of != getpid()) {
        log = REAL(open)(getenv("RECORD_TO"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
        log_of = getpid();
    }
    struct record head = {kind, inode, number, first_bytes, second_bytes};
    struct iovec parts[] = {{&head, sizeof head}, {(void *)first, first_bytes}, {(void *)second, second_bytes}};
    if (writev(log, parts, 3) != (ssize_t)(sizeof head + first_bytes + second_bytes)) abort();
    errno = kept;
}

static void append_names(char kind, uint64_t inode, const char *first, const char *second) {
    append(kind, inode, 0, first, strlen(first), second, second ? strlen(second) : 0);
}

static uint64_t inode_of(int file) {
    struct stat status;
    return fstat(file, &status) ? 0 : status.st_ino;
}

static int opened(int folder, const char *path, int flags, mode_t mode) {
    struct stat before;
    int records = below(path), existed = records && !stat(path, &before);
    pthread_mutex_lock(&in_order);
    int file = REAL(openat)(folder, path, flags, mode);
    if (file >= 0 && file < MOST_FILES) is_recorded[file] = records;
    if (file >= 0 && records && !existed) append_names('C', inode_of(file), path, NULL);
    if (file >= 0 && records && existed && (flags & O_TRUNC)) append('T', inode_of(file), 0, NULL, 0, NULL, 0);
    pthread_mutex_unlock(&in_order);
    return file;
}

#define OPENED(folder, path, flags)                      \
    mode_t mode = 0;                                     \
    if ((flags) & (O_CREAT | O_TMPFILE)) {               \
        va_list more;                                    \
        va_start(more, flags);                           \
        mode = va_arg(more, mode_t);                     \
        va_end(more);                                    \
    }                                                    \
    return opened(folder, path, flags, mode)

int open(const char *path, int flags, ...) { OPENED(AT_FDCWD, path, flags); }
int open64(const char *path, int flags, ...) { OPENED(AT_FDCWD, path, flags | O_LARGEFILE); }
int openat(int folder, const char *path, int flags, ...) { OPENED(folder, path, flags); }
int openat64(int folder, const char *path, int flags, ...) { OPENED(folder, path, flags | O_LARGEFILE); }

/* `call` is done and, where it succeeded on a file of ours, recorded before another thread does anything. */
#define ON_FILE(file, call, is_done, record)                                           \
    if ((file) < 0 || (file) >= MOST_FILES || !is_recorded[file]) return call;         \
    pthread_mutex_lock(&in_order);                                                     \
    __typeof__(call) result = call;                                                    \
    if (is_done) record;                                                               \
    pthread_mutex_unlock(&in_order);                                                   \
    return result

int close(int file) {
    if (file >= 0 && file < MOST_FILES) is_recorded[file] = 0;
    return REAL(close)(file);
}

ssize_t write(int file, const void *data, size_t size) {
    ON_FILE(file, REAL(write)(file, data, size), result > 0,
            append('W', inode_of(file), lseek(file, 0, SEEK_CUR) - result, data, result, NULL, 0));
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t at) {
    ON_FILE(file, REAL(pwrite64)(file, data, size, at), result > 0,
            append('W', inode_of(file), at, data, result, NULL, 0));
}

ssize_t pwrite(int file, const void *data, size_t size, off_t at) { return pwrite64(file, data, size, at); }

int ftruncate64(int file, off64_t size) {
    ON_FILE(file, REAL(ftruncate64)(file, size), !result, append('T', inode_of(file), size, NULL, 0, NULL, 0));
}
int ftruncate(int file, off_t size) { return ftruncate64(file, size); }

int truncate64(const char *path, off64_t size) {
    struct stat status;
    int result = REAL(truncate64)(path, size);
    if (!result && below(path) && !stat(path, &status)) append('T', status.st_ino, size, NULL, 0, NULL, 0);
    return result;
}
int truncate(const char *path, off_t size) { return truncate64(path, size); }

int posix_fallocate64(int file, off64_t at, off64_t size) {
    ON_FILE(file, REAL(posix_fallocate64)(file, at, size), !result,
            append('A', inode_of(file), at + size, NULL, 0, NULL, 0));
}
int posix_fallocate(int file, off_t at, off_t size) { return posix_fallocate64(file, at, size); }

static size_t path_of(int file, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, size - 1);
    path[length > 0 ? length : 0] = 0;
    return length > 0 ? length : 0;
}

static void synced(int file) {
    char path[4096];
    path_of(file, path, sizeof path);
    append_names('S', inode_of(file), path, NULL);
}

int fsync(int file) { ON_FILE(file, REAL(fsync)(file), !result, synced(file)); }
int fdatasync(int file) { ON_FILE(file, REAL(fdatasync)(file), !result, synced(file)); }

int syncfs(int file) { ON_FILE(file, REAL(syncfs)(file), !result, append('F', 0, 0, NULL, 0, NULL, 0)); }

#define ON_NAMES(path, call, kind, second)                                \
    if (!below(path)) return call;                                        \
    pthread_mutex_lock(&in_order);                                        \
    int result = call;                                                    \
    if (!result) append_names(kind, 0, path, second);                     \
    pthread_mutex_unlock(&in_order);                                      \
    return result

int rename(const char *from, const char *to) { ON_NAMES(from, REAL(rename)(from, to), 'R', to); }
int link(const char *from, const char *to) { ON_NAMES(from, REAL(link)(from, to), 'L', to); }
int linkat(int a, const char *from, int b, const char *to, int flags) {
    ON_NAMES(from, REAL(linkat)(a, from, b, to, flags), 'L', to);
}
int unlink(const char *path) { ON_NAMES(path, REAL(unlink)(path), 'U', NULL); }
int rmdir(const char *path) { ON_NAMES(path, REAL(rmdir)(path), 'U', NULL); }
int unlinkat(int folder, const char *name, int flags) {
    char path[4096];
    size_t length = folder == AT_FDCWD || name[0] == '/' ? 0 : path_of(folder, path, sizeof path);
    snprintf(path + length, sizeof path - length, length ? "/%s" : "%s", name);
    ON_NAMES(path, REAL(unlinkat)(folder, name, flags), 'U', NULL);
}
int mkdir(const char *path, mode_t mode) { ON_NAMES(path, REAL(mkdir)(path, mode), 'M', NULL); }
