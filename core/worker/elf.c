#include "worker/elf.h"

#include "base/error.h"
#include "base/io.h"

#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Real objects stay far below these; they bound the work that a hostile one can cause. */
enum { SEGMENTS_MAX = 256, DYNAMIC_MAX = 8192, VERSIONS_MAX = 8192, CHAIN_MAX = 1 << 16, NOTES_MAX = 1 << 16, STRING_MAX = 1 << 16 };

/* A little-endian number of `size` bytes at an offset; false, and 0, where the file has none there. */
static bool number(const struct elf *e, uint64_t at, size_t size, uint64_t *out)
{
    *out = 0;
    if (at > e->n || e->n - at < size)
        return false;
    uint64_t u = 0;
    for (size_t i = size; i--;)
        u = u << 8 | e->at[at + i];
    *out = u;
    return true;
}

#define FIELD(e, base, type, member, out) number(e, (base) + offsetof(type, member), sizeof(((type *)0)->member), out)

/* The same inside a table. */
static bool table_number(const struct elf *e, struct elf_table t, uint64_t at, size_t size, uint64_t *out)
{
    *out = 0;
    return at <= t.n && t.n - at >= size && number(e, t.at + at, size, out);
}

#define ENTRY(e, table, base, type, member, out) \
    table_number(e, table, (base) + offsetof(type, member), sizeof(((type *)0)->member), out)

/* The string at an offset of a table, NULL unless it ends inside it, and soon: each of many names may point at the same
 * long one. */
static const char *table_string(const struct elf *e, struct elf_table t, uint64_t at)
{
    if (at >= t.n)
        return NULL;
    const char *text = (const char *)e->at + t.at + at;
    return memchr(text, 0, t.n - at < STRING_MAX ? t.n - at : STRING_MAX) ? text : NULL;
}

int elf_open(struct elf *out, const char *name, const void *image, size_t n, struct ssx_error *err)
{
    *out = (struct elf){.at = image, .n = n, .name = name};
    if (n < EI_NIDENT + 4 || memcmp(image, ELFMAG, SELFMAG) != 0)
        return error_set(err, SSX_ERROR_REFUSED, "%s is not an ELF file, so it is no plugin", name);
    bool big = out->at[EI_DATA] == ELFDATA2MSB, wide = out->at[EI_CLASS] == ELFCLASS64;
    out->machine = big ? (unsigned)out->at[18] << 8 | out->at[19] : (unsigned)out->at[19] << 8 | out->at[18];
    out->foreign = big || !wide;
    if (out->foreign)
        return error_set(err, SSX_ERROR_REFUSED, "%s is a %s-bit %s-endian ELF file for %s; plugins are 64-bit and little-endian", name,
                         wide ? "64" : "32", big ? "big" : "little", elf_machine_name(out->machine));
    if (n < sizeof(Elf64_Ehdr))
        return error_set(err, SSX_ERROR_REFUSED, "%s is cut short: %zu bytes don't hold an ELF header", name, n);
    return 0;
}

/* --- segments --- */

struct segment { uint64_t type, offset, address, size, align; };

/* Reads the program header of that number. */
static bool segment_at(const struct elf *e, size_t i, struct segment *out)
{
    uint64_t base, count, size;
    if (!FIELD(e, 0, Elf64_Ehdr, e_phoff, &base) || !FIELD(e, 0, Elf64_Ehdr, e_phnum, &count) ||
        !FIELD(e, 0, Elf64_Ehdr, e_phentsize, &size))
        return false;
    if (i >= count || i >= SEGMENTS_MAX || size != sizeof(Elf64_Phdr) || base > e->n)
        return false;
    base += i * sizeof(Elf64_Phdr);
    return FIELD(e, base, Elf64_Phdr, p_type, &out->type) && FIELD(e, base, Elf64_Phdr, p_offset, &out->offset) &&
           FIELD(e, base, Elf64_Phdr, p_vaddr, &out->address) && FIELD(e, base, Elf64_Phdr, p_filesz, &out->size) &&
           FIELD(e, base, Elf64_Phdr, p_align, &out->align);
}

