/*
 * The core as functions of Node.js. Each function is bound to what it works with, so that no object
 * can be passed off as another. What it cannot do it answers with `undefined`, and JavaScript does it
 * or says why not.
 *
 * All state belongs to one `start()`, and so to one thread: there is none of the process.
 */
#include <stdlib.h>
#include <string.h>

#define NAPI_VERSION 8
#include <node_api.h>

#include "core.h"

#ifndef FE_VERSION
#error "FE_VERSION is set by binding.gyp"
#endif

/* How an opened value is given. */
typedef enum { FORM_TEXT, FORM_FLOAT64, FORM_RAW } form;

enum {
  FLOAT64_BYTES = 8,
  /* One more than fits: what fills it may be longer. */
  UNITS = FE_MAX_TEXT_CHARS + 2,
  NO_TAG = -1,
};

/* What all functions of one start() share: random bytes, and memory for one value at a time. */
typedef struct {
  size_t references;
  size_t live;
  napi_env env;
  napi_ref refill;
  fe_random random;
  uint16_t units[UNITS];
  /* Room for a character more than fits, and the end. */
  char context[FE_MAX_CONTEXT_BYTES + 2];
  uint8_t frame[FE_MAX_FRAME_BYTES];
  uint8_t plain[FE_MAX_PLAIN_BYTES];
  char text[FE_MAX_TEXT_CHARS + 1];
} instance;

/* A data key of an instance. */
typedef struct {
  instance *owner;
  fe_key *key;
} key_handle;

/* What a function that seals or opens is bound to. */
typedef struct {
  instance *owner;
  fe_field *field;
  fe_format format;
  int tag;
  int as_text;
  form form;
} value_handle;

/* What a function that makes tokens is bound to. */
typedef struct {
  instance *owner;
  fe_mac *mac;
  uint8_t tag;
  size_t bytes;
  uint8_t last_mask;
} token_handle;

/* --- Lifetimes --- */

static void hold_instance(instance *owner) { owner->references += 1; }

static void release_instance(instance *owner) {
  owner->references -= 1;
  if (owner->references > 0) return;
  napi_delete_reference(owner->env, owner->refill);
  fe_cleanse(owner, sizeof *owner);
  free(owner);
}

/* Memory for what a function is bound to. */
static void *new_handle(instance *owner, size_t bytes) {
  void *handle = malloc(bytes);
  if (handle == NULL) return NULL;
  hold_instance(owner);
  owner->live += 1;
  return handle;
}

static void free_handle(void *handle, instance *owner) {
  free(handle);
  owner->live -= 1;
  release_instance(owner);
}

static void finalize_instance(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  release_instance(data);
}

static void finalize_key(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  key_handle *handle = data;
  fe_key_release(handle->key);
  free_handle(handle, handle->owner);
}

static void finalize_value(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  value_handle *handle = data;
  fe_field_free(handle->field);
  free_handle(handle, handle->owner);
}

static void finalize_token(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  token_handle *handle = data;
  fe_mac_free(handle->mac);
  free_handle(handle, handle->owner);
}

/* --- Arguments and results --- */

static napi_value refuse(napi_env env, const char *message) {
  napi_throw_type_error(env, NULL, message);
  return NULL;
}

static int bytes_of(napi_env env, napi_value value, const uint8_t **bytes, size_t *count) {
  napi_typedarray_type type;
  void *data = NULL;
  bool is_array = false;
  if (napi_is_typedarray(env, value, &is_array) != napi_ok || !is_array) return 0;
  if (napi_get_typedarray_info(env, value, &type, count, &data, NULL, NULL) != napi_ok) return 0;
  *bytes = data;
  return type == napi_uint8_array;
}

static int key_bytes_of(napi_env env, napi_value value, size_t wanted, const uint8_t **bytes) {
  size_t count = 0;
  return bytes_of(env, value, bytes, &count) && count == wanted;
}

/* The units of a string in the instance's memory. 0 for what is no string, or too long. */
static int units_of(instance *owner, napi_value value, size_t *count) {
  const napi_status status = napi_get_value_string_utf16(
      owner->env, value, (char16_t *)owner->units, UNITS, count);
  return status == napi_ok && *count < UNITS - 1;
}

/*
 * The context of a value of the bound format in the instance's memory, and none of any other. 0 for
 * what is no string, or too long.
 */
