/* SPDX-License-Identifier: Apache-2.0
 *
 * In: a place in an object file, or a kernel address. Out: source frames, innermost first.
 */
#include "sampler/symbols/symbols.h"
#include "sampler/symbols/demangle.h"
#include "sampler/symbols/kallsyms.h"
#include "sampler/symbols/object_symbols.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct symbolizer {
	struct kallsyms *kernel;
};

struct symbolizer *symbolizer_new(void)
{
	return calloc(1, sizeof(struct symbolizer));
}

void symbolizer_free(struct symbolizer *s)
{
	if (s)
		kallsyms_free(s->kernel);
	free(s);
}

/* The start of the function around vaddr as its CFI tells it: names nameless functions by one address, not by each of theirs. */
static uint64_t function_start(struct object *obj, uint64_t vaddr)
{
	uint64_t start, end;
	return object_function_bounds(obj, vaddr, &start, &end) ? start : 0;
}

static void emit_placeholder(const char *module, bool has_offset, uint64_t offset, symbol_fn emit, void *ctx)
{
	char text[4200];
	const char *slash = strrchr(module, '/'), *base = slash ? slash + 1 : module;
	size_t len = strlen(base);
	if (len >= 2 && base[0] == '[' && base[len - 1] == ']') { /* "[vdso]" */
		base++;
		len -= 2;
	}
	if (has_offset)
		snprintf(text, sizeof text, "[%.*s+0x%llx]", (int)len, base, (unsigned long long)offset);
	else
		snprintf(text, sizeof text, "[%.*s]", (int)len, base);
	struct source_frame frame = {.function = text, .module = module, .language = LANG_NATIVE};
	emit(ctx, &frame, 1);
}

static bool emit_dwarf(struct dwarf_info *dwarf, uint64_t vaddr, const char *symbol, const char *module, symbol_fn emit,
		       void *ctx)
{
	struct dwarf_frame found[DWARF_FRAMES_MAX];
	struct source_frame frames[DWARF_FRAMES_MAX];
	size_t n = dwarf_info_frames(dwarf, vaddr, found);
	if (n == 0 || (!found[n - 1].function && !symbol))
		return false;
	for (size_t i = 0; i < n; i++) {
		const char *function = found[i].function ? found[i].function : "[inlined]";
		/* For C the symbol is the public name, where DWARF may tell an internal alias ("__GI___clock_nanosleep"). */
		if (i == n - 1 && symbol)
			function = symbol;
		frames[i] = (struct source_frame){function, found[i].file, found[i].line, module, LANG_NATIVE};
	}
	emit(ctx, frames, n);
	return true;
}

void symbolize_object(struct symbolizer *s, struct object *obj, uint64_t vaddr, const char *module, symbol_fn emit, void *ctx)
{
	(void)s;
	struct object_symbols *symbols = obj ? object_symbols_get(obj) : NULL;
	module = module ? module : obj ? object_path(obj) : "[unknown]";
	if (!symbols) {
		emit_placeholder(module, obj != NULL, vaddr, emit, ctx);
		return;
	}
	uint64_t start = function_start(obj, vaddr);
	const struct symbol *sym = symtab_find(&symbols->table, vaddr, start);
	char *name = sym ? demangle_symbol(sym->name) : NULL;
	struct dwarf_info *dwarf = object_symbols_dwarf(symbols, obj);
	if (!dwarf || !emit_dwarf(dwarf, vaddr, name, module, emit, ctx)) {
		struct source_frame frame = {.function = name, .module = module, .language = LANG_NATIVE};
		if (name)
			emit(ctx, &frame, 1);
		else
			emit_placeholder(module, true, start ? start : vaddr, emit, ctx);
	}
	free(name);
}

void symbolize_kernel(struct symbolizer *s, uint64_t addr, symbol_fn emit, void *ctx)
{
	const char *name = "[kernel]", *module = "[kernel]";
	if (!s->kernel)
		s->kernel = kallsyms_load("/proc/kallsyms");
	if (s->kernel)
		kallsyms_find(s->kernel, addr, &name, &module);
	struct source_frame frame = {.function = name, .module = module, .language = LANG_KERNEL};
	emit(ctx, &frame, 1);
}
