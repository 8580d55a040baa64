#include "core.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>

enum {
  BLOCK_BYTES = 16,
  IV_BYTES = 12,
  PREFIX_BYTES = 12,
  LENGTH_BYTES = 4,
  /* Contexts that are kept for reading, one a nonce prefix: each writer uses one for 2^20 messages. */
  READERS = 64,
  /* As in the JavaScript of this: far below the 2^32 of SP 800-38D section 8.3. */
  MESSAGES_PER_PREFIX = 1 << 20,
};

typedef struct {
  EVP_CIPHER_CTX *context;
  uint8_t prefix[PREFIX_BYTES];
  int keyed;
} message_key;

struct fe_key {
  size_t references;
  fe_suite suite;
  uint8_t header[FE_HEADER_BYTES];
  EVP_CIPHER *cipher;
  int hedges;
  uint8_t nonce_key[FE_KEY_BYTES];
  /* Of AES-256-GCM-SIV, which derives a key for each message itself. */
  uint8_t siv_key[FE_KEY_BYTES];
  /* Of XAES-256-GCM: AES under the key, and the first subkey of CMAC. */
  EVP_CIPHER_CTX *aes;
  uint8_t subkey[BLOCK_BYTES];
  uint8_t prefix[PREFIX_BYTES];
  uint32_t messages_left;
  message_key writer;
  message_key readers[READERS];
};

struct fe_field {
  fe_key *key;
  /* The MAC of hedged nonces, and that which makes its key. */
  fe_mac *nonces;
  fe_mac *nonce_keys;
  fe_format format;
  /* Before the context, for which there is room after them. */
  size_t ad_bytes;
  uint8_t ad[];
};

struct fe_mac {
  EVP_MAC_CTX *context;
};

void fe_cleanse(void *bytes, size_t count) { OPENSSL_cleanse(bytes, count); }

/* Errors that are left behind would be taken for those of somebody else's next call. */
static int failed(void) {
  ERR_clear_error();
  return 0;
}

/* --- Random bytes --- */

static int draw(fe_random *random, uint8_t *bytes, size_t count) {
  if (random->left < count) {
    random->left = 0;
    if (!random->refill(random->owner, random->pool)) return 0;
    random->left = FE_POOL_BYTES;
  }
  memcpy(bytes, random->pool + FE_POOL_BYTES - random->left, count);
  random->left -= count;
  return 1;
}

/* --- HMAC-SHA-256 --- */

fe_mac *fe_mac_new(const uint8_t *key, size_t key_bytes) {
  fe_mac *mac = calloc(1, sizeof *mac);
  if (mac == NULL) return NULL;
  char digest[] = "SHA2-256";
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
      OSSL_PARAM_construct_end(),
  };
  EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
  mac->context = hmac == NULL ? NULL : EVP_MAC_CTX_new(hmac);
  EVP_MAC_free(hmac);
  if (mac->context == NULL || !EVP_MAC_init(mac->context, key, key_bytes, params)) {
    failed();
    fe_mac_free(mac);
    return NULL;
  }
  return mac;
}

int fe_mac_compute(fe_mac *mac, const uint8_t *first, size_t first_bytes, const uint8_t *second,
                   size_t second_bytes, uint8_t digest[FE_DIGEST_BYTES]) {
  size_t length = 0;
  if (!EVP_MAC_init(mac->context, NULL, 0, NULL) ||
      !EVP_MAC_update(mac->context, first, first_bytes) ||
      !EVP_MAC_update(mac->context, second, second_bytes) ||
      !EVP_MAC_final(mac->context, digest, &length, FE_DIGEST_BYTES)) {
    return failed();
  }
  return length == FE_DIGEST_BYTES;
}

static int rekey(fe_mac *mac, const uint8_t *key, size_t key_bytes) {
  return EVP_MAC_init(mac->context, key, key_bytes, NULL) ? 1 : failed();
}

void fe_mac_free(fe_mac *mac) {
  if (mac == NULL) return;
  EVP_MAC_CTX_free(mac->context);
  free(mac);
}

/* --- XAES-256-GCM (C2SP): the key of a message, by the first half of its nonce --- */

