/* inputs.h: from the INPUT arguments of extract to a flat list of files. */
#ifndef STRATA_TOOLS_INPUTS_H
#define STRATA_TOOLS_INPUTS_H

struct inputs {
    char **path;
    int    count, capacity;
    int    ignored; /* files of folders whose name is not that of an image */
};

/* Each argument is an image, a .npy tensor, a folder (its images, with those of its folders, sorted by name),
 * a .txt list, or "-" for a list on stdin. Lists hold a path per line, or NUL-ended ones as find -print0
 * writes them. Returns an exit code, after saying what is wrong: what a person named must exist, what a list
 * names is checked when its turn comes. inputs_free in any case. */
int  inputs_collect(const char *const *args, int count, struct inputs *out);
void inputs_free(struct inputs *in);

#endif