static int context_of(value_handle *handle, napi_value value, fe_context *room,
                      const fe_context **context) {
  instance *owner = handle->owner;
  *context = NULL;
  if (handle->format == FE_UNBOUND) return 1;
  const napi_status status = napi_get_value_string_latin1(
      owner->env, value, owner->context, sizeof owner->context, &room->count);
  room->bytes = (const uint8_t *)owner->context;
  *context = room;
  return status == napi_ok && room->count <= FE_MAX_CONTEXT_BYTES;
}

static napi_value text_result(napi_env env, const char *text, size_t count) {
  napi_value result = NULL;
  return napi_create_string_latin1(env, text, count, &result) == napi_ok ? result : NULL;
}

static napi_value bytes_result(napi_env env, const uint8_t *bytes, size_t count) {
  napi_value result = NULL;
  void *copy = NULL;
  return napi_create_buffer_copy(env, count, bytes, &copy, &result) == napi_ok ? result : NULL;
}

/* A function that is bound to a handle, which lives as long as it does. */
static napi_value bound_function(napi_env env, const char *name, napi_callback call, void *handle,
                                 napi_finalize finalize) {
  napi_value function = NULL;
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, call, handle, &function) != napi_ok ||
      napi_add_finalizer(env, function, handle, finalize, NULL, NULL) != napi_ok) {
    finalize(env, handle, NULL);
    return NULL;
  }
  return function;
}

/* --- Sealing --- */

/* Random bytes come from Node.js, as they do for JavaScript. */
static int refill(void *data, uint8_t *pool) {
  instance *owner = data;
  napi_env env = owner->env;
  napi_value function = NULL;
  napi_value receiver = NULL;
  napi_value answer = NULL;
  const uint8_t *bytes = NULL;
  if (napi_get_reference_value(env, owner->refill, &function) != napi_ok || function == NULL ||
      napi_get_undefined(env, &receiver) != napi_ok ||
      napi_call_function(env, receiver, function, 0, NULL, &answer) != napi_ok ||
      !key_bytes_of(env, answer, FE_POOL_BYTES, &bytes)) {
    return 0;
  }
  memcpy(pool, bytes, FE_POOL_BYTES);
  return 1;
}

/* The nonce that a test has drawn, or one of the pool. */
static int nonce_of(value_handle *handle, napi_value drawn, uint8_t nonce[FE_MAX_NONCE_BYTES]) {
  instance *owner = handle->owner;
  const uint8_t *bytes = NULL;
  napi_valuetype type = napi_undefined;
  if (napi_typeof(owner->env, drawn, &type) != napi_ok) return 0;
  if (type == napi_undefined) return fe_draw_nonce(handle->field, &owner->random, nonce);
  if (!key_bytes_of(owner->env, drawn, fe_nonce_bytes(handle->field), &bytes)) return 0;
  memcpy(nonce, bytes, fe_nonce_bytes(handle->field));
  return 1;
}

/* Writes a content, text or bytes, to where a frame has its plaintext. */
static int write_content(instance *owner, napi_value content, uint8_t *target, size_t room,
                         size_t *written) {
  const uint8_t *bytes = NULL;
  size_t count = 0;
  if (units_of(owner, content, &count)) {
    const int ok = fe_utf8_encode(owner->units, count, target, room, written);
    fe_cleanse(owner->units, count * sizeof *owner->units);
    return ok;
  }
  if (!bytes_of(owner->env, content, &bytes, written)) {
    fe_cleanse(owner->units, sizeof owner->units);
    return 0;
  }
  if (*written > room) return 0;
  if (*written > 0) memcpy(target, bytes, *written);
  return 1;
}

/* seal(content, nonce?), and of the bound format seal(content, context, nonce?). */
static napi_value seal(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  size_t count = 3;
  value_handle *handle = NULL;
  fe_context room = {0};
  const fe_context *context = NULL;
  uint8_t nonce[FE_MAX_NONCE_BYTES];
  size_t written = 0;
  if (napi_get_cb_info(env, info, &count, arguments, NULL, (void **)&handle) != napi_ok) return NULL;
  /* First, since it may run JavaScript: nothing does while a value is in the instance's memory. */
  if (!nonce_of(handle, arguments[handle->format == FE_BOUND ? 2 : 1], nonce) ||
      !context_of(handle, arguments[1], &room, &context)) {
    return NULL;
  }
  instance *owner = handle->owner;
  uint8_t *plain = owner->frame + fe_plain_offset(handle->field);
  const size_t tag_bytes = handle->tag == NO_TAG ? 0 : 1;
  if (tag_bytes > 0) plain[0] = (uint8_t)handle->tag;
  if (!write_content(owner, arguments[0], plain + tag_bytes, FE_MAX_PLAIN_BYTES - tag_bytes,
                     &written)) {
    fe_cleanse(plain, FE_MAX_PLAIN_BYTES);
    return NULL;
  }
  const size_t bytes = fe_seal(handle->field, nonce, context, owner->frame, tag_bytes + written);
  if (bytes == 0) return NULL;
  if (!handle->as_text) return bytes_result(env, owner->frame, bytes);
  return text_result(env, owner->text, fe_base64url_encode(owner->frame, bytes, owner->text));
}

