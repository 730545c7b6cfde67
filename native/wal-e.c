/*
 * The thin client: asks the agent for `wal-push` and `wal-fetch`, within a millisecond or two.
 *
 * The same protocol as wal_e/client.py, which says what the parts mean: change both, or none. Whatever this program does
 * not understand is done by `wal-e-python`, which lies beside it; so nothing depends on it.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef WAL_E_VERSION
#error "WAL_E_VERSION has to be the version of the package, as a string"
#endif
#ifndef SILENCE_MS
#define SILENCE_MS 10000 /* milliseconds without a byte until an agent counts as hung */
#endif
#define PROTOCOL "wal-e-agent/1 " WAL_E_VERSION
#define SIBLING "wal-e-python"
#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* What to answer where not even the sibling can be run: never above 125 to the archiver, which would end (H07), and
 * never a "not found" to a recovery, which would end there (H14). */
enum { BROKEN = 2, BROKEN_FETCH = 200 };

static const char *const prefixes[] = {"WALE_", "SWIFT_", "OS_",   "ST_",    "AWS_",
                                       "GOOGLE_", "GS_",  "WABS_", "AZURE_", "WALG_"};
static const char *const names[] = {
    "HOME", "TMPDIR", "http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
    "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER", "STORAGE_EMULATOR_HOST",
};

/* Bytes that grow. A failed allocation leaves `bytes` NULL and `failed` set; adding more then does nothing. */
struct text {
    char *bytes;
    size_t length, room;
    bool failed;
};

static void add(struct text *text, const void *bytes, size_t length)
{
    if (text->failed || length == 0)
        return;
    if (length > text->room - text->length) {
        size_t room = text->room ? text->room : 1024;
        while (room < SIZE_MAX / 2 && room - text->length < length)
            room *= 2;
        char *grown = room - text->length < length ? NULL : realloc(text->bytes, room);
        if (grown == NULL) {
            free(text->bytes);
            *text = (struct text){.failed = true};
            return;
        }
        text->bytes = grown;
        text->room = room;
    }
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
}

/* One more field: NUL stands between them. */
static void add_field(struct text *text, const char *field)
{
    if (text->length > 0)
        add(text, "", 1);
    add(text, field, strlen(field));
}

