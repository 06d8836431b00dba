/* libarchive, loaded when the first bundle is opened. Linking it would cost every start of every program 1.4 ms of CPU,
 * twice what our own start takes, for the libraries that it brings along (libxml2, ICU, ...); and who never touches a
 * bundle needs none of them. */
#ifndef BUNDLE_LIBARCHIVE_H
#define BUNDLE_LIBARCHIVE_H
#include <archive.h>
#include <archive_entry.h>
#include <sshexec/error.h>

#define LIBARCHIVE_FUNCTIONS(F)                                                                                                         \
    F(archive_error_string) F(archive_read_new) F(archive_read_support_format_tar) F(archive_read_open) F(archive_read_next_header)     \
    F(archive_read_data) F(archive_read_free) F(archive_write_new) F(archive_write_set_format_ustar)                                    \
    F(archive_write_set_bytes_per_block) F(archive_write_set_bytes_in_last_block) F(archive_write_open) F(archive_write_header)         \
    F(archive_write_data) F(archive_write_close) F(archive_write_free)                                                                  \
    F(archive_entry_new) F(archive_entry_free) F(archive_entry_pathname) F(archive_entry_filetype) F(archive_entry_size)                \
    F(archive_entry_size_is_set) F(archive_entry_hardlink) F(archive_entry_symlink) F(archive_entry_sparse_count)                       \
    F(archive_entry_set_pathname) F(archive_entry_set_filetype) F(archive_entry_set_size) F(archive_entry_set_perm)                     \
    F(archive_entry_set_mtime)

#define LIBARCHIVE_MEMBER(name) __typeof__(&name) name;
struct libarchive { LIBARCHIVE_FUNCTIONS(LIBARCHIVE_MEMBER) };

/* Its functions, under their own names; for the life of the process. NULL with err (SSX_ERROR_SYSTEM) where it isn't
 * installed. */
const struct libarchive *libarchive_load(struct ssx_error *err);

#endif