static bool segment_in_file(const struct elf *e, const struct segment *s) { return s->offset <= e->n && e->n - s->offset >= s->size; }

/* Where a loaded address stands in the file, and how far its segment reaches. */
static struct elf_table table_at(const struct elf *e, uint64_t address)
{
    struct segment s;
    for (size_t i = 0; segment_at(e, i, &s); i++)
        if (s.type == PT_LOAD && segment_in_file(e, &s) && address >= s.address && address - s.address < s.size)
            return (struct elf_table){s.offset + (address - s.address), s.size - (address - s.address)};
    return (struct elf_table){0, 0};
}

/* Every loaded segment must stand in the file, or mapping it would end in SIGBUS. */
static int judge_segments(const struct elf *e, struct ssx_error *err)
{
    uint64_t count, size;
    FIELD(e, 0, Elf64_Ehdr, e_phnum, &count);
    FIELD(e, 0, Elf64_Ehdr, e_phentsize, &size);
    if (count == 0 || count > SEGMENTS_MAX || size != sizeof(Elf64_Phdr))
        return error_set(err, SSX_ERROR_REFUSED, "%s is damaged: its ELF header announces %llu segments of %llu bytes", e->name,
                         (unsigned long long)count, (unsigned long long)size);
    for (size_t i = 0; i < count; i++) {
        struct segment s;
        if (!segment_at(e, i, &s) || (s.type == PT_LOAD && !segment_in_file(e, &s)))
            return error_set(err, SSX_ERROR_REFUSED,
                             "%s is cut short or damaged: segment %zu reaches beyond its %zu bytes", e->name, i, e->n);
    }
    return 0;
}

/* --- the dynamic section --- */

static bool dynamic_at(const struct elf *e, size_t i, uint64_t *tag, uint64_t *value)
{
    return i < DYNAMIC_MAX && ENTRY(e, e->dynamic, i * sizeof(Elf64_Dyn), Elf64_Dyn, d_tag, tag) &&
           ENTRY(e, e->dynamic, i * sizeof(Elf64_Dyn), Elf64_Dyn, d_un.d_val, value) && *tag != DT_NULL;
}

static void find_dynamic(struct elf *e)
{
    struct segment s;
    for (size_t i = 0; segment_at(e, i, &s); i++)
        if (s.type == PT_DYNAMIC) { /* by its address, for that is what the dynamic linker reads */
            e->dynamic = table_at(e, s.address);
            if (e->dynamic.n > s.size)
                e->dynamic.n = s.size;
            return;
        }
}

static void find_tables(struct elf *e, uint64_t *flags)
{
    uint64_t tag, value, strings_size = UINT64_MAX;
    for (size_t i = 0; dynamic_at(e, i, &tag, &value); i++) {
        switch (tag) {
        case DT_STRTAB: e->strings = table_at(e, value); break;
        case DT_STRSZ: strings_size = value; break;
        case DT_SYMTAB: e->symbols = table_at(e, value); break;
        case DT_HASH: e->hash = table_at(e, value); break;
        case DT_GNU_HASH: e->gnu_hash = table_at(e, value); break;
        case DT_VERNEED: e->needs = table_at(e, value); break;
        case DT_VERDEF: e->defines = table_at(e, value); break;
        case DT_FLAGS_1: *flags = value; break;
        default: break;
        }
    }
    if (e->strings.n > strings_size)
        e->strings.n = strings_size;
}

int elf_load(struct elf *e, struct ssx_error *err)
{
    uint64_t type, flags = 0;
    FIELD(e, 0, Elf64_Ehdr, e_type, &type);
    if (type != ET_DYN)
        return error_set(err, SSX_ERROR_REFUSED, "%s is %s, not a shared object; link it with -shared", e->name,
                         type == ET_REL    ? "an object file"
                         : type == ET_EXEC ? "a program"
                         : type == ET_CORE ? "a core dump"
                                           : "another kind of ELF file");
    if (judge_segments(e, err))
        return -1;
    find_dynamic(e);
    if (e->dynamic.n == 0)
        return error_set(err, SSX_ERROR_REFUSED, "%s has no dynamic section, so it can't be loaded; link it with -shared", e->name);
    find_tables(e, &flags);
    if (flags & DF_1_PIE)
        return error_set(err, SSX_ERROR_REFUSED, "%s is a program, not a shared object; link it with -shared", e->name);
    return 0;
}

