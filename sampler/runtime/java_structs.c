/* SPDX-License-Identifier: Apache-2.0
 *
 * What a HotSpot VM tells about its own layout. In: the gHotSpotVM* tables that libjvm exports for its serviceability agent
 * (in .dynsym of every build); out: a java_layout. No attach, no safepoint, no flag: the tables are constant data.
 *
 * Fields come and go with the JDK; each has the names under which 8-25 know it, and what must be there is checked at the
 * end. Verified by running: 17 and 25. The names of 11 and 21 were read; a VM that lacks a field we need is refused with a
 * sentence.
 */
#include "sampler/runtime/java.h"

#include <errno.h>
#include <string.h>

#define MAX_ENTRIES 20000

struct want {
	const char *type, *field;
	size_t at;
};
#define F(type, field, member)                                                                                                   \
	{                                                                                                                        \
		type, field, offsetof(struct java_layout, member)                                                                \
	}

static const struct want statics[] = {
	F("CodeCache", "_heaps", code_heaps),
	F("ThreadsSMRSupport", "_java_thread_list", thread_list),
	F("StubRoutines", "_call_stub_return_address", call_stub_return),
	F("Abstract_VM_Version", "_vm_major_version", vm_major),
};

static const struct want fields[] = {
	F("GrowableArrayBase", "_len", array_len),
	F("GenericGrowableArray", "_len", array_len),
	F("GrowableArray<int>", "_data", array_data),
	F("CodeHeap", "_memory", heap_memory),
	F("CodeHeap", "_segmap", heap_segmap),
	F("CodeHeap", "_log2_segment_size", heap_log2),
	F("VirtualSpace", "_low", space_low),
	F("VirtualSpace", "_low_boundary", space_low_boundary),
	F("VirtualSpace", "_high_boundary", space_high_boundary),
	F("CodeBlob", "_name", blob_name),
	F("CodeBlob", "_size", blob_size),
	F("CodeBlob", "_frame_complete_offset", blob_frame_complete),
	F("CodeBlob", "_frame_size", blob_frame_size),
	F("CodeBlob", "_code_begin", blob_code_begin),
	F("CodeBlob", "_code_end", blob_code_end),
	F("CodeBlob", "_code_offset", blob_code_offset),
	F("CodeBlob", "_data_offset", blob_data_offset),
	F("CodeBlob", "_mutable_data", blob_mutable),
	F("CodeBlob", "_relocation_size", blob_relocation_size),
	F("CompiledMethod", "_method", nm_method_compiled),
	F("nmethod", "_method", nm_method),
	F("CompiledMethod", "_scopes_data_begin", nm_scopes_data_begin),
	F("CompiledMethod", "_deopt_handler_begin", nm_deopt_begin),
	F("nmethod", "_deopt_handler_offset", nm_deopt_offset),
	F("nmethod", "_orig_pc_offset", nm_orig_pc),
	F("nmethod", "_metadata_offset", nm_metadata),
	F("nmethod", "_scopes_pcs_offset", nm_scopes_pcs),
	F("nmethod", "_dependencies_offset", nm_dependencies),
	F("nmethod", "_immutable_data", nm_immutable),
	F("nmethod", "_scopes_data_offset", nm_scopes_data),
	F("nmethod", "_compile_id", nm_compile_id),
	F("PcDesc", "_pc_offset", pc_offset),
	F("PcDesc", "_scope_decode_offset", pc_scope),
	F("Method", "_constMethod", method_const),
	F("ConstMethod", "_constants", const_constants),
	F("ConstMethod", "_flags", const_flags),
	F("ConstMethod", "_flags._flags", const_flags_flags),
	F("ConstMethod", "_code_size", const_code_size),
	F("ConstMethod", "_name_index", const_name),
	F("ConstantPool", "_pool_holder", pool_holder),
	F("ConstantPool", "_source_file_name_index", pool_source),
	F("InstanceKlass", "_source_file_name_index", klass_source),
	F("Klass", "_name", klass_name),
	F("Symbol", "_length", symbol_length),
	F("Symbol", "_body", symbol_body),
	F("ThreadsList", "_length", list_length),
	F("ThreadsList", "_threads", list_threads),
	F("Thread", "_osthread", thread_osthread),
	F("JavaThread", "_osthread", jthread_osthread),
	F("OSThread", "_thread_id", os_thread_id),
	F("JavaThread", "_anchor", anchor),
	F("JavaFrameAnchor", "_last_Java_sp", anchor_sp),
	F("JavaFrameAnchor", "_last_Java_pc", anchor_pc),
	F("JavaFrameAnchor", "_last_Java_fp", anchor_fp),
	F("JavaThread", "_current_pending_monitor", pending_monitor),
	F("JavaThread", "_current_waiting_monitor", waiting_monitor),
	F("JavaThread", "_stack_base", stack_base),
	F("JavaThread", "_stack_size", stack_size),
	F("JavaThread", "_monitor_owner_id", monitor_owner_id),
	F("ObjectMonitor", "_owner", monitor_owner),
	F("ObjectMonitor", "_object", monitor_object),
	F("JavaThread", "_lock_stack", lock_stack),
	F("LockStack", "_top", lock_stack_top),
	F("LockStack", "_base[0]", lock_stack_base),
};

