/* files.h: the files of this folder as embed writes them. Each ends with a zero that its size does not count. */
#ifndef STRATA_TOOLS_REPORT_FILES_H
#define STRATA_TOOLS_REPORT_FILES_H

#include <stddef.h>

extern const char   report_html[], report_css[], report_js[];
extern const size_t report_html_size, report_css_size, report_js_size;

#endif