const char *elf_next_string(const struct elf *e, int64_t tag, size_t *at)
{
    uint64_t found, value;
    while (dynamic_at(e, *at, &found, &value)) {
        ++*at;
        const char *text = found == (uint64_t)tag ? table_string(e, e->strings, value) : NULL;
        if (text)
            return text;
    }
    return NULL;
}

/* --- symbols --- */

/* Whether the symbol of that index is the one looked for, and defined here. */
static bool symbol_is(const struct elf *e, uint64_t index, const char *symbol)
{
    uint64_t name, info, section, at = index * sizeof(Elf64_Sym);
    if (!ENTRY(e, e->symbols, at, Elf64_Sym, st_name, &name) || !ENTRY(e, e->symbols, at, Elf64_Sym, st_info, &info) ||
        !ENTRY(e, e->symbols, at, Elf64_Sym, st_shndx, &section))
        return false;
    const char *text = table_string(e, e->strings, name);
    unsigned bind = ELF64_ST_BIND(info);
    return text && strcmp(text, symbol) == 0 && section != SHN_UNDEF && (bind == STB_GLOBAL || bind == STB_WEAK);
}

/* DT_GNU_HASH: a header of four words, the bloom filter, the buckets, and a chain of hashes a bucket whose last has its
 * lowest bit set. */
static bool find_by_gnu_hash(const struct elf *e, const char *symbol)
{
    uint64_t buckets, first, bloom, index, hash;
    uint32_t wanted = 5381;
    for (const char *p = symbol; *p; p++)
        wanted = wanted * 33 + (unsigned char)*p;
    if (!table_number(e, e->gnu_hash, 0, 4, &buckets) || !table_number(e, e->gnu_hash, 4, 4, &first) ||
        !table_number(e, e->gnu_hash, 8, 4, &bloom) || buckets == 0)
        return false;
    uint64_t at = 16 + 8 * bloom, chains = at + 4 * buckets;
    if (!table_number(e, e->gnu_hash, at + 4 * (wanted % buckets), 4, &index) || index < first)
        return false;
    for (size_t steps = 0; steps < CHAIN_MAX; steps++, index++) {
        if (!table_number(e, e->gnu_hash, chains + 4 * (index - first), 4, &hash))
            return false;
        if ((hash | 1) == (wanted | 1) && symbol_is(e, index, symbol))
            return true;
        if (hash & 1)
            return false;
    }
    return false;
}

/* DT_HASH: two counts, the buckets, and a chain of symbol indexes that ends with 0. */
static bool find_by_hash(const struct elf *e, const char *symbol)
{
    uint64_t buckets, index;
    uint32_t wanted = 0;
    for (const char *p = symbol; *p; p++) {
        wanted = (wanted << 4) + (unsigned char)*p;
        uint32_t high = wanted & 0xf0000000;
        wanted = (wanted ^ high >> 24) & ~high;
    }
    if (!table_number(e, e->hash, 0, 4, &buckets) || buckets == 0 || !table_number(e, e->hash, 8 + 4 * (wanted % buckets), 4, &index))
        return false;
    for (size_t steps = 0; index && steps < CHAIN_MAX; steps++) {
        if (symbol_is(e, index, symbol))
            return true;
        if (!table_number(e, e->hash, 8 + 4 * buckets + 4 * index, 4, &index))
            return false;
    }
    return false;
}

bool elf_exports(const struct elf *e, const char *symbol)
{
    return e->gnu_hash.n ? find_by_gnu_hash(e, symbol) : find_by_hash(e, symbol);
}

/* --- notes --- */

static uint64_t aligned(uint64_t n, uint64_t align) { return (n + align - 1) & ~(align - 1); }