/* --- Opening --- */

/* Puts the frame of a stored value into the instance's memory, where no other thread can change it. */
static size_t frame_of(value_handle *handle, napi_value stored) {
  instance *owner = handle->owner;
  const uint8_t *bytes = NULL;
  size_t count = 0;
  if (handle->as_text) {
    if (!units_of(owner, stored, &count)) return 0;
    return fe_base64url_decode(owner->units, count, owner->frame);
  }
  if (!bytes_of(owner->env, stored, &bytes, &count) || count > FE_MAX_FRAME_BYTES) return 0;
  if (count > 0) memcpy(owner->frame, bytes, count);
  return count;
}

/* What is not UTF-8 is replaced as Buffer.toString() does it, by the same function of V8. */
static napi_value utf8_result(napi_env env, const uint8_t *bytes, size_t count) {
  napi_value result = NULL;
  if (fe_is_ascii(bytes, count)) return text_result(env, (const char *)bytes, count);
  return napi_create_string_utf8(env, (const char *)bytes, count, &result) == napi_ok ? result
                                                                                      : NULL;
}

static napi_value float64_result(napi_env env, const uint8_t *bytes, size_t count) {
  uint64_t bits = 0;
  double number = 0;
  napi_value result = NULL;
  if (count != FLOAT64_BYTES) return NULL;
  for (size_t i = 0; i < FLOAT64_BYTES; i += 1) bits = bits << 8 | bytes[i];
  memcpy(&number, &bits, sizeof number);
  return napi_create_double(env, number, &result) == napi_ok ? result : NULL;
}

static napi_value plain_result(value_handle *handle, const uint8_t *plain, size_t count) {
  napi_env env = handle->owner->env;
  if (handle->form == FORM_RAW) return bytes_result(env, plain, count);
  if (plain[0] != handle->tag) return NULL;
  return handle->form == FORM_TEXT ? utf8_result(env, plain + 1, count - 1)
                                   : float64_result(env, plain + 1, count - 1);
}

/* open(stored), and of the bound format open(stored, context). */
static napi_value open_value(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  size_t count = 2;
  value_handle *handle = NULL;
  fe_context room = {0};
  const fe_context *context = NULL;
  if (napi_get_cb_info(env, info, &count, arguments, NULL, (void **)&handle) != napi_ok) return NULL;
  if (!context_of(handle, arguments[1], &room, &context)) return NULL;
  instance *owner = handle->owner;
  const size_t frame_bytes = frame_of(handle, arguments[0]);
  const size_t bytes = fe_open(handle->field, context, owner->frame, frame_bytes, owner->plain);
  if (bytes == 0) return NULL;
  napi_value result = plain_result(handle, owner->plain, bytes);
  fe_cleanse(owner->plain, bytes);
  return result;
}

/* --- Tokens --- */

static napi_value token(napi_env env, napi_callback_info info) {
  napi_value content = NULL;
  size_t count = 1;
  token_handle *handle = NULL;
  uint8_t digest[FE_DIGEST_BYTES];
  size_t written = 0;
  if (napi_get_cb_info(env, info, &count, &content, NULL, (void **)&handle) != napi_ok) return NULL;
  instance *owner = handle->owner;
  const int ok = write_content(owner, content, owner->plain, FE_MAX_PLAIN_BYTES, &written) &&
                 fe_mac_compute(handle->mac, &handle->tag, 1, owner->plain, written, digest);
  fe_cleanse(owner->plain, ok ? written : FE_MAX_PLAIN_BYTES);
  if (!ok) return NULL;
  digest[handle->bytes - 1] &= handle->last_mask;
  return text_result(env, owner->text, fe_base64url_encode(digest, handle->bytes, owner->text));
}

