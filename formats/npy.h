/* npy.h: the header of .npy files, for single files and the members of .npz. */
#ifndef STRATA_FORMATS_NPY_H
#define STRATA_FORMATS_NPY_H

#include <strata/extend.h>

/* Enough for any shape, and a multiple of 64, so that the data behind it are aligned. */
enum { STRATA_NPY_HEADER = 256 };

/* "<f4" and so on; NULL for types that numpy has not. */
const char *strata_npy_descr(strata_dtype dtype);
/* Fills the header of an array in C order. */
void strata_npy_make_header(char header[STRATA_NPY_HEADER], const char *descr, int rank, const int64_t *dim);

#endif
