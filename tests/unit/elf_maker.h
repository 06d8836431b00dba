/* Makes small ELF shared objects byte by byte: one loaded segment, a dynamic section with a DT_HASH table, a note in
 * PT_NOTE, and no section headers, so that tests can say exactly what a file holds. */
#ifndef TESTS_ELF_MAKER_H
#define TESTS_ELF_MAKER_H
#include "base/buf.h"

#include <elf.h>
#include <string.h>

struct elf_spec {
    unsigned machine;          /* 0: x86-64 */
    unsigned type;             /* 0: ET_DYN */
    const char *symbols[3];    /* exported, defined; NULL ends them */
    const char *undefined;     /* one that is only asked for */
    const char *needed, *rpath, *runpath, *version; /* NULL: none; version: of libc.so.6, "GLIBC_2.34" */
    const void *note;          /* text of one "sshexec" note of type 1 */
    size_t note_size;
    uint64_t flags_1;
};

static inline size_t elf_put(struct buf *b, const void *bytes, size_t n)
{
    static const char zeros[8];
    buf_add(b, zeros, (8 - buf_length(b) % 8) % 8);
    size_t at = buf_length(b);
    buf_add(b, bytes, n);
    return at;
}

static inline unsigned elf_string(struct buf *strings, const char *text)
{
    size_t at = buf_length(strings);
    buf_add(strings, text, strlen(text) + 1);
    return (unsigned)at;
}

static inline void elf_dynamic(struct buf *dynamic, int64_t tag, uint64_t value)
{
    Elf64_Dyn entry = {.d_tag = tag, .d_un.d_val = value};
    buf_add(dynamic, &entry, sizeof entry);
}

/* All symbols in one bucket of a DT_HASH table. */
static inline size_t elf_symbols(struct buf *out, struct buf *strings, const struct elf_spec *s, size_t *hash_at)
{
    Elf64_Sym symbols[5] = {{0}};
    uint32_t hash[2 + 1 + 5] = {1, 0, 0}, count = 1;
    for (size_t i = 0; i < 3 && s->symbols[i]; i++)
        symbols[count++] = (Elf64_Sym){.st_name = elf_string(strings, s->symbols[i]),
                                       .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
                                       .st_shndx = 1};
    if (s->undefined)
        symbols[count++] = (Elf64_Sym){.st_name = elf_string(strings, s->undefined), .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC)};
    hash[1] = count;
    hash[2] = count - 1;                       /* the bucket: the last symbol ... */
    for (uint32_t i = 1; i < count; i++)
        hash[3 + i] = i - 1;                   /* ... from which the chain runs down to 0 */
    *hash_at = elf_put(out, hash, (3 + count) * sizeof *hash);
    return elf_put(out, symbols, count * sizeof *symbols);
}

static inline size_t elf_versions(struct buf *out, struct buf *strings, const char *version)
{
    struct { Elf64_Verneed need; Elf64_Vernaux aux; } v = {
        {.vn_version = 1, .vn_cnt = 1, .vn_file = elf_string(strings, "libc.so.6"), .vn_aux = sizeof v.need},
        {.vna_name = elf_string(strings, version), .vna_other = 2},
    };
    return elf_put(out, &v, sizeof v);
}

/* Adds the object to out, which must be empty. */
static inline void elf_make(struct buf *out, const struct elf_spec *s)
{
    struct buf strings = {0}, dynamic = {0}, note = {0};
    Elf64_Ehdr header = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                         .e_type = (Elf64_Half)(s->type ? s->type : ET_DYN),
                         .e_machine = (Elf64_Half)(s->machine ? s->machine : EM_X86_64),
                         .e_version = EV_CURRENT,
                         .e_phoff = sizeof header,
                         .e_ehsize = sizeof header,
                         .e_phentsize = sizeof(Elf64_Phdr),
                         .e_phnum = 3};
    Elf64_Phdr segments[3] = {{0}};
    Elf64_Nhdr note_header = {8, (Elf64_Word)s->note_size, 1};
    size_t hash_at, symbols_at;
    buf_add(out, &header, sizeof header);
    buf_add(out, segments, sizeof segments);
    elf_string(&strings, "");
    symbols_at = elf_symbols(out, &strings, s, &hash_at);
    elf_dynamic(&dynamic, DT_HASH, hash_at);
    elf_dynamic(&dynamic, DT_SYMTAB, symbols_at);
    if (s->needed)
        elf_dynamic(&dynamic, DT_NEEDED, elf_string(&strings, s->needed));
    if (s->rpath)
        elf_dynamic(&dynamic, DT_RPATH, elf_string(&strings, s->rpath));
    if (s->runpath)
        elf_dynamic(&dynamic, DT_RUNPATH, elf_string(&strings, s->runpath));
    if (s->version)
        elf_dynamic(&dynamic, DT_VERNEED, elf_versions(out, &strings, s->version));
    elf_dynamic(&dynamic, DT_FLAGS_1, s->flags_1);
    elf_dynamic(&dynamic, DT_STRSZ, buf_length(&strings));
    elf_dynamic(&dynamic, DT_STRTAB, elf_put(out, buf_data(&strings), buf_length(&strings)));
    elf_dynamic(&dynamic, DT_NULL, 0);
    buf_add(&note, &note_header, sizeof note_header);
    buf_add(&note, "sshexec", 8);
    buf_add(&note, s->note, s->note_size);
    size_t note_at = elf_put(out, buf_data(&note), s->note ? buf_length(&note) : 0);
    size_t dynamic_at = elf_put(out, buf_data(&dynamic), buf_length(&dynamic)), size = buf_length(out);
    segments[0] = (Elf64_Phdr){.p_type = PT_LOAD, .p_flags = PF_R, .p_filesz = size, .p_memsz = size, .p_align = 4096};
    segments[1] = (Elf64_Phdr){.p_type = PT_DYNAMIC,
                               .p_offset = dynamic_at,
                               .p_vaddr = dynamic_at,
                               .p_filesz = buf_length(&dynamic),
                               .p_align = 8};
    segments[2] = (Elf64_Phdr){.p_type = PT_NOTE,
                               .p_offset = note_at,
                               .p_vaddr = note_at,
                               .p_filesz = s->note ? buf_length(&note) : 0,
                               .p_align = 4};
    memcpy(buf_data(out) + sizeof header, segments, sizeof segments);
    buf_free(&strings);
    buf_free(&dynamic);
    buf_free(&note);
}

#endif