/* One run of notes: headers of three words, owner, text, the latter two padded. *seen: how many there were before, for
 * runs may overlap. */
static int add_notes(const struct elf *e, struct buf *out, struct elf_table t, uint64_t align, const char *owner,
                     uint32_t type, size_t limit, size_t *seen, struct ssx_error *err)
{
    uint64_t owner_size, size, kind;
    for (uint64_t at = 0; t.n >= sizeof(Elf64_Nhdr) && at <= t.n - sizeof(Elf64_Nhdr);) {
        if (++*seen > NOTES_MAX)
            return error_set(err, SSX_ERROR_REFUSED, "%s is damaged: it has more than %d notes", e->name, NOTES_MAX);
        ENTRY(e, t, at, Elf64_Nhdr, n_namesz, &owner_size);
        ENTRY(e, t, at, Elf64_Nhdr, n_descsz, &size);
        ENTRY(e, t, at, Elf64_Nhdr, n_type, &kind);
        uint64_t name_at = at + sizeof(Elf64_Nhdr), text_at = aligned(name_at + owner_size, align), end = text_at + size;
        if (end > t.n)
            return error_set(err, SSX_ERROR_REFUSED, "%s is damaged: a note reaches beyond its section", e->name);
        if (kind == type && owner_size == strlen(owner) + 1 && memcmp(e->at + t.at + name_at, owner, owner_size) == 0) {
            if (buf_length(out) + size > limit)
                return error_set(err, SSX_ERROR_REFUSED, "%s: its notes are larger than the limit of %zu bytes", e->name, limit);
            buf_add(out, e->at + t.at + text_at, size);
        }
        at = aligned(end, align);
    }
    return out->failed ? error_set(err, SSX_ERROR_SYSTEM, "can't read the notes of %s: out of memory", e->name) : 0;
}

/* The note section of that name; n 0 where there is none, or no section table that can be read. */
static struct elf_table find_section(const struct elf *e, const char *name)
{
    uint64_t base, count, size, names, type;
    struct elf_table none = {0, 0}, strings;
    if (!FIELD(e, 0, Elf64_Ehdr, e_shoff, &base) || !FIELD(e, 0, Elf64_Ehdr, e_shnum, &count) ||
        !FIELD(e, 0, Elf64_Ehdr, e_shentsize, &size) || !FIELD(e, 0, Elf64_Ehdr, e_shstrndx, &names))
        return none;
    if (size != sizeof(Elf64_Shdr) || names >= count || base > e->n || count * size > e->n - base)
        return none;
    uint64_t at = base + names * size;
    if (!FIELD(e, at, Elf64_Shdr, sh_offset, &strings.at) || !FIELD(e, at, Elf64_Shdr, sh_size, &strings.n) || strings.at > e->n ||
        strings.n > e->n - strings.at)
        return none;
    for (at = base; at < base + count * size; at += size) {
        struct elf_table t;
        if (!FIELD(e, at, Elf64_Shdr, sh_type, &type) || type != SHT_NOTE || !FIELD(e, at, Elf64_Shdr, sh_name, &names))
            continue;
        const char *text = table_string(e, strings, names);
        if (text && strcmp(text, name) == 0 && FIELD(e, at, Elf64_Shdr, sh_offset, &t.at) && FIELD(e, at, Elf64_Shdr, sh_size, &t.n) &&
            t.at <= e->n && t.n <= e->n - t.at)
            return t;
    }
    return none;
}

int elf_notes(const struct elf *e, struct buf *out, const char *section, const char *owner, uint32_t type, size_t limit,
              struct ssx_error *err)
{
    struct elf_table t = find_section(e, section);
    size_t seen = 0;
    if (t.n)
        return add_notes(e, out, t, 4, owner, type, limit, &seen, err);
    struct segment s;
    for (size_t i = 0; segment_at(e, i, &s); i++)
        if (s.type == PT_NOTE && segment_in_file(e, &s) &&
            add_notes(e, out, (struct elf_table){s.offset, s.size}, s.align == 8 ? 8 : 4, owner, type, limit, &seen, err))
            return -1;
    return 0;
}

