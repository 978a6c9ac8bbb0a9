/* report_files.h: the files of report/ as embed writes them. Each ends with a zero that its size does not
 * count. */
#ifndef STRATA_TOOLS_REPORT_FILES_H
#define STRATA_TOOLS_REPORT_FILES_H

#include <stddef.h>

/* XX(name): name.css or name.js, in the order of the page. */
#define REPORT_FILES_MAP(XX) XX(report_css) XX(graph_js) XX(explorer_js) XX(report_js)
#define XX(name)                                                                                             \
    extern const char   name[];                                                                              \
    extern const size_t name##_size;
XX(report_html)
REPORT_FILES_MAP(XX)
#undef XX

#endif
