/* SPDX-License-Identifier: Apache-2.0
 *
 * Where things lie in CPython. In: a version, or the interpreter's own description (3.13+); out: a python_layout.
 *
 * The tables for 3.8-3.12 are offsetof()s printed by a C program compiled against the headers of 3.8.18, 3.9.18, 3.10.13,
 * 3.11.2, 3.11.7, 3.12.1 (Py_BUILD_CORE, x86-64; other 64-bit Linux ABIs lay these structures out alike, but for the pthread
 * types inside the GIL, which only matter to python_wait.c). Layouts do not change within a minor version. 3.13 describes
 * itself in _Py_DebugOffsets (checked against 3.13.0); the field list of 3.14 was read in public sources, not verified by a
 * run.
 */
#include "sampler/runtime/python.h"

#include <errno.h>
#include <string.h>

#define NEVER 256

/* clang-format off */
static const struct python_layout known[] = {
	{
		.walk = {.version = 0x0308, .flags = PYTHON_F_INSTR_INDEX, .runtime_interp_head = 32, .interp_next = 0, .interp_threads = 8,
			 .ts_next = 8, .ts_thread_id = 176, .ts_frame = 24, .frame_previous = 24, .frame_code = 32, .frame_instr = 104,
			 .frame_mark = 0, .shim_min = NEVER, .entry_min = 0},
		.interp_id = 16, .runtime_gil = 1152, .ts_interp = 16, .ts_size = 264,
		.code_filename = 104, .code_name = 112, .code_firstlineno = 40, .code_linetable = 120, .code_size = 128,
		.bytes_size = 16, .bytes_data = 32, .str_length = 16, .str_state = 32, .str_ascii = 48, .str_compact = 72,
		.lines = PYTHON_LNOTAB,
	},
	{
		.walk = {.version = 0x0309, .flags = PYTHON_F_INSTR_INDEX, .runtime_interp_head = 32, .interp_next = 0, .interp_threads = 8,
			 .ts_next = 8, .ts_thread_id = 176, .ts_frame = 24, .frame_previous = 24, .frame_code = 32, .frame_instr = 104,
			 .frame_mark = 0, .shim_min = NEVER, .entry_min = 0},
		.interp_id = 24, .runtime_gil = 352, .ts_interp = 16, .ts_size = 264,
		.code_filename = 104, .code_name = 112, .code_firstlineno = 40, .code_linetable = 120, .code_size = 128,
		.bytes_size = 16, .bytes_data = 32, .str_length = 16, .str_state = 32, .str_ascii = 48, .str_compact = 72,
		.lines = PYTHON_LNOTAB,
	},
	{
		.walk = {.version = 0x030a, .flags = PYTHON_F_INSTR_INDEX, .runtime_interp_head = 32, .interp_next = 0, .interp_threads = 8,
			 .ts_next = 8, .ts_thread_id = 176, .ts_frame = 24, .frame_previous = 24, .frame_code = 32, .frame_instr = 96,
			 .frame_mark = 0, .shim_min = NEVER, .entry_min = 0},
		.interp_id = 24, .runtime_gil = 352, .ts_interp = 16, .ts_size = 280,
		.code_filename = 104, .code_name = 112, .code_firstlineno = 40, .code_linetable = 120, .code_size = 128,
		.bytes_size = 16, .bytes_data = 32, .str_length = 16, .str_state = 32, .str_ascii = 48, .str_compact = 72,
		.lines = PYTHON_LINETABLE_310,
	},
	{
		.walk = {.version = 0x030b, .flags = PYTHON_F_CFRAME, .runtime_interp_head = 40, .interp_next = 0, .interp_threads = 16,
			 .ts_next = 8, .ts_thread_id = 152, .ts_native_id = 160, .ts_frame = 56, .cframe_frame = 8,
			 .frame_previous = 48, .frame_code = 32, .frame_instr = 56, .frame_mark = 68, .shim_min = NEVER, .entry_min = 1},
		.interp_id = 48, .runtime_gil = 360, .ts_interp = 16, .ts_chunk = 296, .ts_size = 360,
		.code_filename = 112, .code_name = 120, .code_qualname = 128, .code_firstlineno = 72, .code_linetable = 136,
		.code_bytes = 184, .code_size = 144,
		.bytes_size = 16, .bytes_data = 32, .str_length = 16, .str_state = 32, .str_ascii = 48, .str_compact = 72,
		.lines = PYTHON_LOCATIONS,
	},
	{
		.walk = {.version = 0x030c, .flags = PYTHON_F_CFRAME, .runtime_interp_head = 40, .interp_next = 0, .interp_threads = 72,
			 .ts_next = 8, .ts_thread_id = 136, .ts_native_id = 144, .ts_frame = 56, .cframe_frame = 0,
			 .frame_previous = 8, .frame_code = 0, .frame_instr = 56, .frame_mark = 70, .shim_min = 3, .entry_min = NEVER},
		.interp_id = 8, .interp_gil = 384, .ts_interp = 16, .ts_chunk = 232, .ts_size = 288,
		.code_filename = 112, .code_name = 120, .code_qualname = 128, .code_firstlineno = 68, .code_linetable = 136,
		.code_bytes = 192, .code_size = 144,
		.bytes_size = 16, .bytes_data = 32, .str_length = 16, .str_state = 32, .str_ascii = 40, .str_compact = 56,
		.lines = PYTHON_LOCATIONS,
	},
};
/* clang-format on */

const struct python_layout *python_layout_known(uint32_t version)
{
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (known[i].walk.version == version)
			return &known[i];
	return NULL;
}