static bool is_relevant(const char *entry)
{
    const char *end = strchr(entry, '=');
    if (end == NULL)
        return false;
    for (size_t i = 0; i < LENGTH(prefixes); i++)
        if (strncmp(entry, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    for (size_t i = 0; i < LENGTH(names); i++)
        if (strlen(names[i]) == (size_t)(end - entry) && strncmp(entry, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

/* Whether a variable stands in the list already: of two with one name the first counts, as for Python. */
static bool is_known(char *const *entries, size_t count, const char *entry)
{
    size_t length = (size_t)(strchr(entry, '=') - entry) + 1;
    for (size_t i = 0; i < count; i++)
        if (strncmp(entries[i], entry, length) == 0)
            return true;
    return false;
}

static int by_bytes(const void *one, const void *other)
{
    return strcmp(*(char *const *)one, *(char *const *)other);
}

/* The relevant variables in the order of their bytes, NULL behind the last; NULL without memory. */
static char **relevant(size_t *count)
{
    size_t all = 0;
    while (environ[all] != NULL)
        all++;
    char **entries = calloc(all + 1, sizeof *entries);
    if (entries == NULL)
        return NULL;
    *count = 0;
    for (size_t i = 0; i < all; i++)
        if (is_relevant(environ[i]) && !is_known(entries, *count, environ[i]))
            entries[(*count)++] = environ[i];
    qsort(entries, *count, sizeof *entries, by_bytes);
    return entries;
}

static const char *value(char *const *entries, const char *name)
{
    size_t length = strlen(name);
    for (; *entries != NULL; entries++)
        if (strncmp(*entries, name, length) == 0 && (*entries)[length] == '=')
            return *entries + length + 1;
    return "";
}

static bool switched_off(char *const *entries)
{
    static const char *const off[] = {"off", "0", "false", "no"};
    static const char blank[] = " \t\n\r\f\v";
    const char *said = value(entries, "WALE_AGENT");
    said += strspn(said, blank);
    size_t length = strlen(said);
    while (length > 0 && strchr(blank, said[length - 1]) != NULL)
        length--;
    for (size_t i = 0; i < LENGTH(off); i++)
        if (strlen(off[i]) == length && strncasecmp(said, off[i], length) == 0)
            return true;
    return false;
}

/* Where the sockets of this user are; empty where the path is too long. */
static void find_directory(char *const *entries, char *path, size_t room)
{
    const char *given = value(entries, "WALE_AGENT_DIR");
    int length = *given ? snprintf(path, room, "%s", given)
                        : snprintf(path, room, "/tmp/wal-e-%lu", (unsigned long)geteuid());
    if (length < 0 || (size_t)length >= room)
        *path = '\0';
}

/* Whether the directory is no link, and nobody else may put anything into it. */
static bool is_private(const char *path)
{
    struct stat found;
    return *path == '/' && lstat(path, &found) == 0 && S_ISDIR(found.st_mode) && (found.st_mode & 077) == 0 &&
           found.st_uid == geteuid();
}

/* CRC-32 as zlib has it, bit by bit: it is a few hundred bytes, once. */
static uint32_t crc32(const struct text *text)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < text->length; i++) {
        crc ^= (unsigned char)text->bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320U : 0);
    }
    return ~crc;
}

static bool find_socket(char *const *entries, char *const *words, size_t count, struct sockaddr_un *address)
{
    char directory[sizeof address->sun_path];
    find_directory(entries, directory, sizeof directory);
    if (!is_private(directory))
        return false;
    struct text identity = {0};
    add_field(&identity, PROTOCOL);
    for (; *entries != NULL; entries++)
        add_field(&identity, *entries);
    for (size_t i = 0; i < count; i++)
        add_field(&identity, words[i]);
    uint32_t id = crc32(&identity);
    bool failed = identity.failed;
    free(identity.bytes);
    address->sun_family = AF_UNIX;
    int length = snprintf(address->sun_path, sizeof address->sun_path, "%s/%08x.sock", directory, id);
    return !failed && length > 0 && (size_t)length < sizeof address->sun_path;
}

static struct text make_request(char *const *entries, size_t count, char *const *argv)
{
    struct text request = {0};
    char number[24];
    char *cwd = getcwd(NULL, 0);
    if (cwd == NULL)
        return (struct text){.failed = true};
    snprintf(number, sizeof number, "%zu", count);
    add_field(&request, PROTOCOL);
    add_field(&request, cwd);
    add_field(&request, number);
    for (; *entries != NULL; entries++)
        add_field(&request, *entries);
    for (; *argv != NULL; argv++)
        add_field(&request, *argv);
    free(cwd);
    return request;
}

/* A connection to an agent of our own user; -1 where there is none. One whose queue is full is not waited for. */
static int dial(const struct sockaddr_un *address)
{
    static const struct timeval silence = {.tv_sec = SILENCE_MS / 1000, .tv_usec = SILENCE_MS % 1000 * 1000};
    struct ucred peer;
    socklen_t size = sizeof peer;
    int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connection < 0)
        return -1;
    if (connect(connection, (const struct sockaddr *)address, sizeof *address) == 0 &&
        getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid() &&
        setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof silence) == 0 &&
        setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &silence, sizeof silence) == 0 &&
        fcntl(connection, F_SETFL, 0) == 0)
        return connection;
    close(connection);
    return -1;
}

static bool send_all(int connection, const struct text *request)
{
    size_t done = 0;
    while (done < request->length) {
        ssize_t sent = send(connection, request->bytes + done, request->length - done, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR)
            return false;
        if (sent > 0)
            done += (size_t)sent;
    }
    return shutdown(connection, SHUT_WR) == 0;
}

/* The exit code in "=code\n"; -1 where it is none. */
static int exit_code(const char *line, size_t length)
{
    int code = 0;
    if (length < 3 || length > 5)
        return -1;
    for (size_t i = 1; i < length - 1; i++) {
        if (line[i] < '0' || line[i] > '9')
            return -1;
        code = code * 10 + (line[i] - '0');
    }
    return code <= 255 ? code : -1;
}

/* Takes one line: says whether more are to come, and otherwise sets the code. */
static bool take(const char *line, size_t length, struct text *out, struct text *err, int *code)
{
    if (*line == ':' || *line == '>')
        add(*line == ':' ? err : out, line + 1, length - 1);
    else if (*line == '=')
        *code = exit_code(line, length);
    return *line == ':' || *line == '>' || *line == '.';
}

