/*
 * The format and the ciphers of typeorm-field-encryption over OpenSSL, without anything of Node.js:
 * what is fuzzed by itself. Nothing here allocates by a length that comes from outside, and every
 * function checks the lengths that it is given.
 *
 * None of it may be used by two threads at once; contexts of their own may.
 */
#ifndef FE_CORE_H
#define FE_CORE_H

#include <stddef.h>
#include <stdint.h>

enum {
  FE_KEY_BYTES = 32,
  FE_HEADER_BYTES = 9,
  FE_MAX_NONCE_BYTES = 24,
  FE_TAG_BYTES = 16,
  FE_DIGEST_BYTES = 32,
  /* A longer value takes the cipher so long that JavaScript serves as well. */
  FE_MAX_PLAIN_BYTES = 8192,
  FE_MAX_FRAME_BYTES = FE_HEADER_BYTES + FE_MAX_NONCE_BYTES + FE_MAX_PLAIN_BYTES + FE_TAG_BYTES,
  FE_MAX_TEXT_CHARS = (FE_MAX_FRAME_BYTES * 4 + 2) / 3,
  FE_MAX_AD_BYTES = 65536,
  FE_MAX_CONTEXT_BYTES = 1024,
  /* Small, so that little is lost, or repeated, if a machine is copied while it runs. */
  FE_POOL_BYTES = 16384,
};

typedef enum { FE_XAES_256_GCM, FE_AES_256_GCM_SIV } fe_suite;

/* Random bytes, each of which is handed out once. */
typedef struct {
  /* Fills the pool, or returns 0. */
  int (*refill)(void *owner, uint8_t *pool);
  void *owner;
  uint8_t pool[FE_POOL_BYTES];
  size_t left;
} fe_random;

/* A data key. Counted: made with one reference, cleansed and freed with the last. */
typedef struct fe_key fe_key;

/* The first byte of a ciphertext: bound to its field, or to its row as well. */
typedef enum { FE_UNBOUND = 0x01, FE_BOUND = 0x02 } fe_format;

/* A data key for the values of one field. */
typedef struct fe_field fe_field;

/* The row that a bound value belongs to. The associated data go on with the length and the bytes. */
typedef struct {
  const uint8_t *bytes;
  size_t count;
} fe_context;

/* HMAC-SHA-256 under one key. */
typedef struct fe_mac fe_mac;

/*
 * NULL where OpenSSL does not have the suite, or may not use it.
 * nonce_key is that of hedged nonces, or NULL for nonces as they are drawn.
 */
fe_key *fe_key_new(fe_suite suite, const uint8_t key[FE_KEY_BYTES],
                   const uint8_t header[FE_HEADER_BYTES], const uint8_t *nonce_key);
void fe_key_hold(fe_key *key);
void fe_key_release(fe_key *key);

/*
 * Holds the key. NULL when memory is out or the associated data are too long. Of a bound format they
 * are those before the context.
 */
fe_field *fe_field_new(fe_key *key, fe_format format, const uint8_t *ad, size_t ad_bytes);
void fe_field_free(fe_field *field);

size_t fe_nonce_bytes(const fe_field *field);

/* Draws the random part of the next nonce. 0 when there are no random bytes. */
int fe_draw_nonce(fe_field *field, fe_random *random, uint8_t nonce[FE_MAX_NONCE_BYTES]);

/* Where the plaintext of a frame has to be for fe_seal. */
size_t fe_plain_offset(const fe_field *field);

/*
 * Makes a ciphertext of the plaintext that stands in its place in the frame, which has room for
 * FE_MAX_FRAME_BYTES. Returns its length, or 0, and then leaves no plaintext in the frame.
 * context is NULL for a field of the unbound format.
 */
size_t fe_seal(fe_field *field, const uint8_t nonce[FE_MAX_NONCE_BYTES], const fe_context *context,
               uint8_t *frame, size_t plain_bytes);

/*
 * Writes the plaintext to plain, which has room for FE_MAX_PLAIN_BYTES, and returns its length; 0,
 * with nothing in it, for all that is not an authentic ciphertext of this field. No plaintext is empty.
 */
size_t fe_open(fe_field *field, const fe_context *context, const uint8_t *frame,
               size_t frame_bytes, uint8_t *plain);

fe_mac *fe_mac_new(const uint8_t *key, size_t key_bytes);
/* The MAC of the parts, one after the other. 0 on failure. */
int fe_mac_compute(fe_mac *mac, const uint8_t *first, size_t first_bytes, const uint8_t *second,
                   size_t second_bytes, uint8_t digest[FE_DIGEST_BYTES]);
void fe_mac_free(fe_mac *mac);

/* Writes base64url without padding and returns its length. */
size_t fe_base64url_encode(const uint8_t *bytes, size_t count, char *text);

/*
 * Decodes canonical base64url without padding to bytes, which has room for FE_MAX_FRAME_BYTES.
 * Returns the length, or 0.
 */
size_t fe_base64url_decode(const uint16_t *text, size_t chars, uint8_t *bytes);

/*
 * Writes UTF-16 as UTF-8, at most room bytes. Returns 0 and leaves the length alone when there is no
 * room for it, or a lone surrogate in it.
 */
int fe_utf8_encode(const uint16_t *text, size_t chars, uint8_t *bytes, size_t room, size_t *length);

int fe_is_ascii(const uint8_t *bytes, size_t count);

/* Overwrites what nothing may read any more. */
void fe_cleanse(void *bytes, size_t count);

#endif
