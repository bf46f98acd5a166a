/* SPDX-License-Identifier: Apache-2.0
 *
 * Protocol buffers, written by hand: the wire format is four rules (protobuf.dev/programming-guides/encoding), and two exports
 * do not justify a code generator in the build. In: fields; out: bytes in memory.
 */
#ifndef LOCKSTEP_PROTOBUF_H
#define LOCKSTEP_PROTOBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pb {
	uint8_t *data;
	size_t len, cap;
	bool failed; /* out of memory at some time: check once at the end */
};

void pb_free(struct pb *b);
void pb_reset(struct pb *b); /* empties it, keeps the memory */
/* Scalars: int32, int64, uint32, uint64, bool and enum are varints (negative ones sign-extended to 64 bits). Zero is written
 * too: some fields are oneofs, in which presence matters. */
void pb_varint(struct pb *b, uint32_t field, uint64_t v);
void pb_fixed64(struct pb *b, uint32_t field, uint64_t v);
void pb_double(struct pb *b, uint32_t field, double v);
void pb_bytes(struct pb *b, uint32_t field, const void *data, size_t len);
void pb_string(struct pb *b, uint32_t field, const char *s); /* as it is: neutralise before */
void pb_message(struct pb *b, uint32_t field, const struct pb *sub);
void pb_packed(struct pb *b, uint32_t field, const uint64_t *v, size_t n); /* repeated varints */

#endif