/* tokens(key, typeTag, bits): the function that makes tokens. */
static napi_value tokens(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  size_t count = 3;
  instance *owner = NULL;
  const uint8_t *key = NULL;
  uint32_t tag = 0;
  uint32_t bits = 0;
  if (napi_get_cb_info(env, info, &count, arguments, NULL, (void **)&owner) != napi_ok) return NULL;
  if (!key_bytes_of(env, arguments[0], FE_KEY_BYTES, &key) ||
      napi_get_value_uint32(env, arguments[1], &tag) != napi_ok || tag > UINT8_MAX ||
      napi_get_value_uint32(env, arguments[2], &bits) != napi_ok || bits == 0 ||
      bits > FE_DIGEST_BYTES * 8) {
    return refuse(env, "tokens(key of 32 bytes, type tag, bits)");
  }
  fe_mac *mac = fe_mac_new(key, FE_KEY_BYTES);
  if (mac == NULL) return NULL;
  token_handle *handle = new_handle(owner, sizeof *handle);
  if (handle == NULL) {
    fe_mac_free(mac);
    return NULL;
  }
  const size_t bytes = (bits + 7) / 8;
  const uint8_t last_mask = (uint8_t)(0xff << (bytes * 8 - bits));
  *handle = (token_handle){owner, mac, (uint8_t)tag, bytes, last_mask};
  return bound_function(env, "token", token, handle, finalize_token);
}

/* --- Keys --- */

static napi_value value_function(napi_env env, napi_callback_info info, fe_format format,
                                 const char *name, napi_callback call) {
  napi_value arguments[4];
  size_t count = 4;
  key_handle *key = NULL;
  const uint8_t *ad = NULL;
  size_t ad_bytes = 0;
  int32_t tag = 0;
  bool as_text = false;
  uint32_t given = 0;
  if (napi_get_cb_info(env, info, &count, arguments, NULL, (void **)&key) != napi_ok) return NULL;
  if (!bytes_of(env, arguments[0], &ad, &ad_bytes) ||
      napi_get_value_int32(env, arguments[1], &tag) != napi_ok || tag < NO_TAG || tag > UINT8_MAX ||
      napi_get_value_bool(env, arguments[2], &as_text) != napi_ok ||
      napi_get_value_uint32(env, arguments[3], &given) != napi_ok || given > FORM_RAW ||
      (tag == NO_TAG && given != FORM_RAW)) {
    return refuse(env, "sealer or opener(associated data, type tag, as text, form)");
  }
  fe_field *field = fe_field_new(key->key, format, ad, ad_bytes);
  if (field == NULL) return NULL;
  value_handle *handle = new_handle(key->owner, sizeof *handle);
  if (handle == NULL) {
    fe_field_free(field);
    return NULL;
  }
  *handle = (value_handle){key->owner, field, format, tag, as_text, (form)given};
  return bound_function(env, name, call, handle, finalize_value);
}

static napi_value sealer(napi_env env, napi_callback_info info) {
  return value_function(env, info, FE_UNBOUND, "seal", seal);
}

static napi_value opener(napi_env env, napi_callback_info info) {
  return value_function(env, info, FE_UNBOUND, "open", open_value);
}

static napi_value row_sealer(napi_env env, napi_callback_info info) {
  return value_function(env, info, FE_BOUND, "seal", seal);
}

static napi_value row_opener(napi_env env, napi_callback_info info) {
  return value_function(env, info, FE_BOUND, "open", open_value);
}

/* A function over a key, with a handle of its own. */
static napi_value key_function(napi_env env, instance *owner, fe_key *key, const char *name,
                               napi_callback call) {
  key_handle *handle = new_handle(owner, sizeof *handle);
  if (handle == NULL) return NULL;
  fe_key_hold(key);
  *handle = (key_handle){owner, key};
  return bound_function(env, name, call, handle, finalize_key);
}

static int suite_of(napi_env env, napi_value value, fe_suite *suite) {
  char name[32];
  size_t length = 0;
  if (napi_get_value_string_latin1(env, value, name, sizeof name, &length) != napi_ok) return 0;
  if (strcmp(name, "xaes-256-gcm") == 0) *suite = FE_XAES_256_GCM;
  else if (strcmp(name, "aes-256-gcm-siv") == 0) *suite = FE_AES_256_GCM_SIV;
  else return 0;
  return 1;
}

static int set_key_function(napi_env env, napi_value object, instance *owner, fe_key *key,
                            const char *name, napi_callback call) {
  napi_value function = key_function(env, owner, key, name, call);
  return function != NULL && napi_set_named_property(env, object, name, function) == napi_ok;
}