/* Multiplies a block by x in GF(2^128). Without a branch: the carry is a bit of key material. */
static void double_block(uint8_t block[BLOCK_BYTES]) {
  uint8_t carry = 0;
  for (int i = BLOCK_BYTES - 1; i >= 0; i -= 1) {
    const uint8_t byte = block[i];
    block[i] = (uint8_t)((byte << 1) | carry);
    carry = byte >> 7;
  }
  block[BLOCK_BYTES - 1] ^= (uint8_t)(carry * 0x87);
}

static int encrypt_blocks(EVP_CIPHER_CTX *aes, uint8_t *blocks, int bytes) {
  int written = 0;
  return EVP_EncryptUpdate(aes, blocks, &written, blocks, bytes) && written == bytes;
}

/* Kx = AES(K, M1 ^ K1) || AES(K, M2 ^ K1), where Mi = 0x00 || i || 'X' || 0x00 || prefix. */
static int derive_message_key(fe_key *key, const uint8_t *prefix, uint8_t derived[FE_KEY_BYTES]) {
  for (int counter = 1; counter <= 2; counter += 1) {
    uint8_t *block = derived + (counter - 1) * BLOCK_BYTES;
    block[0] = 0;
    block[1] = (uint8_t)counter;
    block[2] = 'X';
    block[3] = 0;
    memcpy(block + BLOCK_BYTES - PREFIX_BYTES, prefix, PREFIX_BYTES);
    for (int i = 0; i < BLOCK_BYTES; i += 1) block[i] ^= key->subkey[i];
  }
  return encrypt_blocks(key->aes, derived, FE_KEY_BYTES);
}

/* Keys a context for the messages of a prefix. */
static int key_context(fe_key *key, message_key *slot, const uint8_t *prefix, int encrypts) {
  uint8_t derived[FE_KEY_BYTES];
  slot->keyed = 0;
  if (slot->context == NULL) slot->context = EVP_CIPHER_CTX_new();
  const int ok = slot->context != NULL && derive_message_key(key, prefix, derived) &&
                 EVP_CipherInit_ex(slot->context, key->cipher, NULL, derived, NULL, encrypts);
  OPENSSL_cleanse(derived, sizeof derived);
  if (!ok) return failed();
  memcpy(slot->prefix, prefix, PREFIX_BYTES);
  slot->keyed = 1;
  return 1;
}

static int is_keyed(const message_key *slot, const uint8_t *prefix) {
  return slot->keyed && memcmp(slot->prefix, prefix, PREFIX_BYTES) == 0;
}

/* A context that waits for the associated data of a message with this nonce. */
static EVP_CIPHER_CTX *begin(fe_key *key, const uint8_t *nonce, int encrypts) {
  /* Prefixes are random, so a byte of one spreads them. */
  message_key *slot = encrypts ? &key->writer : &key->readers[nonce[0] % READERS];
  if (!is_keyed(slot, nonce) && !key_context(key, slot, nonce, encrypts)) return NULL;
  const uint8_t *iv = nonce + PREFIX_BYTES;
  return EVP_CipherInit_ex(slot->context, NULL, NULL, NULL, iv, encrypts) ? slot->context : NULL;
}

/* The same of AES-256-GCM-SIV, whose nonce is no more than the IV. */
static EVP_CIPHER_CTX *begin_siv(fe_key *key, const uint8_t *nonce, int encrypts) {
  message_key *slot = encrypts ? &key->writer : &key->readers[0];
  if (slot->context == NULL) slot->context = EVP_CIPHER_CTX_new();
  if (slot->context == NULL) return NULL;
  return EVP_CipherInit_ex(slot->context, key->cipher, NULL, key->siv_key, nonce, encrypts)
             ? slot->context
             : NULL;
}

/*
 * Completes the associated data of a field by the length and the bytes of a context, and returns how
 * long they are: OpenSSL takes those of AES-256-GCM-SIV in one piece only.
 */
static size_t complete_ad(fe_field *field, const fe_context *context) {
  if (context == NULL) return field->ad_bytes;
  uint8_t *row = field->ad + field->ad_bytes;
  for (int i = 0; i < LENGTH_BYTES; i += 1) {
    row[i] = (uint8_t)(context->count >> (8 * (LENGTH_BYTES - 1 - i)));
  }
  if (context->count > 0) memcpy(row + LENGTH_BYTES, context->bytes, context->count);
  return field->ad_bytes + LENGTH_BYTES + context->count;
}

