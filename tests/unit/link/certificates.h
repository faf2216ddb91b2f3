/*
 * Certificates for a test, in a folder of their own.
 */
#ifndef TEST_LINK_CERTIFICATES_H
#define TEST_LINK_CERTIFICATES_H

struct certificates {
    char folder[40];
    char *authority, *certificate, *key; /* paths of PEM files */
};

/* A CA, and a certificate with this name that it has signed. */
void certificates_make(struct certificates *certificates, const char *name);
void certificates_free(struct certificates *certificates);

#endif