/* --- versions of glibc --- */

struct version { unsigned part[3]; };

/* "2.36" or "2.2.5": two or three numbers of at most four digits, no more. */
static bool version_parse(const char *text, struct version *out)
{
    *out = (struct version){{0, 0, 0}};
    for (size_t i = 0; i < 3; i++) {
        size_t digits = strspn(text, "0123456789");
        if (digits == 0 || digits > 4)
            return false;
        for (; digits; digits--)
            out->part[i] = out->part[i] * 10 + (unsigned)(*text++ - '0');
        if (!*text)
            return i > 0;
        if (*text++ != '.')
            return false;
    }
    return false;
}

int elf_libc_compare(const char *a, const char *b)
{
    struct version left, right;
    version_parse(a, &left);
    version_parse(b, &right);
    for (size_t i = 0; i < 3; i++)
        if (left.part[i] != right.part[i])
            return left.part[i] < right.part[i] ? -1 : 1;
    return 0;
}

/* Keeps the newer of `newest` and what a version symbol names. */
static void keep_newest(char newest[ELF_LIBC_MAX], const char *symbol)
{
    struct version v;
    if (!symbol || strncmp(symbol, "GLIBC_", 6) != 0)
        return;
    const char *text = symbol + 6;
    if (strcmp(text, "ABI_DT_RELR") == 0) /* packed relocations: glibc knows them, and this mark, since 2.36 */
        text = "2.36";
    if (version_parse(text, &v) && (!*newest || elf_libc_compare(text, newest) > 0))
        snprintf(newest, ELF_LIBC_MAX, "%s", text);
}

/* A list of needs, one a library, each with a list of versions; `next` fields are distances, 0 at the end. */
void elf_libc_needed(const struct elf *e, char out[ELF_LIBC_MAX])
{
    uint64_t need = 0, first, next, step, name, flags;
    *out = 0;
    for (size_t steps = 0; steps < VERSIONS_MAX; steps++) {
        if (!ENTRY(e, e->needs, need, Elf64_Verneed, vn_aux, &first) || !ENTRY(e, e->needs, need, Elf64_Verneed, vn_next, &next))
            return;
        for (uint64_t at = need + first; steps < VERSIONS_MAX; steps++, at += step) {
            if (!ENTRY(e, e->needs, at, Elf64_Vernaux, vna_name, &name) || !ENTRY(e, e->needs, at, Elf64_Vernaux, vna_flags, &flags) ||
                !ENTRY(e, e->needs, at, Elf64_Vernaux, vna_next, &step))
                return;
            if (!(flags & VER_FLG_WEAK)) /* a weak one may be missing */
                keep_newest(out, table_string(e, e->strings, name));
            if (!step)
                break;
        }
        if (!next)
            return;
        need += next;
    }
}

void elf_libc_defined(const struct elf *e, char out[ELF_LIBC_MAX])
{
    uint64_t at = 0, first, next, name;
    *out = 0;
    for (size_t steps = 0; steps < VERSIONS_MAX; steps++, at += next) {
        if (!ENTRY(e, e->defines, at, Elf64_Verdef, vd_aux, &first) || !ENTRY(e, e->defines, at, Elf64_Verdef, vd_next, &next))
            return;
        if (ENTRY(e, e->defines, at + first, Elf64_Verdaux, vda_name, &name))
            keep_newest(out, table_string(e, e->strings, name));
        if (!next)
            return;
    }
}

/* --- this machine --- */

struct machine { unsigned machine; const char *name; };
static const struct machine machines[] = {
    {EM_X86_64, "x86_64"}, {EM_AARCH64, "aarch64"}, {EM_RISCV, "riscv64"}, {EM_PPC64, "ppc64le"}, {EM_S390, "s390x"},
    {EM_386, "i686"}, {EM_ARM, "arm"}, {EM_PPC, "ppc"}, {EM_MIPS, "mips"}, {EM_SPARCV9, "sparc64"}, {258, "loongarch64"},
};