/* Collects lines up to the exit code, which it returns; -1 for a refusal, silence, end of file and nonsense. */
static int receive(int connection, struct text *out, struct text *err)
{
    static char piece[65536];
    struct text line = {0};
    int code = -1;
    for (bool more = true; more;) {
        ssize_t got = recv(connection, piece, sizeof piece, 0);
        if (got < 0 && errno == EINTR)
            continue;
        const char *at = piece, *end = piece + (got > 0 ? got : 0);
        more = at < end;
        while (more && at < end) {
            const char *newline = memchr(at, '\n', (size_t)(end - at));
            const char *next = newline ? newline + 1 : end;
            add(&line, at, (size_t)(next - at));
            at = next;
            more = !line.failed;
            if (more && newline != NULL) {
                more = take(line.bytes, line.length, out, err, &code);
                line.length = 0;
            }
        }
    }
    free(line.bytes);
    return out->failed || err->failed ? -1 : code;
}

static int converse(const struct sockaddr_un *address, const struct text *request, struct text *out, struct text *err)
{
    int connection = request->failed ? -1 : dial(address);
    if (connection < 0)
        return -1;
    int code = send_all(connection, request) ? receive(connection, out, err) : -1;
    close(connection);
    return code;
}

/* Whoever does not listen misses it. */
static void write_all(int descriptor, const struct text *text)
{
    size_t done = 0;
    while (done < text->length) {
        ssize_t written = write(descriptor, text->bytes + done, text->length - done);
        if (written < 0 && errno != EINTR)
            return;
        if (written > 0)
            done += (size_t)written;
    }
}

/* The agent's exit code, after its lines were written; -1 where the work is still to do. */
static int ask(char *const *argv)
{
    size_t words = 0, count = 0;
    while (argv[words] != NULL && strcmp(argv[words], "wal-push") != 0 && strcmp(argv[words], "wal-fetch") != 0)
        if (strcmp(argv[words++], "agent") == 0)
            return -1;
    char **entries = argv[words] != NULL ? relevant(&count) : NULL;
    if (entries == NULL)
        return -1;
    struct sockaddr_un address = {0};
    int code = -1;
    if (!switched_off(entries) && find_socket(entries, argv, words, &address)) {
        struct text out = {0}, err = {0}, request = make_request(entries, count, argv);
        code = converse(&address, &request, &out, &err);
        if (code >= 0) {
            write_all(STDOUT_FILENO, &out);
            write_all(STDERR_FILENO, &err);
        }
        free(out.bytes);
        free(err.bytes);
        free(request.bytes);
    }
    free(entries);
    return code;
}

/*
 * Becomes the sibling program, which need not ask an agent again; returns what to exit with where that fails.
 *
 * SIGINT waits until entry.py lets it through: an interpreter that it meets while it starts ends with a traceback and
 * code 1, which of wal-fetch would mean that the archive has no such file.
 */
static int become_python(char *const *argv)
{
    char path[PATH_MAX + sizeof SIBLING], number[24];
    snprintf(number, sizeof number, "%ld", (long)getpid());
    setenv("WAL_E_ASKED", number, 1); /* without memory for it, the agent is asked twice */
    ssize_t length = readlink("/proc/self/exe", path, PATH_MAX);
    char *slash = length > 0 ? memrchr(path, '/', (size_t)length) : NULL;
    if (slash != NULL) {
        memcpy(slash + 1, SIBLING, sizeof SIBLING);
        sigset_t interrupt;
        sigemptyset(&interrupt);
        sigaddset(&interrupt, SIGINT);
        sigprocmask(SIG_BLOCK, &interrupt, NULL);
        execv(path, argv);
    }
    fprintf(stderr,
            "wal-e: cannot run %s: %s\n"
            "wal-e: this user must be able to read it, the Python that its first line names, and all folders above them\n",
            slash != NULL ? path : SIBLING, strerror(errno));
    for (; *argv != NULL; argv++)
        if (strcmp(*argv, "wal-fetch") == 0)
            return BROKEN_FETCH;
    return BROKEN;
}

int main(int argc, char **argv)
{
    int code = argc > 0 ? ask(argv + 1) : -1;
    return code >= 0 ? code : become_python(argv);
}
