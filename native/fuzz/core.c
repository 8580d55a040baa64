/* Feeds the core with anything, and with ciphertexts of its own that were changed. */
#include <stdlib.h>
#include <string.h>

#include "../src/core.h"

static const uint8_t KEY[FE_KEY_BYTES] = "0123456789abcdef0123456789abcde";
static const uint8_t HEADER[FE_HEADER_BYTES] = {1, 1, 2, 3, 4, 5, 6, 7, 8};
static const uint8_t AD[] = "label, header, application and field";

/* Buffers of just the size that the core is promised, so that a byte more is noticed. */
static uint8_t *frame;
static uint8_t *plain;
static char *text;
static uint16_t *units;
/* The first two are unbound, the others bound. */
static fe_field *fields[4];
static const fe_context ROW = {(const uint8_t *)"row", 3};
static const fe_context OTHER_ROW = {(const uint8_t *)"row 2", 5};
static fe_mac *mac;

static void require(int holds) {
  if (!holds) abort();
}

static fe_field *new_field(fe_format format, const uint8_t *nonce_key) {
  fe_key *key = fe_key_new(FE_XAES_256_GCM, KEY, HEADER, nonce_key);
  require(key != NULL);
  fe_field *field = fe_field_new(key, format, AD, sizeof AD);
  fe_key_release(key);
  return field;
}

static void prepare(void) {
  if (frame != NULL) return;
  frame = malloc(FE_MAX_FRAME_BYTES);
  plain = malloc(FE_MAX_PLAIN_BYTES);
  text = malloc(FE_MAX_TEXT_CHARS);
  units = malloc((FE_MAX_TEXT_CHARS + 2) * sizeof *units);
  for (int i = 0; i < 4; i += 1) {
    fields[i] = new_field(i < 2 ? FE_UNBOUND : FE_BOUND, i % 2 == 0 ? NULL : KEY);
    require(fields[i] != NULL);
  }
  mac = fe_mac_new(KEY, sizeof KEY);
  require(mac != NULL);
}

static int is_bound(const fe_field *field) { return field == fields[2] || field == fields[3]; }

static size_t open_it(fe_field *field, const uint8_t *bytes, size_t count) {
  return fe_open(field, is_bound(field) ? &ROW : NULL, bytes, count, plain);
}

static size_t widen(const char *from, size_t count) {
  for (size_t i = 0; i < count; i += 1) units[i] = (uint8_t)from[i];
  return count;
}

/* Text that decodes is the text of what it decodes to. */
static void try_text(fe_field *field, const uint8_t *data, size_t bytes) {
  const size_t chars = bytes / sizeof *units < FE_MAX_TEXT_CHARS + 2 ? bytes / sizeof *units
                                                                     : FE_MAX_TEXT_CHARS + 2;
  memcpy(units, data, chars * sizeof *units);
  const size_t decoded = fe_base64url_decode(units, chars, frame);
  if (decoded > 0) {
    require(fe_base64url_encode(frame, decoded, text) == chars);
    for (size_t i = 0; i < chars; i += 1) require(units[i] == (uint8_t)text[i]);
  }
  require(open_it(field, frame, decoded) == 0);
}

static void try_ascii(fe_field *field, const uint8_t *data, size_t bytes) {
  const size_t chars = bytes < FE_MAX_TEXT_CHARS ? bytes : FE_MAX_TEXT_CHARS;
  const size_t decoded =
      fe_base64url_decode(units, widen((const char *)data, chars), frame);
  require(open_it(field, frame, decoded) == 0);
}

static void try_utf16(const uint8_t *data, size_t bytes) {
  size_t length = 0;
  const size_t chars = bytes / sizeof *units < FE_MAX_TEXT_CHARS ? bytes / sizeof *units
                                                                 : FE_MAX_TEXT_CHARS;
  memcpy(units, data, chars * sizeof *units);
  const size_t room = bytes % 2 == 0 ? FE_MAX_PLAIN_BYTES : bytes % FE_MAX_PLAIN_BYTES;
  uint8_t *target = malloc(room + 1);
  if (fe_utf8_encode(units, chars, target, room, &length)) require(length <= room);
  free(target);
}

static void try_frame(fe_field *field, const uint8_t *data, size_t bytes) {
  uint8_t *copy = malloc(bytes + 1);
  memcpy(copy, data, bytes);
  memcpy(copy, HEADER, bytes < sizeof HEADER ? bytes : sizeof HEADER);
  if (is_bound(field)) copy[0] = FE_BOUND;
  require(open_it(field, copy, bytes) == 0);
  free(copy);
}

/* What was sealed opens to the same; changed by any bit it does not. */
static void try_seal(fe_field *field, const uint8_t *data, size_t bytes) {
  uint8_t nonce[FE_MAX_NONCE_BYTES] = {0};
  if (bytes < sizeof nonce) return;
  memcpy(nonce, data, sizeof nonce);
  const size_t count = bytes - sizeof nonce;
  const size_t kept = count < FE_MAX_PLAIN_BYTES ? count : FE_MAX_PLAIN_BYTES;
  if (kept > 0) memcpy(frame + fe_plain_offset(field), data + sizeof nonce, kept);
  const fe_context *row = is_bound(field) ? &ROW : NULL;
  const size_t sealed = fe_seal(field, nonce, row, frame, count);
  require((sealed > 0) == (count > 0 && count <= FE_MAX_PLAIN_BYTES));
  if (sealed == 0) return;
  require(open_it(field, frame, sealed) == count);
  require(memcmp(plain, data + sizeof nonce, count) == 0);
  require(fe_open(field, &OTHER_ROW, frame, sealed, plain) == 0);
  require(fe_open(fields[is_bound(field) ? 0 : 2], row, frame, sealed, plain) == 0);
  const size_t chars = fe_base64url_encode(frame, sealed, text);
  require(fe_base64url_decode(units, widen(text, chars), frame) == sealed);
  frame[data[0] % sealed] ^= (uint8_t)(1 << (data[1] % 8));
  require(open_it(field, frame, sealed) == 0);
  require(open_it(field, frame, data[2] % sealed) == 0);
}

static void try_mac(const uint8_t *data, size_t bytes) {
  uint8_t digest[FE_DIGEST_BYTES];
  const size_t half = bytes / 2;
  require(fe_mac_compute(mac, data, half, data + half, bytes - half, digest));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  if (bytes < 2) return 0;
  prepare();
  fe_field *field = fields[(data[0] & 1) | (data[0] >> 4 & 2)];
  const uint8_t *rest = data + 1;
  const size_t count = bytes - 1;
  switch (data[0] >> 1 & 7) {
    case 0: try_text(field, rest, count); break;
    case 1: try_ascii(field, rest, count); break;
    case 2: try_utf16(rest, count); break;
    case 3: try_frame(field, rest, count); break;
    case 4: try_mac(rest, count); break;
    default: try_seal(field, rest, count);
  }
  return 0;
}
