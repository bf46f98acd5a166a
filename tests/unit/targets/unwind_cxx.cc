// SPDX-License-Identifier: Apache-2.0
//
// A target of test_unwind_oracle.c: C++ frames of all kinds. It says "ready" by raising SIGSTOP, then works for a while; the test
// steps through it instruction by instruction.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <csignal>
#include <ctime>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace shop
{

static volatile int sink;

struct resource {
	explicit resource(int v) : value(v)
	{
	}
	~resource()
	{
		sink = sink + value;
	}
	int value;
};

template <typename T> struct basket {
	std::map<std::string, T> items;
	__attribute__((noinline)) T total() const
	{
		T sum{};
		for (const auto &item : items)
			sum += item.second;
		return sum;
	}
};

__attribute__((noinline)) static int check(int v)
{
	resource r(v);
	if (v % 3 == 0)
		throw std::runtime_error("bad price " + std::to_string(v));
	return v;
}

struct visitor {
	virtual ~visitor() = default;
	virtual int visit(int depth) = 0;
};
struct nested : visitor {
	int visit(int depth) override
	{
		resource r(depth);
		return depth == 0 ? check(3) : visit(depth - 1) + 1;
	}
};

__attribute__((noinline)) static int guarded(int depth)
{
	try {
		std::unique_ptr<visitor> v(new nested);
		return v->visit(depth);
	} catch (const std::exception &e) {
		sink = sink + e.what()[0];
		return -1;
	}
}

extern "C" void on_signal(int)
{
	basket<double> b;
	b.items["signal"] = 1.5;
	sink = sink + static_cast<int>(b.total());
}

} // namespace shop

int main()
{
	signal(SIGUSR1, shop::on_signal);
	raise(SIGSTOP);
	for (int i = 0; i < 2; i++) {
		std::vector<std::string> words{"pear", "fig", "apple"};
		std::sort(words.begin(), words.end(), [](const std::string &a, const std::string &b) { return a < b; });
		shop::basket<int> b;
		for (const auto &w : words)
			b.items[w] = static_cast<int>(w.size());
		shop::sink = shop::sink + b.total();
		shop::guarded(3);
		raise(SIGUSR1);
	}
	return 0;
}