static EVP_CIPHER_CTX *begin_message(fe_field *field, const fe_context *bound,
                                     const uint8_t *nonce, int encrypts) {
  EVP_CIPHER_CTX *context = field->key->suite == FE_XAES_256_GCM
                                ? begin(field->key, nonce, encrypts)
                                : begin_siv(field->key, nonce, encrypts);
  const size_t ad_bytes = complete_ad(field, bound);
  int unused = 0;
  if (context == NULL || ad_bytes == 0) return context;
  return EVP_CipherUpdate(context, NULL, &unused, field->ad, (int)ad_bytes) ? context : NULL;
}

/* --- Keys and fields --- */

static int prepare_xaes(fe_key *key, const uint8_t bytes[FE_KEY_BYTES]) {
  EVP_CIPHER *ecb = EVP_CIPHER_fetch(NULL, "AES-256-ECB", NULL);
  key->aes = ecb == NULL ? NULL : EVP_CIPHER_CTX_new();
  const int ok = key->aes != NULL && EVP_EncryptInit_ex2(key->aes, ecb, bytes, NULL, NULL) &&
                 EVP_CIPHER_CTX_set_padding(key->aes, 0) &&
                 encrypt_blocks(key->aes, key->subkey, BLOCK_BYTES);
  EVP_CIPHER_free(ecb);
  double_block(key->subkey);
  return ok;
}

static int prepare_siv(fe_key *key, const uint8_t bytes[FE_KEY_BYTES]) {
  memcpy(key->siv_key, bytes, FE_KEY_BYTES);
  return 1;
}

fe_key *fe_key_new(fe_suite suite, const uint8_t bytes[FE_KEY_BYTES],
                   const uint8_t header[FE_HEADER_BYTES], const uint8_t *nonce_key) {
  fe_key *key = calloc(1, sizeof *key);
  if (key == NULL) return NULL;
  const int xaes = suite == FE_XAES_256_GCM;
  key->references = 1;
  key->suite = suite;
  memcpy(key->header, header, FE_HEADER_BYTES);
  /* Fetched for each key, so that FIPS mode rules the keys that are made after it was set. */
  key->cipher = EVP_CIPHER_fetch(NULL, xaes ? "AES-256-GCM" : "AES-256-GCM-SIV", NULL);
  if (key->cipher == NULL || !(xaes ? prepare_xaes(key, bytes) : prepare_siv(key, bytes))) {
    failed();
    fe_key_release(key);
    return NULL;
  }
  /* A repeated nonce of AES-256-GCM-SIV shows equality as it is. */
  key->hedges = xaes && nonce_key != NULL;
  if (key->hedges) memcpy(key->nonce_key, nonce_key, FE_KEY_BYTES);
  return key;
}

void fe_key_hold(fe_key *key) { key->references += 1; }

void fe_key_release(fe_key *key) {
  key->references -= 1;
  if (key->references > 0) return;
  for (int i = 0; i < READERS; i += 1) EVP_CIPHER_CTX_free(key->readers[i].context);
  EVP_CIPHER_CTX_free(key->writer.context);
  EVP_CIPHER_CTX_free(key->aes);
  EVP_CIPHER_free(key->cipher);
  OPENSSL_cleanse(key, sizeof *key);
  free(key);
}

/*
 * Keys the MAC of hedged nonces with HMAC(K', associated data): once for a field of the unbound format,
 * for each message of the bound one.
 */
static int key_nonces(fe_field *field, const fe_context *context) {
  uint8_t digest[FE_DIGEST_BYTES];
  const size_t ad_bytes = complete_ad(field, context);
  const int ok = fe_mac_compute(field->nonce_keys, field->ad, ad_bytes, NULL, 0, digest) &&
                 rekey(field->nonces, digest, sizeof digest);
  OPENSSL_cleanse(digest, sizeof digest);
  return ok;
}

static int prepare_nonces(fe_field *field) {
  if (!field->key->hedges) return 1;
  field->nonce_keys = fe_mac_new(field->key->nonce_key, FE_KEY_BYTES);
  field->nonces = fe_mac_new(field->key->nonce_key, FE_KEY_BYTES);
  if (field->nonce_keys == NULL || field->nonces == NULL) return 0;
  return field->format == FE_BOUND || key_nonces(field, NULL);
}