static const struct want sizes[] = {
	{"ConstMethod", NULL, offsetof(struct java_layout, const_size)},
	{"ConstantPool", NULL, offsetof(struct java_layout, pool_size)},
	{"PcDesc", NULL, offsetof(struct java_layout, pc_size)},
	{"HeapBlock", NULL, offsetof(struct java_layout, block_size)},
};
#undef F
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct reader {
	struct target_memory *m;
	java_symbol_fn symbol;
	void *ctx;
};

/* The value of an exported variable. */
static uint64_t variable(struct reader *r, const char *name)
{
	uint64_t at = r->symbol(r->ctx, name);

	return at ? target_u64(r->m, at) : 0;
}

static void all_absent(struct java_layout *l)
{
	memset(l, 0, sizeof *l);
	for (size_t i = 0; i < COUNT(fields); i++)
		*(int32_t *)((char *)l + fields[i].at) = -1;
}

static void take_static(struct java_layout *l, const char *type, const char *field, uint64_t address)
{
	for (size_t i = 0; i < COUNT(statics); i++)
		if (strcmp(statics[i].type, type) == 0 && strcmp(statics[i].field, field) == 0)
			*(uint64_t *)((char *)l + statics[i].at) = address;
}

static void take_field(struct java_layout *l, const char *type, const char *field, uint64_t offset)
{
	if (offset > 1u << 16)
		return;
	for (size_t i = 0; i < COUNT(fields); i++)
		if (strcmp(fields[i].type, type) == 0 && strcmp(fields[i].field, field) == 0)
			*(int32_t *)((char *)l + fields[i].at) = (int32_t)offset;
}

static void read_structs(struct reader *r, struct java_layout *l)
{
	uint64_t at = variable(r, "gHotSpotVMStructs"), stride = variable(r, "gHotSpotVMStructEntryArrayStride");
	uint64_t type_at = variable(r, "gHotSpotVMStructEntryTypeNameOffset"),
		 name_at = variable(r, "gHotSpotVMStructEntryFieldNameOffset");
	uint64_t string_at = variable(r, "gHotSpotVMStructEntryTypeStringOffset"),
		 static_at = variable(r, "gHotSpotVMStructEntryIsStaticOffset");
	uint64_t offset_at = variable(r, "gHotSpotVMStructEntryOffsetOffset"),
		 address_at = variable(r, "gHotSpotVMStructEntryAddressOffset");
	char type[64], field[64], string[32];

	if (!at || !stride)
		return;
	for (unsigned i = 0; i < MAX_ENTRIES; i++, at += stride) {
		uint64_t type_name = target_u64(r->m, at + type_at);
		if (!type_name || target_string(r->m, type_name, type, sizeof type) < 0 ||
		    target_string(r->m, target_u64(r->m, at + name_at), field, sizeof field) < 0)
			break;
		if (target_u32(r->m, at + static_at))
			take_static(l, type, field, target_u64(r->m, at + address_at));
		else
			take_field(l, type, field, target_u64(r->m, at + offset_at));
		if (strcmp(type, "ObjectMonitor") == 0 && strcmp(field, "_owner") == 0 &&
		    target_string(r->m, target_u64(r->m, at + string_at), string, sizeof string) > 0)
			l->owner_is_tid = strcmp(string, "int64_t") == 0;
	}
}

