/*
 * Runs a fuzzer's LLVMFuzzerTestOneInput() over files and folders, once each: a corpus as a test,
 * with any compiler. An input that ended a fuzzer badly is looked at the same way.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX ((long)16 << 20)

/* The bytes are copied into a block of exactly their size, so that a sanitizer sees reads beyond. */
static int run_file(const char *path)
{
    FILE *file = fopen(path, "rbe");
    if (file == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    int result = -1;
    uint8_t *data = NULL;
    if (fseek(file, 0, SEEK_END) == 0) {
        long size = ftell(file);
        if (size >= 0 && size <= INPUT_MAX && fseek(file, 0, SEEK_SET) == 0) {
            data = malloc((size_t)size + (size == 0));
            if (data != NULL && fread(data, 1, (size_t)size, file) == (size_t)size) {
                (void)LLVMFuzzerTestOneInput(data, (size_t)size);
                result = 0;
            }
        }
    }
    if (result != 0) {
        fprintf(stderr, "%s: cannot be read\n", path);
    }
    free(data);
    fclose(file);
    return result;
}

static int run_folder(const char *path, unsigned *count)
{
    DIR *folder = opendir(path);
    if (folder == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    int result = 0;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        char file[PATH_MAX];
        if (entry->d_name[0] == '.') {
            continue;
        }
        if ((size_t)snprintf(file, sizeof(file), "%s/%s", path, entry->d_name) >= sizeof(file) ||
            run_file(file) != 0) {
            result = -1;
        }
        (*count)++;
    }
    closedir(folder);
    return result;
}

int main(int argc, char **argv)
{
    unsigned count = 0;
    int result = 0;
    for (int i = 1; i < argc; i++) {
        struct stat info;
        if (stat(argv[i], &info) == 0 && S_ISDIR(info.st_mode)) {
            result |= run_folder(argv[i], &count);
        } else {
            result |= run_file(argv[i]);
            count++;
        }
    }
    printf("%u inputs\n", count);
    if (count == 0) {
        fprintf(stderr, "no inputs: give files or folders\n");
        return 2;
    }
    return result == 0 ? 0 : 1;
}
