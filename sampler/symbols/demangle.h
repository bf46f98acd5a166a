/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LOCKSTEP_DEMANGLE_H
#define LOCKSTEP_DEMANGLE_H

/* The name to show for a raw symbol: C++ and Rust demangled, without parameters, without the suffixes that compilers add to
 * parts and variants of a function (".cold", ".part.0", ".constprop.1"). Returns a malloc'ed string; NULL only when out of
 * memory. */
char *demangle_symbol(const char *raw);

#endif
