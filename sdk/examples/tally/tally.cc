// tally: counts the words of its input and keeps the counts in its state, which comes back to the caller:
//
//     sshexec run ./tally.so node1 --state-out words               < monday.txt
//     sshexec run ./tally.so node2 --state words --state-out words < tuesday.txt
//
// An example in C++17: containers and exceptions inside, plain C data at the border. What goes into the state or the result must live until the
// call ends: ssx_strdup and ssx_list_add see to that, a std::string's c_str() would not.
#include <sshexec/worker.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#define WORD(F)                                                               \
    F(str, word,  required, "the word")                                       \
    F(u64, count, required, "how often it came")
SSX_STRUCT(word, WORD)

#define TALLY(F)                                                              \
    F(list(struct(word)), words,    empty,                "counted so far")   \
    F(str_max(64),        between,  default(" \t\r\n"),   "what ends a word") \
    F(u32,                longest,  default(1000),        "no word is longer")
SSX_STRUCT(tally, TALLY)

#define TALLY_RESULT(F)                                                       \
    F(u64,                added,    required, "words in this input")          \
    F(u64,                distinct, required, "different words in all")       \
    F(list(struct(word)), top,      empty,    "the three most frequent")
SSX_STRUCT(tally_result, TALLY_RESULT)

using Counts = std::map<std::string, std::uint64_t>;

static std::uint64_t count_input(struct ssx_call *call, const struct tally &in, Counts &counts)
{
    const std::string between = in.between;
    std::vector<char> piece(65536);
    std::string word;
    std::uint64_t added = 0;
    auto end_word = [&] {
        if (!word.empty()) {
            counts[word]++;
            added++;
        }
        word.clear();
    };
    for (std::ptrdiff_t n; (n = ssx_read(call, piece.data(), piece.size())) != 0;) {
        if (n < 0)
            throw std::system_error(errno, std::generic_category(), "can't read the input");
        for (std::ptrdiff_t i = 0; i < n; i++) {
            const char c = piece[static_cast<std::size_t>(i)];
            if (c == '\0')
                throw std::invalid_argument("the input is no text: it has a NUL in it");
            if (between.find(c) != std::string::npos)
                end_word();
            else if (word.size() == in.longest)
                throw std::length_error("a word is longer than " + std::to_string(in.longest) + " bytes");
            else
                word += c;
        }
    }
    end_word();
    return added;
}

static int tally_run(struct ssx_call *call, struct tally *in, struct tally_result *out)
{
    if (!*in->between)
        return ssx_fail(call, 2, "between is empty: then all of the input is one word");
    ssx_cancelled(call); // so that a cancel ends the wait for input with an exception, and destructors run
    Counts counts;
    for (std::size_t i = 0; i < in->words.n; i++)
        counts[in->words.at[i].word] += in->words.at[i].count;
    out->added = count_input(call, *in, counts);
    out->distinct = counts.size();

    std::vector<Counts::const_iterator> order;
    in->words.n = 0;
    for (auto it = counts.cbegin(); it != counts.cend(); ++it) {
        struct word *w = ssx_list_add(call, &in->words, struct(word), 1);
        w->word = ssx_strdup(call, it->first.c_str());
        w->count = it->second;
        order.push_back(it);
    }
    std::stable_sort(order.begin(), order.end(), [](auto a, auto b) { return a->second > b->second; });
    for (std::size_t i = 0; i < order.size() && i < 3; i++) {
        struct word *w = ssx_list_add(call, &out->top, struct(word), 1);
        w->word = ssx_strdup(call, order[i]->first.c_str());
        w->count = order[i]->second;
    }
    return 0;
}
SSX_WORKER("tally", "1.0", "counts words, and remembers", tally, tally_result, SSX_TAKES_INPUT | SSX_RETURNS_STATE, tally_run)