static void read_types(struct reader *r, struct java_layout *l)
{
	uint64_t at = variable(r, "gHotSpotVMTypes"), stride = variable(r, "gHotSpotVMTypeEntryArrayStride");
	uint64_t name_at = variable(r, "gHotSpotVMTypeEntryTypeNameOffset"),
		 size_at = variable(r, "gHotSpotVMTypeEntrySizeOffset");
	char type[64];

	if (!at || !stride)
		return;
	for (unsigned i = 0; i < MAX_ENTRIES; i++, at += stride) {
		uint64_t name = target_u64(r->m, at + name_at);
		if (!name || target_string(r->m, name, type, sizeof type) < 0)
			break;
		for (size_t k = 0; k < COUNT(sizes); k++)
			if (strcmp(sizes[k].type, type) == 0)
				*(uint32_t *)((char *)l + sizes[k].at) = (uint32_t)target_u64(r->m, at + size_at);
	}
}

static const char *missing(const struct java_layout *l)
{
	const struct {
		bool there;
		const char *what;
	} need[] = {
		{l->code_heaps && l->array_len >= 0 && l->array_data >= 0 && l->heap_memory >= 0 && l->heap_segmap >= 0 &&
			 l->heap_log2 >= 0 && l->space_low >= 0 && l->space_low_boundary >= 0 && l->space_high_boundary >= 0,
		 "the code heaps"},
		{l->blob_name >= 0 && l->blob_size >= 0 && l->blob_frame_size >= 0 && l->blob_frame_complete >= 0 &&
			 (l->blob_code_begin >= 0 || l->blob_code_offset >= 0),
		 "code blobs"},
		{(l->nm_method >= 0 || l->nm_method_compiled >= 0) && l->nm_scopes_pcs >= 0 && l->nm_orig_pc >= 0 &&
			 l->nm_compile_id >= 0 &&
			 ((l->nm_immutable >= 0 && l->nm_scopes_data >= 0 && l->blob_mutable >= 0 &&
			   l->blob_relocation_size >= 0) ||
			  (l->nm_scopes_data_begin >= 0 && l->nm_metadata >= 0 && l->nm_dependencies >= 0)),
		 "compiled methods"},
		{l->pc_offset >= 0 && l->pc_scope >= 0 && l->pc_size >= 8 && l->pc_size <= 64, "pc descriptors"},
		{l->method_const >= 0 && l->const_constants >= 0 && (l->const_flags >= 0 || l->const_flags_flags >= 0) &&
			 l->const_code_size >= 0 && l->const_name >= 0 && l->const_size && l->pool_size && l->pool_holder >= 0 &&
			 l->klass_name >= 0 && l->symbol_length >= 0 && l->symbol_body >= 0,
		 "methods"},
		{l->thread_list && l->list_length >= 0 && l->list_threads >= 0 &&
			 (l->thread_osthread >= 0 || l->jthread_osthread >= 0) && l->os_thread_id >= 0 && l->anchor >= 0 &&
			 l->anchor_sp >= 0 && l->anchor_pc >= 0 && l->anchor_fp >= 0,
		 "threads"},
		{l->call_stub_return != 0 && l->vm_major != 0, "the call stub"},
		{l->block_size == 8 || l->block_size == 16, "code heap blocks"},
	};

	for (size_t i = 0; i < COUNT(need); i++)
		if (!need[i].there)
			return need[i].what;
	return NULL;
}

int java_layout_read(struct target_memory *m, java_symbol_fn symbol, void *ctx, struct java_layout *out, struct err *err)
{
	struct reader r = {m, symbol, ctx};
	const char *lacks;

	all_absent(out);
	read_structs(&r, out);
	read_types(&r, out);
	out->version = out->vm_major ? target_u32(m, out->vm_major) : 0;
	lacks = missing(out);
	if (lacks)
		return err_set(err, -ENOTSUP, "this Java VM (version %u) does not describe %s: native stacks only", out->version,
			       lacks);
	return 0;
}