fe_field *fe_field_new(fe_key *key, fe_format format, const uint8_t *ad, size_t ad_bytes) {
  if (ad_bytes > FE_MAX_AD_BYTES) return NULL;
  fe_field *field = calloc(1, sizeof *field + ad_bytes + LENGTH_BYTES + FE_MAX_CONTEXT_BYTES);
  if (field == NULL) return NULL;
  fe_key_hold(key);
  field->key = key;
  field->format = format;
  field->ad_bytes = ad_bytes;
  if (ad_bytes > 0) memcpy(field->ad, ad, ad_bytes);
  if (prepare_nonces(field)) return field;
  fe_field_free(field);
  return NULL;
}

void fe_field_free(fe_field *field) {
  if (field == NULL) return;
  fe_mac_free(field->nonces);
  fe_mac_free(field->nonce_keys);
  fe_key_release(field->key);
  free(field);
}

/* --- Values --- */

/* Whether a field takes values with this context, or without one. */
static int fits(const fe_field *field, const fe_context *context) {
  if (field->format == FE_UNBOUND) return context == NULL;
  return context != NULL && context->count <= FE_MAX_CONTEXT_BYTES;
}

static int has_header(const fe_field *field, const uint8_t *frame) {
  return frame[0] == field->format &&
         memcmp(frame + 1, field->key->header + 1, FE_HEADER_BYTES - 1) == 0;
}

size_t fe_nonce_bytes(const fe_field *field) {
  return field->key->suite == FE_XAES_256_GCM ? PREFIX_BYTES + IV_BYTES : IV_BYTES;
}

size_t fe_plain_offset(const fe_field *field) { return FE_HEADER_BYTES + fe_nonce_bytes(field); }

int fe_draw_nonce(fe_field *field, fe_random *random, uint8_t nonce[FE_MAX_NONCE_BYTES]) {
  fe_key *key = field->key;
  if (key->suite != FE_XAES_256_GCM) return draw(random, nonce, IV_BYTES);
  if (key->messages_left == 0) {
    if (!draw(random, key->prefix, PREFIX_BYTES)) return 0;
    key->messages_left = MESSAGES_PER_PREFIX;
  }
  if (!draw(random, nonce + PREFIX_BYTES, IV_BYTES)) return 0;
  memcpy(nonce, key->prefix, PREFIX_BYTES);
  key->messages_left -= 1;
  return 1;
}

/*
 * Replaces the second half of a nonce by the beginning of HMAC(nonce || plaintext), which stand next
 * to each other.
 */
static int hedge(fe_field *field, const fe_context *context, uint8_t *nonce, size_t plain_bytes) {
  uint8_t digest[FE_DIGEST_BYTES];
  if (field->nonces == NULL) return 1;
  if (context != NULL && !key_nonces(field, context)) return 0;
  const size_t message = PREFIX_BYTES + IV_BYTES + plain_bytes;
  if (!fe_mac_compute(field->nonces, nonce, message, NULL, 0, digest)) return 0;
  memcpy(nonce + PREFIX_BYTES, digest, IV_BYTES);
  return 1;
}

static int seal_in_place(fe_field *field, const fe_context *bound, const uint8_t *nonce,
                         uint8_t *plain, int bytes) {
  int written = 0;
  int finished = 0;
  EVP_CIPHER_CTX *context = begin_message(field, bound, nonce, 1);
  return context != NULL && EVP_EncryptUpdate(context, plain, &written, plain, bytes) &&
         written == bytes && EVP_EncryptFinal_ex(context, plain + bytes, &finished) &&
         EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, FE_TAG_BYTES, plain + bytes);
}

