/*
 * libmicrohttpd (as of 0.9.75) aborts the process when MHD_quiesce_daemon() and one of its own threads
 * both take the listening socket out of an epoll set: whoever is second gets ENOENT. So what is to be
 * removed from a set and is not there any more is removed, for the whole process: the dynamic linker
 * prefers the program's definition to the C library's. Linked into the program itself, as nothing is
 * exported from the libraries of which it is made.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>

typedef int (*epoll_ctl_fn)(int set, int operation, int fd, struct epoll_event *event);

__attribute__((visibility("default"))) int epoll_ctl(int set, int operation, int fd,
                                                     struct epoll_event *event)
{
    static _Atomic(epoll_ctl_fn) next;
    epoll_ctl_fn call = atomic_load(&next);
    if (!call) {
        void *found = dlsym(RTLD_NEXT, "epoll_ctl"); /* a sanitizer may have its own, too */
        memcpy(&call, &found, sizeof call);
        atomic_store(&next, call);
    }
    int result = call(set, operation, fd, event);
    return result && operation == EPOLL_CTL_DEL && errno == ENOENT ? 0 : result;
}