static napi_value key_object(napi_env env, instance *owner, fe_key *key) {
  napi_value object = NULL;
  return napi_create_object(env, &object) == napi_ok &&
                 set_key_function(env, object, owner, key, "sealer", sealer) &&
                 set_key_function(env, object, owner, key, "opener", opener) &&
                 set_key_function(env, object, owner, key, "rowSealer", row_sealer) &&
                 set_key_function(env, object, owner, key, "rowOpener", row_opener)
             ? object
             : NULL;
}

/* dataKey(suite, key, header, nonceKey): undefined where OpenSSL does not have the suite. */
static napi_value data_key(napi_env env, napi_callback_info info) {
  napi_value arguments[4];
  size_t count = 4;
  instance *owner = NULL;
  const uint8_t *bytes = NULL;
  const uint8_t *header = NULL;
  const uint8_t *nonce_key = NULL;
  napi_valuetype type = napi_undefined;
  fe_suite suite = FE_XAES_256_GCM;
  if (napi_get_cb_info(env, info, &count, arguments, NULL, (void **)&owner) != napi_ok ||
      napi_typeof(env, arguments[3], &type) != napi_ok) {
    return NULL;
  }
  if (!suite_of(env, arguments[0], &suite)) return NULL;
  if (!key_bytes_of(env, arguments[1], FE_KEY_BYTES, &bytes) ||
      !key_bytes_of(env, arguments[2], FE_HEADER_BYTES, &header) ||
      (type != napi_undefined && !key_bytes_of(env, arguments[3], FE_KEY_BYTES, &nonce_key))) {
    return refuse(env, "dataKey(suite, key of 32 bytes, header of 9, nonce key of 32 or undefined)");
  }
  fe_key *key = fe_key_new(suite, bytes, header, nonce_key);
  if (key == NULL) return NULL;
  napi_value object = key_object(env, owner, key);
  fe_key_release(key);
  return object;
}

/* --- Start --- */

/* How many keys, fields and tokens of the instance there are. */
static napi_value live(napi_env env, napi_callback_info info) {
  instance *owner = NULL;
  napi_value result = NULL;
  if (napi_get_cb_info(env, info, NULL, NULL, NULL, (void **)&owner) != napi_ok) return NULL;
  return napi_create_int64(env, (int64_t)owner->live, &result) == napi_ok ? result : NULL;
}

/* Each of them keeps the instance. */
static int set_function(napi_env env, napi_value object, const char *name, napi_callback call,
                        instance *owner) {
  hold_instance(owner);
  napi_value function = bound_function(env, name, call, owner, finalize_instance);
  return function != NULL && napi_set_named_property(env, object, name, function) == napi_ok;
}

static napi_value instance_object(napi_env env, instance *owner) {
  napi_value object = NULL;
  return napi_create_object(env, &object) == napi_ok &&
                 set_function(env, object, "dataKey", data_key, owner) &&
                 set_function(env, object, "tokens", tokens, owner) &&
                 set_function(env, object, "live", live, owner)
             ? object
             : NULL;
}

/* start(refill): functions with memory and random bytes of their own; refill gives 16 KiB of them. */
static napi_value start(napi_env env, napi_callback_info info) {
  napi_value function = NULL;
  size_t count = 1;
  napi_valuetype type = napi_undefined;
  if (napi_get_cb_info(env, info, &count, &function, NULL, NULL) != napi_ok ||
      napi_typeof(env, function, &type) != napi_ok) {
    return NULL;
  }
  if (type != napi_function) return refuse(env, "start(function that gives random bytes)");
  instance *owner = calloc(1, sizeof *owner);
  if (owner == NULL) return refuse(env, "out of memory");
  owner->references = 1;
  owner->env = env;
  owner->random.refill = refill;
  owner->random.owner = owner;
  napi_value object = NULL;
  if (napi_create_reference(env, function, 1, &owner->refill) == napi_ok) {
    object = instance_object(env, owner);
  }
  release_instance(owner);
  return object;
}

NAPI_MODULE_INIT() {
  napi_value function = NULL;
  napi_value version = NULL;
  if (napi_create_function(env, "start", NAPI_AUTO_LENGTH, start, NULL, &function) != napi_ok ||
      napi_set_named_property(env, exports, "start", function) != napi_ok ||
      napi_create_string_utf8(env, FE_VERSION, NAPI_AUTO_LENGTH, &version) != napi_ok ||
      napi_set_named_property(env, exports, "version", version) != napi_ok) {
    return NULL;
  }
  return exports;
}