/* _Py_DebugOffsets is an array of uint64: these are the indices, which change with the minor version. */
enum debug_slot {
	D_HEAD,
	D_INTERP_ID,
	D_INTERP_NEXT,
	D_INTERP_THREADS,
	D_INTERP_GIL,
	D_TS_SIZE,
	D_TS_NEXT,
	D_TS_INTERP,
	D_TS_FRAME,
	D_TS_THREAD_ID,
	D_TS_NATIVE_ID,
	D_TS_CHUNK,
	D_FRAME_PREVIOUS,
	D_FRAME_CODE,
	D_FRAME_INSTR,
	D_FRAME_OWNER,
	D_CODE_FILENAME,
	D_CODE_NAME,
	D_CODE_QUALNAME,
	D_CODE_LINETABLE,
	D_CODE_FIRSTLINE,
	D_CODE_BYTES,
	D_BYTES_SIZE,
	D_BYTES_DATA,
	D_STR_STATE,
	D_STR_LENGTH,
	D_STR_ASCII,
	D_COUNT
};

static const uint8_t slots_313[D_COUNT] = {5,  7,  8,  9,  14, 19, 21, 22, 23, 24, 25, 26, 29, 30,
					   31, 33, 35, 36, 37, 38, 39, 43, 65, 66, 68, 69, 70};
static const uint8_t slots_314[D_COUNT] = {5,  7,  8,  9,  15, 22, 24, 25, 26, 27, 28, 29, 32, 33,
					   34, 36, 40, 41, 42, 43, 44, 48, 75, 76, 78, 79, 80};

#define DEBUG_SLOTS 96
#define OFFSET_LIMIT (4u << 20) /* PyInterpreterState of 3.13 has 195 KB */

static void layout_from_slots(const uint64_t *v, const uint8_t *slot, struct python_layout *out)
{
#define AT(name) ((uint32_t)v[slot[name]])
	*out = (struct python_layout){
		.walk = {.runtime_interp_head = AT(D_HEAD),
			 .interp_next = AT(D_INTERP_NEXT),
			 .interp_threads = AT(D_INTERP_THREADS),
			 .ts_next = AT(D_TS_NEXT),
			 .ts_thread_id = AT(D_TS_THREAD_ID),
			 .ts_native_id = AT(D_TS_NATIVE_ID),
			 .ts_frame = AT(D_TS_FRAME),
			 .frame_previous = AT(D_FRAME_PREVIOUS),
			 .frame_code = AT(D_FRAME_CODE),
			 .frame_instr = AT(D_FRAME_INSTR),
			 .frame_mark = AT(D_FRAME_OWNER),
			 .shim_min = 3, /* 3.13: FRAME_OWNED_BY_CSTACK; 3.14: FRAME_OWNED_BY_INTERPRETER, 4 is CSTACK */
			 .entry_min = NEVER},
		.interp_id = AT(D_INTERP_ID),
		.interp_gil = AT(D_INTERP_GIL),
		.ts_interp = AT(D_TS_INTERP),
		.ts_chunk = AT(D_TS_CHUNK),
		.ts_size = AT(D_TS_SIZE),
		.code_filename = AT(D_CODE_FILENAME),
		.code_name = AT(D_CODE_NAME),
		.code_qualname = AT(D_CODE_QUALNAME),
		.code_firstlineno = AT(D_CODE_FIRSTLINE),
		.code_linetable = AT(D_CODE_LINETABLE),
		.code_bytes = AT(D_CODE_BYTES),
		.bytes_size = AT(D_BYTES_SIZE),
		.bytes_data = AT(D_BYTES_DATA),
		.str_length = AT(D_STR_LENGTH),
		.str_state = AT(D_STR_STATE),
		.str_ascii = AT(D_STR_ASCII),
		.str_compact = AT(D_STR_ASCII) + 16, /* PyCompactUnicodeObject adds utf8_length and utf8 */
		.lines = PYTHON_LOCATIONS,
	};
#undef AT
	out->code_size = out->code_linetable + 8;
	if (out->code_size < out->code_qualname + 8)
		out->code_size = out->code_qualname + 8;
}

int python_layout_read(struct target_memory *m, uint64_t runtime, struct python_layout *out, struct err *err)
{
	uint64_t v[DEBUG_SLOTS];
	const uint8_t *slot;
	uint32_t version;

	if (target_read(m, runtime, v, sizeof v) || memcmp(v, "xdebugpy", 8) != 0)
		return err_set(err, -ENOTSUP, "Python without readable _Py_DebugOffsets: native stacks only");
	version = (uint32_t)(v[1] >> 16) & 0xffff;
	if (version != 0x030d && version != 0x030e)
		return err_set(err, -ENOTSUP, "Python %u.%u is not known: native stacks only", version >> 8, version & 0xff);
	if (v[2])
		return err_set(err, -ENOTSUP, "free-threaded Python %u.%u is not supported yet: native stacks only", version >> 8,
			       version & 0xff);
	slot = version == 0x030d ? slots_313 : slots_314;
	for (unsigned i = 0; i < D_COUNT; i++)
		if (v[slot[i]] >= OFFSET_LIMIT)
			return err_set(err, -ENOTSUP, "Python %u.%u describes itself with impossible offsets: native stacks only",
				       version >> 8, version & 0xff);
	layout_from_slots(v, slot, out);
	out->walk.version = version;
	if (out->code_size > 512 || out->ts_size > 8192)
		return err_set(err, -ENOTSUP, "Python %u.%u describes itself with impossible offsets: native stacks only",
			       version >> 8, version & 0xff);
	return 0;
}
