/* SPDX-License-Identifier: Apache-2.0
 *
 * The page's script, its hash for the Content-Security-Policy ("sha256-..."), and its style: web/dist, embedded at build time.
 */
#ifndef LOCKSTEP_PAGE_ASSETS_H
#define LOCKSTEP_PAGE_ASSETS_H

#include <stddef.h>

extern const char page_script[], page_script_hash[], page_style[]; /* not NUL-terminated */
extern const size_t page_script_len, page_script_hash_len, page_style_len;

#endif
