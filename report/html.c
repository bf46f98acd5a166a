/* SPDX-License-Identifier: Apache-2.0
 *
 * The HTML report: one file without a reference to anything outside it. In: a profile; out: a page of three parts: style and
 * script (built from web/, embedded in this library by page_assets.c), the profile's data as JSON, and for browsers without
 * scripts the text report. A Content-Security-Policy admits exactly that script, by its hash, and no request at all. */
#include "report/page.h"
#include "report/page_assets.h"
#include "report/sanitize.h"
#include "report/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void put_html(FILE *out, const char *raw)
{
	for (const char *c = raw; c && *c; c++)
		switch (*c) {
		case '<':
			fputs("&lt;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		case '&':
			fputs("&amp;", out);
			break;
		case '"':
			fputs("&quot;", out);
			break;
		case '\'':
			fputs("&#39;", out);
			break;
		default:
			fputc(*c, out);
		}
}

static void put_head(FILE *out, const struct view *v)
{
	char target[1500], clean[4096];

	text_target(v->p, target, sizeof target);
	sanitize(clean, sizeof clean, target);
	fputs("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta "
	      "http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src '",
	      out);
	fwrite(page_script_hash, 1, page_script_hash_len, out);
	fputs("'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'\">\n"
	      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" "
	      "content=\"light dark\">\n"
	      "<meta name=\"generator\" content=\"lockstep " LOCKSTEP_VERSION "\">\n<title>lockstep: ",
	      out);
	put_html(out, clean);
	fputs("</title>\n<style>\n", out);
	fwrite(page_style, 1, page_style_len, out);
	fputs("</style>\n</head>\n<body>\n", out);
}

static int put_fallback(FILE *out, const struct profile *p, const struct report_options *opt, struct err *err)
{
	struct report_options plain = {.width = 100, .top = opt->top, .pid = opt->pid};
	char *text = NULL;
	size_t len;
	FILE *mem = open_memstream(&text, &len);

	if (!mem)
		return err_set(err, -ENOMEM, "report --html: out of memory");
	int r = report_text(p, &plain, mem, err);
	fclose(mem);
	fputs("<noscript><pre>", out);
	put_html(out, text);
	fputs("</pre></noscript>\n", out);
	free(text);
	return r;
}

int report_html(const struct profile *p, const struct report_html_options *opt, FILE *out, struct err *err)
{
	struct view *v = NULL, *base = NULL;
	struct page x = {0};
	int r = view_new(p, &(struct view_options){.pid = opt->report.pid}, &v, err);

	if (!r && opt->base)
		r = view_new(opt->base, NULL, &base, err);
	if (r)
		goto out;
	put_head(out, v);
	r = put_fallback(out, p, &opt->report, err);
	if (r)
		goto out;
	fputs("<script type=\"application/json\" id=\"profile\">\n", out);
	r = page_init(&x, v, base, opt->no_source, out);
	if (!r)
		r = page_write(&x);
	if (r && !ferror(out)) {
		err_set(err, r, "report --html: out of memory; try --pid");
		goto out;
	}
	fputs("</script>\n<script>", out);
	fwrite(page_script, 1, page_script_len, out);
	fputs("</script>\n</body>\n</html>\n", out);
	r = report_finish(out, err);
out:
	page_fini(&x);
	view_free(v);
	view_free(base);
	return r;
}