size_t fe_seal(fe_field *field, const uint8_t drawn[FE_MAX_NONCE_BYTES], const fe_context *context,
               uint8_t *frame, size_t plain_bytes) {
  const size_t offset = fe_plain_offset(field);
  if (plain_bytes == 0 || plain_bytes > FE_MAX_PLAIN_BYTES) return 0;
  uint8_t *nonce = frame + FE_HEADER_BYTES;
  memcpy(frame, field->key->header, FE_HEADER_BYTES);
  frame[0] = (uint8_t)field->format;
  memcpy(nonce, drawn, fe_nonce_bytes(field));
  if (!fits(field, context) || !hedge(field, context, nonce, plain_bytes) ||
      !seal_in_place(field, context, nonce, frame + offset, (int)plain_bytes)) {
    OPENSSL_cleanse(frame + offset, plain_bytes);
    failed();
    return 0;
  }
  return offset + plain_bytes + FE_TAG_BYTES;
}

static int open_message(fe_field *field, const fe_context *bound, const uint8_t *nonce,
                        const uint8_t *sealed, int bytes, uint8_t *plain) {
  uint8_t tag[FE_TAG_BYTES];
  int written = 0;
  int finished = 0;
  memcpy(tag, sealed + bytes, sizeof tag);
  EVP_CIPHER_CTX *context = begin_message(field, bound, nonce, 0);
  return context != NULL &&
         EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, sizeof tag, tag) &&
         EVP_DecryptUpdate(context, plain, &written, sealed, bytes) && written == bytes &&
         EVP_DecryptFinal_ex(context, plain + bytes, &finished) > 0;
}

size_t fe_open(fe_field *field, const fe_context *context, const uint8_t *frame,
               size_t frame_bytes, uint8_t *plain) {
  const size_t offset = fe_plain_offset(field);
  if (frame_bytes <= offset + FE_TAG_BYTES || frame_bytes > FE_MAX_FRAME_BYTES) return 0;
  const size_t plain_bytes = frame_bytes - offset - FE_TAG_BYTES;
  if (plain_bytes > FE_MAX_PLAIN_BYTES) return 0;
  if (!has_header(field, frame) || !fits(field, context)) return 0;
  if (!open_message(field, context, frame + FE_HEADER_BYTES, frame + offset, (int)plain_bytes,
                    plain)) {
    OPENSSL_cleanse(plain, plain_bytes);
    failed();
    return 0;
  }
  return plain_bytes;
}

/* --- Text --- */

static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

size_t fe_base64url_encode(const uint8_t *bytes, size_t count, char *text) {
  char *at = text;
  size_t i = 0;
  for (; i + 3 <= count; i += 3) {
    const uint32_t group = (uint32_t)bytes[i] << 16 | (uint32_t)bytes[i + 1] << 8 | bytes[i + 2];
    *at++ = ALPHABET[group >> 18];
    *at++ = ALPHABET[group >> 12 & 63];
    *at++ = ALPHABET[group >> 6 & 63];
    *at++ = ALPHABET[group & 63];
  }
  if (count - i == 1) {
    *at++ = ALPHABET[bytes[i] >> 2];
    *at++ = ALPHABET[bytes[i] << 4 & 63];
  } else if (count - i == 2) {
    const uint32_t group = (uint32_t)bytes[i] << 8 | bytes[i + 1];
    *at++ = ALPHABET[group >> 10];
    *at++ = ALPHABET[group >> 4 & 63];
    *at++ = ALPHABET[group << 2 & 63];
  }
  return (size_t)(at - text);
}

/* What a character stands for; a bit beyond the six for every other. */
enum { NO_CHARACTER = 0x80 };
#define NONE NO_CHARACTER
static const uint8_t SIXTHS[128] = {
    NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
    NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
    NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, 62,   NONE, NONE,
    52,   53,   54,   55,   56,   57,   58,   59,   60,   61,   NONE, NONE, NONE, NONE, NONE, NONE,
    NONE, 0,    1,    2,    3,    4,    5,    6,    7,    8,    9,    10,   11,   12,   13,   14,
    15,   16,   17,   18,   19,   20,   21,   22,   23,   24,   25,   NONE, NONE, NONE, NONE, 63,
    NONE, 26,   27,   28,   29,   30,   31,   32,   33,   34,   35,   36,   37,   38,   39,   40,
    41,   42,   43,   44,   45,   46,   47,   48,   49,   50,   51,   NONE, NONE, NONE, NONE, NONE,
};
#undef NONE

static uint32_t sixth(uint16_t character) {
  return character < 128 ? SIXTHS[character] : NO_CHARACTER;
}