const char *const elf_plugin_machines[] = {"aarch64", "loongarch64", "ppc64le", "riscv64", "x86_64", NULL};

const char *elf_machine_name(unsigned machine)
{
    static _Thread_local char other[24];
    for (size_t i = 0; i < sizeof machines / sizeof *machines; i++)
        if (machines[i].machine == machine)
            return machines[i].name;
    snprintf(other, sizeof other, "machine %u", machine);
    return other;
}

unsigned elf_own_machine(void)
{
#if defined __x86_64__
    return EM_X86_64;
#elif defined __aarch64__
    return EM_AARCH64;
#elif defined __riscv
    return EM_RISCV;
#elif defined __powerpc64__
    return EM_PPC64;
#elif defined __s390x__
    return EM_S390;
#elif defined __loongarch__
    return 258;
#elif defined __i386__
    return EM_386;
#elif defined __arm__
    return EM_ARM;
#else
#error "which e_machine do this machine's ELF files have?"
#endif
}

bool elf_needs_musl(const struct elf *e)
{
    size_t at = 0;
    const char *library;
    while ((library = elf_next_string(e, DT_NEEDED, &at)) && strcmp(library, "libc.so") && strncmp(library, "libc.musl-", 10))
        ;
    return library != NULL;
}

/* Maps a file for reading; NULL where it can't be. */
static void *map_file(const char *path, size_t *n)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    void *image = MAP_FAILED;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
        image = mmap(NULL, *n = (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    fd_close(&fd);
    return image == MAP_FAILED ? NULL : image;
}

/* The newest version that the libc.so.6 of a directory defines, if it is one for this machine. */
static void libc_of_directory(const char *directory, char out[ELF_LIBC_MAX])
{
    char path[512];
    struct elf e;
    size_t n;
    if ((size_t)snprintf(path, sizeof path, "%s/libc.so.6", directory) >= sizeof path)
        return;
    void *image = map_file(path, &n);
    if (!image)
        return;
    if (elf_open(&e, path, image, n, NULL) == 0 && e.machine == elf_own_machine() && elf_load(&e, NULL) == 0)
        elf_libc_defined(&e, out);
    munmap(image, n);
}

/* Where musl has its loader, which is its libc too, on every system. */
static bool has_musl(void)
{
    char path[64];
    snprintf(path, sizeof path, "/lib/ld-musl-%s.so.1", elf_machine_name(elf_own_machine()));
    return access(path, F_OK) == 0;
}

/* The dynamic linker that /bin/sh names: whatever else there is, this one works here. */
static void interpreter_of_shell(char *out, size_t size)
{
    struct segment s;
    struct elf e;
    size_t n;
    *out = 0;
    void *image = map_file("/bin/sh", &n);
    if (!image)
        return;
    if (elf_open(&e, "/bin/sh", image, n, NULL) == 0 && e.machine == elf_own_machine())
        for (size_t i = 0; segment_at(&e, i, &s); i++)
            if (s.type == PT_INTERP && segment_in_file(&e, &s) && s.size > 1 && s.size <= size && !e.at[s.offset + s.size - 1])
                memcpy(out, e.at + s.offset, s.size);
    munmap(image, n);
}

void elf_host_libc(char out[ELF_LIBC_MAX])
{
    char interpreter[256], directory[256];
    snprintf(directory, sizeof directory, "/lib/%s-linux-gnu", elf_machine_name(elf_own_machine()));
    const char *usual[] = {directory, "/lib64", "/usr/lib64", "/lib", "/usr/lib"};
    *out = 0;
    interpreter_of_shell(interpreter, sizeof interpreter);
    char *slash = strrchr(interpreter, '/');
    if (slash && slash > interpreter) {
        *slash = 0;
        libc_of_directory(interpreter, out);
    }
    for (size_t i = 0; !*out && i < sizeof usual / sizeof *usual; i++)
        libc_of_directory(usual[i], out);
    if (!*out && has_musl())
        snprintf(out, ELF_LIBC_MAX, "musl");
}
