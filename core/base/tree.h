/* Removing a directory with all that is in it, whoever made it and however deep. */
#ifndef BASE_TREE_H
#define BASE_TREE_H

/* Removes path. Follows no link and stays on the names below path; what can't be removed is left. Returns 0 if path is
 * gone, else -1 with errno. */
int tree_remove(const char *path);

#endif