/* The one, two or none bytes after whole groups, whose spare bits are zero. Returns 0 for all else. */
static int decode_rest(const uint16_t *text, size_t chars, uint8_t *bytes) {
  if (chars == 0) return 1;
  if (chars == 1) return 0;
  const uint32_t a = sixth(text[0]);
  const uint32_t b = sixth(text[1]);
  const uint32_t c = chars == 3 ? sixth(text[2]) : 0;
  if ((a | b | c) & NO_CHARACTER) return 0;
  bytes[0] = (uint8_t)(a << 2 | b >> 4);
  if (chars == 2) return (b & 15) == 0;
  bytes[1] = (uint8_t)(b << 4 | c >> 2);
  return (c & 3) == 0;
}

size_t fe_base64url_decode(const uint16_t *text, size_t chars, uint8_t *bytes) {
  if (chars > FE_MAX_TEXT_CHARS) return 0;
  uint32_t seen = 0;
  uint8_t *at = bytes;
  size_t i = 0;
  for (; i + 4 <= chars; i += 4) {
    const uint32_t a = sixth(text[i]);
    const uint32_t b = sixth(text[i + 1]);
    const uint32_t c = sixth(text[i + 2]);
    const uint32_t d = sixth(text[i + 3]);
    seen |= a | b | c | d;
    *at++ = (uint8_t)(a << 2 | b >> 4);
    *at++ = (uint8_t)(b << 4 | c >> 2);
    *at++ = (uint8_t)(c << 6 | d);
  }
  if ((seen & NO_CHARACTER) || !decode_rest(text + i, chars - i, at)) return 0;
  return chars / 4 * 3 + (chars % 4 == 0 ? 0 : chars % 4 - 1);
}

/* The code point at a position, of one unit or two; a lone surrogate comes as it is. */
static uint32_t code_point(const uint16_t *text, size_t left) {
  const uint32_t unit = text[0];
  if (unit < 0xd800 || unit > 0xdbff || left < 2) return unit;
  const uint32_t next = text[1];
  if (next < 0xdc00 || next > 0xdfff) return unit;
  return 0x10000 + ((unit - 0xd800) << 10) + (next - 0xdc00);
}

static size_t utf8_bytes(uint32_t point) {
  if (point < 0x80) return 1;
  if (point < 0x800) return 2;
  return point < 0x10000 ? 3 : 4;
}

static void write_utf8(uint32_t point, size_t count, uint8_t *bytes) {
  static const uint8_t FIRST[] = {0, 0, 0xc0, 0xe0, 0xf0};
  for (size_t i = count - 1; i > 0; i -= 1) {
    bytes[i] = (uint8_t)(0x80 | (point & 0x3f));
    point >>= 6;
  }
  bytes[0] = (uint8_t)(FIRST[count] | point);
}

/* Copies units for as long as they are ASCII, in blocks that the compiler does at once. */
static size_t copy_ascii(const uint16_t *text, size_t count, uint8_t *bytes) {
  enum { BLOCK = 16 };
  size_t i = 0;
  for (; i + BLOCK <= count; i += BLOCK) {
    uint16_t seen = 0;
    for (size_t j = 0; j < BLOCK; j += 1) seen |= text[i + j];
    if (seen > 0x7f) return i;
    for (size_t j = 0; j < BLOCK; j += 1) bytes[i + j] = (uint8_t)text[i + j];
  }
  return i;
}

int fe_utf8_encode(const uint16_t *text, size_t chars, uint8_t *bytes, size_t room,
                   size_t *length) {
  size_t i = copy_ascii(text, chars < room ? chars : room, bytes);
  size_t used = i;
  while (i < chars) {
    const uint32_t point = code_point(text + i, chars - i);
    if (point >= 0xd800 && point <= 0xdfff) return 0;
    const size_t count = utf8_bytes(point);
    if (count > room - used) return 0;
    write_utf8(point, count, bytes + used);
    used += count;
    i += count == 4 ? 2 : 1;
  }
  *length = used;
  return 1;
}

int fe_is_ascii(const uint8_t *bytes, size_t count) {
  uint8_t seen = 0;
  for (size_t i = 0; i < count; i += 1) seen |= bytes[i];
  return seen < 0x80;
}
