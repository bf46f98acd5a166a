// SPDX-License-Identifier: Apache-2.0
//
// A library for test_symbols.c: C++ names.
#include <string>

#if defined(__x86_64__)
#define HERE(p) __asm__ volatile("1: lea 1b(%%rip), %0" : "=r"(p))
#else
#define HERE(p) __asm__ volatile("adr %0, ." : "=r"(p))
#endif

namespace shop
{
template <typename T> struct basket {
	__attribute__((noinline)) void *total(T, const std::string &) const
	{
		void *p;
		HERE(p);
		return p;
	}
	static inline __attribute__((always_inline)) void *inlined(T)
	{
		void *p;
		HERE(p);
		return p;
	}
};
} // namespace shop

extern "C" void *in_method()
{
	return shop::basket<int>().total(1, "x");
}
extern "C" void *in_inlined()
{
	return shop::basket<int>::inlined(1);
}
